"""Events of mqd to Redis: `mqweb events --to redis://...`. Floor 2.

Theory of operation. One task watches mqd and puts events into a bounded line; another takes them
out, many at a time, and sends them. Either side may go away: the watch is made again, and what
was missed meanwhile is told as mqd tells it; what Redis does not take waits in the line, and is
sent again until it does. So Redis gets an event at least once, in order, unless the line overflows:
then the oldest go, are counted, and an event `missed` with their number takes their place.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from mqclient.errors import ConnectFailed, MqError, TransportError
from mqweb.answers import encode_json
from mqweb.events import shown_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient import AsyncClient
    from mqclient.view_models import Event

_logger: Final = logging.getLogger("mqweb")
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_MOST_AT_ONCE: Final = 500
_REDIS_SECONDS: Final = 10.0
_PLACES: Final = ("{queue}", "{kind}")


@dataclass(frozen=True)
class Route:
    """What goes where.

    Args:
        url: of Redis.
        name: of the channel or stream; `{queue}` and `{kind}` in it stand for an event's.
        is_stream: whether events are added to a stream; else they are published.
        max_length: about how many events a stream keeps; 0 for all.
        pattern: whose queues' events; None for all.
        kinds: which kinds; None for all.
        line_events: how many may wait for Redis.
    """

    url: str
    name: str = "mqd:events"
    is_stream: bool = False
    max_length: int = 100_000
    pattern: str | None = None
    kinds: Sequence[str] | None = None
    line_events: int = 10_000


class Parcel(NamedTuple):
    """An event on its way."""

    kind: str
    queue: str
    data: bytes
    dropped: int = 0
    """Of the one that takes the place of others: how many there were."""


class Line:
    """What waits for Redis.

    Args:
        limit: most events in it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parcels: deque[Parcel] = deque()
        self._news = asyncio.Event()
        self._dropped = 0  # since the last time that this was told
        self.lost = 0
        """Events that were given up, since there was no room."""

    def __len__(self) -> int:
        return len(self._parcels)

    def put(self, parcel: Parcel) -> None:
        """Have an event sent; where there is no room the oldest one goes."""
        if len(self._parcels) >= self._limit:
            self._parcels.popleft()
            self._dropped += 1
            self.lost += 1
        self._parcels.append(parcel)
        self._news.set()

    async def next(self) -> list[Parcel]:
        """Return the events at its head, once there are any; with what became of others."""
        while not self._parcels:
            self._news.clear()
            await self._news.wait()
        # They are taken out, so that an overflow meanwhile drops none that is being sent.
        count = min(len(self._parcels), _MOST_AT_ONCE)
        taken = [self._parcels.popleft() for _ in range(count)]
        if self._dropped:
            taken.insert(0, _missed(self._dropped))
            self._dropped = 0
        return taken

    def put_back(self, parcels: Sequence[Parcel]) -> None:
        """Take events back that could not be sent; where there is no room the oldest go."""
        if parcels and parcels[0].dropped:
            self._dropped += parcels[0].dropped
            parcels = parcels[1:]
        room = max(self._limit - len(self._parcels), 0)
        kept = parcels[len(parcels) - room :] if room < len(parcels) else parcels
        self._dropped += len(parcels) - len(kept)
        self.lost += len(parcels) - len(kept)
        self._parcels.extendleft(reversed(kept))


def _redis_at(url: str) -> redis.asyncio.Redis:
    """Return a client of Redis that connects when it is first used.

    Raises:
        ValueError: the URL is none; nothing of it is told, since it may hold a password.
    """
    try:
        return redis.asyncio.from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )
    except ValueError:
        text = "the URL of Redis is none: redis://USER:PASSWORD@HOST:PORT/0, where a password "
        raise ValueError(f"{text}has %2F for / and %40 for @") from None


