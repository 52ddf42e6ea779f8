"""Messages of one queue that do not lie in its `fifo`.

An object of their own have only those that a lease has given back, that wait for a time, or
that are dead, and those that came from another queue. A message with an object is in one
place: here (returned, delayed or dead) or under a lease, see `mqd.core.leases`. Messages
whose push asked for more than a plain one does lie in parcels, see `mqd.core.parcels`, which
are here too, ready or delayed. All others lie in packs, see `mqd.core.fifo`.

What is ready here has an order of its own, see `mqd.core.lanes`: the highest priority first,
and the lowest id within one. Lest low priorities starve, every take or lease number
`BY_AGE_EVERY` goes by age instead: the lowest id first, whatever its priority. Takes count
only while there is a choice, that is while something is ready that has another priority than
the usual one; how many were counted is a part of the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core.deadlines import Timetable
from mqd.core.fifo import PIECE_BYTES, Batch
from mqd.core.lanes import PRIORITY, Lanes, rank_of
from mqd.core.parcels import NO_TERMS, ParcelBatch, closed, cut, is_simple, size_of
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqd.core.parcels import Parcel, Terms
    from mqd.core.records import Record

BY_AGE_EVERY: Final = 16
"""Of so many takes one goes by age: a message behind n older ones is delivered after at most
`BY_AGE_EVERY` * (n + 1) takes, and high priorities keep fifteen of sixteen."""

MAX_HISTORY: Final = 16
"""Entries of a message's history; past that the oldest go."""


Owner: TypeAlias = "str | dict[str, Any]"
"""Who holds a lease. A text is all that there is to know; of a map its entry `instance` is
who it is, and the rest describes. Whoever makes it keeps it small."""

Runs: TypeAlias = "tuple[int, ...]"
"""Ids as `(first, count, first, count, ...)`, ascending, no two runs touching."""


class Entry(NamedTuple):
    """One delivery of a message that ended otherwise than with an ack."""

    owner: Owner
    leased_ms: int
    ended_ms: int
    cause: str
    """One of `mqd.core.job_records.CAUSES`."""
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

    def note(self, entry: Entry) -> None:
        """Add an entry to its history."""
        self.history = (*self.history, entry)[-MAX_HISTORY:]

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


def unpacked(parcel: Parcel) -> Iterator[Message]:
    """Yield the messages of a parcel that was never begun, with an object for each."""
    first_id, count, pack, runs, pushed_ms, priority, _, expires_ms, terms = parcel
    headers: list[tuple[dict[str, Any] | None, int]] = [(None, 0)] * count
    for offset, number, values, bytes_each in runs:
        headers[offset : offset + number] = [(values, bytes_each)] * number
    pieces = [pack] if count == 1 else split_pack(pack)
    for index, piece in enumerate(pieces):
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


@dataclass(slots=True)
class HeldBatch(Batch):
    """A batch whose messages have objects, for the columns that only they need."""

    messages: list[Message]

    @property
    def size_bytes(self) -> int:
        """Encoded bodies and headers."""
        return sum(message.size_bytes for message in self.messages)


