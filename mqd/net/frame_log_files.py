"""The files of a frame log: the one that is written, and which of the others stay.

A closed file is touched only if its name is exactly one of the log's, it is a plain file,
its number is below that of the file being written, and no server holds it: whoever writes
or compresses a file has it locked (`flock`), so two servers that were given the same
directory leave each other's files alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.net.disk_space import reserve_space
from mqwire.framelog import file_name, parse_file_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mqd.config import FrameLogConfig

PART_SUFFIX: Final = ".part"
"""What follows the name of a compressed file that is not whole yet."""

RESERVE_BYTES: Final = 4 * 1024 * 1024
"""How much space a file reserves at a time: writing into it costs the kernel half."""

_IOV_MAX: Final = 512
_NANOSECONDS: Final = 1_000_000_000


class OpenFile:
    """The file that is written: appended to in whole pieces, cut back where that fails.

    Args:
        directory: where; it exists.
        number: the least number that it may have; a higher one if that is taken.
        form: the format, for its name.
        start: what every file of the format starts with.
        opened_ns: the time.

    Raises:
        OSError: it cannot be made, and is not there then.
    """

    def __init__(
        self, directory: Path, number: int, form: str, start: bytes, opened_ns: int
    ) -> None:
        self.opened_ns = opened_ns
        self.size_bytes = 0
        self.is_torn = False
        """Whether it ends in the middle of a record and cannot be cut back."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while True:
            self.path = directory / file_name(number, form)
            try:
                self._fd = os.open(self.path, flags, 0o600)
            except FileExistsError:
                number += 1
            else:
                break
        self.number = number
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append([start])
        except OSError:
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
            raise
        self._start_bytes = self._reserved_bytes = self.size_bytes

    @property
    def is_empty(self) -> bool:
        """Whether there is no record in it."""
        return self.size_bytes == self._start_bytes

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed it, so that what is written to it is lost."""
        return os.fstat(self._fd).st_nlink == 0

    def reserve(self, size_bytes: int) -> None:
        """Have space for `size_bytes` more, where the file system can tell that beforehand.

        The file does not become longer by it. What is not used is given back by `close`, or after
        a crash when the file goes; a disk that has none left says so to the next write.
        """
        wanted_bytes = self.size_bytes + size_bytes
        if wanted_bytes > self._reserved_bytes:
            start = max(self.size_bytes, self._reserved_bytes)
            more_bytes = max(size_bytes, RESERVE_BYTES)
            reserve_space(self._fd, start, more_bytes)
            self._reserved_bytes = start + more_bytes

    def append(self, parts: list[bytes]) -> None:
        """Write all parts, or nothing.

        Raises:
            OSError: they cannot be written; the file ends as before, or is torn.

        Durability: in the kernel.
        """
        size_bytes = self.size_bytes
        try:
            for start in range(0, len(parts), _IOV_MAX):
                size_bytes += self._write(parts[start : start + _IOV_MAX])
        except OSError:
            try:
                os.ftruncate(self._fd, self.size_bytes)
            except OSError:
                self.is_torn = True
            raise
        self.size_bytes = size_bytes

    def _write(self, parts: list[bytes]) -> int:
        """Write parts, of which a write may take only some; return their size."""
        size_bytes = 0
        chunk: list[bytes | memoryview] = list(parts)
        while chunk:
            written = os.writev(self._fd, chunk)
            size_bytes += written
            while chunk and written >= len(chunk[0]):
                written -= len(chunk.pop(0))
            if written:
                chunk[0] = memoryview(chunk[0])[written:]
        return size_bytes

    def close(self, now_ns: int) -> None:
        """Close it; its age counts from `now_ns`, whatever the machine's clock says."""
        if self._reserved_bytes > self.size_bytes and not self.is_torn:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size_bytes)
        with contextlib.suppress(OSError):
            os.utime(self._fd, ns=(now_ns, now_ns))
        os.close(self._fd)


class Stored(NamedTuple):
    """A file that is in the directory."""

    number: int
    path: Path
    size_bytes: int
    changed_ns: int
    is_compressed: bool


def stored_files(directory: Path) -> list[Stored]:
    """Return the files of the log in the order of their numbers; others are not among them.

    Raises:
        OSError: the directory cannot be read.
    """
    return sorted(_stored(directory))


def _stored(directory: Path) -> Iterator[Stored]:
    for path in directory.iterdir():
        name = parse_file_name(path.name)
        if name is None:
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            size_bytes, changed_ns = status.st_size, status.st_mtime_ns
            yield Stored(name.number, path, size_bytes, changed_ns, name.is_compressed)


def surplus(
    closed: list[Stored], config: FrameLogConfig, now_ns: int, kept: frozenset[Path] = frozenset()
) -> list[Stored]:
    """Return which files have to go: those too old, and the oldest of too many bytes.

    Args:
        closed: the files that nobody writes, in order.
        config: how much and how long; the file that is written counts as if it were full.
        now_ns: the time.
        kept: files that cannot go, and count all the same.
    """
    total_bytes = sum(file.size_bytes for file in closed)
    room_bytes = config.max_total_bytes - config.max_file_bytes
    oldest_ns = now_ns - int(config.max_age_seconds * _NANOSECONDS)
    going = []
    for file in closed:
        if (total_bytes > room_bytes or file.changed_ns < oldest_ns) and file.path not in kept:
            going.append(file)
            total_bytes -= file.size_bytes
    return going


def leftover_parts(directory: Path) -> list[Path]:
    """Return the compressed copies that a crash has left half-done.

    Raises:
        OSError: the directory cannot be read.
    """
    parts = []
    for path in directory.iterdir():
        name = parse_file_name(path.name.removesuffix(PART_SUFFIX))
        is_part = path.name.endswith(PART_SUFFIX) and name is not None and name.is_compressed
        if is_part and not path.is_symlink() and path.is_file():
            parts.append(path)
    return parts


def is_held(path: Path) -> bool:
    """Tell whether a process has the file locked, which writes or compresses it.

    One that cannot be opened is not ours to touch, and counts as held.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(fd)
    return False
