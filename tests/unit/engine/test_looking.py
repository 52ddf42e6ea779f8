"""PEEK's results: columns for what there is, and never more bytes than there is room for."""

from __future__ import annotations

import msgpack
import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine.base import NO_MESSAGES, Append, GiveBack, PushOptions, Terms
from mqd.engine.local import LocalEngine, Settings
from mqd.engine.storage import MemoryOnly
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.limits import FRAME_OVERHEAD_BYTES, MAX_FRAME_BYTES
from mqwire.packs import join_bodies, split_pack

W1 = {"instance": "w1", "host": "n1"}


class Clock:
    ms = 1000

    def now_ms(self):
        return self.ms


def new_engine(clock, room_bytes=MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES):
    settings = Settings(
        max_frame_bytes=room_bytes + FRAME_OVERHEAD_BYTES,
        level=Level.SYNCED,
        grace_ms=1000,
        epoch=7,
    )
    engine = LocalEngine(Broker(Bounds(1000, 1 << 30, 5)), MemoryOnly(), clock.now_ms, settings)
    engine.create("jobs", {"dead_letter": "dead"}, if_missing=False)
    return engine


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(clock):
    return new_engine(clock)


def push(engine, *texts, headers=()):
    engine.push("jobs", len(texts), join_bodies(texts), headers, None)


def lease(engine, most=1, lease_ms=5000):
    (_, _, _, name), _ = engine.jobs.lease("jobs", most, Terms(lease_ms, W1), None)
    return name


def give_back(engine, name, *ids, **how):
    engine.jobs.give_back((*name, ids, "w1"), GiveBack(**how), None)


def test_a_plain_peek_shows_packs_as_they_are(engine):
    push(engine, "a", "b")
    pack = join_bodies(["a", "b"])
    assert engine.peek("jobs", 0, 9) == ((1, 2), [pack])
    assert engine.peek("jobs", 0, 9, "ready") == ((1, 2), [pack])
    assert engine.peek("jobs", 2, 9) == NO_MESSAGES
    for state in ("delayed", "leased", "dead"):
        assert engine.peek("jobs", 0, 9, state) == NO_MESSAGES


def test_returned_messages_have_columns_and_others_their_zeros(engine, clock):
    push(engine, "a", "b", headers=((1, 1, {"k": 1}, 4),))
    clock.ms = 2000
    engine.begin_turn()
    name = lease(engine)
    clock.ms = 3000
    engine.begin_turn()
    give_back(engine, name, cause="nack", reason="no luck")
    entry = {"owner": W1, "leased_at": 2.0, "ended_at": 3.0, "cause": "nack", "reason": "no luck"}
    assert engine.peek("jobs", 0, 9) == (
        (1, 2),
        (join_bodies(["a", "b"]),),
        {
            "deliveries": [1, 0],
            "attempts": [1, 0],
            "history": [(entry,), None],
            "headers": [None, {"k": 1}],
        },
    )


def test_a_returned_message_with_nothing_to_tell_has_no_columns(engine):
    push(engine, "a", "b", "c")
    pulled, _ = engine.pull("jobs", 1, None)
    assert pulled[0] == (1, 1)
    name = lease(engine, 2)
    ids, packs, columns = engine.peek("jobs", 0, 9, "leased")
    assert (ids, packs) == ((2, 2), (join_bodies(["b", "c"]),))
    assert columns == {
        "deliveries": [1, 1],
        "lease": [name, name],
        "holder": ["w1", "w1"],
        "deadline_at": [6.0, 6.0],
    }


def test_the_delayed_say_until_when_and_dead_letters_where_from(engine):
    push(engine, "a", "b")
    name = lease(engine, 2)
    give_back(engine, name, 1, 1, cause="nack", delay_ms=500)
    give_back(engine, name, 2, 1, cause="reject", reason="broken")
    ids, _, columns = engine.peek("jobs", 0, 9, "delayed")
    assert (ids, columns["due_at"]) == ((1, 1), [1.5])
    ids, packs, columns = engine.peek("dead", 0, 9)
    assert (ids, packs) == ((1, 1), (join_bodies(["b"]),))
    origin = {"queue": "jobs", "id": 2, "pushed_at": 1.0, "attempts": 0, "losses": 0}
    assert columns["origin"] == [origin]
    assert columns["history"][0][0]["cause"] == "reject"


def test_dead_messages_that_stay(engine):
    engine.delete("dead")
    push(engine, "a", "b", "c")
    name = lease(engine, 3)
    give_back(engine, name, 3, 1, cause="reject")
    give_back(engine, name, 1, 1, cause="reject")
    ids, packs, _ = engine.peek("jobs", 0, 9, "dead")
    assert (ids, split_pack(packs[0])) == ((3, 1, 1, 1), [b"\xa1c", b"\xa1a"])
    assert engine.peek("jobs", 1, 9, "dead")[0] == (1, 1)
    assert engine.peek("jobs", 0, 1, "dead")[0] == (3, 1)


