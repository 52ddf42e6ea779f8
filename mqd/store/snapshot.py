"""Snapshots: the whole state as records, in one file.

A snapshot has the form of `mqd.store.recordlog`: a header whose first lsn is the first
that is not in it, and batches numbered from 1:

    +--------+---------------------------+-------------+-----+--------------------------+
    | header | (CONTROL, first segment)  | records ... | ... | (CONTROL, batches,       |
    |        |                           |             |     |  records)                |
    +--------+---------------------------+-------------+-----+--------------------------+

The last batch counts the others, so a snapshot that was cut anywhere shows it. A file is
written under a temporary name, synced, renamed, its name synced, and then read back;
nothing that it replaces goes before that.

What it is not: choosing what to load and what to remove. See `mqd.store.recovery` and
`mqd.store.fold`.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.store.errors import ADVICE_FOR_DAMAGE, ForeignDirectory, SnapshotDamaged
from mqd.store.reading import BatchReader, judge_header
from mqd.store.recordlog import (
    ID_BYTES,
    SNAPSHOT_MAGIC,
    Header,
    RecordEncoder,
    Stop,
    decode,
    encode_batch,
    encode_header,
)
from mqd.store.segments import Identity, identity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mqd.core.records import Record
    from mqd.store.files import Files

CONTROL: Final = 0
"""Kind of the records that are the snapshot's own."""

_BATCH_RECORDS: Final = 1024
_BATCH_BYTES: Final = 1024 * 1024
_is_snapshot: Final = re.compile(r"snapshot-([0-9]{10,18})\.mqs").fullmatch
_is_temporary: Final = re.compile(r"snapshot-[0-9]{10,18}\.tmp").fullmatch


def snapshot_name(number: int) -> str:
    """Return the name of a snapshot; numbers count up from 1."""
    return f"snapshot-{number:010d}.mqs"


def snapshot_number(name: str) -> int | None:
    """Return the number in a snapshot's name, or None for any other name."""
    match = _is_snapshot(name)
    return None if match is None else int(match[1])


def is_temporary(name: str) -> bool:
    """Tell whether a file is a snapshot that was never finished."""
    return _is_temporary(name) is not None


class SnapshotInfo(NamedTuple):
    """A snapshot that is sound from its first to its last byte."""

    number: int
    first_lsn: int
    """The first that is not in it."""
    first_segment: int
    """The segment that begins with that lsn."""
    identity: Identity
    records: int
    size_bytes: int

    @property
    def covered_lsn(self) -> int:
        """The last lsn that is in it."""
        return self.first_lsn - 1


class Place(NamedTuple):
    """Where in the journal a snapshot stands."""

    number: int
    covered_lsn: int
    first_segment: int


def write(
    files: Files, directory: str, records: Iterable[Record], place: Place, identity: Identity
) -> SnapshotInfo:
    """Write a snapshot and read it back.

    Args:
        files: the file operations.
        directory: the data directory.
        records: what rebuilds the state; consumed as it is written.
        place: its number, the last lsn in it, and the segment that comes after it.
        identity: whose state it is.

    Durability: content and name are synced when it returns; nothing else has changed.

    Raises:
        OSError: it could not be written; the temporary file is gone if that was possible.
        SnapshotDamaged: what was written does not read back; the file is gone.
    """
    path = f"{directory}/{snapshot_name(place.number)}"
    temporary = path.removesuffix(".mqs") + ".tmp"
    handle = files.create(temporary)
    try:
        try:
            _write_batches(files, handle, records, place, identity)
            files.sync(handle)
        finally:
            files.close(handle)
        files.rename(temporary, path)
    except BaseException:
        _remove(files, temporary)
        raise
    files.sync_directory(directory)
    try:
        return verify(files, directory, place.number, decodes_all=True)
    except SnapshotDamaged:
        _remove(files, path)
        raise


def _remove(files: Files, path: str) -> None:
    with suppress(OSError):  # the disk may be in no state to be tidy; the next fold tries again
        files.unlink(path)


def _write_batches(
    files: Files, handle: int, records: Iterable[Record], place: Place, identity: Identity
) -> None:
    file_id = secrets.token_bytes(ID_BYTES)
    first_lsn = place.covered_lsn + 1
    header = Header(place.number, first_lsn, identity.epoch, identity.store_id, file_id)
    head = encode_header(SNAPSHOT_MAGIC, header)
    files.write(handle, 0, [head])
    offset = len(head)
    batches = count = 0
    for number, (parts, parts_count) in enumerate(_payloads(records, place.first_segment), 1):
        batches, count = number, count + parts_count
        offset += _put(files, handle, offset, encode_batch(number, 0, file_id, parts))
    encoder = RecordEncoder()
    encoder.add((CONTROL, batches, count))
    _put(files, handle, offset, encode_batch(batches + 1, 0, file_id, encoder.take()[0]))


