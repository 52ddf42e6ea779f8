"""Looking for the next request before the event loop sleeps.

A client that waits for each reply sends its next request some tens of microseconds after it:
sooner than a core that has gone to sleep is awake again. So for a moment after a request the
loop does not sleep but looks for events, again and again, where requests then follow each other
faster (`mqwire.polling.Gamble`). Idle servers, and those whose clients think for longer, sleep
as ever.

It works by a callback that asks to be called again in the loop's next round: a loop that has
something to call does not sleep, be it uvloop or asyncio's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from mqwire.polling import LEAST_CORES, Gamble, usable_cores

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sized


class BusyPoll:
    """Keeps a loop from sleeping for a moment after a request.

    Args:
        loop: which one.
        seconds: how long; 0 for never.
        busy: who waits for other threads: these need the interpreter, so that nothing is
            looked for as long as there are any.
        clock: the monotonic one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        busy: Sized,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._call_soon = loop.call_soon
        self._seconds = seconds
        self._busy = busy
        self._clock = clock
        self._gamble = Gamble()
        self._heard_at = self._until = 0.0
        self._is_looking = False

    def heard(self) -> None:
        """Look for the next request, since one has just been answered."""
        if not self._seconds:
            return
        now, gamble = self._clock(), self._gamble
        gamble.took(now - self._heard_at)
        self._heard_at = now
        if self._is_looking:
            gamble.found()
            self._until = now + self._seconds if gamble.looks else 0.0
        elif gamble.looks:
            self._is_looking = True
            self._until = now + self._seconds
            self._call_soon(self._go_on)

    def stop(self) -> None:
        """Look for nothing any more."""
        self._seconds = self._until = 0.0

    def _go_on(self) -> None:
        if self._busy:
            self._is_looking = False
        elif self._clock() < self._until:
            self._call_soon(self._go_on)
        else:
            self._is_looking = False
            if self._until:
                self._gamble.missed()


def poll_seconds(wanted: float) -> float:
    """Return how long to look on this machine: not at all where there are too few cores."""
    return wanted if _cores() >= LEAST_CORES else 0.0


def _cores() -> float:
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has it
        allowed = os.cpu_count() or 1
    return usable_cores(allowed, _read)


def _read(path: str) -> str:
    return Path(path).read_text("utf-8")
