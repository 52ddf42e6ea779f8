"""The same work over one queue or a thousand, and with few messages waiting or very many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.tasks.base import LIMIT_SECONDS, Task
from benchmarks.peers.wires.base import Burst

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.sides import Place

FILL_BATCH = 1000
BATCH = 64
FRAMES = 200
"""Requests that are sent without waiting for answers."""


class Growth(Task):
    """Works on queues in turn; each work leaves as many messages as it finds.

    Options: `kind` (`blocking`, `batches` or `leases`), `queues`, `waiting` messages in all
    queues together while it works, and `seconds`.
    """

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._work = {"blocking": self._blocking, "batches": self._batches, "leases": self._leases}[
            options["kind"]
        ]
        self._wire = self.wire(is_of_queue=False)
        self._queues = [f"{self.queue}-{number}" for number in range(options["queues"])]
        for queue in self._queues:
            self._wire.make_queue(queue)
            self._fill(queue, options["waiting"] // len(self._queues))

    def _fill(self, queue: str, messages: int) -> None:
        missing = (messages - self._wire.waiting(queue)) // FILL_BATCH
        if missing > 0:
            burst = self._wire.push(queue, self.body, missing, FILL_BATCH)
            bursts.seconds_for([(self._wire, burst)], LIMIT_SECONDS)

    def go(self) -> dict[str, float]:
        """Return how many messages have gone in and out, a second."""
        messages, turn = 0, 0
        began = time.perf_counter()
        while time.perf_counter() < began + self._seconds:
            messages += self._work(turn)
            turn += 1
        return {
            "messages": messages,
            "messages_per_second": messages / (time.perf_counter() - began),
        }

    def _blocking(self, turn: int) -> int:
        queue = self._queues[turn % len(self._queues)]
        for make in (self._wire.push, self._wire.pull):
            bursts.Flow(self._wire, make(queue, self.body, 1)).finish()
        return 1

    def _batches(self, turn: int) -> int:
        first = turn * FRAMES
        chosen = [self._queues[(first + each) % len(self._queues)] for each in range(FRAMES)]
        for make in (self._wire.push, self._wire.pull):
            parts = [make(queue, self.body, 1, BATCH) for queue in chosen]
            requests = b"".join(part.requests for part in parts)
            whole = Burst(requests, sum(part.answers for part in parts), parts[0].counter)
            bursts.seconds_for([(self._wire, whole)], LIMIT_SECONDS)
        return FRAMES * BATCH

    def _leases(self, turn: int) -> int:
        queue = self._queues[turn % len(self._queues)]
        bursts.Flow(self._wire, self._wire.push(queue, self.body, 1, BATCH)).finish()
        self._wire.work_off(queue, BATCH)
        return BATCH
