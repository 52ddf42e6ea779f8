"""STATUS: what it says of messages, and how it waits until they have come to an end."""

from __future__ import annotations

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine import statuses
from mqd.engine.base import Append, GiveBack, PushOptions, Settle, Terms
from mqd.engine.local import LocalEngine, Settings
from mqd.engine.storage import MemoryOnly
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.limits import FRAME_OVERHEAD_BYTES, MAX_FRAME_BYTES
from mqwire.packs import join_bodies

W1 = {"instance": "w1", "host": "n1"}


class Clock:
    ms = 1000

    def now_ms(self):
        return self.ms


class Bench:
    """An engine with a queue, and short ways to do things in turns of their own."""

    def __init__(self, room_bytes=MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES, **options):
        self.clock = Clock()
        settings = Settings(
            max_frame_bytes=room_bytes + FRAME_OVERHEAD_BYTES,
            level=Level.SYNCED,
            grace_ms=1000,
            epoch=7,
        )
        broker = Broker(Bounds(10_000, 1 << 30, 5))
        self.engine = LocalEngine(broker, MemoryOnly(), self.clock.now_ms, settings)
        self.engine.create("jobs", options, if_missing=False)
        self.ended = []  # the states that waits ended with
        self.told = []  # all that they were told

    def end_turn(self):
        if self.engine.views.has_listeners:
            self.engine.views.tell()
        self.engine.end_turn(Level.ACCEPTED)
        self.engine.begin_turn()

    def pass_time(self, ms):
        self.clock.ms += ms
        self.engine.begin_turn()
        self.engine.expire()
        self.end_turn()

    def push(self, *texts):
        self.engine.push("jobs", len(texts), join_bodies(texts), (), None)

    def push_with(self, *texts, **options):
        part = Append("jobs", len(texts), join_bodies(texts), (), PushOptions(**options))
        self.engine.push_with(part, None)

    def lease(self, most=1):
        (_, _, _, name), _ = self.engine.jobs.lease("jobs", most, Terms(5000, W1), None)
        return name

    def ack(self, name, *ids, result=None):
        self.engine.jobs.ack((*name, ids, "w1"), None, result)
        self.end_turn()

    def give_back(self, name, *ids, **how):
        self.engine.jobs.give_back((*name, ids, "w1"), GiveBack(**how), None)
        self.end_turn()

    def status(self, *ids):
        (found,), level = self.engine.views.status("jobs", ids)
        assert level is Level.ACCEPTED
        return found

    def wait(self, *ids, seconds=60):
        def on_end(outcome, level):
            is_refused = isinstance(outcome, CodedError)
            self.ended.append(outcome if is_refused else [each["state"] for each in outcome[0]])
            self.told.append(outcome if is_refused else outcome[0])
            assert level is Level.ACCEPTED

        return self.engine.views.wait("jobs", ids, seconds, on_end)


@pytest.fixture
def bench():
    return Bench(keep_results_seconds=10)


def test_what_there_is_to_say_of_each_state(bench):
    bench.push(*"abcdefg")
    bench.engine.pull("jobs", 1, None)
    name = bench.lease(5)
    bench.ack(name, 2, 1, result=b"r")
    bench.give_back(name, 3, 1, cause="nack", delay_ms=500)
    bench.give_back(name, 4, 1, cause="hand_back")
    bench.give_back(name, 5, 1, cause="reject", reason="broken")
    none = {"deliveries": 0, "attempts": 0, "losses": 0}
    once = {"deliveries": 1, "attempts": 0, "losses": 0}
    assert bench.status(1, 8) == (
        {"id": 1, "state": "gone"},
        {"id": 2, "state": "done", **once, "ended_at": 1.0, "result": b"r"},
        {"id": 3, "state": "delayed", "deliveries": 1, "attempts": 1, "losses": 0, "due_at": 1.5},
        {"id": 4, "state": "ready", "position": 0, **once},
        {"id": 5, "state": "dead", **once, "cause": "reject", "error": "broken", "ended_at": 1.0},
        {
            "id": 6,
            "state": "leased",
            **once,
            "lease": name,
            "holder": "w1",
            "host": "n1",
            "leased_at": 1.0,
            "deadline_at": 6.0,
        },
        {"id": 7, "state": "ready", "position": 1, **none},
        {"id": 8, "state": "unknown"},
    )
    assert [each["id"] for each in bench.status(7, 1, 2, 1)] == [7, 2]


