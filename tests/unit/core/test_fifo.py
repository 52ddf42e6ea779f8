from __future__ import annotations

from collections import deque

import pytest

from mqd.core import fifo as fifo_module
from mqd.core.errors import BrokerError
from mqd.core.fifo import ANY_SIZE, Fifo
from mqwire.codes import Code
from mqwire.packs import join_bodies, split_pack


def bodies_of(batch):
    return [piece for pack in batch.packs for piece in split_pack(pack)]


def pack_of(*texts):
    return join_bodies(texts)


def filled(*groups):
    fifo = Fifo()
    for group in groups:
        fifo.append(pack_of(*group), len(group), (), 0)
    return fifo


def pieces(*texts):
    return [join_bodies([text]) for text in texts]


def test_ids_start_at_one_and_follow_each_other():
    fifo = Fifo()
    assert fifo.append(pack_of("a", "b"), 2, (), 0) == 1
    assert fifo.append(pack_of("c"), 1, (), 0) == 3
    assert (fifo.first_id, fifo.count) == (1, 3)


def test_whole_packs_leave_as_they_came():
    first, second = pack_of("a", "b"), pack_of("c")
    fifo = Fifo()
    fifo.append(first, 2, (), 0)
    fifo.append(second, 1, (), 0)
    batch = fifo.take(3, ANY_SIZE)
    assert batch.packs[0] is first
    assert batch.packs[1] is second
    assert (batch.first_id, batch.count, batch.headers) == (1, 3, None)


def test_a_pack_is_cut_where_a_pull_ends_inside_it():
    fifo = filled("abc", "d")
    assert bodies_of(fifo.take(2, ANY_SIZE)) == pieces("a", "b")
    assert bodies_of(fifo.take(5, ANY_SIZE)) == pieces("c", "d")
    assert fifo.count == 0
    assert fifo.size_bytes == 0
    assert fifo.first_id == 5


def test_taking_from_nothing_gives_nothing():
    batch = Fifo().take(3, ANY_SIZE)
    assert (batch.count, batch.packs) == (0, [])


@pytest.mark.parametrize(
    ("room", "expected"), [(0, "a"), (7, "a"), (8, "a"), (9, "ab"), (10, "ab"), (11, "abc")]
)
def test_room_bounds_a_batch_but_never_below_one_message(room, expected):
    fifo = filled("abcd")
    assert bodies_of(fifo.take(4, room)) == pieces(*expected)


def test_room_cuts_between_packs_too():
    fifo = filled("a", "bcd")
    assert bodies_of(fifo.take(4, 14)) == pieces("a", "b")
    assert bodies_of(fifo.take(4, 7)) == pieces("c")
    assert bodies_of(fifo.take(4, 7)) == pieces("d")


def test_room_that_ends_at_a_packs_edge_takes_no_piece_of_the_next():
    fifo = filled("ab", "cd")
    batch = fifo.take(4, 15)
    assert (batch.count, len(batch.packs)) == (2, 1)


def test_room_counts_what_each_pack_costs_in_a_reply():
    fifo = filled(*["a"] * 100)
    batch = fifo.take(100, 70)
    assert batch.count == 10


def test_taking_looks_at_the_headers_of_what_it_may_take_alone():
    fifo = Fifo()
    for _ in range(1000):
        fifo.append(pack_of("x"), 1, ((0, 1, {"n": 1}, 4),), 0)
    runs = fifo._header_runs

    class Counting(type(runs)):
        steps = 0

        def __iter__(self):
            for run in super().__iter__():
                Counting.steps += 1
                yield run

    fifo._header_runs = Counting(runs)
    fifo.take(2, ANY_SIZE)
    fifo.peek(1, 2, ANY_SIZE)
    assert Counting.steps < 20


def test_marks_go_with_their_messages():
    fifo = Fifo()
    for number in range(1000):
        fifo.append(pack_of("x"), 1, (), 1000 * number)
        fifo.take(1, ANY_SIZE)
    assert len(fifo._marks) <= 2


def test_the_same_pack_twice_is_exported_whole_the_second_time():
    fifo, pack = Fifo(), pack_of("a", "b")
    for _ in range(2):
        fifo.append(pack, 2, (), 0)
    fifo.take(1, ANY_SIZE)
    assert [entry[:3] for entry in fifo.export()] == [(2, 1, pack_of("b")), (3, 2, pack)]


def test_headers_are_a_column_with_none_for_those_that_have_none():
    fifo = Fifo()
    fifo.append(pack_of("a", "b", "c"), 3, ((1, 1, {"n": 1}, 4),), 0)
    fifo.append(pack_of("d", "e"), 2, ((0, 2, {"m": 2}, 4),), 0)
    assert fifo.size_bytes == 5 * 2 + 3 * 4
    batch = fifo.take(4, ANY_SIZE)
    assert batch.headers == [None, {"n": 1}, None, {"m": 2}]
    assert fifo.take(1, ANY_SIZE).headers == [{"m": 2}]
    assert fifo.size_bytes == 0


