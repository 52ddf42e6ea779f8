from __future__ import annotations

import pytest

from mqd.core import records
from mqd.core.broker import Broker
from mqd.core.fifo import ANY_SIZE
from mqd.core.held import BY_AGE_EVERY
from mqd.core.parcels import PushExtras
from mqd.core.queue import Waiter
from mqwire.codes import Code
from mqwire.packs import join_bodies
from support.jobs import BOUNDS, Desk, ack, refusal, texts_of


def push(desk, *texts, headers=(), now_ms=0, **extras):
    pack = join_bodies(texts)
    record = desk.broker.plan_push(
        "jobs", len(texts), pack, headers, now_ms, extras=PushExtras(**extras)
    )
    return desk.do(record)


def takes(desk, most=1, times=1):
    queue = desk.broker.queue("jobs")
    return ["".join(texts_of(desk.broker.take(queue, most, ANY_SIZE))) for _ in range(times)]


# Priorities


def test_higher_priorities_come_first_and_ids_within_one():
    desk = Desk()
    push(desk, "a", priority=0)
    push(desk, "b", "c", priority=255)
    desk.push("d")
    push(desk, "e", priority=255)
    push(desk, "f", priority=127)
    push(desk, "g")
    assert "".join(desk.texts()) == "bcedgfa"


def test_ids_of_all_priorities_are_one_sequence():
    desk = Desk()
    assert desk.push("a") == 1
    assert push(desk, "b", "c", priority=9) == 2
    assert desk.push("d") == 4
    queue = desk.broker.queue("jobs")
    batches = desk.broker.take(queue, 9, ANY_SIZE)
    assert [(batch.first_id, batch.count) for batch in batches] == [(1, 1), (4, 1), (2, 2)]


def test_whole_packs_leave_as_they_came_and_are_joined_where_ids_follow():
    desk = Desk()
    packs = [join_bodies("ab"), join_bodies("cd")]
    for pack in packs:
        desk.do(desk.broker.plan_push("jobs", 2, pack, (), 0, extras=PushExtras(priority=3)))
    (batch,) = desk.broker.take(desk.broker.queue("jobs"), 4, ANY_SIZE)
    assert (batch.first_id, batch.count) == (1, 4)
    assert all(taken is pack for taken, pack in zip(batch.packs, packs, strict=True))


def test_a_parcel_is_cut_where_a_pull_ends_in_it():
    desk = Desk()
    push(desk, *"abcde", priority=3, headers=((1, 2, {"k": 1}, 3),))
    queue = desk.broker.queue("jobs")
    found = [desk.broker.take(queue, 2, ANY_SIZE)[0] for _ in range(3)]
    assert [(batch.first_id, "".join(texts_of([batch]))) for batch in found] == [
        (1, "ab"), (3, "cd"), (5, "e")
    ]  # fmt: skip
    assert [batch.headers for batch in found] == [[None, {"k": 1}], [{"k": 1}, None], None]
    assert queue.free_bytes == BOUNDS.max_bytes


@pytest.mark.parametrize(
    ("room", "expected"), [(0, "a"), (8, "a"), (9, "ab"), (15, "abc"), (18, "abcd")]
)
def test_room_bounds_what_leaves_parcels_but_never_below_one(room, expected):
    desk = Desk()
    push(desk, *"abc", priority=3)
    push(desk, "d", priority=3)
    held = desk.broker.queue("jobs").hold()
    _, number = held.first(by_age=False)
    batch = held.take(number, 9, room, 1)
    assert "".join(texts_of([batch])) == expected


def test_a_message_that_comes_back_takes_its_old_place():
    desk = Desk()
    push(desk, *"ab", priority=200)
    desk.push(*"cd")
    push(desk, *"ef", priority=200)
    seq, batches = desk.lease(3)
    assert "".join(texts_of(batches)) == "abe"
    desk.hand_back(seq)
    other, batches = desk.lease(5)
    assert "".join(texts_of(batches)) == "abefc"
    desk.nack(other, 1, 1, 3, 1)
    assert "".join(desk.texts()) == "acd"


def test_returned_messages_of_several_priorities_are_no_run():
    desk = Desk()
    for text, priority in zip("abc", (200, 100, 150), strict=True):
        push(desk, text, priority=priority)
    seq, _ = desk.lease(3)
    desk.hand_back(seq)
    batches = desk.broker.take(desk.broker.queue("jobs"), 9, ANY_SIZE)
    assert [texts_of([batch]) for batch in batches] == [["a"], ["c"], ["b"]]


