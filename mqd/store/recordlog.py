"""The form of journal and snapshot files. Pure: bytes in, bytes out.

A file is a header and batches, one right after the other; integers are big-endian:

    header, 56 B
    +-------+---------+--------+-----------+-------+----------+---------+-------+
    | magic | version | number | first lsn | epoch | store id | file id | crc   |
    | 8 B   | 4 B     | 8 B    | 8 B       | 8 B   | 8 B      | 8 B     | 4 B   |
    +-------+---------+--------+-----------+-------+----------+---------+-------+
    batch, 36 B and its payload
    +-------+-----+--------+---------+-----+-------------+---------------------------+
    | magic | crc | length | file id | lsn | synced upto | payload: `length` bytes,  |
    | 4 B   | 4 B | 4 B    | 8 B     | 8 B | 8 B         | msgpack records in a row  |
    +-------+-----+--------+---------+-----+-------------+---------------------------+

- `lsn` numbers batches from 1 on, without gaps over all segments of a journal. `first
  lsn` of a segment is the one that it begins with; of a snapshot, the first that is not
  in it. Every batch before a segment's first lsn was synced before the segment was
  begun.
- `synced upto` is the highest lsn that was known to be on the disk when the batch was
  written. Bad bytes at or below it are damage; bad bytes above it can be what a loss of
  power leaves.
- `file id` is random, so that a batch of another file, or one that somebody has pushed
  as a message, is not taken for one of this file.
- both checksums are CRC-32 (`zlib.crc32`); the header's covers all before it, a batch's
  all after it. The header keeps its size, the places of magic and version, and its
  checksum in every version to come.

Nothing here raises for what a file holds, but `decode`, which is for payloads whose
checksum was right.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from mqd.core.checksum import crc32
from mqd.core.order_records import PARCEL, PUSH_EACH, PUSH_WITH
from mqd.core.records import PUSH
from mqd.core.step_records import KEYED_PUSH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mqd.core.records import Record

FORMAT_VERSION: Final = 1
SEGMENT_MAGIC: Final = b"mqdjrnl\n"
SNAPSHOT_MAGIC: Final = b"mqdsnap\n"
ID_BYTES: Final = 8

_HEADER: Final = struct.Struct(">8sIQQQ8s8s")
_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size

_BATCH_MAGIC: Final = b"\xb5mqB"
_BATCH: Final = struct.Struct(">4sII8sQQ")
_COVERED: Final = struct.Struct(">I8sQQ")
_COVERED_FROM: Final = 8
_ID_FROM: Final = 12
BATCH_BYTES: Final = _BATCH.size
"""Size of a batch without its payload."""

_LARGE_BYTES: Final = 16 * 1024
"""Packs of this size and more are written from where they lie, not copied."""

_END: Final = b"\xc0"
"""A value that is no record, put behind payloads to see that they are whole."""

_MAX_BUFFER_BYTES: Final = 2**31 - 1


class Header(NamedTuple):
    """What a file says about itself."""

    number: int
    """The number in its name."""
    first_lsn: int
    epoch: int
    """How many times the directory had been started when the file was made."""
    store_id: bytes
    """Random; the same in all files of a directory."""
    file_id: bytes
    """Random; the file's own."""


class HeaderFault(Enum):
    """Why a file's first bytes are no header of the kind that was asked for."""

    FOREIGN = "it is none of our files"
    OTHER_VERSION = "it has another format version"
    DAMAGED = "its header is damaged"


class Stop(Enum):
    """Why a scan has stopped."""

    END = "the data ends here"
    BLANK = "nothing but zeros where a batch would begin"
    SHORT = "the data ends inside this batch"
    BAD = "these bytes are not the next batch"


class Scan(NamedTuple):
    """Sound batches in a row."""

    first_lsn: int
    """The lsn of the first payload; the others follow without gaps."""
    payloads: list[memoryview]
    synced_upto: int
    """The highest that one of the batches says; 0 if there is none."""
    end_offset: int
    """Where the first byte lies that belongs to none of them."""
    why_stopped: Stop

    @property
    def next_lsn(self) -> int:
        """The lsn that the next batch has to have."""
        return self.first_lsn + len(self.payloads)