def test_a_batch_in_which_none_has_headers_has_no_column():
    fifo = Fifo()
    fifo.append(pack_of("a"), 1, (), 0)
    fifo.append(pack_of("b"), 1, ((0, 1, {"n": 1}, 4),), 0)
    assert fifo.take(1, ANY_SIZE).headers is None
    assert fifo.take(1, ANY_SIZE).headers == [{"n": 1}]


def test_headers_may_fill_half_the_room():
    fifo = Fifo()
    fifo.append(pack_of(*"abcdef"), 6, ((2, 4, {"n": 1}, 10),), 0)
    assert fifo.take(6, 40).count == 4  # two without, two with headers of 10 bytes each
    assert fifo.take(6, 4).count == 1  # one goes in any case
    assert fifo.take(6, 100).count == 1


def test_many_headers_leave_in_order_of_their_messages():
    fifo = Fifo()
    for number in range(20):
        fifo.append(pack_of(str(number)), 1, ((0, 1, {"n": number}, 4),), 0)
    seen = []
    while fifo.count:
        seen += [values["n"] for values in fifo.take(3, ANY_SIZE).headers]
    assert seen == list(range(20))


def test_the_oldest_age_follows_the_first_message():
    fifo = Fifo()
    assert fifo.oldest_ms() is None
    for number in range(5):
        fifo.append(pack_of("x"), 1, (), 1000 * number)
    for number in range(5):
        assert fifo.oldest_ms() == 1000 * number
        fifo.take(1, ANY_SIZE)
    assert fifo.oldest_ms() is None


def test_pushes_close_in_time_share_a_mark():
    fifo = Fifo()
    for now_ms in (0, 50, 99, 100, 150):
        fifo.append(pack_of("x"), 1, (), now_ms)
    assert len(fifo._marks) == 2
    fifo.take(3, ANY_SIZE)
    assert fifo.oldest_ms() == 100


def test_clear_removes_all_and_ids_go_on():
    fifo = filled("abc")
    fifo.take(1, ANY_SIZE)
    assert fifo.clear() == 2
    assert (fifo.count, fifo.size_bytes, fifo.first_id) == (0, 0, 4)
    assert fifo.oldest_ms() is None
    assert fifo.append(pack_of("d"), 1, (), 0) == 4
    assert bodies_of(fifo.take(9, ANY_SIZE)) == pieces("d")


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("skip", [0, 1, 2, 3, 5, 9])
@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_peek_shows_what_take_would_give_and_changes_nothing(taken, skip, most):
    def fresh():
        fifo = Fifo()
        fifo.append(pack_of("a", "b", "c"), 3, ((1, 2, {"n": 1}, 4),), 0)
        fifo.append(pack_of("d"), 1, (), 0)
        fifo.append(pack_of("e", "f"), 2, ((1, 1, {"n": 2}, 4),), 0)
        if taken:
            fifo.take(taken, ANY_SIZE)
        return fifo

    fifo, model = fresh(), fresh()
    shown = fifo.peek(skip, most, ANY_SIZE)
    if skip:
        model.take(skip, ANY_SIZE)
    expected = model.take(most, ANY_SIZE)
    assert shown.count == expected.count
    assert bodies_of(shown) == bodies_of(expected)
    assert shown.headers == expected.headers
    if shown.count:
        assert shown.first_id == expected.first_id
    left, untouched = fifo.take(99, ANY_SIZE), fresh().take(99, ANY_SIZE)
    assert left == untouched


def test_a_begun_pack_is_not_copied_for_each_pull():
    fifo = filled(["x" * 100] * 1000)
    fifo.take(1, ANY_SIZE)
    pack = fifo._packs[0]
    fifo.take(1, ANY_SIZE)
    assert fifo._packs[0] is pack


def test_an_export_tells_when_each_pack_was_put_in():
    fifo = Fifo()
    for number in range(5):
        fifo.append(pack_of("x"), 1, ((0, 1, {"n": number}, 4),), 1000 * number)
    fifo.take(1, ANY_SIZE)
    exported = list(fifo.export())
    assert [entry[4] for entry in exported] == [1000, 2000, 3000, 4000]
    rebuilt = Fifo()
    rebuilt.restart(fifo.first_id)
    for first_id, count, pack, headers, now_ms in exported:
        assert rebuilt.append(pack, count, headers, now_ms) == first_id
    assert rebuilt.oldest_ms() == fifo.oldest_ms()
    assert rebuilt.take(9, ANY_SIZE) == fifo.take(9, ANY_SIZE)


# Gaps: ids of messages that are kept elsewhere


def gapped():
    """Ids 1, 2, then 5, 6, 7 in two packs, then 9; 10 and 11 are elsewhere."""
    fifo = filled(("a", "b"))
    assert fifo.skip(1) == 3
    assert fifo.skip(1) == 4
    fifo.append(pack_of("e", "f"), 2, (), 0)
    fifo.append(pack_of("g"), 1, ((0, 1, {"k": 1}, 2),), 0)
    fifo.skip(1)
    fifo.append(pack_of("i"), 1, (), 0)
    assert fifo.skip(2) == 10
    return fifo


