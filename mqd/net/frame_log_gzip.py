"""Compresses one closed file of a frame log. A program of its own, started by path.

Being another process, it takes neither the server's interpreter lock nor, at the lowest
priority, time that anybody else has a use for. It needs the standard library alone and so
starts in a few milliseconds.

The copy is made as `NAME.gz.part`, synced, given the original's mode and times, and renamed; only
then the original goes. At any moment one of the two is there whole.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 1
"""A third of the time of gzip's default, for a result a tenth larger: frames are alike."""

CHUNK_BYTES: Final = 256 * 1024
SYNC_BYTES: Final = 4 * 1024 * 1024
"""Synced as often as this, so that no other file's sync waits behind a mountain."""

NICENESS: Final = 19


def compress(source: Path) -> None:
    """Replace `source` by its compressed copy.

    Raises:
        OSError: it cannot be done; `source` is still there. BlockingIOError if another
            process holds it.
    """
    part, target = (source.with_name(source.name + suffix) for suffix in (".gz.part", ".gz"))
    with source.open("rb", buffering=0) as original:
        fcntl.flock(original, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(original.fileno())
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(part, flags, 0o600), "wb", buffering=0) as copy:
                fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _copy(original, copy)
                os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode))
                os.fsync(copy.fileno())
                os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            part.replace(target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        source.unlink()


def _copy(original: BinaryIO, copy: BinaryIO) -> None:
    synced_bytes = 0
    with gzip.GzipFile("", "wb", LEVEL, copy, mtime=0) as packed:
        while chunk := original.read(CHUNK_BYTES):
            packed.write(chunk)
            if copy.tell() - synced_bytes >= SYNC_BYTES:
                synced_bytes = copy.tell()
                os.fdatasync(copy.fileno())


def main(arguments: Sequence[str]) -> int:
    """Compress the files that are named; return the process's exit code."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_IDLE"):  # Linux: whoever wants the processor gets it at once
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        for name in arguments:
            compress(Path(name))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
