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

ROUND: Final = 32
"""Chances that are timed in a row to learn which way is the faster."""

MAX_REST: Final = 64
"""Most rounds between two such lessons."""

PAYS: Final = 0.9
"""Looking is worth its processor time where what it is for takes at most this part of the time
that it takes who sleeps."""

LONGEST_SECONDS: Final = 0.0005
"""What takes longer counts as this: others have had the core, and one such time in a round must
not outweigh all the rest of it."""

MAX_IN_VAIN: Final = 4

_GROUPS: Final = "/proc/self/cgroup"
_GROUP_ROOT: Final = "/sys/fs/cgroup"


class Gamble:
    """Whether to look or to sleep, learnt from how it went.

        rest (1 to 64 rounds) --> a round is timed --> a round of the other way is timed
          ^                                                                   |
          '----------------- the faster of the two is kept -------------------'

    Each lesson that confirms the way that was kept doubles the rest before the next one. So
    looking goes on where it is faster by a tenth or more, which it is not where others want the
    cores. Three looks in vain, more or less in a row, end it at once, and count as a lesson:
    what never comes in time is looked for three times in 64 chances, then ever more rarely,
    down to three times in two thousand.
    """

    __slots__ = (
        "_in_vain",
        "_is_resting",
        "_is_trying",
        "_kept",
        "_left",
        "_rest",
        "_sum",
        "looks",
    )

    def __init__(self) -> None:
        self.looks = True
        """What to do at this chance: look before sleeping, or just sleep."""
        self._is_resting = self._is_trying = False
        self._left = ROUND
        self._rest = 1
        self._sum = 0.0  # seconds of the present round
        self._kept = 0.0  # and of the one before it
        self._in_vain = 0

    def took(self, seconds: float) -> None:
        """Note how long it took from one chance to its end, or to the next."""
        self._sum += min(seconds, LONGEST_SECONDS)
        self._left -= 1
        if not self._left:
            self._end_round()

    def found(self) -> None:
        """A look was not in vain."""
        if self._in_vain:
            self._in_vain -= 1

    def missed(self) -> None:
        """A look was in vain."""
        self._in_vain += 2
        if self._in_vain > MAX_IN_VAIN:
            self._keep(looks=False)

    def _end_round(self) -> None:
        before, self._kept, self._sum = self._kept, self._sum, 0.0
        self._left = ROUND
        if self._is_resting:
            self._is_resting = False
        elif not self._is_trying:
            self._is_trying = True
            self.looks = not self.looks
        else:
            looked, slept = (self._kept, before) if self.looks else (before, self._kept)
            self._keep(looks=looked <= PAYS * slept)

    def _keep(self, *, looks: bool) -> None:
        """Go on in one way until the next lesson."""
        is_confirmed = looks is (self.looks is not self._is_trying)
        self._rest = min(2 * self._rest, MAX_REST) if is_confirmed else 1
        self.looks = looks
        self._is_resting, self._is_trying = True, False
        self._left = self._rest * ROUND
        self._sum = 0.0
        self._in_vain = 0


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