def redriven(bench):
    bench.give_back(bench.lease(), cause="reject", reason="broken")
    assert bench.engine.jobs.redrive("dead", 9, ()) == (1, Level.ACCEPTED)
    bench.end_turn()


def test_what_has_come_back_is_told_of_by_its_old_id_and_waited_for():
    bench = Bench(dead_letter="dead", keep_results_seconds=10)
    bench.push("a")
    redriven(bench)
    place = {"moved_to": {"queue": "jobs", "id": 2}}
    once = {"deliveries": 1, "attempts": 0, "losses": 0}
    assert bench.status(1, 1) == ({"id": 1, "state": "ready", "position": 0, **once, **place},)
    bench.wait(1, 2)
    name = bench.lease()
    (entry,) = bench.status(1, 1)
    assert (entry["state"], entry["lease"], entry["deadline_at"]) == ("leased", name, 6.0)
    bench.engine.views.cancel("jobs", (2, 1), None)
    (entry,) = bench.status(1, 1)
    assert entry["is_cancelled"]
    assert bench.ended == []
    bench.ack(name, result="r")
    assert bench.ended == [["done", "done"]]
    (entry,) = bench.status(1, 1)
    assert (entry["result"], entry["moved_to"]) == ("r", place["moved_to"])


@pytest.mark.parametrize("way", ["ack", "reject", "wake", "mended"])
def test_a_wait_knows_the_new_id_when_the_queue_has_forgotten_it(way):
    bench = Bench(dead_letter="dead", keep_results_seconds=2)
    bench.push("a")
    redriven(bench)
    wait = bench.wait(1, 2)
    name = bench.lease()
    bench.pass_time(2000)
    assert bench.status(1, 1)[0]["state"] == "gone"
    if way == "ack":
        bench.ack(name)
    elif way == "reject":
        bench.give_back(name, cause="reject")
    elif way == "wake":
        bench.engine.wake(wait)
    else:
        bench.engine.jobs.give_back((*name, (), "w1"), GiveBack(cause="reject"), None)
        bench.engine.jobs.redrive("dead", 9, ())
        bench.end_turn()
    state = {"ack": "done", "reject": "dead", "wake": "leased", "mended": "ready"}[way]
    place = {"ack": ("jobs", 2), "reject": ("dead", 2), "wake": ("jobs", 2), "mended": ("jobs", 3)}
    assert bench.ended == [[state, state]]
    queue, message_id = place[way]
    assert bench.told[0][0]["moved_to"] == {"queue": queue, "id": message_id}


def test_a_wait_knows_the_new_id_of_what_had_ended_before_it_began():
    bench = Bench(dead_letter="dead", keep_results_seconds=2)
    bench.push("a")
    redriven(bench)
    bench.pass_time(1000)
    bench.ack(bench.lease(), result="r")
    bench.push("b")
    bench.wait(1, 1, 3, 1)
    bench.pass_time(1000)
    bench.ack(bench.lease())
    assert bench.ended == [["done", "done"]]
    assert (bench.told[0][0]["id"], bench.told[0][0]["result"]) == (1, "r")


def test_a_wait_ends_with_a_death_that_was_mended_in_the_same_turn():
    bench = Bench(dead_letter="dead", keep_results_seconds=10)
    bench.push("a")
    bench.wait(1, 1)
    name = bench.lease()
    bench.engine.jobs.give_back((*name, (), "w1"), GiveBack(cause="reject"), None)
    bench.engine.jobs.redrive("dead", 9, ())
    bench.end_turn()
    assert bench.ended == [["ready"]]  # as if the server had ended the wait early
    bench.wait(1, 1)
    redriven(bench)
    assert bench.ended[1] == ["dead"]


def test_dead_letters_say_where_they_went():
    for options in ({}, {"keep_results_seconds": 10}):
        bench = Bench(dead_letter="dead", max_attempts=2, **options)
        bench.push("a")
        bench.give_back(bench.lease(), cause="nack", reason="one")
        bench.give_back(bench.lease(), cause="nack", reason="two")
        (entry,) = bench.status(1, 1)
        assert entry == {
            "id": 1,
            "state": "dead",
            "deliveries": 2,
            "attempts": 2,
            "losses": 0,
            "ended_at": 1.0,
            "cause": "nack",
            "error": "two",
            "moved_to": {"queue": "dead", "id": 1},
        }


