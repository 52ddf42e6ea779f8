"""What is sound in a file of which not everything is.

A start reads a file's batches up to the first that is bad. Here reading goes on behind
it: the file's id is in every batch, so that the next sound one is found by it, and its
checksum says that it is one.

What it is not: judging what the gaps mean. See `mqd.store.remains`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.store.reading import BatchReader
from mqd.store.recordlog import (
    BATCH_BYTES,
    HEADER_BYTES,
    ID_BYTES,
    SNAPSHOT_MAGIC,
    encode_batch,
    scan_batches,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.store.files import Files
    from mqd.store.recordlog import Scan

_SAMPLE: Final = encode_batch(1, 0, b"file-id.", ())[0]
_ID_FROM: Final = _SAMPLE.index(b"file-id.")
_BATCH_MAGIC: Final = _SAMPLE[:4]
_LSN: Final = struct.Struct(">Q")
_LSN_FROM: Final = _ID_FROM + ID_BYTES


class ByteRange(NamedTuple):
    """Bytes of a file, `end` not among them."""

    start: int
    end: int


NO_BYTES: Final = ByteRange(0, 0)


class Run(NamedTuple):
    """Sound batches in a row, and the bytes that they take."""

    offset: int
    end_offset: int
    scan: Scan


class Pieces:
    """Reads all sound batches of one file, whatever else is in it. To be closed.

    Memory: as `BatchReader` where the file is sound, else what lies behind the first bad
    byte.

    Args:
        files: the file operations.
        path: the file.
        magic: which kind of file its name says.
    """

    def __init__(self, files: Files, path: str, magic: bytes) -> None:
        self._files = files
        self._path = path
        first_lsn = 1 if magic == SNAPSHOT_MAGIC else None
        self._reader = BatchReader(files, path, magic, first_lsn)
        self.header = self._reader.header
        """None if there is none of the kind that was asked for."""
        self.fault = self._reader.fault
        """Why there is none."""
        self.size_bytes = 0
        """Known when all was read."""
        self.bad: list[ByteRange] = []
        """Where nothing sound was found between what is; filled by `runs`."""
        self.tail = NO_BYTES
        """The bytes behind the last sound batch, up to the last that is not zero."""

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def runs(self) -> Iterator[Run]:
        """Yield the sound batches, many at a time, their lsns rising. To be used once."""
        reader = self._reader
        offset = 0
        if self.header is not None:
            offset = HEADER_BYTES
            for scan in reader.runs():
                yield Run(offset, reader.offset, scan)
                offset = reader.offset
        rest = self._rest(offset)
        file_id = self.header.file_id if self.header else _guess_file_id(rest)
        base, at = offset, 0
        next_lsn = reader.next_lsn
        while (found := _find(rest, at, file_id, next_lsn)) is not None:
            start, scan = found
            if start > at:
                self.bad.append(ByteRange(base + at, base + start))
            at, next_lsn = scan.end_offset, scan.next_lsn
            yield Run(base + start, base + at, scan)
        self.tail = ByteRange(base + at, base + max(at, len(rest.rstrip(b"\0"))))

    def _rest(self, offset: int) -> bytes:
        """Return what lies behind the batches that a start would read."""
        handle = self._files.open(self._path)
        try:
            self.size_bytes = self._files.size_bytes(handle)
            return self._files.read(handle, offset, max(0, self.size_bytes - offset))
        finally:
            self._files.close(handle)


def _guess_file_id(data: bytes) -> bytes:
    """Return the id in the first sound batch, whichever it is; empty if there is none."""
    start = data.find(_BATCH_MAGIC)
    while start >= 0:
        file_id = data[start + _ID_FROM : start + _LSN_FROM]
        if len(data) - start >= BATCH_BYTES and _scan_at(data, start, file_id).payloads:
            return file_id
        start = data.find(_BATCH_MAGIC, start + 1)
    return b""


def _find(data: bytes, offset: int, file_id: bytes, least_lsn: int) -> tuple[int, Scan] | None:
    """Find the next sound batches of a file, from `offset` and from an lsn on."""
    if not file_id:
        return None
    found = data.find(file_id, offset + _ID_FROM)
    while found >= 0:
        start = found - _ID_FROM
        if len(data) - start >= BATCH_BYTES:
            scan = _scan_at(data, start, file_id)
            if scan.payloads and scan.first_lsn >= least_lsn:
                return start, scan
        found = data.find(file_id, found + 1)
    return None


def _scan_at(data: bytes, start: int, file_id: bytes) -> Scan:
    lsn: int = _LSN.unpack_from(data, start + _LSN_FROM)[0]
    return scan_batches(data, start, file_id, lsn)
