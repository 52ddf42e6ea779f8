"""A backup on its way to a file. Floor 1: files, no sockets, no waiting.

A backup is a snapshot of the server, which one connection of its own fetches piece by
piece: the server lets go of the snapshot when that connection closes, and nobody else's
replies wait behind the pieces.

    next_call -> (the client asks the server) -> take -> ... until is_done, else discard

A path is written as a temporary file beside it, of mode 0600, which is synced and gets its
name only when all of it is there; then the directory is synced. So what stands under the
name is whole, and what was there before stays until then.

What it is not: a check of what is in the pieces. Their sizes are checked here; the file
itself has checksums, which `mqd restore` looks at.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mqclient import calls
from mqclient.errors import (
    ConnectionLost,
    InterfaceError,
    MqError,
    ProtocolError,
    RequestTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqclient.calls import Call
    from mqclient.models import SnapshotInfo

    Destination: TypeAlias = str | os.PathLike[str] | IO[bytes]

_TEMPORARY_PREFIX: Final = ".mqd-backup-"
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Backup:
    """One backup, from the first request to the file that has its name.

    Args:
        file: a path, or a binary file object, which is written to and stays open.
        overwrite: whether a regular file of this path may be replaced.

    Raises:
        FileExistsError, IsADirectoryError, OSError: the path cannot be written.
        InterfaceError: it is neither a path nor a binary file object.
    """

    def __init__(self, file: Destination, *, overwrite: bool) -> None:
        self.is_done = False
        self._info: SnapshotInfo | None = None
        self._done_bytes = 0
        self._target = _target(file, overwrite=overwrite)

    @property
    def info(self) -> SnapshotInfo:
        """The snapshot that is copied, once the server has made it."""
        assert self._info is not None
        return self._info

    @property
    def is_begun(self) -> bool:
        """Whether the server has made the snapshot: pieces follow, and come at once."""
        return self._info is not None

    def next_call(self) -> Call:
        """Return what to ask the server next; `take` takes its result."""
        return calls.backup_piece(self._done_bytes) if self.is_begun else calls.backup()

    def take(self, result: Any) -> None:
        """Take the result of the last call; an empty piece ends the file.

        Raises:
            OSError: it cannot be written.
            ProtocolError: the pieces are not as long as the snapshot.
        """
        if self._info is None:
            self._info = result
            return
        self._done_bytes += len(result)
        if self._done_bytes > self.info.bytes or (not result and self._is_short):
            raise ProtocolError(
                f"the server has sent {self._done_bytes} bytes of a backup of {self.info.bytes}"
            )
        if result:
            self._target.write(result)
        else:
            self._target.finish()
            self.is_done = True

    def tell(self, on_progress: Callable[[int, int], object] | None) -> None:
        """Call `on_progress` with the bytes that are done and those that there are."""
        if on_progress is not None:
            on_progress(self._done_bytes, self.info.bytes)

    def discard(self) -> None:
        """Leave nothing behind, unless it is done."""
        self._target.discard()

    def unfinished(self, error: ConnectionLost | RequestTimeout) -> MqError:
        """Return what a loss means here: nothing is in doubt, and it cannot be gone on with."""
        where = "while the server made the snapshot"
        if self._info is not None:
            where = f"after {self._done_bytes} of {self._info.bytes} bytes"
        text = f"the backup has ended {where}: {error}; {self._target.leftover}; begin it again"
        return type(error)(text, in_doubt=False)

    @property
    def _is_short(self) -> bool:
        return self._done_bytes < self.info.bytes


class _Target(Protocol):
    """Where the pieces go."""

    leftover: str
    """What is left of a backup that was not finished."""

    def write(self, data: bytes) -> None:
        """Write all of a piece."""

    def finish(self) -> None:
        """Make sure that what was written is there to stay."""

    def discard(self) -> None:
        """Undo it; after `finish`, do nothing."""


class _FileTarget:
    """The caller's own file object."""

    leftover = "what is in the file is no backup"

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        _write_all(self._file, data)

    def finish(self) -> None:
        self._file.flush()

    def discard(self) -> None:
        """Leave what was written: it is the caller's."""


class _PathTarget:
    """A file that gets its name at the end."""

    leftover = "nothing of it was kept"

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        # Behind a symbolic link, so that the link stays one.
        self._path = Path(os.path.realpath(path))
        self._overwrites = overwrite
        _check_place(self._path, overwrite=overwrite)
        self._temporary = self._path.with_name(_TEMPORARY_PREFIX + os.urandom(8).hex())
        self._file = os.fdopen(os.open(self._temporary, _NEW_FILE, 0o600), "wb", buffering=0)

    def write(self, data: bytes) -> None:
        _write_all(self._file, data)

    def finish(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        if self._overwrites:
            self._temporary.replace(self._path)
        else:
            self._rename_to_new()
        _sync_directory(self._path.parent)

    def _rename_to_new(self) -> None:
        """Rename without replacing what somebody else has made meanwhile."""
        # A rename replaces, and not every file system has hard links; so the name is taken
        # by an empty file first.
        os.close(os.open(self._path, _NEW_FILE, 0o600))
        try:
            self._temporary.replace(self._path)
        except BaseException:
            self._path.unlink()
            raise

    def discard(self) -> None:
        with suppress(OSError):  # there is an error already that says more
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def _target(file: Any, *, overwrite: bool) -> _Target:
    if isinstance(file, str | os.PathLike):
        return _PathTarget(Path(file), overwrite=overwrite)
    if isinstance(file, io.TextIOBase) or not hasattr(file, "write"):
        raise InterfaceError("a backup goes to a path or to a file object that is open for bytes")
    return _FileTarget(file)


def _check_place(path: Path, *, overwrite: bool) -> None:
    """Refuse what would only come to light when all has been fetched."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a backup is a file, and this is a directory", path)
    # Never a device or a pipe: a rename would put a file in its place.
    if not overwrite or not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _write_all(file: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        if written is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(errno.EAGAIN, "the file takes nothing more at the moment")
        # Objects of other makes that return nothing have taken it all.
        rest = rest[len(rest) if written is None else written :]


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
