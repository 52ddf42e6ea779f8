"""The frame log: every request and reply, whole, on disk. The format is `mqwire.framelog`.

Theory of operation. The log is a tap on the streams: one record for each read
and each write of a connection, holding the frames as they were on the wire. The
event loop only puts a few bytes before them and keeps both in a list; the list
goes to a writer thread every `FLUSH_SECONDS`, or as soon as it is large, and the
thread writes it with `writev`, which needs no copy and no interpreter lock.

A disk that is slow slows the clients down: past `MAX_BACKLOG_BYTES` the log is *behind*,
sessions stop reading, and go on when it has caught up. A disk that fails does not stop
the server: what could not be written is cut off at the last whole record, counted as
lost, reported once, and reported again when writing works. A disk that takes nothing at
all for `STALL_SECONDS` counts as failing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from mqwire.framelog import encode_header, file_name, file_number

FLUSH_SECONDS: Final = 0.05
"""How long a record may stay in the event loop's hands."""

FLUSH_BYTES: Final = 256 * 1024
"""How much may gather there before it goes to the writer at once."""

MAX_BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""How much may wait for the writer before clients are slowed down."""

STALL_SECONDS: Final = 5.0
"""How long clients wait for a disk that takes nothing."""

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

_IOV_MAX: Final = 512
_logger = logging.getLogger("mqd.frame_log")


class _Load(NamedTuple):
    """What goes to the writer in one piece: whole records."""

    parts: list[bytes]
    size_bytes: int
    records: int


class FrameLog:
    """Writes records into a new file of a directory. Used from one event loop.

    Args:
        directory: made if it is missing, for its owner only.
        server_version: goes into the file's header.
        loop: the event loop that records come from.

    Raises:
        OSError: the directory or file cannot be made.
    """

    def __init__(
        self, directory: Path, server_version: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._records = 0
        self._handed_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_stalled = False
        self._waiting: list[Callable[[], None]] = []
        self._writer = _Writer(directory, server_version, self._wake_from_thread)

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._writer.path

    @property
    def lost_records(self) -> int:
        """How many records are missing: dropped for want of room or refused by the disk."""
        return self._writer.lost_records

    def append(self, head: bytes, frames: list[bytes], size_bytes: int) -> None:
        """Log one record.

        Args:
            head: what `mqwire.framelog.RecordEncoder.head` gives for `size_bytes`.
            frames: the frames, in pieces.
            size_bytes: their total size.

        Durability: none when it returns; in the kernel after `FLUSH_SECONDS` or so.
        """
        self._parts.append(head)
        self._parts += frames
        self._part_bytes += len(head) + size_bytes
        self._records += 1
        if self._part_bytes >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand what has gathered to the writer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._records:
            return
        load = _Load(self._parts, self._part_bytes, self._records)
        if self._is_stalled:
            self._writer.lose(load.records, "the disk takes nothing")
        else:
            self._handed_bytes += load.size_bytes
            self._writer.loads.put(load)
        self._parts, self._part_bytes, self._records = [], 0, 0

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the writer that clients have to be slowed down."""
        backlog = self._handed_bytes - self._writer.done_bytes
        return backlog > MAX_BACKLOG_BYTES and not self._is_stalled

    def when_caught_up(self, callback: Callable[[], None]) -> None:
        """Call back once, from the event loop, when the log is not behind any more."""
        if not self._waiting:
            self._loop.call_later(STALL_SECONDS, self._judge_stall, self._writer.done_bytes)
        self._waiting.append(callback)
        self._writer.notice_at_bytes = self._handed_bytes - MAX_BACKLOG_BYTES // 2
        if self._writer.done_bytes >= self._writer.notice_at_bytes:  # it was quicker
            self._loop.call_soon(self._wake)

    def _wake_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._is_stalled = False
        for callback in waiting:
            callback()

    def _judge_stall(self, done_bytes: int) -> None:
        if self._writer.done_bytes != done_bytes:
            if self._waiting:
                self._loop.call_later(STALL_SECONDS, self._judge_stall, self._writer.done_bytes)
        elif self._waiting:
            self._wake()
            self._is_stalled = True

    def close(self) -> None:
        """Write what is left and stop the writer; blocks for that long."""
        self.flush()
        self._writer.close()


class _Writer:
    """The thread that writes, and its file."""

    def __init__(self, directory: Path, server_version: str, notify: Callable[[], None]) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbers = (file_number(entry.name) for entry in directory.iterdir())
        number = max((n for n in numbers if n is not None), default=0) + 1
        self.path = directory / file_name(number)
        self.loads: SimpleQueue[_Load | None] = SimpleQueue()
        self.done_bytes = 0
        self.notice_at_bytes: int | None = None
        """When this much is done, somebody wants to know."""
        self._notify = notify
        self.lost_records = 0
        self._lost_since_report = 0
        self._lock = threading.Lock()
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._good_bytes = os.write(self._file, encode_header(time.time_ns(), server_version))
        self._thread = threading.Thread(target=self._run, name="mqd-frame-log", daemon=True)
        self._thread.start()

    def lose(self, records: int, reason: str) -> None:
        """Count records that will not be written; the first of a row is reported."""
        with self._lock:
            is_first = not self._lost_since_report
            self._lost_since_report += records
            self.lost_records += records
        if is_first:
            _logger.error("the frame log loses records from now on: %s (%s)", reason, self.path)

    def close(self) -> None:
        """Stop the thread when it has written everything, and close the file."""
        self.loads.put(None)
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        while (load := self.loads.get()) is not None:
            try:
                self._write(load.parts)
            except OSError as error:
                self.lose(load.records, error.strerror or str(error))
                self._cut_back()
            else:
                self._good_bytes += load.size_bytes
                self._report_recovery()
            self.done_bytes += load.size_bytes
            if self.notice_at_bytes is not None and self.done_bytes >= self.notice_at_bytes:
                self.notice_at_bytes = None
                self._notify()

    def _write(self, parts: list[bytes]) -> None:
        """Write all parts; a write may take only some of what it is given."""
        for start in range(0, len(parts), _IOV_MAX):
            chunk: list[bytes | memoryview] = list(parts[start : start + _IOV_MAX])
            while chunk:
                written = os.writev(self._file, chunk)
                while chunk and written >= len(chunk[0]):
                    written -= len(chunk.pop(0))
                if written:
                    chunk[0] = memoryview(chunk[0])[written:]

    def _cut_back(self) -> None:
        """Cut half a record off the end, so that the next one can be read."""
        try:
            os.ftruncate(self._file, self._good_bytes)
            os.lseek(self._file, self._good_bytes, os.SEEK_SET)
        except OSError:
            _logger.exception("the frame log cannot be cut back to its last whole record")

    def _report_recovery(self) -> None:
        with self._lock:
            lost, self._lost_since_report = self._lost_since_report, 0
        if lost:
            _logger.warning("the frame log is written again; %d records are missing in it", lost)