class Held:
    """The messages of a queue that are returned, delayed, dead, or in parcels."""

    __slots__ = (
        "_lanes",
        "dead",
        "delayed",
        "delayed_count",
        "delayed_parcels",
        "expiries",
        "parcels",
        "ranked",
        "ready",
        "ready_bytes",
        "ready_count",
        "times",
        "turn",
    )

    def __init__(self) -> None:
        self.ready: dict[int, Message] = {}
        """Those with objects, as in the next two."""
        self.delayed: dict[int, Message] = {}
        self.dead: dict[int, Message] = {}
        self.parcels: dict[int, Parcel] = {}
        """The ready ones by key."""
        self.delayed_parcels: dict[int, Parcel] = {}
        """The delayed ones by key."""
        self.ready_count = 0
        """Of messages, in parcels or not, as in the next four."""
        self.delayed_count = 0
        self.ready_bytes = 0
        self.ranked = 0
        """How many are ready that have another priority than the usual one."""
        self.turn = 0
        """Takes since the last that went by age."""
        self.times: Timetable[int] = Timetable()
        """The ids and keys of the delayed by the time when they become ready."""
        self.expiries: Timetable[int] = Timetable()
        """The ids and keys of all that expires, ready or delayed, by when it does."""
        self._lanes = Lanes(self.ready, self.parcels)

    def next_ms(self) -> int | None:
        """When something becomes ready or expires; None for never."""
        due_ms, expires_ms = self.times.next_ms(), self.expiries.next_ms()
        if due_ms is None or expires_ms is None:
            return expires_ms if due_ms is None else due_ms
        return min(due_ms, expires_ms)

    def add_ready(self, message: Message) -> None:
        """Put a message where its priority and its id say."""
        priority = message.priority
        self.ready[message.message_id] = message
        self.ready_count += 1
        self.ready_bytes += message.size_bytes
        if priority != PRIORITY:
            self.ranked += 1
        if message.expires_ms:
            self.expiries.add(message.expires_ms, message.message_id)
        self._lanes.add(priority, message.message_id)

    def add_parcel(self, parcel: Parcel, size_bytes: int) -> None:
        """Put a parcel where its priority and its ids say."""
        count, priority = parcel[1], parcel[5]
        key = parcel[0] + count - 1
        self.parcels[key] = parcel
        self.ready_count += count
        self.ready_bytes += size_bytes
        if priority != PRIORITY:
            self.ranked += count
        if parcel[7]:
            self.expiries.add(parcel[7], key)
        self._lanes.add(priority, key)

    def add_delayed(self, message: Message, due_ms: int) -> None:
        """Keep a message back until `wake`, which is called for after `due_ms`."""
        message.due_ms = due_ms
        self.delayed[message.message_id] = message
        self.delayed_count += 1
        self.times.add(due_ms, message.message_id)
        if message.expires_ms:
            self.expiries.add(message.expires_ms, message.message_id)

    def add_delayed_parcel(self, parcel: Parcel) -> None:
        """Keep a parcel back until `wake`, which is called for when its time has come."""
        key = parcel[0] + parcel[1] - 1
        self.delayed_parcels[key] = parcel
        self.delayed_count += parcel[1]
        self.times.add(parcel[6], key)
        if parcel[7]:
            self.expiries.add(parcel[7], key)

    def wake(self, number: int) -> int:
        """Make a delayed message, or parcel, ready; returns how many messages."""
        parcel = self.delayed_parcels.pop(number, None)
        if parcel is not None:
            count, due_ms = parcel[1], parcel[6]
            self.add_parcel(parcel, size_of(parcel))
        else:
            message = self.delayed.pop(number)
            count, due_ms = 1, message.due_ms
            message.due_ms = 0
            self.add_ready(message)
        self.delayed_count -= count
        self.times.remove(due_ms, number)
        return count

    def due(self, now_ms: int, most: int) -> tuple[list[int], int]:
        """Return numbers of the delayed whose time has come, and how many messages they are.

        Args:
            now_ms: when.
            most: about how many messages at most; a parcel is not divided.
        """
        return self._some(self.times.due(now_ms), most)

    def expired(self, now_ms: int, most: int) -> tuple[list[int], int]:
        """Return numbers of what has expired, as `due`."""
        return self._some(self.expiries.due(now_ms), most)

    def _some(self, table: Iterator[int], most: int) -> tuple[list[int], int]:
        numbers: list[int] = []
        count = 0
        for number in table:
            if count >= most:
                break
            parcel = self.delayed_parcels.get(number) or self.parcels.get(number)
            count += 1 if parcel is None else parcel[1]
            numbers.append(number)
        return sorted(numbers), count

    def find(self, number: int) -> Message | Parcel:
        """Return what is ready or delayed here under a number."""
        parcel = self.parcels.get(number) or self.delayed_parcels.get(number)
        return parcel or self.ready.get(number) or self.delayed[number]

    def remove(self, number: int) -> Message | Parcel:
        """Take what is ready or delayed here under a number out of its place."""
        found = self.find(number)
        if isinstance(found, Message):
            if number in self.ready:
                return self.remove_ready(number)
            del self.delayed[number]
            self._forget(number, 1, found.due_ms, found.expires_ms)
            found.due_ms = 0
        elif number in self.parcels:
            self._remove_parcel(number, found)
            self._leave(found[5], found[1], size_of(found))
            self._lanes.note_gone(number)
        else:
            del self.delayed_parcels[number]
            self._forget(number, found[1], found[6], found[7])
        return found

    def _forget(self, number: int, count: int, due_ms: int, expires_ms: int) -> None:
        """Account for something delayed that is gone."""
        self.delayed_count -= count
        self.times.remove(due_ms, number)
        if expires_ms:
            self.expiries.remove(expires_ms, number)

    def remove_ready(self, message_id: int) -> Message:
        """Take a ready message that has an object out of its place, wherever that is."""
        message = self._remove_first(message_id)
        self._lanes.note_gone(message_id)
        return message

    def _remove_first(self, message_id: int) -> Message:
        message = self.ready.pop(message_id)
        self.ready_count -= 1
        self.ready_bytes -= message.size_bytes
        if message.priority != PRIORITY:
            self.ranked -= 1
        if message.expires_ms:
            self.expiries.remove(message.expires_ms, message_id)
        return message

    def _remove_parcel(self, key: int, parcel: Parcel) -> None:
        del self.parcels[key]
        if parcel[7]:
            self.expiries.remove(parcel[7], key)

    def goes_by_age(self) -> bool:
        """Count a take or a lease; tells whether this one goes by age."""
        if not self.ranked:
            return False
        self.turn += 1
        if self.turn < BY_AGE_EVERY:
            return False
        self.turn = 0
        return True

    def first(self, *, by_age: bool = False) -> tuple[int, int] | None:
        """Return what is next of all that is ready here; None if nothing is.

        Returns:
            Where it stands, the lower, the sooner, to be compared with the ids of `fifo`:
            see `mqd.core.lanes.rank_of`; by age that is an id in any case. And its number,
            for `take`.
        """
        if by_age:
            number = self._lanes.oldest()
            return None if number is None else (number, number)
        head = self._lanes.first()
        if head is None:
            return None
        priority, number = head
        return (number if priority == PRIORITY else rank_of(priority, number)), number

    def take(self, number: int, most: int, room_bytes: int, at_least: int) -> Batch:
        """Remove messages as far as their ids follow each other, as `Fifo.take`.

        They are returned messages, a `HeldBatch`, or out of parcels, a `ParcelBatch`.

        Args:
            number: of what to begin with, as `first` has told.
            most: how many messages at most.
            room_bytes: how large they may be together.
            at_least: how many are taken even where there is no room for them.
        """
        parcel = self.parcels.get(number)
        if parcel is None:
            return self._take_messages(number, most, room_bytes, at_least)
        if parcel[1] == most and is_simple(parcel, most, room_bytes):
            self._remove_parcel(number, parcel)
            size_bytes = len(parcel[2])
            self._leave(parcel[5], most, size_bytes)
            return ParcelBatch(parcel[0], most, [parcel[2]], None, size_bytes, [parcel])
        return self._take_parcels(number, parcel, most, room_bytes, at_least)

    def _take_messages(self, first_id: int, most: int, room_bytes: int, at_least: int) -> HeldBatch:
        messages: list[Message] = []
        message: Message | None = self.ready[first_id]
        priority = self.ready[first_id].priority
        while len(messages) < most and message is not None and message.priority == priority:
            size_bytes = message.size_bytes + PIECE_BYTES
            if size_bytes > room_bytes and len(messages) >= at_least:
                break
            room_bytes -= size_bytes
            messages.append(self._remove_first(message.message_id))
            message = self.ready.get(message.message_id + 1)
        headers = [message.headers for message in messages]
        column = headers if any(headers) else None
        packs = [b"".join([message.piece for message in messages])] if messages else []
        return HeldBatch(first_id, len(messages), packs, column, messages)

    def _take_parcels(
        self, key: int, parcel: Parcel, most: int, room_bytes: int, at_least: int
    ) -> ParcelBatch:
        """Remove the messages of a parcel, and of those in its lane that follow it."""
        priority = parcel[5]
        batch = ParcelBatch(parcel[0], 0, [], None, 0, [])
        while True:
            taken, headers = self._take_parcel(key, parcel, most, room_bytes, at_least)
            count = taken[1]
            if count:
                _join(batch, taken, headers)
                most -= count
                room_bytes -= size_of(taken) + PIECE_BYTES
            if not most or count < parcel[1]:
                return batch
            following = self._lanes.next_in(priority)
            if following is None or following not in self.parcels:
                return batch
            key, parcel, at_least = following, self.parcels[following], 0
            if parcel[0] != taken[0] + count:
                return batch

    def _take_parcel(
        self, key: int, parcel: Parcel, most: int, room_bytes: int, at_least: int
    ) -> tuple[Parcel, list[dict[str, Any] | None] | None]:
        """Remove the first messages of a parcel: what was taken, and its headers."""
        taken, left, headers = parcel, None, None
        if not is_simple(parcel, most, room_bytes):
            taken, left, headers = cut(parcel, most, room_bytes, at_least)
        if left is None:
            self._remove_parcel(key, parcel)
        else:
            self.parcels[key] = left
        self._leave(parcel[5], taken[1], size_of(taken))
        return taken, headers

    def _leave(self, priority: int, count: int, size_bytes: int) -> None:
        """Account for messages of parcels that are no longer here."""
        self.ready_count -= count
        self.ready_bytes -= size_bytes
        if priority != PRIORITY:
            self.ranked -= count

    def oldest_ms(self) -> int | None:
        """When the oldest that is ready here was pushed; None if nothing is."""
        number = self._lanes.oldest()
        if number is None:
            return None
        parcel = self.parcels.get(number)
        return self.ready[number].pushed_ms if parcel is None else parcel[4]

    def waiting(self) -> tuple[int, int]:
        """Tell how many messages are ready or delayed, and their size."""
        size_bytes = self.ready_bytes
        size_bytes += sum(message.size_bytes for message in self.delayed.values())
        size_bytes += sum(size_of(parcel) for parcel in self.delayed_parcels.values())
        return self.ready_count + self.delayed_count, size_bytes

    def purge(self) -> None:
        """Drop the ready and the delayed messages."""
        dead, turn = self.dead, self.turn
        self.__init__()  # type: ignore[misc]
        self.dead, self.turn = dead, turn


def _join(batch: ParcelBatch, taken: Parcel, headers: list[dict[str, Any] | None] | None) -> None:
    """Put what was taken of a parcel at the end of a batch."""
    count, pack = taken[1], taken[2]
    if headers is not None or batch.headers is not None:
        column = batch.headers or [None] * batch.count
        batch.headers = column + (headers or [None] * count)
    batch.parcels.append(taken)
    batch.packs.append(pack)
    batch.count += count
    batch.size_bytes += size_of(taken)


def runs_of(ids: Iterable[int]) -> Runs:
    """Return ascending ids as runs."""
    runs: list[int] = []
    for message_id in ids:
        if runs and runs[-2] + runs[-1] == message_id:
            runs[-1] += 1
        else:
            runs += (message_id, 1)
    return tuple(runs)


def ids_of(runs: Runs) -> Iterator[int]:
    """Yield the ids of runs."""
    for first, count in zip(runs[::2], runs[1::2], strict=True):
        yield from range(first, first + count)
