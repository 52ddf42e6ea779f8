"""Until when the callers of one asyncio connection wait: one timer for all of them. Floor 1.

A timer costs more than the rest of a small call, and nearly all are never needed. So the loop is
given one, for the earliest time: where that has come, what is over is told, and the timer is set
for the earliest of the others. Most waits are equally long, so that it is hardly ever set.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from mqclient.inflight import Request


class Wait:
    """One that waits.

    Args:
        requests: for the end of all of these.
        at: until when, by the monotonic clock.
        seconds: how long that is.
    """

    __slots__ = ("at", "requests", "seconds")

    def __init__(self, requests: Sequence[Request], at: float, seconds: float) -> None:
        self.requests = requests
        self.at = at
        self.seconds = seconds


class Deadlines:
    """Those that wait at one connection.

    Args:
        loop: whose timer it is.
        expire: is told of one whose time is over; it stays until it is dropped.
        clock: the monotonic one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        expire: Callable[[Wait], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._loop = loop
        self._expire = expire
        self._clock = clock
        self._waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def add(self, wait: Wait) -> None:
        """Have it told when a wait is over, until it is dropped."""
        self._waits.add(wait)
        if wait.at < self._timer_at:
            self._set(wait.at)

    def drop(self, wait: Wait) -> None:
        """Forget a wait; the timer stays, and finds nothing to tell."""
        self._waits.discard(wait)

    def close(self) -> None:
        """Let go of the timer; nothing is told any more."""
        self._waits.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = -math.inf

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - self._clock()), self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._clock()
        over = [each for each in self._waits if each.at <= now]
        for wait in over:
            self._waits.discard(wait)
            self._expire(wait)
        if self._waits:
            self._set(min(each.at for each in self._waits))
