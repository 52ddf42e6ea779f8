"""What a load process can be asked to do: prepared once, and done as often as it is told.

A task's `go` returns figures; their names end in their units, as `figures.py` says, and
`messages` among them is how many messages the work was about. A task
verifies what it did: a server that answers without doing its work is no fast server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts, sides
from benchmarks.peers.figures import latencies

if TYPE_CHECKING:
    from benchmarks.peers.clients.base import Client
    from benchmarks.peers.sides import Place
    from benchmarks.peers.wires.base import Wire

LIMIT_SECONDS = 120.0
"""How long one go of a counted task may take."""


class Task(ABC):
    """Something to do.

    Args:
        place: the server that it is done to.
        options: as each task names them; all have `body_bytes` and `queue`.
    """

    def __init__(self, place: Place, options: dict[str, Any]) -> None:
        self.place = place
        self.queue: str = options["queue"]
        self.body = b"x" * options["body_bytes"]

    @abstractmethod
    def go(self) -> dict[str, float]:
        """Do it once, and return the figures."""

    def wire(self) -> Wire:
        """Return a new bare connection."""
        wire: Wire = sides.wire_module(self.place).connect(self.place)
        wire.make_queue(self.queue)
        return wire

    def client(self) -> Client:
        """Return a new client of the peer's library."""
        client: Client = sides.client_module(self.place).connect(self.place, self.queue)
        return client


class RoundTrips(Task):
    """One client that pushes and pulls and waits for each answer; option `seconds`."""

    def __init__(self, place: Place, options: dict[str, Any]) -> None:
        super().__init__(place, options)
        self._seconds: float = options["seconds"]
        self._client = self.client()

    def go(self) -> dict[str, float]:
        """Return pairs of round trips a second, and how long each pair takes."""
        times = self._client.round_trips(self.body, self._seconds)
        rate = len(times) / sum(times)
        return {"messages": len(times), "pairs_per_second": rate, **latencies(times)}


class Bursts(Task):
    """Pushes without waiting, then pulls; options `connections`, `count` in all, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any]) -> None:
        super().__init__(place, options)
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
            figures[f"{name}_per_second"] = messages / seconds
            self._verify(messages if name == "push" else 0)
        return figures

    def _verify(self, expected: int) -> None:
        waiting = self._wires[0].waiting(self.queue)
        if waiting != expected:
            raise RuntimeError(f"{waiting} messages wait where {expected} should")


class Batches(Task):
    """One client of the library that pushes and pulls batches; options `count`, `batch`."""

    def __init__(self, place: Place, options: dict[str, Any]) -> None:
        super().__init__(place, options)
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


TASKS: dict[str, type[Task]] = {
    "round trips": RoundTrips,
    "bursts": Bursts,
    "batches": Batches,
}
