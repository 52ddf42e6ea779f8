"""Cutting off a client that reads nothing of what it is sent.

begin(seconds)     it has so long for reading something, and again so long after that
end()              it has read; or the session is over
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from mqd.net.session import Session

_logger = logging.getLogger("mqd.session")


class ReaderWatch:
    """Watches one session's client.

    Args:
        session: is aborted when its client reads nothing in time.
        loop: calls back.
    """

    __slots__ = ("_deadline", "_loop", "_session")

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """Cut the client off unless it reads some of what was sent to it within `seconds`."""
        self.end()
        unsent_bytes = self._session.unsent_bytes
        self._deadline = self._loop.call_later(seconds, self._judge, seconds, unsent_bytes)

    def end(self) -> None:
        """Watch no longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def close(self) -> None:
        """Watch no more: nothing is to keep a session that has ended."""
        self.end()
        del self._session

    def _judge(self, seconds: float, unsent_bytes: int) -> None:
        session = self._session
        is_disk_slow = not session.outbox.is_empty  # and so there is nothing to read
        if is_disk_slow or session.unsent_bytes < unsent_bytes:
            self.begin(seconds)  # a slow one, and no message of it may be lost
            return
        if not session.is_closing:
            _logger.warning(
                "connection %d from %s reads nothing; it is cut off", session.number, session.peer
            )
        session.abort()
