"""Frame logs as files: which there are, how one is read, how a growing one is followed.

Floor 4. A directory is one log: its files are read in the order of their numbers, packed
or not. A server may write, compress and remove files of it meanwhile; a file that is open
stays readable, whatever happens to its name.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.log_decoding import History, Shown, new_decoder
from mqwire.framelog import BINARY, JSONL, parse_file_name
from mqwire.limits import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

READ_BYTES: Final = 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_LONGEST_WAIT_NS: Final = 2 * MAX_WAIT_SECONDS * 1_000_000_000
"""A file whose last frame is older than this holds no request of a reply that is wanted:
twice what a request may wait, since clocks are set."""


class Found(NamedTuple):
    """A file to read."""

    number: int
    """Its number in its directory; 0 for one that was named by itself."""
    path: Path


class LogFile:
    """One file of a log, open for reading.

    Args:
        found: which.
        history: of the log that it belongs to.

    Raises:
        FileNotFoundError: there is no such file.
        Failure: it cannot be opened.
    """

    def __init__(self, found: Found, history: History) -> None:
        self.path = found.path
        self._error: str | None = None
        try:
            raw = self._open()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Failure(f"cannot read {self.path}: {error.strerror}", exits.USAGE) from error
        is_compressed = raw.peek(2)[:2] == _GZIP_MAGIC
        self._raw = raw
        self._file = gzip.GzipFile(fileobj=raw) if is_compressed else raw
        self._decoder = new_decoder(self._form(), history)

    def _form(self) -> str:
        """Return the format, which a file of an odd name shows by its first byte."""
        name = parse_file_name(self.path.name)
        if name is not None:
            return name.form
        try:
            return JSONL if self._file.peek(1)[:1] == b"{" else BINARY
        except (OSError, EOFError, zlib.error):  # which is told when it is read
            return BINARY

    def _open(self) -> BufferedReader:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            # It may have been compressed since the directory was listed.
            self.path = self.path.with_name(f"{self.path.name}.gz")
            return self.path.open("rb")

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()

    def read(self) -> Iterator[Shown]:
        """Yield what is in the file from where the last reading has ended."""
        if self._decoder.leftover_bytes:
            # Half a record may have been cut off by now, and another written over it.
            self._decoder.forget_leftover()
            self._file.seek(self._decoder.offset)
        while self._decoder.error is None and (data := self._read_some()):
            yield from self._decoder.feed(data)

    def _read_some(self) -> bytes:
        try:
            return self._file.read(READ_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._error = f"it is damaged as a gzip file: {error}"
        except OSError as error:
            self._error = f"it cannot be read: {error.strerror}"
        return b""

    def report(self) -> bool:
        """Say what could not be read; return whether the file was sound."""
        error = self._decoder.error or self._error
        if error is not None:
            output.warn(f"{self.path}: {error}; what follows was not read")
            return False
        if self._decoder.leftover_bytes:
            output.warn(
                f"{self.path}: the last record is not whole "
                f"({self._decoder.leftover_bytes} bytes are there): "
                "the server is writing it, or was stopped while it did"
            )
        return True


class LogSource:
    """All files that a command line names.

    Args:
        paths: directories and files.
        since_ns: files that were last written long before are left out; None leaves out none.

    """

    def __init__(self, paths: tuple[Path, ...], since_ns: int | None = None) -> None:
        self._paths = paths
        self._since_ns = since_ns
        self.is_sound = True
        """Whether all that was read could be read."""

    def read(self) -> Iterator[Shown]:
        """Yield what is in all files, directory by directory."""
        for path in self._paths:
            history = History()
            for found in self._files_of(path) if path.is_dir() else [Found(0, path)]:
                yield from self._read_file(found, history)

    def follow(self, pause: Callable[[], None]) -> Iterator[Shown]:
        """Yield what is in the directory, and what comes to it, for ever.

        Args:
            pause: called when there is nothing more at the moment; returns when to look again.

        Raises:
            Failure: it is not one directory that was named.
        """
        if len(self._paths) != 1 or not self._paths[0].is_dir():
            raise Failure("--follow takes one directory of a frame log", exits.USAGE)
        [directory] = self._paths
        files, history, number = self._files_of(directory), History(), 0
        while True:
            for found in files:
                yield from self._follow_file(found, history, pause)
                number = found.number
            files = _newer_files(directory, number)
            if not files:
                pause()

    def _files_of(self, directory: Path) -> list[Found]:
        files = _newer_files(directory, 0)
        if not files:
            wanted = "frames-*.mqlog, frames-*.jsonl, also with .gz"
            raise Failure(f"there is no frame log in {directory} ({wanted})", exits.USAGE)
        since_ns = self._since_ns
        if since_ns is None:
            return files
        # The last one is always read: it is being written, and says what is wrong if nothing is.
        return [
            found for found in files[:-1] if _last_change_ns(found.path, since_ns) >= since_ns
        ] + files[-1:]

    def _read_file(self, found: Found, history: History) -> Iterator[Shown]:
        try:
            file = LogFile(found, history)
        except FileNotFoundError:
            self._miss(found)
            return
        with closing(file):
            yield from file.read()
            self.is_sound = file.report() and self.is_sound

    def _follow_file(
        self, found: Found, history: History, pause: Callable[[], None]
    ) -> Iterator[Shown]:
        """Yield what comes to a file until the server has begun another."""
        try:
            file = LogFile(found, history)
        except FileNotFoundError:
            self._miss(found)
            return
        with closing(file):
            is_over = False
            while not is_over:
                # Asked before it is read: once there is another, nothing comes to this one.
                is_over = bool(_newer_files(found.path.parent, found.number))
                yield from file.read()
                if not is_over:
                    pause()
            self.is_sound = file.report() and self.is_sound

    def _miss(self, found: Found) -> None:
        if not found.number:
            raise Failure(f"cannot read {found.path}: there is no such file", exits.USAGE)
        output.warn(f"{found.path}: it was removed before it could be read")


def _newer_files(directory: Path, number: int) -> list[Found]:
    """Return the files of a log after `number`, in order; one that is twice there, once."""
    by_number: dict[int, Path] = {}
    try:
        for entry in directory.iterdir():
            name = parse_file_name(entry.name)
            # A file stays until its compressed copy is whole, and is the one to read till then.
            if name is not None and name.number > number:
                if name.is_compressed:
                    by_number.setdefault(name.number, entry)
                else:
                    by_number[name.number] = entry
    except OSError as error:
        raise Failure(f"cannot read {directory}: {error.strerror}", exits.USAGE) from error
    return [Found(number, path) for number, path in sorted(by_number.items())]


def _last_change_ns(path: Path, default: int) -> int:
    try:
        return path.stat().st_mtime_ns + _LONGEST_WAIT_NS
    except OSError:
        return default
