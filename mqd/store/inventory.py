"""Every file of a data directory, judged by itself.

A start stops at the first thing that is wrong; this looks at everything, so that whoever
has to mend the directory sees all of it, and a salvage knows what there is.

What it is not: whether the files go together (`mqd.store.remains`), or what a start would
say (`mqd.store.checking`, which asks a start).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.store import snapshot as snapshots
from mqd.store.errors import SnapshotDamaged
from mqd.store.pieces import NO_BYTES, ByteRange, Pieces
from mqd.store.readonly import ReadOnlyFiles
from mqd.store.recordlog import (
    SEGMENT_MAGIC,
    SNAPSHOT_MAGIC,
    HeaderFault,
    decode,
)
from mqd.store.segments import SPARE_NAME, segment_name, segment_number
from mqd.store.snapshot import CONTROL, is_temporary, snapshot_name, snapshot_number

if TYPE_CHECKING:
    from mqd.core.records import Record
    from mqd.store.files import Files
    from mqd.store.recordlog import Header, Scan
    from mqd.store.snapshot import SnapshotInfo

_SEGMENT_ENDING: Final = ".mqj"
_SNAPSHOT_ENDING: Final = ".mqs"


class FileKind(Enum):
    """What a file is, by its name."""

    SNAPSHOT = "snapshot"
    SEGMENT = "segment"
    LEAVING = "leaving"


class FileState(Enum):
    """What is the matter with a file."""

    SOUND = "sound"
    TAIL = "bytes behind the last batch"
    DAMAGED = "damaged"
    NO_HEADER = "its header is damaged"
    FOREIGN = "none of our files"
    OTHER_VERSION = "of another format version"
    MISNAMED = "has another file's name"
    OTHER_STORE = "of another data directory"
    UNREADABLE = "cannot be read"
    UNFINISHED = "was never finished"


_USELESS: Final = frozenset(
    {
        FileState.FOREIGN,
        FileState.OTHER_VERSION,
        FileState.OTHER_STORE,
        FileState.UNREADABLE,
        FileState.UNFINISHED,
    }
)


class Extent(NamedTuple):
    """Sound batches in a row."""

    offset: int
    end_offset: int
    first_lsn: int
    next_lsn: int


@dataclass
class FileEntry:
    """What was found of one file."""

    name: str
    kind: FileKind
    state: FileState = FileState.SOUND
    size_bytes: int = 0
    number: int = 0
    """By its header, or by its name where the header is damaged; 0 for none."""
    header: Header | None = None
    extents: list[Extent] = field(default_factory=list)
    bad: list[ByteRange] = field(default_factory=list)
    """Where nothing sound is, between sound batches or before them."""
    tail: ByteRange = NO_BYTES
    """Bytes behind the last sound batch, up to the last that is not zero."""
    synced_upto: int = 0
    """The highest lsn that one of its batches says was on the disk."""
    info: SnapshotInfo | None = None
    """Of a snapshot that is sound from end to end."""
    first_segment: int = 0
    """The segment that comes after a snapshot; 0 if that is not known."""
    is_ended: bool = False
    """Whether a snapshot's last batch is the one that counts the others, rightly."""
    reason: str = ""
    """What the operating system says, of a file that cannot be read."""

    @property
    def has_use(self) -> bool:
        """Whether there is anything in it that a salvage can take."""
        return self.state not in _USELESS and (bool(self.extents) or self.header is not None)

    @property
    def first_lsn(self) -> int:
        """The lsn that a segment begins with, or that comes after a snapshot; 0 if unknown."""
        if self.header is not None:
            return self.header.first_lsn
        if self.kind is FileKind.SEGMENT and self.extents:
            return self.extents[0].first_lsn
        return 0

    @property
    def next_lsn(self) -> int:
        """The lsn after the last sound batch of a segment; 0 if unknown."""
        return self.extents[-1].next_lsn if self.extents else self.first_lsn

    @property
    def batches(self) -> int:
        """How many sound batches there are."""
        return sum(extent.next_lsn - extent.first_lsn for extent in self.extents)

    @property
    def sound_bytes(self) -> int:
        """How large the sound batches are together."""
        return sum(extent.end_offset - extent.offset for extent in self.extents)


@dataclass
class Inventory:
    """All files of ours in a directory, snapshots first, each kind by number."""

    directory: str
    entries: list[FileEntry] = field(default_factory=list)
    store_id: bytes = b""
    """The one that most files have; empty where there is none."""

    def of_kind(self, kind: FileKind) -> list[FileEntry]:
        """Return the files of a kind."""
        return [entry for entry in self.entries if entry.kind is kind]

    @property
    def epoch(self) -> int:
        """The highest that a file says; 0 for none."""
        return max((each.header.epoch for each in self.entries if each.header), default=0)


