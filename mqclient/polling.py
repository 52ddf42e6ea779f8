"""Looking for a reply before sleeping until it is there. Floor 1.

A server on the same machine, or near it, answers in some tens of microseconds; to sleep and
be woken takes longer than that where a core sleeps too. So a thread that waits for a reply
looks at its socket for `POLL_SECONDS` at most before it sleeps, where that is faster: each verb
is judged by itself, so that pushes that wait for a slow disk do not spoil the pulls.
"""

from __future__ import annotations

import os
import select
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient.errors import ConfigurationError
from mqwire.polling import LEAST_CORES, Gamble, usable_cores

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mqclient.calls import Call

POLL_SECONDS: Final = 0.0001
"""How long is looked for the reply to one exchange, if the variable does not say."""

MAX_POLL_SECONDS: Final = 0.01
POLL_VARIABLE: Final = "MQ_BUSY_POLL_SECONDS"

_WAIT: Final = "wait"


class Polling:
    """Looks at one socket. Used by one thread at a time.

    Args:
        look: tells at once whether there is something to read.
        seconds: how long is looked at most.
        clock: the monotonic one.
    """

    def __init__(
        self, look: Callable[[], Any], seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._look = look
        self._seconds = seconds
        self._clock = clock
        self._gambles: dict[str, Gamble] = {}

    def gamble_of(self, call: Call) -> Gamble:
        """Return what says whether to look for the reply to a call, and learns from it."""
        kind = _WAIT if call.wait else call.verb
        gamble = self._gambles.get(kind)
        if gamble is None:
            gamble = self._gambles[kind] = Gamble()
        return gamble

    def run(self, gamble: Gamble) -> bool:
        """Look until there is something to read, or the time is over; tell which.

        An interrupt does no harm: nothing is read here.
        """
        look, clock = self._look, self._clock
        ends_at = clock() + self._seconds
        while not look():
            if clock() >= ends_at:
                gamble.missed()
                return False
        gamble.found()
        return True


def polling_of(sock: socket.socket) -> Polling | None:
    """Return what looks at a socket; None where that is turned off, or would do harm.

    Raises:
        ConfigurationError: the variable MQ_BUSY_POLL_SECONDS makes no sense.
    """
    seconds = _seconds_of_environment()
    if not seconds or _cores() < LEAST_CORES:
        return None
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    poll = poller.poll
    return Polling(lambda: poll(0), seconds)


def _cores() -> float:
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has it
        allowed = os.cpu_count() or 1
    return usable_cores(allowed, _read)


def _read(path: str) -> str:
    return Path(path).read_text("utf-8")


def _seconds_of_environment() -> float:
    """Return what the variable says, or how long is looked if it says nothing.

    Raises:
        ConfigurationError: it is no number from 0 to MAX_POLL_SECONDS.
    """
    text = os.environ.get(POLL_VARIABLE)
    if not text:
        return POLL_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_POLL_SECONDS:
        raise ConfigurationError(
            f"{POLL_VARIABLE} is a number of seconds from 0 to {MAX_POLL_SECONDS}, not {text!r}"
        )
    return seconds
