"""Leases: messages that somebody works on, until a deadline.

Theory of operation. A lease keeps the packs that it was given as they were taken, so a
lease of 64 messages that is acknowledged whole costs no more than its own object. Only
where its messages part ways, or come back, do they get objects of their own
(`Lease.part`). A lease is named by the server's boot epoch and a sequence number that
counts up over the broker's life: even where the last leases before a crash were not on
the disk, and their numbers are given again, the epoch tells them apart.

A lease has one deadline as a rule. Messages of it that were extended by their ids have
deadlines of their own, which lie beside; what settles them is the same lease.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqd.core.deadlines import Timetable
from mqd.core.errors import lease_lost, not_leased
from mqd.core.messages import Message, Owner, unpacked
from mqd.core.shelves import Shelves
from mqwire.packs import split_pack
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from mqd.core.fifo import Batch, HeaderRun, Mark
    from mqd.core.held import HeldBatch
    from mqd.core.parcels import Parcel, ParcelBatch
    from mqd.core.queue import Queue
    from mqd.core.records import Record

PIECE_BYTES: Final = 1 << 20
"""About how large the messages of a lease may be together in one record of a snapshot."""

Part: TypeAlias = "tuple[Batch, tuple[HeaderRun, ...], tuple[Mark, ...]]"
"""Messages as they were taken, and what lay beside them (`Fifo.beside`)."""

Claim: TypeAlias = "tuple[int, int, Runs, str | None]"
"""What somebody says to hold: epoch, sequence, ids under the lease (empty: all of them; each
count at least 1, in any order), and who it is (None: not to be judged)."""


def identity_of(owner: Owner) -> str:
    """Tell who an owner is, without what only describes it."""
    if isinstance(owner, str):
        return owner
    identity: str = owner["instance"]
    return identity


def is_detached(owner: Owner) -> bool:
    """Tell whether an owner keeps its leases to their time, be it connected or not."""
    return type(owner) is dict and owner.get("is_detached") is True


class OwnDeadlines:
    """Messages of a lease that have a deadline of their own."""

    __slots__ = ("by_id", "times")

    def __init__(self) -> None:
        self.by_id: dict[int, int] = {}
        self.times: Timetable[int] = Timetable()

    def set(self, message_id: int, deadline_ms: int) -> None:
        """Give a message a deadline, or another one."""
        self.drop(message_id)
        self.by_id[message_id] = deadline_ms
        self.times.add(deadline_ms, message_id)

    def drop(self, message_id: int) -> None:
        """Let a message have none, as most have."""
        deadline_ms = self.by_id.pop(message_id, None)
        if deadline_ms is not None:
            self.times.remove(deadline_ms, message_id)


class Lease:
    """Messages under one lease.

    Args:
        queue: theirs.
        name: its epoch and number.
        deadline_ms: when it runs out, but for messages with a deadline of their own.
        owner: who has it.
        leased_ms: since when.

    It holds nothing at first.
    """

    __slots__ = (
        "cancelled",
        "count",
        "deadline_ms",
        "due_ms",
        "epoch",
        "leased_ms",
        "loose",
        "own",
        "owner",
        "parcels",
        "parts",
        "queue",
        "seq",
        "size_bytes",
        "spans",
        "who",
    )

    def __init__(
        self, queue: Queue, name: tuple[int, int], deadline_ms: int, owner: Owner, leased_ms: int
    ) -> None:
        self.queue = queue
        self.epoch, self.seq = name
        self.deadline_ms = self.due_ms = deadline_ms
        """`due_ms` is when `LeaseBook.times` has it, which alone sets it."""
        self.owner = owner
        self.who = owner if type(owner) is str else identity_of(owner)
        """Who the owner is."""
        self.leased_ms = leased_ms
        self.count = self.size_bytes = 0
        self.parts: tuple[Part, ...] | list[Part] = ()
        """Messages that were never given back, in packs; counted by whoever puts them in."""
        self.loose: dict[int, Message] | None = None
        """The others; None until there was one."""
        self.parcels: list[Parcel] | None = None
        """Messages that were never given back, in what was taken of parcels."""
        self.spans: tuple[tuple[int, int], ...] = ()
        """First id and count of what was in packs and parcels, and has parted."""
        self.cancelled: set[int] | None = None
        """Those that are not to be tried again; None until there was one."""
        self.own: OwnDeadlines | None = None
        """Those with a deadline of their own; None for none."""

    @property
    def next_ms(self) -> int:
        """When it runs out, or the first of its messages does."""
        own = self.own
        own_ms = None if own is None else own.times.next_ms()
        if own is None or own_ms is None:
            return self.deadline_ms
        return own_ms if self.count == len(own.by_id) else min(own_ms, self.deadline_ms)

    def deadline_of(self, message_id: int) -> int:
        """Tell when one of its messages runs out."""
        own = self.own
        return self.deadline_ms if own is None else own.by_id.get(message_id, self.deadline_ms)

    def run_out(self, now_ms: int) -> list[int]:
        """Return ids whose deadline has come, where some have one of their own."""
        own = self.own
        assert own is not None, "else all of it runs out together"
        found = list(own.times.all_due(now_ms))
        if self.deadline_ms <= now_ms:
            found += self.part().keys() - own.by_id.keys()
        return found

    def add_part(self, part: Part) -> None:
        """Take in messages in packs; whoever does so counts them."""
        if type(self.parts) is list:
            self.parts.append(part)
        else:  # most leases have one
            self.parts = [*self.parts, part] if self.parts else (part,)

    def add(self, batch: HeldBatch) -> None:
        """Take in messages that have objects."""
        self.count += batch.count
        self.size_bytes += batch.size_bytes
        if self.loose is None:
            self.loose = {}
        for message in batch.messages:
            message.deliveries += 1
            self.loose[message.message_id] = message

    def add_parcels(self, batch: ParcelBatch) -> None:
        """Take in messages out of parcels."""
        self.count += batch.count
        self.size_bytes += batch.size_bytes
        if self.parcels is None:
            self.parcels = batch.parcels
        else:
            self.parcels += batch.parcels

    def part(self) -> dict[int, Message]:
        """Give each message an object, and return them by id. What is leased stays so."""
        loose = self.loose
        if loose is None:
            loose = self.loose = {}
        if self.parts or self.parcels:
            for message in self._in_packs():
                loose[message.message_id] = message
            self.spans += tuple(self.runs())
            self.parts = ()
            self.parcels = None
        return loose

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield first id and count of what has no objects."""
        for batch, _, _ in self.parts:
            yield batch.first_id, batch.count
        for parcel in self.parcels or ():
            yield parcel[0], parcel[1]

    def has(self, message_id: int) -> bool:
        """Tell whether a message is under the lease."""
        if self.loose and message_id in self.loose:
            return True
        return any(first <= message_id < first + count for first, count in self.runs())

    def _in_packs(self) -> Iterator[Message]:
        """Yield the messages that have no objects as new ones; this delivery is their first."""
        for part in self.parts:
            yield from _messages_of(part)
        for parcel in self.parcels or ():
            for message in unpacked(parcel):
                message.deliveries = 1
                yield message

    def messages(self) -> list[Message]:
        """Return the messages by id, for looking at: nothing is parted, new objects go."""
        messages = [*(self.loose or {}).values(), *self._in_packs()]
        messages.sort(key=lambda message: message.message_id)
        return messages

    def remove(self, message_id: int) -> Message:
        """Take a message out."""
        message = self.part().pop(message_id)
        self.count -= 1
        self.size_bytes -= message.size_bytes
        if self.cancelled is not None:
            self.cancelled.discard(message_id)
        if self.own is not None:
            self.own.drop(message_id)
        self.queue.where.drop(message_id)
        return message

    def chosen(self, runs: Runs) -> list[int]:
        """Return ids under the lease, ascending: those of `runs`, all of them if it is empty.

        Raises:
            BrokerError: NOT_LEASED, with the first id that is not under the lease.
        """
        loose = self.part()
        return self._checked(runs, loose) if runs else sorted(loose)

    def named(self, runs: Runs) -> list[int]:
        """As `chosen`, of ids that are named: nothing is parted for it."""
        return self._checked(runs, set(ids_of(self.ids())))

    def _checked(self, runs: Runs, there: Container[int]) -> list[int]:
        wanted: set[int] = set()
        for message_id in ids_of(runs):
            if message_id not in there:
                raise not_leased(self.epoch, self.seq, message_id)
            wanted.add(message_id)
        return sorted(wanted)

    def own_deadlines(self) -> Iterator[tuple[int, Runs]]:
        """Yield the deadlines that only some of its messages have, and which these are."""
        ids_by_ms: dict[int, list[int]] = {}
        for message_id, deadline_ms in () if self.own is None else self.own.by_id.items():
            ids_by_ms.setdefault(deadline_ms, []).append(message_id)
        for deadline_ms, ids in sorted(ids_by_ms.items()):
            yield deadline_ms, runs_of(sorted(ids))

    def ids(self) -> Runs:
        """Return the ids under the lease."""
        whole = [range(first, first + count) for first, count in self.runs()]
        return runs_of(sorted([*(self.loose or ()), *(each for ids in whole for each in ids)]))

    def export(self) -> tuple[Record, list[Record]]:
        """Return what makes this lease again: see `mqd.core.job_records`.

        Returns:
            What is behind kind and queue in a LEASED; and the messages of each MORE.
        """
        parts = tuple(
            (batch.first_id, batch.count, b"".join(batch.packs), runs, marks)
            for batch, runs, marks in self.parts
        )
        first, *more = _divided((self.loose or {}).values())
        size_bytes = self.size_bytes - sum(each.size_bytes for piece in more for each in piece)
        leased = (
            self.epoch,
            self.seq,
            self.deadline_ms,
            self.owner,
            self.leased_ms,
            size_bytes,
            parts,
            _exported(first),
            *(() if self.parcels is None else (tuple(self.parcels),)),
        )
        return leased, list(map(_exported, more))


