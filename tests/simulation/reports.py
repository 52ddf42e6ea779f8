"""What a long run says of itself: a line now and then, its findings, and a summary in a file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.many import Failure, Found

MOST_SEEDS_TOLD = 20
"""Of the seeds of one kind of finding, in the summary."""


class Report:
    """The figures of a run of many seeds, as they come.

    Args:
        first: the first seed.
        seeds: how many there are to be.
        path: of the file that takes the summary; None for none.
    """

    def __init__(self, first: int, seeds: int, path: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self.failures = 0
        self._first = first
        self._seeds = seeds
        self._path = path
        self._findings: dict[str, list[int]] = defaultdict(list)

    @property
    def done(self) -> int:
        """How many seeds there were."""
        return self.counts["runs"]

    def add(self, found: Found) -> None:
        """Take in what came of some seeds; they come in their order."""
        self.counts.update(found.counts)
        for failure in found.failures:
            self.failures += 1
            for kind in failure.kinds:
                self._findings[kind].append(failure.seed)

    def line(self, seconds: float) -> str:
        """Tell how far it is, after so many seconds."""
        pace = self.done / max(seconds, 0.001)
        left_seconds = (self._seeds - self.done) / max(pace, 0.001)
        return (
            f"{self.done:,} of {self._seeds:,} seeds from {self._first}, {seconds:,.0f} s, "
            f"{pace:,.1f}/s, {left_seconds / 3600:,.1f} h to go, {self.failures} failed; "
            f"next is {self._first + self.done}"
        )

    def figures(self) -> list[str]:
        """Return what was counted, and the findings by kind, as lines."""
        counts = [
            f"    {name:<28}{count:>14,}"
            for name, count in sorted(self.counts.items())
            if name != "runs"
        ]
        findings = [
            f"    found: {kind:<21}{len(seeds):>14,}  first in seed {seeds[0]}"
            for kind, seeds in sorted(self._findings.items())
        ]
        return counts + findings

    def write(self, seconds: float) -> None:
        """Put the summary into its file, whole or not at all."""
        if self._path is None:
            return
        summary: dict[str, Any] = {
            "first_seed": self._first,
            "seeds": self._seeds,
            "done": self.done,
            "next_seed": self._first + self.done,
            "seconds": round(seconds, 1),
            "seeds_per_second": round(self.done / max(seconds, 0.001), 1),
            "failed": self.failures,
            "findings": {
                kind: {"count": len(seeds), "seeds": seeds[:MOST_SEEDS_TOLD]}
                for kind, seeds in sorted(self._findings.items())
            },
            "counts": dict(sorted(self.counts.items())),
        }
        draft = self._path.with_name(self._path.name + ".tmp")
        draft.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._path)


def told(failure: Failure) -> str:
    """Return what is said of a seed that failed, and how to see it again."""
    return f"FAILED: {failure.text}\n    again: scripts/simulate --seed {failure.seed} --trace"
