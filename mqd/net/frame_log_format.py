"""What a frame log's files are made of: the records as they come, or a line for each frame.

Both take the parts of whole records, in order, and give what is written.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from mqwire.framelog import BINARY, JSONL, Gap, LogReader, encode_gap, encode_header
from mqwire.framelog_entries import EntryReader, to_json_line

_LINES_AT_A_TIME: Final = 2 * 16
_BREAK_SECONDS: Final = 0.00005
"""A thread that works in Python gives the interpreter lock up only every 5 ms, and each turn
of the event loop would wait for it so long. A break now and then lets the loop in."""


class Format(Protocol):
    """One run's way of writing."""

    form: str
    """`mqwire.framelog.BINARY` or `JSONL`."""
    start: bytes
    """What every file starts with."""

    def encode(self, parts: list[bytes]) -> list[bytes]:
        """Return records as they are written."""
        ...

    def encode_gap(self, now_ns: int, gap: Gap) -> bytes:
        """Return what stands where records are missing."""
        ...


class _Binary:
    form: str = BINARY

    def __init__(self, header: bytes) -> None:
        self.start = header

    def encode(self, parts: list[bytes]) -> list[bytes]:
        return parts

    def encode_gap(self, now_ns: int, gap: Gap) -> bytes:
        return encode_gap(now_ns, gap)


class _Lines:
    form: str = JSONL
    start: bytes = b""

    def __init__(self, header: bytes) -> None:
        self._reader = LogReader()
        self._reader.feed(header)
        self._entries = EntryReader()

    def encode(self, parts: list[bytes]) -> list[bytes]:
        lines: list[bytes] = []
        for record in self._reader.feed(b"".join(parts)):
            for entry in self._entries.read(record):
                # A backslash escape of this kind is one of JSON's, too.
                lines.append(to_json_line(entry).encode("utf-8", "backslashreplace"))
                lines.append(b"\n")
                if len(lines) % _LINES_AT_A_TIME == 0:
                    time.sleep(_BREAK_SECONDS)
        assert self._reader.error is None, self._reader.error
        return lines

    def encode_gap(self, now_ns: int, gap: Gap) -> bytes:
        return b"".join(self.encode([encode_gap(now_ns, gap)]))


def new_format(form: str, started_at_ns: int, server_version: str) -> Format:
    """Return the format for one run of a server.

    Args:
        form: `mqwire.framelog.BINARY` or `JSONL`.
        started_at_ns: when the server began to log.
        server_version: for the header of files that have one.
    """
    header = encode_header(started_at_ns, server_version)
    return _Binary(header) if form == BINARY else _Lines(header)
