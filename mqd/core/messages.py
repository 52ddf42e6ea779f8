"""Messages that have an object of their own.

Where they are, and which have one, is the matter of `mqd.core.held`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core.lanes import PRIORITY
from mqd.core.parcels import NO_TERMS, closed, size_of
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqd.core.parcels import Parcel, Terms
    from mqd.core.records import Record

MAX_HISTORY: Final = 16
"""Entries of a message's history; past that the oldest go."""

GIST_CHARS: Final = 256
"""Characters of a reason that are kept when another entry has come: a history is bounded, and
each message has a copy of it in a snapshot."""

Owner: TypeAlias = "str | dict[str, Any]"
"""Who holds a lease. A text is all that there is to know; of a map its entry `instance` is
who it is, and the rest describes. Whoever makes it keeps it small."""


class Entry(NamedTuple):
    """One delivery of a message that ended otherwise than with an ack."""

    owner: Owner
    leased_ms: int
    ended_ms: int
    cause: str
    """One of `mqwire.causes`."""
    reason: str


class Origin(NamedTuple):
    """Where a dead letter came from, and what it had been through there."""

    queue: str
    message_id: int
    pushed_ms: int
    attempts: int
    losses: int


class Message:
    """One message that was delivered before, or waits for a time."""

    __slots__ = (
        "attempts",
        "deliveries",
        "due_ms",
        "expires_ms",
        "header_bytes",
        "headers",
        "history",
        "losses",
        "message_id",
        "origin",
        "piece",
        "priority",
        "pushed_ms",
        "terms",
    )

    def __init__(
        self,
        message_id: int,
        piece: bytes,
        headers: dict[str, Any] | None,
        header_bytes: int,
        pushed_ms: int,
    ) -> None:
        self.message_id = message_id
        self.piece = piece
        self.headers = headers
        self.header_bytes = header_bytes
        self.pushed_ms = pushed_ms
        self.deliveries = 0
        """How often it was handed out; never falls."""
        self.attempts = 0
        """How often it failed since it came into its queue or was redriven."""
        self.losses = 0
        """How often its worker was lost, since then."""
        self.due_ms = 0
        """When it becomes ready, while it is delayed."""
        self.history: tuple[Entry, ...] = ()
        self.origin: Origin | None = None
        self.priority = PRIORITY
        self.expires_ms = 0
        """When it expires, unless it is under a lease or dead; 0 for never."""
        self.terms: Terms | None = None
        """What its push said, see `mqd.core.parcels`; it counts in the queue of that push."""

    @property
    def own_terms(self) -> Terms:
        """What its push says of it where it is."""
        return NO_TERMS if self.terms is None or self.origin is not None else self.terms

    @property
    def size_bytes(self) -> int:
        """Encoded body and headers."""
        return len(self.piece) + self.header_bytes

    @property
    def since_ms(self) -> int:
        """Since when it is what it is, while it is delayed or dead."""
        return self.history[-1].ended_ms if self.history else self.pushed_ms

    def note(self, entry: Entry) -> None:
        """Add an entry to its history; of the reasons before it the beginnings are kept."""
        earlier = self.history
        if earlier and len(earlier[-1].reason) > GIST_CHARS:
            last = earlier[-1]
            earlier = (*earlier[:-1], last._replace(reason=last.reason[:GIST_CHARS]))
        self.history = (*earlier, entry)[-MAX_HISTORY:]

    def export(self) -> Record:
        """Return what `restored` takes."""
        return tuple(getattr(self, name) for name in _FIELDS)


_FIELDS: Final = (
    "message_id", "piece", "headers", "header_bytes", "pushed_ms",
    "deliveries", "attempts", "losses", "due_ms", "history", "origin",
    "priority", "expires_ms", "terms",
)  # fmt: skip
_OLD_FIELDS: Final = 11
"""How many the records of versions without priorities have."""


def restored(fields: Record) -> Message:
    """Make a message as it was exported."""
    message = Message(*fields[:5])
    message.deliveries, message.attempts, message.losses, message.due_ms = fields[5:9]
    message.history = tuple(Entry(*entry) for entry in fields[9])
    message.origin = None if fields[10] is None else Origin(*fields[10])
    if len(fields) > _OLD_FIELDS:
        message.priority, message.expires_ms, terms = fields[11:14]
        message.terms = None if terms is None else tuple(terms)
    return message


def unpacked(parcel: Parcel, skip: int = 0) -> Iterator[Message]:
    """Yield the messages of a parcel that was never begun, with an object for each.

    The first `skip` of them are passed over.
    """
    first_id, count, pack, runs, pushed_ms, priority, _, expires_ms, terms = parcel
    headers: list[tuple[dict[str, Any] | None, int]] = [(None, 0)] * count
    for offset, number, values, bytes_each in runs:
        headers[offset : offset + number] = [(values, bytes_each)] * number
    pieces = [pack] if count == 1 else split_pack(pack)
    for index, piece in islice(enumerate(pieces), skip, None):
        message = Message(first_id + index, piece, *headers[index], pushed_ms)
        message.priority, message.expires_ms, message.terms = priority, expires_ms, terms
        yield message


def apart(things: Iterable[Message | Parcel]) -> Iterator[Message]:
    """Yield messages and those of parcels, each with an object."""
    for thing in things:
        if isinstance(thing, Message):
            yield thing
        else:
            yield from unpacked(closed(thing))


def totals(things: Iterable[Message | Parcel]) -> tuple[int, int]:
    """Tell how many messages things are, and their size."""
    count = size_bytes = 0
    for thing in things:
        if isinstance(thing, Message):
            count += 1
            size_bytes += thing.size_bytes
        else:
            count += thing[1]
            size_bytes += size_of(thing)
    return count, size_bytes
