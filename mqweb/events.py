"""Event streams: what happens at mqd, as server-sent events. Floor 2.

Theory of operation. Streams of the same user and filter share a hub, which has one watch at mqd:
an event is fetched and written down once, however many read it. A stream has a bounded line of
what it has not been sent yet; one whose reader is so slow that the line is full is cut, and told
so if it reads on. Nothing is kept for those who are away: a stream that says Last-Event-ID
is told that it has missed something, and nobody knows how much.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqclient.errors import MqError
from mqweb.answers import COMMON, encode_json
from mqweb.handing import CONNECTION_KEY
from mqweb.problems import Problem, problem_of
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from mqclient.view_models import Event
    from mqclient.watching import AsyncWatch
    from mqweb.config import Config
    from mqweb.connections import Connections, GatewayClient, Link
    from mqweb.forms import EventsQuery
    from mqweb.requests import Receive, Request

    Key: TypeAlias = tuple[str, str | None, tuple[str, ...] | None]

_logger: Final = logging.getLogger("mqweb")
_CREDIT: Final = 10_000
_RETRY_MS: Final = 2000
_COMMENT: Final = b":\n\n"
_HEAD: Final = (
    *COMMON,
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


def written(kind: str, data: Any, number: str = "") -> bytes:
    """Return an event as it stands in a stream."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {kind}\ndata: ".encode() + encode_json(data) + b"\n\n"


def shown_event(event: Event) -> dict[str, Any]:
    """Return an event of mqd as it stands in JSON."""
    if event.kind == "missed":
        return {"count": event.count}
    members: dict[str, Any] = {"kind": event.kind, "queue": event.queue, "at": event.at}
    if event.runs:
        members["runs"] = event.runs
        members["count"] = event.count
    members.update(event.more)
    if event.lease is not None:
        members["lease"] = str(event.lease)
    return members


