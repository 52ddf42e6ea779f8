"""A disk that survives the server, and the storage in front of it that does not.

`SimStorage` is a `mqd.engine.storage.Storage`: records are encoded as the journal does it, and
become written and synced at times that chance picks. What a crash spares is a prefix of what
was committed: at least what was written (kill) or synced (power), and sometimes more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mqd.core import job_records
from mqd.core.broker import Bounds, Broker
from mqd.engine.base import Snapshot
from mqd.engine.storage import NEVER_LSN, nothing
from mqd.store.recordlog import RecordEncoder, decode, encode
from mqwire.levels import Level
from support.pages import small_pager

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from mqd.core.records import Record
    from simulation.history import History
    from support.virtual_loop import VirtualLoop

BOUNDS = Bounds(max_messages=10_000, max_bytes=2**24, max_queues=20)
SYNC_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """How quick a disk is.

    Args:
        write_seconds: a write takes up to so long.
        sync_seconds: a sync takes up to so long.
        inline: how often a small write is done by the one who commits, at once.
        most_behind: commits that may wait before clients are slowed down.
    """

    write_seconds: float = 0.001
    sync_seconds: float = 0.01
    inline: float = 0.5
    most_behind: int = 1000


class Disk:
    """What survives.

    Args:
        resident_bytes: how much of the bodies lies in memory; 0 for all.
    """

    def __init__(self, resident_bytes: int = 0) -> None:
        self._resident_bytes = resident_bytes
        self.payloads: list[bytes] = []
        self.epoch = 0
        self.snapshots = 0

    def recover(self) -> Broker:
        """Make a broker of what is there."""
        pager = small_pager(self._resident_bytes)[0] if self._resident_bytes else None
        broker = Broker(BOUNDS, pager)
        broker.apply_all(decode(self.payloads))
        return broker

    def fold(self) -> int:
        """Put a snapshot in the place of all that is there; returns its records."""
        exported = list(self.recover().export())
        self.payloads = [encode(exported)]
        self.snapshots += 1
        return len(exported)


class SimStorage:
    """See `mqd.engine.storage.Storage`.

    Args:
        loop: the server's.
        disk: what it stands on; all that is there is synced.
        pace: how quick it is.
        chance: picks times.
        history: is told when leases are given.
    """

    highest_level = Level.SYNCED

    def __init__(
        self, loop: VirtualLoop, disk: Disk, pace: Pace, chance: random.Random, history: History
    ) -> None:
        self.on_progress: Callable[[], None] = nothing
        self.failure: Exception | None = None
        self.is_full = False
        self.pace = pace
        self.epoch = disk.epoch
        self.written_lsn = self.synced_lsn = self._committed_lsn = 0
        self._loop = loop
        self._disk = disk
        self._chance = chance
        self._history = history
        self._encoder = RecordEncoder()
        self._payloads: list[bytes] = []  # the commits of this life, by lsn - 1
        self._folded_lsn = 0  # these are in the disk's payloads already
        self._is_busy = False
        self._sync_wanted_lsn = 0
        self._unsynced_since = 0.0

    # What the engine calls

    @property
    def is_behind(self) -> bool:
        return self._committed_lsn - self.written_lsn > self.pace.most_behind

    def append(self, record: Record, /) -> None:
        self._encoder.add(record)
        if record[0] == job_records.LEASE:
            self._history.grants[record[2], record[3]] = self._history.moment()

    def commit(self, level: Level, *, is_alone: bool = False) -> int:  # noqa: ARG002
        if self.failure is not None:
            return NEVER_LSN
        if not self._encoder.is_empty:
            self._payloads.append(b"".join(self._encoder.take()[0]))
            self._committed_lsn += 1
            if not self._is_busy and self._chance.random() < self.pace.inline:
                self._wrote(self._committed_lsn)
        if level is Level.SYNCED:
            self._sync_wanted_lsn = self._committed_lsn
        self._go_on()
        return self._committed_lsn

    def has_room(
        self,
        size_bytes: int,  # noqa: ARG002
        *,
        is_freeing: bool = False,
        is_entry: bool = False,
    ) -> bool:
        return is_freeing or is_entry or not self.is_full

    async def snapshot(self) -> Snapshot:
        self.commit(Level.SYNCED)
        lsn = self._committed_lsn
        future = self._loop.create_future()
        self._loop.call_later(
            self._chance.uniform(0.01, 0.5) + self.pace.sync_seconds, self._fold, lsn, future
        )
        number, records = await future
        return Snapshot(number, records, 1, 0.1, "snapshot")

    def stats(self) -> dict[str, Any]:
        return {"journal": None, "snapshot": None, "recovery": None}

    # The disk's own life

    def _go_on(self) -> None:
        """Do the next thing, if none is under way."""
        if self._is_busy or self.failure is not None:
            return
        later, uniform = self._loop.call_later, self._chance.uniform
        if self.written_lsn < self._committed_lsn:
            self._is_busy = True
            seconds = uniform(0.0, self.pace.write_seconds)
            later(seconds, self._write_over, self._committed_lsn)
        elif self.synced_lsn < self._sync_wanted_lsn:
            self._is_busy = True
            seconds = uniform(0.0, self.pace.sync_seconds)
            later(seconds, self._sync_over, self.written_lsn)

    def _wrote(self, lsn: int) -> None:
        if self.written_lsn == self.synced_lsn:
            self._loop.call_later(SYNC_INTERVAL_SECONDS, self._sync_soon)
        self.written_lsn = lsn

    def _write_over(self, lsn: int) -> None:
        self._is_busy = False
        if self.failure is None:
            self._wrote(lsn)
            self._progressed()

    def _sync_over(self, lsn: int) -> None:
        self._is_busy = False
        if self.failure is None:
            self.synced_lsn = lsn
            self._progressed()

    def _sync_soon(self) -> None:
        self._sync_wanted_lsn = max(self._sync_wanted_lsn, self.written_lsn)
        self._go_on()

    def _progressed(self) -> None:
        self._go_on()
        self._loop.call_soon(self.on_progress)

    def _fold(self, lsn: int, future: Any) -> None:
        if self.synced_lsn < lsn:  # not before it is there
            self._loop.call_later(0.05, self._fold, lsn, future)
            return
        self._put_down(lsn)
        if not future.done():
            future.set_result((self._disk.snapshots + 1, self._disk.fold()))

    def _put_down(self, lsn: int) -> None:
        """Let commits be on the disk for good."""
        self._disk.payloads += self._payloads[self._folded_lsn : lsn]
        self._folded_lsn = max(self._folded_lsn, lsn)

    def fail(self) -> None:
        """Let the disk break: no write or sync succeeds any more."""
        self.failure = OSError(5, "Input/output error")
        self._loop.call_soon(self.on_progress)

    def end(self, kind: str) -> None:
        """Leave on the disk what an end of this kind leaves; what is uncertain, chance decides."""
        sure = {"kill": self.written_lsn, "power": self.synced_lsn}.get(kind, self._committed_lsn)
        sure = max(sure, self._folded_lsn)
        spared = sure
        if self._chance.random() < 0.6:
            spared = self._chance.randint(sure, self._committed_lsn)
        self._history.note(
            f"disk: {spared} of {self._committed_lsn} commits survive "
            f"({self.written_lsn} written, {self.synced_lsn} synced)"
        )
        self._put_down(spared)
