"""Tokens that the gateway gives for a user and password. Floor 2: no I/O.

They live in this process alone, and stand for the user's own connection to mqd.
"""

from __future__ import annotations

import secrets
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from mqweb.connections import Credentials

PREFIX: Final = "mqs_"
_LONGEST_SECONDS: Final = 12 * 3600.0
_MOST: Final = 10_000


class Sessions:
    """The tokens that were given and have not expired."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[float, Credentials]] = {}

    def begin(self, credentials: Credentials, seconds: float | None) -> tuple[str, float]:
        """Return a token for a user and password, and when it expires (since 1970-01-01 UTC).

        Raises:
            Problem: there are as many as there may be.
        """
        now = monotonic()
        for token in [each for each, (end, _) in self._given.items() if end < now]:
            del self._given[token]
        if len(self._given) >= _MOST:
            raise Problem(GatewayCode.GATEWAY_FULL, "there are as many tokens as there may be")
        seconds = min(seconds or _LONGEST_SECONDS, _LONGEST_SECONDS)
        token = PREFIX + secrets.token_urlsafe(32)
        self._given[token] = (now + seconds, credentials)
        return token, time() + seconds

    def resolved(self, said: Credentials) -> Credentials:
        """Return who a token stands for; one of mqd's own stands for itself."""
        if not said.secret.startswith(PREFIX):
            return said
        end, credentials = self._given.get(said.secret, (0.0, said))
        return credentials if end > monotonic() else said
