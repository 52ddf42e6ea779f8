"""A backup becomes a data directory.

A backup is one file: a snapshot, whatever its name is. The order:

    read        the backup, from end to end, up to the last record
    refuse      a directory that holds anything of ours
    begin       the segment that comes after the snapshot, without a batch
    write       the snapshot, synced, renamed, read back

A crash before the segment has its name leaves a directory that is new; one before the
snapshot has its name leaves a segment alone, whose number is never 1, so that a start
refuses it; and nobody has been told yet that there is anything. The next restore sees that
such leavings hold no record, and removes them.

A restored directory is a new history: it gets a store id of its own, so that no file of
the old one is taken for one of it, and an epoch that the old one cannot have come to.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from mqd.core.broker import Broker
from mqd.core.salvage import NO_BOUNDS
from mqd.store import snapshot as snapshots
from mqd.store.contents import Contents, contents_of
from mqd.store.errors import (
    DirectoryOccupied,
    DirectoryUnusable,
    ForeignDirectory,
    RecordRefused,
    SnapshotDamaged,
    UnsupportedFormat,
)
from mqd.store.inventory import FileKind, take
from mqd.store.reading import BatchReader
from mqd.store.readonly import ReadOnlyFiles
from mqd.store.recordlog import FORMAT_VERSION, ID_BYTES, SNAPSHOT_MAGIC, HeaderFault
from mqd.store.segments import SPARE_NAME, Identity, SegmentWriter, segment_name
from mqd.store.snapshot import Place, snapshot_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.core.records import Record
    from mqd.store.files import Files
    from mqd.store.inventory import FileEntry, Inventory
    from mqd.store.snapshot import SnapshotInfo

FIRST_NUMBER = 2
"""Least number of a segment that is made beside a snapshot: one that is found alone is never
taken for the beginning of a journal."""


@dataclass
class Backup:
    """A backup that is sound from its first to its last record."""

    path: str
    info: SnapshotInfo
    broker: Broker = field(repr=False)

    @cached_property
    def contents(self) -> Contents:
        """How much it holds."""
        return contents_of(self.broker)


class Restored(NamedTuple):
    """What a restore has made."""

    snapshot: SnapshotInfo
    removed: list[str]
    """Leavings of an earlier restore that are gone."""


def read_backup(files: Files, path: str) -> Backup:
    """Read a backup from end to end, and rebuild the state that it holds.

    Changes nothing. Memory: the state.

    Raises:
        DirectoryUnusable: the file cannot be read.
        ForeignDirectory: it is no backup.
        UnsupportedFormat: another version has written it.
        SnapshotDamaged: not all of it is sound.
        RecordRefused: a record in it cannot be applied.
    """
    try:
        number = _number_of(files, path)
        aliased = ReadOnlyFiles(files, aliases={f"/{snapshot_name(number)}": path})
        info = snapshots.verify(aliased, "", number)
        broker = Broker(NO_BOUNDS)
        for records in snapshots.load(aliased, "", info):
            _apply(broker, records, path)
    except SnapshotDamaged as error:
        raise _damaged(path, error.offset or 0) from error
    except OSError as error:
        raise DirectoryUnusable(
            f"the backup {path} cannot be read: {error.strerror or error}; check the path and who "
            "may read it",
            path,
        ) from error
    return Backup(path, info, broker)


def _number_of(files: Files, path: str) -> int:
    """Return the number in a backup's header."""
    reader = BatchReader(files, path, SNAPSHOT_MAGIC, first_lsn=1)
    reader.close()
    if reader.header is not None:
        return reader.header.number
    if reader.fault is HeaderFault.FOREIGN:
        raise ForeignDirectory(
            f"{path} is no backup: give a file that `mqctl backup` has written, or a snapshot of a "
            "data directory",
            path,
            0,
        )
    if reader.fault is HeaderFault.OTHER_VERSION:
        raise UnsupportedFormat(
            f"the backup {path} was written in a format that this version does not read (it reads "
            f"{FORMAT_VERSION}): restore it with the version that wrote it",
            path,
            8,
        )
    raise _damaged(path, 0)


def _damaged(path: str, offset: int) -> SnapshotDamaged:
    return SnapshotDamaged(
        f"the backup {path} is damaged at byte {offset}; nothing was restored: take another "
        "backup, or copy this one again from where it was kept",
        path,
        offset,
    )