def test_a_reply_is_bounded(monkeypatch):
    bench = Bench(1000, keep_results_seconds=10)
    bench.push(*"abc")
    bench.ack(bench.lease(3), result=b"x" * 600)
    assert [each["id"] for each in bench.status(1, 3)] == [1]
    assert [each["id"] for each in bench.status(2, 2)] == [2]
    bench.push(*"abc")
    monkeypatch.setattr(statuses, "MAX_STATUSES", 2)
    assert [each["id"] for each in bench.status(4, 3)] == [4, 5]


def test_results_are_forgotten_in_time(bench):
    bench.push("a")
    bench.ack(bench.lease(), result="r")
    assert bench.engine.next_deadline_ms() == 11_000
    bench.pass_time(9_999)
    assert bench.status(1, 1)[0]["result"] == "r"
    bench.pass_time(1)
    assert bench.status(1, 1) == ({"id": 1, "state": "gone"},)
    assert len(bench.engine.broker.queue("jobs").kept) == 0
    assert bench.engine.next_deadline_ms() is None


# Waiting


def test_a_wait_ends_with_the_last_of_its_messages(bench):
    bench.push(*"abcd")
    bench.wait(1, 4)
    assert bench.engine.views.has_listeners
    name = bench.lease(3)
    bench.ack(name, 1, 1)
    bench.give_back(name, 2, 1, cause="reject")
    bench.engine.pull("jobs", 1, None)
    bench.end_turn()
    assert not bench.ended
    bench.ack(name, 3, 1)
    assert bench.ended == [["done", "dead", "done", "gone"]]
    assert not bench.engine.views.has_listeners
    assert bench.engine.broker.queue("jobs").waiters == {}


@pytest.mark.parametrize("ids", [(1, 1), (5, 1), (1, 1, 5, 2)])
def test_there_is_no_wait_for_what_has_ended_or_never_was(bench, ids):
    bench.push("a", "b")
    bench.ack(bench.lease())
    assert bench.wait(*ids) is None
    assert not bench.engine.views.has_listeners


def test_an_end_is_told_once_the_turn_ends(bench):
    bench.push("a")
    name = bench.lease()
    bench.wait(1, 1)
    bench.engine.jobs.ack((*name, (), "w1"), None)
    assert bench.ended == []
    bench.end_turn()
    assert bench.ended == [["done"]]


def test_what_comes_back_has_not_ended(bench):
    bench.push("a")
    bench.wait(1, 1)
    bench.give_back(bench.lease(), cause="nack")
    bench.give_back(bench.lease(), cause="nack", delay_ms=50)
    bench.pass_time(100)
    bench.lease()
    bench.pass_time(5_000)
    assert (bench.ended, bench.status(1, 1)[0]["state"]) == ([], "ready")
    bench.lease()
    bench.engine.jobs.arrive("w1")
    bench.engine.jobs.leave("w1", has_grace=False)
    bench.pass_time(1)
    assert (bench.ended, bench.status(1, 1)[0]["state"]) == ([], "ready")
    assert bench.status(1, 1)[0]["losses"] == 2


def test_a_wait_ends_by_time(bench):
    bench.push("a", "b")
    bench.wait(1, 2, seconds=2)
    bench.ack(bench.lease())
    assert bench.engine.next_deadline_ms() == 3001
    bench.pass_time(2000)
    assert bench.ended == []
    bench.pass_time(1)
    assert bench.ended == [["done", "ready"]]
    assert not bench.engine.views.has_listeners
    bench.engine.pull("jobs", 1, None)
    bench.end_turn()
    assert len(bench.ended) == 1


def test_a_wait_can_be_ended_or_forgotten(bench):
    bench.push("a", "b")
    one, other, third = bench.wait(1, 2), bench.wait(2, 1), bench.wait(1, 1)
    assert not one.is_over
    assert bench.engine.wake(one)
    assert not bench.engine.wake(one)
    bench.engine.forget(one)
    bench.engine.forget(other)
    bench.engine.forget(other)
    assert bench.ended == [["ready", "ready"]]
    assert one.is_over
    bench.engine.forget(third)
    assert not bench.engine.views.has_listeners
    bench.engine.pull("jobs", 2, None)
    bench.end_turn()
    bench.pass_time(90_000)
    assert len(bench.ended) == 1


@pytest.mark.parametrize("state", ["waiting", "dead"])
def test_purging_ends_waits(bench, state):
    bench.push("a", "b")
    bench.wait(1, 2)
    if state == "waiting":
        bench.engine.purge("jobs")
    else:
        bench.give_back(bench.lease(2), cause="reject")
        assert bench.ended == [["dead", "dead"]]
        bench.engine.jobs.purge_dead("jobs")
        bench.end_turn()
        return
    bench.end_turn()
    assert bench.ended == [["gone", "gone"]]