def test_a_batch_ends_where_ids_do_not_follow():
    desk = Desk()
    push(desk, "a", priority=200)
    desk.push("b")
    push(desk, "c", priority=200)
    queue = desk.broker.queue("jobs")
    batches = desk.broker.take(queue, 9, ANY_SIZE)
    assert [(batch.first_id, batch.count) for batch in batches] == [(1, 1), (3, 1), (2, 1)]


def test_a_lease_of_parts_of_parcels_is_settled_message_by_message():
    desk = Desk()
    push(desk, *"abcd", priority=200, headers=((0, 4, {"k": 1}, 3),))
    seq, _ = desk.lease(3)
    assert desk.do(desk.jobs.plan_ack((7, seq, (2, 1), None))) == 1
    assert desk.nack(seq) == 2
    _, batches = desk.lease(9)
    assert "".join(texts_of(batches)) == "acd"
    assert batches[0].headers == [{"k": 1}]
    assert batches[0].messages[0].priority == 200


def test_every_so_many_takes_one_goes_by_age():
    desk = Desk()
    desk.push("x", "y")
    push(desk, *"a" * 40, priority=255)
    found = takes(desk, times=2 * BY_AGE_EVERY)
    assert [index + 1 for index, text in enumerate(found) if text != "a"] == [
        BY_AGE_EVERY, 2 * BY_AGE_EVERY
    ]  # fmt: skip
    assert found[BY_AGE_EVERY - 1] == "x"


def test_a_lease_that_goes_by_age_does_so_with_all_it_takes():
    desk = Desk()
    desk.push("x")
    push(desk, *"a" * (BY_AGE_EVERY - 1), priority=255)
    push(desk, "y", priority=1)
    push(desk, "b", "c", priority=255)
    takes(desk, times=BY_AGE_EVERY - 1)
    _, batches = desk.lease(3)
    assert "".join(texts_of(batches)) == "xyb"


@pytest.mark.parametrize("ttl_seconds", [0, 1000])
def test_takes_count_only_while_there_is_a_choice(ttl_seconds):
    desk = Desk(ttl_seconds=ttl_seconds)
    desk.push(*"a" * (2 * BY_AGE_EVERY))
    takes(desk, times=2 * BY_AGE_EVERY - 1)
    push(desk, "b", priority=200)
    desk.push("c")
    assert takes(desk, times=2) == ["b", "a"]


@pytest.mark.parametrize("is_exported", [False, True])
def test_the_count_of_turns_is_rebuilt(is_exported):
    desk = Desk()
    desk.push("x")
    push(desk, *"a" * 40, priority=255)
    queue = desk.broker.queue("jobs")
    for _ in range(BY_AGE_EVERY - 1):
        (batch,) = desk.broker.take(queue, 1, ANY_SIZE)
        desk.history.append((4, 1, batch.count))
    other = desk.rebuilt(is_exported=is_exported)
    assert texts_of(other.take(other.queue("jobs"), 1, ANY_SIZE)) == ["x"]


def test_a_dead_letter_keeps_its_priority_and_takes_it_back():
    desk = Desk(dead_letter="dead", max_attempts=1)
    push(desk, "a", "b", priority=200)
    desk.push("c")
    seq, _ = desk.lease(1)
    desk.nack(seq)
    found, count = desk.jobs.plan_redrive(desk.broker.queue("dead"), 0, 9)
    assert count == 1
    for record in found:
        desk.do(record)
    assert desk.texts() == ["b", "a", "c"]


# Delays


def test_a_push_may_wait_for_its_time_as_a_whole():
    desk = Desk()
    push(desk, *"abc", due_ms=500)
    desk.push("d", now_ms=10)
    assert desk.counts() == {"ready": 1, "delayed": 3}
    assert desk.jobs.next_deadline_ms() == 500
    assert desk.expire(499) == 0
    assert desk.expire(500, most=1) == 3, "a parcel is not divided"
    assert desk.jobs.next_deadline_ms() is None
    assert desk.texts() == ["a", "b", "c", "d"], "the place that its ids say"


def test_a_time_that_is_past_is_none():
    desk = Desk()
    push(desk, "a", due_ms=100, now_ms=100)
    push(desk, "b", due_ms=101, now_ms=100)
    assert desk.counts() == {"ready": 1, "delayed": 1}


def test_delayed_parcels_wake_in_slices_in_any_order():
    desk = Desk()
    for text, due_ms in zip("abcdef", (50, 20, 50, 20, 70, 20), strict=True):
        push(desk, text, due_ms=due_ms, priority=130)
    assert desk.jobs.next_deadline_ms() == 20
    assert [desk.expire(60, most=2) for _ in range(4)] == [2, 2, 1, 0]
    push(desk, "g", priority=130)
    assert "".join(desk.texts()) == "abcdfg"
    assert desk.expire(70) == 1
    assert desk.texts() == ["e"]


