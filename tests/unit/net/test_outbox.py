from __future__ import annotations

import pytest

from mqd.net.outbox import Outbox
from mqwire.frames import FrameReader
from mqwire.levels import Level


class Engine:
    """Knows marks as a test sets them."""

    def __init__(self):
        self.lsn = 0
        self.reached = (0, 0)
        self.asked = []

    def needs(self, level, *, shows_messages):
        self.asked.append((level, shows_messages))
        return (self.lsn, self.lsn if level is Level.SYNCED else 0)

    def has_reached(self, needs):
        return self.reached[0] >= needs[0] and self.reached[1] >= needs[1]


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def outbox(engine):
    return Outbox(engine)


def add_turn(outbox, engine, body, level=Level.SYNCED):
    outbox.add(body)
    outbox.level = level
    engine.lsn += 1
    outbox.take_turn()


def test_replies_leave_as_frames_when_their_mark_is_reached(outbox, engine):
    add_turn(outbox, engine, b"\x91\x01")
    assert not outbox.is_empty
    assert outbox.take_ready() == (b"", b"")
    engine.reached = (1, 1)
    data, logged = outbox.take_ready()
    assert data == logged
    assert FrameReader(100).feed(data) == [(1,)]
    assert outbox.is_empty
    assert outbox.size_bytes == 0


def test_a_turn_whose_mark_is_reached_leaves_at_once(outbox, engine):
    engine.reached = (1, 1)
    outbox.add(b"\x91\x01")
    data, logged = outbox.take_turn()
    assert data == logged
    assert FrameReader(100).feed(data) == [(1,)]
    assert outbox.is_empty
    assert outbox.size_bytes == 0
    assert outbox.take_turn() == (b"", b"")


def test_a_turn_that_could_leave_waits_for_those_before_it(outbox, engine):
    add_turn(outbox, engine, b"\x91\x01")
    engine.reached = (2, 0)
    outbox.add(b"\x91\x02")
    assert outbox.take_turn() == (b"", b"")
    engine.reached = (2, 1)
    assert FrameReader(100).feed(outbox.take_turn()[0]) == [(1,), (2,)]


def test_nothing_passes_what_came_before_it(outbox, engine):
    add_turn(outbox, engine, b"\x91\x01")
    add_turn(outbox, engine, b"\x91\x02", Level.WRITTEN)
    engine.reached = (2, 0)
    assert outbox.take_ready() == (b"", b"")
    engine.reached = (2, 1)
    assert FrameReader(100).feed(outbox.take_ready()[0]) == [(1,), (2,)]


def test_a_turn_that_is_under_way_stays(outbox, engine):
    outbox.add(b"\x91\x01")
    engine.reached = (9, 9)
    assert outbox.take_ready() == (b"", b"")
    assert not outbox.is_empty
    assert outbox.size_bytes == 7


def test_a_turn_begins_with_nothing_asked(outbox, engine):
    outbox.shows_messages = True
    add_turn(outbox, engine, b"\x91\x01")
    add_turn(outbox, engine, b"\x91\x02", outbox.level)
    outbox.take_turn()  # of a session without replies
    assert engine.asked == [(Level.SYNCED, True), (Level.ACCEPTED, False)]


def test_what_is_logged_may_differ_for_one_turn(outbox, engine):
    outbox.logged_as = b"mark"
    add_turn(outbox, engine, b"\x91\x01")
    add_turn(outbox, engine, b"\x91\x02")
    engine.reached = (2, 2)
    data, logged = outbox.take_ready()
    assert len(data) == 14
    assert logged == b"mark" + data[7:]


def test_clearing_drops_everything(outbox, engine):
    add_turn(outbox, engine, b"\x91\x01")
    outbox.add(b"\x91\x02")
    outbox.clear()
    engine.reached = (9, 9)
    assert outbox.is_empty
    assert outbox.take_ready() == (b"", b"")
    assert outbox.size_bytes == 0
