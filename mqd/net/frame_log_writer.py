"""The frame log's writer: a thread that writes what the event loop hands it, file after file.

A file is begun when the last is full or old, torn, or was removed by somebody. Where a new
one cannot be begun, the old one is written on. What cannot be written is cut off at the last
whole record and counted; as soon as writing works again, a gap record says what is missing.
"""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.net.frame_log_files import OpenFile, stored_files
from mqwire.framelog import Gap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mqd.config import FrameLogConfig
    from mqd.net.frame_log_format import Format

IDLE_SECONDS: Final = 30.0
"""How often a writer that has nothing to write looks whether its file is old."""

RESERVE_FROM_BYTES: Final = 128 * 1024
"""Where so much comes at a time, more will: its space is reserved."""

RETRY_SECONDS: Final = 1.0
"""How soon it tries again what has failed: a gap's record, a new file."""

_NANOSECONDS: Final = 1_000_000_000
_logger = logging.getLogger("mqd.frame_log")


class Load(NamedTuple):
    """What goes to the writer in one piece: whole records, and what is missing before them."""

    parts: list[bytes]
    size_bytes: int
    records: int
    gap: Gap | None = None


def joined(first: Gap | None, second: Gap | None) -> Gap | None:
    """Return two gaps in a row as one."""
    if first is None or second is None:
        return second if first is None else first
    records, size_bytes = first.records + second.records, first.size_bytes + second.size_bytes
    return Gap(records, size_bytes, first.since_ns, first.reason)


class Writer:
    """The thread that writes, and its file.

    Args:
        directory: made if it is missing, for its owner only.
        config: when a file is full and old.
        form: how to write.
        now_ns: the time; it never goes back.
        notify: called from the thread when `notice_at_bytes` is reached.

    Raises:
        OSError: the directory or file cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        config: FrameLogConfig,
        form: Format,
        now_ns: Callable[[], int],
        notify: Callable[[], None],
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.loads: SimpleQueue[Load | None] = SimpleQueue()
        self.done_bytes = 0
        """How much of what was handed over is dealt with, written or not."""
        self.notice_at_bytes: int | None = None
        """When this much is done, somebody wants to know."""
        self.written_bytes = 0
        self.lost_records = 0
        self.on_new_file: Callable[[], None] = lambda: None
        """Called from the thread when another file has been begun."""
        self._directory = directory
        self._max_file_bytes = config.max_file_bytes
        self._max_file_ns = int(config.max_file_seconds * _NANOSECONDS)
        self._format = form
        self._now_ns = now_ns
        self._notify = notify
        self._gap: Gap | None = None
        self._retry_at_ns = 0
        numbers = [file.number for file in stored_files(directory)]
        self.file = self._begin_file(max(numbers, default=0) + 1)
        self._thread = threading.Thread(target=self._run, name="mqd-frame-log", daemon=True)
        self._thread.start()

    @property
    def is_failing(self) -> bool:
        """Whether what came last could not be written."""
        return self._gap is not None

    def close(self, stall_seconds: float) -> None:
        """Stop the thread when it has written everything, and close the file.

        Args:
            stall_seconds: how long a disk may take nothing before it is given up.
        """
        self.loads.put(None)
        done_bytes = None
        while self._thread.is_alive() and done_bytes != self.done_bytes:
            done_bytes = self.done_bytes
            self._thread.join(stall_seconds)
        if self._thread.is_alive():
            _logger.error("the frame log's disk takes nothing; its last records are lost")
        else:
            self.file.close(self._now_ns())

    def _run(self) -> None:
        while True:
            try:
                load = self.loads.get(timeout=RETRY_SECONDS if self._gap else IDLE_SECONDS)
            except Empty:
                load = Load([], 0, 0)
            if load is None:
                break
            self._take(load)
        if self._gap is not None:
            self._take(Load([], 0, 0))

    def _take(self, load: Load) -> None:
        """Write a load; an empty one gives the chance to do what is due."""
        self._gap = joined(self._gap, load.gap)
        try:
            self._write(load)
        except OSError as error:
            self._lose(load, error.strerror or str(error))
        except Exception as error:
            _logger.exception("a bug costs the frame log %d records", load.records)
            self._lose(load, f"a bug: {type(error).__name__}")
        self.done_bytes += load.size_bytes
        if self.notice_at_bytes is not None and self.done_bytes >= self.notice_at_bytes:
            self.notice_at_bytes = None
            self._notify()

    def _write(self, load: Load) -> None:
        now_ns, gap = self._now_ns(), self._gap
        parts = self._format.encode(load.parts)
        if gap is not None:
            parts = [self._format.encode_gap(now_ns, gap), *parts]
        size_bytes = sum(map(len, parts))
        self._change_file_if_due(size_bytes, now_ns)
        if not parts:
            return
        before_bytes = self.file.size_bytes
        if size_bytes >= RESERVE_FROM_BYTES:
            self.file.reserve(size_bytes)
        self.file.append(parts)
        self.written_bytes += self.file.size_bytes - before_bytes
        self._gap = None
        if gap is not None:
            _logger.warning(
                "the frame log is written again; %d records are missing in it", gap.records
            )

    def _change_file_if_due(self, size_bytes: int, now_ns: int) -> None:
        """Begin another file if `size_bytes` should not go to the present one.

        Raises:
            OSError: none can be begun, and the present one takes nothing more.
        """
        file = self.file
        is_unusable = file.is_torn or file.is_gone
        is_over = file.size_bytes + size_bytes > self._max_file_bytes or (
            now_ns - file.opened_ns >= self._max_file_ns
        )
        is_due = is_over and not file.is_empty and now_ns >= self._retry_at_ns
        if not is_unusable and not is_due:
            return
        try:
            self.file = self._begin_file(file.number + 1)
        except OSError as error:
            if is_unusable:
                raise
            self._retry_at_ns = now_ns + int(RETRY_SECONDS * _NANOSECONDS)
            _logger.warning("no new frame log can be begun, %s goes on: %s", file.path, error)
        else:
            file.close(now_ns)
            self.on_new_file()

    def _begin_file(self, number: int) -> OpenFile:
        form = self._format
        file = OpenFile(self._directory, number, form.form, form.start, self._now_ns())
        self.written_bytes += file.size_bytes
        return file

    def _lose(self, load: Load, reason: str) -> None:
        """Count records that will not be written; the first of a row is reported."""
        if not load.records:
            return
        if self._gap is None:
            _logger.error(
                "the frame log loses records from now on: %s (%s)", reason, self.file.path
            )
        self.lost_records += load.records
        self._gap = joined(self._gap, Gap(load.records, load.size_bytes, self._now_ns(), reason))
