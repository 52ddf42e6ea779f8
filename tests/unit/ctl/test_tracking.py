from __future__ import annotations

import json

import pytest

from mqclient.ctl import exits, tracking
from mqclient.models import LeaseId
from mqclient.view_models import Cancellation, Place, Status

DONE = Status(1, "done", deliveries=1, attempts=0, losses=0, raw_result='{"x": 1}', ended_at=1e9)
DEAD = Status(
    2,
    "dead",
    deliveries=3,
    attempts=3,
    losses=0,
    cause="nack",
    error="Traceback\n  line\nValueError: no",
    moved_to=Place("jobs.dead", 9),
)
READY = Status(3, "ready", position=4, deliveries=0, attempts=0, losses=0)
LEASED = Status(
    4,
    "leased",
    lease=LeaseId(3, 17),
    holder="ada/w1",
    host="node7",
    deadline_at=2e9,
    is_cancelled=True,
    deliveries=1,
    attempts=0,
    losses=0,
)
BYTES = Status(5, "done", raw_result=b"\x00\x01")
UNKNOWN = Status(6, "unknown")
GONE = Status(7, "gone", moved_to=Place("jobs", 8))
CANCELLED = Status(8, "cancelled")
ALL = (DONE, DEAD, READY, LEASED, BYTES, UNKNOWN, GONE, CANCELLED)


@pytest.fixture
def jobs(ctl):
    client = ctl.with_queue().client
    known = {each.id: each for each in ALL}
    client.status = lambda queue, ids: _told(client, "status", queue, [known[i] for i in ids])
    client.wait = lambda queue, ids, *, timeout: _told(
        client, "wait", queue, [known[i] for i in ids], timeout
    )
    return ctl


def _told(client, *call):
    client._called(*call)
    return call[2]


def test_a_line_for_each(jobs):
    result = jobs("status", "jobs", "1-8")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split(maxsplit=6) for line in result.stdout.splitlines()] == [
        ["1", "done", "1", "0", "0", "1000000000.000", '{"x": 1}'],
        ["2", "dead", "3", "3", "0", "-", "failed: ValueError: no (jobs.dead 9)"],
        ["3", "ready", "0", "0", "0", "-", "4 before it"],
        ["4", "cancelling", "1", "0", "0", "2000000000.000", "ada/w1 on node7"],
        ["5", "done", "-", "-", "-", "-", "2 bytes"],
        ["6", "unknown", "-", "-", "-", "-", "-"],
        ["7", "gone", "-", "-", "-", "-", "- (jobs 8)"],
        ["8", "cancelled", "-", "-", "-", "-", "-"],
    ]


def test_what_machines_get(jobs):
    lines = jobs("status", "jobs", "1,2,4,5", "--json").stdout.splitlines()
    done, dead, leased, binary = map(json.loads, lines)
    assert (done["result"], done["ended_at"], "cause" in done) == ({"x": 1}, 1e9, False)
    assert dead["moved_to"] == {"queue": "jobs.dead", "id": 9}
    assert (leased["lease"], leased["is_cancelled"]) == ("3-17", True)
    assert "is_cancelled" not in done
    assert "raw_result" not in done
    assert binary["result"] == {"base64": "AAE="}


def test_what_persons_get(jobs, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(tracking.time, "time", lambda: 1e9 + 90)
    shown = jobs("status", "jobs", "1-4").stdout
    assert "1 min 30 s ago" in shown
    assert "in 1157" in shown
    long = Status(9, "done", raw_result="x" * 100)
    jobs.client.status = lambda *_: [long]
    assert "x" * 57 + "..." in jobs("status", "jobs", "9").stdout


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ("1", exits.OK),
        ("1,7", exits.OK),
        ("1,2", exits.FAILED),
        ("8", exits.FAILED),
        ("6", exits.EMPTY),
        ("2,6", exits.FAILED),
        ("1,3", exits.TIMED_OUT),
        ("2,4", exits.TIMED_OUT),
    ],
)
def test_how_a_wait_ends(jobs, ids, code):
    result = jobs("wait", "jobs", ids)
    assert (result.exit_code, result.stderr) == (code, "")
    assert len(result.stdout.splitlines()) == len(ids.split(","))


def test_a_wait_may_have_an_end(jobs, terminal):
    assert "1 message of jobs not over yet" in jobs("wait", "jobs", "3", "--for", "7").stderr
    jobs("wait", "jobs", "3")
    bounded, endless = (call[3] for call in jobs.client.calls if call[0] == "wait")
    assert 0 < bounded <= 7.0  # what was spent on connecting counts
    assert endless is None
    assert [session.server_wait for session in jobs.sessions] == [7.0, 300.0]
    assert jobs("wait", "jobs", "3", "--for", "-1").exit_code == exits.USAGE


def test_a_wait_that_nothing_would_end_is_not_begun_for_another_option(jobs):
    refused = jobs("wait", "jobs", "3", "--timeout", "1")
    assert refused.exit_code == exits.USAGE
    assert "--for SECONDS" in refused.stderr
    assert not jobs.client.calls
    assert jobs("wait", "jobs", "3", "--for", "1", "--timeout", "1").exit_code == exits.TIMED_OUT


def test_ids_are_needed(jobs):
    for command in ("status", "wait", "cancel"):
        assert jobs(command, "jobs").exit_code == exits.USAGE
        assert jobs(command, "jobs", "0").exit_code == exits.USAGE


def test_cancel(jobs, terminal):
    told = iter([Cancellation(2, 1), Cancellation(0, 1), Cancellation(0, 0)])
    jobs.client.cancel = lambda queue, ids: _told(jobs.client, "cancel", queue, next(told), ids)
    result = jobs("cancel", "jobs", "1,3-4")
    assert result.stderr == "2 messages of jobs removed, 1 worker to be told\n"
    assert jobs.client.calls[-2] == ("cancel", "jobs", Cancellation(2, 1), [1, 3, 4])
    shown = json.loads(jobs("cancel", "jobs", "1", "--json").stdout)
    assert shown == {"queue": "jobs", "removed": 0, "marked": 1}
    assert jobs("cancel", "jobs", "1").exit_code == exits.EMPTY