def test_a_delayed_push_has_its_priority_when_it_wakes():
    desk = Desk()
    push(desk, "a", due_ms=5, priority=255)
    desk.push("b", "c")
    assert takes(desk) == ["b"]
    desk.expire(5)
    assert takes(desk, times=2) == ["a", "c"]


def test_delayed_messages_count_for_the_bounds_and_are_purged():
    desk = Desk(max_messages=3)
    push(desk, "a", "b", due_ms=9)
    desk.push("c")
    error = refusal(desk.broker.plan_push, "jobs", 1, join_bodies("d"), (), 0)
    assert (error.code, error.details["present"]) == (Code.QUEUE_FULL, 3)
    assert desk.do(desk.broker.plan_purge("jobs")) == 3
    assert desk.jobs.next_deadline_ms() is None
    queue = desk.broker.queue("jobs")
    assert (queue.free_messages, queue.free_bytes, queue.purged) == (3, 1000, 3)


def test_a_queue_that_is_deleted_leaves_no_time_behind():
    desk = Desk()
    push(desk, "a", "b", due_ms=9)
    push(desk, "c", priority=1)
    assert desk.do(desk.broker.plan_delete("jobs")) == 3
    assert desk.jobs.next_deadline_ms() is None


# Pausing and the cap


def test_nothing_is_delivered_while_a_queue_is_paused():
    desk = Desk()
    desk.push("a")
    queue = desk.broker.queue("jobs")
    desk.do(desk.broker.plan_pause("jobs"))
    desk.push("b")
    queue.waiters[Waiter(1, ANY_SIZE)] = None
    assert (queue.ready, queue.available, queue.is_paused) == (2, 0, True)
    assert desk.info()["is_paused"] is True
    assert list(desk.broker.serve(queue)) == []
    desk.do(desk.broker.plan_resume("jobs"))
    assert queue.available == 2
    (waiter,) = desk.broker.serve(queue)
    batches = desk.broker.take(queue, waiter.most, waiter.room_bytes)
    assert texts_of(batches) == ["a"]


@pytest.mark.parametrize("is_exported", [False, True])
def test_a_paused_queue_is_paused_after_a_restart(is_exported):
    desk = Desk()
    desk.do(desk.broker.plan_pause("jobs"))
    assert desk.rebuilt(is_exported=is_exported).queue("jobs").is_paused
    desk.do(desk.broker.plan_resume("jobs"))
    assert not desk.rebuilt(is_exported=is_exported).queue("jobs").is_paused


def test_a_queue_that_is_not_there_is_neither_paused_nor_resumed():
    broker = Broker(BOUNDS)
    for plan in (broker.plan_pause, broker.plan_resume):
        assert refusal(plan, "nope").code is Code.QUEUE_NOT_FOUND


def test_a_lease_takes_what_the_cap_leaves():
    desk = Desk(max_leased=3)
    desk.push(*"abcde")
    queue = desk.broker.queue("jobs")
    assert queue.available == 3
    seq, _ = desk.lease(2)
    assert queue.available == 1
    _, batches = desk.lease(9)
    assert texts_of(batches) == ["c"]
    assert (queue.available, queue.ready) == (0, 2)
    ack(desk.jobs, (7, seq, (1, 1), None))
    assert queue.available == 1


def test_those_who_wait_are_not_served_at_the_cap():
    desk = Desk(max_leased=1)
    desk.push("a", "b")
    seq, _ = desk.lease()
    queue = desk.broker.queue("jobs")
    queue.waiters[Waiter(1, ANY_SIZE)] = None
    assert list(desk.broker.serve(queue)) == []
    ack(desk.jobs, (7, seq, (), None))
    (waiter,) = desk.broker.serve(queue)
    batches = desk.broker.take(queue, waiter.most, waiter.room_bytes)
    assert texts_of(batches) == ["b"]


def test_what_came_back_has_its_priority_after_a_snapshot():
    desk = Desk()
    desk.push("a")
    push(desk, "b", "c", priority=200)
    seq, _ = desk.lease(2)
    desk.hand_back(seq)
    other = desk.rebuilt(is_exported=True)
    message = other.queue("jobs").held.ready[2]
    assert message.export() == desk.broker.queue("jobs").held.ready[2].export()
    assert texts_of(other.take(other.queue("jobs"), 9, ANY_SIZE)) == ["b", "c", "a"]


