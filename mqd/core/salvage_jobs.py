"""What records of leases and of time mean where some are missing. Pure.

A part of `mqd.core.salvage`.

Most of them name their messages, and what is said of a message by its id is true whatever
is missing: that it came under a lease, came back, is dead, or is done. So each message is
taken from wherever it was thought to be and put where the record says. The rules behind it:

- A message whose lease is lost is still ready: it is delivered again, and the one who had
  it finds `LEASE_LOST`. So is one whose lease ended in a hole, at that lease's deadline.
- An ack of a whole lease is about what is left under it. If the lease was there before a
  hole, messages may have come back from it in there and be somebody else's: all of them
  are ready again. An ack that names its messages, or is of a lease that began since, is
  carried out.
- A message that leaves for another queue gets its id there; which one cannot be known
  where records are missing. It is put at the end of that queue when all is over, and what
  came of it there is not counted: it may be delivered again.
- A message that stands in no packs of its queue any more but in the record of a lease, or
  has one of its own, is lost if that record is: nothing else holds it.
- What has waited too long is dropped where that is said of a message, or of a parcel that
  has come since the last hole. Of a parcel from before it, messages may have been elsewhere
  then: all of it stays, and goes when the server starts if its time is over.
- A cancelled message goes, unless nothing is removed at all; one whose lease is lost is not
  marked any more.
- Counts of deliveries, attempts and losses are those of the records that were found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mqd.core import job_records as records
from mqd.core import order_records, view_records
from mqd.core.cancelling import keep_cancelled
from mqd.core.job_state import put
from mqd.core.leases import Lease
from mqd.core.messages import (
    Entry,
    Message,
    Origin,
    restored,
    totals,
    unpacked,
)
from mqd.core.salvage_parcels import ParcelIndex
from mqd.core.salvage_places import loosen, reach
from mqwire import causes
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.broker import Broker
    from mqd.core.messages import Owner
    from mqd.core.parcels import Parcel
    from mqd.core.queue import Queue
    from mqd.core.records import Record

NO_QUEUE: Final = "its queue is not known"
NO_LEASE: Final = "its lease is not known, and so which messages it is about"
DOUBTFUL: Final = (
    "its lease began before a gap, in which messages may have come back from it, so that those "
    "under it were not removed: they are delivered again"
)
MAYBE_OLD: Final = (
    "it is about messages that were pushed together before a gap, in which some may have gone "
    "elsewhere, so that they were not removed: they go when their time is over"
)
NO_RESULTS: Final = "its queue is not known to keep results"
NO_DOUBT: Final = frozenset({NO_QUEUE, NO_LEASE, DOUBTFUL, MAYBE_OLD, NO_RESULTS})
"""Refusals after which nothing is less certain than before."""

_BEGINNINGS: Final = frozenset({records.KEEP, records.LEASED, records.MORE, order_records.PARCEL})
_LOSSES: Final = frozenset({causes.EXPIRED, causes.GONE})


class JobRules:
    """The rules for records of leases, in a broker from whose history some are missing.

    Args:
        broker: the broker.
        queues: those that are known, by number.
        make_up: begins a queue of which nothing is known but its number.
    """

    def __init__(
        self, broker: Broker, queues: dict[int, Queue], make_up: Callable[[int], Queue]
    ) -> None:
        self.known = 0
        """Records that changed nothing, since what they say was there."""
        self.again: Counter[int] = Counter()
        """Messages that are delivered again though they may be done, by their queue's number."""
        self.keeps_all = False
        """Whether nothing is removed for a record."""
        self.touched: set[int] = set()
        """Queues for which a rule was used."""
        self._broker = broker
        self._book = broker.jobs.state.book
        self._queues = queues
        self._make_up = make_up
        self._certain: set[int] = set()  # leases that began since the last gap
        self._whole: set[tuple[int, int]] = set()  # parcels since then, by queue and key
        self._parcels = ParcelIndex()
        self._parked: list[tuple[int, Message, int]] = []  # on their way to another queue
        self._seqs: dict[tuple[int, int], int] | None = None  # leases by queue and id
        self._rules: dict[int, Callable[..., str | None]] = {
            records.LEASE: self._lease,
            records.ACK: self._ack,
            records.EXTEND: self._extend,
            records.RETURN: self._return,
            records.READY: self._ready,
            records.REDRIVE: self._redrive,
            records.KEEP: self._keep,
            records.LEASED: self._leased,
            records.TALLY: self._plain,
            records.SKIP: self._plain,
            records.MORE: self._more,
            order_records.PARCEL: self._parcel,
            order_records.PAUSE: self._plain,
            order_records.RESUME: self._plain,
            order_records.TURN: self._plain,
            order_records.EXPIRE: self._expire,
            view_records.DONE: self._ack,
            view_records.CANCEL: self._cancel,
            view_records.MARK: self._mark,
            view_records.RESULTS: self._results,
            view_records.CANCELLED: self._plain,
        }

    def note_gap(self) -> None:
        """Note that records are missing, or could not be carried out."""
        self._certain.clear()
        self._whole.clear()

    def note_parcel(self, uid: int, parcel: Parcel, *, has_gap: bool) -> None:
        """Note a parcel that has come to a queue, perhaps behind a gap."""
        self._parcels.note(uid, parcel)
        if has_gap:
            self._whole.add((uid, parcel[0] + parcel[1] - 1))

    def apply(self, record: Record) -> str | None:
        """Carry out a record behind a gap; returns why not, if it is not carried out."""
        if record[0] == records.SEQUENCE:
            self._book.last_seq = max(self._book.last_seq, record[1])
            return None
        uid = record[1]
        queue = self._queues.get(uid)
        if queue is None:
            if record[0] not in _BEGINNINGS:
                return NO_QUEUE
            queue = self._make_up(uid)
        self.touched.add(uid)
        return self._rules[record[0]](queue, record)

    def has_ties(self, queue: Queue) -> bool:
        """Tell whether messages of a queue may be in another, or the other way round."""
        return (
            queue.dead_letter is not None
            or any(other.dead_letter == queue.name for other in self._queues.values())
            or any(uid == queue.uid for uid, _, _ in self._parked)
        )

    def forget(self, uid: int) -> None:
        """Note that a queue is deleted, with its leases."""
        if self._seqs is not None:
            self._seqs = {key: seq for key, seq in self._seqs.items() if key[0] != uid}
        self._parcels.forget(uid)
        self._whole = {each for each in self._whole if each[0] != uid}
        self.touched.discard(uid)
        del self.again[uid]

    def finish(self) -> None:
        """Let the messages arrive that are on their way to another queue."""
        for uid, message, now_ms in self._parked:
            target = self._queues.get(uid) or self._make_up(uid)
            self.touched.add(uid)
            self.again[uid] += 1
            message.attempts = message.losses = 0
            message.message_id = target.fifo.skip(1)
            message.pushed_ms = now_ms
            message.expires_ms = target.expiry_ms(now_ms, message)
            target.enter(1, message.size_bytes)
            target.hold().add_ready(message)
        self._parked.clear()

    # Rules

    def _lease(self, queue: Queue, record: Record) -> None:
        _, _, epoch, seq, _, deadline_ms, owner, now_ms, ids = record
        book = self._book
        if seq in book.by_seq:
            self.known += 1
            return
        lease = Lease(queue, (epoch, seq), deadline_ms, owner, now_ms)
        loose = lease.part()
        for message_id in ids_of(ids):
            message = self._take_out(queue, message_id)
            if message is not None:
                message.deliveries += 1
                loose[message_id] = message
                lease.count += 1
                lease.size_bytes += message.size_bytes
        book.last_seq = max(book.last_seq, seq)
        self._note_time(now_ms)
        if lease.count:
            queue.leased += lease.count
            book.open(lease)
            self._index(lease)

    def _ack(self, queue: Queue, record: Record) -> str | None:
        _, _, epoch, seq, ids, *more = record
        if not ids:
            lease = self._find(epoch, seq)
            if lease is None:
                return NO_LEASE
            ids = lease.ids()
            if seq not in self._certain:
                self._hand_back(queue, ids)
                return DOUBTFUL
        for message_id in ids_of(ids):
            message = self._take_out(queue, message_id)
            if message is not None:
                queue.leave(1, message.size_bytes)
                queue.acked += 1
                if more and queue.kept is not None:
                    queue.kept.add_done(message, *more)
        return None

    def _cancel(self, queue: Queue, record: Record) -> None:
        for message_id in ids_of(record[2]):
            message = self._take_out(queue, message_id)
            if message is not None:
                self._end_cancelled(queue, message, record[3])
        self._note_time(record[3])

    def _end_cancelled(self, queue: Queue, message: Message, now_ms: int) -> None:
        if self.keeps_all:
            put(queue, message, records.READY_HERE, 0)
            return
        queue.leave(1, message.size_bytes)
        queue.cancelled += 1
        keep_cancelled(queue, message, now_ms)

    def _mark(self, queue: Queue, record: Record) -> str | None:
        lease = self._book.by_seq.get(record[2])
        if lease is None or lease.queue is not queue:
            return NO_LEASE
        lease.cancelled = {*(lease.cancelled or ()), *ids_of(record[3])} & set(ids_of(lease.ids()))
        return None

    def _results(self, queue: Queue, record: Record) -> str | None:
        if queue.kept is None:
            return NO_RESULTS
        self._broker.apply(record)
        return None

    def _hand_back(self, queue: Queue, ids: Runs) -> None:
        for message_id in ids_of(ids):
            message = self._take_out(queue, message_id)
            assert message is not None, "they are those of a lease that is there"
            queue.hold().add_ready(message)
            self.again[queue.uid] += 1

    def _extend(self, _queue: Queue, record: Record) -> str | None:
        _, _, epoch, seq, deadline_ms, *more = record
        if len(more) > 1:
            self._note_time(more[1])
        lease = self._find(epoch, seq)
        if lease is None:
            return NO_LEASE
        if not more or not more[0]:
            self._book.extend(lease, deadline_ms)
            return None
        ids = [each for each in ids_of(more[0]) if each in lease.part()]
        if ids:
            self._book.extend_some(lease, deadline_ms, runs_of(ids))
        return None

    def _return(self, queue: Queue, record: Record) -> None:
        _, _, epoch, seq, cause, reason, now_ms, parts = record
        lease = self._find(epoch, seq)
        owner: Owner = "" if lease is None else lease.owner
        leased_ms = now_ms if lease is None else lease.leased_ms
        entry = Entry(owner, leased_ms, now_ms, cause, reason)
        for place, ids, rest in parts:
            for message_id in ids_of(ids):
                message = self._take_out(queue, message_id)
                if message is None:
                    continue
                message.attempts += cause == causes.NACK
                message.losses += cause in _LOSSES
                message.note(entry)
                if place == records.MOVED:
                    self._move(queue, message, rest, now_ms)
                elif place == records.CANCELLED:
                    self._end_cancelled(queue, message, now_ms)
                elif place in order_records.OLD:
                    self._end(queue, message, (place, rest), now_ms)
                else:
                    put(queue, message, place, rest)
        self._note_time(now_ms)

    def _expire(self, queue: Queue, record: Record) -> str | None:
        _, uid, numbers, parts, now_ms = record
        self._note_time(now_ms)
        for place, ids, rest in parts:
            for message_id in ids_of(ids):
                message = self._take_out(queue, message_id)
                if message is not None:
                    self._end(queue, message, (place, rest), now_ms)
        reason = None
        for number in () if parts else ids_of(numbers):
            if self._parcels.key_of(queue, number) != number:
                message = self._take_out(queue, number)
                if message is not None:
                    self._end(queue, message, (order_records.DROPPED, 0), now_ms)
            elif (uid, number) in self._whole:
                count, size_bytes = totals([queue.hold().remove(number)])
                queue.leave(count, size_bytes)
                queue.expired += count
            else:
                self.again[uid] += totals([queue.hold().find(number)])[0]
                reason = MAYBE_OLD
        return reason

    def _end(self, queue: Queue, message: Message, fate: tuple[int, int], now_ms: int) -> None:
        """Let a message that was taken out have the fate of those that waited too long."""
        place, target_uid = fate
        if place != order_records.DROPPED:
            message.note(Entry("", now_ms, now_ms, causes.TTL, ""))
        elif not self.keeps_all:
            queue.leave(1, message.size_bytes)
            queue.expired += 1
            return
        if place == order_records.OLD_MOVED:
            self._move(queue, message, target_uid, now_ms)
        else:
            is_dead = place == order_records.OLD_DEAD
            put(queue, message, records.DEAD if is_dead else records.READY_HERE, 0)

    def _ready(self, queue: Queue, record: Record) -> None:
        held = queue.hold()
        for message_id in ids_of(record[2]):
            if message_id in held.delayed or message_id in held.delayed_parcels:
                held.wake(message_id)

    def _redrive(self, queue: Queue, record: Record) -> None:
        _, uid, ids, target_uid, now_ms = record
        for message_id in ids_of(ids):
            message = self._take_out(queue, message_id)
            if message is None:
                continue
            if target_uid == uid:
                message.attempts = message.losses = 0
                message.expires_ms = queue.expiry_ms(now_ms, message)
                queue.hold().add_ready(message)
            else:
                message.origin = None
                self._park(queue, message, target_uid, now_ms)
        self._note_time(now_ms)

    def _keep(self, queue: Queue, record: Record) -> None:
        message_id = restored(record[3]).message_id
        if self._has(queue, message_id):
            self.known += 1
            return
        reach(queue, message_id)
        self._broker.apply(record)

    def _parcel(self, queue: Queue, record: Record) -> None:
        parcel: Parcel = record[2:]
        absent = [each for each in unpacked(parcel) if not self._has(queue, each.message_id)]
        if not absent:
            self.known += 1
            return
        reach(queue, parcel[0] + parcel[1] - 1)
        if len(absent) == parcel[1]:
            self._broker.apply(record)
            self.note_parcel(queue.uid, parcel, has_gap=True)
            return
        place = records.DELAYED if parcel[6] else records.READY_HERE
        for message in absent:
            queue.enter(1, message.size_bytes)
            put(queue, message, place, parcel[6])

    def _leased(self, queue: Queue, record: Record) -> None:
        seq = record[3]
        if seq in self._book.by_seq:
            self.known += 1
            return
        self._broker.apply(record)
        lease = self._book.by_seq[seq]
        self._book.last_seq = max(self._book.last_seq, seq)
        reach(queue, max(ids_of(lease.ids())))
        self._index(lease)

    def _more(self, queue: Queue, record: Record) -> None:
        lease = self._book.by_seq.get(record[2])
        for message in map(restored, record[3]):
            if self._has(queue, message.message_id):
                self.known += 1
                continue
            reach(queue, message.message_id)
            queue.enter(1, message.size_bytes)
            if lease is None or lease.queue is not queue:
                queue.hold().add_ready(message)
                continue
            lease.part()[message.message_id] = message
            queue.where.add(lease, (message.message_id,))
            lease.count += 1
            lease.size_bytes += message.size_bytes
            queue.leased += 1
            self._index()[queue.uid, message.message_id] = lease.seq

    def _plain(self, _queue: Queue, record: Record) -> None:
        self._broker.apply(record)

    # Messages

    def _has(self, queue: Queue, message_id: int) -> bool:
        """Tell whether a message is there elsewhere than in packs."""
        held = queue.hold()
        return (
            any(message_id in place for place in (held.ready, held.delayed, held.dead))
            or (queue.uid, message_id) in self._index()
            or self._parcels.key_of(queue, message_id) is not None
        )

    def _find(self, epoch: int, seq: int) -> Lease | None:
        lease = self._book.by_seq.get(seq)
        return lease if lease is not None and lease.epoch == epoch else None

    def _take_out(self, queue: Queue, message_id: int) -> Message | None:
        """Take a message from wherever it is; the queue still counts it as there."""
        seqs, held, fifo = self._index(), queue.hold(), queue.fifo
        if fifo.count and fifo.first_id <= message_id < fifo.next_id:
            loosen(queue, message_id + 1)
        self._parcels.loosen(queue, message_id)
        if message_id in held.delayed:
            held.wake(message_id)
        if message_id in held.ready:
            return held.remove_ready(message_id)
        if message_id in held.dead:
            return held.dead.pop(message_id)
        seq = seqs.pop((queue.uid, message_id), None)
        if seq is None:
            return None
        lease = self._book.by_seq[seq]
        message = lease.remove(message_id)
        queue.leased -= 1
        if not lease.count:
            self._book.close(lease)
        return message

    def _move(self, queue: Queue, message: Message, target_uid: int, now_ms: int) -> None:
        origin = (queue.name, message.message_id, message.pushed_ms)
        message.origin = Origin(*origin, message.attempts, message.losses)
        self._park(queue, message, target_uid, now_ms)

    def _park(self, queue: Queue, message: Message, target_uid: int, now_ms: int) -> None:
        queue.leave(1, message.size_bytes)
        queue.moved += 1
        self._parked.append((target_uid, message, now_ms))

    def _index(self, lease: Lease | None = None) -> dict[tuple[int, int], int]:
        """Return the leases of all messages; `lease` is one that has begun since the last gap."""
        found: Any = ()
        if self._seqs is None:
            self._seqs, found = {}, self._book.by_seq.values()
        elif lease is not None:
            found = (lease,)
        if lease is not None:
            self._certain.add(lease.seq)
        for each in found:
            for message_id in ids_of(each.ids()):
                self._seqs[each.queue.uid, message_id] = each.seq
        return self._seqs

    def _note_time(self, now_ms: int) -> None:
        state = self._broker.jobs.state
        state.clock_ms = max(state.clock_ms, now_ms)
