"""The task view over the wire: PEEK in every state, STATUS, and waiting for the end of a job."""

from __future__ import annotations

import signal

import pytest

from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.gated_server import gated_server
from support.raw import Raw
from support.server import running_server

A = join_bodies("a")


@pytest.fixture
def raw(server):
    with Raw(server) as connection:
        yield connection


@pytest.fixture
def jobs(raw, queue):
    raw.ok("CREATE", queue, {"keep_results_seconds": 60})
    return queue


def leased(raw, queue, most=1, seconds=60):
    return raw.ok("PULL", queue, most, {"lease": seconds})[3]


def states(raw, queue, *ids):
    (found,) = raw.ok("STATUS", queue, ids)
    return [each["state"] for each in found]


def test_peek_shows_every_state(raw, jobs):
    raw.push(jobs, *"abcd")
    lease = leased(raw, jobs, 3)
    raw.ok("NACK", lease, {"ids": (1, 1), "delay": 60, "reason": "later"})
    raw.ok("REJECT", lease, {"ids": (2, 1)})
    shown = {
        state: raw.ok("PEEK", jobs, 9, {"state": state})
        for state in ("delayed", "dead", "leased", "ready")
    }
    assert {state: found[0] for state, found in shown.items()} == {
        "delayed": (1, 1),
        "dead": (2, 1),
        "leased": (3, 1),
        "ready": (4, 1),
    }
    columns = shown["delayed"][2]
    assert columns["history"][0][0]["reason"] == "later"
    assert columns["due_at"][0] > 0
    assert shown["leased"][2]["lease"] == (lease,)
    assert shown["leased"][2]["holder"][0].startswith("admin#")
    info = raw.ok("INFO", jobs)[0]
    ages = [info[f"oldest_{state}age_seconds"] for state in ("", "delayed_", "leased_", "dead_")]
    assert all(0 <= age < 60 for age in ages)
    assert raw.error("PEEK", jobs, 1, {"state": "lost"})[0] == "OUT_OF_RANGE"


def test_status_follows_a_message(raw, jobs):
    raw.push(jobs, "a", "b")
    assert states(raw, jobs, 1, 3) == ["ready", "ready", "unknown"]
    lease = leased(raw, jobs)
    assert states(raw, jobs, 1, 1) == ["leased"]
    raw.ok("ACK", lease, {"result": "42"})
    (entry,) = raw.ok("STATUS", jobs, (1, 1))[0]
    assert (entry["state"], entry["result"], entry["deliveries"]) == ("done", "42", 1)
    raw.pull(jobs)
    assert states(raw, jobs, 2, 1) == ["gone"]


@pytest.mark.parametrize("result", [b"", b"\x00" * 65_536, "x" * 65_536, "é" * 32_768])
def test_a_result_may_have_so_many_bytes(raw, jobs, result):
    raw.push(jobs, "a")
    raw.ok("ACK", leased(raw, jobs), {"result": result})
    assert raw.ok("STATUS", jobs, (1, 1))[0][0]["result"] == result


@pytest.mark.parametrize("result", [b"\x00" * 65_537, "x" * 65_537, "é" * 32_769])
def test_a_result_may_not_have_more(raw, jobs, result):
    raw.push(jobs, "a")
    lease = leased(raw, jobs)
    code, details = raw.error("ACK", lease, {"result": result})
    assert (code, details["field"]) == ("OUT_OF_RANGE", "result")
    assert states(raw, jobs, 1, 1) == ["leased"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (((1, 1), {"wait": -1}), "OUT_OF_RANGE"),
        (((1, 1), {"wait": 3601}), "OUT_OF_RANGE"),
        (((1, 1), {"state": "ready"}), "UNKNOWN_OPTION"),
        (((1,),), "WRONG_TYPE"),
        (((0, 1),), "WRONG_TYPE"),
        (((1, 16_385),), "TOO_MANY_MESSAGES"),
        (((1, 1025), {"wait": 1}), "TOO_MANY_MESSAGES"),
        ((5,), "WRONG_TYPE"),
        ((), "WRONG_ARITY"),
    ],
)
def test_bad_questions_are_refused(raw, jobs, arguments, code):
    assert raw.error("STATUS", jobs, *arguments)[0] == code
    assert raw.error("STATUS", "nowhere", (1, 1))[0] == "QUEUE_NOT_FOUND"


@pytest.mark.parametrize("seconds", [0, 0.5, 366 * 24 * 3600 + 1])
def test_results_cannot_be_kept_for_any_time(raw, queue, seconds):
    assert raw.error("CREATE", queue, {"keep_results_seconds": seconds})[0] == "OUT_OF_RANGE"


