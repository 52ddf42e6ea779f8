"""The server's only timer: it sleeps until the engine's earliest deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mqd.engine.base import Engine

LOOK_SECONDS: Final = 0.001
"""How soon after a turn it is looked what is due next: a server under load has dozens of turns
in that time, each of which would look at every timetable there is."""


class Ticker:
    """Calls `Engine.expire` when it is due.

    Args:
        engine: whose deadlines.
        loop: where the timer runs.
        now_ms: the engine's clock.
        after: called after each expiry, to send what it has brought about.
    """

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        after: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._now_ms = now_ms
        self._after = after
        self._armed_ms: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def arm_soon(self) -> None:
        """As `arm`, within `LOOK_SECONDS`: the turns that end until then share one look."""
        if self._look is None and not self._is_stopped:
            self._look = self._loop.call_later(LOOK_SECONDS, self._take_look)

    def arm(self) -> None:
        """Take note that the earliest deadline may have become earlier.

        One that has become later is not looked for: the timer then wakes once in vain.
        """
        due_ms = self._engine.next_deadline_ms()
        if due_ms is None or (self._armed_ms is not None and self._armed_ms <= due_ms):
            return
        if self._is_stopped:
            return
        self._disarm()
        self._armed_ms = due_ms
        delay_seconds = max(0, due_ms - self._now_ms()) / 1000
        self._handle = self._loop.call_later(delay_seconds, self._tick)

    def stop(self) -> None:
        """Disarm the timer for good."""
        self._is_stopped = True
        self._disarm()
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _take_look(self) -> None:
        self._look = None
        self.arm()

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._armed_ms = None

    def _tick(self) -> None:
        self._handle = self._armed_ms = None
        self._engine.begin_turn()
        self._engine.expire()
        self.arm()
        self._after()
