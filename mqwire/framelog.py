"""The frame log's format: what a server has received and sent, whole, as files. Floor 0: pure.

A file is a stream of frames (`mqwire.frames`), so any msgpack reader can walk it:

    ["mqd-frame-log", 1, started_at_ns, server_version]              once, first
    [wall_time_ns, connection_id, direction, source, destination,    a record for
     user, frames]                                                   each read or write

`started_at_ns` is when the server began to log. All files of one run of a server have the
same, and only within a run do connections' numbers stand for the same connections.

`frames` is one binary that holds whole frames as they were on the wire, prefixes
included, one or more. It is the record's last element, so a writer puts a few
bytes in front of frames that it has in hand anyway and copies nothing:

    +------+--------+------+------+---------+-----------------------+------+------+--------+
    | 0xCE | length | 0x97 | 0xCF | time    | id, direction, source | 0xC6 | size | frames |
    | 1 B  | 4 B    | 1 B  | 1 B  | 8 B     | destination, user     | 1 B  | 4 B  |        |
    +------+--------+------+------+---------+-----------------------+------+------+--------+

**Gaps.** Where records are missing because they could not be written, there is a record
with the direction "gap", connection 0 and no addresses, whose one frame is
`[0, "GAP", {"records": count, "bytes": size, "since_ns": time, "reason": text}]`:
so many records and bytes are missing, the first of them from that time. It is formed as
every other record, so readers that know no gaps show it as a frame of the server's own.

**Bodies.** A server that is told to log no bodies (`frame_log.level: headers`) puts a map
in the place of each pack: `{"bytes": size, "blake2b": hash}`. The hash is BLAKE2b with a
digest of 16 bytes over the pack, in hexadecimal (`b2sum -l 128`), so the same message
pushed and pulled by itself has the same hash, and so has a pack that travels whole. A hash
for each body would cost more than handling it. Headers, names and counts stay. Whoever can
guess a body can confirm the guess by its hash.

**Names.** Files are numbered from 1 and no number is used again: `frames-000001.mqlog`, or
`frames-000001.jsonl` where a line of JSON for each frame is written instead
(`mqwire.framelog_entries`). `.gz` follows once a closed file has been compressed.

What it is not: opening, rotating or removing files, filters, and text for people.
A log is read long after it was written, also after a crash, and holds whatever
clients have sent: nothing in it makes a reader raise.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from mqwire.frames import PREFIX_BYTE, Frame, FrameReader, FrameWriter
from mqwire.limits import HARD_MAX_FRAME_BYTES, MAX_CONTAINER_BYTES, MIB, PREFIX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = "mqd-frame-log"
FORMAT_VERSION: Final = 1

IN: Final = "in"
"""Direction: from a client to the server."""
OUT: Final = "out"
"""Direction: from the server to a client."""
GAP: Final = "gap"
"""Direction of the record that stands where others are missing."""

BINARY: Final = "binary"
"""Format of a file: the records that this module describes."""
JSONL: Final = "jsonl"
"""Format of a file: a line of JSON for each frame."""

MAX_FRAMES_BYTES: Final = 1024 * MIB
"""Most that one record may hold; a writer that has more cuts it between frames. Four
times the largest frame, and small enough for every msgpack reader's buffer."""

MAX_RECORD_BYTES: Final = MAX_FRAMES_BYTES + MIB
"""Bound of a record's body: its frames, and addresses and a name beside them."""

_RECORD_TYPES: Final = (int, int, str, str, str, str, bytes)
_HEADER_TYPES: Final = (str, int, int, str)
_ARRAY_OF_7: Final = 0x97
_UINT_64: Final = 0xCF
_BIN_32: Final = 0xC6
_is_file_name: Final = re.compile(r"frames-([0-9]{6,18})\.(mqlog|jsonl)(\.gz)?").fullmatch
_SUFFIXES: Final = {BINARY: "mqlog", JSONL: "jsonl"}
_FORMATS: Final = {suffix: form for form, suffix in _SUFFIXES.items()}


