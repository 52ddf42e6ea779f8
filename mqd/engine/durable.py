"""The state on disk: a data directory from its opening to its end.

    Durable(...)      locks, recovery: blocks, before anything is served
    start(loop)       the journal's writer thread, and snapshots from time to time
    append, commit    records of a turn, see `mqd.engine.storage.Storage`
    stop()            a last snapshot, then everything is written and synced

What it is not: what records mean. See `mqd.core.broker`.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mqd.engine.snapshots import Schedule, Snapshotter
from mqd.engine.storage import NEVER_LSN, nothing
from mqd.store import (
    FOLD_LOCK_NAME,
    SEGMENT_BYTES,
    DirectoryGone,
    DirectoryLock,
    DirectoryLocked,
    Journal,
    JournalFailed,
    OsFiles,
    recover,
)
from mqd.store.segments import segment_number
from mqwire.levels import Level

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mqd.core.broker import Broker
    from mqd.core.records import Record
    from mqd.engine.base import Snapshot
    from mqd.store import Files, Recovered

MAX_BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""How much may wait for the journal before clients are slowed down."""

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether the directory is where it was."""

FOLD_PATIENCE_SECONDS: Final = 10.0
"""How long a start waits for the fold of a server that was killed; it ends by itself."""


@dataclass(frozen=True)
class Settings:
    """How a data directory is kept.

    Args:
        snapshot_interval_seconds: how often a snapshot is made, if anything has changed.
        segment_bytes: how much space is reserved for a segment.
        resident_bytes: as of `Snapshotter`.
    """

    snapshot_interval_seconds: float = 60.0
    segment_bytes: int = SEGMENT_BYTES
    resident_bytes: int | None = None


class Durable:
    """Keeps records in a data directory. See `mqd.engine.storage.Storage`.

    Opening it recovers the state; that blocks for as long as it takes to read it.

    Args:
        directory: the data directory; must exist.
        broker: empty; is given the state.
        settings: see `Settings`.
        files: the file operations; None for those of the operating system.

    Raises:
        DirectoryLocked: another server holds the directory; nothing was touched.
        StorageError: the directory cannot be used; what is there is as it was.
    """

    def __init__(
        self, directory: str, broker: Broker, settings: Settings, files: Files | None = None
    ) -> None:
        self.highest_level = Level.SYNCED
        self.on_progress: Callable[[], None] = nothing
        self.is_behind = False
        """Whether so much waits to be written that clients have to wait."""
        self._directory = directory
        self._reason: JournalFailed | None = None  # of the failure, as it is told
        self._is_over = False
        self._broker = broker
        self._settings = settings
        # What has been taken has to fit into one segment, should that be the last one.
        self._max_backlog_bytes = min(MAX_BACKLOG_BYTES, settings.segment_bytes // 2)
        self._journal: Journal
        self._snapshotter: Snapshotter
        with ExitStack() as stack:
            self._lock = stack.enter_context(DirectoryLock(directory))
            _await_fold(directory)
            self.recovered: Recovered = recover(
                OsFiles() if files is None else files,
                directory,
                broker.apply_all,
                segment_bytes=settings.segment_bytes,
            )
            stack.pop_all()

    @property
    def epoch(self) -> int:
        """Which start of the data directory this is."""
        return self.recovered.epoch

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take records. Called once, in the event loop."""

        def on_progress() -> None:
            loop.call_soon_threadsafe(self._progressed)

        self._journal = Journal(self.recovered.writer, on_progress)
        self.append: Callable[[Record], None] = self._journal.append
        self.has_room = self._journal.has_room
        settings = self._settings
        self._snapshotter = Snapshotter(
            self._directory,
            self._journal,
            self._live_bytes,
            Schedule(settings.snapshot_interval_seconds, settings.segment_bytes),
            is_stale=self.recovered.journal_records > 0,
            resident_bytes=settings.resident_bytes,
        )
        self._snapshotter.start(loop)
        self._look = loop.call_later(LOOK_SECONDS, self._look_after, loop)

    def commit(self, level: Level, *, is_alone: bool = False) -> int:
        """End the turn; return the lsn of all records so far, `NEVER_LSN` after a failure."""
        journal = self._journal
        try:
            lsn = journal.commit(level, is_alone=is_alone)
        except JournalFailed:
            return NEVER_LSN  # `failure` says why
        self.is_behind = journal.backlog_bytes > self._max_backlog_bytes
        return lsn

    async def stop(self, hurry: asyncio.Event) -> None:
        """Make a last snapshot, and write and sync everything.

        Args:
            hurry: ends the making of the snapshot when it is set.

        Raises:
            JournalFailed: not everything is on the disk.
        """
        self._look.cancel()
        try:
            await self._snapshotter.stop(hurry)
            self._journal.close()
        except JournalFailed as error:
            failure = self.failure
            if failure is None or failure is error:
                raise  # with the error behind it, which `from error` would replace
            raise failure from error
        finally:
            self._is_over = True
            self._lock.release()

    @property
    def failure(self) -> JournalFailed | None:
        """Why nothing is kept any more; None while all is well."""
        failure = self._journal.failure
        if self._reason is None and failure is not None:
            # A journal that finds no directory tells of a file: what became of it says more.
            has_directory = self._is_over or self._lock.is_in_place
            self._reason = failure if has_directory else self._gone()
        return self._reason

    @property
    def is_full(self) -> bool:
        """Whether `has_room` has to be asked."""
        return self.recovered.writer.is_full

    @property
    def written_lsn(self) -> int:
        """All records up to this lsn survive the end of the process."""
        return self.recovered.writer.written_lsn

    @property
    def synced_lsn(self) -> int:
        """All records up to this lsn survive loss of power."""
        return self.recovered.writer.synced_lsn

    async def snapshot(self) -> Snapshot:
        """Make a snapshot. CodedError: SNAPSHOT_FAILED."""
        return await self._snapshotter.snapshot()

    def stats(self) -> dict[str, Any]:
        """Return the parts `journal`, `snapshot` and `recovery` of STATS."""
        return {
            "journal": self._journal_stats(),
            "snapshot": self._snapshotter.stats(),
            "recovery": self._recovery_stats(),
        }

    def _journal_stats(self) -> dict[str, Any]:
        figures = self._journal.figures
        segments, size_bytes = _disk_use(self._directory)
        disk = os.statvfs(self._directory)
        return {
            "segments": segments,
            "bytes": size_bytes,
            "disk_free_bytes": disk.f_bavail * disk.f_frsize,
            "disk_bytes": disk.f_blocks * disk.f_frsize,
            "backlog_bytes": self._journal.backlog_bytes,
            "written_bytes": figures.written_bytes,
            "batches": figures.batches,
            "syncs": figures.syncs,
            "sync_seconds_mean": figures.sync_seconds / figures.syncs if figures.syncs else 0.0,
            "sync_seconds_max": figures.sync_seconds_max,
            "is_full": self._journal.is_full,
        }

    def _recovery_stats(self) -> dict[str, Any]:
        recovered = self.recovered
        return {
            "seconds": recovered.seconds,
            "records": recovered.records,
            "read_bytes": recovered.read_bytes,
            "cut_bytes": recovered.cut_bytes,
            "snapshot": recovered.snapshot_number,
            "decision": recovered.decision.reason,
        }

    def _look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        """See that the directory is still there: the journal would be written without it, too."""
        if self._lock.is_in_place:
            self._look = loop.call_later(LOOK_SECONDS, self._look_after, loop)
            return
        self._journal.fail(self._gone())

    def _gone(self) -> DirectoryGone:
        fate, advice = self._lock.fate()
        return DirectoryGone(
            f"the data directory {self._directory} {fate} while the server used it; the server "
            f"stops, since the next start would not find what it writes there: {advice}",
            self._directory,
        )

    def _progressed(self) -> None:
        self.is_behind = self._journal.backlog_bytes > self._max_backlog_bytes
        self._snapshotter.progressed()
        self.on_progress()

    def _live_bytes(self) -> int:
        return sum(queue.fifo.size_bytes for queue in self._broker.queues())


def _await_fold(directory: str) -> None:
    """Wait for the fold of a server that was killed; it notices that, and ends."""
    deadline = time.monotonic() + FOLD_PATIENCE_SECONDS
    while _is_folded(directory) and time.monotonic() < deadline:
        time.sleep(0.02)
    DirectoryLock(directory, FOLD_LOCK_NAME).release()


def _is_folded(directory: str) -> bool:
    """Tell whether a fold is under way."""
    try:
        DirectoryLock(directory, FOLD_LOCK_NAME).release()
    except DirectoryLocked:
        return True
    return False


def _disk_use(directory: str) -> tuple[int, int]:
    """Return how many segments there are, and the bytes that all our files take on the disk."""
    segments = size_bytes = 0
    for path in Path(directory).iterdir():
        if path.suffix not in (".mqj", ".mqs", ".tmp"):
            continue
        try:
            size_bytes += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # a fold has removed it meanwhile
        segments += segment_number(path.name) is not None
    return segments, size_bytes