def test_a_wait_is_answered_when_all_have_ended(server, raw, jobs):
    raw.push(jobs, "a", "b")
    lease = leased(raw, jobs, 2)
    with Raw(server, "user") as watcher:
        watcher.send(("STATUS", 7, jobs, (1, 2), {"wait": 60}), ("PING", 8))
        assert watcher.read() == (8, "OK")
        raw.ok("ACK", lease, {"ids": (1, 1), "result": b"r"})
        raw.ok("REJECT", lease, {"reason": "broken"})
        request_id, word, found = watcher.read()
        assert (request_id, word) == (7, "OK")
        assert [(each["state"], each.get("result", each.get("error"))) for each in found] == [
            ("done", b"r"),
            ("dead", "broken"),
        ]
        assert watcher.call("STATUS", jobs, (1, 2), {"wait": 60})[1] == "OK"


def test_a_wait_ends_by_time_and_by_deletion(server, raw, jobs):
    raw.push(jobs, "a")
    (found,) = raw.ok("STATUS", jobs, (1, 1), {"wait": 0.01})
    assert found[0]["state"] == "ready"
    with Raw(server, "user") as watcher:
        watcher.send(("STATUS", 7, jobs, (1, 1), {"wait": 60}), ("PING", 8))
        assert watcher.read() == (8, "OK")
        raw.ok("DELETE", jobs)
        assert watcher.read()[:3] == (7, "ERR", "QUEUE_NOT_FOUND")


def test_a_client_that_leaves_is_forgotten(server, raw, jobs):
    raw.push(jobs, "a")
    with Raw(server, "user") as watcher:
        watcher.send(("STATUS", 7, jobs, (1, 1), {"wait": 60}), ("PING", 8))
        assert watcher.read() == (8, "OK")
    raw.pull(jobs)
    assert states(raw, jobs, 1, 1) == ["gone"]


def test_a_wait_is_ended_by_wake(server, raw, jobs):
    raw.push(jobs, "a")
    with Raw(server, "user") as watcher:
        watcher.send(("STATUS", 7, jobs, (1, 1), {"wait": 60}), ("WAKE", 8, 7))
        request_id, word, found = watcher.read()
        assert (request_id, word, found[0]["state"]) == (7, "OK", "ready")
        assert watcher.read() == (8, "OK", True)
        assert watcher.ok("WAKE", 7) == (False,)


def test_ids_of_requests_that_wait_are_in_use(raw, jobs):
    raw.push(jobs, "a")
    raw.send(("STATUS", 7, jobs, (1, 1), {"wait": 60}), ("STATUS", 7, jobs, (1, 1), {"wait": 60}))
    assert raw.read()[:3] == (7, "ERR", "ID_IN_USE")
    raw.pull(jobs)
    assert raw.read()[:2] == (7, "OK")


def test_a_user_may_ask_and_not_ack(server, raw, jobs):
    raw.push(jobs, "a")
    with Raw(server, "user") as watcher:
        assert states(watcher, jobs, 1, 1) == ["ready"]
        assert watcher.ok("PEEK", jobs, 1, {"state": "leased"}) == ((), ())


def test_results_outlive_the_server():
    with running_server() as first:
        with Raw(first) as raw:
            raw.ok("CREATE", "jobs", {"keep_results_seconds": 600})
            raw.push("jobs", *"abc")
            lease = leased(raw, "jobs", 3)
            raw.ok("ACK", lease, {"ids": (1, 1), "result": b"r"})
            raw.ok("SNAPSHOT")
            raw.ok("ACK", lease, {"ids": (2, 1), "result": "s"})
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        with running_server(directory=first.directory) as second, Raw(second) as raw:
            found = raw.ok("STATUS", "jobs", (1, 3))[0]
            assert [(each["state"], each.get("result")) for each in found] == [
                ("done", b"r"),
                ("done", "s"),
                ("leased", None),
            ]


async def test_an_end_is_told_when_its_record_is_synced(tmp_path):
    async with gated_server(tmp_path) as gated:
        admin, watcher = await gated.connect(), await gated.connect("user")
        await admin.call("CREATE", "jobs", {"keep_results_seconds": 60})
        await admin.call("PUSH", "jobs", 1, A)
        lease = (await admin.call("PULL", "jobs", 1, {"lease": 60}))[5]
        waiting = watcher.send("STATUS", "jobs", (1, 1), {"wait": 60})
        assert (await watcher.call("PING"))[1] == "OK"
        gated.files.sync_gate.clear()
        acked = admin.send("ACK", lease, {"durability": "accepted"})
        assert (await admin.read())[:2] == (acked, "OK")
        assert await watcher.hears_nothing()
        gated.files.sync_gate.set()
        request_id, _, found = await watcher.read()
        assert (request_id, found[0]["state"]) == (waiting, "done")


