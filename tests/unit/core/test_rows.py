"""Rows, and the table in which most of what they bring lies."""

from __future__ import annotations

from collections import deque

import pytest

from mqd.core import order_records, records
from mqd.core.broker import Bounds, Broker
from mqd.core.cancelling import plan_cancel
from mqd.core.fifo import ANY_SIZE
from mqd.core.held import BY_AGE_EVERY
from mqd.core.parcel_table import ParcelTable, body_of, expiry_of
from mqd.core.parcels import PushExtras
from mqwire.packs import join_bodies, split_pack

LONE = (7, 1, b"\xa1a", (), 500, 200, 0, 900, None)


class Desk:
    """A broker with one queue, and another that follows its records."""

    def __init__(self, **options):
        self.brokers = [Broker(Bounds(10_000, 1 << 20, 3)) for _ in range(2)]
        for broker in self.brokers:
            broker.apply(broker.plan_create("jobs", options, 0))
        self.queue = self.brokers[0].queue("jobs")
        self.now_ms = 0

    def do(self, record):
        for broker in self.brokers:
            broker.apply(record)

    def push(self, *texts, **extras):
        said = PushExtras(**extras) if extras else None
        plan = self.brokers[0].plan_push
        self.do(plan("jobs", len(texts), join_bodies(texts), (), self.now_ms, extras=said))

    def push_each(self, priorities, text="a"):
        pack = join_bodies([text] * len(priorities))
        self.do(self.brokers[0].rows.plan_push(self.queue, pack, bytes(priorities), 0, self.now_ms))

    def pull_each(self, most, room_bytes=ANY_SIZE):
        """Take; returns the record's kind and the ids."""
        record, lots = self.brokers[0].rows.take(self.queue, most, room_bytes)
        ids = []
        for lot in lots:
            if isinstance(lot, tuple):
                ids += lot[0]
                assert len(lot[0]) == len(lot[1])
            else:
                ids += range(lot.first_id, lot.first_id + lot.count)
        assert self.brokers[1].apply(record) == len(ids)
        assert self.queue.info(0) == self.brokers[1].queue("jobs").info(0)
        return record[0], ids


def one_by_one(desk, times):
    found = []
    for _ in range(times):
        found += [batch.first_id for batch in desk.brokers[0].take(desk.queue, 1, ANY_SIZE)]
    return found


PRIORITIES = [(7 * at) % 11 + 123 for at in range(60)]


@pytest.mark.parametrize("most", [1, 3, 14, 15, 16, 17, 64])
@pytest.mark.parametrize("has_plain", [False, True])
def test_a_row_takes_what_takes_one_by_one_would(most, has_plain):
    row, single = Desk(), Desk()
    for desk in (row, single):
        desk.push_each(PRIORITIES[:30])
        if has_plain:
            desk.push("x", "y", "z")
        desk.push(*"bcdefghijk", priority=128)
        desk.push(*"bcdefghijk", priority=129)
        desk.push_each(PRIORITIES[30:])
    found = []
    while row.queue.ready:
        found += row.pull_each(most)[1]
    assert found == one_by_one(single, len(found))
    assert row.queue.held.turn == single.queue.held.turn


def test_what_goes_by_ids_alone_makes_the_record_of_a_pull():
    desk = Desk()
    desk.push(*"abc", ttl_ms=500)
    desk.push("d", "e")
    assert desk.pull_each(4) == (records.PULL, [1, 2, 3, 4])


def test_takes_are_counted_only_while_there_is_a_choice():
    desk = Desk()
    desk.push_each([200, 200])
    desk.push(*"abcdef")
    assert desk.pull_each(8) == (order_records.PULL_EACH, [1, 2, *range(3, 9)])
    assert desk.queue.held.turn == 2


def test_takes_of_parcels_are_counted_only_while_there_is_a_choice():
    desk = Desk()
    desk.push_each([200, 200, *[128] * 6])
    assert desk.pull_each(8)[1] == [*range(1, 9)]
    assert desk.queue.held.turn == 2