def test_purging_leaves_what_is_leased(bench):
    bench.push("a", "b", "c")
    name = bench.lease()
    bench.wait(1, 2)
    bench.wait(2, 1)
    bench.engine.purge("jobs")
    bench.end_turn()
    assert bench.ended == [["gone"]]
    bench.ack(name)
    assert bench.ended[1:] == [["done", "gone"]]


def test_more_messages_may_end_than_are_waited_for(bench):
    bench.push(*"abcdef")
    bench.wait(3, 1, 6, 1)
    bench.engine.pull("jobs", 5, None)
    bench.end_turn()
    assert bench.ended == []
    bench.engine.pull("jobs", 1, None)
    bench.end_turn()
    assert bench.ended == [["gone", "gone"]]


def test_deleting_the_queue_refuses_waits(bench):
    bench.push("a")
    bench.wait(1, 1)
    bench.engine.delete("jobs")
    bench.engine.create("jobs", {}, if_missing=False)
    bench.push("a")
    again = bench.wait(1, 1)
    bench.end_turn()
    (refusal,) = bench.ended
    assert refusal.code is Code.QUEUE_NOT_FOUND
    assert not again.is_over
    bench.ack(bench.lease())
    assert bench.ended[1:] == [["gone"]]


@pytest.mark.parametrize("way", ["wake", "forget", "time"])
def test_a_wait_may_end_in_the_turn_in_which_its_queue_is_deleted(bench, way):
    bench.push("a")
    wait = bench.wait(1, 1, seconds=1)
    bench.engine.delete("jobs")
    if way == "time":
        bench.clock.ms += 5000
        bench.engine.begin_turn()
        bench.engine.expire()
    else:
        getattr(bench.engine, way)(wait)
    bench.end_turn()
    assert bench.ended == ([] if way == "forget" else [["ready"]])
    assert not bench.engine.views.has_listeners


def test_many_waits_for_many_messages_of_many_queues(bench):
    bench.engine.create("more", {}, if_missing=False)
    bench.push(*"abcdef")
    for first in range(1, 7):
        bench.wait(first, 7 - first)
    name = bench.lease(6)
    for number in range(1, 7):
        bench.ack(name, number, 1)
    assert len(bench.ended) == 6
    assert all(set(each) == {"done"} for each in bench.ended)
    assert not bench.engine.views.has_listeners


def test_a_message_may_be_waited_for_by_many_and_twice_by_one(bench):
    bench.push("a", "b")
    bench.wait(1, 1, 1, 1)
    bench.wait(1, 1)
    bench.wait(2, 1)
    bench.ack(bench.lease())
    assert bench.ended == [["done", "done"], ["done"]]


def test_a_queue_that_is_not_there_is_refused(bench):
    for ask in (
        bench.engine.views.status,
        lambda name, ids: bench.engine.views.wait(name, ids, 1, None),
    ):
        with pytest.raises(CodedError) as caught:
            ask("nowhere", (1, 1))
        assert caught.value.code is Code.QUEUE_NOT_FOUND


# What pushes and queues may say beyond plain ones


def test_parcels_are_ready_by_priority_or_delayed_until_their_time(bench):
    bench.push("a")
    bench.push_with("b", "c", priority=200)
    bench.push_with("d", delay_ms=500)
    none = {"deliveries": 0, "attempts": 0, "losses": 0}
    assert bench.status(1, 4) == (
        {"id": 1, "state": "ready", "position": 2, **none},
        {"id": 2, "state": "ready", "position": 0, **none},
        {"id": 3, "state": "ready", "position": 1, **none},
        {"id": 4, "state": "delayed", **none, "due_at": 1.5},
    )
    bench.wait(2, 3)
    name = bench.lease(2)
    assert [each["state"] for each in bench.status(1, 3)] == ["ready", "leased", "leased"]
    bench.ack(name, 2, 1, result="r")
    assert bench.status(2, 1)[0]["result"] == "r"
    bench.engine.pull("jobs", 9, None)
    bench.ack(name)
    assert not bench.ended
    bench.pass_time(500)
    bench.engine.pull("jobs", 9, None)
    bench.end_turn()
    assert bench.ended == [["done", "done", "gone"]]


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_wait_ends_when_its_messages_expire(is_kept):
    bench = Bench(**({"keep_results_seconds": 10} if is_kept else {}))
    bench.push_with("a", "b", ttl_ms=100)
    bench.push_with("c", ttl_ms=100)
    bench.wait(1, 3)
    bench.lease(1)
    name = bench.lease(1)
    bench.pass_time(200)
    assert bench.ended == []
    bench.give_back(name, cause="nack")
    bench.pass_time(5000)
    assert bench.ended == [["gone"] * 3]
    causes = [each.get("cause") for each in bench.status(1, 3)]
    assert causes == (["ttl"] * 3 if is_kept else [None] * 3)


