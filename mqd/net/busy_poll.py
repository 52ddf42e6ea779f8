"""Looking for the next request before the event loop sleeps.

A client that waits for each reply sends its next request some tens of microseconds after it:
sooner than a core that has gone to sleep is awake again. So for a moment after a request the
loop does not sleep but looks for events, again and again, where that has found a request often
enough (`mqwire.polling.Gamble`). Idle servers, and those whose clients think for longer, sleep
as ever. Between two looks the core is given to whoever wants it.

It works by a callback that asks to be called again in the loop's next round: a loop that has
something to call does not sleep, be it uvloop or asyncio's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqwire.polling import LEAST_CORES, Gamble, usable_cores

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sized

_give_way: Final[Callable[[], object]] = getattr(os, "sched_yield", lambda: None)


class BusyPoll:
    """Keeps a loop from sleeping for a moment after a request.

    Args:
        loop: which one.
        seconds: how long; 0 for never.
        busy: who waits for other threads: these need the interpreter, so that nothing is
            looked for as long as there are any.
        clock: the monotonic one.
        give_way: lets others have the core for a moment.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        busy: Sized,
        clock: Callable[[], float] = monotonic,
        give_way: Callable[[], object] = _give_way,
    ) -> None:
        self._call_soon = loop.call_soon
        self._seconds = seconds
        self._busy = busy
        self._clock = clock
        self._give_way = give_way
        self._gamble = Gamble()
        self._until = 0.0
        self._is_looking = False

    def heard(self) -> None:
        """Look for the next request, since one has just been answered."""
        if self._is_looking:
            self._gamble.won()
        elif not self._seconds or not self._gamble.is_due():
            return
        else:
            self._is_looking = True
            self._call_soon(self._go_on)
        self._until = self._clock() + self._seconds

    def stop(self) -> None:
        """Look for nothing any more."""
        self._seconds = self._until = 0.0

    def _go_on(self) -> None:
        if self._busy:
            self._is_looking = False
            return
        self._give_way()
        if self._clock() < self._until:
            self._call_soon(self._go_on)
        else:  # or others have had the core for longer than that
            self._is_looking = False
            self._gamble.lost()


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