@pytest.mark.parametrize("room_bytes", [200, 400, 1000, 5000])
def test_what_is_shown_fits(clock, room_bytes):
    engine = new_engine(clock, room_bytes)
    push(engine, *("x" * 20 for _ in range(40)))
    name = lease(engine, 40)
    for _ in range(3):
        give_back(engine, name, cause="nack", reason="y" * 50)
        name = lease(engine, 40)
    shown = 0
    while (found := engine.peek("jobs", shown, 99, "leased")) != NO_MESSAGES:
        ids, packs, columns = found
        count = len(split_pack(packs[0]))
        rows = [
            {key: values[index] for key, values in columns.items() if values[index] is not None}
            for index in range(count)
        ]
        size = sum(map(len, packs)) + sum(len(msgpack.packb(row)) for row in rows)
        assert size <= room_bytes or count == 1
        assert ids == (shown + 1, count)
        shown += count
    assert shown == engine.info("jobs")["leased"] > 1


@pytest.mark.parametrize("room_bytes", [3000, 20_000])
def test_what_only_some_messages_have_is_room_for_all(clock, room_bytes):
    engine = new_engine(clock, room_bytes)
    for number in range(50):
        told = PushOptions(priority=100 + number, ttl_ms=9_000 + number)
        engine.push_with(Append("jobs", 1, join_bodies("x"), (), told), None)
        push(engine, *"yz", headers=((0, 1, {"k": 1}, 4),))
    give_back(engine, lease(engine, 9), cause="nack", reason="y" * 50)
    shown, rooms = 0, []
    while (found := engine.peek("jobs", shown, 200)) != NO_MESSAGES:
        ids, _, columns = found
        rooms.append(len(msgpack.packb(found)))
        shown += sum(ids[1::2])
        assert all(len(column) == sum(ids[1::2]) for column in columns.values())
    assert shown == engine.info("jobs")["ready"] == 150
    assert max(rooms) < room_bytes + 150, "names of columns are the frame's"


def test_priorities_and_times_are_told_of_what_waits(engine):
    told = PushOptions(priority=7, ttl_ms=9_000, delay_ms=500)
    engine.push_with(Append("jobs", 2, join_bodies("ab"), (), told), None)
    assert engine.peek("jobs", 1, 9, "delayed") == (
        (2, 1),
        (join_bodies("b"),),
        {"priority": [7], "due_at": [1.5], "expires_at": [10.0]},
    )
    push(engine, "c")
    told = PushOptions(priority=7, ttl_ms=9_000)
    engine.push_with(Append("jobs", 1, join_bodies("d"), (), told), None)
    ids, _, columns = engine.peek("jobs", 0, 9)
    assert (ids, columns) == ((3, 2), {"priority": [128, 7], "expires_at": [None, 10.0]})
    lease(engine, 2)
    assert "expires_at" not in engine.peek("jobs", 0, 9, "leased")[2]


def test_of_a_history_without_room_the_oldest_entries_go(clock):
    engine = new_engine(clock, 1000)
    push(engine, "x" * 200)
    for number in range(12):
        give_back(engine, lease(engine), cause="nack", reason=f"{number}" + "y" * 100)
    _, _, columns = engine.peek("jobs", 0, 1)
    reasons = [entry["reason"][:2] for entry in columns["history"][0]]
    assert reasons == [f"{number}y"[:2] for number in range(12 - len(reasons), 12)]
    assert 0 < len(reasons) < 12


def test_of_a_history_without_any_room_nothing_is_left(clock):
    engine = new_engine(clock, 300)
    push(engine, "x" * 290)
    give_back(engine, lease(engine), cause="nack", reason="y" * 100)
    ids, packs, columns = engine.peek("jobs", 0, 1)
    assert (ids, packs) == ((1, 1), (join_bodies(["x" * 290]),))
    assert columns == {"deliveries": [1], "attempts": [1]}


def test_one_message_is_told_with_its_state(engine):
    push(engine, "a", "b", "c")
    lease(engine, 1)
    assert engine.peek_one("jobs", 3) == ((3, 1), (join_bodies("c"),), {"state": ["ready"]})
    ids, packs, columns = engine.peek_one("jobs", 1)
    assert (ids, packs, columns["state"]) == ((1, 1), (join_bodies("a"),), ["leased"])
    assert columns["lease"] == [(7, 1)]
    assert engine.peek_one("jobs", 1, "leased")[2] == columns
    assert engine.peek_one("jobs", 1, "ready") == NO_MESSAGES
    assert engine.peek_one("jobs", 4) == NO_MESSAGES
    told = PushOptions(ttl_ms=9_000, delay_ms=500)
    engine.push_with(Append("jobs", 1, join_bodies("d"), (), told), None)
    columns = {"state": ["delayed"], "due_at": [1.5], "expires_at": [10.0]}
    assert engine.peek_one("jobs", 4)[2] == columns


def test_looking_changes_nothing(engine):
    push(engine, "a", "b", "c")
    name = lease(engine, 2)
    before = list(engine.broker.export())
    for state in ("ready", "delayed", "leased", "dead"):
        engine.peek("jobs", 0, 9, state)
    assert list(engine.broker.export()) == before
    assert engine.jobs.ack((*name, (), "w1"), None)[0] == 2


def test_a_queue_that_is_not_there_is_refused(engine):
    with pytest.raises(CodedError):
        engine.peek("nowhere", 0, 1, "dead")
    with pytest.raises(CodedError):
        engine.peek_one("nowhere", 1)