class FileName(NamedTuple):
    """What the name of a log's file says."""

    number: int
    form: str
    """`BINARY` or `JSONL`."""
    is_compressed: bool


class Header(NamedTuple):
    """What a file's first frame says."""

    format_version: int
    started_at_ns: int
    """When the server began to log, in nanoseconds since 1970-01-01 UTC."""
    server_version: str


class Record(NamedTuple):
    """What one read or write of one connection has carried."""

    wall_time_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    connection_id: int
    direction: str
    """`IN`, `OUT` or `GAP`."""
    source: str
    destination: str
    user: str
    """Who the connection acted as; empty before AUTH."""
    frames: bytes
    """Whole frames, prefixes included."""


class LoggedFrame(NamedTuple):
    """One frame of a record."""

    raw: bytes
    """The frame as it was on the wire, prefix included."""
    frame: Frame | None
    """The decoded array, or None if the bytes are not a sound frame."""
    reason: str
    """Why it is not; empty if it is."""


class Gap(NamedTuple):
    """Records that are missing in a row."""

    records: int
    size_bytes: int
    since_ns: int
    """When the first of them was lost, in nanoseconds since 1970-01-01 UTC."""
    reason: str


# Names


def file_name(number: int, form: str = BINARY) -> str:
    """Return the name of a log's file; numbers count up from 1 and are never used again."""
    return f"frames-{number:06d}.{_SUFFIXES[form]}"


def parse_file_name(name: str) -> FileName | None:
    """Return what a file's name says, or None for a name of any other form."""
    match = _is_file_name(name)
    if match is None:
        return None
    return FileName(int(match[1]), _FORMATS[match[2]], match[3] is not None)


# Writing


def encode_header(started_at_ns: int, server_version: str) -> bytes:
    """Return the frame that every file starts with, prefix included.

    Args:
        started_at_ns: when the server began to log, nanoseconds since 1970-01-01 UTC.
        server_version: version of the server that writes.
    """
    return FrameWriter().encode([MAGIC, FORMAT_VERSION, started_at_ns, server_version])


class RecordEncoder:
    """Makes what stands before the frames of records of one connection and direction.

    All that these records share is encoded once; AUTH changes the user, and with it
    the encoder.

    Args:
        connection_id: number of the connection, not negative.
        direction: `IN` or `OUT`, or `GAP` for `encode_gap`.
        source: address that the frames came from.
        destination: address that they went to.
        user: who the connection acts as; empty before AUTH.
    """

    __slots__ = ("_extra_bytes", "_pack", "_shared")

    def __init__(
        self, connection_id: int, direction: str, source: str, destination: str, user: str = ""
    ) -> None:
        assert direction in (IN, OUT, GAP)
        packer = msgpack.Packer(autoreset=False)
        for value in (connection_id, direction, source, destination, user):
            packer.pack(value)
        self._shared: bytes = packer.bytes()
        self._extra_bytes = 1 + 9 + len(self._shared) + 5
        self._pack = struct.Struct(f">BIBBQ{len(self._shared)}sBI").pack

    def head(self, wall_time_ns: int, frames_bytes: int) -> bytes:
        """Return the bytes of a record up to its frames, which the caller writes right after.

        Args:
            wall_time_ns: nanoseconds since 1970-01-01 UTC.
            frames_bytes: total size of the frames that follow, `MAX_FRAMES_BYTES` at most.
        """
        assert frames_bytes <= MAX_FRAMES_BYTES
        length = self._extra_bytes + frames_bytes
        return self._pack(
            PREFIX_BYTE,
            length,
            _ARRAY_OF_7,
            _UINT_64,
            wall_time_ns,
            self._shared,
            _BIN_32,
            frames_bytes,
        )


def encode_gap(wall_time_ns: int, gap: Gap) -> bytes:
    """Return a whole record that stands where others are missing.

    Args:
        wall_time_ns: when writing went on.
        gap: what is missing.
    """
    names = ("records", "bytes", "since_ns", "reason")
    frame = FrameWriter().encode([0, "GAP", dict(zip(names, gap, strict=True))])
    return RecordEncoder(0, GAP, "", "").head(wall_time_ns, len(frame)) + frame


