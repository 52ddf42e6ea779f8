"""When snapshots are made, and by whom: folds in a process of their own.

    due, or asked for --> seal the journal --> fold the sealed segments, in a child process
                                               (mqd.store.fold) --> what came of it

The serving loop only waits for it. A child that outlives the server ends by itself, since
its standard input ends; a child that is killed leaves what the next one removes.

A snapshot is due every so many seconds if anything has changed, and before that when the
journal since the last one has grown past half of the state itself, or the state has shrunk
far below the last one: so the disk holds a small multiple of what is alive.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mqd.children import Child, module_command
from mqd.engine.base import Snapshot
from mqd.store.segments import LEAST_PART_BYTES
from mqd.store.snapshot import snapshot_name
from mqwire.codes import Code
from mqwire.errors import CodedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.store import Journal

_logger = logging.getLogger("mqd.snapshots")

CHECK_SECONDS: Final = 0.25
"""How often it is looked whether a snapshot is due."""

SEAL_SECONDS: Final = 5.0
"""How long a full disk is given to let the journal begin a segment."""

RETRY_SECONDS: Final = 5.0
"""How soon it is tried again on a full disk."""

FOLD_SHARE: Final = 8
"""A fold keeps this part of the bodies in memory that the server may keep."""

MIN_FOLD_BYTES: Final = 1024 * 1024
"""And so much in any case."""

LAST_SECONDS: Final = 30.0
"""How long the snapshot of a clean stop may take; without it the next start reads more."""

TELL_SECONDS: Final = 2.0
"""How often the log says how far that is."""

_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Schedule:
    """When a snapshot is due.

    Args:
        interval_seconds: since the last one, or the last attempt.
        segment_bytes: half of this the journal may grow in any case before it is due earlier.
    """

    interval_seconds: float
    segment_bytes: int

    def is_due(
        self, elapsed_seconds: float, journal_bytes: int, live_bytes: int, last_bytes: int
    ) -> bool:
        """Judge.

        Args:
            elapsed_seconds: since the last snapshot was begun.
            journal_bytes: written since then.
            live_bytes: what the state holds now.
            last_bytes: the size of the last snapshot.
        """
        if not journal_bytes:
            return False
        has_grown = journal_bytes > max(live_bytes, self.segment_bytes) // 2
        has_shrunk = last_bytes > 2 * live_bytes + self.segment_bytes
        return elapsed_seconds >= self.interval_seconds or has_grown or has_shrunk


class Snapshotter:
    """Makes snapshots of one data directory.

    Args:
        directory: the data directory.
        journal: the one that is written there.
        live_bytes: tells how large the state is.
        schedule: when they are due.
        is_stale: whether the journal holds records already that no snapshot has.
        resident_bytes: how much of the messages' bodies the server keeps in memory, about; a
            fold, from which nobody pulls, keeps less. None for all.
    """

    def __init__(
        self,
        directory: str,
        journal: Journal,
        live_bytes: Callable[[], int],
        schedule: Schedule,
        *,
        is_stale: bool,
        resident_bytes: int | None = None,
    ) -> None:
        self._directory = directory
        self._fold_options = ["--until-eof"]
        if resident_bytes is not None:
            share = max(MIN_FOLD_BYTES, resident_bytes // FOLD_SHARE)
            self._fold_options += ["--resident-bytes", str(share)]
        self._journal = journal
        self._live_bytes = live_bytes
        self._schedule = schedule
        self._made = self._failed = 0
        self._was_full = False
        self._last: Snapshot | None = None
        self._last_at = 0.0  # on the monotonic clock, as the next two
        self._begun_at = time.monotonic()
        self._not_before = 0.0
        self._begin_lsn = journal.committed_lsn
        self._covered_lsn = 0 if is_stale else journal.committed_lsn
        self._covered_bytes = -1 if is_stale else 0
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._rotated = asyncio.Event()  # much has come: look at once whether one is due
        self._seen_number = journal.segment_number
        self._next: asyncio.Task[Snapshot] | None = None  # asked for, not begun
        self._making: asyncio.Task[Snapshot] | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look whether one is due."""
        self._watch = loop.create_task(self._run())

    def progressed(self) -> None:
        """Take note that the journal has come further."""
        self._moved.set()
        if self._journal.segment_number != self._seen_number:
            self._seen_number = self._journal.segment_number
            self._rotated.set()

    async def snapshot(self) -> Snapshot:
        """Make one that holds everything that was committed before this call.

        Those who ask before it is begun share it.

        Raises:
            CodedError: SNAPSHOT_FAILED; the data directory is as it was.
        """
        wanted_lsn = self._journal.committed_lsn
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._make())
            self._next.add_done_callback(_look_at)
        made = await asyncio.shield(self._next)
        if self._covered_lsn < wanted_lsn:
            raise _failed("the disk is full, and the newest changes are not in it")
        return made

    async def stop(self, hurry: asyncio.Event) -> None:
        """Make a last one if anything has changed, and none after it.

        Args:
            hurry: when it is set nobody waits any more.
        """
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        has_served = self._journal.committed_lsn > self._begin_lsn
        has_news = has_served and self._has_changed()
        if has_news and self._journal.failure is None and not await self._made_last(hurry):
            why = "as asked" if hurry.is_set() else f"it takes more than {LAST_SECONDS:g} s"
            _logger.warning(
                "the last snapshot is left out (%s): the journal holds everything, and the next "
                "start reads more of it",
                why,
            )
        for task in (self._next, self._making):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _made_last(self, hurry: asyncio.Event) -> bool:
        """Make the last one, and say what takes so long; return False if it was given up."""
        if hurry.is_set():
            return False
        _logger.info("a last snapshot is made for a quick start; a second signal leaves it out")
        begun_at = time.monotonic()
        last = asyncio.ensure_future(self.snapshot())
        hurried = asyncio.ensure_future(hurry.wait())
        left = LAST_SECONDS
        while not last.done() and not hurried.done() and left > 0:
            await asyncio.wait(
                {last, hurried},
                timeout=min(TELL_SECONDS, left),
                return_when=asyncio.FIRST_COMPLETED,
            )
            elapsed = time.monotonic() - begun_at
            left = LAST_SECONDS - elapsed
            if not last.done() and not hurried.done() and left > 0:
                _logger.info("the last snapshot: %s, after %.0f s", self._stage(), elapsed)
        is_over = last.done()
        hurried.cancel()
        last.cancel()
        with suppress(CodedError, asyncio.CancelledError):  # it is logged where it is made
            await last
        return is_over

    def _stage(self) -> str:
        """Say roughly how far a fold is, which first reads and then writes."""
        written_bytes = 0
        for path in Path(self._directory).glob("snapshot-*.tmp"):
            with suppress(FileNotFoundError):  # it has its name by now
                written_bytes += path.stat().st_size
        live_bytes = self._live_bytes()
        if not written_bytes:
            return f"reading what there is, about {live_bytes // _MIB} MiB of messages"
        return f"{written_bytes // _MIB} MiB of about {live_bytes // _MIB} MiB written"

    def stats(self) -> dict[str, Any]:
        """Return the part `snapshot` of STATS."""
        last = self._last
        return {
            "number": last.number if last else 0,
            "records": last.records if last else 0,
            "bytes": last.size_bytes if last else 0,
            "seconds": last.seconds if last else 0.0,
            "age_seconds": time.monotonic() - self._last_at if last else None,
            "made": self._made,
            "failed": self._failed,
            "is_running": self._lock.locked(),
        }

    def _has_changed(self) -> bool:
        return self._journal.committed_lsn > self._covered_lsn

    async def _run(self) -> None:
        longest = min(CHECK_SECONDS, self._schedule.interval_seconds)
        while True:
            await _until_set(self._rotated, longest)
            self._rotated.clear()
            self._tell_space()
            if self._is_due():
                with suppress(CodedError):  # it is logged where it is made
                    await self.snapshot()

    def _tell_space(self) -> None:
        """Log when the disk has become full, and when there is space again."""
        is_full = self._journal.is_full
        if is_full and not self._was_full:
            _logger.error(
                "the disk of %s is full: pushes may be refused with STORAGE_FULL, pulls go on; "
                "make space there, or have messages pulled",
                self._directory,
            )
        elif self._was_full and not is_full:
            _logger.warning("the disk of %s has space again: pushes go on", self._directory)
        self._was_full = is_full

    def _is_due(self) -> bool:
        now = time.monotonic()
        if not self._has_changed() or now < self._not_before:
            return False
        journal = self._journal
        return journal.is_full or self._schedule.is_due(
            now - self._begun_at,
            journal.figures.written_bytes - self._covered_bytes,
            self._live_bytes(),
            self._last.size_bytes if self._last else 0,
        )

    async def _make(self) -> Snapshot:
        async with self._lock:
            self._making, self._next = self._next, None  # who asks from here on wants a later one
            self._begun_at = started = time.monotonic()
            covered_bytes = self._journal.figures.written_bytes
            if self._last is not None and not self._has_changed():
                return self._last
            try:
                figures = await self._fold(await self._sealed())
            except Exception as error:
                raise self._note_failure(error) from error
            self._covered_bytes, self._covered_lsn = covered_bytes, figures["covered_lsn"]
            return self._note_success(figures, time.monotonic() - started)

    def _note_failure(self, error: Exception) -> CodedError:
        self._failed += 1
        pause = self._schedule.interval_seconds
        if self._journal.is_full:
            pause = min(pause, RETRY_SECONDS)
        self._not_before = time.monotonic() + pause
        if isinstance(error, OSError):
            error = _failed(f"the process that makes it cannot be started: {error.strerror}")
        elif not isinstance(error, CodedError):
            error = _failed(f"the server failed while making it: {error!r}")
        _logger.error("%s", error.message)
        return error

    def _note_success(self, figures: dict[str, Any], seconds: float) -> Snapshot:
        number = figures["snapshot"]
        path = f"{self._directory}/{snapshot_name(number)}"
        self._last = Snapshot(number, figures["records"], figures["bytes"], seconds, path)
        self._last_at = time.monotonic()
        self._made += 1
        _logger.info(
            "snapshot %d: %d records, %d bytes, in %.2f s",
            number,
            figures["records"],
            figures["bytes"],
            seconds,
        )
        return self._last

    async def _sealed(self) -> int:
        """Have the journal begin a new segment, and return its number.

        On a full disk that is made of what the present one has left, if the state has become
        so small that its snapshot will fit; what cannot be sealed is left out of it.
        """
        journal = self._journal
        if journal.is_full and not self._has_space():
            return journal.segment_number
        journal.seal(within=True)
        ends_at = time.monotonic() + SEAL_SECONDS
        while journal.is_sealing:
            if journal.failure is not None:
                raise _failed("the journal cannot be written any more")
            if journal.is_full and time.monotonic() > ends_at:
                return journal.segment_number
            self._moved.clear()
            await _until_set(self._moved, CHECK_SECONDS)
        return journal.segment_number

    def _has_space(self) -> bool:
        """Tell whether a snapshot of the state as it is now will fit on the disk."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize + LEAST_PART_BYTES > 2 * self._live_bytes()

    async def _fold(self, before: int) -> dict[str, Any]:
        """Run a fold in a process of its own, and return what it says it has done."""
        arguments = (self._directory, "--before", str(before), *self._fold_options)
        async with Child(module_command("mqd.store.fold", *arguments)) as process:
            output, code = await process.output()
        try:
            figures: dict[str, Any] = json.loads(output)
        except ValueError:
            figures = {"error": f"its process ended with code {code}"}
        for sentence in figures.pop("warnings", ()):
            _logger.warning("the process that makes snapshots says: %s", sentence)
        if code:
            raise _failed(figures.get("error", "its process has not said why"))
        return figures


async def _until_set(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, for so long at most.

    Cancellation: always comes through. `wait_for` hides one that comes with the event, before
    Python 3.12; then who has cancelled a loop around it would wait for its end for ever.
    """
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()


def _failed(reason: str) -> CodedError:
    return CodedError(
        Code.SNAPSHOT_FAILED,
        f"no snapshot was made: {reason}; the journal holds everything all the same",
        {},
    )


def _look_at(task: asyncio.Task[Snapshot]) -> None:
    """Take note of how a task has ended, also where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
