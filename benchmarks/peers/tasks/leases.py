"""Messages that are taken and settled: over a bare connection, and by the libraries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.tasks.base import LIMIT_SECONDS, Task

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.sides import Place


class LeaseBursts(Task):
    """Fills the queue, then takes and settles without waiting; options `count`, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._batch: int = options["batch"]
        self._count = max(1, options["count"] // self._batch)
        self._wire = self.wire()

    def go(self) -> dict[str, float]:
        """Return messages a second, taken and settled."""
        messages, wire = self._count * self._batch, self._wire
        bursts.seconds_for([(wire, wire.push(self.queue, self.body, messages))], LIMIT_SECONDS)
        burst = wire.lease_and_ack(self.queue, self.body, self._count, self._batch)
        seconds = bursts.seconds_for([(wire, burst)], LIMIT_SECONDS)
        wire.settle()
        left = wire.waiting(self.queue)
        if left:
            raise RuntimeError(f"{left} messages are left")
        return {"messages": messages, "messages_per_second": messages / seconds}


class Consumer(Task):
    """One consumer of the library that works its share off; options `count`, `batch`.

    The queue is filled beforehand, by somebody else.
    """

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._batch: int = options["batch"]
        self._count: int = options["count"]
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return how many messages it worked off, and how long that took."""
        started = time.perf_counter()
        self._client.work_off(self._count, self._batch)
        return {"messages": self._count, "work_seconds": time.perf_counter() - started}