def take(files: Files, directory: str) -> Inventory:
    """Look at every file of a directory that has, or may have, one of our names.

    Reads all of them; changes nothing.

    Raises:
        OSError: the directory itself cannot be read.
    """
    entries = []
    for name in files.names(directory):
        kind = _kind_of(name)
        if kind is not None:
            entries.append(_judge(files, directory, FileEntry(name, kind)))
    ids = Counter(entry.header.store_id for entry in entries if entry.header is not None)
    inventory = Inventory(directory, entries)
    if ids:
        inventory.store_id = ids.most_common(1)[0][0]
    for entry in entries:
        if entry.header is not None and entry.header.store_id != inventory.store_id:
            entry.state = FileState.OTHER_STORE
    kinds = list(FileKind)
    entries.sort(key=lambda entry: (kinds.index(entry.kind), entry.number, entry.name))
    return inventory


def _kind_of(name: str) -> FileKind | None:
    if name == SPARE_NAME or is_temporary(name):
        return FileKind.LEAVING
    if name.endswith(_SEGMENT_ENDING):
        return FileKind.SEGMENT
    return FileKind.SNAPSHOT if name.endswith(_SNAPSHOT_ENDING) else None


def named_number(entry: FileEntry) -> int | None:
    """Return the number in a file's name; None if the name is none of ours."""
    is_snapshot = entry.kind is FileKind.SNAPSHOT
    return snapshot_number(entry.name) if is_snapshot else segment_number(entry.name)


def _judge(files: Files, directory: str, entry: FileEntry) -> FileEntry:
    entry.number = named_number(entry) or 0
    try:
        if entry.kind is FileKind.LEAVING:
            entry.state = FileState.UNFINISHED
            entry.size_bytes = _size_bytes(files, f"{directory}/{entry.name}")
        else:
            _read(files, directory, entry)
    except OSError as error:
        entry.state = FileState.UNREADABLE
        entry.reason = error.strerror or str(error)
    return entry


def _size_bytes(files: Files, path: str) -> int:
    handle = files.open(path)
    try:
        return files.size_bytes(handle)
    finally:
        files.close(handle)


def _read(files: Files, directory: str, entry: FileEntry) -> None:
    is_snapshot = entry.kind is FileKind.SNAPSHOT
    magic = SNAPSHOT_MAGIC if is_snapshot else SEGMENT_MAGIC
    pieces = Pieces(files, f"{directory}/{entry.name}", magic)
    try:
        for run in pieces.runs():
            _add_extent(entry, run.offset, run.end_offset, run.scan.first_lsn, run.scan.next_lsn)
            entry.synced_upto = max(entry.synced_upto, run.scan.synced_upto)
            if is_snapshot:
                _read_control(entry, run.scan)
    finally:
        pieces.close()
    entry.size_bytes = pieces.size_bytes
    entry.header, entry.bad, entry.tail = pieces.header, pieces.bad, pieces.tail
    if entry.header is not None:
        entry.number = entry.header.number
    entry.state = _state(entry, pieces.fault)
    if is_snapshot and entry.header is not None:
        _verify(files, directory, entry, entry.header)


def _add_extent(entry: FileEntry, offset: int, end: int, first_lsn: int, next_lsn: int) -> None:
    if entry.extents:
        last = entry.extents[-1]
        if (last.end_offset, last.next_lsn) == (offset, first_lsn):
            entry.extents[-1] = last._replace(end_offset=end, next_lsn=next_lsn)
            return
    entry.extents.append(Extent(offset, end, first_lsn, next_lsn))


def _read_control(entry: FileEntry, scan: Scan) -> None:
    """Take from a snapshot's batches what it says about itself."""
    if scan.first_lsn == 1:
        first = _control(scan.payloads[0], 2)
        entry.first_segment = first[1] if first else 0
    last = _control(scan.payloads[-1], 3)
    entry.is_ended = bool(last) and last[1] == scan.next_lsn - 2


def _control(payload: bytes | memoryview, size: int) -> Record:
    """Return a snapshot's own record, or nothing if it is not that."""
    try:
        found = decode([payload])
    except ValueError:
        return ()
    is_control = len(found) == 1 and len(found[0]) == size and found[0][0] == CONTROL
    return found[0] if is_control and isinstance(found[0][1], int) else ()


def _state(entry: FileEntry, fault: HeaderFault | None) -> FileState:
    if fault is HeaderFault.OTHER_VERSION:
        return FileState.OTHER_VERSION
    if fault is HeaderFault.FOREIGN and not entry.extents:
        return FileState.FOREIGN
    if fault is not None:
        return FileState.NO_HEADER
    if len(entry.extents) > 1 or entry.bad:
        return FileState.DAMAGED
    if named_number(entry) != entry.number:
        return FileState.MISNAMED
    return FileState.TAIL if entry.tail.start < entry.tail.end else FileState.SOUND


def _verify(files: Files, directory: str, entry: FileEntry, header: Header) -> None:
    """Hold a snapshot against what a start would demand of it."""
    name = snapshot_name(header.number)
    found = {f"{directory}/{name}": f"{directory}/{entry.name}"}
    try:
        entry.info = snapshots.verify(
            ReadOnlyFiles(files, aliases=found), directory, header.number, decodes_all=True
        )
    except SnapshotDamaged:
        entry.state = FileState.DAMAGED


def name_of(entry: FileEntry) -> str:
    """Return the name that a file should have by its header."""
    is_snapshot = entry.kind is FileKind.SNAPSHOT
    return snapshot_name(entry.number) if is_snapshot else segment_name(entry.number)
