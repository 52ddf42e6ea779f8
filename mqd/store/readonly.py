"""File operations that change nothing: reads go to the disk, writes go nowhere.

With these under it a recovery is a rehearsal: it does what a start does, up to the last
operation, and no byte of the directory changes. What it would have written cannot be read
back, and nothing in the store reads what it has just written but `mqd.store.snapshot`.

What it is not: a way to write somewhere else.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mqd.store.files import Files

_LOOK_BYTES: Final = 1024 * 1024
_SECTOR_BYTES: Final = 4096


class _View(NamedTuple):
    """How a file was when it was opened."""

    data_end: int
    """Behind its last byte that is not zero."""
    size_bytes: int


class ReadOnlyFiles:
    """`Files` that read through to others and never write.

    Args:
        files: what is read.
        aliases: where to find what is asked for under another path.
        is_live: whether somebody writes the files meanwhile. A file then reads as it was
            when it was opened: up to the last byte that was not zero it does not change
            any more, and behind that there were zeros, as many as its size tells.
        is_patient: whether what a disk cannot read any more reads as zeros, so that the
            rest can still be had.
    """

    def __init__(
        self,
        files: Files,
        *,
        aliases: Mapping[str, str] | None = None,
        is_live: bool = False,
        is_patient: bool = False,
    ) -> None:
        self._files = files
        self._aliases = aliases or {}
        self._is_live = is_live
        self._is_patient = is_patient
        self._views: dict[int, _View] = {}
        self._paths: dict[int, str] = {}
        self._unreadable: set[tuple[str, int]] = set()
        self._last_made = 0

    @property
    def unreadable_bytes(self) -> int:
        """How much was given as zeros because the disk could not read it, in whole sectors."""
        return len(self._unreadable) * _SECTOR_BYTES

    def create(self, path: str) -> int:  # noqa: ARG002  the interface's
        """See `Files`. The handle takes everything and keeps nothing."""
        self._last_made -= 1
        return self._last_made

    def open(self, path: str, *, writable: bool = False) -> int:  # noqa: ARG002  as above
        """See `Files`. It is opened for reading in any case."""
        handle = self._files.open(self._aliases.get(path, path))
        self._paths[handle] = path
        if self._is_live:
            try:
                self._views[handle] = self._view(handle)
            except BaseException:
                self._files.close(handle)
                raise
        return handle

    def _view(self, handle: int) -> _View:
        """Tell how a file is now.

        Batches are written one after the other, each before the one that promises it. So
        whatever is promised before the end of the data was written before that was found.
        """
        size_bytes = end = self._files.size_bytes(handle)
        while end > 0:
            start = max(0, end - _LOOK_BYTES)
            data = self._files.read(handle, start, end - start).rstrip(b"\0")
            if data:
                return _View(start + len(data), size_bytes)
            end = start
        return _View(0, size_bytes)

    def close(self, handle: int) -> None:
        """See `Files`."""
        self._views.pop(handle, None)
        if handle >= 0:
            self._files.close(handle)

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """See `Files`."""
        if handle < 0:
            return b""
        view = self._views.get(handle)
        if view is None:
            return self._read(handle, offset, size_bytes)
        wanted = max(0, min(size_bytes, view.size_bytes - offset))
        data = self._read(handle, offset, max(0, min(wanted, view.data_end - offset)))
        return data + bytes(wanted - len(data))

    def _read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        try:
            return self._files.read(handle, offset, size_bytes)
        except OSError as error:
            if not self._is_patient or error.errno != errno.EIO:
                raise
        return self._read_around(handle, offset, size_bytes)

    def _read_around(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """Read sector by sector, with zeros for those that cannot be read."""
        end = min(offset + size_bytes, self._files.size_bytes(handle))
        pieces = []
        while offset < end:
            sector, inside = divmod(offset, _SECTOR_BYTES)
            wanted = min(_SECTOR_BYTES - inside, end - offset)
            try:
                pieces.append(self._files.read(handle, offset, wanted))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                pieces.append(bytes(wanted))
                self._unreadable.add((self._paths[handle], sector))
            offset += wanted
        return b"".join(pieces)

    def size_bytes(self, handle: int) -> int:
        """See `Files`."""
        if handle < 0:
            return 0
        view = self._views.get(handle)
        return self._files.size_bytes(handle) if view is None else view.size_bytes

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        return self._files.names(path)

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write nothing."""

    def sync_data(self, handle: int) -> None:
        """Sync nothing."""

    def sync(self, handle: int) -> None:
        """Sync nothing."""

    def truncate(self, handle: int, size_bytes: int) -> None:
        """Cut nothing."""

    def allocate(self, handle: int, size_bytes: int) -> None:
        """Reserve nothing."""

    def rename(self, source: str, target: str) -> None:
        """Rename nothing."""

    def unlink(self, path: str) -> None:
        """Remove nothing."""

    def sync_directory(self, path: str) -> None:
        """Sync nothing."""

    def make_directory(self, path: str) -> None:
        """Make nothing."""
