"""Cancelling messages wherever they are."""

from __future__ import annotations

import pytest

from mqd.core import job_records, view_records
from mqd.core.cancelling import plan_cancel
from mqd.core.looking import look
from mqwire.runs import runs_of
from support.jobs import Desk, texts_of


def cancel(desk, *ids, now_ms=0):
    planned = plan_cancel(desk.broker.queue("jobs"), runs_of(ids), now_ms)
    for record in planned.records:
        desk.do(record)
    return planned.removed, planned.marked


def test_what_waits_leaves_the_middle_of_its_pack():
    desk = Desk()
    desk.push(*"abcdef")
    assert cancel(desk, 2, 3, 5) == (3, 0)
    assert desk.history[-1] == (view_records.CANCEL, 1, (2, 2, 5, 1), 0)
    info = desk.info()
    assert (info["ready"], info["cancelled"], info["pushed"], info["bytes"]) == (3, 3, 6, 6)
    assert desk.texts() == ["a", "d", "f"]


def test_a_lease_reaches_over_holes():
    desk = Desk()
    desk.push(*"abcd")
    cancel(desk, 2)
    _, batches = desk.lease(4)
    assert [texts_of([batch]) for batch in batches] == [["a"], ["c", "d"]]
    other = desk.rebuilt()
    assert [lease.ids() for lease in other.jobs.leases()] == [(1, 1, 3, 2)]


@pytest.mark.parametrize("due_ms", [0, 90])
@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("ids", [(2,), (4,), (2, 3, 4), (3,), (2, 4)])
def test_what_is_left_of_a_parcel_goes_on_in_its_place(due_ms, is_begun, ids):
    desk, texts = Desk(), {1: "a", 2: "b", 3: "c", 4: "d"}
    desk.push("a")
    headers = ((1, 2, {"k": 1}, 4),)
    desk.push_with("b", "c", "d", priority=200, due_ms=due_ms, ttl_ms=500, headers=headers)
    queue = desk.broker.queue("jobs")
    if is_begun and not due_ms:
        desk.do((4, 1, 1))
        ids = tuple(number for number in ids if number != 2)
        texts.pop(2)
    if ids:
        assert cancel(desk, *ids, now_ms=5) == (len(ids), 0)
    for number in ids:
        texts.pop(number)
    sizes = {1: 2, 2: 2, 3: 6, 4: 6}
    assert queue.room() == (100 - len(texts), 1000 - sum(sizes[number] for number in texts))
    assert (queue.ready, queue.delayed)[due_ms > 0] == len(texts) - (due_ms > 0)
    desk.expire(100)
    order = [*sorted(number for number in texts if number > 1), 1]
    for broker in (desk.rebuilt(), desk.rebuilt(is_exported=True), desk.broker):
        shown = list(look(broker.queue("jobs"), "ready", 0))
        assert [each.message_id for each in shown] == order
        assert [each.piece[1:].decode() for each in shown] == [texts[number] for number in order]
        assert [each.headers for each in shown] == [
            {"k": 1} if number > 2 else None for number in order
        ]
        assert broker.queue("jobs").cancelled == len(ids)
    desk.expire(600)
    assert desk.counts() == {"ready": 1}
    assert queue.room() == (99, 998)


def test_what_is_delayed_or_was_given_back_goes_too():
    desk = Desk()
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    desk.nack(seq, 1, 1, delay_ms=50)
    desk.hand_back(seq, 2, 1)
    assert desk.jobs.next_deadline_ms() == 50
    assert cancel(desk, 1, 2) == (2, 0)
    assert desk.jobs.next_deadline_ms() == 100
    assert desk.counts() == {"leased": 1}
    assert desk.broker.queue("jobs").room() == (99, 998)


def test_room_is_there_at_once():
    desk = Desk(max_messages=2)
    desk.push("a", "b")
    cancel(desk, 2)
    desk.push("c")
    assert desk.texts() == ["a", "c"]


@pytest.mark.parametrize("how", ["nack", "hand_back", "reject", "expire", "gone", "lost"])
def test_what_is_leased_is_dropped_when_it_comes_back(how):
    desk = Desk(dead_letter="dead", keep_results_seconds=10)
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    assert cancel(desk, 1, 2, 3) == (0, 2)
    assert cancel(desk, 1) == (0, 0)
    assert desk.counts() == {"leased": 2}
    if how == "expire":
        desk.expire(100)
    elif how == "gone":
        for record in desk.jobs.plan_gone("w1", 5, 9):
            desk.do(record)
    elif how == "lost":
        desk.do(desk.jobs.plan_lost((7, seq, (), None), 5))
    else:
        getattr(desk, how)(seq)
    assert (desk.counts(), desk.counts("dead"), desk.info()["cancelled"]) == ({}, {}, 2)
    assert desk.history[-1][-1] == ((job_records.CANCELLED, (1, 2), 0),)
    assert desk.broker.queue("jobs").kept.get(1, 0).state == "cancelled"
    assert desk.broker.queue("jobs").room() == (100, 1000)


def test_only_those_that_were_cancelled_are_dropped():
    desk = Desk()
    desk.push(*"abc")
    seq, _ = desk.lease(3)
    cancel(desk, 2)
    desk.nack(seq, 1, 2)
    assert (desk.counts(), desk.info()["cancelled"]) == ({"ready": 1, "leased": 1}, 1)
    desk.hand_back(seq)
    assert desk.texts() == ["a", "c"]


def test_what_is_done_all_the_same_is_done():
    desk = Desk(keep_results_seconds=10)
    desk.push("a", "b")
    seq, _ = desk.lease(2)
    cancel(desk, 1, 2)
    desk.do(desk.jobs.plan_ack((7, seq, (1, 1), None), 5, "r"))
    assert next(iter(desk.jobs.leases())).cancelled == {2}
    desk.do(desk.jobs.plan_ack((7, seq, (), None), 5))
    assert (desk.info()["acked"], desk.info()["cancelled"]) == (2, 0)
    assert desk.broker.queue("jobs").kept.get(1, 0).result == "r"


def test_marks_and_counters_outlive_a_restart():
    desk = Desk()
    desk.push(*"abcdef")
    seq, _ = desk.lease(2)
    cancel(desk, 2, 4)
    for is_exported in (False, True):
        other = desk.rebuilt(is_exported=is_exported)
        queue = other.queue("jobs")
        assert queue.info(0) == desk.info()
        assert queue.leases[seq].cancelled == {2}
        other.apply(other.jobs.plan_hand_back((7, seq, (), None), 0))
        assert (queue.ready, queue.cancelled, queue.fifo.next_id) == (4, 2, 7)


def test_dead_or_unknown_messages_are_passed_over():
    desk = Desk()
    desk.push(*"abc")
    seq, _ = desk.lease(2)
    desk.reject(seq, 1, 1)
    desk.do(desk.jobs.plan_ack((7, seq, (), None)))
    assert cancel(desk, 1, 2, 9) == (0, 0)
    assert desk.counts() == {"ready": 1, "dead": 1}
    assert plan_cancel(desk.broker.queue("jobs"), (9, 1), 0).records == []


def test_an_id_that_is_named_twice_is_cancelled_once():
    desk = Desk()
    desk.push("a", "b")
    assert plan_cancel(desk.broker.queue("jobs"), (2, 1, 1, 2), 0)[1:] == (2, 0)
