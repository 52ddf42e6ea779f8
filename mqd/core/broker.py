"""The broker: every queue, and the one way to change them.

A command is planned (`plan_...`: pure, may refuse, changes nothing and returns a
record), then applied (`apply`: cannot fail). Whatever rebuilds the state after a
restart applies the same records. Taking messages is one pass, `take`, which
changes the queue at once, since finding out how many messages fit is the same
work as taking them; applying the PULL record of that many does the same.

Users and tokens are the matter of `Broker.accounts`, see `mqd.core.accounts`.

Leases and what comes of them are the matter of `Broker.jobs`, see `mqd.core.jobs`; steps
that of `mqd.core.steps`, and keys that of `mqd.core.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  the compiled form looks it up
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mqd.core import job_records, order_records, records
from mqd.core.accounts import Accounts
from mqd.core.errors import (
    bad_dead_letter,
    over_cap,
    queue_exists,
    queue_not_found,
    too_many_queues,
)
from mqd.core.fifo import ANY_SIZE, Batch, HeaderRun
from mqd.core.jobs import Jobs
from mqd.core.keys import Keys, digest_of_push
from mqd.core.order_state import OrderState
from mqd.core.parcels import PLAIN
from mqd.core.queue import Queue, Waiter
from mqd.core.rows import Rows
from mqd.core.standings import NO_CAPS, Caps
from mqd.core.steps import Steps
from mqd.core.view_state import ViewState
from mqwire.names import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mqd.core.paging import Pager
    from mqd.core.parcels import PushExtras
    from mqd.core.records import Record
    from mqd.core.rooms import Room
    from mqd.core.steps import Part, PlannedStep


@dataclass(frozen=True)
class Bounds:
    """What the server's configuration allows.

    Args:
        max_messages: default and cap of a queue's bound of the same name.
        max_bytes: default and cap of a queue's bound of the same name.
        max_queues: how many queues there may be.
        defaults: other options of a queue whose CREATE does not say them.
        accounts: how many users and tokens there may be.
    """

    max_messages: int
    max_bytes: int
    max_queues: int
    defaults: Mapping[str, Any] = field(default_factory=dict)
    accounts: Caps = NO_CAPS


class Broker:
    """All queues of a server.

    Args:
        bounds: see `Bounds`; they judge commands, never records.
        pager: keeps what is in memory near a limit; None to keep all of it there. With one,
            what takes, looks or removes may raise INTERNAL where a page cannot be had.
    """

    def __init__(self, bounds: Bounds, pager: Pager | None = None) -> None:
        self._bounds = bounds
        self.pager = pager
        if pager is not None:
            pager.fifos = lambda: [queue.fifo for queue in self._by_uid.values()]
        self._by_name: dict[str, Queue] = {}
        self._by_uid: dict[int, Queue] = {}
        self._last_uid = 0
        self._clock_ms = 0
        self.jobs = Jobs(self._by_name, self._by_uid)
        self._state = self.jobs.state
        self.keys = Keys(self._by_uid, self.apply)
        self._steps = Steps(self, self.keys)
        self._order = OrderState(self._by_uid, self._state)
        self.rows = Rows(self._by_uid, self._state)
        self.accounts = Accounts(bounds.accounts)
        self.view = self.jobs.view = ViewState(self._by_uid, self._state)
        self.appliers: dict[int, Callable[..., int]] = {
            records.CREATE: self._apply_create,
            records.DELETE: self._apply_delete,
            records.PUSH: self._apply_push,
            records.PULL: self._apply_pull,
            records.PURGE: self._apply_purge,
            records.RESTORE: self._apply_restore,
            records.COUNTERS: self._apply_counters,
            **self._state.appliers,
            **self.keys.appliers,
            **self._steps.appliers,
            **self._order.appliers,
            **self.rows.appliers,
            **self.view.appliers,
            **self.accounts.appliers,
        }
        """What carries a record out, by its kind: see `apply`."""

    @property
    def clock_ms(self) -> int:
        """When the newest record was made; time goes on from there after a restart."""
        return max(self._clock_ms, self._state.clock_ms, self.accounts.clock_ms)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def queue(self, name: str) -> Queue:
        """Return the queue of this name.

        Raises:
            BrokerError: QUEUE_NOT_FOUND.
        """
        queue = self._by_name.get(name)
        if queue is None:
            raise queue_not_found(name)
        return queue

    def queue_of(self, uid: int) -> Queue:
        """Return the queue with this number, which is there."""
        return self._by_uid[uid]

    def queues(self, pattern: str = "*") -> Iterator[Queue]:
        """Yield the queues whose names fit, sorted by name."""
        for name in sorted(self._by_name):
            if matches(pattern, name):
                yield self._by_name[name]

    def plan_create(self, name: str, options: Mapping[str, Any], now_ms: int) -> Record:
        """Plan a new queue.

        Args:
            name: checked against the rule for names already.
            options: those of CREATE that describe the queue, each of its type and within
                the bounds of the protocol; a bound that is left out is the server's.
            now_ms: when.

        Raises:
            BrokerError: QUEUE_EXISTS, TOO_MANY_QUEUES, or OUT_OF_RANGE past the cap or where
                dead letters would come back to the queue.
        """
        bounds = self._bounds
        if name in self._by_name:
            raise queue_exists(name)
        if len(self._by_name) >= bounds.max_queues:
            raise too_many_queues(bounds.max_queues)
        caps = {"max_messages": bounds.max_messages, "max_bytes": bounds.max_bytes}
        for option, cap in caps.items():
            if options.get(option, cap) > cap:
                raise over_cap(option, cap, options[option])
        self._check_dead_letter(name, options.get("dead_letter"))
        whole = {**caps, **bounds.defaults, **options}
        return (records.CREATE, self._last_uid + 1, name, whole, now_ms)

    def plan_creation(self, name: str, options: Mapping[str, Any], now_ms: int) -> list[Record]:
        """Plan a new queue, as `plan_create`, and its dead-letter queue if that is not there.

        The dead-letter queue comes first, with the bounds of the server. The records are to
        be applied together.
        """
        record = self.plan_create(name, options, now_ms)
        target = options.get("dead_letter")
        if target is None or target in self._by_name:
            return [record]
        if len(self._by_name) + 2 > self._bounds.max_queues:
            raise too_many_queues(self._bounds.max_queues)
        other = self.plan_create(target, {}, now_ms)
        return [other, (record[0], record[1] + 1, *record[2:])]

    def _check_dead_letter(self, name: str, target: str | None) -> None:
        """Make sure that no dead letter of a queue to be made could come back to it."""
        following = target
        while following is not None:
            if following == name:
                assert target is not None
                raise bad_dead_letter(name, target)
            queue = self._by_name.get(following)
            following = None if queue is None else queue.dead_letter

    def plan_delete(self, name: str) -> Record:
        """Plan to delete a queue with all its messages; QUEUE_NOT_FOUND if there is none.

        Its leases are lost with it.
        """
        return (records.DELETE, self.queue(name).uid)

    def plan_purge(self, name: str) -> Record:
        """Plan to remove the ready and delayed messages; QUEUE_NOT_FOUND if there is none.

        Messages under a lease and dead ones stay.
        """
        return (records.PURGE, self.queue(name).uid)

    def plan_pause(self, name: str) -> Record:
        """Plan that nothing is delivered from a queue; QUEUE_NOT_FOUND if there is none.

        Pushes go on, and so do leases that were given before.
        """
        return (order_records.PAUSE, self.queue(name).uid)

    def plan_resume(self, name: str) -> Record:
        """Plan that a queue is delivered from again; QUEUE_NOT_FOUND if there is none.

        Those who wait are still to be served.
        """
        return (order_records.RESUME, self.queue(name).uid)

    def plan_push(
        self,
        name: str,
        count: int,
        pack: bytes,
        headers: tuple[HeaderRun, ...],
        now_ms: int,
        *,
        room: Room | None = None,
        extras: PushExtras | None = None,
    ) -> Record:
        """Plan to append messages.

        Args:
            name: the queue.
            count: bodies in the pack, at least 1.
            pack: a pack that has been checked to hold them.
            headers: runs by offset, ascending; empty where no message has any.
            now_ms: when.
            room: that of the queue in the step that this is part of, where there is one.
            extras: what the push says beyond a plain one.

        Returns:
            The record; the queue's number and the first id follow its kind.

        Raises:
            BrokerError: QUEUE_NOT_FOUND or QUEUE_FULL.
        """
        queue = self._by_name.get(name)
        if queue is None:
            raise queue_not_found(name)
        size_bytes = len(pack)
        for run in headers:
            size_bytes += run[1] * run[3]
        if room is None:
            queue.check_room(count, size_bytes)
            first_id = queue.fifo.next_id
        else:
            first_id = room.admit(count, size_bytes)
        pushed = (queue.uid, first_id, count, pack, headers, now_ms)
        if extras is not None or queue.ttl_ms:
            return (order_records.PUSH_WITH, *pushed, *queue.judged(extras or PLAIN, now_ms))
        return (records.PUSH, *pushed)

    def plan_keyed_push(
        self,
        name: str,
        count: int,
        pack: bytes,
        headers: tuple[HeaderRun, ...],
        now_ms: int,
        key: str,
        extras: PushExtras | None = None,
    ) -> tuple[Record | None, int]:
        """Plan to append messages, unless that was done with the same key before.

        A queue that remembers no keys takes no notice of them.

        Args:
            name: as in `plan_push`, and so the others that are not here.
            count: see `plan_push`.
            pack: see `plan_push`.
            headers: see `plan_push`.
            now_ms: when.
            key: text of 1 to `MAX_KEY_CHARS`.
            extras: see `plan_push`.

        Returns:
            The record, and the id that the first message gets; or None, and the id that it
            got when it was pushed before, be it still there or not.

        Raises:
            BrokerError: KEY_REUSED where the key came with other messages, and those of
                `plan_push`.
        """
        queue = self.queue(name)
        known = self.keys.first_id(queue, key, pack, headers, now_ms)
        if known is not None:
            return None, known
        record = self.plan_push(name, count, pack, headers, now_ms, extras=extras)
        digest = digest_of_push(pack, headers)
        return self.keys.keyed(queue, key, digest, now_ms, record), record[2]

    def plan_step(
        self, parts: Sequence[Part], now_ms: int, *, key: str | None = None
    ) -> PlannedStep:
        """Plan to settle leases and push messages, all or nothing.

        Args:
            parts: in the order in which they are carried out, `MAX_STEP_PARTS` at most. A
                lease may be settled by one of them only.
            now_ms: when.
            key: of the step, by which it is known if it comes again.

        Returns:
            The record to apply, what the parts come to, and who may be served then.

        Raises:
            BrokerError: what the first part that is refused is refused for, with its index as
                `part` in the details. KEY_REUSED without `part` where the step's own key came
                with other parts.
        """
        return self._steps.plan(parts, now_ms, key)

    def apply(self, record: Record) -> int:
        """Carry a record out. Cannot fail for a record that was planned on this state.

        Returns:
            PUSH: the first id; DELETE, PURGE and PULL: how many messages went;
            CREATE: the queue's uid.
        """
        return self.appliers[record[0]](*record[1:])

    def take(self, queue: Queue, most: int, room_bytes: int) -> list[Batch]:
        """Remove the first ready messages of a queue that has some `available`, in one pass.

        In each batch the ids follow each other. The record that says the same is
        `(PULL, queue.uid, count)` with the count of all.
        """
        batches = queue.take(most, room_bytes)
        if queue.held is not None:
            self._state.note_taken(queue)
        return batches

    def serve(self, queue: Queue) -> Iterator[Waiter]:
        """Yield those who wait for messages, in the order in which they came.

        Each is off the queue then, and is to be given messages before the next is asked for.
        """
        while queue.waiters and queue.available:
            waiter, _ = queue.waiters.popitem(last=False)
            yield waiter

    def apply_all(self, planned: Iterable[Record]) -> None:
        """Carry records out in their order: how a broker is rebuilt."""
        for record in planned:
            self.apply(record)

    def export(self) -> Iterator[Record]:
        """Yield the fewest records that rebuild this broker from an empty one.

        Queues come in the order of their numbers. The broker must not change meanwhile.
        """
        for uid, queue in sorted(self._by_uid.items()):
            fifo = queue.fifo
            yield (
                records.RESTORE,
                uid,
                queue.name,
                queue.options,
                queue.created_ms,
                fifo.first_id,
                queue.pulled,
                queue.purged,
            )
            next_id = fifo.first_id
            for first_id, count, pack, headers, now_ms in fifo.export():
                if first_id > next_id:
                    yield (job_records.SKIP, uid, first_id - next_id)
                yield (records.PUSH, uid, first_id, count, pack, headers, now_ms)
                next_id = first_id + count
            if fifo.next_id > next_id:
                yield (job_records.SKIP, uid, fifo.next_id - next_id)
            yield from self._state.export(queue)
            yield from self._order.export(queue)
            yield from self.view.export(queue, self.clock_ms)
        yield from self.keys.export(self.clock_ms)
        yield from self._state.export_leases()
        yield from self.view.export_marks()
        yield from self.accounts.export(self.clock_ms)
        yield (records.COUNTERS, self._last_uid, self.clock_ms)

    def _apply_create(self, uid: int, name: str, options: dict[str, Any], now_ms: int) -> int:
        queue = Queue(uid, name, options, now_ms, self.pager)
        self._by_name[name] = self._by_uid[uid] = queue
        if queue.idle_ms:
            self._state.look_at(queue, now_ms + queue.idle_ms)
        self.view.adopt(queue)
        self._last_uid = uid
        self._clock_ms = now_ms
        return uid

    def _apply_restore(
        self,
        uid: int,
        name: str,
        options: dict[str, Any],
        created_ms: int,
        first_id: int,
        pulled: int,
        purged: int,
    ) -> int:
        self._apply_create(uid, name, options, created_ms)
        queue = self._by_uid[uid]
        queue.fifo.restart(first_id)
        queue.pulled, queue.purged = pulled, purged
        queue.pushed = pulled + purged
        return uid

    def _apply_counters(self, uid: int, now_ms: int) -> int:
        self._last_uid = uid
        self._clock_ms = self._state.clock_ms = now_ms
        return uid

    def _apply_delete(self, uid: int) -> int:
        queue = self._by_uid.pop(uid)
        del self._by_name[queue.name]
        self._state.drop(queue)
        self.keys.drop(uid)
        self.view.drop(queue)
        queue.fifo.let_go()
        return queue.fifo.count + queue.outside

    def _apply_push(
        self,
        uid: int,
        first_id: int,
        count: int,
        pack: bytes,
        headers: tuple[HeaderRun, ...],
        now_ms: int,
    ) -> int:
        queue = self._by_uid[uid]
        queue.pushed += count
        self._clock_ms = queue.used_ms = now_ms
        assigned = queue.fifo.append(pack, count, headers, now_ms)
        assert assigned == first_id, "a record belongs to the state that it was planned on"
        return first_id

    def _apply_pull(self, uid: int, count: int) -> int:
        queue = self._by_uid[uid]
        if not queue.ready:
            return 0
        return sum(batch.count for batch in self.take(queue, count, ANY_SIZE))

    def _apply_purge(self, uid: int) -> int:
        queue = self._by_uid[uid]
        removed = queue.fifo.clear() + self._state.purge(queue)
        queue.purged += removed
        return removed
