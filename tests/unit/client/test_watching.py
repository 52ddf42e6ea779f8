"""Watches of both clients, against a scripted server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import mqclient
from mqclient.models import LeaseId
from mqclient.view_models import Event

if TYPE_CHECKING:
    from support.fake_server import FakeServer

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqclient.steps._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("mqclient.steps._LONGEST_PAUSE_SECONDS", 0.001)


def event(number: int, kind: str = "acked", **more):
    return [kind, "q", [number, 1], 1.5, more]


class Telling:
    """A server that tells events.

    Args:
        server: what it is behind.
        batches: of each WATCH: what is told at once, as (events, missed).
    """

    def __init__(self, server: FakeServer, *batches) -> None:
        self.batches = list(batches)
        self.server = server
        self.peer = None
        self.request = 0
        self.closes = 0
        server.answers["WATCH"] = self._watch
        server.answers["CREDIT"] = lambda peer, frame: peer.ok(frame, True)

    def _watch(self, peer, frame):
        self.peer, self.request = peer, frame[1]
        told = self.batches.pop(0) if self.batches else []
        peer.send((frame[1], "OK", 1000), *((frame[1], "EVENT", *each) for each in told))
        if self.closes:
            self.closes -= 1
            peer.close()

    def tell(self, *events, missed=0):
        self.peer.send((self.request, "EVENT", list(events), missed))


class Watching:
    """A watch of either client that is led by hand."""

    def __init__(self, client, *arguments, **options) -> None:
        self.client = client
        self.watch = client.watch(*arguments, **options)

    def wait(self, result):
        if not hasattr(self.client, "loop"):
            return result

        async def awaited():
            return await result

        return self.client.loop.run_until_complete(awaited())

    def __enter__(self):
        enter = "__aenter__" if hasattr(self.client, "loop") else "__enter__"
        self.wait(getattr(self.watch, enter)())
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.wait(self.watch.close())

    def next(self):
        try:
            if hasattr(self.client, "loop"):
                return self.wait(self.watch.__anext__())
            return next(self.watch)
        except (StopIteration, StopAsyncIteration):
            return None

    def ids(self, count):
        return [self.next().ids for _ in range(count)]


def test_events_have_all_that_was_told(server: FakeServer, make_client):
    more = {
        "lease": (3, 17),
        "holder": "ada/w1",
        "cause": "nack",
        "reason": "no",
        "due_at": 9.5,
        "moved_to": "q.dead",
    }
    told = [["nacked", "q", [7, 2, 20, 1], 1.5, more], ["deleted", "p", [], 2.5, {"count": 4}]]
    Telling(server, [(told, 0)])
    with Watching(make_client(server.url), "q*", events=["nacked", "deleted"], credit=9) as watch:
        first, second = watch.next(), watch.next()
    assert (first.kind, first.queue, first.ids, first.at) == ("nacked", "q", [7, 8, 20], 1.5)
    assert (first.lease, first.holder, first.count) == (LeaseId(3, 17), "ada/w1", 3)
    assert (first.cause, first.reason, first.due_at) == ("nack", "no", 9.5)
    assert first.moved_to == "q.dead"
    assert (second.ids, second.count, second.lease) == ([], 4, None)
    [frame] = server.frames("WATCH")
    assert frame[2:] == ("q*", {"credit": 9, "events": ("nacked", "deleted")})


def test_it_begins_on_entering_and_has_a_connection_of_its_own(server: FakeServer, make_client):
    telling = Telling(server)
    client = make_client(server.url)
    client.ping()
    assert not server.frames("WATCH")
    with Watching(client) as watch:
        [frame] = server.frames("WATCH")
        assert frame[2:] == ({"credit": 1000},)
        assert len(server.peers) == 2
        client.ping()
        telling.tell(event(1))
        assert watch.ids(1) == [[1]]
    telling.peer.ended.wait(10)
    client.ping()
    assert watch.next() is None


def test_it_waits_for_what_comes(server: FakeServer, make_client):
    telling = Telling(server)
    with Watching(make_client(server.url)) as watch:
        timer = threading.Timer(0.05, telling.tell, [event(1), event(2)])
        timer.start()
        assert watch.ids(2) == [[1], [2]]
        timer.join()


def test_it_ends_when_nothing_comes(server: FakeServer, make_client):
    Telling(server, [([event(1)], 0)])
    watch = Watching(make_client(server.url), wait=0.05)
    assert watch.ids(1) == [[1]]
    assert watch.next() is None
    assert watch.watch.is_closed
    assert watch.next() is None


def test_credit_is_given_back_by_halves(server: FakeServer, make_client):
    Telling(server, [([event(n) for n in range(1, 11)], 0)])
    with Watching(make_client(server.url), credit=8) as watch:
        watch.ids(3)
        assert not server.frames("CREDIT")
        watch.ids(5)
        request = server.frames("WATCH")[0][1]
        server.wait_for("CREDIT", 2)
        assert [frame[2:] for frame in server.frames("CREDIT")] == [(request, 4)] * 2


def test_with_a_credit_of_one_each_is_given_back(server: FakeServer, make_client):
    Telling(server, [([event(1)], 0)])
    with Watching(make_client(server.url), credit=1) as watch:
        watch.ids(1)
        server.wait_for("CREDIT")


def test_what_was_missed_is_told_before_what_came_then(server: FakeServer, make_client):
    telling = Telling(server, [([event(1)], 0), ([event(9)], 7)])
    with Watching(make_client(server.url), credit=4) as watch:
        assert watch.ids(1) == [[1]]
        missed = watch.next()
        assert (missed.kind, missed.count, missed.ids, missed.queue) == ("missed", 7, [], "")
        assert watch.ids(1) == [[9]]
        telling.tell(missed=3)
        assert watch.next().count == 3
        assert [frame[3] for frame in server.frames("CREDIT")] in ([2], [])


def test_a_lost_connection_is_made_again_and_said(server: FakeServer, make_client):
    telling = Telling(server, [([event(1)], 0)], [([event(5)], 0)])
    telling.closes = 1
    with Watching(make_client(server.url)) as watch:
        assert watch.ids(1) == [[1]]
        missed = watch.next()
        assert (missed.kind, missed.count) == ("missed", None)
        assert watch.ids(1) == [[5]]
    assert len(server.frames("WATCH")) == 2


def test_a_restart_is_waited_for(server: FakeServer, make_client, caplog):
    Telling(server, [([event(1)], 0)], [([event(5)], 0)])
    with Watching(make_client(server.url, connect_timeout=0.2)) as watch:
        assert watch.ids(1) == [[1]]
        server.stop()
        starter = threading.Timer(0.4, server.start)
        starter.start()
        assert watch.next().kind == "missed"
        starter.join()
        assert watch.ids(1) == [[5]]
    assert caplog.text.count("a watch has lost its connection") == 1


def test_a_refusal_is_raised(server: FakeServer, make_client):
    server.answers["WATCH"] = lambda peer, frame: peer.error(frame, "BAD_NAME")
    client = make_client(server.url)
    with pytest.raises(mqclient.BadName), Watching(client, "/"):
        pass
    watch = Watching(client, "/")
    with pytest.raises(mqclient.BadName):
        watch.next()
    watch.close()


def test_without_a_server_it_ends_at_once(server: FakeServer, make_client):
    server.stop()
    watch = Watching(make_client(server.url, connect_timeout=0.05))
    with pytest.raises(mqclient.ConnectFailed):
        watch.next()


@pytest.mark.parametrize(
    "frame",
    [
        ([5], 0),
        ([["acked"]], 0),
        ([["acked", "q", [1], 1.5, {}]], 0),
        ([[5, "q", [1, 1], 1.5, {}]], 0),
        (5, 0),
        ([],),
    ],
)
def test_events_without_their_form(server: FakeServer, make_client, frame):
    Telling(server, [frame])
    with Watching(make_client(server.url)) as watch:
        with pytest.raises(mqclient.ProtocolError, match="form"):
            watch.next()


def test_kinds_and_keys_that_are_not_known_are_passed_on(server: FakeServer, make_client):
    Telling(server, [([["newer", "q", [1, 1], 1.5, {"more": 1}, "and"]], 0)])
    with Watching(make_client(server.url)) as watch:
        assert watch.next().more == {"more": 1}


def test_the_end_of_the_client_is_its_end(server: FakeServer, make_client):
    Telling(server, [([event(1)], 0)])
    client = make_client(server.url)
    watch = Watching(client)
    assert watch.ids(1) == [[1]]
    client.close()
    assert watch.next() is None


def test_closing_it_in_another_thread_ends_it(server: FakeServer):
    Telling(server)
    with mqclient.Client(server.url) as client, client.watch() as watch:
        closer = threading.Timer(0.05, watch.close)
        closer.start()
        assert list(watch) == []
        closer.join()


def test_a_silent_server_is_asked_and_given_up(server: FakeServer, make_client, monkeypatch):
    monkeypatch.setattr("mqclient.probing.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("mqclient.probing.LOST_SECONDS", 0.05)
    Telling(server, [], [([event(5)], 0)])
    client = make_client(server.url)
    with Watching(client) as watch:
        server.answers["PING"] = lambda _peer, _frame: None
        assert watch.next().kind == "missed"
        assert watch.ids(1) == [[5]]
    server.wait_for("PING")


def test_a_server_that_answers_is_not_given_up(server: FakeServer, make_client, monkeypatch):
    monkeypatch.setattr("mqclient.probing.QUIET_SECONDS", 0.02)
    monkeypatch.setattr("mqclient.probing.LOST_SECONDS", 5.0)
    telling = Telling(server)
    with Watching(make_client(server.url)) as watch:
        answer = server.answers["PING"]

        def ping(peer, frame):
            answer(peer, frame)
            if len(server.frames("PING")) == 3:
                telling.tell(event(1))

        server.answers["PING"] = ping
        assert watch.ids(1) == [[1]]
    assert len(server.frames("WATCH")) == 1


@pytest.mark.parametrize(
    "options", [{"credit": 0}, {"credit": True}, {"events": "acked"}, {"wait": -1}]
)
def test_arguments_that_make_no_sense(server: FakeServer, make_client, options):
    with pytest.raises(mqclient.InterfaceError):
        make_client(server.url).watch(**options)


def test_events_without_a_watch_break_the_stream(server: FakeServer, make_client):
    server.answers["PING"] = lambda peer, _: peer.send((77, "EVENT", [], 0))
    client = make_client(server.url)
    with pytest.raises(mqclient.ConnectionLost):
        client.ping()


def test_ids_of_an_event_are_its_runs():
    made = Event.from_array(("pushed", "q", (1, 3, 9, 1), 0.5, {}))
    assert (made.ids, made.count) == ([1, 2, 3, 9], 4)
    assert (Event.missed(None).count, Event.missed(3).count) == (None, 3)
