"""Round trips, bursts and batches: how fast messages go in and out."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.figures import latencies
from benchmarks.peers.tasks.base import LIMIT_SECONDS, Task

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.sides import Place


class Blocking(Task):
    """One client that waits for each answer; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._client = self.client()


class RoundTrips(Blocking):
    """Pushes and pulls in turn."""

    def go(self) -> dict[str, float]:
        """Return pairs of round trips a second, and how long each pair takes."""
        times = self._client.round_trips(self.body, self._seconds)
        return {**_counted("pairs_per_second", times), **latencies(times)}


class Pushes(Blocking):
    """Pushes alone."""

    def go(self) -> dict[str, float]:
        """Return pushes a second, and how long each takes."""
        times = self._client.pushes(self.body, self._seconds)
        return {**_counted("push_per_second", times), **latencies(times)}


def _counted(rate: str, times: list[float]) -> dict[str, float]:
    return {"messages": len(times), rate: len(times) / sum(times)}


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


class Batched(Task):
    """One client of the library, many messages at a time; options `count`, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        batch: int = options["batch"]
        self._bodies = [self.body] * batch
        self._count = max(1, options["count"] // batch)
        self._client = self.client()

    @abstractmethod
    def halves(self) -> tuple[float, float]:
        """Push all and pull all; return how long each took, in seconds."""

    def go(self) -> dict[str, float]:
        """Return messages a second, pushed and pulled."""
        pushing, pulling = self.halves()
        messages = self._count * len(self._bodies)
        return {
            "messages": messages,
            "push_per_second": messages / pushing,
            "pull_per_second": messages / pulling,
        }


class Batches(Batched):
    """Batches, as the library has them."""

    def halves(self) -> tuple[float, float]:
        """Push all and pull all; return how long each took, in seconds."""
        return self._client.batches(self._bodies, self._count)


class Pipelines(Batched):
    """The library's own pipelines, with a call for each message."""

    def halves(self) -> tuple[float, float]:
        """Push all and pull all; return how long each took, in seconds."""
        return self._client.pipelines(self._bodies, self._count)
