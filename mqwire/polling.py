"""Where looking for bytes again and again, before sleeping, pays. Floor 0: pure.

On a machine that is idle most of a round trip is the kernel's: a process that sleeps on its
socket has to be woken, and its core with it. One that looks for some tens of microseconds
before it sleeps is there when the bytes are. Both ends of a connection do that, each in its
own way; what they have in common is here: when to do it, and on which machines.

What it is not: the looking itself. That is `mqclient.polling` and `mqd.net.busy_poll`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_CORES: Final = 2
"""On fewer the one who looks keeps the one from working whom it looks for."""

MAX_PAUSE: Final = 1024
"""Most chances in a row that are let go by."""

_GROUPS: Final = "/proc/self/cgroup"
_GROUP_ROOT: Final = "/sys/fs/cgroup"


class Gamble:
    """Whether to look this time, judged by how it went before.

    Each time that was in vain doubles the pause until the next one, each that was not quarters
    it. So looking goes on where more than half of it finds something, and where it never does
    it happens ten times in the first thousand chances and then once in a thousand. Pauses are
    of even lengths, so that chances of which every second one pays are not met out of step.
    """

    __slots__ = ("_left", "_pause")

    def __init__(self) -> None:
        self._pause = 0
        self._left = 0

    def is_due(self) -> bool:
        """Take a chance, or let it go by; who takes it says how it went."""
        if self._left:
            self._left -= 1
            return False
        return True

    def won(self) -> None:
        """It was there in time."""
        if self._pause:
            self._pause = self._left = self._pause >> 2

    def lost(self) -> None:
        """It was not."""
        self._pause = self._left = min(2 * self._pause or 1, MAX_PAUSE)


def usable_cores(allowed: int, read: Callable[[str], str]) -> float:
    """Return how many cores a process may use.

    Args:
        allowed: on how many it may run.
        read: returns what is in a file; OSError where it is not there.

    Returns:
        That, or what the control groups around the process leave it of their time (version 2
        of these; others are not looked at).
    """
    try:
        groups = read(_GROUPS)
    except OSError:
        return allowed
    cores: float = allowed
    for line in groups.splitlines():
        if line.startswith("0::/"):
            folder = line[3:].rstrip("/")
            while True:
                cores = min(cores, _quota(read, f"{_GROUP_ROOT}{folder}/cpu.max"))
                if not folder:
                    break
                folder = folder.rpartition("/")[0]
    return cores


def _quota(read: Callable[[str], str], path: str) -> float:
    """Return how many cores' time a control group has."""
    try:
        quota, period = read(path).split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
