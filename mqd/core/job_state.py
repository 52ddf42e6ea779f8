"""The state of leases and of messages that come back from them, as records change it.

What may be done, and what becomes of whom, is decided in `mqd.core.jobs`; here it is
carried out, for the first time and whenever a broker is rebuilt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.core import job_records as records
from mqd.core.cancelling import keep_cancelled
from mqd.core.dead_letters import Attic, Redrive, Yard
from mqd.core.deadlines import Timetable
from mqd.core.fifo import ANY_SIZE, PIECE_BYTES, Batch
from mqd.core.held import HELD_BYTES, HeldBatch
from mqd.core.leases import Lease, LeaseBook
from mqd.core.messages import Entry, Message, Owner, restored, totals
from mqd.core.order_records import OLD, OLD_MOVED
from mqd.core.parcels import ParcelBatch
from mqwire import causes
from mqwire.runs import Runs, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.queue import Queue
    from mqd.core.records import Record

_ENTRIES_BYTES: Final = 4
"""What a message that was never delivered before costs beside ones that were: its nil and its
small numbers in the columns."""

_ATTEMPTS = frozenset({causes.NACK})
_MOVES = frozenset({records.MOVED, OLD_MOVED})
_LOSSES = frozenset({causes.EXPIRED, causes.GONE})


class JobState:
    """All leases, and the times for which delayed messages wait.

    Args:
        by_uid: the broker's queues by number.
    """

    def __init__(self, by_uid: dict[int, Queue]) -> None:
        self.clock_ms = 0
        """When the newest record of a job was made."""
        self.book = LeaseBook()
        self.alarms: Timetable[int] = Timetable()
        """The queues with messages that are delayed or expire, by the time of the next one."""
        self.lives: Timetable[int] = Timetable()
        """The queues that end without use, by when to look at them."""
        self._look_ms: dict[int, int] = {}
        self._by_uid = by_uid
        self._alarm_ms: dict[int, int] = {}
        self.appliers: dict[int, Callable[..., int]] = {
            records.LEASE: self._apply_lease,
            records.ACK: self._apply_ack,
            records.EXTEND: self._apply_extend,
            records.RETURN: self._apply_return,
            records.READY: self._apply_ready,
            records.REDRIVE: self._apply_redrive,
            records.PURGE_DEAD: self._apply_purge_dead,
            records.KEEP: self._apply_keep,
            records.LEASED: self._apply_leased,
            records.TALLY: self._apply_tally,
            records.SKIP: self._apply_skip,
            records.SEQUENCE: self._apply_sequence,
            records.MORE: self._apply_more,
        }

    def purge(self, queue: Queue) -> int:
        """Drop the messages of a queue that were given back or wait for a time."""
        held = queue.held
        if held is None:
            return 0
        count, size_bytes = held.waiting()
        queue.leave(count, size_bytes)
        held.purge()
        self.set_alarm(queue)
        return count

    def drop(self, queue: Queue) -> None:
        """Forget all about a queue that is deleted."""
        if queue.leased:
            self.book.close_all(queue)
        if queue.idle_ms:
            self.lives.remove(self._look_ms.pop(queue.uid), queue.uid)
        if queue.held is not None:
            queue.held.purge()
            self.set_alarm(queue)

    def look_at(self, queue: Queue, when_ms: int) -> None:
        """Note when to see whether a queue that ends without use was used."""
        before_ms = self._look_ms.get(queue.uid)
        if before_ms is not None:
            self.lives.remove(before_ms, queue.uid)
        self.lives.add(when_ms, queue.uid)
        self._look_ms[queue.uid] = when_ms

    def export(self, queue: Queue) -> Iterator[Record]:
        """Yield the records of a queue's messages that are not in its `fifo`."""
        held, uid = queue.held, queue.uid
        if held is not None:
            places = (
                (records.READY_HERE, held.ready),
                (records.DELAYED, held.delayed),
                (records.DEAD, held.dead),
            )
            for place, messages in places:
                for message in messages.values():
                    yield (records.KEEP, uid, place, message.export())
        if queue.expired:
            yield (records.TALLY, uid, queue.acked, queue.moved, queue.expired)
        elif queue.acked or queue.moved:
            yield (records.TALLY, uid, queue.acked, queue.moved)

    def export_leases(self) -> Iterator[Record]:
        """Yield the records of all leases, and of the number that was given last."""
        for lease in self.book.by_seq.values():
            uid = lease.queue.uid
            leased, more = lease.export()
            yield (records.LEASED, uid, *leased)
            for messages in more:
                yield (records.MORE, uid, lease.seq, messages)
            for deadline_ms, ids in lease.own_deadlines():
                yield (records.EXTEND, uid, lease.epoch, lease.seq, deadline_ms, ids, 0)
        if self.book.last_seq:
            yield (records.SEQUENCE, self.book.last_seq)

    def grant(self, lease: Lease, most: int, room_bytes: int) -> list[Batch]:
        """Move the first ready messages of a lease's queue under it."""
        queue, book = lease.queue, self.book
        held = queue.held
        if (held is None or not held.ready_count) and not queue.fifo.has_gaps:
            batches = [_grant_fresh(lease, most, room_bytes, 1)]
        else:
            batches = _grant_mixed(lease, most, room_bytes)
            self.note_taken(queue)
        queue.leased += lease.count
        queue.used_ms = lease.leased_ms
        book.last_seq = lease.seq
        book.open(lease)
        self.clock_ms = lease.leased_ms
        return batches

    def _apply_lease(
        self,
        uid: int,
        epoch: int,
        seq: int,
        count: int,
        deadline_ms: int,
        owner: Owner,
        now_ms: int,
        _ids: Runs,
    ) -> int:
        lease = Lease(self._by_uid[uid], (epoch, seq), deadline_ms, owner, now_ms)
        self.grant(lease, count, ANY_SIZE)
        self.book.share_owner(lease)
        assert lease.count == count, "a record belongs to the state that it was made on"
        return count

    def finish(self, lease: Lease, ids: Runs) -> int:
        """Let messages of a lease be done: all of it where there are no ids."""
        queue, count, size_bytes = lease.queue, lease.count, lease.size_bytes
        if ids:
            for message_id in ids_of(ids):
                lease.remove(message_id)
            count -= lease.count
            size_bytes -= lease.size_bytes
            if lease.own is not None:
                self.book.retime(lease)
        else:
            self.book.close(lease)
        queue.acked += count
        queue.leased -= count
        queue.free_messages += count
        queue.free_bytes += size_bytes
        return count

    def _apply_ack(self, _uid: int, _epoch: int, seq: int, ids: Runs) -> int:
        return self.finish(self.book.by_seq[seq], ids)

    def _apply_extend(
        self, _uid: int, _epoch: int, seq: int, deadline_ms: int, ids: Runs = (), now_ms: int = 0
    ) -> int:
        lease = self.book.by_seq[seq]
        self.clock_ms = max(self.clock_ms, now_ms)  # a start with a clock behind it goes on here
        if ids:
            return self.book.extend_some(lease, deadline_ms, ids)
        self.book.extend(lease, deadline_ms)
        return lease.count

    def _apply_return(
        self,
        uid: int,
        _epoch: int,
        seq: int,
        cause: str,
        reason: str,
        now_ms: int,
        parts: tuple[tuple[int, Runs, int], ...],
    ) -> int:
        lease, queue = self.book.by_seq[seq], self._by_uid[uid]
        queue.used_ms = max(queue.used_ms, now_ms)
        entry = Entry(lease.owner, lease.leased_ms, now_ms, cause, reason)
        before = lease.count
        for place, ids, rest in parts:
            for message_id in ids_of(ids):
                message = lease.remove(message_id)
                message.attempts += cause in _ATTEMPTS
                message.losses += cause in _LOSSES
                message.note(entry)
                if place == records.CANCELLED:
                    queue.leave(1, message.size_bytes)
                    queue.cancelled += 1
                    keep_cancelled(queue, message, now_ms)
                elif place == records.MOVED:
                    Yard.move(message, queue, self._by_uid[rest], now_ms)
                elif place in OLD:
                    Attic.move(message, queue, place, self._by_uid.get(rest), now_ms)
                else:
                    put(queue, message, place, rest)
            if place in _MOVES:
                self.set_alarm(self._by_uid[rest])
        count = before - lease.count
        queue.leased -= count
        if not lease.count:
            self.book.close(lease)
        elif lease.own is not None:
            self.book.retime(lease)
        self.set_alarm(queue)
        self.clock_ms = now_ms
        return count

    def _apply_ready(self, uid: int, ids: Runs) -> int:
        queue = self._by_uid[uid]
        held = queue.hold()
        count = sum(map(held.wake, ids_of(ids)))
        self.set_alarm(queue)
        return count

    def _apply_redrive(self, uid: int, ids: Runs, target_uid: int, now_ms: int) -> int:
        self.clock_ms = now_ms
        queue, target = self._by_uid[uid], self._by_uid[target_uid]
        count = Redrive.carry_out(queue, ids, target, now_ms)
        self.set_alarm(queue)
        self.set_alarm(target)
        return count

    def _apply_purge_dead(self, uid: int) -> int:
        queue = self._by_uid[uid]
        dead = queue.hold().dead
        count = len(dead)
        queue.leave(count, sum(message.size_bytes for message in dead.values()))
        queue.purged += count
        dead.clear()
        return count

    def _apply_keep(self, uid: int, place: int, fields: Record) -> int:
        queue = self._by_uid[uid]
        message = restored(fields)
        put(queue, message, place, message.due_ms)
        queue.enter(1, message.size_bytes)
        queue.pushed += 1
        self.set_alarm(queue)
        return 1

    def _apply_leased(self, uid: int, *fields: Any) -> int:
        queue = self._by_uid[uid]
        epoch, seq, deadline_ms, owner, leased_ms, size_bytes, parts, loose, *more = fields
        lease = Lease(queue, (epoch, seq), deadline_ms, owner, leased_ms)
        for first_id, count, pack, runs, marks in parts:
            lease.add_part((Batch(first_id, count, [pack], None), runs, marks))
            lease.count += count
        if loose:
            lease.loose = {each[0]: restored(each) for each in loose}
            lease.count += len(loose)
        if more:
            lease.parcels = list(more[0])
            lease.count += sum(parcel[1] for parcel in lease.parcels)
        lease.size_bytes = size_bytes
        queue.leased += lease.count
        queue.enter(lease.count, size_bytes)
        queue.pushed += lease.count
        self.book.open(lease)
        self.book.share_owner(lease)
        return lease.count

    def _apply_more(self, uid: int, seq: int, fields: Record) -> int:
        queue, lease = self._by_uid[uid], self.book.by_seq[seq]
        messages = list(map(restored, fields))
        count, size_bytes = totals(messages)
        loose = {message.message_id: message for message in messages}
        lease.part().update(loose)
        queue.where.add(lease, loose)
        lease.count += count
        lease.size_bytes += size_bytes
        queue.leased += count
        queue.enter(count, size_bytes)
        queue.pushed += count
        return count

    def _apply_tally(self, uid: int, acked: int, moved: int, expired: int = 0) -> int:
        queue = self._by_uid[uid]
        queue.acked, queue.moved, queue.expired = acked, moved, expired
        queue.pushed += acked + moved + expired
        return 0

    def _apply_skip(self, uid: int, count: int) -> int:
        return self._by_uid[uid].fifo.skip(count)

    def _apply_sequence(self, seq: int) -> int:
        self.book.last_seq = seq
        return 0

    def note_taken(self, queue: Queue) -> None:
        """Note that messages of a queue that may expire were taken."""
        if queue.uid in self._alarm_ms:
            self.set_alarm(queue)

    def bring_alarm(self, queue: Queue, when_ms: int) -> None:
        """Note that something of a queue is due at a time."""
        before_ms = self._alarm_ms.get(queue.uid)
        if before_ms is None or when_ms < before_ms:
            self.set_alarm(queue)

    def set_alarm(self, queue: Queue) -> None:
        """Note when the next delayed message of a queue becomes ready."""
        uid, before_ms = queue.uid, self._alarm_ms.get(queue.uid)
        when_ms = None if queue.held is None else queue.held.next_ms()
        if when_ms == before_ms:
            return
        if before_ms is not None:
            self.alarms.remove(before_ms, uid)
            del self._alarm_ms[uid]
        if when_ms is not None:
            self.alarms.add(when_ms, uid)
            self._alarm_ms[uid] = when_ms


