"""nats-py on asyncio: publishing with an answer, and fetching with an ack that has none.

Everything that is timed runs inside the loop, as a program would have it.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import nats

from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.peers.sides import Place

CONSUMER = "work"
CONFIG: dict[str, Any] = {"max_ack_pending": -1, "ack_wait": 60, "max_waiting": 100_000}
"""What is set for the consumer; seconds, as the library has it."""


class NatsClient(Client):
    """A client with a loop of its own."""

    def __init__(self, place: Place, queue: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._queue = queue
        self._loop.run_until_complete(self._connect(place))

    async def _connect(self, place: Place) -> None:
        self._connection: Any = await nats.connect(f"nats://{place.host}:{place.port}")
        stream: Any = self._connection.jetstream()
        await stream.add_stream(
            name=self._queue, subjects=[self._queue], retention="workqueue", storage=place.mode
        )
        config = nats.js.api.ConsumerConfig(**CONFIG)
        self._stream = stream
        self._consumer: Any = await stream.pull_subscribe(self._queue, CONSUMER, config=config)

    def push(self, body: bytes) -> None:
        """Publish, and its answer."""
        self._loop.run_until_complete(self._stream.publish(self._queue, body))

    def pull(self) -> bytes:
        """Fetch one, and ack."""
        return self._loop.run_until_complete(self._pull())

    async def _pull(self) -> bytes:
        (message,) = await self._consumer.fetch(1)
        await message.ack()
        body: bytes = message.data
        return body

    def round_trips(self, body: bytes, seconds: float) -> list[float]:
        """Push and pull for so long, inside the loop."""

        async def step() -> None:
            await self._stream.publish(self._queue, body)
            if await self._pull() != body:
                raise RuntimeError("another body came back")

        return self._loop.run_until_complete(_times(step, seconds))

    def pushes(self, body: bytes, seconds: float) -> list[float]:
        """Push for so long, inside the loop."""
        step = partial(self._stream.publish, self._queue, body)
        return self._loop.run_until_complete(_times(step, seconds))

    def work_off(self, count: int, batch: int) -> None:
        """Fetch, and ack each, inside the loop."""
        self._loop.run_until_complete(self._work_off(count, batch))

    async def _work_off(self, count: int, batch: int) -> None:
        while count:
            messages = await self._consumer.fetch(min(batch, count))
            for message in messages:
                await message.ack()
            count -= len(messages)

    def close(self) -> None:
        """Close the connection."""
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


async def _times(step: Callable[[], Awaitable[Any]], seconds: float) -> list[float]:
    """Await something for so long; return how long each time took, in seconds."""
    times = []
    clock = time.perf_counter
    now = clock()
    ends_at = now + seconds
    while now < ends_at:
        await step()
        before, now = now, clock()
        times.append(now - before)
    return times


connect = NatsClient
