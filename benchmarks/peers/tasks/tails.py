"""One client that is watched closely, and what it is disturbed by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.figures import latencies
from benchmarks.peers.tasks.base import Task

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.sides import Place


class Tail(Task):
    """A bare connection that pushes and pulls, and waits for each answer; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._wire = self.wire()

    def go(self) -> dict[str, float]:
        """Return how long each round trip takes."""
        times: list[float] = []
        wire, clock = self._wire, time.perf_counter
        ends_at = clock() + self._seconds
        while clock() < ends_at:
            for make in (wire.push, wire.pull):
                flow = bursts.Flow(wire, make(self.queue, self.body, 1))
                began = clock()
                flow.finish()
                times.append(clock() - began)
                wire.settle()
        return {"messages": len(times) / 2, **latencies(times)}


class Snapshots(Task):
    """Has snapshots made, one after the other; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._wire = self.wire()

    def go(self) -> dict[str, float]:
        """Return how long a snapshot takes; at least one is made."""
        made = 0
        began = time.perf_counter()
        while made == 0 or time.perf_counter() < began + self._seconds:
            self._wire.snapshot()
            made += 1
        return {"messages": 0, "snapshot_seconds": (time.perf_counter() - began) / made}


class Held(Task):
    """Connections that have asked something once, and are silent; option `connections`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        for _ in range(options["connections"]):
            self.wire().waiting(self.queue)

    def go(self) -> dict[str, float]:
        """Do nothing."""
        return {"messages": 0}
