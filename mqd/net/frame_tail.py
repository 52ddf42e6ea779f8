"""The newest records of the frame log, in memory, for those who follow it over the wire.

A record is what the log gets: the same bytes, and so without secrets. Each has a number, and the
numbers of a run of the server follow those of the runs before it, so that nobody takes one for
another. Very large records are left out; what was left out or has been overwritten is counted.

What it is not: the log. It needs no disk and never waits; what is older stands in the files alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import itemgetter
from typing import Any, Final, NamedTuple

from mqwire.framelog import encode_header
from mqwire.limits import MAX_TAIL_BYTES, MAX_TAIL_ENTRIES, MAX_TAIL_RECORD_BYTES
from mqwire.runs import runs_of


class Untold(bytes):
    """Frames that go into the log and not to those who follow it, who would feed themselves."""

    __slots__ = ()


class Reading(NamedTuple):
    """What a look at the tail has found: the results of FRAMES."""

    records: bytes
    """A log's header and whole records."""
    numbers: list[int]
    """Their numbers as runs: first, count, first, count, ..."""
    last: int
    """The number to go on from."""
    missed: int | None
    """How many records are not there any more, or never were; None if nobody can know."""
    level: str
    """How much of each frame is logged."""


_number_of: Final = itemgetter(0)


class FrameTail:
    """Keeps the newest records, `MAX_TAIL_BYTES` and `MAX_TAIL_ENTRIES` at most.

    Args:
        started_at_ns: when the server began to log, nanoseconds since 1970-01-01 UTC.
        server_version: for the header of what is read.
        level: the log's.
    """

    def __init__(self, started_at_ns: int, server_version: str, level: str) -> None:
        self._header = encode_header(started_at_ns, server_version)
        self._level = level
        # No server logs a record in each microsecond of its life: the next run begins higher.
        self._before = self._last = started_at_ns // 1000
        self._bytes = 0
        self._kept: deque[tuple[int, int, bytes, bytes]] = deque()
        """Of each its number, its size, its head, its frames."""

    def add(self, head: bytes, frames: list[bytes], size_bytes: int) -> None:
        """Keep a record that goes into the log; as `mqd.net.frame_log.FrameLog.append`.

        Complexity: constant, amortized. Bytes are not copied but for frames in several pieces,
        each of which may be so small that what Python needs for it is the most of it.
        """
        self._last += 1
        size_bytes += len(head)
        if size_bytes > MAX_TAIL_RECORD_BYTES:
            return
        kept = self._kept
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        kept.append((self._last, size_bytes, head, data))
        self._bytes += size_bytes
        while self._bytes > MAX_TAIL_BYTES or len(kept) > MAX_TAIL_ENTRIES:
            self._bytes -= kept.popleft()[1]

    def read(
        self, after: int | None = None, most: int = MAX_TAIL_ENTRIES, context: int = 0
    ) -> Reading:
        """Return records.

        Args:
            after: the oldest after this number; the newest if it is None. One that this run
                never gave is of another run: all is new then.
            most: how many, above 0.
            context: how many of those before them once more, so that replies find requests.

        Complexity: proportional to what is returned.
        """
        kept = list(self._kept)
        is_known = after is None or self._before <= after <= self._last
        if after is None:
            start = max(len(kept) - most, 0)
            after = kept[start][0] - 1 if kept else self._last
        else:
            since = after if is_known else self._before
            start = bisect_right(kept, since, key=_number_of)
        end = start + most
        last = self._last if end >= len(kept) else kept[end - 1][0]
        count = len(kept[start:end])
        given = kept[max(start - context, 0) : end]
        parts = [self._header]
        for _, _, head, data in given:
            parts += (head, data)
        return Reading(
            records=b"".join(parts),
            numbers=list(runs_of(map(_number_of, given))),
            last=last,
            missed=last - after - count if is_known else None,
            level=self._level,
        )

    def results(self, options: dict[str, Any]) -> tuple[Any, ...]:
        """Return what a FRAMES with these options results in."""
        found = self.read(
            options.get("after"), options.get("max", MAX_TAIL_ENTRIES), options.get("context", 0)
        )
        return tuple(found._replace(records=Untold(found.records)))
