"""When a silent connection is asked, and when it is taken for lost. Floor 1: no I/O, no clock.

A machine that is switched off, or a firewall that forgets a connection, says nothing: a call
that waits would wait until its time is over, an hour for a long pull. So while somebody
waits and nothing comes, the client asks (PING); where nothing at all comes then, the
connection is of no use.

    something came --- 15 s of silence ---> PING --- 30 s more ---> lost

What it is not: a measure of how fast the server is. Whatever arrives, the half of a frame
too, is a sign of life.
"""

from __future__ import annotations

from typing import Final

QUIET_SECONDS: Final = 15.0
"""Silence after which the client asks. A third of what a peer may take to be missed."""

LOST_SECONDS: Final = 30.0
"""Further silence after which the connection is given up."""

WAIT: Final = "wait"
ASK: Final = "ask"
LOST: Final = "lost"


class Probe:
    """The silence of one connection. Not thread-safe: the shell serialises all calls."""

    __slots__ = ("_has_asked", "next_at")

    def __init__(self, now: float) -> None:
        self.next_at = now + QUIET_SECONDS
        """When `step` has something to say, by the clock that is handed in."""
        self._has_asked = False

    def heard(self, now: float) -> None:
        """Note that something has come, or that somebody begins to wait only now."""
        self.next_at = now + QUIET_SECONDS
        self._has_asked = False

    def step(self, now: float) -> str:
        """Return what is to be done: WAIT, ASK (send a PING), or LOST."""
        if now < self.next_at:
            return WAIT
        if self._has_asked:
            return LOST
        self._has_asked = True
        self.next_at = now + LOST_SECONDS
        return ASK