def _exported(messages: Iterable[Message]) -> Record:
    return tuple(message.export() for message in messages)


def _divided(messages: Iterable[Message]) -> list[list[Message]]:
    """Divide messages, so that no record of a snapshot is large for their number."""
    pieces: list[list[Message]] = [[]]
    left = PIECE_BYTES
    for message in messages:
        size_bytes = message.size_bytes + sum(len(each.reason) for each in message.history)
        if size_bytes > left and pieces[-1]:
            pieces.append([])
            left = PIECE_BYTES
        left -= size_bytes
        pieces[-1].append(message)
    return pieces


def _messages_of(part: Part) -> Iterator[Message]:
    """Yield messages that lie in packs as objects; this delivery is their first."""
    batch, runs, marks = part
    end = batch.first_id + batch.count
    headers: dict[int, tuple[dict[str, Any], int]] = {}
    for first, count, values, bytes_each in runs:
        for message_id in range(max(first, batch.first_id), min(first + count, end)):
            headers[message_id] = (values, bytes_each)
    later = list(marks[::-1])
    pieces = batch.packs
    if len(pieces) < batch.count:
        pieces = [piece for pack in pieces for piece in split_pack(pack)]
    for message_id, piece in enumerate(pieces, batch.first_id):
        while len(later) > 1 and later[-2][0] <= message_id:
            later.pop()
        values_or_none, header_bytes = headers.get(message_id, (None, 0))
        message = Message(message_id, piece, values_or_none, header_bytes, later[-1][1])
        message.deliveries = 1
        yield message