def test_older_messages_in_packs_come_before_parcels_of_their_priority():
    desk = Desk()
    desk.push("x")
    desk.push_each([128, *[5] * 40])
    assert desk.pull_each(3)[1] == [1, 2, 3]


def test_one_of_a_row_goes_by_age():
    desk = Desk()
    desk.push_each([5, *[200] * 3 * BY_AGE_EVERY])
    assert desk.pull_each(BY_AGE_EVERY)[1] == [*range(2, BY_AGE_EVERY + 1), 1]


def test_a_row_ends_where_there_is_no_room_but_takes_one_message():
    desk = Desk()
    desk.push_each([200] * 40, "x" * 20)
    assert len(desk.pull_each(9, 60)[1]) == 3  # the last one is past it
    assert len(desk.pull_each(9, 1)[1]) == 1


def test_what_expires_is_forgotten_when_a_row_takes_it():
    desk = Desk(ttl_seconds=1)
    desk.push_each([200] * 20)
    assert desk.queue.held.expiries.next_ms() == 1000
    desk.pull_each(20)
    assert desk.queue.held.expiries.next_ms() is None
    assert desk.brokers[0].jobs.next_deadline_ms() is None


def test_a_lone_parcel_is_told_as_any_other():
    table, begun = ParcelTable(), (3, 2, join_bodies("ab"), (), 400, 9, 0, 0, (0, 1, 0))
    table.put(7, LONE)
    table.put(4, begun)
    assert (table[7], table.find(7), table[4], table.find(5)) == (LONE, LONE, begun, None)
    assert dict(table.items()) == {7: LONE, 4: begun}
    assert list(table.values()) == [LONE, begun]
    assert 7 in table
    assert len(table) == 2


@pytest.mark.parametrize(
    "parcel",
    [
        (*LONE[:8], (0, 3, 0)),
        (*LONE[:3], ((0, 1, {"n": 1}, 3),), *LONE[4:]),
        (6, 2, join_bodies("ab"), *LONE[3:]),
    ],
)
def test_what_is_no_lone_parcel_stays_as_it_is(parcel):
    table = ParcelTable()
    table.put(7, parcel)
    assert table[7] is parcel
    assert table.take_lone(deque([7]), 5, 1000) == ([], [])


def test_lone_parcels_are_taken_as_far_as_they_go():
    table, line = ParcelTable(), deque([5, 6, 7, 8])
    table.put_each([5, 6], split_pack(join_bodies("ab")), bytes([200, 200]), (500, 900))
    table.put(8, LONE)
    assert table.take_lone(line, 4, 1) == ([], [])
    keys, entries = table.take_lone(line, 4, 1000)
    assert (keys, list(line), list(table)) == ([5, 6], [7, 8], [8])
    assert [(body_of(entry), expiry_of(entry)) for entry in entries] == [
        (b"\xa1a", 900),
        (b"\xa1b", 900),
    ]


def test_a_record_of_takes_finds_nothing_where_there_is_nothing():
    desk = Desk()
    for broker in desk.brokers:
        assert broker.apply((order_records.PULL_EACH, desk.queue.uid, 3)) == 0
    assert desk.queue.pulled == 0


def test_a_row_passes_over_what_has_gone_before_its_turn():
    desk = Desk()
    desk.push_each([200] * 6 + [128] * 2)
    for lost in (2, 1):  # so that the number of the one stays at the front as the other goes
        (record,) = plan_cancel(desk.queue, (lost, 1), 0).records
        desk.do(record)
    assert desk.pull_each(3) == (order_records.PULL_EACH, [3, 4, 5])
    assert one_by_one(desk, 1) == [6]


def test_a_row_takes_what_does_not_expire_before_what_does():
    desk = Desk()
    desk.push("a", priority=150, ttl_ms=500)
    desk.push_each([200] * 6)
    assert desk.pull_each(4) == (order_records.PULL_EACH, [2, 3, 4, 5])
    assert desk.queue.held.expiries.next_ms() == 500
    assert desk.pull_each(3) == (order_records.PULL_EACH, [6, 7, 1])
    assert desk.queue.held.expiries.next_ms() is None
