"""Ids as runs: `(first, count, first, count, ...)`, as they stand in frames. Floor 0: pure."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Runs: TypeAlias = "tuple[int, ...]"
"""Of each run its first id, and how many follow on each other from there."""


def runs_of(ids: Iterable[int]) -> Runs:
    """Return ids as runs, in the order in which they come."""
    runs: list[int] = []
    for each in ids:
        if runs and runs[-2] + runs[-1] == each:
            runs[-1] += 1
        else:
            runs += (each, 1)
    return tuple(runs)


def ids_of(runs: Sequence[int]) -> Iterator[int]:
    """Return the ids of runs, in their order.

    Raises:
        ValueError: a run has no count.
    """
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return chain.from_iterable(range(first, first + count) for first, count in pairs)