class LeaseBook:
    """All leases of a broker: by number, by owner and by deadline."""

    __slots__ = ("_by_owner", "_held_ms", "_held_seq", "_owners", "by_seq", "last_seq", "times")

    def __init__(self) -> None:
        self.by_seq: Shelves[Lease] = Shelves()
        self.last_seq = 0
        """The highest number that was given."""
        self.times: Timetable[int] = Timetable()
        """The numbers by when the lease, or the first of its messages, runs out."""
        self._held_seq = self._held_ms = 0
        self._by_owner: dict[str, Shelves[Lease]] = {}
        self._owners: dict[str, Owner] = {}  # what is known of those whose leases were read

    def open(self, lease: Lease) -> None:
        """Take in a lease."""
        seq, who = lease.seq, lease.who
        self.by_seq[seq] = lease
        queue = lease.queue
        queue.leases[seq] = lease
        queue.where.open(lease)
        self.times.add(lease.due_ms, seq)
        held = self._by_owner.get(who)
        if held is None:
            held = self._by_owner[who] = Shelves()
        held[seq] = lease

    def close(self, lease: Lease) -> None:
        """Forget a lease that holds nothing any more."""
        seq, who = lease.seq, lease.who
        del self.by_seq[seq]
        queue = lease.queue
        queue.where.close(lease)
        del queue.leases[seq]
        self.times.remove(lease.due_ms, seq)
        held = self._by_owner[who]
        del held[seq]
        if not held:
            del self._by_owner[who]
            self._owners.pop(who, None)

    def extend(self, lease: Lease, deadline_ms: int) -> None:
        """Give a whole lease another deadline."""
        lease.deadline_ms, lease.own = deadline_ms, None
        self.retime(lease)

    def extend_some(self, lease: Lease, deadline_ms: int, ids: Runs) -> int:
        """Give messages of a lease a deadline of their own; returns how many."""
        if lease.own is None:
            lease.own = OwnDeadlines()
        count = 0
        for message_id in ids_of(ids):
            lease.own.set(message_id, deadline_ms)
            count += 1
        self.retime(lease)
        return count

    def hold(self, until_ms: int) -> None:
        """Let none of the leases that there are now run out before a time. On no record."""
        self._held_seq, self._held_ms = self.last_seq, until_ms
        for lease in self.by_seq.values():
            self.retime(lease)

    def retime(self, lease: Lease) -> None:
        """Note when a lease runs out that was extended, or of which messages have gone."""
        due_ms = lease.next_ms
        if lease.seq <= self._held_seq:
            due_ms = max(due_ms, self._held_ms)
        if due_ms != lease.due_ms:
            self.times.remove(lease.due_ms, lease.seq)
            lease.due_ms = due_ms
            self.times.add(due_ms, lease.seq)

    def close_all(self, queue: Queue) -> None:
        """Forget the leases of a queue."""
        for lease in list(queue.leases.values()):
            self.close(lease)

    def share_owner(self, lease: Lease) -> None:
        """Let a lease that was read share what is known of its owner with an earlier one."""
        known = self._owners.setdefault(lease.who, lease.owner)
        if known == lease.owner:
            lease.owner = known

    def of_owner(self, who: str, most: int) -> list[Lease]:
        """Return leases that somebody holds, `most` of them at most."""
        held = self._by_owner.get(who)
        return [] if held is None else list(islice(held.values(), most))

    def find(self, claim: Claim) -> Lease:
        """Return the lease that somebody says to hold.

        Raises:
            BrokerError: LEASE_LOST, with `why`: `unknown` was never given, `stale` has the
                number of a live lease and another epoch, `over` was settled or lost,
                `foreign` is somebody else's.
        """
        epoch, seq, _, who = claim
        lease = self.by_seq.get(seq)
        if lease is None:
            raise lease_lost(epoch, seq, "unknown" if seq > self.last_seq else "over")
        if lease.epoch != epoch:
            raise lease_lost(epoch, seq, "stale")
        if who is not None and who != lease.who:
            raise lease_lost(epoch, seq, "foreign")
        return lease