class Later(NamedTuple):
    """Sound batches somewhere after bytes that are not."""

    synced_upto: int
    last_lsn: int


# Headers


def encode_header(magic: bytes, header: Header, version: int = FORMAT_VERSION) -> bytes:
    """Return the first `HEADER_BYTES` of a file."""
    number, first_lsn, epoch, store_id, file_id = header
    head = _HEADER.pack(magic, version, number, first_lsn, epoch, store_id, file_id)
    return head + _CRC.pack(crc32(head))


def read_header(magic: bytes, data: bytes) -> Header | HeaderFault:
    """Read a file's first bytes; `data` may be longer than a header."""
    if data[: len(magic)] != magic:
        is_cut = len(data) < len(magic) and magic.startswith(data)
        return HeaderFault.DAMAGED if is_cut or not any(data[:8]) else HeaderFault.FOREIGN
    if len(data) < HEADER_BYTES:
        return HeaderFault.DAMAGED
    head = data[: _HEADER.size]
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(head):
        return HeaderFault.DAMAGED
    _, version, *fields = _HEADER.unpack(head)
    if version != FORMAT_VERSION:
        return HeaderFault.OTHER_VERSION
    return Header(*fields)


# Batches


def encode_batch(lsn: int, synced_upto: int, file_id: bytes, parts: Sequence[bytes]) -> list[bytes]:
    """Return the pieces of a batch, its payload being `parts` one after the other."""
    length = sum(map(len, parts))
    crc = crc32(_COVERED.pack(length, file_id, lsn, synced_upto))
    for part in parts:
        crc = crc32(part, crc)
    return [_BATCH.pack(_BATCH_MAGIC, crc, length, file_id, lsn, synced_upto), *parts]


def scan_batches(data: bytes, offset: int, file_id: bytes, first_lsn: int) -> Scan:
    """Read the sound batches that lie in `data` one after the other.

    Args:
        data: bytes of a file, its end perhaps to follow.
        offset: where in them to begin.
        file_id: the one in the file's header.
        first_lsn: what the first batch has to have.
    """
    view = memoryview(data)
    size = len(data)
    unpack = _BATCH.unpack_from
    payloads: list[memoryview] = []
    lsn, best = first_lsn, 0
    why = Stop.BAD
    while True:
        if size - offset < BATCH_BYTES:
            why = _why_short(data, offset)
            break
        magic, crc, length, batch_file_id, batch_lsn, synced_upto = unpack(data, offset)
        end = offset + BATCH_BYTES + length
        if magic != _BATCH_MAGIC or batch_file_id != file_id or batch_lsn != lsn:
            if not any(data[offset : offset + BATCH_BYTES]):
                why = Stop.BLANK
            break
        if end > size:
            why = Stop.SHORT
            break
        if crc32(view[offset + _COVERED_FROM : end]) != crc:
            break
        payloads.append(view[offset + BATCH_BYTES : end])
        if synced_upto > best:  # noqa: PLR1730  half the time of max()
            best = synced_upto
        offset = end
        lsn += 1
    return Scan(first_lsn, payloads, best, offset, why)


def _why_short(data: bytes, offset: int) -> Stop:
    rest = data[offset:]
    if not rest:
        return Stop.END
    return Stop.SHORT if any(rest) else Stop.BLANK


def scan(data: bytes) -> Scan:
    """Read a whole segment. A bad header gives no batches and `end_offset` 0."""
    header = read_header(SEGMENT_MAGIC, data)
    if isinstance(header, HeaderFault):
        return Scan(1, [], 0, 0, Stop.BAD)
    return scan_batches(data, HEADER_BYTES, header.file_id, header.first_lsn)


