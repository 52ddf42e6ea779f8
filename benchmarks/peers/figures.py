"""What is made of the figures of several rounds: medians, spreads, ratios, verdicts. Pure.

A figure's name ends in its unit. Of those in `_per_second` more is better, of all others
(`_us`, `_seconds`, `_bytes`) less is; what has no unit is not compared. A ratio is always
told so that more is better for the side that is asked about: 2.0 is twice as fast, or half as
much memory.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE_UNIT = "_per_second"
COST_UNITS = ("_us", "_seconds", "_bytes")


@dataclass(frozen=True)
class Spread:
    """A median, and half the range that it is the middle of."""

    median: float
    half_range: float


@dataclass(frozen=True)
class Verdict:
    """How a ratio stands to what it has to be."""

    at_least: float
    dream: float
    is_met: bool
    is_dreamt: bool


def is_compared(figure: str) -> bool:
    """Tell whether sides are compared by a figure."""
    return figure.endswith((RATE_UNIT, *COST_UNITS))


def is_more_better(figure: str) -> bool:
    """Tell whether more of a figure is better."""
    return figure.endswith(RATE_UNIT)


def spread(values: Sequence[float]) -> Spread:
    """Return the median of at least one value, and half their range."""
    return Spread(statistics.median(values), (max(values) - min(values)) / 2)


def ratios(figure: str, ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return how much better one side was in each round.

    Only figures of the same round are divided by each other: what disturbed one of them
    disturbed the other as much as it can. Rounds that only one side has are left out, and
    so are those where there is nothing to divide by.
    """
    pairs = zip(ours, theirs, strict=False)
    if is_more_better(figure):
        return [our / their for our, their in pairs if their > 0]
    return [their / our for our, their in pairs if our > 0]


def verdict(ratio: float, at_least: float, dream: float) -> Verdict:
    """Say whether a ratio reaches its bound, and its dream."""
    return Verdict(at_least, dream, ratio >= at_least, ratio >= dream)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value of a sorted row below which a share of it lies, by nearest rank.

    Args:
        ordered: at least one value, sorted.
        share: above 0 and up to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies(seconds: list[float]) -> dict[str, float]:
    """Return the median and the tail of times in seconds, as figures in microseconds."""
    ordered = sorted(seconds)
    return {
        f"{name}_us": percentile(ordered, share) * 1e6
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    }


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return how many times the cost of the first point the dearest one has.

    Args:
        points: pairs of size and cost, the smallest size first.
    """
    first = points[0][1]
    return max(cost for _, cost in points) / first