class Stream:
    """One reader.

    Args:
        limit: pieces that it may be behind.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self.is_over = False
        self.is_cut = False
        """Whether its reader was too slow."""
        self.sent_at = monotonic()
        """When it was sent something last, or has begun to be."""
        self.is_sending = False

    def put(self, piece: bytes) -> None:
        """Have something sent; past the limit the stream is over instead."""
        if self.is_over:
            return
        if len(self._line) >= self._limit:
            self.is_cut = True
            self._line.clear()
            self._line.append(written("cut", {"why": "the reader is too slow"}))
            self.end()
            return
        self._line.append(piece)
        self._wake()

    def end(self) -> None:
        """Let it end when what is in the line has been sent."""
        self.is_over = True
        self._wake()

    async def take(self) -> bytes:
        """Return what is in the line, once there is something; nothing at the end."""
        while not self._line and not self.is_over:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        pieces = b"".join(self._line)
        self._line.clear()
        return pieces

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Hub:
    """One watch, and the streams that it feeds."""

    def __init__(self, key: Key, link: Link, watch: AsyncWatch) -> None:
        self.key = key
        self.link = link
        self.streams: set[Stream] = set()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._watch = watch
        self._is_away = False
        self._mark = secrets.token_hex(4)
        self._number = 0

    async def run(self) -> None:
        """Feed the streams until the watch ends or this is cancelled."""
        try:
            async with self._watch as watch:
                self.started.set_result(None)
                async for event in watch:
                    self._tell_connection()
                    self._number += 1
                    number = f"{self._mark}-{self._number}"
                    self._put(written(event.kind, shown_event(event), number))
        except MqError as error:
            self._fail(error)
        finally:
            for stream in self.streams:
                stream.end()

    def tick(self) -> None:
        """Tell whether mqd is reached, when that has changed."""
        if self.started.done():
            self._tell_connection()

    def _tell_connection(self) -> None:
        is_away = not self._watch.is_connected
        if is_away != self._is_away:
            self._is_away = is_away
            self._put(written("away" if is_away else "back", {}))

    def _fail(self, error: MqError) -> None:
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # nobody may be waiting any more
            return
        problem = problem_of(error)
        assert problem is not None
        line = problem.document()
        self._put(b"event: problem\ndata: " + line + b"\n\n")

    def _put(self, piece: bytes) -> None:
        for stream in self.streams:
            stream.put(piece)


class Streams:
    """The event streams of a gateway.

    Args:
        config: the settings.
        connections: to mqd.
    """

    def __init__(self, config: Config, connections: Connections) -> None:
        self._config = config
        self._connections = connections
        self._hubs: dict[Key, Hub] = {}
        self._aborts: dict[Stream, Any] = {}
        self._is_closed = False
        self.cut = 0
        """Streams whose readers were too slow."""

    def __len__(self) -> int:
        return len(self._aborts)

    async def serve(self, request: Request, query: EventsQuery) -> None:
        """Send events until the client leaves, or its stream is over.

        Raises:
            Problem, MqError: there are too many streams, or mqd refuses the watch.
        """
        if len(self) >= self._config.max_streams or self._is_closed:
            limit = self._config.max_streams
            raise Problem(
                GatewayCode.GATEWAY_FULL,
                "there are as many streams as there may be",
                {"limit": limit},
            )
        stream = Stream(self._config.stream_events)
        self._aborts[stream] = request.scope.get(CONNECTION_KEY)
        hub: Hub | None = None
        try:
            hub = await self._joined(stream, request.token, query)
            await self._serve(request, stream)
        finally:
            del self._aborts[stream]
            if hub is not None:
                self._leave(hub, stream)

    def tick(self, now: float) -> None:
        """Keep silent streams alive, and abort those that take nothing.

        Args:
            now: the time by the monotonic clock.
        """
        config = self._config
        for hub in self._hubs.values():
            hub.tick()
        for stream, connection in list(self._aborts.items()):
            silence = now - stream.sent_at
            if stream.is_sending:
                if silence > config.send_seconds:
                    self._abort(stream, connection)
            elif silence >= config.keepalive_seconds:
                stream.put(_COMMENT)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for stream in self._aborts:
            stream.end()

    async def _joined(self, stream: Stream, said: str, query: EventsQuery) -> Hub:
        key = (said, query.pattern, _kinds(query.events))
        hub = self._hubs.get(key)
        if hub is None or (hub.task is not None and hub.task.done()):
            hub = await self._begun(key)
        hub.streams.add(stream)
        try:
            await asyncio.shield(hub.started)
        except BaseException:
            self._leave(hub, stream)
            raise
        return hub

    async def _begun(self, key: Key) -> Hub:
        said, pattern, kinds = key
        link = await self._connections.take(said)
        found = self._hubs.get(key)
        if found is not None and found.task is not None and not found.task.done():
            self._connections.give(link)  # another request has begun one meanwhile
            return found
        hub = Hub(key, link, _watch(link.client, pattern, kinds))
        self._hubs[key] = hub
        hub.task = asyncio.get_running_loop().create_task(hub.run())
        hub.task.add_done_callback(lambda _task: self._ended(key, hub))
        return hub

    def _ended(self, key: Key, hub: Hub) -> None:
        self._connections.give(hub.link)
        if self._hubs.get(key) is hub:
            del self._hubs[key]

    def _leave(self, hub: Hub, stream: Stream) -> None:
        hub.streams.discard(stream)
        if not hub.streams and hub.task is not None:
            # It is ended from now on, not when its task is: nobody else may join it.
            if self._hubs.get(hub.key) is hub:
                del self._hubs[hub.key]
            hub.task.cancel()
        if stream.is_cut:
            self.cut += 1
            _logger.info("an event stream was cut: its reader is too slow")

    def _abort(self, stream: Stream, connection: Any) -> None:
        stream.is_cut = True
        stream.end()
        if connection is not None:
            connection.abort()

    async def _serve(self, request: Request, stream: Stream) -> None:
        send = request.send
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
        stream.put(f"retry: {_RETRY_MS}\n\n".encode())
        if request.field(b"last-event-id"):
            stream.put(written("missed", {"count": None}))
        leaving = asyncio.get_running_loop().create_task(_end_when_gone(request.receive, stream))
        try:
            while pieces := await stream.take():
                stream.is_sending, stream.sent_at = True, monotonic()
                await send({"type": "http.response.body", "body": pieces, "more_body": True})
                stream.is_sending, stream.sent_at = False, monotonic()
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            with suppress(BaseException):
                await asyncio.wait([leaving])


def _watch(client: GatewayClient, pattern: str | None, kinds: tuple[str, ...] | None) -> AsyncWatch:
    return client.watch(pattern, events=kinds, credit=_CREDIT)


def _kinds(said: str | None) -> tuple[str, ...] | None:
    """Return the kinds of events that were asked for, in one order; None for all."""
    if said is None:
        return None
    return tuple(sorted({each.strip() for each in said.split(",") if each.strip()})) or None


async def _end_when_gone(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    stream.end()
