"""A store of which parts are put aside, against one that has all in memory."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mqd.core.cold import Known
from mqd.core.fifo import ANY_SIZE, Fifo
from mqd.core.finding import Ranks
from mqwire.packs import iter_sizes, join_bodies
from support.pages import small_pager


class Twins:
    """The same in both: what can be seen of one can be seen of the other."""

    def __init__(self, limit_bytes=200):
        self.pager, self.pages = small_pager(limit_bytes)
        self.paged, self.plain = Fifo(self.pager), Fifo()
        self.pager.fifos = lambda: [self.paged]
        self.now_ms = 0
        self.known = None

    def both(self, do):
        found, expected = do(self.paged), do(self.plain)
        assert found == expected
        return found

    def push(self, bodies, with_headers=False):
        self.now_ms += 60
        runs = ((0, len(bodies), {"h": self.now_ms}, 7),) if with_headers else ()
        pack = join_bodies(bodies)
        self.both(lambda fifo: fifo.append(pack, len(bodies), runs, self.now_ms))

    def take(self, most, room_bytes=ANY_SIZE):
        return self.both(lambda fifo: fifo.take(most, room_bytes))

    def peek(self, skip, most, room_bytes=ANY_SIZE):
        return self.both(lambda fifo: fifo.peek(skip, most, room_bytes))

    def present(self):
        return [
            each for first, count, *_ in self.plain.export() for each in range(first, first + count)
        ]

    def remove(self, ids):
        if ids:
            self.known = Known() if self.known is None or len(ids) % 2 else self.known
            while not self.paged.look_up(ids, self.known) and len(ids) % 3:
                pass
            self.paged.prepare_removal(ids)
            self.pages.is_broken = True  # whatever is asked for now was not prepared
            self.both(lambda fifo: fifo.remove(ids))
            self.pages.is_broken = False

    def check(self):
        for name in ("first_id", "next_id", "count", "size_bytes", "has_gaps", "is_plain"):
            self.both(lambda fifo, name=name: getattr(fifo, name))
        self.both(lambda fifo: fifo.oldest_ms())
        self.both(lambda fifo: list(fifo.gaps()))
        self.both(lambda fifo: list(fifo.export()))
        cold = self.paged.cold
        chunks = [] if cold is None else list(cold.chunks)
        assert cold is None or chunks
        assert self.pages.live == sum(chunk.page is not None for chunk in chunks)
        assert self.paged.resident_bytes == self.paged.size_bytes - sum(
            chunk.size_bytes for chunk in chunks if chunk.page is not None
        )
        for chunk in chunks:
            left = [
                size
                for number, size in bodies_in(chunk)
                if number >= self.paged.first_id and not self.paged.is_hole(number)
            ]
            assert (chunk.count, chunk.size_bytes) == (len(left), sum(left))
        if cold is not None:
            assert cold.count == sum(chunk.count for chunk in chunks)
            assert cold.size_bytes == sum(chunk.size_bytes for chunk in chunks)
        assert self.paged._header_bytes == self.plain._header_bytes >= 0

    def drain(self):
        while self.plain.count:
            self.take(7)
        assert self.paged.cold is None
        assert self.pages.live == 0


def bodies_in(chunk):
    """Yield the ids of all bodies that lie in a chunk, wanted or not, and their sizes."""
    for pack, end in zip(*chunk.read(), strict=True):
        sizes = list(iter_sizes(pack))
        yield from zip(range(end - len(sizes), end), sizes, strict=True)


def bodies(chooser, count):
    return [chooser.choice("abcdefgh") * chooser.randrange(12) for _ in range(count)]


def some_ids(chooser, ids, count):
    if not ids:
        return []
    if chooser.random() < 0.5:
        start = chooser.randrange(len(ids))
        return ids[start:][:count]
    return sorted(chooser.sample(ids, min(count, len(ids))))


def push(twins, chooser):
    count = chooser.choice([1, 1, 2, 5, 12])
    twins.push(bodies(chooser, count), with_headers=chooser.random() < 0.3)


def take(twins, chooser):
    if twins.plain.count:
        twins.take(chooser.randint(1, 9), chooser.choice([ANY_SIZE, 0, 20, 80]))


def peek(twins, chooser):
    twins.peek(chooser.randint(0, 30), chooser.randint(1, 9), chooser.choice([ANY_SIZE, 30]))


def skip(twins, chooser):
    count = chooser.randint(1, 3)
    twins.both(lambda fifo: fifo.skip(count))


def remove(twins, chooser):
    twins.remove(some_ids(chooser, twins.present(), chooser.choice([1, 2, 9, 30, 99])))


def page_out(twins, chooser):
    twins.paged.page_out(chooser.choice([1, 100, 1000]))


def find(twins, chooser):
    ids = range(max(1, twins.plain.first_id - 2), twins.plain.next_id + 2)
    for message_id in some_ids(chooser, ids, 9):
        twins.both(lambda fifo, each=message_id: fifo.find(each))
        twins.both(lambda fifo, each=message_id: Ranks(fifo).before(each))


def clear(twins, chooser):
    if chooser.random() < 0.1:
        twins.both(lambda fifo: fifo.clear())


STEPS = (push, push, push, push, take, take, peek, skip, remove, page_out, find, clear)


@given(seed=st.integers(0, 2**32))
def test_a_store_of_which_parts_are_put_aside_is_like_one_in_memory(seed):
    chooser = random.Random(seed)
    twins = Twins(chooser.choice([1, 100, 400]))
    for _ in range(60):
        chooser.choice(STEPS)(twins, chooser)
        twins.check()
    twins.drain()
