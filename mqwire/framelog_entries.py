"""What a frame log tells: frames with their circumstances, replies with their requests.

Floor 0: pure. One reading of records for the server, which writes logs in JSON lines, and
for `mqctl log`; what they print for machines is the same line:

    time, time_ns       when it was read or written, UTC
    connection, direction, source, destination, user     as in the record
    bytes               size of the frame as it is on record
    verb, queue         of a request; of the request that a reply answers; null if unknown
    queues              only where it is about several: all of them
    seconds             between that request and the reply; null if unknown
    frame               the frame, packs as arrays of bodies, binary as {"base64": text}

A settlement names a lease alone: its queue is that of the PULL whose reply gave the lease, as
far as that has been read before.

A frame that cannot be decoded has null for `frame`, and `undecodable` and `base64` beside
it. A log holds what clients have sent, so nothing in it makes this module raise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqwire.errors import CodedError
from mqwire.framelog import GAP, IN, OUT, FrameSplitter, Gap
from mqwire.json_text import base64_of, to_json
from mqwire.packs import decode_body, split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqwire.framelog import LoggedFrame, Record
    from mqwire.frames import Frame

MAX_OPEN_REQUESTS: Final = 100_000
"""Requests whose replies are still looked for; the oldest are given up first."""

MAX_KNOWN_LEASES: Final = 100_000
"""Leases whose queue is remembered; those of which nothing was read for longest go first."""

_BY_PATTERN: Final = frozenset(("LIST", "HOLDERS", "WATCH"))
"""Verbs whose first argument is a pattern and names no queue."""
_BY_LEASE: Final = frozenset(("ACK", "NACK", "REJECT", "EXTEND"))

NANOSECONDS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_MAX_YEAR_NS: Final = 253_402_300_800 * NANOSECONDS  # the year 10000 has no ISO form
_MIN_YEAR_NS: Final = -62_135_596_800 * NANOSECONDS  # nor has the year 0


class Request(NamedTuple):
    """What is remembered of a request until its reply comes."""

    wall_time_ns: int
    verb: str | None
    queue: str | None
    queues: tuple[str, ...] = ()
    """All queues, where it is about several."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that has been taken apart."""

    bodies: list[Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame of a log, and the record that it stands in.

    Args:
        record: when, where and who.
        logged: the frame.
        answers: the request that it answers, if it is a reply and its request is known.
        by_lease: of a request: the queues of the leases that it names, as far as they are known.
        nameless_leases: of a request: how many leases it names whose queue is not known.
    """

    record: Record
    logged: LoggedFrame
    answers: Request | None = None
    by_lease: tuple[str, ...] = ()
    nameless_leases: int = 0

    @property
    def is_request(self) -> bool:
        """Whether a client has sent it."""
        return self.record.direction == IN

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.record.source if self.is_request else self.record.destination

    @property
    def request_id(self) -> Any:
        """The id that ties request and reply together; None where there is none."""
        frame = self.logged.frame or ()
        position = 1 if self.is_request else 0
        return frame[position] if len(frame) > position else None

    @property
    def verb(self) -> str | None:
        """A request's verb; of the request that a reply answers; None if unknown."""
        if not self.is_request:
            return None if self.answers is None else self.answers.verb
        frame = self.logged.frame
        return frame[0] if frame and isinstance(frame[0], str) else None

    @property
    def queue(self) -> str | None:
        """The queue that a request is about, the first of several; None if it is unknown."""
        if not self.is_request:
            return None if self.answers is None else self.answers.queue
        return next(iter(self.queues), None)

    @property
    def queues(self) -> tuple[str, ...]:
        """All queues that a request is about: named, or those of the leases that it names."""
        if not self.is_request:
            answers = self.answers
            if answers is None or answers.queue is None:
                return ()
            return answers.queues or (answers.queue,)
        return tuple(dict.fromkeys((*self.by_lease, *_named(self.logged.frame or ()))))

    @property
    def elapsed_ns(self) -> int | None:
        """Time between the request and this reply, or None; a clock that was set shows in it."""
        if self.answers is None:
            return None
        return self.record.wall_time_ns - self.answers.wall_time_ns

    @property
    def gap(self) -> Gap | None:
        """What is missing here, if this entry stands for a gap."""
        frame = self.logged.frame
        if self.record.direction != GAP or not frame or type(frame[-1]) is not dict:
            return None
        facts = frame[-1]
        values = [facts.get(name) for name in ("records", "bytes", "since_ns", "reason")]
        return Gap(*values) if tuple(map(type, values)) == (int, int, int, str) else None  # type: ignore[arg-type]  # just checked


def _named(frame: Frame) -> Iterator[str]:
    """Yield the names of queues that stand in a request."""
    if len(frame) < 3:
        return
    verb, first = frame[0], frame[2]
    if verb == "STEP":
        for part in _parts(frame):
            if part[0] == "PUSH" and isinstance(part[1], str):
                yield part[1]
    elif isinstance(first, str) and not (isinstance(verb, str) and verb in _BY_PATTERN):
        yield first


def _leases(frame: Frame) -> Iterator[tuple[int, int]]:
    """Yield the leases that a request names."""
    if len(frame) < 3:
        return
    verb = frame[0]
    places = [part[1] for part in _parts(frame) if part[0] in _BY_LEASE] if verb == "STEP" else []
    if isinstance(verb, str) and verb in _BY_LEASE:
        places = [frame[2]]
    for place in places:
        if isinstance(place, (tuple, list)) and list(map(type, place)) == [int, int]:
            yield tuple(place)


def _parts(frame: Frame) -> list[Any]:
    parts = frame[2]
    if not isinstance(parts, (tuple, list)):
        return []
    return [
        part
        for part in parts
        if isinstance(part, (tuple, list)) and len(part) > 1 and isinstance(part[0], str)
    ]


class LeaseBook:
    """Which lease is on messages of which queue, as far as a log has told.

    Leases are never given twice by a server, also not after a restart.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int = MAX_KNOWN_LEASES) -> None:
        self._most = most
        self._queues: dict[tuple[int, int], str] = {}

    def complete(self, entry: Entry) -> Entry:
        """Return an entry with the queues of its leases; learn those that it tells."""
        frame = entry.logged.frame or ()
        if not entry.is_request:
            if entry.verb == "PULL" and entry.queue is not None and len(frame) > 5:
                for lease in _leases(("ACK", 0, frame[5])):
                    self._learn(lease, entry.queue)
            return entry
        leases = list(_leases(frame))
        if not leases:
            return entry
        queues = [self._look_up(lease) for lease in leases]
        known = tuple(queue for queue in queues if queue is not None)
        return replace(entry, by_lease=known, nameless_leases=len(leases) - len(known))

    def _learn(self, lease: tuple[int, int], queue: str) -> None:
        self._queues[lease] = queue
        if len(self._queues) > self._most:
            del self._queues[next(iter(self._queues))]

    def _look_up(self, lease: tuple[int, int]) -> str | None:
        queue = self._queues.pop(lease, None)
        if queue is not None:
            self._queues[lease] = queue  # the youngest again: it is still in use
        return queue


class EntryReader:
    """Turns the records of one log, in order, into entries; replies find their requests.

    Args:
        max_open_requests: how many requests without a reply are remembered.
        leases: which lease is of which queue, so far.
    """

    def __init__(
        self, max_open_requests: int = MAX_OPEN_REQUESTS, leases: LeaseBook | None = None
    ) -> None:
        self._leases = leases or LeaseBook()
        self._splitter = FrameSplitter()
        self._max_open = max_open_requests
        self._open: dict[tuple[int, Any], Request] = {}

    def forget_requests(self) -> None:
        """Start afresh: connections that come are others, whatever their numbers."""
        self._open.clear()

    def read(self, record: Record) -> Iterator[Entry]:
        """Yield the frames of `record`, the next of the log, in order."""
        for logged in self._splitter.split(record):
            entry = Entry(record, logged)
            request_id = entry.request_id
            if type(request_id) is int and record.direction in (IN, OUT):
                key = (record.connection_id, request_id)
                if entry.is_request:
                    entry = self._leases.complete(entry)
                    self._remember(key, entry)
                else:
                    entry = self._leases.complete(Entry(record, logged, self._open.pop(key, None)))
            yield entry

    def _remember(self, key: tuple[int, Any], entry: Entry) -> None:
        open_requests = self._open
        queues = entry.queues
        open_requests[key] = Request(
            entry.record.wall_time_ns,
            entry.verb,
            queues[0] if queues else None,
            queues if len(queues) > 1 else (),
        )
        if len(open_requests) > self._max_open:
            del open_requests[next(iter(open_requests))]


def open_packs(frame: Frame, *, is_request: bool) -> list[Any]:
    """Return a frame with its packs taken apart, where it has the form of one with packs.

    A reply does not say what it answers; ids and packs side by side are the reply to PULL
    or PEEK.
    """
    opened = list(frame)
    if is_request:
        if len(frame) > 4 and frame[0] == "PUSH" and isinstance(frame[4], bytes):
            opened[4] = _open_pack(frame[4])
        if len(frame) > 3 and frame[0] == "STEP" and isinstance(frame[3], bytes):
            opened[3] = _open_pack(frame[3])
    elif len(frame) > 3 and frame[1] == "OK" and isinstance(frame[2], tuple):
        packs = frame[3]
        if isinstance(packs, tuple) and all(isinstance(pack, bytes) for pack in packs):
            opened[3] = [_open_pack(pack) for pack in packs]
    return opened


def _open_pack(pack: bytes) -> Any:
    """Return a pack's bodies, or its bytes if it is none."""
    try:
        return Pack([_decode_body(piece) for piece in split_pack(pack)])
    except CodedError:
        return pack


def _decode_body(piece: bytes) -> Any:
    try:
        return decode_body(piece)
    except (ValueError, TypeError, RecursionError):  # another client's idea of a body
        return piece


# For machines


def to_json_line(entry: Entry) -> str:
    """Return an entry as one JSON object, whole, without a line's end."""
    record, logged = entry.record, entry.logged
    elapsed_ns = entry.elapsed_ns
    fields: dict[str, Any] = {
        "time": utc_text(record.wall_time_ns),
        "time_ns": record.wall_time_ns,
        "connection": record.connection_id,
        "direction": record.direction,
        "source": record.source,
        "destination": record.destination,
        "user": record.user,
        "bytes": len(logged.raw),
        "verb": entry.verb,
        "queue": entry.queue,
        "seconds": None if elapsed_ns is None else elapsed_ns / NANOSECONDS,
    }
    queues = entry.queues
    if len(queues) > 1:
        fields["queues"] = list(queues)
    if logged.frame is None:
        return _undecodable(fields, logged.raw, logged.reason)
    frame = open_packs(logged.frame, is_request=entry.is_request)
    try:
        return to_json({**fields, "frame": _without_packs(frame)})
    except RecursionError:
        return _undecodable(fields, logged.raw, "it is nested too deeply")


def _undecodable(fields: dict[str, Any], raw: bytes, reason: str) -> str:
    extra = {"frame": None, "undecodable": reason, "base64": base64_of(raw)}
    return to_json({**fields, **extra})


def _without_packs(frame: Iterable[Any]) -> list[Any]:
    """Return a frame in which packs are plain arrays."""
    return [
        value.bodies
        if isinstance(value, Pack)
        else [item.bodies if isinstance(item, Pack) else item for item in value]
        if isinstance(value, list)
        else value
        for value in frame
    ]


def utc_text(time_ns: int) -> str:
    """Return a time in ISO 8601 with nanoseconds, or nothing if it is out of its range."""
    if not _MIN_YEAR_NS <= time_ns < _MAX_YEAR_NS:
        return ""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    days, seconds = divmod(seconds, _DAY_SECONDS)
    year, month, day = _date(days)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return (
        f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{nanoseconds:09d}Z"
    )


def _date(days: int) -> tuple[int, int, int]:
    """Return year, month and day of the Gregorian calendar, `days` after 1970-01-01.

    Counted from 0000-03-01, since a year that begins in March has its leap day last, and
    400 years always have the same number of days.
    """
    era, day_of_era = divmod(days + 719_468, 146_097)
    leaps = day_of_era // 1460 - day_of_era // 36_524 + day_of_era // 146_096
    year_of_era = (day_of_era - leaps) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return 400 * era + year_of_era + (month <= 2), month, day