def test_what_has_woken_is_ready_after_a_snapshot():
    desk = Desk()
    push(desk, "a", due_ms=5, priority=3)
    desk.expire(5)
    other = desk.rebuilt(is_exported=True)
    assert other.queue("jobs").info(9) == desk.broker.queue("jobs").info(9)
    assert other.jobs.next_deadline_ms() is None


# What is left behind


def lengths(desk):
    lanes = desk.broker.queue("jobs").held._lanes
    return [len(each) for lane in lanes._lanes.values()
            for each in (lane.in_order, lane.others)]  # fmt: skip


def test_numbers_of_what_was_taken_do_not_pile_up():
    desk = Desk(ttl_seconds=1000)
    for number in range(1000):
        desk.push(*"abc")
        if number % 10:
            takes(desk, 2, times=2)
    assert max(lengths(desk)) < 500
    desk = Desk()
    for number in range(2000):
        push(desk, "a", priority=number % 3 + 127)
        push(desk, "b", due_ms=5, now_ms=0)
        desk.expire(5)
        takes(desk, 1, times=2)
    assert max(lengths(desk)) < 500


def test_numbers_of_what_came_back_do_not_pile_up():
    desk = Desk()
    desk.push(*"abcdefgh")
    for _ in range(500):
        seq, _ = desk.lease(8)
        for number in (3, 2, 7, 6, 8, 1, 4, 5):
            desk.hand_back(seq, number, 1)
    assert max(lengths(desk)) < 100


# Rebuilding


@pytest.mark.parametrize("is_exported", [False, True])
def test_all_of_it_is_rebuilt(is_exported):
    desk = Desk(max_leased=50)
    push(desk, *"abcd", priority=200, headers=((0, 4, {"k": 1}, 3),), now_ms=5)
    push(desk, *"ef", priority=3, due_ms=700, max_attempts=4)
    desk.push("g", "h", now_ms=900)
    push(desk, "i", ttl_ms=9000, max_losses=2)
    desk.lease(3)
    desk.lease(2)
    desk.do(desk.broker.plan_pause("jobs"))
    other = desk.rebuilt(is_exported=is_exported)
    queue, twin = desk.broker.queue("jobs"), other.queue("jobs")
    assert twin.info(999) == queue.info(999)
    assert (twin.free_bytes, twin.free_messages) == (queue.free_bytes, queue.free_messages)
    assert twin.held.delayed_parcels == queue.held.delayed_parcels
    assert [lease.ids() for lease in other.jobs.leases()] == [
        lease.ids() for lease in desk.jobs.leases()
    ]
    assert other.jobs.next_deadline_ms() == desk.jobs.next_deadline_ms() == 100
    for broker in (desk.broker, other):
        messages = [each for lease in broker.jobs.leases() for each in lease.part().values()]
        assert sorted((each.message_id, str(each.headers), each.priority) for each in messages) == [
            *((number, "{'k': 1}", 200) for number in (1, 2, 3, 4)), (7, "None", 128)
        ]  # fmt: skip


# Over breaks in the ids


def some(desk, most, room_bytes=ANY_SIZE):
    queue = desk.broker.queue("jobs")
    batches = desk.broker.take(queue, most, room_bytes)
    desk.history.append((records.PULL, queue.uid, sum(batch.count for batch in batches)))
    return "".join(texts_of(batches))


def test_one_pull_reaches_over_priorities_and_counts_once():
    desk = Desk()
    for number, text in enumerate("abcdefghij"):
        push(desk, text, priority=(number * 3) % 10)
    before = desk.broker.queue("jobs").held.turn
    assert some(desk, 4) == "dgjc"
    assert desk.broker.queue("jobs").held.turn == before + 1
    assert some(desk, 9) == "fibeha"


def test_one_pull_reaches_over_what_has_left_the_middle():
    desk = Desk()
    desk.push(*"abcde")
    seq, _ = desk.lease(5)
    desk.hand_back(seq, 1, 2, 4, 1)
    desk.push("f")
    assert some(desk, 9) == "abdf"
    rebuilt = desk.rebuilt()
    assert list(rebuilt.export()) == list(desk.broker.export())


@pytest.mark.parametrize("room_bytes", [1, 50, 100, 130])
def test_one_pull_keeps_to_its_room_but_for_the_first(room_bytes):
    desk = Desk()
    for number in range(5):
        push(desk, chr(97 + number) * 20, priority=number)
    texts = some(desk, 9, room_bytes)
    assert 20 <= len(texts) <= max(20, room_bytes // 2)
    rebuilt = desk.rebuilt()
    assert list(rebuilt.export()) == list(desk.broker.export())
