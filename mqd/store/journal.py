r"""The journal: records go in, and come to be on the disk.

    event loop                                writer thread
    append(record) ... append(record)
    commit(level) -> lsn  -- queue of loads -> write -> sync -> on_progress()
         \__ or, while the writer does nothing, or nothing but a sync:
              written here and now, and only the sync is left to the writer;
              that, too, is done here where nobody waits for anything else and the disk is quick

What is committed while the writer writes gathers in one load, and what was written while
it syncs shares the next sync, so that a busy server syncs hundreds of commits at a time. A
sync happens when a commit asks for one, and otherwise `sync_interval_seconds` after the
oldest write that waits for one, or as soon as `SYNC_BYTES` wait.
When nothing has come for a moment after a sync, an empty batch is written, so that the
disk itself says up to where everything was promised.

A full disk: the next segment's space is reserved before the present one is full. Where
that fails, `has_room` says no to what takes space, while records that free space still
have what is left of the present segment; the reservation is tried again by itself. What
was committed nevertheless waits; nothing is lost, and nothing promised.

A write or sync that fails is the end: `failure` is set, nothing is written or synced any
more, and `on_progress` is called a last time. A second sync would say yes to what the
first one has lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from mqd.store.errors import JournalFailed
from mqd.store.recordlog import BATCH_BYTES, RecordEncoder
from mqd.store.segments import Load
from mqd.store.sync_pace import SyncPace
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.records import Record
    from mqd.store.segments import SegmentWriter

SYNC_INTERVAL_SECONDS: Final = 1.0
SYNC_BYTES: Final = 8 * 1024 * 1024
"""So much is synced unasked: all of a full segment has to be before the next one begins."""

MARKER_SECONDS: Final = 0.005
RETRY_SECONDS: Final = 1.0
INLINE_BYTES: Final = 1024 * 1024
"""Loads up to this size may be written by the one who commits."""

INLINE_WRITE_SECONDS: Final = 0.01
"""After a write of its own that took longer, it leaves writes to the writer for a while."""

SLOW_WRITES_SECONDS: Final = 1.0
"""This long."""

INLINE_SYNC_BYTES: Final = 256 * 1024
"""So much may be synced by the one who commits, if the disk is quick."""

MERGE_BYTES: Final = 1024 * 1024
"""A load that is as large as this takes no further commits."""

_NEVER: Final = float("inf")


class Figures:
    """What the writer has done so far; read from any thread."""

    __slots__ = ("batches", "sync_seconds", "sync_seconds_max", "syncs", "written_bytes")

    def __init__(self) -> None:
        self.batches = 0
        self.written_bytes = 0
        self.syncs = 0
        self.sync_seconds = 0.0
        self.sync_seconds_max = 0.0


class Journal:
    """Records on their way to the disk. Used from one thread, with a writer of its own.

    Args:
        writer: an open segment, as `mqd.store.recovery.recover` gives it.
        on_progress: called from the writer thread whenever `written_lsn`, `synced_lsn`,
            `segment_number` or `failure` has moved there. It must not raise or block.
        sync_interval_seconds: how long a write waits for a sync that nobody asks for.
        marker_seconds: how long nothing must have come before the empty batch.
        retry_seconds: how often a full disk is asked again.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        on_progress: Callable[[], None],
        *,
        sync_interval_seconds: float = SYNC_INTERVAL_SECONDS,
        marker_seconds: float = MARKER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.failure: JournalFailed | None = None
        """Why nothing is written any more; None while all is well."""
        self.figures = Figures()
        self._writer = writer
        self._on_progress = on_progress
        self._sync_interval_seconds = sync_interval_seconds
        self._marker_seconds = marker_seconds
        self._retry_seconds = retry_seconds
        self._encoder = RecordEncoder()
        self.append: Callable[[Record], None] = self._encoder.add
        """Take a record to the pending ones; `commit` hands these on."""
        # What follows is shared with the writer thread, under the lock.
        self._lock = threading.Lock()
        self._queue: deque[Load] = deque()
        self.committed_lsn = writer.written_lsn
        """The last batch that holds records; it may not be written yet."""
        self._next_lsn = writer.written_lsn + 1
        self._committed_bytes = 0
        self._sync_wanted_lsn = 0
        self._written_wanted_lsn = 0
        self._seal_lsn = 0  # what has to be in the segments that are to be sealed
        self._in_hand_bytes = 0  # taken off the queue, perhaps not written yet
        self.is_sealing = False
        """Whether a `seal` is still under way."""
        self._unsealed_number = 0  # what that one has to reach
        self._may_seal_within = False
        self._is_closing = False
        self._is_busy = True  # the writer has work in hand, or looks for some
        self._is_asleep = False
        self._is_syncing = False  # the writer syncs, and touches nothing meanwhile
        self._wakes_at = _NEVER
        self._bell = threading.Lock()  # released to wake the writer
        self._bell.acquire()
        # What follows is the writer's own, or written while it does nothing but a sync at most.
        self._data_lsn = writer.written_lsn  # the last batch that is not an empty one
        self._marked_lsn = 0  # the highest synced_upto that was written
        self._unsynced_since = _NEVER
        self._synced_bytes = 0  # of those that are written
        self._inline_write_from = 0.0
        self._sync_pace = SyncPace()
        self._marker_at = time.monotonic() + marker_seconds
        self._retry_at = 0.0
        self._worker = threading.Thread(target=self._run, name="mqd-journal", daemon=True)
        self._worker.start()

    @property
    def written_lsn(self) -> int:
        """All records up to this lsn are in the kernel: they survive the end of the process."""
        return self._writer.written_lsn

    @property
    def synced_lsn(self) -> int:
        """All records up to this lsn are on the disk: they survive loss of power."""
        return self._writer.synced_lsn

    @property
    def segment_number(self) -> int:
        """The segment that is written; all before it are sealed."""
        return self._writer.number

    @property
    def is_full(self) -> bool:
        """Whether the disk has refused to reserve space, and has not given it since."""
        return self._writer.is_full

    @property
    def backlog_bytes(self) -> int:
        """How much has been committed and is not written yet."""
        return self._committed_bytes - self.figures.written_bytes

    def commit(self, level: Level = Level.SYNCED, *, is_alone: bool = False) -> int:
        """Hand the pending records on; called once at the end of a turn of the event loop.

        Args:
            level: the highest level that one of the replies of this turn waits for.
            is_alone: whether nobody waits for anything but this commit: then a disk that is
                quick enough is synced here and now.

        Returns:
            The lsn that `written_lsn` or `synced_lsn` will have reached when the pending
            records, and all before them, have reached that level.

        Raises:
            JournalFailed: nothing is written any more.

        Durability: none by itself; small loads are mostly written when it returns.
        """
        if self.failure is not None:
            raise self.failure
        with self._lock:
            try:
                if not self._encoder.is_empty:
                    self._hand_on(*self._encoder.take())
                lsn = self.committed_lsn
                if level is Level.SYNCED:
                    self._want_sync(lsn, is_alone=is_alone)
                elif level is Level.WRITTEN:
                    self._written_wanted_lsn = lsn
            except BaseException as error:
                # Whatever it was: part of what was applied may be on no record.
                self._fail(error)
                raise self._failed() from error
        return lsn

    def _want_sync(self, lsn: int, *, is_alone: bool) -> None:
        """Have everything up to `lsn` synced. Under the lock."""
        if lsn <= self._sync_wanted_lsn:
            return
        self._sync_wanted_lsn = lsn
        if lsn > self._writer.synced_lsn and not (is_alone and self._sync_inline(lsn)):
            self._wake()

    def has_room(
        self, size_bytes: int, *, is_freeing: bool = False, is_entry: bool = False
    ) -> bool:
        """Tell whether a record may be committed, as far as space on the disk goes.

        Args:
            size_bytes: about how large it is.
            is_freeing: whether it makes the state smaller (PULL, PURGE, DELETE): such
                records may use what is kept for them.
            is_entry: whether it lets somebody in, who may do such things: it may use half of
                what is kept for them.
        """
        writer = self._writer
        if not writer.is_full:
            return True
        with self._lock:
            waiting_bytes = self._waiting_bytes() + self._encoder.size_bytes + 4 * BATCH_BYTES
            if not is_freeing:
                kept_bytes = writer.entry_reserve_bytes if is_entry else writer.reserve_bytes
                waiting_bytes += kept_bytes
            return waiting_bytes + size_bytes <= writer.room_bytes

    def seal(self, *, within: bool = False) -> int:
        """Have the present segment closed and the next one begun.

        Args:
            within: where the disk is full, make the next one of space that the present one
                has left.

        All that was committed before is in segments before `segment_number` once
        `is_sealing` is false again; `on_progress` tells when. On a full disk that may take
        its time.

        Returns:
            The least number that `segment_number` will have then.
        """
        with self._lock:
            self._may_seal_within = within
            self._seal_lsn = self.committed_lsn
            self._unsealed_number = self._writer.number + 1
            self.is_sealing = True
            self._wake()
            return self._unsealed_number

    def close(self) -> None:
        """Write and sync everything that was committed or is pending; blocks for that long.

        Raises:
            JournalFailed: not everything is on the disk.
        """
        with self._lock:
            if self.failure is None and not self._encoder.is_empty:
                self._hand_on(*self._encoder.take())
            self._is_closing = True
            self._wake()
        self._worker.join()
        if self.failure is not None:
            raise self.failure

    def _waiting_bytes(self) -> int:
        return self._in_hand_bytes + sum(load.size_bytes for load in self._queue)

    def _hand_on(self, parts: list[bytes], size_bytes: int) -> None:
        """Write a payload here, or give it to the writer. Under the lock."""
        queue = self._queue
        if queue and queue[-1].size_bytes < MERGE_BYTES:
            load = queue[-1]
            load.parts += parts
            load.size_bytes += size_bytes
            self._committed_bytes += size_bytes
            return
        load = self._new_load(parts, size_bytes)
        self.committed_lsn = load.lsn
        if self._may_write(load.size_bytes):
            self._write_inline(load)
        else:
            queue.append(load)
            self._wake()

    def _may_write(self, size_bytes: int) -> bool:
        """Whether a load may be written by the one who commits it."""
        is_free = self._is_syncing or not self._is_busy
        return (
            is_free
            and not (self._queue or self.is_sealing)
            and size_bytes <= INLINE_BYTES
            and self._writer.fits(size_bytes)
            and (not self._inline_write_from or self._inline_write_from <= time.monotonic())
        )

    def _new_load(self, parts: list[bytes], size_bytes: int) -> Load:
        load = Load(self._next_lsn, parts, size_bytes)
        self._next_lsn += 1
        self._committed_bytes += load.size_bytes
        return load

    def _write_inline(self, load: Load) -> None:
        """Write a load here and now; the writer sleeps or syncs, so its books are kept here."""
        figures = self.figures
        began = time.monotonic()
        self._marked_lsn = self._writer.write_one(load)
        ended = time.monotonic()
        self._inline_write_from = (
            0.0 if ended - began < INLINE_WRITE_SECONDS else ended + SLOW_WRITES_SECONDS
        )
        figures.batches += 1
        figures.written_bytes += load.size_bytes
        self._data_lsn = load.lsn
        if self._unsynced_since == _NEVER:
            self._unsynced_since = began
        if self._sync_due_at() < self._wakes_at:
            self._wake()

    def _sync_due_at(self) -> float:
        """Tell when a sync is due that nobody has asked for, on the monotonic clock; 0 for now."""
        if self.figures.written_bytes - self._synced_bytes >= SYNC_BYTES:
            return 0.0
        return self._unsynced_since + self._sync_interval_seconds

    def _sync_inline(self, lsn: int) -> bool:
        """Sync here, if the writer sleeps and the disk has been quick. Under the lock.

        It spares two changes of threads, which take longer than the sync of a quick disk.
        """
        if self._is_busy or self._writer.written_lsn < lsn:
            return False
        now = time.monotonic()
        is_little = self.figures.written_bytes - self._synced_bytes <= INLINE_SYNC_BYTES
        if not (is_little and self._sync_pace.is_quick(now)):
            return False
        self._sync(now, is_loops=True)
        if self._marker_at < self._wakes_at:
            self._wake()
        return True

    def fail(self, error: JournalFailed) -> None:
        """Write nothing any more, for a reason that somebody else has found."""
        with self._lock:
            if self.failure is None and not self._is_closing:
                self._fail(error)

    def _wake(self) -> None:
        """Wake the writer if it sleeps. Under the lock."""
        if self._is_asleep:
            self._is_asleep = False
            self._bell.release()

    def _note_written(self, loads: tuple[Load, ...]) -> None:
        """Keep books about loads that were written just now."""
        if not loads:
            return
        figures = self.figures
        for load in loads:
            figures.batches += 1
            figures.written_bytes += load.size_bytes
            if load.parts:
                self._data_lsn = load.lsn
        self._marked_lsn = self._writer.synced_lsn
        if self._unsynced_since == _NEVER:
            self._unsynced_since = time.monotonic()

    def _fail(self, error: BaseException) -> None:
        """Note the end. Nothing may be written or synced after it."""
        self.failure = error if isinstance(error, JournalFailed) else _failure_of(error)
        self._wake()

    def _failed(self) -> JournalFailed:
        assert self.failure is not None
        return self.failure

    # The writer thread

    def _run(self) -> None:
        try:
            while self._sleep():
                is_closing = self._is_closing  # if so, nothing is added to the queue any more
                self._work()
                if is_closing:
                    self._finish()
                    break
        except BaseException as error:  # noqa: BLE001  whatever it was, promises have to end
            with self._lock:
                self._fail(error)
        finally:
            with self._lock:
                self._is_busy, self._is_syncing = True, False  # for ever: nobody writes in place
            self._writer.abandon()
            self._on_progress()

    def _sleep(self) -> bool:
        """Wait until there is something to do; False if the journal has failed."""
        with self._lock:
            wakes_at = self._next_work_at()
            is_idle = wakes_at > 0 and not self._is_closing and self.failure is None
            if is_idle:
                self._wakes_at = wakes_at
                self._is_busy = False
                self._is_asleep = True
        if is_idle:
            self._wait(wakes_at)
        with self._lock:
            self._is_busy = True
            self._wakes_at = 0.0
        return self.failure is None

    def _wait(self, wakes_at: float) -> None:
        if wakes_at == _NEVER:
            self._bell.acquire()
            return
        delay = max(0.0, wakes_at - time.monotonic())
        if self._bell.acquire(timeout=min(delay, threading.TIMEOUT_MAX)):
            return
        with self._lock:
            is_ringing = not self._is_asleep
            self._is_asleep = False
        if is_ringing:  # somebody was quicker than the lock
            self._bell.acquire()

    def _next_work_at(self) -> float:
        """Tell when there is something to do, on the monotonic clock; 0 for now."""
        writer = self._writer
        may_reserve = self._may_reserve()
        if self._can_write() or (self.is_sealing and may_reserve):
            return 0.0
        if not writer.has_spare and may_reserve:
            return 0.0
        if self._sync_wanted_lsn > writer.synced_lsn and writer.written_lsn > writer.synced_lsn:
            return 0.0
        wakes_at = self._retry_at if writer.is_full else _NEVER
        if writer.written_lsn > writer.synced_lsn:
            wakes_at = min(wakes_at, self._sync_due_at())
        if self._needs_marker():
            wakes_at = min(wakes_at, self._marker_at)
        return wakes_at

    def _needs_marker(self) -> bool:
        return self._marked_lsn < self._data_lsn <= self._writer.synced_lsn

    def _work(self) -> None:
        """Write what waits, sync if that is due, and say so; then look ahead."""
        before = self._standing()
        now = time.monotonic()
        self._write_queue()
        if before[0] < self._written_wanted_lsn <= self._writer.written_lsn:
            before = self._standing()
            self._on_progress()  # nobody who waits for that alone waits for the sync
        self._sync_if_due(now)
        if self._standing() != before:
            self._on_progress()
        if self.failure is not None:  # somebody's write, beside the sync
            return
        if not self._writer.has_spare and self._may_reserve():
            self._reserve()
        if self._needs_marker() and self._marker_at <= now:
            self._mark()

    def _standing(self) -> tuple[int, int, int]:
        writer = self._writer
        return (writer.written_lsn, writer.synced_lsn, writer.number)

    def _can_write(self) -> bool:
        """Whether the first that waits can be written or tried. Under the lock."""
        queue = self._queue
        return bool(queue) and (self._may_reserve() or self._writer.fits(queue[0].size_bytes))

    def _may_reserve(self) -> bool:
        return not self._writer.is_full or self._retry_at <= time.monotonic()

    def _reserve(self) -> None:
        if not self._writer.prepare_spare():
            self._retry_at = time.monotonic() + self._retry_seconds

    def _write_queue(self) -> None:
        with self._lock:
            loads = tuple(self._queue) if self._can_write() else ()
            if loads:
                self._queue.clear()
                self._in_hand_bytes = sum(load.size_bytes for load in loads)
        done = self._writer.write(loads)
        self._note_written(loads[:done])
        with self._lock:
            self._in_hand_bytes = 0
            self._queue.extendleft(reversed(loads[done:]))
        is_full = done < len(loads)
        if self.is_sealing and not is_full:
            is_full = not self._go_on_sealing()
        if is_full:
            self._retry_at = time.monotonic() + self._retry_seconds

    def _go_on_sealing(self) -> bool:
        """Begin a new segment, if the present one does not do; False if there is no space."""
        has_all = self._writer.written_lsn >= self._seal_lsn
        if has_all and not self._is_sealed() and self._may_reserve() and not self._rotate():
            return False
        with self._lock:
            self.is_sealing = not self._is_sealed()
        return True

    def _is_sealed(self) -> bool:
        writer = self._writer
        return writer.number >= self._unsealed_number and writer.first_lsn > self._seal_lsn

    def _rotate(self) -> bool:
        if self._writer.rotate():
            return True
        may_seal_within, self._may_seal_within = self._may_seal_within, False
        return may_seal_within and self._writer.rotate_within()

    def _sync_if_due(self, now: float) -> None:
        writer = self._writer
        if writer.written_lsn == writer.synced_lsn:
            self._unsynced_since = _NEVER
            self._synced_bytes = self.figures.written_bytes
            return
        if self._sync_due_at() > now and self._sync_wanted_lsn <= writer.synced_lsn:
            return
        with self._lock:
            self._is_syncing = True
        self._sync(time.monotonic())
        with self._lock:
            self._is_syncing = False

    def _sync(self, started: float, *, is_loops: bool = False) -> None:
        """Sync what has been written so far; the writer's own sync has others write meanwhile."""
        writer, figures = self._writer, self.figures
        written_bytes = figures.written_bytes
        self._unsynced_since = _NEVER  # what is written from here on may not be synced
        writer.sync()
        ended = time.monotonic()
        self._sync_pace.note(started, ended, is_loops=is_loops)
        self._synced_bytes = written_bytes
        self._marker_at = ended + self._marker_seconds
        figures.syncs += 1
        figures.sync_seconds += ended - started
        figures.sync_seconds_max = max(figures.sync_seconds_max, ended - started)

    def _mark(self) -> None:
        """Write the empty batch, unless there is something else to write."""
        with self._lock:
            if self._queue or not self._writer.fits(BATCH_BYTES):
                self._marked_lsn = self._data_lsn  # the next batch or segment will say it
                return
            load = self._new_load([], 0)
        self._writer.write((load,))
        self._note_written((load,))

    def _finish(self) -> None:
        """Bring all to an end."""
        with self._lock:
            waiting = len(self._queue)
        if waiting:
            raise OSError(None, f"the disk is full, and {waiting} batches were not written")
        self._writer.sync()
        if self._data_lsn > self._marked_lsn and self._writer.fits(BATCH_BYTES):
            self._mark()
        self._writer.finish()


def _failure_of(error: BaseException) -> JournalFailed:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    failure = JournalFailed(
        f"the journal cannot be written: {reason}; the server stops, since it cannot keep "
        "promises any more: mend the disk and start it again",
        getattr(error, "filename", None),
    )
    failure.__cause__ = error
    return failure
