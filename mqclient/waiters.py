"""A thread that waits for replies at a connection that several share. Floor 1.

Which of them reads, and who wakes whom, is decided in `mqclient.blocking`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqwire.polling import Gamble

_new_lock = threading.Lock


class Waiter:
    """A thread that waits for replies."""

    __slots__ = ("gamble", "is_waiting", "lock", "looks")

    def __init__(self) -> None:
        self.lock: threading.Lock | None = None
        """What it sleeps on; a leader reads and has none."""
        self.is_waiting = False
        """Whether it does nothing else just now, so that an interrupt does no harm."""
        self.gamble: Gamble | None = None
        """Learns how long its exchange takes; None where looking is no choice."""
        self.looks = False
        """Whether it still has to look for its reply before it sleeps."""

    def wake(self) -> None:
        """Make it look again; the caller holds the connection's state."""
        if self.lock is not None and self.lock.locked():
            self.lock.release()

    def follow(self) -> None:
        """Be one that sleeps; the caller holds the connection's state."""
        self.lock = _new_lock()
        self.lock.acquire()

    def sleep(self, seconds: float) -> None:
        """Wait until it is woken, for so long at most."""
        assert self.lock is not None
        self.is_waiting = True
        self.lock.acquire(True, seconds)
        self.is_waiting = False
