"""What a process of a long run does. Processes that are spawned find it by its name."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from simulation.runs import kinds_of, run_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 100
"""Seeds that a process takes at a time."""


class Failure(NamedTuple):
    """A seed in which something was wrong."""

    seed: int
    kinds: list[str]
    text: str


class Found(NamedTuple):
    """What came of some seeds."""

    counts: Counter[str]
    failures: list[Failure]


def work(chunk: tuple[int, int]) -> Found:
    """Run some seeds: the first, and how many."""
    first, count = chunk
    counts: Counter[str] = Counter()
    failures = []
    for outcome in run_seeds(range(first, first + count)):
        counts.update(outcome.counts)
        if outcome.violations:
            kinds = sorted(kinds_of(outcome))
            failures.append(Failure(outcome.seed, kinds, str(outcome)))
    return Found(counts, failures)


def chunks(first: int, seeds: int) -> Iterator[tuple[int, int]]:
    """Yield what `work` takes, for so many seeds."""
    for start in range(first, first + seeds, CHUNK):
        yield start, min(CHUNK, first + seeds - start)


def ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the process that asked for the work, and end when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
