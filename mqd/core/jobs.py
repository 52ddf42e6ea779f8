"""The life of a job: leases, and what becomes of messages that were delivered.

As in `mqd.core.broker`, a command is planned, then applied. Leasing is one pass, `lease`,
as taking is. Time passes by `plan_expiry`: it finds the leases whose deadline has come and
the delayed messages whose time has, and makes records of them; so it has to be called, and
its records applied, before the commands of a moment are planned. Nothing else looks at a
clock, and applying the same records gives the same state.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from mqd.core import job_records as records
from mqd.core import order_records, view_records
from mqd.core import records as queue_records
from mqd.core.dead_letters import EVERY_ONE, Attic, Redrive, Wanted, Yard
from mqd.core.job_state import JobState
from mqd.core.leases import Claim, Lease
from mqd.core.messages import Message, Owner, apart
from mqwire import causes
from mqwire.limits import MAX_LEASE_MESSAGES, MAX_REASON_CHARS
from mqwire.runs import Runs, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.fifo import Batch
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.core.results import Result
    from mqd.core.rooms import Rooms
    from mqd.core.view_state import ViewState


class Jobs:
    """The leases of a broker, and the messages that come back from them.

    Args:
        by_name: the broker's queues.
        by_uid: the same by number.
    """

    def __init__(self, by_name: dict[str, Queue], by_uid: dict[int, Queue]) -> None:
        self.epoch = 0
        """How many times the server was started; set before the first lease."""
        self.started_ms: int | None = None
        """When this was; set before the first command. No queue ends for want of use before
        then, of which there is no record."""
        self.state = JobState(by_uid)
        self.view: ViewState
        """Set by the broker."""
        self._by_name = by_name
        self._by_uid = by_uid
        self._book = self.state.book

    def __len__(self) -> int:
        """Tell how many leases there are."""
        return len(self._book.by_seq)

    # Commands

    def lease(
        self,
        queue: Queue,
        most: int,
        room_bytes: int,
        deadline_ms: int,
        owner: Owner,
        now_ms: int,
    ) -> tuple[Record, list[Batch]]:
        """Put the first ready messages of a queue that has some under a lease, in one pass.

        Args:
            queue: has at least one message `available`.
            most: how many messages at most, at least 1. No more than the queue's cap allows
                are taken, nor than `MAX_LEASE_MESSAGES`.
            room_bytes: how large they may be together. The first is taken in any case.
            deadline_ms: when the lease runs out.
            owner: who asks.
            now_ms: when.

        Returns:
            The record of what was done, `(LEASE, uid, epoch, seq, ...)`; and the messages
            in batches, in each of which the ids follow each other.
        """
        book = self._book
        most = min(most, MAX_LEASE_MESSAGES)
        if queue.max_leased is not None:
            most = min(most, queue.max_leased - queue.leased)
        seq = book.last_seq + 1
        lease = Lease(queue, (self.epoch, seq), deadline_ms, owner, now_ms)
        batches = self.state.grant(lease, most, room_bytes)
        ids = (batches[0].first_id, lease.count) if len(batches) == 1 else _taken(batches)
        return (
            (
                records.LEASE,
                queue.uid,
                self.epoch,
                seq,
                lease.count,
                deadline_ms,
                owner,
                now_ms,
                ids,
            ),
            batches,
        )

    def lease_of(self, claim: Claim) -> Lease:
        """Return the lease that somebody says to hold. It is for looking at.

        Raises:
            BrokerError: LEASE_LOST.
        """
        return self._book.find(claim)

    def plan_ack(self, claim: Claim, now_ms: int = 0, result: Result = None) -> Record:
        """Plan that messages are done.

        Args:
            claim: which.
            now_ms: when; looked at in queues that keep results.
            result: what came of each of them; not kept in other queues.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease = self._book.find(claim)
        ids = claim[2]
        if ids:
            ids = _chosen(lease, ids)
        return _done(lease, ids, now_ms, result)

    def finish(self, lease: Lease, ids: Runs, now_ms: int = 0, result: Result = None) -> Record:
        """Carry out that messages of a lease are done, in one pass; returns the record of it.

        Args:
            lease: as `lease_of` has found it.
            ids: which of its messages; none for all.
            now_ms: as of `plan_ack`.
            result: as of `plan_ack`.

        Raises:
            BrokerError: NOT_LEASED, and nothing has changed.
        """
        if ids:
            ids = _chosen(lease, ids)
        if lease.queue.kept is not None:
            self.view.finish(lease, ids, now_ms, result)
            return _done(lease, ids, now_ms, result)
        self.state.finish(lease, ids)
        return (records.ACK, lease.queue.uid, lease.epoch, lease.seq, ids)

    def plan_extend(self, claim: Claim, deadline_ms: int, now_ms: int) -> Record:
        """Plan another deadline, for a whole lease or for single messages of it.

        Args:
            claim: the lease, and which of its messages; none for all.
            deadline_ms: when they are handed back, if nothing comes.
            now_ms: the time.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease, ids = self._book.find(claim), claim[2]
        if ids:
            named = lease.named(ids)
            ids = () if len(named) == lease.count else runs_of(named)
        uid = lease.queue.uid
        return (records.EXTEND, uid, lease.epoch, lease.seq, deadline_ms, ids, now_ms)

    def plan_nack(
        self,
        claim: Claim,
        now_ms: int,
        *,
        reason: str = "",
        delay_ms: int | None = None,
        chance: float = 0.0,
        rooms: Rooms | None = None,
    ) -> Record:
        """Plan that messages have failed: an attempt each.

        Args:
            claim: which.
            now_ms: when.
            reason: for people.
            delay_ms: how long they are kept back; None to go by the queue's back-off.
            chance: from 0 up to 1, drawn by the caller for the back-off's jitter.
            rooms: those of the step that this is part of, where there is one.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease = self._book.find(claim)
        retries = lease.queue.retries

        def fate(message: Message) -> tuple[int, int]:
            attempts = message.attempts + 1
            if retries.is_spent(attempts, message.losses, message.own_terms):
                return records.DEAD, 0
            wait_ms = retries.delay_ms(attempts, chance) if delay_ms is None else delay_ms
            return (records.DELAYED, now_ms + wait_ms) if wait_ms else (records.READY_HERE, 0)

        return self._plan_return(lease, claim[2], (causes.NACK, reason, now_ms), fate, rooms)

    def plan_hand_back(
        self, claim: Claim, now_ms: int, *, reason: str = "", rooms: Rooms | None = None
    ) -> Record:
        """Plan that messages take their old places again, at no one's cost.

        Those that have waited too long meanwhile go for that; `rooms` as in `plan_nack`.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease = self._book.find(claim)
        how = (causes.HAND_BACK, reason, now_ms)
        return self._plan_return(lease, claim[2], how, lambda _: (records.READY_HERE, 0), rooms)

    def plan_reject(
        self, claim: Claim, now_ms: int, *, reason: str = "", rooms: Rooms | None = None
    ) -> Record:
        """Plan that messages are dead; `rooms` as in `plan_nack`.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease = self._book.find(claim)
        how = (causes.REJECT, reason, now_ms)
        return self._plan_return(lease, claim[2], how, lambda _: (records.DEAD, 0), rooms)

    def plan_lost(
        self, claim: Claim, now_ms: int, *, reason: str = "", rooms: Rooms | None = None
    ) -> Record:
        """Plan that messages have lost their worker: a loss each; `rooms` as in `plan_nack`.

        Raises:
            BrokerError: LEASE_LOST or NOT_LEASED.
        """
        lease = self._book.find(claim)
        return self._plan_loss(lease, (causes.GONE, reason, now_ms), claim[2], rooms)

    def plan_gone(self, who: str, now_ms: int, most: int, *, reason: str = "") -> Iterator[Record]:
        """Plan that somebody has gone: all messages of its leases come back, a loss each.

        Args:
            who: as `mqd.core.leases.identity_of` tells of an owner.
            now_ms: when.
            most: about how many messages at most; a lease is not divided. The caller asks
                again while `holds(who)`.
            reason: for people.

        Each record has to be applied before the next one is asked for.
        """
        for lease in self._book.of_owner(who, most):
            if most <= 0:
                return
            most -= lease.count
            yield self._plan_loss(lease, (causes.GONE, reason, now_ms))

    def hold_leases(self, until_ms: int) -> None:
        """Let no lease that there is now run out before a time.

        That is for holders to come back after a restart; new leases run out when they say.
        """
        self._book.hold(until_ms)

    @property
    def newest_seq(self) -> int:
        """The number of the newest lease that there was."""
        return self._book.last_seq

    def holds(self, who: str, newest_seq: int | None = None) -> bool:
        """Tell whether somebody has a lease; one that is no newer than this, if that is said.

        Such a number is one that was the newest since the start, so these come first.
        """
        held = self._book.of_owner(who, 1)
        return bool(held) and (newest_seq is None or held[0].seq <= newest_seq)

    def leases(self) -> Iterator[Lease]:
        """Yield all leases, the oldest first. They are for looking at."""
        yield from self._book.by_seq.values()

    def plan_expiry(self, now_ms: int, most: int) -> Iterator[Record]:
        """Plan what the passing of time brings.

        Leases run out, delayed messages become ready, those that have waited too long expire,
        and queues that end without use are deleted: that is a DELETE as of a command, by which
        the caller learns which one goes.

        Args:
            now_ms: when.
            most: about how many messages at most; a lease is not divided, and neither is a
                parcel. The caller asks again while `next_deadline_ms` is not later than
                `now_ms`.

        Each record has to be applied before the next one is asked for.
        """
        book = self._book
        # Looked up in one go: what has left the front of a table costs a step each time.
        for seq in list(islice(book.times.all_due(now_ms), most)):
            if most <= 0:
                return
            lease = book.by_seq[seq]
            ids: Runs = ()
            count = lease.count
            if lease.own is not None:
                found = sorted(lease.run_out(now_ms))
                if not found:
                    book.retime(lease)
                    continue
                ids = () if len(found) == count else runs_of(found)
                count = len(found)
            most -= count
            yield self._plan_loss(lease, (causes.EXPIRED, "", now_ms), ids)
        while most > 0 and (uid := next(self.state.alarms.due(now_ms), None)) is not None:
            queue = self._by_uid[uid]
            held = queue.hold()
            numbers, count = held.expired(now_ms, most)
            if numbers:
                yield self._plan_expire(queue, numbers, now_ms)
            else:
                numbers, count = held.due(now_ms, most)
                if not numbers:  # the timetables are not through what was removed from them
                    self.state.set_alarm(queue)
                    return
                yield (records.READY, uid, runs_of(numbers))
            most -= count
        yield from self._plan_ends(now_ms, most)

    def plan_overdue(self, queue: Queue, now_ms: int, most: int) -> Record:
        """Plan that messages of a queue that `has_overdue` ones go; `most` as in `plan_expiry`."""
        numbers, _ = queue.hold().expired(now_ms, most)
        return self._plan_expire(queue, numbers, now_ms)

    def next_deadline_ms(self) -> int | None:
        """When `plan_expiry` has something to do; None for never."""
        state = self.state
        known = (self._book.times.next_ms(), state.alarms.next_ms(), state.lives.next_ms())
        return min((when_ms for when_ms in known if when_ms is not None), default=None)

    def _plan_expire(self, queue: Queue, numbers: list[int], now_ms: int) -> Record:
        """Plan that what has waited too long goes."""
        attic = Attic(queue, Yard(queue, self._by_name))
        by_fate: dict[tuple[int, int], list[int]] = {}
        if not attic.is_drop:
            for message in apart(map(queue.hold().find, numbers)):
                by_fate.setdefault(attic.place(message), []).append(message.message_id)
        parts = tuple((place, runs_of(each), rest) for (place, rest), each in by_fate.items())
        return (order_records.EXPIRE, queue.uid, runs_of(numbers), parts, now_ms)

    def _plan_ends(self, now_ms: int, most: int) -> Iterator[Record]:
        """Plan that queues go that were not used for as long as they may."""
        if self.started_ms is None:
            self.started_ms = now_ms
        lives = self.state.lives
        while most > 0 and (uid := next(lives.due(now_ms), None)) is not None:
            queue = self._by_uid[uid]
            if queue.leased or queue.waiters:
                queue.used_ms = now_ms
            end_ms = max(queue.used_ms, self.started_ms) + queue.idle_ms
            if end_ms > now_ms:
                self.state.look_at(queue, end_ms)
            else:
                most -= 1
                yield (queue_records.DELETE, uid)

    def plan_redrive(
        self,
        queue: Queue,
        now_ms: int,
        most: int,
        ids: Runs = (),
        wanted: Wanted = EVERY_ONE,
    ) -> tuple[list[Record], int]:
        """Plan that dead messages are tried again, with new budgets.

        The dead messages of the queue take their old places; dead letters that came to it
        from other queues go to the end of these. Where one of these is full or not there,
        its messages stay.

        Args:
            queue: where the dead are.
            now_ms: when.
            most: how many messages at most.
            ids: which, each once; empty for all, those that died first before others. Ids
                of other messages, or of none, are passed over.
            wanted: which of these.

        Returns:
            Records, to be applied together; and how many messages they move.

        Raises:
            BrokerError: QUEUE_NOT_FOUND or QUEUE_FULL, about the first that cannot be moved,
                where none can be.
        """
        return Redrive(queue, self._by_name, wanted).plan(now_ms, most, ids)

    def plan_purge_dead(self, queue: Queue) -> Record:
        """Plan to remove the dead messages of a queue."""
        return (records.PURGE_DEAD, queue.uid)

    def _plan_loss(
        self,
        lease: Lease,
        how: tuple[str, str, int],
        ids: Runs = (),
        rooms: Rooms | None = None,
    ) -> Record:
        retries = lease.queue.retries

        def fate(message: Message) -> tuple[int, int]:
            is_spent = retries.is_spent(message.attempts, message.losses + 1, message.own_terms)
            return (records.DEAD if is_spent else records.READY_HERE, 0)

        return self._plan_return(lease, ids, how, fate, rooms)

    def _plan_return(
        self,
        lease: Lease,
        ids: Runs,
        how: tuple[str, str, int],
        fate: Callable[[Message], tuple[int, int]],
        rooms: Rooms | None = None,
    ) -> Record:
        """Plan that messages leave a lease, each for its own fate."""
        cause, reason, now_ms = how
        yard = Yard(lease.queue, self._by_name, rooms)
        attic = Attic(lease.queue, yard)
        by_fate: dict[tuple[int, int], list[int]] = {}
        messages = lease.part()
        cancelled = lease.cancelled or ()
        for message_id in lease.chosen(ids):
            message = messages[message_id]
            place = (records.CANCELLED, 0) if message_id in cancelled else fate(message)
            if place[0] == records.CANCELLED:
                yard.drop(message)
            elif place[0] == records.DEAD:
                place = yard.place(message)
            elif 0 < message.expires_ms <= now_ms:
                place = attic.place(message)
            by_fate.setdefault(place, []).append(message_id)
        parts = tuple((place, runs_of(each), rest) for (place, rest), each in by_fate.items())
        reason = reason[:MAX_REASON_CHARS]
        uid = lease.queue.uid
        return (records.RETURN, uid, lease.epoch, lease.seq, cause, reason, now_ms, parts)


def _done(lease: Lease, ids: Runs, now_ms: int, result: Result) -> Record:
    """Make the record of messages that are done."""
    queue = lease.queue
    if queue.kept is None:
        return (records.ACK, queue.uid, lease.epoch, lease.seq, ids)
    return (view_records.DONE, queue.uid, lease.epoch, lease.seq, ids, now_ms, result)


def _taken(batches: list[Batch]) -> Runs:
    """Return the ids of batches as runs, in the order in which they were taken."""
    runs: list[int] = []
    for batch in batches:
        if runs and runs[-2] + runs[-1] == batch.first_id:
            runs[-1] += batch.count
        else:
            runs += (batch.first_id, batch.count)
    return tuple(runs)


def _chosen(lease: Lease, ids: Runs) -> Runs:
    """Return the ids of a lease that were asked for as a record has them: none for all."""
    chosen = lease.chosen(ids)
    return () if len(chosen) == lease.count else runs_of(chosen)
