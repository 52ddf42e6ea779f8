"""Frame logs as files: which there are, what is in them, which frames are wanted. Floor 4."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.log_view import Entry
from mqwire.framelog import FrameSplitter, LogReader, file_number

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DIRECTORY: Final = "~/.mqd/data/frames"
READ_BYTES: Final = 1024 * 1024
MAX_OPEN_REQUESTS: Final = 1_000_000
"""Requests whose replies are still looked for; the oldest are given up first."""


@dataclass
class Filter:
    """Which frames are shown.

    A reply does not name its verb or queue: it is shown if the request that it
    answers was.

    Args:
        queue, verb: of requests; None for any.
        user: exactly so; None for any.
        peer: part of the client's address; None for any.
        since, until: nanoseconds since 1970-01-01 UTC; None for any.
    """

    queue: str | None = None
    verb: str | None = None
    user: str | None = None
    peer: str | None = None
    since: int | None = None
    until: int | None = None
    _open: dict[tuple[int, int], None] = field(default_factory=dict)

    def accepts(self, entry: Entry) -> bool:
        """Tell whether to show an entry; entries come in the order of the log."""
        record = entry.record
        return (
            (self.since is None or record.wall_time_ns >= self.since)
            and (self.until is None or record.wall_time_ns <= self.until)
            and (self.user is None or record.user == self.user)
            and (self.peer is None or self.peer in entry.peer)
            and ((self.queue is None and self.verb is None) or self._accepts_frame(entry))
        )

    def _accepts_frame(self, entry: Entry) -> bool:
        key = (entry.record.connection_id, entry.request_id)
        if not isinstance(entry.request_id, int):
            return False
        if not entry.is_request:
            return self._open.pop(key, False) is None
        is_shown = (self.queue is None or entry.queue == self.queue) and (
            self.verb is None or entry.verb == self.verb
        )
        if is_shown:
            self._open[key] = None
            if len(self._open) > MAX_OPEN_REQUESTS:
                del self._open[next(iter(self._open))]
        else:
            self._open.pop(key, None)
        return is_shown


class LogFile:
    """One file of a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = LogReader()

    def entries(self) -> Iterator[Entry]:
        """Yield its frames, as far as they can be read."""
        splitter = FrameSplitter()
        with _open(self._path) as file:
            while self._reader.error is None and (data := file.read(READ_BYTES)):
                for record in self._reader.feed(data):
                    for logged in splitter.split(record):
                        yield Entry(record, logged)

    def report(self) -> bool:
        """Say what could not be read; return whether the file was sound."""
        if self._reader.error is not None:
            output.warn(f"{self._path}: {self._reader.error}; what follows was not read")
            return False
        if self._reader.leftover_bytes:
            output.warn(
                f"{self._path}: the last record is not whole "
                f"({self._reader.leftover_bytes} bytes are there): "
                "the server is writing it, or was stopped while it did"
            )
        return True


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", exits.USAGE) from error


def find_files(paths: tuple[Path, ...]) -> list[Path]:
    """Return the files of all paths, a directory's in the order in which they were written."""
    if not paths:
        default = Path(DEFAULT_DIRECTORY).expanduser()
        if not default.is_dir():
            raise Failure(
                f"there is no frame log in {default}; name its directory or files, which are "
                "where the server's configuration has frame_log.path",
                exits.USAGE,
            )
        paths = (default,)
    files = []
    for path in paths:
        files += _files_of(path) if path.is_dir() else [path]
    return files


def _files_of(directory: Path) -> list[Path]:
    try:
        entries = list(directory.iterdir())
    except OSError as error:
        raise Failure(f"cannot read {directory}: {error.strerror}", exits.USAGE) from error
    numbered = [
        (number, entry) for entry in entries if (number := file_number(entry.name)) is not None
    ]
    if not numbered:
        raise Failure(f"there is no frame log in {directory} (frames-*.mqlog)", exits.USAGE)
    return [entry for _, entry in sorted(numbered)]
