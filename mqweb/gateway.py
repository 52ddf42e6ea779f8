"""What all requests of one gateway share. Floor 2."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqweb.events import Streams
from mqweb.handing import Settler
from mqweb.metrics import Metrics
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from mqweb.config import Config
    from mqweb.connections import Connections

_TICK_SECONDS: Final = 0.5


class Buffers:
    """Counts the bytes of bodies that are on their way in, or out.

    One that is larger than all of them may be is let through while there is no other: else it
    could never go.

    Args:
        limit: most of them at a time.
        what: they are, for who is refused.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.taken = 0
        """How many there are."""

    def take(self, count: int) -> None:
        """Count bytes more.

        Raises:
            Problem: there would be too many; then none is counted.
        """
        if self.taken and self.taken + count > self._limit:
            raise Problem(
                GatewayCode.GATEWAY_FULL,
                f"the {self._what} under way take as much memory as they may",
                headers=((b"connection", b"close"),),
            )
        self.taken += count

    def give(self, count: int) -> None:
        """Count bytes less."""
        self.taken -= count


class Gateway:
    """What all requests share.

    Args:
        config: the settings.
        connections: to mqd.
    """

    def __init__(self, config: Config, connections: Connections) -> None:
        self.config = config
        self.connections = connections
        self.buffers = Buffers(config.max_buffered_bytes, "bodies of requests")
        self.outgoing = Buffers(config.max_buffered_bytes, "answers")
        self.settler = Settler()
        self.streams = Streams(config, connections)
        self.metrics = Metrics()
        self.answers: Counter[int] = Counter()
        """How many answers there were, by the first digit of their status."""
        self._stopping: asyncio.Future[None] | None = None

    @property
    def stopping(self) -> asyncio.Future[None]:
        """Is done when the gateway is to stop: what waits ends then."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_future()
        return self._stopping

    def stop(self) -> None:
        """End what waits: pulls, statuses, event streams."""
        if not self.stopping.done():
            self.stopping.set_result(None)
        self.streams.close()

    async def look_after(self) -> None:
        """Close what is not used, and keep streams alive, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = monotonic()
            self.connections.close_idle(now)
            self.streams.tick(now)

    async def close(self) -> None:
        """End everything, once no request is under way."""
        self.stop()
        await self.settler.close()
        await self.connections.close()