def test_a_batch_ends_at_a_gap_and_the_next_begins_behind_it():
    fifo = gapped()
    found = []
    while fifo.count:
        batch = fifo.take(9, ANY_SIZE)
        found.append((batch.first_id, bodies_of(batch), batch.headers))
    assert found == [
        (1, pieces("a", "b"), None),
        (5, pieces("e", "f", "g"), [None, None, {"k": 1}]),
        (9, pieces("i"), None),
    ]
    assert fifo.first_id == fifo.next_id == 12
    assert fifo.append(pack_of("l"), 1, (), 0) == 12


@pytest.mark.parametrize("skip", range(8))
@pytest.mark.parametrize("most", range(1, 8))
def test_peeking_shows_what_a_take_would_give(skip, most):
    fifo, left = gapped(), skip
    seen = fifo.peek(skip, most, ANY_SIZE)
    while left and fifo.count:
        left -= fifo.take(left, ANY_SIZE).count
    if fifo.count:
        assert seen == fifo.take(most, ANY_SIZE)
    else:
        assert (seen.count, seen.packs) == (0, [])


def test_ids_that_are_skipped_by_an_empty_store_leave_no_gap():
    fifo = Fifo()
    assert fifo.skip(3) == 1
    assert fifo.append(pack_of("d"), 1, (), 0) == 4
    assert fifo.take(9, ANY_SIZE).first_id == 4


def test_clearing_goes_on_behind_the_gaps():
    fifo = gapped()
    assert fifo.clear() == 6
    assert fifo.append(pack_of("l"), 1, (), 0) == 12


def test_an_export_tells_the_ids_around_gaps():
    assert [(first, count) for first, count, *_ in gapped().export()] == [
        (1, 2), (5, 2), (7, 1), (9, 1)
    ]  # fmt: skip


def test_a_message_without_room_is_left_where_none_has_to_go():
    fifo = filled(("aaaa",))
    fifo.append(pack_of("b"), 1, ((0, 1, {"k": 1}, 40),), 0)
    assert fifo.take(2, 6, 0).count == 0
    assert fifo.take(2, 10, 0).count == 1
    assert fifo.take(2, 50, 0).count == 0
    assert fifo.take(2, 90, 0).count == 1


def test_what_lies_beside_the_oldest_messages():
    fifo = Fifo()
    fifo.append(pack_of("a", "b"), 2, ((0, 2, {"k": 1}, 2),), 0)
    fifo.append(pack_of("c"), 1, ((0, 1, {"k": 2}, 2),), 500)
    fifo.append(pack_of("d"), 1, (), 900)
    first, second = (1, 2, {"k": 1}, 2), (3, 1, {"k": 2}, 2)
    assert fifo.beside(2) == ((first,), ((1, 0),))
    assert fifo.beside(3) == ((first, second), ((1, 0), (3, 500)))
    fifo.take(3, ANY_SIZE)
    assert fifo.beside(9) == ((), ((4, 900),))


class CountingDeque(deque):
    """A deque that counts how often one of its items is asked for by its index."""

    looks = 0

    def __getitem__(self, index):
        self.looks += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("with_headers", [False, True])
@pytest.mark.parametrize("begun", [0, 1, 3])
def test_a_peek_far_behind_looks_at_few_packs(with_headers, begun):
    fifo, runs = Fifo(), ((1, 1, {"k": 1}, 3),) if with_headers else ()
    for number in range(1000):
        fifo.append(join_bodies([number, -number]), 2, runs, 0)
    if begun:
        fifo.take(begun, ANY_SIZE)
    ends = fifo._ends = CountingDeque(fifo._ends)
    marked = fifo._header_runs = CountingDeque(fifo._header_runs)
    for skip in (0, 1, 2, 1501, 1996 - begun, 1999 - begun):
        shown = fifo.peek(skip, 3, ANY_SIZE)
        first_id = begun + 1 + skip
        assert (shown.first_id, shown.count) == (first_id, min(3, 2001 - first_id))
        expected = [{"k": 1} if each % 2 == 0 else None for each in range(first_id, 2001)[:3]]
        assert (shown.headers or [None] * shown.count) == (
            expected if with_headers else [None] * shown.count
        )
    assert fifo.peek(2001 - begun, 3, ANY_SIZE).count == 0
    assert max(ends.looks, marked.looks) < 7 * 14


def test_a_peek_passes_over_so_many_packs_between_gaps_and_no_more(monkeypatch):
    monkeypatch.setattr(fifo_module, "MAX_SKIPPED_ENTRIES", 5)
    fifo = Fifo()
    for number in range(9):
        fifo.append(join_bodies([number]), 1, (), 0)
        fifo.skip(1)
    assert fifo.peek(5, 1, ANY_SIZE).first_id == 11
    with pytest.raises(BrokerError) as caught:
        fifo.peek(6, 1, ANY_SIZE)
    assert (caught.value.code, caught.value.details["got"]) == (Code.OUT_OF_RANGE, 6)
