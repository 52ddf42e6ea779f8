"""The bytes of frame log files as entries, binary or JSON lines. Floor 4: pure.

Both decoders take a file's bytes in any pieces. What an entry looks like to machines goes
with it where the file holds just that; nothing in a file makes a decoder raise.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from mqwire.framelog import BINARY, LoggedFrame, LogReader, Record
from mqwire.framelog_entries import NANOSECONDS, Entry, EntryReader, LeaseBook, Pack, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_OPEN_REQUESTS: Final = 1_000_000
"""Requests whose replies are still looked for; the oldest are given up first."""

MAX_KNOWN_LEASES: Final = 1_000_000
"""Leases whose queue is remembered: some 200 MB, where there are so many."""


class Shown(NamedTuple):
    """An entry, and its line for machines if the file has it."""

    entry: Entry
    json_line: str | None


class History:
    """What is carried from file to file: requests that wait for their replies, and leases."""

    def __init__(self) -> None:
        self.leases = LeaseBook(MAX_KNOWN_LEASES)
        self.entries = EntryReader(MAX_OPEN_REQUESTS, self.leases)
        self._run: int | None = None

    def begin_file(self, started_at_ns: int) -> None:
        """Take note of which run of a server a file is from.

        Connections of another run are others, so the requests of the last are given up.
        """
        if started_at_ns != self._run:
            self._run = started_at_ns
            self.entries.forget_requests()


class Decoder(Protocol):
    """Reads one file."""

    @property
    def error(self) -> str | None:
        """Why nothing more can be read, once that is so."""
        ...

    @property
    def offset(self) -> int:
        """Where the first thing that was not read starts, in bytes."""
        ...

    @property
    def leftover_bytes(self) -> int:
        """How many bytes at the end are not whole."""
        ...

    def forget_leftover(self) -> None:
        """Go back to `offset`: what is fed next stands there in the file."""
        ...

    def feed(self, data: bytes) -> Iterator[Shown]:
        """Take the next bytes and yield what is whole with them."""
        ...


def new_decoder(form: str, history: History) -> Decoder:
    """Return a decoder for a file of the format `form`."""
    return _BinaryDecoder(history) if form == BINARY else _LinesDecoder(history.leases)


class _BinaryDecoder:
    def __init__(self, history: History) -> None:
        self._history = history
        self._reader = LogReader()

    @property
    def error(self) -> str | None:
        return self._reader.error

    @property
    def offset(self) -> int:
        return self._reader.offset

    @property
    def leftover_bytes(self) -> int:
        return self._reader.leftover_bytes

    def forget_leftover(self) -> None:
        self._reader.forget_leftover()

    def feed(self, data: bytes) -> Iterator[Shown]:
        is_first = self._reader.header is None
        records = self._reader.feed(data)
        if is_first and self._reader.header is not None:
            self._history.begin_file(self._reader.header.started_at_ns)
        for record in records:
            for entry in self._history.entries.read(record):
                yield Shown(entry, None)


class _LinesDecoder:
    def __init__(self, leases: LeaseBook) -> None:
        self._leases = leases
        self.error: str | None = None
        self.offset = 0
        self._rest = b""

    @property
    def leftover_bytes(self) -> int:
        return len(self._rest)

    def forget_leftover(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Shown]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            entry = _read_line(line)
            if entry is None:
                self.error = f"the line at byte {self.offset} is not one of a frame log"
                return
            self.offset += len(line) + 1
            # A line that was written by a server that knows of leases says the queue itself.
            yield Shown(entry if entry.by_lease else self._leases.complete(entry), line.decode())


_FIELDS: Final = {
    "time_ns": int,
    "connection": int,
    "direction": str,
    "source": str,
    "destination": str,
    "user": str,
}


def _read_line(line: bytes) -> Entry | None:
    """Return the entry that a line stands for, or None if it is of another kind."""
    try:
        fields = json.loads(line, object_hook=_with_binary)
    except (ValueError, RecursionError):
        return None
    if type(fields) is not dict or "frame" not in fields:
        return None
    values = [fields.get(name) for name in _FIELDS]
    if [type(value) for value in values] != [*_FIELDS.values()]:
        return None
    record = Record(*cast("tuple[int, int, str, str, str, str]", values), b"")
    frame, reason = fields["frame"], str(fields.get("undecodable", ""))
    if type(frame) is not list:
        return Entry(record, LoggedFrame(b"", None, reason))
    entry = Entry(record, LoggedFrame(b"", _with_packs(frame), ""), _answers(record, fields))
    queues = _queues(fields)
    return replace(entry, by_lease=queues) if entry.is_request and not entry.queues else entry


def _with_binary(value: dict[str, Any]) -> Any:
    """Return the bytes that a map stands for, or the map."""
    try:
        return b64decode(value["base64"]) if value.keys() == {"base64"} else value
    except (ValueError, TypeError):  # a map of a client's that looks like that
        return value


def _with_packs(frame: list[Any]) -> tuple[Any, ...]:
    """Return a frame with the packs as they are after they have been taken apart."""
    if len(frame) > 4 and frame[0] == "PUSH" and type(frame[4]) is list:
        frame[4] = Pack(frame[4])
    elif len(frame) > 3 and frame[0] == "STEP" and type(frame[3]) is list:
        frame[3] = Pack(frame[3])
    elif len(frame) > 3 and frame[1] == "OK" and type(frame[3]) is list:
        frame[3] = [Pack(item) if type(item) is list else item for item in frame[3]]
    return tuple(frame)


def _answers(record: Record, fields: dict[str, Any]) -> Request | None:
    seconds = fields.get("seconds")
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return None
    verb, queues = fields.get("verb"), _queues(fields)
    return Request(
        record.wall_time_ns - round(seconds * NANOSECONDS),
        verb if type(verb) is str else None,
        queues[0] if queues else None,
        queues if len(queues) > 1 else (),
    )


def _queues(fields: dict[str, Any]) -> tuple[str, ...]:
    """Return the queues that a line tells of."""
    many = fields.get("queues")
    told = many if type(many) is list else [fields.get("queue")]
    return tuple(queue for queue in told if type(queue) is str)
