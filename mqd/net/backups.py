"""A backup that a client fetches: a snapshot's file, held open while it is read.

The file may be replaced by the next snapshot and removed meanwhile; what is open stays.
Reading blocks, so it is done in a thread.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.limits import FRAME_OVERHEAD_BYTES

if TYPE_CHECKING:
    from mqd.engine.base import Engine, Results, Snapshot
    from mqd.net.session import Session

PIECE_BYTES: Final = 512 * 1024

MAX_READING: Final = 4
"""How many pieces of one backup are read at a time: each is in memory until it is sent."""

_ATTEMPTS: Final = 5


class Backup:
    """A file that is held open.

    Args:
        path: the snapshot's file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._handle: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._reading = 0

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from a place in the file; nothing at its end.

        Raises:
            CodedError: NO_BACKUP if it was let go of; TOO_MANY_WAITS if it is read enough.
            OSError: the disk cannot read it.
        """
        if self._handle is None:
            raise no_backup()
        if self._reading >= MAX_READING:
            raise CodedError(
                Code.TOO_MANY_WAITS,
                f"{MAX_READING} pieces of this backup are being read; wait for one of them",
                {"limit": MAX_READING},
            )
        # A handle of the thread's own, which nobody closes under it.
        handle = os.dup(self._handle)
        self._reading += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, _read_and_close, handle, offset, size_bytes)
        finally:
            self._reading -= 1

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _read_and_close(handle: int, offset: int, size_bytes: int) -> bytes:
    try:
        return os.pread(handle, size_bytes, offset)
    finally:
        os.close(handle)


async def begin_backup(session: Session) -> Results:
    """Make a snapshot and hold its file for a session. CodedError: as `Engine.snapshot`."""
    snapshot, backup = await _make(session.engine)
    if session.backup is not None:
        session.backup.close()
    session.backup = backup
    return (describe(snapshot),)


async def read_backup(session: Session, offset: int) -> Results:
    """Return a piece of the backup that a session holds. CodedError: NO_BACKUP."""
    if session.backup is None:
        raise no_backup()
    size_bytes = min(PIECE_BYTES, session.max_frame_bytes - FRAME_OVERHEAD_BYTES)
    try:
        return (await session.backup.read(offset, size_bytes),)
    except OSError as error:
        raise _unreadable(error) from error


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return what SNAPSHOT and BACKUP answer."""
    return {
        "number": snapshot.number,
        "records": snapshot.records,
        "bytes": snapshot.size_bytes,
        "seconds": snapshot.seconds,
    }


async def _make(engine: Engine) -> tuple[Snapshot, Backup]:
    for attempt in range(1, _ATTEMPTS + 1):
        snapshot = await engine.snapshot()
        try:
            return snapshot, Backup(snapshot.path)
        except FileNotFoundError:  # the next one has taken its place already
            if attempt == _ATTEMPTS:
                raise CodedError(
                    Code.SNAPSHOT_FAILED, "snapshots replace each other too fast to be held", {}
                ) from None
        except OSError as error:
            raise _unreadable(error) from error
    raise AssertionError("every attempt returns or raises")


def _unreadable(error: OSError) -> CodedError:
    return CodedError(
        Code.SNAPSHOT_FAILED, f"the snapshot's file cannot be read: {error.strerror}", {}
    )


def no_backup() -> CodedError:
    """Make the refusal of a piece of a backup that is not there."""
    return CodedError(
        Code.NO_BACKUP,
        "this connection holds no backup: send BACKUP without an offset first",
        {},
    )