class Bridge:
    """Carries events until it is cancelled.

    Args:
        client: connected to mqd, or not yet.
        route: what goes where.

    Raises:
        ValueError: the URL of Redis is none.
    """

    def __init__(self, client: AsyncClient, route: Route) -> None:
        self._redis = _redis_at(route.url)
        self._client = client
        self._route = route
        self._line = Line(route.line_events)
        self._is_away = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.delivered = 0
        """Events that Redis has taken."""

    @property
    def lost(self) -> int:
        """Events that were not delivered, and will not be."""
        return self._line.lost

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry events until `stopping` is set; then send what waits, if Redis takes it.

        Raises:
            MqError: mqd refuses the watch, or the credentials.
        """
        loop = asyncio.get_running_loop()
        watching = loop.create_task(self._watch())
        sending = loop.create_task(self._send())
        stopped = loop.create_task(stopping.wait())
        try:
            await asyncio.wait([watching, sending, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (watching, stopped):
                task.cancel()
            if stopping.is_set():
                await self._finish()
            sending.cancel()
            await asyncio.wait([watching, sending, stopped])
            self._line.lost += len(self._line)
            _logger.info("events delivered: %d, not delivered: %d", self.delivered, self.lost)
        for task in (watching, sending):
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]  # there is one

    async def _watch(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            watch = self._client.watch(self._route.pattern, events=self._route.kinds)
            try:
                async with watch:
                    _logger.info("watching mqd")
                    pause = _FIRST_PAUSE_SECONDS
                    async for event in watch:
                        self._is_idle.clear()
                        self._line.put(_parcel(event))
            except (TransportError, ConnectFailed, TimeoutError) as error:
                _logger.warning("mqd is not reached, and tried again: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _send(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        connection = self._redis
        try:
            while True:
                parcels = await self._line.next()
                try:
                    await self._deliver(connection, parcels)
                except (RedisError, OSError, asyncio.TimeoutError) as error:
                    self._line.put_back(parcels)
                    self._tell_away(error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                except BaseException:
                    self._line.put_back(parcels)
                    raise
                else:
                    self.delivered += sum(not each.dropped for each in parcels)
                    self._tell_back()
                    pause = _FIRST_PAUSE_SECONDS
                    if not self._line:
                        self._is_idle.set()
        finally:
            with suppress(RedisError, OSError):
                await connection.aclose()

    async def _deliver(self, connection: Any, parcels: Sequence[Parcel]) -> None:
        route = self._route
        pipeline = connection.pipeline(transaction=False)
        for each in parcels:
            name = route.name
            for place, value in zip(_PLACES, (each.queue, each.kind), strict=True):
                name = name.replace(place, value)
            if route.is_stream:
                members = {"kind": each.kind, "queue": each.queue, "data": each.data}
                limit = (
                    {"maxlen": route.max_length, "approximate": True} if route.max_length else {}
                )
                pipeline.xadd(name, members, **limit)
            else:
                pipeline.publish(name, each.data)
        await pipeline.execute()

    async def _finish(self) -> None:
        """Give what waits a moment to be sent."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), _LONGEST_PAUSE_SECONDS)

    def _tell_away(self, error: BaseException) -> None:
        if not self._is_away:
            self._is_away = True
            _logger.warning("Redis does not take events, which wait: %s", error)

    def _tell_back(self) -> None:
        if self._is_away:
            self._is_away = False
            _logger.info("Redis takes events again; not delivered so far: %d", self.lost)


def _parcel(event: Event) -> Parcel:
    data = {"kind": event.kind, **shown_event(event)}
    return Parcel(event.kind, event.queue, encode_json(data))


def _missed(count: int) -> Parcel:
    return Parcel("missed", "", encode_json({"kind": "missed", "count": count}), count)


async def carry(client: AsyncClient, route: Route, stopping: asyncio.Event) -> None:
    """Carry events from mqd to Redis until `stopping` is set.

    Raises:
        MqError: mqd refuses the watch, or the credentials.
        ValueError: the URL of Redis is none.
    """
    try:
        await Bridge(client, route).run(stopping)
    finally:
        with suppress(MqError):
            await client.close()
