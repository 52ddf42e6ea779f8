"""What is put aside when, over all queues; and what a broker does with it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.core.cancelling import plan_cancel
from mqd.core.cold import Cold, Known
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE, Fifo
from mqwire.codes import Code
from mqwire.packs import join_bodies, split_pack
from support.pages import small_pager

PACK = join_bodies(["x" * 9])  # ten bytes
EACH = len(PACK)


def fifos(number, **sizes):
    pager, pages = small_pager(**sizes)
    made = [Fifo(pager) for _ in range(number)]
    pager.fifos = lambda: made
    return pager, pages, made


def fill(fifo, count):
    for _ in range(count):
        fifo.append(PACK, 1, (), 0)


def test_below_the_limit_nothing_is_put_aside():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 200 // EACH)
    assert (pages.put_aside, fifo.cold) == (0, None)


def test_what_lies_in_memory_stays_near_the_limit_however_much_there_is():
    pager, pages, (fifo,) = fifos(1)
    for _ in range(200):
        fill(fifo, 10)
        assert fifo.resident_bytes <= 200 + 60 + 20
    assert pager.stats()["resident_bytes"] == fifo.resident_bytes
    assert pages.live == (200 * 10 * EACH - fifo.resident_bytes) // 60
    for number in range(1, 2001):
        assert fifo.take(1, ANY_SIZE).first_id == number
        assert fifo.resident_bytes <= 200 + 60 + 20
    assert (pages.live, fifo.cold) == (0, None)


def test_what_comes_next_stays_and_what_was_pushed_last_goes():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 100)
    fifo.take(5, ANY_SIZE)
    assert pages.reads == 0
    fifo.peek(60, 1, ANY_SIZE)
    assert pages.reads == 1


def test_the_largest_store_makes_room_for_the_others():
    _, pages, (large, small) = fifos(2)
    fill(large, 18)
    assert pages.put_aside == 0
    fill(small, 6)
    assert small.cold is None
    assert large.cold is not None
    assert large.resident_bytes + small.resident_bytes <= 200 + 60 + 20


def test_it_is_the_largest_whatever_was_there_first():
    for sizes in ((12, 26), (26, 12)):
        _, pages, both = fifos(2, limit_bytes=400)
        for fifo, count in zip(both, sizes, strict=True):
            fill(fifo, count)
        fill(both[sizes.index(12)], 6)
        assert pages.put_aside == 2
        assert [fifo.cold is not None for fifo in both] == [size == 26 for size in sizes]


def test_many_stores_that_are_too_small_for_a_page_are_left_alone():
    pager, pages, many = fifos(40)
    for fifo in many:
        fill(fifo, 5)
    assert pages.put_aside == 0
    assert pager.stats()["resident_bytes"] == 40 * 5 * EACH


def test_what_was_taken_makes_room():
    _, pages, (one, two) = fifos(2)
    fill(one, 20)
    one.take(20, ANY_SIZE)
    fill(two, 20)
    assert pages.put_aside == 0


def test_chunks_that_come_next_are_announced():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    while fifo.cold is not None and not pages.reads:
        fifo.take(1, ANY_SIZE)
    assert pages.expected == 8


def test_a_take_reads_no_more_than_it_needs():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    while not pages.reads:
        fifo.take(1, ANY_SIZE)
    fifo.take(2000, 60)
    assert pages.reads <= 3


def test_a_peek_reads_no_more_than_it_shows():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    fifo.peek(200, 2000, 60)
    assert pages.reads <= 3


def test_where_pages_are_not_taken_all_stays_in_memory_and_it_is_tried_again():
    _, pages, (fifo,) = fifos(1)
    pages.is_full = True
    fill(fifo, 100)
    assert fifo.resident_bytes == 100 * EACH
    pages.is_full = False
    fill(fifo, 100)
    assert fifo.resident_bytes <= 280
    assert fifo.take(200, ANY_SIZE).count == 200


def test_a_page_that_cannot_be_read_changes_nothing():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 100)
    pages.is_broken = True
    for do in (
        lambda: fifo.take(100, ANY_SIZE),
        lambda: fifo.peek(70, 1, ANY_SIZE),
        lambda: list(fifo.export()),
        lambda: fifo.find(70),
        lambda: fifo.prepare_removal([70]),
        lambda: fifo.remove([70]),
    ):
        with pytest.raises(BrokerError) as caught:
            do()
        assert caught.value.code is Code.INTERNAL
    pages.is_broken = False
    assert fifo.count == 100
    assert fifo.take(100, ANY_SIZE).count == 100


def long_fifo(size_bytes=1000):
    _, pages, (fifo,) = fifos(1)
    fill(fifo, size_bytes // EACH)
    assert fifo.cold is not None
    return fifo, pages


def in_memory(fifo):
    """Return how large all bodies are that the store holds on to, whoever wants them."""
    chunks = () if fifo.cold is None else fifo.cold.chunks
    packs = [*fifo._packs, *(pack for chunk in chunks for pack in (chunk.contents or [()])[0])]
    return sum(map(len, packs))


def remove(fifo, ids):
    fifo.prepare_removal(ids)
    fifo.remove(ids)


def test_what_is_pushed_and_removed_behind_a_long_queue_takes_no_memory():
    fifo, _ = long_fifo()
    for _ in range(200):
        remove(fifo, [fifo.append(PACK, 1, (), 0)])
        remove(fifo, list(range(first := fifo.append(PACK * 2, 2, (), 0), first + 2)))
    assert in_memory(fifo) <= 280
    remove(fifo, [fifo.append(PACK * 2, 2, (), 0) for _ in range(200)])
    assert fifo.count == 100 + 200
    assert in_memory(fifo) <= 280
    assert fifo.take(1000, ANY_SIZE).count == 100


def test_a_page_goes_when_all_of_it_was_removed():
    fifo, pages = long_fifo()
    remove(fifo, list(range(21, 1000 // EACH - 10)))
    assert pages.live <= 3
    reads = pages.reads
    assert fifo.peek(20, 10, ANY_SIZE).first_id == 90
    assert pages.reads <= reads + 3
    assert fifo.take(100, ANY_SIZE).count == 20
    assert fifo.take(100, ANY_SIZE).count == 11
    assert (pages.live, fifo.cold) == (0, None)


def test_of_packs_with_holes_no_more_is_read_than_there_is_room_for():
    _, pages, (fifo,) = fifos(1)
    for _ in range(200):
        fifo.append(PACK * 2, 2, (), 0)
    remove(fifo, list(range(2, 401, 2)))
    reads = pages.reads
    fifo.peek(0, 100, 5 * EACH)
    assert pages.reads <= reads + 2
    reads = pages.reads
    while pages.reads == reads:
        fifo.take(1, ANY_SIZE)
    reads = pages.reads
    fifo.peek(0, 100, 5 * EACH)
    assert pages.reads <= reads + 2
    reads = pages.reads
    fifo.warm(100, 5 * EACH)
    fifo.warm(100, 5 * EACH)
    assert pages.reads <= reads + 2
    reads = pages.reads
    for _ in range(5):  # as one pull does, up to each hole
        fifo.take(100, 5 * EACH)
    assert pages.reads <= reads + 3


# With a broker


def broker_with(names="ab", **sizes):
    pager, pages = small_pager(**sizes)
    broker = Broker(Bounds(10_000, 1 << 20, 9), pager)
    for name in names:
        broker.apply(broker.plan_create(name, {}, 0))
    return broker, pages


def push(broker, name, count):
    for _ in range(count):
        broker.apply(broker.plan_push(name, 1, PACK, (), 0))


def test_a_broker_keeps_one_limit_for_all_its_queues():
    broker, pages = broker_with()
    push(broker, "a", 50)
    push(broker, "b", 50)
    assert sum(queue.fifo.resident_bytes for queue in broker.queues()) <= 280 + 80
    assert pages.live > 0
    assert broker.pager.stats()["pages"] == pages.live


@pytest.mark.parametrize("plan", ["plan_delete", "plan_purge"])
def test_what_goes_frees_its_pages(plan):
    broker, pages = broker_with()
    push(broker, "a", 50)
    push(broker, "b", 50)
    assert broker.apply(getattr(broker, plan)("a")) == 50
    broker.apply(getattr(broker, plan)("b"))
    assert pages.live == 0
    push_again = "c"
    broker.apply(broker.plan_create(push_again, {}, 0))
    push(broker, push_again, 50)
    assert broker.take(broker.queue(push_again), 50, ANY_SIZE)[0].count == 50


def test_a_state_is_loaded_within_the_limit_and_told_within_it():
    broker, _ = broker_with()
    push(broker, "a", 300)
    rebuilt, pages = broker_with("")
    for record in broker.export():
        rebuilt.apply(record)
        assert sum(queue.fifo.resident_bytes for queue in rebuilt.queues()) <= 280
    assert pages.live > 0
    (batch,) = rebuilt.take(rebuilt.queue("a"), 300, ANY_SIZE)
    assert (batch.first_id, batch.count) == (1, 300)
    assert split_pack(b"".join(batch.packs)) == [PACK] * 300


def test_a_cancellation_whose_bodies_cannot_be_looked_at_changes_nothing():
    broker, pages = broker_with()
    push(broker, "a", 100)
    queue = broker.queue("a")
    pages.is_broken = True
    with pytest.raises(BrokerError) as caught:
        plan_cancel(queue, (70, 2), 0)
    assert (caught.value.code, queue.ready) == (Code.INTERNAL, 100)


def test_a_store_without_a_pager_puts_nothing_aside():
    fifo = Fifo()
    fill(fifo, 400)
    assert fifo.page_out(100) == 0
    assert (fifo.recount(), fifo.cold) == (400 * EACH, None)


def test_where_no_chunk_is_whole_none_is_put_aside():
    pager, pages, _ = fifos(1)
    cold = Cold(pager)
    cold.append(1, PACK, 1)
    assert (cold.has_whole, cold.page_out(), pages.put_aside) == (False, 0, 0)


def test_what_nobody_has_prepared_to_remove_is_looked_up():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    fifo.remove([100, 300])
    assert (fifo.count, fifo.size_bytes, pages.reads) == (398, 398 * EACH, 2)


def test_a_removal_from_many_pages_is_looked_up_a_slice_at_a_time():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    ids, known, reads = list(range(30, 390, 6)), Known(), [pages.reads]
    while not fifo.look_up(ids, known):
        reads.append(pages.reads)
    assert len(reads) > 20
    assert all(after - before == 2 for before, after in pairwise(reads))
    looked_up, pages.is_broken = pages.reads, True
    fifo.prepare_removal(ids)
    fifo.remove(ids)
    assert (fifo.count, fifo.size_bytes, pages.reads) == (340, 340 * EACH, looked_up)


def test_what_was_looked_up_holds_whatever_happens_before_it_is_removed():
    _, _, (fifo,) = fifos(1)
    fill(fifo, 400)
    known, whole = Known(), list(range(200, 240))  # of which no page is to be left
    while not fifo.look_up(whole, known):
        pass
    remove(fifo, [300, 301])
    fifo.take(210, ANY_SIZE)
    left = [each for each in whole if each >= fifo.first_id]
    assert fifo.look_up(left, known)
    fifo.prepare_removal(left)
    fifo.remove(left)
    assert (fifo.count, fifo.size_bytes) == (159, 159 * EACH)
    assert fifo.take(400, ANY_SIZE).first_id == 240


def test_a_page_of_which_nothing_will_be_left_after_all_is_looked_up_again():
    _, pages, (fifo,) = fifos(1)
    fill(fifo, 400)
    known, chunk = Known(), fifo.cold.chunks[-20]
    first, *others = range(chunk.start, chunk.end)
    assert fifo.look_up(others, known)
    remove(fifo, [first])
    reads, live = pages.reads, pages.live
    fifo.look_up(others, known)
    fifo.remove(others)
    assert (pages.reads, pages.live) == (reads + 1, live - 1)
