"""File operations that tell a terminal how far they have come. Floor 4."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TextIO

from mqd.store.files import OsFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERVAL_SECONDS: Final = 0.25
_MIB: Final = 1024 * 1024
_WIDTH: Final = 60


class TellingFiles(OsFiles):
    """The operating system's files, with a line that is written over and over.

    Args:
        terminal: where the line goes.
        now: a clock in seconds.
    """

    def __init__(self, terminal: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._now = now
        self._next_at = now() + INTERVAL_SECONDS
        self._read_bytes = 0
        self._written_bytes = 0
        self._is_shown = False

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """See `Files`."""
        data = super().read(handle, offset, size_bytes)
        self._read_bytes += len(data)
        self._tell()
        return data

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        """See `Files`."""
        super().write(handle, offset, parts)
        self._written_bytes += sum(map(len, parts))
        self._tell()

    def _tell(self) -> None:
        now = self._now()
        if now < self._next_at:
            return
        self._next_at = now + INTERVAL_SECONDS
        words = f"{self._read_bytes // _MIB} MiB read"
        if self._written_bytes:
            words += f", {self._written_bytes // _MIB} MiB written"
        self._put(words)
        self._is_shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            self._put("")
            self._is_shown = False

    def _put(self, words: str) -> None:
        self._terminal.write(f"\r{words:<{_WIDTH}}\r")
        self._terminal.flush()
