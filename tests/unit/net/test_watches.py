"""Watches: what is sent, what is counted instead, and how large a frame becomes."""

from __future__ import annotations

import msgpack
import pytest

from mqd.engine.base import Event
from mqd.net.watches import FRAME_BYTES, MAX_EVENT_RUNS, Watch, Watches
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import Level
from mqwire.limits import MAX_CREDIT, MAX_WATCHES_PER_CONNECTION


class Views:
    def __init__(self):
        self.listeners = []

    def listen(self, listener):
        self.listeners.append(listener)

    def stop_listening(self, listener):
        self.listeners.remove(listener)


class Engine:
    def __init__(self):
        self.views = Views()


class Session:
    def __init__(self):
        self.engine = Engine()
        self.is_slow = False
        self.sent = []

    def send_events(self, request_id, events, missed, level):
        self.sent.append((request_id, list(events), missed, level))

    def take(self):
        sent, self.sent = self.sent, []
        return [([event[2] for event in events], missed) for _, events, missed, _ in sent]


@pytest.fixture
def session():
    return Session()


def event(number=1, kind="pushed", ids=None, level=Level.ACCEPTED, **more):
    return Event(kind, "jobs", (number, 1) if ids is None else ids, more, 1500, level)


def noted(watch, *events):
    for each in events:
        watch.note(each)
    watch.tell()


def test_a_turns_events_are_one_frame(session):
    watch = Watch(session, 7, "*", (), 10)
    noted(watch, event(1, reason="x"), event(2, level=Level.WRITTEN))
    assert session.sent == [
        (
            7,
            [("pushed", "jobs", (1, 1), 1.5, {"reason": "x"}), ("pushed", "jobs", (2, 1), 1.5, {})],
            0,
            Level.WRITTEN,
        )
    ]
    noted(watch, event(3))
    assert session.sent[1][3] is Level.ACCEPTED
    noted(watch)
    assert len(session.sent) == 2


def test_pattern_and_kinds_filter(session):
    watch = Watch(session, 7, "a*", ["acked", "dead"], 10)
    assert watch.wants("ab")
    assert not watch.wants("b")
    noted(watch, event(1), event(2, "acked"), event(3, "leased"), event(4, "dead"))
    assert session.take() == [([(2, 1), (4, 1)], 0)]


def test_past_its_credit_events_are_counted(session):
    watch = Watch(session, 7, "*", (), 2)
    noted(watch, event(1), event(2), event(3))
    assert session.take() == [([(1, 1), (2, 1)], 1)]
    noted(watch, event(4), event(5))
    assert session.take() == []
    watch.add_credit(1)
    watch.tell()
    assert session.take() == [([], 2)]
    watch.tell()
    assert session.take() == []
    noted(watch, event(6), event(7))
    assert session.take() == [([(6, 1)], 1)]


def test_credit_has_a_bound(session):
    watch = Watch(session, 7, "*", (), MAX_CREDIT)
    watch.add_credit(MAX_CREDIT)
    assert watch._credit == MAX_CREDIT


def test_a_client_that_does_not_read_misses_events_and_keeps_its_credit(session):
    watch = Watch(session, 7, "*", (), 2)
    session.is_slow = True
    noted(watch, event(1), event(2), event(3))
    assert session.take() == []
    session.is_slow = False
    noted(watch, event(4), event(5))
    assert session.take() == [([(4, 1), (5, 1)], 3)]


def test_an_event_of_many_runs_is_told_in_pieces(session):
    ids = tuple(each for number in range(1, 2 * MAX_EVENT_RUNS + 3, 2) for each in (number, 1))
    assert len(ids) == 2 * (MAX_EVENT_RUNS + 1)
    watch = Watch(session, 7, "*", (), 3)
    noted(watch, event(ids=ids), event(ids=ids))
    assert session.take() == [([ids[:-2], ids[-2:], ids[:-2]], 1)]


def test_an_event_without_messages_is_one(session):
    watch = Watch(session, 7, "*", (), 3)
    noted(watch, event(ids=(), kind="created"))
    assert session.take() == [([()], 0)]


def test_frames_are_bounded(session):
    watch = Watch(session, 7, "*", (), 10_000)
    ids = tuple(range(10**12, 10**12 + 2 * MAX_EVENT_RUNS))
    watch._missed = 4
    noted(watch, *(event(ids=ids, reason="é" * 256) for _ in range(200)))
    assert sum(len(events) for _, events, _, _ in session.sent) == 200
    assert [missed for _, _, missed, _ in session.sent] == [4] + [0] * (len(session.sent) - 1)
    sizes = [len(msgpack.packb(events)) for _, events, _, _ in session.sent]
    assert max(sizes) <= FRAME_BYTES
    assert min(sizes[:-1]) > FRAME_BYTES / 4


def test_watches_begin_and_end(session):
    watches = Watches(session.engine.views)
    listeners = session.engine.views.listeners
    watches.begin(session, 7, "*", (), 5)
    with pytest.raises(RequestError) as caught:
        watches.begin(session, 7, "*", (), 5)
    assert caught.value.code is Code.ID_IN_USE
    assert (watches.add_credit(7, 3), watches.add_credit(8, 3)) == (True, False)
    assert listeners[0]._credit == 8
    assert (watches.end(8), watches.end(7), watches.end(7)) == (False, True, False)
    assert listeners == []
    for number in range(MAX_WATCHES_PER_CONNECTION):
        watches.begin(session, number + 1, "*", (), 5)
    with pytest.raises(RequestError) as caught:
        watches.begin(session, 100, "*", (), 5)
    assert caught.value.code is Code.TOO_MANY_WAITS
    watches.end_all()
    assert listeners == []
