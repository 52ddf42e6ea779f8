"""The word to a supervisor that asks for it."""

from __future__ import annotations

import logging
import secrets
import socket

import pytest

from mqd.notify import READY, STOPPING, VARIABLE, notify_supervisor


@pytest.fixture
def listener():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_supervisor_is_told_by_a_datagram_for_each_state(
    listener, tmp_path, monkeypatch, is_abstract
):
    name = f"@mqd-test-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify")
    listener.bind(name.replace("@", "\0"))
    monkeypatch.setenv(VARIABLE, name)
    assert notify_supervisor(READY)
    assert notify_supervisor(STOPPING)
    assert [listener.recv(100), listener.recv(100)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("value", [None, ""])
def test_nobody_is_told_where_nobody_asks(monkeypatch, caplog, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert not notify_supervisor(READY)
    assert not caplog.records


def test_a_supervisor_that_has_gone_is_logged_and_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert not notify_supervisor(READY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot be told READY=1" in record.getMessage()


def test_a_name_that_is_none_stops_nothing(monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, "/" + 200 * "x")
    assert not notify_supervisor(READY)
    assert len(caplog.records) == 1


def test_a_supervisor_that_reads_nothing_stops_nothing(listener, tmp_path, monkeypatch, caplog):
    listener.bind(str(tmp_path / "full"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "full"))
    told = 0
    while notify_supervisor(READY):
        told += 1
    assert told >= 1
    assert len(caplog.records) == 1
