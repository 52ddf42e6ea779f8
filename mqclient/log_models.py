"""What the server tells of its frame log. Floor 1: data only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mqwire.framelog import LogReader
from mqwire.framelog_entries import NANOSECONDS, EntryReader, to_json_line, utc_text
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqwire.framelog_entries import Entry
    from mqwire.frames import Frame


@dataclass(frozen=True)
class LoggedFrame:
    """A request or a reply, as the frame log has it.

    Args:
        number: of the record that it stands in; those of one read or write have the same.
        entry: what the log tells of it.
    """

    number: int
    entry: Entry

    @property
    def time(self) -> str:
        """When it was read or written, UTC, in ISO 8601 with nanoseconds."""
        return utc_text(self.entry.record.wall_time_ns)

    @property
    def at(self) -> float:
        """The same in seconds since 1970-01-01 UTC."""
        return self.entry.record.wall_time_ns / NANOSECONDS

    @property
    def connection(self) -> int:
        """The connection's number."""
        return self.entry.record.connection_id

    @property
    def direction(self) -> str:
        """`in`: a request; `out`: a reply, or an event."""
        return self.entry.record.direction

    @property
    def source(self) -> str:
        """The address that it came from."""
        return self.entry.record.source

    @property
    def destination(self) -> str:
        """The address that it went to."""
        return self.entry.record.destination

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.entry.peer

    @property
    def user(self) -> str:
        """Who the connection acted as; empty before AUTH."""
        return self.entry.record.user

    @property
    def verb(self) -> str | None:
        """The verb of a request, or of the one that a reply answers; None if unknown."""
        return self.entry.verb

    @property
    def queue(self) -> str | None:
        """The queue that it is about, the first of several; None if there is none, or unknown."""
        return self.entry.queue

    @property
    def queues(self) -> tuple[str, ...]:
        """All queues that it is about, as far as known."""
        return self.entry.queues

    @property
    def code(self) -> str | None:
        """Of a reply `OK`, `EVENT` or the code of the error; None of a request."""
        frame = self.entry.logged.frame or ()
        if self.entry.is_request or len(frame) < 2:
            return None
        code = frame[2] if frame[1] == "ERR" and len(frame) > 2 else frame[1]
        return code if type(code) is str else None

    @property
    def is_refusal(self) -> bool:
        """Whether it is a reply that tells of an error."""
        frame = self.entry.logged.frame or ()
        return not self.entry.is_request and len(frame) > 1 and frame[1] == "ERR"

    @property
    def seconds(self) -> float | None:
        """How long after its request a reply was written; None if unknown."""
        elapsed_ns = self.entry.elapsed_ns
        return None if elapsed_ns is None else elapsed_ns / NANOSECONDS

    @property
    def size_bytes(self) -> int:
        """Its size as it is on record."""
        return len(self.entry.logged.raw)

    @property
    def line(self) -> str:
        """All of it as one JSON object, as `mqctl log --json` prints it."""
        return to_json_line(self.entry)

    @property
    def frame(self) -> Any:
        """The frame as JSON has it: packs are lists of bodies, bytes `{"base64": text}`."""
        return json.loads(self.line)["frame"]


@dataclass(frozen=True)
class LogTail:
    """The newest frames of the log.

    Args:
        frames: in order.
        last: what `after` is for whoever goes on from here.
        missed: how many reads and writes between `after` and `last` are not told, since they
            were too many or too large: they stand in the log's files alone; None if nobody
            knows, since the server has been started anew.
        level: `full`, or `headers` where the log holds no bodies.
    """

    frames: Sequence[LoggedFrame]
    last: int
    missed: int | None
    level: str

    @classmethod
    def from_reply(cls, frame: Frame, after: int | None, context: int) -> LogTail:
        """Read a reply to FRAMES.

        Args:
            frame: the reply.
            after: what was asked for.
            context: how many of the records may be there for the sake of replies alone.

        Raises:
            TypeError, ValueError, LookupError: it is none.
        """
        data, runs, last, missed, level = frame[2:7]
        reader = LogReader()
        records = reader.feed(data)
        numbers = list(ids_of(runs))
        if reader.error is not None or reader.leftover_bytes or len(numbers) != len(records):
            raise TypeError("records of a frame log were expected")
        if type(last) is not int or type(level) is not str:
            raise TypeError(f"a number and a level were expected, not {last!r} and {level!r}")
        entries = EntryReader()
        found = [
            LoggedFrame(number, entry)
            for number, record in zip(numbers, records, strict=True)
            for entry in entries.read(record)
        ]
        if context and after is not None and missed is not None:
            found = [each for each in found if each.number > after]
        return cls(found, last, missed, level)