def find_later(data: bytes, offset: int, file_id: bytes) -> Later:
    """Look for sound batches of a file behind bytes that are not.

    Args:
        data: bytes of the file up to its end.
        offset: where the sound part ends.
        file_id: the one in the file's header.
    """
    view = memoryview(data)
    best = last_lsn = 0
    found = data.find(file_id, offset)
    while found >= 0:
        start = found - _ID_FROM
        end = found + ID_BYTES
        if start >= offset and len(data) - start >= BATCH_BYTES:
            magic, crc, length, _, lsn, synced_upto = _BATCH.unpack_from(data, start)
            stop = start + BATCH_BYTES + length
            is_whole = magic == _BATCH_MAGIC and stop <= len(data)
            if is_whole and crc32(view[start + _COVERED_FROM : stop]) == crc:
                best = max(best, synced_upto)
                last_lsn = max(last_lsn, lsn)
                end = stop
        found = data.find(file_id, end)
    return Later(best, last_lsn)


# Records


_WITH_PACK = frozenset({PUSH, PUSH_WITH, PUSH_EACH, PARCEL})
"""Kinds of records that have a pack, as their fifth element."""


class RecordEncoder:
    """Gathers records for a payload. Not thread-safe."""

    def __init__(self) -> None:
        self._packer = msgpack.Packer(autoreset=False)
        self._pack = self._packer.pack
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self.is_empty = True
        self._broken: BaseException | None = None  # why what was gathered is not whole

    @property
    def size_bytes(self) -> int:
        """How much has been gathered."""
        return self._part_bytes + len(self._packer.getbuffer())

    def add(self, record: Record) -> None:
        """Add a record at the end.

        Raises:
            MemoryError: and then nothing that was gathered can be taken any more.
        """
        self.is_empty = False
        try:
            push = record[5] if record[0] == KEYED_PUSH else record
            if push[0] in _WITH_PACK and len(push[4]) >= _LARGE_BYTES:
                self._add_large(record)
            else:
                self._pack(record)
        except BaseException as error:
            self._broken = error  # msgpack drops all that it holds
            raise

    def _add_large(self, record: Record) -> None:
        self._packer.pack_array_header(len(record))
        for value in record:
            if type(value) is bytes and len(value) >= _LARGE_BYTES:
                self._cut()
                self._parts += (b"\xc6" + _CRC.pack(len(value)), value)
                self._part_bytes += 5 + len(value)
            elif type(value) is tuple and record[0] == KEYED_PUSH:
                self._add_large(value)
            else:
                self._pack(value)

    def _cut(self) -> None:
        packed: bytes = self._packer.bytes()
        self._packer.reset()
        if packed:
            self._parts.append(packed)
            self._part_bytes += len(packed)

    def take(self) -> tuple[list[bytes], int]:
        """Return what was gathered as parts of a payload, with its size, and begin anew.

        Raises:
            MemoryError: what was gathered is not whole.
        """
        if self._broken is not None:
            raise self._broken
        packer, parts, size_bytes = self._packer, self._parts, self._part_bytes
        packed: bytes = packer.bytes()
        packer.reset()
        self.is_empty = True
        if packed:
            parts.append(packed)
            size_bytes += len(packed)
        self._parts, self._part_bytes = [], 0
        return parts, size_bytes


def encode(records: Iterable[Record]) -> bytes:
    """Return the payload of these records."""
    encoder = RecordEncoder()
    for record in records:
        encoder.add(record)
    return b"".join(encoder.take()[0])


def decode(payloads: Sequence[bytes | memoryview]) -> list[Record]:
    """Return the records of payloads whose checksums were right, as they were encoded.

    Raises:
        ValueError: they do not hold whole records: no writer of this format made them.
    """
    data = b"".join([*payloads, _END])
    unpacker = msgpack.Unpacker(
        read_size=len(data),
        use_list=False,
        strict_map_key=False,
        max_buffer_size=_MAX_BUFFER_BYTES,
    )
    unpacker.feed(data)
    try:
        found: list[Any] = list(unpacker)
    except (TypeError, msgpack.StackError, msgpack.FormatError) as error:
        raise ValueError("the payload is not msgpack") from error
    if not found or found.pop() is not None:
        raise ValueError("the payload ends inside a record")
    if set(map(type, found)) - {tuple}:
        raise ValueError("the payload holds something that is not a record")
    return found