def _grant_fresh(lease: Lease, most: int, room_bytes: int, at_least: int) -> Batch:
    """Move messages that lie in packs from their queue under a lease."""
    queue, fifo = lease.queue, lease.queue.fifo
    runs, marks = fifo.beside(most)
    before_bytes = fifo.size_bytes
    batch = fifo.take(most, room_bytes, at_least)
    count = batch.count
    if count < most:
        if not count:
            return batch
        end = batch.first_id + count
        runs = tuple(run for run in runs if run[0] < end)
        marks = tuple(mark for mark in marks if mark[0] < end)
    size_bytes = before_bytes - fifo.size_bytes
    lease.add_part((batch, runs, marks))
    lease.count += count
    lease.size_bytes += size_bytes
    queue.free_messages -= count
    queue.free_bytes -= size_bytes
    return batch


def _grant_mixed(lease: Lease, most: int, room_bytes: int) -> list[Batch]:
    """Move ready messages under a lease, of which some do not lie in `fifo`."""
    queue, held = lease.queue, lease.queue.hold()
    fifo, by_age = queue.fifo, held.goes_by_age()
    batches: list[Batch] = []
    while most and queue.ready:
        first = held.first(by_age=by_age)
        at_least, before_bytes = 0 if batches else 1, lease.size_bytes
        if first is None or (fifo.count and fifo.first_id < first[0]):
            limit = most if first is None else min(most, first[0] - fifo.first_id)
            # Its messages have entries in the columns of the others, too.
            limit = min(limit, fifo.count, max(1, room_bytes // (2 * _ENTRIES_BYTES)))
            room_bytes -= HELD_BYTES + _ENTRIES_BYTES * limit
            batch = _grant_fresh(lease, limit, room_bytes, at_least)
        else:
            limit = min(most, max(1, room_bytes // (2 * _ENTRIES_BYTES)))
            batch = found = held.take(first[1], limit, room_bytes, at_least)
            if isinstance(found, ParcelBatch):
                room_bytes -= HELD_BYTES + _ENTRIES_BYTES * found.count
                lease.add_parcels(found)
            else:
                lease.add(found)
        if not batch.count:
            break
        batches.append(batch)
        most -= batch.count
        is_held = isinstance(batch, HeldBatch)
        each = HELD_BYTES * batch.count if is_held else PIECE_BYTES * len(batch.packs)
        room_bytes -= lease.size_bytes - before_bytes + each
    return batches


def put(queue: Queue, message: Message, place: int, due_ms: int) -> None:
    """Let a message that the queue has already be ready, delayed or dead."""
    held = queue.hold()
    if place == records.READY_HERE:
        held.add_ready(message)
    elif place == records.DELAYED:
        held.add_delayed(message, due_ms)
    else:
        held.dead[message.message_id] = message
