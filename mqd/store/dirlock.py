"""One server for a data directory.

The lock is `flock` on a file in it: it goes with the process, however that ends, and an
unrelated close of the same file does not drop it, as it would with POSIX locks. The file
itself stays; it says who holds, or has held, the lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from mqd.store.errors import DirectoryLocked, DirectoryUnusable

LOCK_NAME: Final = "lock"
"""Held by whoever serves, or changes, the directory."""

FOLD_LOCK_NAME: Final = "fold.lock"
"""Held by the process that makes a snapshot; a start waits for nobody, so it takes it too."""

DESCRIPTORS: Final = Path("/proc/self/fd")
"""Where Linux tells what open files are called now."""

_PID_BYTES: Final = 32


class DirectoryLock:
    """Holds a data directory until it is released or the process ends.

    Args:
        directory: must exist.
        name: which of its locks.

    Raises:
        DirectoryLocked: another process holds it; no byte was changed.
        DirectoryUnusable: the lock file cannot be opened.
    """

    def __init__(self, directory: str, name: str = LOCK_NAME) -> None:
        path = f"{directory}/{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise DirectoryUnusable(
                f"{path} cannot be opened: {error.strerror}; check the directory and who owns it",
                path,
            ) from error
        try:
            _lock(handle, directory, path)
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(handle)
            advice = "use a directory on a local disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                advice = "make space on its disk"
            raise DirectoryUnusable(
                f"{path} cannot be locked: {error.strerror}; {advice}", path
            ) from error
        except BaseException:
            os.close(handle)
            raise
        self._path = Path(path)
        self._handle: int | None = handle

    @property
    def is_in_place(self) -> bool:
        """Whether the directory is where it was: else what is written to its files is lost.

        What cannot be judged counts as in place: that a disk fails is noticed by who writes.
        """
        assert self._handle is not None
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._handle))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def fate(self) -> tuple[str, str]:
        """Say what has become of a directory that is not in place, and what to do about it."""
        assert self._handle is not None
        if not os.fstat(self._handle).st_nlink:
            advice = "start it again for what is left there, or restore a backup (`mqd restore`)"
            return "was removed or emptied", advice
        place = _place_of(self._handle)
        if place is None:
            return "was moved or replaced", "put it back and start it again"
        has_other = ", and there is another one in its place" if self._path.parent.exists() else ""
        advice = f"move it back, or start it again with --data-dir {place}, where all of it is"
        return f"was moved to {place}{has_other}", advice

    def release(self) -> None:
        """Let others have the directory. May be called again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> DirectoryLock:  # noqa: PYI034  typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *_reason: object) -> None:
        self.release()


def _lock(handle: int, directory: str, path: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, _PID_BYTES, 0).decode("ascii", "replace").strip()
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise DirectoryLocked(
            f"{who} holds {directory}: stop it, or use another directory", path
        ) from error


def _place_of(handle: int) -> str | None:
    """Return the directory in which an open file is, where the system tells that."""
    try:
        path = (DESCRIPTORS / str(handle)).readlink()
        is_there = os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:  # no such system, or not seen from here
        return None
    return str(path.parent) if is_there else None
