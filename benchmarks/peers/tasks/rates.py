"""Round trips, bursts and batches: how fast messages go in and out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.figures import latencies
from benchmarks.peers.tasks.base import LIMIT_SECONDS, Task

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.sides import Place


class RoundTrips(Task):
    """One client that pushes and pulls and waits for each answer; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return pairs of round trips a second, and how long each pair takes."""
        times = self._client.round_trips(self.body, self._seconds)
        rate = len(times) / sum(times)
        return {"messages": len(times), "pairs_per_second": rate, **latencies(times)}


class Pushes(Task):
    """One client that pushes and waits for each answer; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return pushes a second, and how long each takes."""
        times = self._client.pushes(self.body, self._seconds)
        rate = len(times) / sum(times)
        return {"messages": len(times), "push_per_second": rate, **latencies(times)}


class Bursts(Task):
    """Pushes without waiting, then pulls; options `connections`, `count` in all, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._batch: int = options["batch"]
        connections: int = options["connections"]
        self._each = max(1, options["count"] // connections // self._batch)
        self._wires = [self.wire() for _ in range(connections)]

    def go(self) -> dict[str, float]:
        """Return messages a second, pushed and pulled."""
        messages = self._each * self._batch * len(self._wires)
        figures: dict[str, float] = {"messages": messages}
        for name in ("push", "pull"):
            pairs = [
                (wire, getattr(wire, name)(self.queue, self.body, self._each, self._batch))
                for wire in self._wires
            ]
            seconds = bursts.seconds_for(pairs, LIMIT_SECONDS)
            for wire in self._wires:
                wire.settle()
            figures[f"{name}_per_second"] = messages / seconds
            self._verify(messages if name == "push" else 0)
        return figures

    def _verify(self, expected: int) -> None:
        waiting = self._wires[0].waiting(self.queue)
        if waiting != expected:
            raise RuntimeError(f"{waiting} messages wait where {expected} should")


class Batches(Task):
    """One client of the library that pushes and pulls batches; options `count`, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        batch: int = options["batch"]
        self._bodies = [self.body] * batch
        self._count = max(1, options["count"] // batch)
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return messages a second, pushed and pulled."""
        pushing, pulling = self._client.batches(self._bodies, self._count)
        messages = self._count * len(self._bodies)
        return {
            "messages": messages,
            "push_per_second": messages / pushing,
            "pull_per_second": messages / pulling,
        }


class Pipelines(Task):
    """The library's own pipelines; options `count`, `batch` (calls of one pipeline)."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        batch: int = options["batch"]
        self._bodies = [self.body] * batch
        self._count = max(1, options["count"] // batch)
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return messages a second, pushed and pulled."""
        messages = self._count * len(self._bodies)
        started = time.perf_counter()
        for _ in range(self._count):
            self._client.push_pipelined(self._bodies)
        middle = time.perf_counter()
        pulled = sum(self._client.pull_pipelined(len(self._bodies)) for _ in range(self._count))
        ended = time.perf_counter()
        if pulled != messages:
            raise RuntimeError(f"{pulled} messages came back")
        return {
            "messages": messages,
            "push_per_second": messages / (middle - started),
            "pull_per_second": messages / (ended - middle),
        }
