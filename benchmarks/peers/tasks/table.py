"""All tasks, by the names that the suite calls them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.tasks import growth, leases, rates, tails, waiting

if TYPE_CHECKING:
    from benchmarks.peers.tasks.base import Task

TASKS: dict[str, type[Task]] = {
    "round trips": rates.RoundTrips,
    "pushes": rates.Pushes,
    "bursts": rates.Bursts,
    "batches": rates.Batches,
    "pipelines": rates.Pipelines,
    "lease bursts": leases.LeaseBursts,
    "consumer": leases.Consumer,
    "closed loops": waiting.ClosedLoops,
    "wake-ups": waiting.WakeUps,
    "tail": tails.Tail,
    "snapshots": tails.Snapshots,
    "held connections": tails.Held,
    "growth": growth.Growth,
}
