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

TRUSTED: Final = 4
"""Looking that has been right for so many rounds is not doubted any more."""

PAYS: Final = 0.9
"""Looking is worth its processor time where what it is for takes at most this part of the time
that it takes who sleeps."""

FAILS: Final = 1.3
"""A round of looking that takes so many times what sleeping took is the last one. Not less: the
other end of the connection tries its two ways as well."""

LONGEST_SECONDS: Final = 0.001
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

    Looking is kept where it is faster by a tenth or more, which it is not where others want the
    cores. Each lesson that confirms it doubles the rest before the next one. It is distrusted
    more easily than trusted: a round of it that takes a third longer than sleeping did ends it
    at once, as three looks in vain do, more or less in a row; and each such end, and each lesson
    that it loses, doubles the rest in which one sleeps, until it has been right for a while. So
    what never comes in time is looked for ever more rarely, three times in two thousand chances
    in the end.
    """

    __slots__ = (
        "_before",
        "_doubt",
        "_in_vain",
        "_is_resting",
        "_is_trying",
        "_left",
        "_rounds",
        "_slept",
        "_sum",
        "_trust",
        "looks",
    )

    def __init__(self) -> None:
        self.looks = True
        """What to do at this chance: look before sleeping, or just sleep."""
        self._is_resting = self._is_trying = False
        self._left = ROUND  # chances of the present round
        self._trust = self._doubt = 1  # rounds to rest, looking and sleeping
        self._rounds = 0  # of the present rest
        self._sum = 0.0  # seconds of the present round
        self._before = 0.0  # and of the one before it
        self._slept = math.inf  # of the last round that slept in a lesson
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
            self._sleep()

    def _end_round(self) -> None:
        before, self._before, self._sum = self._before, self._sum, 0.0
        self._left = ROUND
        if self._is_resting:
            self._rounds -= 1
            self._is_resting = self._rounds > 0
            if self.looks and self._before > FAILS * self._slept:
                self._sleep()
        elif not self._is_trying:
            self._is_trying = True
            self.looks = not self.looks
        else:
            looked, self._slept = (self._before, before) if self.looks else (before, self._before)
            if looked <= PAYS * self._slept:
                self._look()
            else:
                self._sleep()

    def _look(self) -> None:
        """Look until the next lesson, unless that turns out to be slower."""
        self._rest(self._trust, looks=True)
        if self._trust >= TRUSTED:
            self._doubt = 1
        self._trust = min(2 * self._trust, MAX_REST)

    def _sleep(self) -> None:
        """Sleep until the next lesson."""
        self._rest(self._doubt, looks=False)
        self._doubt = min(2 * self._doubt, MAX_REST)
        self._trust = 1

    def _rest(self, rounds: int, *, looks: bool) -> None:
        self.looks = looks
        self._is_resting, self._is_trying = True, False
        self._rounds = rounds
        self._left = ROUND
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
    cores = float(allowed)
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
