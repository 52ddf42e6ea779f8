"""Whether a disk is quick enough for syncs to be made by the event loop itself. Pure.

Handing a sync to the writer costs two changes of threads, which take longer than the sync of a
quick disk. A slow one must not hold up the loop. What tells them apart is how long syncs have
taken on the average of the last ones, whoever made them: on a disk that many share, one in a
thousand takes ten times as long, and says nothing about the next. A stall is another thing: it
would hold up everybody, so after one the loop makes no syncs for a while, and for the longer the
sooner the next stall came.

What it is not: a clock. Times are arguments, in seconds.
"""

from __future__ import annotations

from typing import Final

QUICK_SECONDS: Final = 0.0005
"""A disk is quick whose syncs take no longer on the average."""

STALL_SECONDS: Final = 0.005
"""A sync that takes longer is a stall."""

PAUSE_SECONDS: Final = 1.0
"""How long the loop makes no syncs after a stall; twice as long after each that it had in a sync
of its own, up to `MAX_PAUSE_SECONDS`."""

MAX_PAUSE_SECONDS: Final = 60.0
"""And so long after such a pause the next stall is the first again."""

_WEIGHT: Final = 1 / 32
"""What the newest sync counts in the average."""


class SyncPace:
    """How long the syncs of a disk have taken. It counts as quick until they say otherwise."""

    def __init__(self) -> None:
        self._mean_seconds = 0.0
        self._quick_from = 0.0
        self._pause_seconds = PAUSE_SECONDS
        self._doubted_until = 0.0  # from then on a stall of the loop's is its first again

    def is_quick(self, now: float) -> bool:
        """Tell whether the loop may make the next sync."""
        return self._mean_seconds <= QUICK_SECONDS and now >= self._quick_from

    def note(self, started: float, ended: float, *, is_loops: bool) -> None:
        """Take note of a sync.

        Args:
            started: when it began.
            ended: when it returned.
            is_loops: whether the loop made it.
        """
        seconds = ended - started
        self._mean_seconds += (seconds - self._mean_seconds) * _WEIGHT
        if seconds <= STALL_SECONDS:
            return
        if started >= self._doubted_until:
            self._pause_seconds = PAUSE_SECONDS
        elif is_loops:
            self._pause_seconds = min(2 * self._pause_seconds, MAX_PAUSE_SECONDS)
        self._quick_from = ended + self._pause_seconds
        if is_loops:
            self._doubted_until = self._quick_from + MAX_PAUSE_SECONDS
