from __future__ import annotations

import asyncio

from mqclient.view_models import Event
from mqweb.app import make_gateway
from mqweb.config import Config
from mqweb.connections import GatewayClient, Link
from mqweb.events import Stream, shown_event, written
from mqweb.forms import EventsQuery


async def test_a_reader_gets_what_has_come_since_it_looked_last():
    stream = Stream(3)
    stream.put(b"a")
    stream.put(b"b")
    assert await stream.take() == b"ab"
    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    stream.put(b"c")
    assert await waiting == b"c"


async def test_a_reader_may_be_as_far_behind_as_the_limit_and_is_cut_past_it():
    stream = Stream(3)
    for piece in (b"a", b"b", b"c"):
        stream.put(piece)
    assert not stream.is_cut
    stream.put(b"d")
    assert stream.is_cut
    assert await stream.take() == written("cut", {"why": "the reader is too slow"})
    stream.put(b"e")
    assert await stream.take() == b""


async def test_a_stream_that_ends_is_sent_to_its_end():
    stream = Stream(3)
    stream.put(b"a")
    stream.end()
    assert await stream.take() == b"a"
    assert await stream.take() == b""


def test_an_event_stands_in_a_stream_with_its_lease_as_text():
    event = Event("nacked", "jobs", (7, 2), 1.5, {"lease": [3, 9], "reason": "x"})
    shown = shown_event(event)
    assert (shown["runs"], shown["count"], shown["lease"]) == ((7, 2), 2, "3-9")
    assert written("nacked", {"a": 1}, "n-1") == b'id: n-1\nevent: nacked\ndata: {"a":1}\n\n'
    assert shown_event(Event.missed(4)) == {"count": 4}


class Watch:
    """A watch in which nothing happens, and that takes its time to end."""

    is_connected = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error):
        for _ in range(20):
            await asyncio.sleep(0)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.Event().wait()


async def test_a_hub_that_its_last_stream_has_left_takes_no_new_one(monkeypatch):
    streams = make_gateway(Config(mqd="mq://127.0.0.1:1")).streams
    links = []

    async def take(token):
        links.append(Link(token, object.__new__(GatewayClient)))
        return links[-1]

    monkeypatch.setattr(streams._connections, "take", take)
    monkeypatch.setattr("mqweb.events._watch", lambda *_said: Watch())
    first, second = Stream(10), Stream(10)
    hub = await streams._joined(first, "token", EventsQuery())
    assert await streams._joined(second, "token", EventsQuery()) is hub
    streams._leave(hub, first)
    streams._leave(hub, second)
    await asyncio.sleep(0)
    late = Stream(10)
    new = await streams._joined(late, "token", EventsQuery())
    assert new is not hub
    await asyncio.wait([hub.task])
    assert not late.is_over
    streams._leave(new, late)
    await asyncio.wait([new.task])