def _apply(broker: Broker, records: list[Record], path: str) -> None:
    try:
        broker.apply_all(records)
    except Exception as error:
        raise RecordRefused(
            f"a record in the backup {path} has a good checksum and cannot be applied ({error!r}); "
            "nothing was restored: restore it with the version that wrote it",
            path,
        ) from error


def check_target(files: Files, directory: str) -> list[FileEntry]:
    """Make sure that a directory holds nothing of ours, but for what a restore has left.

    Args:
        files: the file operations.
        directory: where to restore to; it may be missing.

    Returns:
        The leavings, in an order in which they may go; they hold no record.

    Raises:
        DirectoryOccupied: it holds something.
        DirectoryUnusable: it is no directory, or cannot be read.
    """
    try:
        entries = take(files, directory).entries
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DirectoryUnusable(
            f"{directory} cannot be restored to: {error.strerror or error}; give a directory of "
            "your own, or a path where there is nothing yet",
            directory,
        ) from error
    occupants = [entry.name for entry in entries if not _is_leaving(entry)]
    if occupants:
        more = f" and {len(occupants) - 1} more" if len(occupants) > 1 else ""
        raise DirectoryOccupied(
            f"{directory} holds a data directory already ({occupants[0]}{more}); nothing was "
            "changed: restore to a new directory, or move those files away first",
            directory,
        )
    return sorted(entries, key=lambda entry: entry.kind is FileKind.SEGMENT)


def _is_leaving(entry: FileEntry) -> bool:
    """Tell whether a file is what a restore may leave: one that holds no record."""
    if entry.kind is FileKind.LEAVING:
        return True
    has_bytes = bool(entry.extents or entry.bad) or entry.tail.start < entry.tail.end
    is_begun = entry.kind is FileKind.SEGMENT and entry.header is not None
    return is_begun and not has_bytes and entry.number >= FIRST_NUMBER


def is_unfinished(inventory: Inventory) -> bool:
    """Tell whether a directory is what a restore that was interrupted has left."""
    entries = inventory.entries
    has_segment = any(entry.kind is FileKind.SEGMENT for entry in entries)
    return has_segment and all(map(_is_leaving, entries))


def restore(files: Files, backup: Backup, directory: str, now_seconds: float) -> Restored:
    """Make a data directory of a backup.

    The caller holds the directory's lock.

    Args:
        files: the file operations.
        backup: as `read_backup` gives it.
        directory: is there.
        now_seconds: the wall clock.

    Durability: the whole directory is on the disk when it returns.

    Raises:
        DirectoryOccupied: it holds something; nothing was changed.
        OSError: the disk has refused something; what was made is gone again if that was
            possible.
        SnapshotDamaged: what was written does not read back; as above.
    """
    leavings = check_target(files, directory)
    for entry in leavings:
        files.unlink(f"{directory}/{entry.name}")
    info = backup.info
    identity = new_identity(info.identity.epoch, now_seconds)
    place = Place(info.number, info.covered_lsn, max(info.first_segment, FIRST_NUMBER))
    made = establish(files, directory, backup.broker.export(), place, identity)
    return Restored(made, [entry.name for entry in leavings])


def new_identity(known_epoch: int, now_seconds: float) -> Identity:
    """Return the identity of a history that goes on from another one.

    Its epoch has to be one that the old history has not come to, whatever happened after
    what is known of it: an epoch is part of what must never be given twice. So it is taken
    from the clock, in seconds; no server is started more often than that.
    """
    return Identity(secrets.token_bytes(ID_BYTES), max(known_epoch + 1, int(now_seconds)))


def establish(
    files: Files, directory: str, records: Iterable[Record], place: Place, identity: Identity
) -> SnapshotInfo:
    """Write a segment without a batch, and then the snapshot that comes before it.

    Args:
        files: the file operations.
        directory: holds nothing of ours.
        records: what rebuilds the state; consumed as it is written.
        place: where the snapshot stands.
        identity: of both files.

    Durability and errors: as `restore`.
    """
    assert place.first_segment >= FIRST_NUMBER
    writer = SegmentWriter(files, directory, identity, segment_bytes=0)
    try:
        writer.begin(place.first_segment, place.covered_lsn + 1)
        writer.finish()
        return snapshots.write(files, directory, records, place, identity)
    except BaseException:
        writer.abandon()
        names = (snapshot_name(place.number), segment_name(place.first_segment), SPARE_NAME)
        for name in names:
            with suppress(OSError):  # the disk may be in no state to be tidy
                files.unlink(f"{directory}/{name}")
        raise
