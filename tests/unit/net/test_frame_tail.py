from __future__ import annotations

import tracemalloc

import pytest

from mqd.net import frame_tail
from mqd.net.frame_tail import FrameTail, Untold
from mqwire.framelog import IN, LogReader, RecordEncoder
from mqwire.frames import FrameWriter

START = 1_700_000_000_000_000
"""What the numbers of the run begin after."""


@pytest.fixture
def tail():
    return FrameTail(1000 * START, "9.9.9", "full")


def add(tail, *numbers, size_bytes=0):
    """Add records that each hold a PING with a number."""
    for number in numbers:
        frame = FrameWriter().encode(("PING", number, bytes(size_bytes)))
        head = RecordEncoder(7, IN, "a:1", "b:2", "ada").head(1, len(frame))
        tail.add(head, [frame[:3], frame[3:]], len(frame))


def look(tail, *args, **kwargs):
    """Return what was found: the PINGs, and their numbers, last, missed."""
    found = tail.read(*args, **kwargs)
    reader = LogReader()
    records = reader.feed(found.records)
    assert (reader.error, reader.leftover_bytes) == (None, 0)
    assert reader.header == (1, 1000 * START, "9.9.9")
    numbers = [number - START for number in numbers_of(found.numbers)]
    assert [int(record.frames[11]) for record in records] == numbers
    return numbers, found.last - START, found.missed


def numbers_of(runs):
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [each for first, count in pairs for each in range(first, first + count)]


def test_nothing_is_told_where_nothing_was_logged(tail):
    assert look(tail) == ([], 0, 0)
    assert look(tail, START) == ([], 0, 0)


def test_records_are_told_once_each_in_order(tail):
    add(tail, 1, 2, 3, 4, 5)
    assert look(tail) == ([1, 2, 3, 4, 5], 5, 0)
    assert look(tail, most=2) == ([4, 5], 5, 0)
    assert look(tail, START) == ([1, 2, 3, 4, 5], 5, 0)
    assert look(tail, START, most=2) == ([1, 2], 2, 0)
    assert look(tail, START + 2, most=2) == ([3, 4], 4, 0)
    assert look(tail, START + 5) == ([], 5, 0)


def test_some_before_them_are_told_once_more(tail):
    add(tail, 1, 2, 3, 4, 5)
    assert look(tail, START + 3, context=2) == ([2, 3, 4, 5], 5, 0)
    assert look(tail, START + 1, most=1, context=9) == ([1, 2], 2, 0)
    assert look(tail, most=1, context=1) == ([4, 5], 5, 0)


def test_a_number_of_another_run_is_known_as_such(tail):
    add(tail, 1, 2)
    assert look(tail, START - 1) == ([1, 2], 2, None)
    assert look(tail, START + 3, most=1) == ([1], 1, None)
    assert look(tail, 0) == ([1, 2], 2, None)


def test_the_oldest_go_by_their_number(tail, monkeypatch):
    monkeypatch.setattr(frame_tail, "MAX_TAIL_ENTRIES", 3)
    add(tail, 1, 2, 3, 4, 5)
    assert look(tail, START) == ([3, 4, 5], 5, 2)
    assert look(tail, START + 1, most=1) == ([3], 3, 1)
    assert look(tail) == ([3, 4, 5], 5, 0)


def test_the_oldest_go_by_their_bytes(tail, monkeypatch):
    monkeypatch.setattr(frame_tail, "MAX_TAIL_BYTES", 2500)
    add(tail, 1, 2, 3, 4, size_bytes=1000)
    assert look(tail, START) == ([3, 4], 4, 2)
    add(tail, 5)
    assert look(tail, START) == ([3, 4, 5], 5, 2)
    add(tail, 6, 7, size_bytes=1300)
    assert look(tail, START) == ([7], 7, 6)


def test_what_came_in_tiny_pieces_takes_no_more_memory(tail):
    frame = FrameWriter().encode(("PING", 1, bytes(20_000)))
    head = RecordEncoder(7, IN, "a:1", "b:2", "ada").head(1, len(frame))
    tracemalloc.start()
    try:
        tail.add(head, [frame[at : at + 2] for at in range(0, len(frame), 2)], len(frame))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert look(tail) == ([1], 1, 0)
    assert kept_bytes < 2 * len(frame)


def test_a_large_record_is_left_out_and_counted(tail):
    add(tail, 1)
    add(tail, 2, size_bytes=frame_tail.MAX_TAIL_RECORD_BYTES)
    assert look(tail, START + 1) == ([], 2, 1)
    assert look(tail, START + 2) == ([], 2, 0)
    add(tail, 3)
    assert look(tail, START + 1) == ([3], 3, 1)
    assert look(tail, START) == ([1, 3], 3, 1)
    assert tail.read().numbers == [START + 1, 1, START + 3, 1]


def test_results_are_those_of_the_verb(tail):
    add(tail, 1, 2, 3)
    records, *rest = tail.results({"after": START + 1, "max": 1, "context": 1})
    assert type(records) is Untold
    assert rest == [[START + 1, 2], START + 2, 0, "full"]
    assert tail.results({})[1:] == ([START + 1, 3], START + 3, 0, "full")
