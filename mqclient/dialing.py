"""When to try which address, and when to give up. Floor 1: no I/O but the address file.

A server that is just starting, restarting or full for a moment refuses: that
is tried again with growing, jittered pauses until the time is over. What will
not change by waiting (a wrong password, an unknown host, an address file whose
server is gone) ends it at once.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqclient.errors import (
    ConnectFailed,
    ConnectionLost,
    MqError,
    NotAnAddressFile,
    RequestTimeout,
    ServerError,
)
from mqclient.url import FileTarget

if TYPE_CHECKING:
    from mqclient.url import Credentials, Endpoint, Route, UrlTarget

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Attempt:
    """One attempt to connect.

    Args:
        endpoint: where.
        credentials: for AUTH.
        seconds: how long it may take, with AUTH.
    """

    endpoint: Endpoint
    credentials: Credentials
    seconds: float


class Dialing:
    """The attempts of one connect. The client connects and sleeps in its own way.

    Args:
        target: the server.
        seconds: for all attempts and pauses together.
        is_again: whether a connection has been lost before, or a server is expected that is
            not there yet; then one whose address file is gone is waited for too.
    """

    def __init__(
        self, target: UrlTarget | FileTarget, seconds: float, *, is_again: bool = False
    ) -> None:
        self._target = target
        self._seconds = seconds
        self._ends_at = monotonic() + seconds
        self._is_again = is_again
        self._route: Route | None = None
        self._untried: list[Endpoint] = []
        self._pause = _FIRST_PAUSE_SECONDS
        self._told: Exception | None = None  # the last error that says why

    def attempt(self) -> Attempt:
        """Return what to try now.

        Raises:
            ConnectFailed: the address file is not there.
            NotAnAddressFile: it is none.
        """
        if self._route is None or not self._untried:
            self._route = self._target.route()
            self._untried = list(self._route.endpoints)
        left = max(self._ends_at - monotonic(), 0.001)
        seconds = left / len(self._untried)  # one that swallows packets leaves time for others
        return Attempt(self._untried.pop(0), self._route.credentials, seconds)

    def pause_after(self, error: Exception) -> float:
        """Return how many seconds to wait before the next attempt.

        Raises:
            ConnectFailed, ServerError, ProtocolError: there is none.
        """
        if self._untried:
            return 0.0
        if isinstance(error, TimeoutError) and self._told is not None:
            error = self._told  # the time ran out in another attempt: the reason is still this
        self._told = error
        if not self._may_change(error):
            raise self._final(error) from error
        if self._route is not None and self._route.stale and not self._is_again:
            raise ConnectFailed(self._route.stale, may_pass=True) from error
        # Half of the pause is left to chance: clients that lost one server spread out.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret depends on it
        if monotonic() + pause >= self._ends_at:
            raise self._final(error) from error
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        return pause

    def why(self, error: Exception) -> str:
        """Say in a sentence what an attempt has met."""
        if isinstance(error, MqError):
            return str(error)
        return f"cannot connect to {self._place()}: {_reason(error)}"

    def _may_change(self, error: Exception) -> bool:
        if isinstance(error, ServerError):
            return error.is_retryable
        if isinstance(error, ConnectFailed):
            return self._is_again and not isinstance(error, NotAnAddressFile)
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_AGAIN
        if isinstance(error, PermissionError):
            return False
        return isinstance(error, OSError | ConnectionLost)

    def _final(self, error: Exception) -> MqError:
        if isinstance(error, MqError) and not isinstance(error, RequestTimeout | ConnectionLost):
            return error
        why = _reason(error)
        place = self._place()
        text = f"cannot connect to {place} within {self._seconds:.3g} s: {why}"
        if isinstance(error, OSError) and not self._may_change(error):
            text = f"cannot connect to {place}: {why}"
        stale = self._route.stale if self._route is not None else ""
        text = f"{text}; {stale}" if stale else f"{text}; is the server running?"
        return ConnectFailed(text, may_pass=self._may_change(error))

    def _place(self) -> str:
        """Say where was tried: what was asked for, and where that leads if it does not say."""
        if self._route is None or not isinstance(self._target, FileTarget):
            return str(self._target)
        places = " and ".join(map(str, self._route.endpoints))
        return f"{places} ({self._target})"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
