"""Rows: pushes and takes of one message each, many carried out as one.

A row leaves everything as its commands would have left it one by one: the same messages, in
the same order, the same counters, and as many takes counted on the way to the next that goes
by age. Only the record of it is one.

What is in a row, and what is answered to whom, is the matter of whoever makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mqd.core import order_records, records
from mqd.core.fifo import ANY_SIZE, PIECE_BYTES
from mqd.core.lanes import PRIORITY
from mqd.core.parcels import PushExtras
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqd.core.fifo import Batch
    from mqd.core.held import Held, Lone
    from mqd.core.job_state import JobState
    from mqd.core.queue import Queue
    from mqd.core.records import Record

Lots: TypeAlias = "list[Batch | Lone]"
"""Messages in the order in which they were taken."""


class Rows:
    """Plans and carries out rows.

    Args:
        by_uid: the broker's queues by number.
        state: that of their jobs, which knows when something is due.
    """

    def __init__(self, by_uid: dict[int, Queue], state: JobState) -> None:
        self._by_uid = by_uid
        self._state = state
        self.appliers: dict[int, Callable[..., int]] = {
            order_records.PUSH_EACH: self._apply_push,
            order_records.PULL_EACH: self._apply_pull,
        }

    @staticmethod
    def plan_push(queue: Queue, pack: bytes, priorities: bytes, due_ms: int, now_ms: int) -> Record:
        """Plan to append messages, each with a priority of its own.

        Args:
            queue: where to.
            pack: a pack that has been checked to hold a body for each of them.
            priorities: one byte for each.
            due_ms: when they become ready; 0, or a time that is past, for at once.
            now_ms: when.

        Raises:
            BrokerError: QUEUE_FULL.
        """
        count = len(priorities)
        queue.check_room(count, len(pack))
        _, due_ms, expires_ms, _ = queue.judged(PushExtras(due_ms=due_ms), now_ms)
        uid, first_id = queue.uid, queue.fifo.next_id
        times = (now_ms, due_ms, expires_ms)
        return (order_records.PUSH_EACH, uid, first_id, count, pack, priorities, *times)

    def take(self, queue: Queue, most: int, room_bytes: int) -> tuple[Record, Lots]:
        """Carry out takes of one message each of a queue that has some `available`.

        Args:
            queue: which.
            most: how many takes at most; there are fewer where there is nothing more.
            room_bytes: how large what is taken may be, but for the last of it.

        Returns:
            The record of what was done, and the messages.
        """
        held = queue.held
        kind = order_records.PULL_EACH if held is not None and held.ranked else records.PULL
        before = queue.pulled
        lots = _take(queue, most, room_bytes)
        if held is not None:
            self._state.note_taken(queue)
        return (kind, queue.uid, queue.pulled - before), lots

    def push(self, record: Record, bodies: Sequence[bytes]) -> int:
        """Carry out what `plan_push` has planned; returns the first id.

        Args:
            record: the plan.
            bodies: those in its pack, for whoever has them already.
        """
        _, uid, first_id, count, pack, priorities, now_ms, due_ms, expires_ms = record
        queue = self._by_uid[uid]
        assigned = queue.fifo.skip(count)
        assert assigned == first_id, "a record belongs to the state that it was planned on"
        held = queue.held or queue.hold()
        held.add_each(first_id, bodies, priorities, (now_ms, due_ms, expires_ms))
        queue.enter(count, len(pack))
        queue.pushed += count
        for when_ms in (due_ms, expires_ms):
            if when_ms:
                self._state.bring_alarm(queue, when_ms)
        self._state.clock_ms = queue.used_ms = now_ms
        return assigned

    def _apply_push(self, *fields: Any) -> int:
        return self.push((order_records.PUSH_EACH, *fields), split_pack(fields[3]))

    def _apply_pull(self, uid: int, count: int) -> int:
        queue = self._by_uid[uid]
        if not queue.ready:
            return 0
        return self.take(queue, count, ANY_SIZE)[0][2]  # type: ignore[no-any-return]  # as made


def _take(queue: Queue, most: int, room_bytes: int) -> Lots:
    """Take messages as `most` takes would, one after the other."""
    held = queue.held
    lots: Lots = []
    while held is not None and held.ranked and most > 0 and room_bytes > 0:
        before, before_bytes = queue.pulled, queue.size_bytes
        lots += _take_together(queue, held, most, room_bytes)
        most -= queue.pulled - before
        room_bytes -= before_bytes - queue.size_bytes + PIECE_BYTES * (queue.pulled - before)
    if most > 0 and room_bytes > 0 and queue.ready:
        lots += queue.take(most, room_bytes)  # by their ids alone, so all at once is the same
    return lots


def _take_together(queue: Queue, held: Held, most: int, room_bytes: int) -> Lots:
    """Take the next messages of which it makes no difference that they go together.

    These are those before the next take that goes by age, as long as takes are counted.
    """
    count = min(most, held.takes_before_age())
    if count < 2 or held.ranked <= count:
        return [*queue.take(1, room_bytes)]
    least = PRIORITY + 1 if queue.fifo.count else 0
    lone = ids, bodies = held.take_lone(count, room_bytes, least)
    if ids:
        held.turn += len(ids)
        queue.pulled += len(ids)
        queue.leave(len(ids), sum(map(len, bodies)))
        return [lone]
    before = queue.pulled
    batches = queue.take(count, room_bytes)
    held.turn += queue.pulled - before - 1
    return [*batches]
