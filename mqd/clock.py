"""The server's clock: wall time that never jumps while the server runs."""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since 1970-01-01 UTC, read once from the wall and steady from then on.

    A wall clock that is set while the server runs moves no deadline and no age; one that was
    set back while the server was down does not take it back: time goes on from the latest
    moment on record.

    Args:
        not_before_ms: that moment, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, not_before_ms: int = 0) -> None:
        wall_seconds = time.time()
        begin_seconds = max(wall_seconds, not_before_ms / 1000)
        self._offset_seconds = begin_seconds - time.monotonic()
        self.ahead_seconds = begin_seconds - wall_seconds
        """How far this clock is ahead of the wall's, which was set back."""

    def now_ms(self) -> int:
        """Return the time now."""
        return int((time.monotonic() + self._offset_seconds) * 1000)
