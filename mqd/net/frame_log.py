"""The frame log: every request and reply, whole, on disk. The format is `mqwire.framelog`.

Theory of operation. The log is a tap on the streams: one record for each read
and each write of a connection, holding the frames as they were on the wire. The
event loop only puts a few bytes before them and keeps both in a list; the list
goes to a writer thread every `FLUSH_SECONDS`, or as soon as it is large, and the
thread (`mqd.net.frame_log_writer`) writes it with `writev`, which needs no copy and no
interpreter lock. Another thread (`mqd.net.frame_log_keeper`) compresses and removes files.

The newest records stay in memory, too (`mqd.net.frame_tail`), for those who follow the log.

A disk that is slow slows the clients down: past `MAX_BACKLOG_BYTES` the log is *behind*,
sessions stop reading, and go on when it has caught up. A disk that fails does not stop
the server: what could not be written is cut off at the last whole record, counted as
lost, reported once, and reported again when writing works, in the log itself, too. A disk
that takes nothing at all for `STALL_SECONDS` counts as failing.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  the compiled form looks it up
from typing import TYPE_CHECKING, Any, Final

from mqd.config import FrameLogConfig
from mqd.net.frame_log_files import stored_files
from mqd.net.frame_log_format import new_format
from mqd.net.frame_log_keeper import Keeper
from mqd.net.frame_log_writer import Load, Writer, joined
from mqd.net.frame_tail import FrameTail
from mqwire.framelog import Gap

FLUSH_SECONDS: Final = 0.05
"""How long a record may stay in the event loop's hands."""

FLUSH_BYTES: Final = 1024 * 1024
"""How much may gather there before it goes to the writer at once."""

MAX_BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""How much may wait for the writer before clients are slowed down."""

STALL_SECONDS: Final = 5.0
"""How long clients wait for a disk that takes nothing."""

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_logger = logging.getLogger("mqd.frame_log")


@dataclass(frozen=True)
class FrameLogStats:
    """How a frame log does.

    Args:
        path: the file that is written.
        file_bytes: its size.
        written_bytes: what this run of the server has written to all files.
        lost_records: how many are missing in them, and will be.
        behind_bytes: what waits to be written.
        is_failing: whether the last that was tried could not be written.
    """

    path: Path
    file_bytes: int
    written_bytes: int
    lost_records: int
    behind_bytes: int
    is_failing: bool


def steady_clock() -> Callable[[], int]:
    """Return a clock of nanoseconds since 1970-01-01 UTC that nobody sets."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + offset_ns


class FrameLog:
    """Writes records into new files of a directory. Used from one event loop.

    Args:
        directory: made if it is missing, for its owner only.
        server_version: goes into the files' headers.
        loop: the event loop that records come from.
        config: what is logged, how, and how much of it is kept; its level is not off.
        now_ns: the time; it never goes back.

    Raises:
        OSError: the directory or file cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        server_version: str,
        loop: asyncio.AbstractEventLoop,
        config: FrameLogConfig | None = None,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        config = FrameLogConfig() if config is None else config
        self.has_bodies = config.level == "full"
        """Whether bodies are logged."""
        self._directory = directory
        self._level = config.level
        self._now_ns = steady_clock() if now_ns is None else now_ns
        self._loop = loop
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._records = 0
        self._handed_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_stalled = False
        self._waiting: list[Callable[[], None]] = []
        self._gap: Gap | None = None
        self._dropped_records = 0
        started_at_ns = self._now_ns()
        form = new_format(config.format, started_at_ns, server_version)
        self.tail = FrameTail(started_at_ns, server_version, config.level)
        """The newest records, for whoever follows the log."""
        self._writer = Writer(directory, config, form, self._now_ns, self._wake_from_thread)
        self._keeper = Keeper(directory, config, self._now_ns, lambda: self._writer.file.number)
        self._writer.on_new_file = self._keeper.wake
        self._keeper.start()

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._writer.file.path

    @property
    def lost_records(self) -> int:
        """How many records are missing: dropped for want of room or refused by the disk."""
        return self._dropped_records + self._writer.lost_records

    def stats(self) -> FrameLogStats:
        """Return how the log does at this moment."""
        writer = self._writer
        return FrameLogStats(
            path=writer.file.path,
            file_bytes=writer.file.size_bytes,
            written_bytes=writer.written_bytes,
            lost_records=self.lost_records,
            behind_bytes=self._part_bytes + self._handed_bytes - writer.done_bytes,
            is_failing=writer.is_failing or self._is_stalled,
        )

    def figures(self, *, has_places: bool) -> dict[str, Any]:
        """Return the part `frame_log` of STATS.

        Args:
            has_places: whether to tell the directory, too.
        """
        stats = self.stats()
        try:
            files = stored_files(self._directory)
        except OSError:
            files = []  # `is_failing` says that something is wrong with the disk
        return {
            "level": self._level,
            "files": len(files),
            "bytes": sum(file.size_bytes for file in files),
            "backlog_bytes": stats.behind_bytes,
            "lost_records": stats.lost_records,
            "is_behind": self.is_behind,
            "is_failing": stats.is_failing,
            **({"directory": _as_text(self._directory)} if has_places else {}),
        }

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
        if self._is_stalled:
            self._drop(self._records, self._part_bytes)
        else:
            self._hand_over(Load(self._parts, self._part_bytes, self._records))
        self._parts, self._part_bytes, self._records = [], 0, 0

    def _hand_over(self, load: Load) -> None:
        self._handed_bytes += load.size_bytes
        self._writer.loads.put(load)

    def _drop(self, records: int, size_bytes: int) -> None:
        """Count records that the writer does not get."""
        reason = "the disk takes nothing"
        if self._gap is None:
            _logger.error("the frame log loses records from now on: %s (%s)", reason, self.path)
        self._dropped_records += records
        self._gap = joined(self._gap, Gap(records, size_bytes, self._now_ns(), reason))

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
        self._hand_over_gap()
        for callback in waiting:
            callback()

    def _judge_stall(self, done_bytes: int) -> None:
        if self._writer.done_bytes != done_bytes:
            if self._waiting:
                self._loop.call_later(STALL_SECONDS, self._judge_stall, self._writer.done_bytes)
        elif self._waiting:
            self._wake()
            self._is_stalled = True

    def _hand_over_gap(self) -> None:
        """Have it written, after all that was handed over, how many records were dropped."""
        if self._gap is not None:
            self._hand_over(Load([], 0, 0, self._gap))
            self._gap = None

    def close(self) -> None:
        """Write what is left and stop the writer; blocks for that long."""
        self.flush()
        self._hand_over_gap()
        self._writer.close(STALL_SECONDS)
        self._keeper.close()


def _as_text(path: Path) -> str:
    """Return a path as it is told: on the wire a text is UTF-8, and a path need not be."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