def _put(files: Files, handle: int, offset: int, parts: list[bytes]) -> int:
    files.write(handle, offset, parts)
    return sum(map(len, parts))


def _payloads(records: Iterable[Record], first_segment: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield the parts of each payload, and how many of the state's records are in it."""
    encoder = RecordEncoder()
    encoder.add((CONTROL, first_segment))
    yield encoder.take()[0], 0
    source = iter(records)
    while True:
        count = 0
        for record in islice(source, _BATCH_RECORDS):
            encoder.add(record)
            count += 1
            if encoder.size_bytes >= _BATCH_BYTES:
                break
        if not count:
            return
        yield encoder.take()[0], count


def verify(files: Files, directory: str, number: int, *, decodes_all: bool = False) -> SnapshotInfo:
    """Read a snapshot from end to end, and check its form.

    Args:
        files: the file operations.
        directory: where it is.
        number: its number.
        decodes_all: whether each record is decoded too, which takes several times as long.
            What its checksums say is sound was written so; but it may have been written wrong.

    Raises:
        SnapshotDamaged: not all of it is sound.
        ForeignDirectory: it is no snapshot.
        UnsupportedFormat: another version has written it.
    """
    reader = _open(files, directory, number)
    try:
        return _verify(reader, number, decodes_all=decodes_all)
    finally:
        reader.close()


def _verify(reader: BatchReader, number: int, *, decodes_all: bool) -> SnapshotInfo:
    first_payload = last_payload = b""
    for run in reader.runs():
        if decodes_all and not _reads(run.payloads):
            raise damaged(reader.path, reader.offset)
        first_payload = first_payload or bytes(run.payloads[0])
        last_payload = bytes(run.payloads[-1])
    try:
        first, last = decode([first_payload]), decode([last_payload])
    except ValueError:
        first = last = []
    batches = reader.next_lsn - 2
    header = reader.header
    assert header is not None
    is_begun = len(first) == 1 and len(first[0]) == 2 and first[0][0] == CONTROL
    is_ended = len(last) == 1 and len(last[0]) == 3 and last[0][:2] == (CONTROL, batches)
    if not (is_begun and is_ended and reader.why_stopped is Stop.END):
        raise damaged(reader.path, reader.offset)
    if header.number != number:
        raise ForeignDirectory(
            f"{reader.path} was written as number {header.number}: give it its name back",
            reader.path,
            0,
        )
    identity = identity_of(header)
    return SnapshotInfo(number, header.first_lsn, first[0][1], identity, last[0][2], reader.offset)


def _reads(payloads: Sequence[bytes | memoryview]) -> bool:
    """Tell whether batches hold records, each for itself."""
    try:
        for payload in payloads:
            decode([payload])
    except ValueError:
        return False
    return True


def load(files: Files, directory: str, info: SnapshotInfo) -> Iterator[list[Record]]:
    """Yield the records of a snapshot that was verified, some at a time.

    Raises:
        SnapshotDamaged: it does not read as it did before.
    """
    reader = _open(files, directory, info.number)
    count = 0
    try:
        for run in reader.runs():
            try:
                found = decode(run.payloads)
            except ValueError as error:
                raise damaged(reader.path, reader.offset) from error
            records = [record for record in found if record[0] != CONTROL]
            count += len(records)
            yield records
    finally:
        reader.close()
    if count != info.records:
        raise damaged(reader.path, reader.offset)


def _open(files: Files, directory: str, number: int) -> BatchReader:
    path = f"{directory}/{snapshot_name(number)}"
    reader = BatchReader(files, path, SNAPSHOT_MAGIC, first_lsn=1)
    if reader.header is None:
        reader.close()
        raise judge_header(path, reader.fault, damaged(path, 0))
    return reader


def damaged(path: str, offset: int) -> SnapshotDamaged:
    """Make the error for a snapshot that is not sound from `offset` on."""
    return SnapshotDamaged(
        f"the snapshot {path} is damaged at byte {offset}; {ADVICE_FOR_DAMAGE}", path, offset
    )
