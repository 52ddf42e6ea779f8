"""What records of order and time change: parcels, pauses, and turns.

What may be done is decided in `mqd.core.broker` and `mqd.core.jobs`; here it is carried
out, for the first time and whenever a broker is rebuilt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqd.core import order_records as records
from mqd.core.dead_letters import Attic
from mqd.core.messages import apart, totals
from mqd.core.parcels import closed, size_of
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.job_state import JobState
    from mqd.core.parcels import Parcel
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqwire.runs import Runs


class OrderState:
    """Carries out the records of `mqd.core.order_records`.

    Args:
        by_uid: the broker's queues by number.
        state: that of their jobs, which knows when something is due.
    """

    def __init__(self, by_uid: dict[int, Queue], state: JobState) -> None:
        self._by_uid = by_uid
        self._state = state
        self.appliers: dict[int, Callable[..., int]] = {
            records.PUSH_WITH: self._apply_push_with,
            records.PARCEL: self._apply_parcel,
            records.PAUSE: self._apply_pause,
            records.RESUME: self._apply_resume,
            records.TURN: self._apply_turn,
            records.EXPIRE: self._apply_expire,
        }

    def export(self, queue: Queue) -> Iterator[Record]:
        """Yield the records of what only records of this module tell of a queue."""
        held, uid = queue.held, queue.uid
        if held is not None:
            for parcels in (held.parcels, held.delayed_parcels):
                is_delayed = parcels is held.delayed_parcels
                for parcel in map(closed, parcels.values()):
                    due_ms = parcel[6] if is_delayed else 0
                    yield (records.PARCEL, uid, *parcel[:6], due_ms, *parcel[7:])
            if held.turn:
                yield (records.TURN, uid, held.turn)
        if queue.is_paused:
            yield (records.PAUSE, uid)

    def _apply_push_with(self, uid: int, *fields: object) -> int:
        parcel: Parcel = fields  # type: ignore[assignment]  # as the record's form says
        queue = self._by_uid[uid]
        assigned = queue.fifo.skip(parcel[1])
        assert assigned == parcel[0], "a record belongs to the state that it was planned on"
        self._put(queue, parcel)
        self._state.clock_ms = queue.used_ms = parcel[4]
        return assigned

    def _apply_parcel(self, uid: int, *fields: object) -> int:
        parcel: Parcel = fields  # type: ignore[assignment]  # as the record's form says
        self._put(self._by_uid[uid], parcel)
        return parcel[1]

    def _put(self, queue: Queue, parcel: Parcel) -> None:
        """Take a parcel in."""
        _, count, pack, headers, _, _, due_ms, expires_ms, _ = parcel
        size_bytes = size_of(parcel) if headers else len(pack)
        queue.free_messages -= count
        queue.free_bytes -= size_bytes
        queue.pushed += count
        held = queue.held or queue.hold()
        if due_ms:
            held.add_delayed_parcel(parcel)
            self._state.bring_alarm(queue, due_ms)
        else:
            held.add_parcel(parcel, size_bytes)
        if expires_ms:
            self._state.bring_alarm(queue, expires_ms)

    def _apply_pause(self, uid: int) -> int:
        self._by_uid[uid].is_paused = True
        return 0

    def _apply_resume(self, uid: int) -> int:
        self._by_uid[uid].is_paused = False
        return 0

    def _apply_expire(
        self, uid: int, numbers: Runs, parts: tuple[tuple[int, Runs, int], ...], now_ms: int
    ) -> int:
        queue = self._by_uid[uid]
        found = list(map(queue.hold().remove, ids_of(numbers)))
        if parts:
            messages = {each.message_id: each for each in apart(found)}
            count = len(messages)
            for place, ids, target_uid in parts:
                target = self._by_uid.get(target_uid)
                for message_id in ids_of(ids):
                    Attic.move(messages[message_id], queue, place, target, now_ms)
                if target is not None:
                    self._state.set_alarm(target)
        else:
            count, size_bytes = totals(found)
            queue.leave(count, size_bytes)
            queue.expired += count
            if queue.kept is not None:
                for thing in found:
                    queue.kept.add_expired(thing, now_ms)
        self._state.set_alarm(queue)
        self._state.clock_ms = now_ms
        return count

    def _apply_turn(self, uid: int, turn: int) -> int:
        self._by_uid[uid].hold().turn = turn
        return 0
