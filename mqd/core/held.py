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

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqd.core.deadlines import Timetable
from mqd.core.fifo import PIECE_BYTES, Batch
from mqd.core.lanes import PRIORITY, Lanes
from mqd.core.messages import Message
from mqd.core.parcel_table import ParcelTable, body_of, expiry_of
from mqd.core.parcels import ParcelBatch, cut, is_simple, size_of
from mqd.core.shelves import Shelves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mqd.core.parcels import Parcel

BY_AGE_EVERY: Final = 16
"""Of so many takes one goes by age: a message behind n older ones is delivered after at most
`BY_AGE_EVERY` * (n + 1) takes, and high priorities keep fifteen of sixteen."""

HELD_BYTES: Final = 40
"""What a message with an object costs in a reply beside its body and headers, at most: the head
of a msgpack binary, a run of ids, and an entry in each column."""


Lone: TypeAlias = "tuple[list[int], list[bytes]]"
"""Messages out of parcels that are lone ones: their ids and their bodies, in order."""

_NOWHERE: Final = (-1,)


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
        self.ready: Shelves[Message] = Shelves()
        """Those with objects, as in the next two."""
        self.delayed: dict[int, Message] = {}
        self.dead: dict[int, Message] = {}
        self.parcels = ParcelTable()
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
        first_id, count, _, _, _, priority, _, expires_ms, _ = parcel
        key = first_id + count - 1
        self.parcels.put(key, parcel)
        self.ready_count += count
        self.ready_bytes += size_bytes
        if priority != PRIORITY:
            self.ranked += count
        if expires_ms:
            self.expiries.add(expires_ms, key)
        self._lanes.add(priority, key)

    def add_each(
        self, first_id: int, pieces: Sequence[bytes], priorities: bytes, times: tuple[int, int, int]
    ) -> None:
        """Put messages in as parcels, one for each, behind all that there were.

        Args:
            first_id: of the first.
            pieces: their bodies.
            priorities: a byte for each.
            times: when they were pushed, when they become ready and when they expire; the
                last two are 0 for at once and for never.
        """
        pushed_ms, due_ms, expires_ms = times
        count = len(pieces)
        numbers = list(range(first_id, first_id + count))  # each one object, wherever it is kept
        if due_ms:
            for number, piece, priority in zip(numbers, pieces, priorities, strict=True):
                times_of_it = (pushed_ms, priority, due_ms, expires_ms)
                self.add_delayed_parcel((number, 1, piece, (), *times_of_it, None))
            return
        self.parcels.put_each(numbers, pieces, priorities, (pushed_ms, expires_ms))
        self.ready_count += count
        self.ready_bytes += sum(map(len, pieces))
        self.ranked += count - priorities.count(PRIORITY)
        if expires_ms:
            for number in numbers:
                self.expiries.add(expires_ms, number)
        self._lanes.add_each(priorities, numbers)

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
        return self._some(self.times.all_due(now_ms), most)

    def expired(self, now_ms: int, most: int) -> tuple[list[int], int]:
        """Return numbers of what has expired, as `due`."""
        return self._some(self.expiries.all_due(now_ms), most)

    def _some(self, table: Iterator[int], most: int) -> tuple[list[int], int]:
        numbers: list[int] = []
        count = 0
        for number in table:
            if count >= most:
                break
            parcel = self.delayed_parcels.get(number) or self.parcels.find(number)
            count += 1 if parcel is None else parcel[1]
            numbers.append(number)
        return sorted(numbers), count

    def find(self, number: int) -> Message | Parcel:
        """Return what is ready or delayed here under a number."""
        parcel = self.parcels.find(number) or self.delayed_parcels.get(number)
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
            self._lanes.note_gone(found[5], number)
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

    def take_out(self, message_id: int) -> Message | None:
        """Take a ready or delayed message out of its place; None if none has an object here."""
        if message_id not in self.ready and message_id not in self.delayed:
            return None
        message = self.remove(message_id)
        assert isinstance(message, Message), "no parcel has the id of a message with an object"
        return message

    def remove_ready(self, message_id: int) -> Message:
        """Take a ready message that has an object out of its place, wherever that is."""
        message = self._remove_first(message_id)
        self._lanes.note_gone(message.priority, message_id)
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

    def takes_before_age(self) -> int:
        """Tell how many takes that count come before the next that goes by age."""
        return BY_AGE_EVERY - 1 - self.turn

    def first(self, *, by_age: bool = False) -> tuple[int, int] | None:
        """Return what is next of all that is ready here; None if nothing is.

        Returns:
            Its rank, to be compared with the ids of `fifo`, see `mqd.core.lanes`; by age that
            is an id in any case. And its number, for `take`.
        """
        if by_age:
            number = self._lanes.oldest()
            return None if number is None else (number, number)
        return self._lanes.first()

    def take(
        self, number: int, most: int, room_bytes: int, at_least: int
    ) -> HeldBatch | ParcelBatch:
        """Remove messages as far as their ids follow each other, as `Fifo.take`.

        They are returned messages, a `HeldBatch`, or out of parcels, a `ParcelBatch`.

        Args:
            number: of what to begin with, as `first` has told.
            most: how many messages at most.
            room_bytes: how large they may be together.
            at_least: how many are taken even where there is no room for them.
        """
        parcel = self.parcels.find(number)
        if parcel is None:
            return self._take_messages(number, most, room_bytes, at_least)
        first_id, count, pack, headers, _, priority, _, expires_ms, _ = parcel
        if count == most and type(pack) is bytes and not headers:
            size_bytes = len(pack)
            if size_bytes <= room_bytes - PIECE_BYTES:
                del self.parcels[number]
                if expires_ms:
                    self.expiries.remove(expires_ms, number)
                self._leave(priority, count, size_bytes)
                self._lanes.forget(priority, number)
                return ParcelBatch(first_id, count, [pack], None, size_bytes, [parcel])
        return self._take_parcels(number, parcel, most, room_bytes, at_least)

    def take_lone(self, most: int, room_bytes: int, least: int) -> Lone:
        """Remove what is first, as long as it is told quickly and is a lone parcel.

        Not all such parcels are found: there may be fewer, or none.

        Args:
            most: how many at most.
            room_bytes: how large they may be together.
            least: the lowest priority that they may have.
        """
        ids: list[int] = []
        bodies: list[bytes] = []
        while len(ids) < most and (front := self._lanes.front(least)) is not None:
            priority, line = front
            first = line[0]
            keys, entries = self.parcels.take_lone(line, most - len(ids), room_bytes)
            if not keys:
                if first in self.parcels or first in self.ready:
                    break
                line.popleft()
                continue
            if self.expiries.next_ms() is not None:
                for key, entry in zip(keys, entries, strict=True):
                    if expires_ms := expiry_of(entry):
                        self.expiries.remove(expires_ms, key)
            some = list(map(body_of, entries))
            size_bytes = sum(map(len, some))
            self._leave(priority, len(keys), size_bytes)
            room_bytes -= size_bytes
            ids += keys
            bodies += some
        self._lanes.note_taken(len(ids))
        return ids, bodies

    def _take_messages(self, first_id: int, most: int, room_bytes: int, at_least: int) -> HeldBatch:
        messages: list[Message] = []
        message: Message | None = self.ready[first_id]
        priority = self.ready[first_id].priority
        while len(messages) < most and message is not None and message.priority == priority:
            size_bytes = message.size_bytes + HELD_BYTES
            if size_bytes > room_bytes and len(messages) >= at_least:
                break
            room_bytes -= size_bytes
            messages.append(self._remove_first(message.message_id))
            message = self.ready.get(message.message_id + 1)
        self._lanes.forget(priority, first_id + len(messages) - 1)
        headers = [message.headers for message in messages]
        column = headers if any(headers) else None
        packs = [b"".join([message.piece for message in messages])] if messages else []
        return HeldBatch(first_id, len(messages), packs, column, messages)

    def _take_parcels(
        self, key: int, parcel: Parcel, most: int, room_bytes: int, at_least: int
    ) -> ParcelBatch:
        """Remove the messages of a parcel, and of those in its lane that follow it."""
        priority, end = parcel[5], parcel[0]
        batch = ParcelBatch(end, 0, [], None, 0, [])
        while True:
            taken, left, headers = parcel, None, None
            if not is_simple(parcel, most, room_bytes):
                taken, left, headers = cut(parcel, most, room_bytes, at_least)
            if left is None:
                self._remove_parcel(key, parcel)
            else:
                self.parcels.put(key, left)
            if taken[1]:
                size_bytes = _join(batch, taken, headers)
                most -= taken[1]
                room_bytes -= size_bytes + PIECE_BYTES
                end += taken[1]
            following = self._lanes.next_in(priority) if most and left is None else None
            if following is None or self.parcels.find(following, _NOWHERE)[0] != end:
                break
            key, parcel, at_least = following, self.parcels[following], 0
        self._leave(priority, batch.count, batch.size_bytes)
        self._lanes.forget(priority, end - 1)
        return batch

    def _leave(self, priority: int, count: int, size_bytes: int) -> None:
        """Account for messages of parcels that are no longer here."""
        self.ready_count -= count
        self.ready_bytes -= size_bytes
        if priority != PRIORITY:
            self.ranked -= count

    def in_order(self) -> Iterator[tuple[int, Message | Parcel]]:
        """Yield what is ready here in the order in which it is taken, each with its rank.

        As `first` without regard to age. Nothing is sorted, so looking at the first few of a
        million costs a few steps.
        """
        for rank, number in self._lanes.in_order():
            parcel = self.parcels.find(number)
            yield rank, self.ready[number] if parcel is None else parcel

    def delayed_in_order(self) -> Iterator[Message | Parcel]:
        """Yield what is delayed, that first which has been so for longest."""
        if not self.delayed_parcels:
            return iter(self.delayed.values())
        if not self.delayed:
            return iter(self.delayed_parcels.values())
        return heapq.merge(self.delayed.values(), self.delayed_parcels.values(), key=_since_ms)

    def delayed_since_ms(self) -> int | None:
        """Since when that is delayed which has been so for longest; None if nothing is."""
        first = next(self.delayed_in_order(), None)
        return None if first is None else _since_ms(first)

    def dead_since_ms(self) -> int | None:
        """When the message died that has been dead for longest; None for none."""
        message = next(iter(self.dead.values()), None)
        return None if message is None else message.since_ms

    def oldest_ms(self) -> int | None:
        """When the oldest that is ready here was pushed; None if nothing is."""
        number = self._lanes.oldest()
        if number is None:
            return None
        parcel = self.parcels.find(number)
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


def _since_ms(thing: Message | Parcel) -> int:
    return thing.since_ms if isinstance(thing, Message) else thing[4]


def _join(batch: ParcelBatch, taken: Parcel, headers: list[dict[str, Any] | None] | None) -> int:
    """Put what was taken of a parcel at the end of a batch; returns its size in bytes."""
    count, pack = taken[1], taken[2]
    if headers is not None or batch.headers is not None:
        column = batch.headers or [None] * batch.count
        batch.headers = column + (headers or [None] * count)
    size_bytes = size_of(taken) if taken[3] else len(pack)
    batch.parcels.append(taken)
    batch.packs.append(pack)
    batch.count += count
    batch.size_bytes += size_bytes
    return size_bytes
