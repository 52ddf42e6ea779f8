"""Messages that are removed from the middle of a store, against a plain list."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mqd.core.fifo import ANY_SIZE, Fifo
from mqd.core.status import Ranks
from mqwire.packs import decode_body, join_bodies, split_pack


class Row:
    """A store beside a plain list of what has to be in it."""

    def __init__(self):
        self.fifo = Fifo()
        self.rows = []
        self.now_ms = 0

    def push(self, count, with_headers):
        first = self.fifo.next_id
        texts = [f"{number:04}" * (number % 3 + 1) for number in range(first, first + count)]
        runs = ((0, count, {"h": first}, 7),) if with_headers else ()
        self.now_ms += 60
        self.fifo.append(join_bodies(texts), count, runs, self.now_ms)
        headers = {"h": first} if with_headers else None
        self.rows += [(first + i, text, headers, self.now_ms) for i, text in enumerate(texts)]

    def read(self, batch):
        texts = [piece for pack in batch.packs for piece in split_pack(pack)]
        headers = batch.headers or [None] * batch.count
        assert len(texts) == len(headers) == batch.count
        found = zip(
            range(batch.first_id, batch.first_id + batch.count), texts, headers, strict=True
        )
        return [(number, decode_body(text), each) for number, text, each in found]

    def take(self, most):
        if self.rows:
            found = self.read(self.fifo.take(most, ANY_SIZE))
            assert found
            assert len(found) <= most
            assert found == [row[:3] for row in self.rows[: len(found)]]
            del self.rows[: len(found)]

    def peek(self, skip, most):
        found = self.read(self.fifo.peek(skip, most, ANY_SIZE))
        assert found == [row[:3] for row in self.rows[skip:][: len(found)]]
        assert bool(found) == (len(self.rows) > skip)

    def remove(self, chooser, count):
        if self.rows:
            start = chooser.randrange(len(self.rows))
            chosen = (
                self.rows[start:][:count]
                if chooser.random() < 0.5
                else chooser.sample(self.rows, min(count, len(self.rows)))
            )
            self.fifo.remove(sorted(row[0] for row in chosen))
            self.rows = [row for row in self.rows if row not in chosen]

    def check(self):
        fifo, rows = self.fifo, self.rows
        assert fifo.count == len(rows)
        assert fifo.first_id == (rows[0][0] if rows else fifo.next_id)
        header_bytes = sum(7 for row in rows if row[2])
        assert fifo.size_bytes == sum(len(join_bodies([row[1]])) for row in rows) + header_bytes
        oldest_ms = fifo.oldest_ms()
        assert oldest_ms is None if not rows else 0 <= rows[0][3] - oldest_ms <= 100
        other = Fifo()
        other.restart(fifo.first_id)
        for first, count, pack, headers, now_ms in fifo.export():
            if first > other.next_id:
                other.skip(first - other.next_id)
            other.append(pack, count, headers, now_ms)
        assert (other.count, other.size_bytes) == (fifo.count, fifo.size_bytes)
        assert list(self.everything(other)) == [row[:3] for row in rows]
        assert set(range(fifo.first_id, fifo.next_id)) - {row[0] for row in rows} == {
            number for number in range(fifo.first_id, fifo.next_id) if not Ranks(fifo).holds(number)
        }
        for place, row in enumerate(rows):
            assert Ranks(fifo).before(row[0]) == place

    def everything(self, fifo):
        while fifo.count:
            yield from self.read(fifo.take(99, ANY_SIZE))


@given(seed=st.integers(0, 2**32))
def test_a_store_with_holes_is_like_a_list(seed):
    chooser = random.Random(seed)
    row = Row()
    for _ in range(40):
        step = chooser.randrange(6)
        if step < 2:
            row.push(chooser.choice([1, 1, 2, 5, 12]), chooser.random() < 0.4)
        elif step == 2:
            row.take(chooser.randint(1, 7))
        elif step == 3:
            row.peek(chooser.randint(0, 9), chooser.randint(1, 9))
        elif step == 4:
            row.fifo.skip(chooser.randint(1, 3))
        else:
            row.remove(chooser, chooser.choice([1, 2, 5, 9, 30]))
        row.check()
    row.peek(0, 99)
    while row.rows:
        row.take(3)
        row.check()


def test_removing_frees_what_a_pack_has_taken_when_all_of_it_is_gone():
    row = Row()
    for _ in range(3):
        row.push(4, with_headers=False)
    row.fifo.remove([6, 7])
    assert len(row.fifo._packs[1]) > 0
    row.fifo.remove([5, 8])
    assert row.fifo._packs[1] == b""
    row.fifo.remove([1, 2, 3, 4])
    assert (row.fifo.first_id, len(row.fifo._packs), row.fifo._holes) == (9, 1, [])


def test_an_export_around_holes_keeps_the_headers_of_each():
    fifo = Fifo()
    fifo.append(join_bodies("abcde"), 5, ((0, 1, {"h": 1}, 7), (3, 2, {"h": 4}, 7)), 0)
    fifo.remove([3, 4])
    assert list(fifo.export()) == [
        (1, 2, join_bodies("ab"), ((0, 1, {"h": 1}, 7),), 0),
        (5, 1, join_bodies("e"), ((0, 1, {"h": 4}, 7),), 0),
    ]
    assert fifo.size_bytes == 3 * 2 + 2 * 7


def test_a_begun_pack_can_have_holes():
    row = Row()
    row.push(6, with_headers=True)
    row.take(2)
    row.fifo.remove([4, 6])
    assert [each[0] for each in row.everything(row.fifo)] == [3, 5]
    assert (row.fifo.count, row.fifo.size_bytes, row.fifo.first_id) == (0, 0, 7)
