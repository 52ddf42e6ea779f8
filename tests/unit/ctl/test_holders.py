"""The command holders."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mqclient.ctl import exits, holders
from mqclient.models import Holder, LeaseId

LEASE = Holder(
    lease=LeaseId(3, 17),
    queue="jobs",
    count=2,
    holder="ann/3fa9-77",
    user="ann",
    client="mqclient/9",
    host="node17",
    peer="10.0.0.5:4123",
    leased_at=1_800_000_000.25,
    deadline_at=1_800_000_060.25,
    is_connected=True,
)


@pytest.fixture
def held(ctl):
    ctl.client.held = [LEASE, replace(LEASE, holder="ann#3.4", host="", is_connected=False)]
    return ctl


def test_in_a_pipe(held):
    assert held("holders").stdout.splitlines() == [
        "jobs  2  ann/3fa9-77  node17  10.0.0.5:4123  connected  1800000000.250  1800000060.250  3-17",
        "jobs  2  ann#3.4      -       10.0.0.5:4123  away       1800000000.250  1800000060.250  3-17",
    ]


def test_for_machines(held):
    result = held("holders", "jo*", "--json")
    [first, second] = map(json.loads, result.stdout.splitlines())
    assert (first["lease"], first["host"], first["is_connected"]) == ("3-17", "node17", True)
    assert (second["deadline_at"], second["is_connected"]) == (1_800_000_060.25, False)
    assert ("holders", "jo*") in held.client.calls


def test_for_a_person(held, terminal, monkeypatch):
    monkeypatch.setattr(holders.time, "time", lambda: 1_800_000_030.25)
    monkeypatch.setenv("COLUMNS", "200")
    shown = held("holders").stdout
    for text in ("worker", "left", "30.0 s", "node17", "away", "3-17"):
        assert text in shown
    monkeypatch.setenv("COLUMNS", "80")
    shown = held("holders").stdout
    assert "10.0.0.5" not in shown
    assert "node17" in shown


def test_clocks_that_differ_make_no_negative_ages(held, terminal, monkeypatch):
    monkeypatch.setattr(holders.time, "time", lambda: 1_900_000_000.0)
    assert " 0.0 s" in held("holders").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nobody works on messages\n"),
        (["x*"], "nobody works on messages of queues that fit x*\n"),
    ],
)
def test_nobody(ctl, terminal, arguments, sentence):
    result = ctl("holders", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (exits.OK, "", sentence)


def test_nobody_in_a_pipe(ctl):
    for options in ((), ("--json",)):
        result = ctl("holders", *options)
        assert (result.exit_code, result.stdout) == (exits.OK, "")
        assert result.stderr == "mqctl: nobody works on messages\n"


def test_more_than_are_told(held, monkeypatch):
    monkeypatch.setattr(holders, "MOST_SHOWN", 2)
    assert "there may be more: only the 2 oldest leases are told" in held("holders").stderr