# Reading


class LogReader:
    """Reads records off the bytes of one file, which arrive in any pieces.

    Not thread-safe. Never raises for what the file holds.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        """What the file says about itself, once its first frame has been read."""
        self.error: str | None = None
        """Why nothing more can be read, once that is so. A file that just ends in the
        middle of a record is no error: see `leftover_bytes`."""
        self._reader = FrameReader(MAX_RECORD_BYTES)
        self._fed_bytes = 0

    @property
    def leftover_bytes(self) -> int:
        """How many bytes at the end belong to a record that is not whole: what a crash cut off."""
        return self._reader.leftover_bytes

    @property
    def offset(self) -> int:
        """Where the first record that was not read starts, in bytes from the file's start."""
        return self._fed_bytes - self._reader.leftover_bytes

    def feed(self, data: bytes) -> list[Record]:
        """Take the next bytes of the file and return the records that are whole with them."""
        if self.error is not None:
            return []
        self._fed_bytes += len(data)
        records = []
        for frame in self._reader.feed(data):
            if self.header is None:
                self._read_header(frame)
            elif tuple(map(type, frame)) == _RECORD_TYPES:
                records.append(Record(*frame))
            else:
                self.error = f"one of its records before byte {self.offset} is not a record"
            if self.error is not None:
                return records
        if self._reader.error is not None:
            self.error = (
                f"the record at byte {self.offset} is damaged: {self._reader.error.message}"
            )
            if self.header is None:
                self.error = _NOT_A_LOG
        return records

    def forget_leftover(self) -> None:
        """Go back to `offset`: what is fed next stands there in the file.

        For a file that grows: the end of a record that a failing disk has cut off is
        written over, so half a record is not worth keeping.
        """
        self._fed_bytes = self.offset
        self._reader = FrameReader(MAX_RECORD_BYTES)

    def _read_header(self, frame: Frame) -> None:
        if len(frame) < 2 or frame[0] != MAGIC:
            self.error = _NOT_A_LOG
        elif frame[1] != FORMAT_VERSION:
            self.error = f"its format is {frame[1]!r}, understood is {FORMAT_VERSION}"
        elif tuple(map(type, frame)) != _HEADER_TYPES:
            self.error = "its first frame is not a frame log's header"
        else:
            self.header = Header(*frame[1:])


_NOT_A_LOG: Final = "it is not a frame log"


class FrameSplitter:
    """Takes records apart into frames; one that cannot be decoded does not spoil the next.

    Not thread-safe; keeps no state between records but a parser's buffer.
    """

    def __init__(self) -> None:
        self._readers: dict[bool, FrameReader] = {}  # by whether it was sent by the server

    def split(self, record: Record) -> Iterator[LoggedFrame]:
        """Yield the frames of `record` in order, decoded where that is possible.

        A request is bounded as it was on the server (no huge arrays and maps), since the
        same bytes that would have blown its memory up are on record.
        """
        frames = record.frames
        start = 0
        while start < len(frames):
            prefix = frames[start : start + PREFIX_BYTES]
            end = start + PREFIX_BYTES + int.from_bytes(prefix[1:], "big")
            if prefix[0] != PREFIX_BYTE or len(prefix) < PREFIX_BYTES or end > len(frames):
                yield LoggedFrame(frames[start:], None, "it is not a whole frame")
                return
            yield self._decode(frames[start:end], is_reply=record.direction != IN)
            start = end

    def _decode(self, raw: bytes, *, is_reply: bool) -> LoggedFrame:
        reader = self._readers.get(is_reply)
        if reader is None:
            bound = None if is_reply else MAX_CONTAINER_BYTES
            reader = self._readers[is_reply] = FrameReader(HARD_MAX_FRAME_BYTES, bound)
        decoded = reader.feed(raw)
        if reader.error is None:
            return LoggedFrame(raw, decoded[0], "")
        del self._readers[is_reply]
        return LoggedFrame(raw, None, reader.error.message)
