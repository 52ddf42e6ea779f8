"""The server's clock: wall time that never jumps while the server runs."""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since 1970-01-01 UTC, read once from the wall and steady from then on.

    A wall clock that is set while the server runs moves no deadline and no age.
    """

    def __init__(self) -> None:
        self._offset_seconds = time.time() - time.monotonic()

    def now_ms(self) -> int:
        """Return the time now."""
        return int((time.monotonic() + self._offset_seconds) * 1000)
