"""Which lease a message is under: found by any id, and forgotten with the lease."""

from __future__ import annotations

import random

import pytest

from mqd.core import job_records, leases, whereabouts
from mqwire.runs import ids_of
from support.jobs import Desk


@pytest.fixture(autouse=True)
def _short_strides(monkeypatch):
    monkeypatch.setattr(whereabouts, "STRIDE", 8)


def check(queue):
    """See that what is known is what the leases themselves say."""
    known = {each: lease.seq for lease in queue.leases.values() for each in ids_of(lease.ids())}
    for message_id in range(queue.fifo.next_id + 1):
        lease = queue.where.find(message_id)
        assert (None if lease is None else lease.seq) == known.get(message_id), message_id


def is_empty(queue):
    return not queue.where._runs and not queue.where._objects


def test_a_message_is_found_wherever_it_lies_in_its_run():
    desk = Desk()
    queue = desk.broker.queue("jobs")
    desk.push(*"x" * 70)
    for count in (1, 6, 1, 1, 20, 8, 16):
        desk.lease(count)
    check(queue)
    assert list(queue.where._runs) == [1, 2, 8, 9, 10, 18, 26, 30, 38, 46]
    for seq in list(queue.leases):
        desk.do(desk.jobs.plan_ack((7, seq, (), None)))
        check(queue)
    assert is_empty(queue)


def test_what_comes_back_is_found_under_its_next_lease_and_the_rest_where_it_was():
    desk = Desk()
    queue = desk.broker.queue("jobs")
    desk.push(*"x" * 20)
    desk.push_with(*"y" * 20, priority=200)
    first, _ = desk.lease(40)
    desk.hand_back(first, 7, 3, 21, 1, 30, 4)
    check(queue)
    second, _ = desk.lease(8)
    check(queue)
    assert queue.where.find(8).seq == queue.where.find(32).seq == second
    desk.do(desk.jobs.plan_ack((7, first, (), None)))
    check(queue)
    desk.do(desk.broker.plan_delete("jobs"))
    assert is_empty(queue)


def test_a_lease_that_was_read_in_pieces_is_known_whole(monkeypatch):
    monkeypatch.setattr(leases, "PIECE_BYTES", 1)
    desk = Desk()
    desk.push(*"abc")
    desk.nack(desk.lease(3)[0], delay_ms=0)
    desk.lease(3)
    assert [record[0] for record in desk.broker.export()].count(job_records.MORE) == 2
    queue = desk.rebuilt(is_exported=True).queue("jobs")
    assert queue.leased == 3
    check(queue)


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_the_leases_whatever_happens(seed):
    chooser = random.Random(seed)
    desk = Desk()
    queue = desk.broker.queue("jobs")
    for now_ms in range(150):
        count = chooser.randint(1, 20)
        step = chooser.choice((0, 1, 2, 2, 2, 2, 3, 4, 4))
        if step == 0 and count <= queue.room()[0]:
            desk.push(*"x" * count, now_ms=now_ms)
        elif step == 1 and count <= queue.room()[0]:
            desk.push_with(*"y" * count, now_ms=now_ms, priority=chooser.choice((1, 128, 200)))
        elif step == 2 and queue.ready:
            desk.lease(count, now_ms=now_ms, deadline_ms=now_ms + 60)
        elif step > 2 and queue.leases:
            lease = chooser.choice(list(queue.leases.values()))
            ids = list(ids_of(lease.ids()))
            some = chooser.sample(ids, min(count, len(ids)))
            runs = () if chooser.random() < 0.3 else tuple(n for each in some for n in (each, 1))
            claim = (7, lease.seq, runs, None)
            if step == 3:
                desk.do(desk.jobs.plan_ack(claim, now_ms))
            else:
                desk.nack(lease.seq, *runs, now_ms=now_ms, delay_ms=chooser.choice((0, 5)))
        desk.expire(now_ms)
        check(queue)
    desk.push("x", now_ms=150)
    desk.lease(9, now_ms=150, deadline_ms=200)
    check(desk.rebuilt().queue("jobs"))
    check(desk.rebuilt(is_exported=True).queue("jobs"))
    for seq in list(queue.leases):
        desk.do(desk.jobs.plan_ack((7, seq, (), None), 150))
    assert is_empty(queue)
