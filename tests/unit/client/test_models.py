from __future__ import annotations

import dataclasses

import pytest

from mqclient.models import Limits, QueueInfo, ServerInfo, SnapshotInfo
from mqwire import limits
from support.fake_server import INFO, SNAPSHOT

WHO = {
    "user": "admin",
    "role": "admin",
    "server": "mqd",
    "version": "1",
    "protocol": 1,
    "durability": "accepted",
    "limits": {},
}


def test_an_info_is_read_and_what_is_not_known_passed_over():
    info = QueueInfo.from_map({**INFO, "leased": 3})
    assert (info.queue, info.max_messages, info.max_bytes) == ("jobs", 10, 1000)
    assert info.durability == "written"
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.ready = 1


def test_an_info_that_lacks_something_is_refused():
    with pytest.raises(KeyError):
        QueueInfo.from_map({"queue": "jobs"})


def test_a_snapshot_info_is_read():
    info = SnapshotInfo.from_map({**SNAPSHOT, "seconds": 2, "more": 1})
    assert info == SnapshotInfo(3, 20, 0, 2.0)
    assert type(info.seconds) is float


@pytest.mark.parametrize("name", ["number", "records", "bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, True, None, "9"])
def test_a_snapshot_is_counted_in_whole_numbers(name: str, value: object):
    with pytest.raises(TypeError, match="number, records and bytes"):
        SnapshotInfo.from_map({**SNAPSHOT, name: value})


def test_a_server_info_is_read():
    info = ServerInfo.from_map({**WHO, "limits": {"max_frame_bytes": 70_000, "more": 1}})
    assert info.role == "admin"
    assert info.limits == Limits(70_000, limits.MAX_BODY_BYTES, limits.MAX_MESSAGES_PER_FRAME)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "9"])
def test_limits_are_positive_integers(value: object):
    with pytest.raises(ValueError, match="max_body_bytes"):
        Limits.from_map({"max_body_bytes": value})


def test_a_queues_newer_figures_have_defaults():
    older = QueueInfo.from_map(INFO)
    assert (older.delayed, older.leased, older.dead, older.acked, older.moved) == (0,) * 5
    assert not older.is_paused
    options = {**INFO["options"], "max_attempts": 3}
    newer = QueueInfo.from_map({**INFO, "leased": 4, "is_paused": True, "options": options})
    assert (newer.leased, newer.is_paused, newer.options["max_attempts"]) == (4, True, 3)