def test_a_wait_ends_when_what_has_expired_is_dead():
    bench = Bench(ttl_seconds=0.1, on_expiry="dead_letter", dead_letter="dead")
    bench.push("a", "b")
    name = bench.lease()
    bench.wait(1, 2)
    bench.pass_time(100)
    bench.give_back(name, cause="hand_back")
    assert bench.ended == [["dead", "dead"]]
    (one, two) = bench.status(1, 2)
    assert (one["cause"], two["cause"]) == ("ttl", "ttl")
    assert two["moved_to"] == {"queue": "dead", "id": 1}


@pytest.mark.parametrize("key", [None, "k"])
def test_a_step_leaves_results_and_ends_waits(bench, key):
    bench.push("a", "b")
    one, two = bench.lease(), bench.lease()
    bench.wait(1, 2)
    parts = (
        Settle((*one, (), "w1"), result="r"),
        Settle((*two, (), "w1"), GiveBack("reject", "broken")),
        Append("jobs", 1, join_bodies("c"), (), PushOptions(key="p")),
    )
    done, _ = bench.engine.step(parts, key, None)
    bench.end_turn()
    assert bench.ended == [["done", "dead"]]
    assert bench.status(1, 1)[0]["result"] == "r"
    assert bench.status(2, 1)[0]["error"] == "broken"
    if key is not None:
        again, _ = bench.engine.step(parts, key, None)
        assert again == done._replace(is_repeat=True)
        others = (Settle((*one, (), "w1"), result="other"), *parts[1:])
        with pytest.raises(CodedError) as caught:
            bench.engine.step(others, key, None)
        assert caught.value.code is Code.KEY_REUSED


def test_waits_hear_of_pushes_by_key_and_of_delays_that_are_over(bench):
    bench.wait(1, 1)
    bench.push("a")
    bench.wait(1, 1)
    bench.push_with("b", key="k")
    bench.push_with("c", "d", delay_ms=100)
    bench.pass_time(100)
    bench.pass_time(60_001)
    assert bench.ended == [["ready"]]


def test_a_queue_that_ends_without_use_refuses_those_who_wait():
    bench = Bench(expires_seconds=10)
    bench.push("a")
    bench.pass_time(9_999)
    bench.wait(1, 1)
    bench.pass_time(1)
    assert bench.ended == [], "whoever asks uses it"
    bench.pass_time(9_999)
    (refused,) = bench.ended
    assert refused.code is Code.QUEUE_NOT_FOUND


# Cancelling


def test_cancelling_removes_marks_and_ends_waits(bench):
    bench.push(*"abcd")
    name = bench.lease(2)
    bench.wait(1, 3)
    assert bench.engine.views.cancel("jobs", (2, 2), None) == ((1, 1), Level.ACCEPTED)
    bench.end_turn()
    assert [each["state"] for each in bench.status(1, 4)] == [
        "leased",
        "leased",
        "cancelled",
        "ready",
    ]
    assert [each.get("is_cancelled") for each in bench.status(1, 2)] == [None, True]
    assert bench.engine.jobs.cancelled((*name, (), "w1")) == (2, 1)
    bench.ack(name, 1, 1)
    assert bench.ended == []
    bench.give_back(name, cause="nack", reason="stopped")
    assert bench.ended == [["done", "cancelled", "cancelled"]]
    assert bench.status(2, 1) == (
        {
            "id": 2,
            "state": "cancelled",
            "deliveries": 1,
            "attempts": 1,
            "losses": 0,
            "ended_at": 1.0,
        },
    )
    assert bench.engine.info("jobs")["cancelled"] == 2


def test_cancelling_goes_by_the_queues_level_or_its_own(bench):
    bench.push("a")
    with pytest.raises(CodedError) as caught:
        bench.engine.views.cancel("jobs", (1, 1), Level.SYNCED)
    assert caught.value.code is Code.NO_JOURNAL
    assert bench.status(1, 1)[0]["state"] == "ready"
