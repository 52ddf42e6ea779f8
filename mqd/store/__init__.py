"""Durability: the journal, snapshots, recovery, and the lock on a data directory. Floor 2.

Knows records as values, and queues only where a snapshot is folded. A data directory:

    lock, fold.lock            who serves, who folds                 mqd.store.dirlock
    segment-0000000001.mqj     the journal, sealed but for the last  mqd.store.segments
    spare.mqj                  space for the next segment
    snapshot-0000000001.mqs    a state, without its history          mqd.store.snapshot

How it is used, from one event loop:

    lock = DirectoryLock(directory)                    # DirectoryLocked: somebody serves it
    fold_lock = DirectoryLock(directory, FOLD_LOCK_NAME); fold_lock.release()
                                                       # no fold of an earlier server runs
    recovered = recover(OsFiles(), directory, broker.apply_all, segment_bytes=...)
                                                       # StorageError: say it, exit
    recovered.epoch, .records, .cut_bytes, .seconds, .warnings, .snapshot_number, .decision
    journal = Journal(recovered.writer, on_progress)   # starts the writer thread
    journal.append(record)                             # any number in a turn of the loop
    lsn = journal.commit(level)                        # once, at the turn's end
    journal.written_lsn, journal.synced_lsn            # a reply leaves when lsn is reached
    journal.failure                                    # not None: close connections, exit
    journal.has_room(size_bytes, is_freeing=False)     # before planning; False: STORAGE_FULL
    journal.backlog_bytes, journal.is_full, journal.figures     # flow control, STATS
    journal.seal()                                     # then, once is_sealing is false again:
    python -m mqd.store.fold DIRECTORY --before SEGMENT_NUMBER     # or fold(files, ...)
    journal.close()                                    # writes and syncs all; may raise

`commit(level)` takes the highest level that a reply of this turn waits for; with nothing
pending it returns the lsn of all that went before, so a reply that rests on earlier
records waits for it in the same way. `commit` raises `JournalFailed` once writing has
failed. `on_progress()` comes from the writer thread and is to be handed to the loop with
`call_soon_threadsafe`; a small load is often written inside `commit`, so `written_lsn` is
to be looked at right after it, too. Levels `accepted` and `written` are synced within a
second.

What it is not: sockets, engines, configuration, deciding when to make a snapshot.
"""

from mqd.store.dirlock import FOLD_LOCK_NAME, LOCK_NAME, DirectoryLock
from mqd.store.errors import (
    DirectoryGone,
    DirectoryLocked,
    DirectoryOccupied,
    DirectoryUnusable,
    ForeignDirectory,
    JournalDamaged,
    JournalFailed,
    RecordRefused,
    SnapshotDamaged,
    SnapshotRefused,
    StorageError,
    UnsupportedFormat,
)
from mqd.store.files import Files, OsFiles
from mqd.store.journal import Journal
from mqd.store.recovery import Recovered, recover
from mqd.store.segments import SEGMENT_BYTES

__all__ = [
    "FOLD_LOCK_NAME",
    "LOCK_NAME",
    "SEGMENT_BYTES",
    "DirectoryGone",
    "DirectoryLock",
    "DirectoryLocked",
    "DirectoryOccupied",
    "DirectoryUnusable",
    "Files",
    "ForeignDirectory",
    "Journal",
    "JournalDamaged",
    "JournalFailed",
    "OsFiles",
    "RecordRefused",
    "Recovered",
    "SnapshotDamaged",
    "SnapshotRefused",
    "StorageError",
    "UnsupportedFormat",
    "recover",
]
