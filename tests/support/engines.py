"""A local engine on a clock and a disk that do what a test tells them."""

from __future__ import annotations

from mqd.core.broker import Bounds, Broker
from mqd.engine.local import LocalEngine, Settings
from mqd.engine.storage import NEVER_LSN
from mqwire.levels import Level
from mqwire.limits import MAX_FRAME_BYTES

GRACE_MS = 15_000
EPOCH = 7


class Clock:
    def __init__(self):
        self.ms = 1000

    def now_ms(self):
        return self.ms


class Disk:
    """A storage that writes and syncs when it is told to."""

    highest_level = Level.SYNCED
    failure = None
    is_behind = False

    def __init__(self):
        self.records = []
        self.commits = []
        self.was_alone = []
        """Of each commit whether nobody waited for anything else."""
        self.written_lsn = self.synced_lsn = 0
        self.room_bytes = None
        """How much of a record that frees nothing fits; None where the disk is not full."""
        self.entry_bytes = 0
        """And how much of one that lets somebody in."""
        self.is_stuffed = False
        """Whether nothing fits any more, whatever it frees."""

    @property
    def is_full(self):
        return self.room_bytes is not None or self.is_stuffed

    def append(self, record):
        self.records.append(record)

    def commit(self, level, *, is_alone=False):
        self.commits.append(level)
        self.was_alone.append(is_alone)
        return len(self.records) if self.failure is None else NEVER_LSN

    def has_room(self, size_bytes, *, is_freeing=False, is_entry=False):
        if self.is_stuffed:
            return False
        room_bytes = self.entry_bytes if is_entry else self.room_bytes
        return self.room_bytes is None or is_freeing or size_bytes <= room_bytes

    def stats(self):
        return {"journal": {"segments": 1}, "snapshot": None, "recovery": None}


def new_engine(
    clock,
    storage,
    level=Level.SYNCED,
    max_frame_bytes=MAX_FRAME_BYTES,
    *,
    records=None,
    pager=None,
    **settings,
):
    """Return an engine: with the queue `jobs` alone, or as `records` rebuild it."""
    broker = Broker(Bounds(20_000, 1 << 30, 5), pager)
    broker.apply_all(records or ())
    chosen = {"grace_ms": GRACE_MS, "epoch": EPOCH, **settings}
    settings = Settings(max_frame_bytes=max_frame_bytes, level=level, **chosen)
    engine = LocalEngine(broker, storage, clock.now_ms, settings)
    if records is None:
        engine.create("jobs", {}, if_missing=False)
        engine.end_turn(Level.ACCEPTED)
    return engine