def test_cancelling(server, raw, jobs):
    raw.push(jobs, *"abcd")
    lease = leased(raw, jobs, 2)
    with Raw(server, "agent") as agent:
        assert agent.ok("CANCEL", jobs, (2, 2)) == (1, 1, "synced")
        assert agent.ok("CANCEL", jobs, (1, 4), {"durability": "written"}) == (1, 1, "written")
    assert raw.ok("EXTEND", lease, 60) == ((1, 2),)
    assert states(raw, jobs, 1, 4) == ["leased", "leased", "cancelled", "cancelled"]
    raw.ok("ACK", lease, {"ids": (1, 1)})
    assert raw.ok("EXTEND", lease, 60) == ((2, 1),)
    raw.ok("NACK", lease)
    assert states(raw, jobs, 1, 2) == ["done", "cancelled"]
    info = raw.ok("INFO", jobs)[0]
    assert (info["ready"], info["leased"], info["acked"], info["cancelled"]) == (0, 0, 1, 3)


def test_an_extension_of_what_nobody_cancelled_says_nothing(raw, jobs):
    raw.push(jobs, "a")
    assert raw.ok("EXTEND", leased(raw, jobs), 60) == ()


def test_cancelling_is_not_for_users(server, raw, jobs):
    with Raw(server, "user") as user:
        assert user.error("CANCEL", jobs, (1, 1))[0] == "ACCESS_DENIED"
    assert raw.error("CANCEL", "nowhere", (1, 1))[0] == "QUEUE_NOT_FOUND"
    assert raw.error("CANCEL", jobs, (1,))[0] == "WRONG_TYPE"
    assert raw.error("CANCEL", jobs, (1, 1025))[0] == "TOO_MANY_MESSAGES"
    assert raw.ok("CANCEL", jobs, (1, 1024)) == (0, 0, "synced")
    assert raw.error("CANCEL", jobs, (1, 1), {"wait": 1})[0] == "UNKNOWN_OPTION"
    assert raw.ok("CANCEL", jobs, (1, 1)) == (0, 0, "synced")


def test_cancelled_messages_stay_away_after_a_restart():
    with running_server() as first:
        with Raw(first) as raw:
            raw.ok("CREATE", "jobs")
            raw.push("jobs", *"abcdef")
            raw.ok("CANCEL", "jobs", (2, 2))
            raw.ok("SNAPSHOT")
            raw.ok("CANCEL", "jobs", (5, 1))
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        with running_server(directory=first.directory) as second, Raw(second) as raw:
            assert raw.ok("INFO", "jobs")[0]["cancelled"] == 3
            assert raw.pull("jobs", 9) == [b"\xa1a", b"\xa1d", b"\xa1f"]


def kinds(frame):
    return [(event[0], event[2]) for event in frame[2]]


def test_a_watch_tells_what_happens(server, raw, queue):
    with Raw(server, "user") as watcher:
        watcher.send(("WATCH", 7, f"{queue}*", {"credit": 50}))
        assert watcher.read() == (7, "OK", 50)
        raw.ok("CREATE", queue)
        raw.push(queue, "a", "b")
        lease = leased(raw, queue)
        raw.ok("ACK", lease)
        raw.pull(queue)
        raw.ok("DELETE", queue)
        heard = []
        while len(heard) < 6:
            request_id, word, events, missed = watcher.read()
            assert (request_id, word, missed) == (7, "EVENT", 0)
            heard += events
        assert [(event[0], event[2]) for event in heard] == [
            ("created", ()),
            ("pushed", (1, 2)),
            ("leased", (1, 1)),
            ("acked", (1, 1)),
            ("pulled", (2, 1)),
            ("deleted", ()),
        ]
        assert {event[1] for event in heard} == {queue}
        assert heard[2][4]["lease"] == lease
        assert heard[0][3] <= heard[-1][3]
        assert watcher.ok("UNWATCH", 7) == (True,)
        assert watcher.ok("UNWATCH", 7) == (False,)
        raw.ok("CREATE", queue)
        assert watcher.ok("CREDIT", 7, 5) == (False,)


