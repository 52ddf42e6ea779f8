"""All file operations of the store, behind one small interface.

Everything that touches a disk goes through `Files`, so that tests can put a disk
underneath that fails, or that forgets what was not synced. Paths are strings.
Writes say where they go; nothing depends on a file's position.

What it is not: retries, recovery from errors. Every method raises OSError as it comes.
"""

# ruff: noqa: PTH104, PTH108, PTH208, PTH112, PTH120, PTH100, PTH102
# (system calls by their own names, on handles and strings)

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_IOV_MAX: Final = 512
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Files(Protocol):
    """The file operations that the store needs. Durability is named where there is any."""

    def create(self, path: str) -> int:
        """Make a new file (0600) and open it for reading and writing; it must not exist."""

    def open(self, path: str, *, writable: bool = False) -> int:
        """Open a file that exists; a symbolic link is refused."""

    def close(self, handle: int) -> None:
        """Close a file. Nothing is synced by that."""

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """Read up to `size_bytes`; fewer only at the end of the file."""

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write all parts, one after the other, from `offset` on; in the kernel on return."""

    def sync_data(self, handle: int) -> None:
        """Bring content and size onto the disk (fdatasync)."""

    def sync(self, handle: int) -> None:
        """Bring content and all that belongs to the file onto the disk (fsync)."""

    def truncate(self, handle: int, size_bytes: int) -> None:
        """Make the file exactly this long."""

    def allocate(self, handle: int, size_bytes: int) -> None:
        """Reserve space for the first `size_bytes`; what is new reads as zeros."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name; whatever had that name is gone."""

    def unlink(self, path: str) -> None:
        """Remove a name."""

    def sync_directory(self, path: str) -> None:
        """Bring the names in a directory onto the disk."""

    def names(self, path: str) -> list[str]:
        """List the names in a directory, sorted."""

    def size_bytes(self, handle: int) -> int:
        """Tell how long an open file is."""

    def make_directory(self, path: str) -> None:
        """Make a directory (0700) and those above it where they are missing."""


class OsFiles:
    """The operating system's files."""

    def create(self, path: str) -> int:
        """See `Files`."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)

    def open(self, path: str, *, writable: bool = False) -> int:
        """See `Files`."""
        return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _FLAGS)

    def close(self, handle: int) -> None:
        """See `Files`."""
        os.close(handle)

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """See `Files`."""
        data = os.pread(handle, size_bytes, offset)
        if len(data) == size_bytes or not data:
            return data
        pieces = [data]
        got = len(data)
        while got < size_bytes and (data := os.pread(handle, size_bytes - got, offset + got)):
            pieces.append(data)
            got += len(data)
        return b"".join(pieces)

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        """See `Files`. The kernel may take only a part of what it is given at a time."""
        if len(parts) > _IOV_MAX:
            for start in range(0, len(parts), _IOV_MAX):
                chunk = parts[start : start + _IOV_MAX]
                self.write(handle, offset, chunk)
                offset += sum(map(len, chunk))
            return
        written = os.pwritev(handle, parts, offset)
        if written < sum(map(len, parts)):
            self._write_rest(handle, offset + written, b"".join(parts)[written:])

    @staticmethod
    def _write_rest(handle: int, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(handle, rest, offset)
            if not written:
                raise OSError(errno.EIO, "the disk takes nothing")
            offset += written
            rest = rest[written:]

    def sync_data(self, handle: int) -> None:
        """See `Files`."""
        os.fdatasync(handle)

    def sync(self, handle: int) -> None:
        """See `Files`."""
        os.fsync(handle)

    def truncate(self, handle: int, size_bytes: int) -> None:
        """See `Files`."""
        os.ftruncate(handle, size_bytes)

    def allocate(self, handle: int, size_bytes: int) -> None:
        """See `Files`."""
        os.posix_fallocate(handle, 0, size_bytes)

    def rename(self, source: str, target: str) -> None:
        """See `Files`."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """See `Files`."""
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """See `Files`."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def names(self, path: str) -> list[str]:
        """See `Files`."""
        return sorted(os.listdir(path))

    def size_bytes(self, handle: int) -> int:
        """See `Files`."""
        return os.fstat(handle).st_size

    def make_directory(self, path: str) -> None:
        """See `Files`. A new directory's own name is synced too."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(os.path.abspath(path))
        self.make_directory(parent)
        os.mkdir(path, 0o700)
        self.sync_directory(parent)
