"""Tells the operator of refused AUTHs: the first at once, then what a second has brought.

It is one for the whole server, since whoever guesses can come over many connections, and a
gateway makes one for each.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_logger = logging.getLogger("mqd.session")

_PAUSE_SECONDS: Final = 1.0
_MOST_CHARS: Final = 100


class Refusals:
    """Counts refused AUTHs, and logs one line a second at most.

    Args:
        loop: where its timer runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0
        self._last = (0, "")

    def note(self, number: int, peer: str, client: str = "", user: str = "") -> None:
        """Count one.

        Args:
            number: of its connection.
            peer: the address of that.
            client: what it says to be, which is nothing that is known of it: a gateway tells
                there for whom it asks.
            user: whose password was tried, which need not be a user that there is.
        """
        whence = f"{peer}, as it says {client[:_MOST_CHARS]!r}" if client else peer
        if user:
            whence += f", as the user {user[:_MOST_CHARS]!r}"
        if self._timer is None:
            _logger.warning("AUTH refused in connection %d from %s", number, whence)
            self._timer = self._loop.call_later(_PAUSE_SECONDS, self._pause_over)
            return
        self._count += 1
        self._last = (number, whence)

    def stop(self) -> None:
        """Tell what has not been told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell()

    def _pause_over(self) -> None:
        self._timer = None
        if self._count:
            self._tell()
            self._timer = self._loop.call_later(_PAUSE_SECONDS, self._pause_over)

    def _tell(self) -> None:
        if self._count:
            count, self._count = self._count, 0
            _logger.warning(
                "AUTH refused %d times more, the last in connection %d from %s", count, *self._last
            )