def test_one_connection_may_watch_what_it_does(raw, jobs):
    raw.send(("WATCH", 7, jobs, {"events": ("pushed",)}), ("PUSH", 8, jobs, 1, A))
    assert raw.read() == (7, "OK", 1000)
    assert raw.read()[:3] == (8, "OK", 1)
    assert kinds(raw.read()) == [("pushed", (1, 1))]
    assert raw.ok("UNWATCH", 7) == (True,)


def test_without_credit_events_are_counted(raw, jobs):
    raw.send(("WATCH", 7, jobs, {"credit": 1}))
    assert raw.read() == (7, "OK", 1)
    for _ in range(3):
        raw.push(jobs, "a")
    assert kinds(raw.read()) == [("pushed", (1, 1))]
    assert raw.ok("CREDIT", 7, 2) == (True,)
    assert raw.read() == (7, "EVENT", (), 2)
    raw.push(jobs, "a")
    assert kinds(raw.read()) == [("pushed", (4, 1))]
    assert raw.ok("UNWATCH", 7) == (True,)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("WATCH", "a b"), "BAD_NAME"),
        (("WATCH", "*", {"credit": 0}), "OUT_OF_RANGE"),
        (("WATCH", "*", {"credit": 65_537}), "OUT_OF_RANGE"),
        (("WATCH", "*", {"events": ("pushed", "eaten")}), "OUT_OF_RANGE"),
        (("WATCH", "*", {"events": (5,)}), "WRONG_TYPE"),
        (("WATCH", "*", {"events": "pushed"}), "WRONG_TYPE"),
        (("CREDIT", 7), "WRONG_ARITY"),
        (("CREDIT", 7, 65_537), "OUT_OF_RANGE"),
        (("UNWATCH", "x"), "WRONG_TYPE"),
    ],
)
def test_bad_watches_are_refused(raw, arguments, code):
    assert raw.error(*arguments)[0] == code


def test_a_watch_ends_with_who_has_begun_it(server, raw, jobs):
    with Raw(server) as watcher:
        watcher.send(("WATCH", 7, jobs))
        assert watcher.read()[:2] == (7, "OK")
        watcher.ok("AUTH", {"user": "user", "password": "correct horse"})
        raw.push(jobs, "a")
        assert watcher.ok("UNWATCH", 7) == (False,)


async def test_a_watcher_that_reads_nothing_costs_no_memory_and_no_waiting(tmp_path):
    async with gated_server(tmp_path, level=Level.WRITTEN) as gated:
        admin, watcher = await gated.connect(), await gated.connect("user")
        await admin.call("CREATE", "jobs")
        watcher.send("WATCH", "*", {"credit": 65_536})
        assert (await watcher.read())[1] == "OK"
        (session,) = [each for each in gated.server._sessions if each.identity.role.word == "user"]
        session.pause_writing()
        for _ in range(200):
            assert (await admin.call("PUSH", "jobs", 1, A))[1] == "OK"
        assert session.outbox.size_bytes == 0
        session.resume_writing()
        assert (await watcher.read())[1:] == ("EVENT", (), 200)
        assert (await admin.call("PUSH", "jobs", 1, A))[1] == "OK"
        assert kinds(await watcher.read()) == [("pushed", (201, 1))]


async def test_a_status_is_told_when_it_is_synced(tmp_path):
    async with gated_server(tmp_path) as gated:
        admin, watcher = await gated.connect(), await gated.connect("user")
        await admin.call("CREATE", "jobs", {"keep_results_seconds": 60})
        await admin.call("PUSH", "jobs", 1, A)
        lease = (await admin.call("PULL", "jobs", 1, {"lease": 60}))[5]
        gated.files.sync_gate.clear()
        assert (await admin.call("ACK", lease, {"durability": "accepted"}))[1] == "OK"
        asked = watcher.send("STATUS", "jobs", (1, 1))
        assert await watcher.hears_nothing()
        gated.files.sync_gate.set()
        assert (await watcher.read())[0] == asked


async def test_an_event_is_told_when_its_record_is_synced(tmp_path):
    async with gated_server(tmp_path) as gated:
        admin, watcher = await gated.connect(), await gated.connect("user")
        await admin.call("CREATE", "jobs")
        watcher.send("WATCH", "*")
        assert (await watcher.read())[1] == "OK"
        gated.files.sync_gate.clear()
        pushed = admin.send("PUSH", "jobs", 1, A, {"durability": "accepted"})
        assert (await admin.read())[:2] == (pushed, "OK")
        assert await watcher.hears_nothing()
        gated.files.sync_gate.set()
        assert kinds(await watcher.read()) == [("pushed", (1, 1))]
