"""Records of a history with holes in it: applied as far as they make sense. Pure.

A start applies every record or none. Here batches of records are missing, so a later one
may speak of what was never seen. Up to the first gap every record is applied as a start
does it. The rules behind it, in the order of what matters:

- No message is removed that may still have been there. A PULL takes the next ids of its
  queue, whether they are there or not, counted from the last removal that was seen; since
  removals may be missing too, that is never too many, and what was pulled in a hole is
  delivered a second time.
- No message is left out that can be kept. A PUSH whose first id is beyond the next one
  follows all the same, and the ids between are noted as missing. Its queue may be unknown:
  then one is made up under the name `salvaged-UID`.
- A CREATE of a name that is taken says that its older queue was deleted.
- Records of kinds that have no rule here (all but those in `SHAPES`) are refused. Since
  they may say where messages are, no removal is carried out any more where there were any.
- What is known already changes nothing; what fits nowhere is refused, with a reason, for
  somebody to look at.

At the end the ids of a queue with holes are closed up from behind: the next id is what it
was, so that no id is given twice, and older messages move up to fill the holes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.core import records
from mqd.core.broker import Bounds, Broker
from mqwire.errors import RequestError
from mqwire.packs import PackChecker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.queue import Queue
    from mqd.core.records import Record

SHAPES: Final[dict[int, tuple[type, ...]]] = {
    records.CREATE: (int, int, str, dict, int),
    records.DELETE: (int, int),
    records.PUSH: (int, int, int, int, bytes, tuple, int),
    records.PULL: (int, int, int),
    records.PURGE: (int, int),
    records.RESTORE: (int, int, str, dict, int, int, int, int),
    records.COUNTERS: (int, int, int),
}
"""What the elements of each kind of record are that has a rule of its own here."""

NO_BOUNDS: Final = Bounds(0, 0, 0)
"""For brokers that only rebuild a state: bounds judge commands, never records."""

_REMOVALS: Final = frozenset({records.DELETE, records.PULL, records.PURGE})
_NO_COUNT: Final = "it is about no message"
_NO_RULE: Final = "it comes behind a gap, and what it means there is not known"
_WHO_KNOWS: Final = (
    "it comes behind a gap, and the messages may have been elsewhere, so that nothing was "
    "removed for it"
)


class QueueOutcome(NamedTuple):
    """What became of a queue that holes have touched."""

    name: str
    kept: int
    """Messages that are there."""
    missing: int
    """Messages that may have been there, and are not: so many at most, as far as is known."""
    is_made_up: bool
    """Whether its name, options and creation are lost."""


class _Ids:
    """The true ids of a queue's messages, once they are not those of its store.

    Args:
        head: every message before this id is gone.
        next_id: the id after the last that is known to have been given.
    """

    __slots__ = ("head", "next_id", "runs", "unseen_pulls")

    def __init__(self, head: int, next_id: int) -> None:
        self.head = head
        self.next_id = next_id
        self.runs: deque[tuple[int, int]] = deque()  # (first id, count), as they lie
        self.unseen_pulls = 0  # pulled messages that were not there
        if next_id > head:
            self.runs.append((head, next_id - head))

    def push(self, first_id: int, count: int) -> None:
        if self.runs and sum(self.runs[-1]) == first_id:
            start, there = self.runs[-1]
            self.runs[-1] = (start, there + count)
        else:
            self.runs.append((first_id, count))
        self.next_id = first_id + count

    def pull(self, count: int) -> int:
        """Move the head on; returns how many of the messages before it were there."""
        self.head += count
        self.next_id = max(self.next_id, self.head)
        taken = 0
        while self.runs and self.runs[0][0] < self.head:
            start, there = self.runs.popleft()
            gone = min(there, self.head - start)
            taken += gone
            if gone < there:
                self.runs.appendleft((start + gone, there - gone))
        self.unseen_pulls += count - taken
        return taken

    def purge(self) -> None:
        self.head = self.next_id
        self.runs.clear()

    def holds_all(self, first_id: int, count: int) -> bool:
        """Tell whether ids are all there, or gone for good."""
        known = sum(
            max(0, min(first_id + count, end) - max(first_id, start)) for start, end in self._spans
        )
        return known == count

    @property
    def _spans(self) -> Iterator[tuple[int, int]]:
        yield 0, self.head
        for start, count in self.runs:
            yield start, start + count


class Salvager:
    """Applies records to a broker in their order, some of them missing.

    Args:
        broker: an empty one; its bounds are those of queues whose own are lost.
    """

    def __init__(self, broker: Broker) -> None:
        self.why_all_is_kept = ""
        """Set where records come that may not have been carried out, or are in the state
        already: then nothing is removed for them, for this reason."""
        self.known = 0
        """Records that changed nothing, since what they say was there."""
        self._has_gap = False
        self._has_others = False  # records of kinds without a rule were seen
        self._is_beyond_packs = False  # and applied: not every id is in a pack
        self._next_ids: dict[int, int] = {}  # after the last push of each queue
        self._broker = broker
        self._checker = PackChecker()
        self._queues: dict[int, Queue] = {}
        self._ids: dict[int, _Ids] = {}
        self._made_up: set[int] = set()
        self._names: dict[int, str] = {}  # of queues that were made up
        self._last_uid = 0
        self._clock_ms = 0

    def note_gap(self) -> None:
        """Note that records are missing between those of before and those to come."""
        self._has_gap = True

    def apply(self, record: Record) -> str | None:
        """Apply a record if there is a way to. One that is refused leaves a gap.

        Returns:
            None if it is in the state now, else why it is not.
        """
        reason = self._judge(record)
        if reason is None:
            try:
                reason = self._apply(record[0], record)
            except Exception as error:  # noqa: BLE001  whatever it is, the record is at fault
                reason = f"it cannot be applied ({error!r})"
            self._clock_ms = max(self._clock_ms, self._broker.clock_ms)
        if reason is not None:
            self._has_gap = True
        return reason

    def _judge(self, record: Record) -> str | None:
        """Tell why a record is not even tried."""
        kind = record[0] if record else None
        if type(kind) is not int:
            return "it is no record"
        shape = SHAPES.get(kind)
        if shape is None:
            self._has_others = True
            return _NO_RULE if self._has_gap else None
        if tuple(map(type, record)) != shape:
            return "its fields are not those of its kind"
        self._last_uid = max(self._last_uid, record[1])
        if kind in _REMOVALS:
            return self._why_kept() or None
        return None

    def _why_kept(self) -> str:
        """Return why nothing may be removed; empty if it may."""
        others = _WHO_KNOWS if self._has_gap and self._has_others else ""
        return self.why_all_is_kept or others

    def _apply(self, kind: int, record: Record) -> str | None:
        if kind == records.COUNTERS or kind not in SHAPES:
            self._broker.apply(record)
            self._is_beyond_packs |= kind not in SHAPES
            return None
        if kind in {records.CREATE, records.RESTORE}:
            return self._begin_queue(record)
        uid = record[1]
        if kind == records.PUSH:
            return self._push(record)
        queue = self._queues.get(uid)
        if queue is None:
            return "its queue is not known"
        if kind == records.PULL:
            return self._pull(record, queue)
        self._broker.apply(record)
        if kind == records.DELETE:
            del self._queues[uid]
            self._ids.pop(uid, None)
        elif uid in self._ids:
            self._ids[uid].purge()
        return None

    def _begin_queue(self, record: Record) -> str | None:
        uid, name = record[1], record[2]
        if uid in self._queues:
            self.known += 1
            return None
        if name in self._broker:
            older = self._broker.queue(name)
            if older.uid > uid:
                self.known += 1
                return None
            if self._why_kept():
                return self._why_kept()
            Broker(NO_BOUNDS).apply(record)  # raises before anything is lost for it
            self._broker.apply((records.DELETE, older.uid))
            del self._queues[older.uid]
            self._ids.pop(older.uid, None)
        self._broker.apply(record)
        self._queues[uid] = self._broker.queue(name)
        return None

    def _make_up(self, uid: int) -> Queue:
        """Begin a queue of which nothing is known but its number."""
        name = f"?{uid}"  # no CREATE has such a name; `export` gives it a better one
        planned = self._broker.plan_create(name, {}, self._broker.clock_ms)
        self._broker.apply((planned[0], uid, *planned[2:]))
        queue = self._queues[uid] = self._broker.queue(name)
        self._ids[uid] = _Ids(1, 1)
        self._made_up.add(uid)
        return queue

    def _true_ids(self, queue: Queue) -> _Ids:
        """Keep the ids of a queue apart from now on."""
        ids = self._ids.get(queue.uid)
        if ids is None:
            fifo = queue.fifo
            ids = self._ids[queue.uid] = _Ids(fifo.first_id, fifo.first_id + fifo.count)
        return ids

    def _push(self, record: Record) -> str | None:
        _, uid, first_id, count, pack, _, _ = record
        if count < 1:
            return _NO_COUNT
        try:
            self._checker.check(pack, count)
        except RequestError as error:
            return error.message
        queue = self._queues.get(uid) or self._make_up(uid)
        if self._has_gap and not self._is_beyond_packs:
            return self._push_behind_gap(record, queue)
        if self._has_gap and self._next_ids.get(uid, first_id) != first_id:
            return _NO_RULE
        self._broker.apply(record)
        self._next_ids[uid] = first_id + count
        return None

    def _push_behind_gap(self, record: Record, queue: Queue) -> str | None:
        _, uid, first_id, count, *rest = record
        fifo = queue.fifo
        store_id = fifo.first_id + fifo.count
        ids = self._ids.get(uid)
        next_id = store_id if ids is None else ids.next_id
        if first_id < next_id:
            known = ids or _Ids(fifo.first_id, next_id)
            if known.holds_all(first_id, count):
                self.known += 1
                return None
            return "its ids were given already, to messages that are missing or to others"
        if ids is None and first_id > next_id:
            ids = self._true_ids(queue)
        self._broker.apply((records.PUSH, uid, store_id, count, *rest))
        if ids is not None:
            ids.push(first_id, count)
        return None

    def _pull(self, record: Record, queue: Queue) -> str | None:
        count = record[2]
        if count < 1:
            return _NO_COUNT
        if queue.uid not in self._ids and (not self._has_gap or count <= queue.fifo.count):
            self._broker.apply(record)
            return None
        taken = self._true_ids(queue).pull(count)
        if taken:
            self._broker.apply((records.PULL, queue.uid, taken))
        return None

    def finish(self) -> list[QueueOutcome]:
        """Close up ids, counters and names; nothing may be applied after that.

        Returns:
            The queues with holes, sorted by name.
        """
        self._broker.apply((records.COUNTERS, self._last_uid, self._clock_ms))
        for uid in sorted(self._made_up & self._queues.keys()):
            self._names[uid] = self._free_name(f"salvaged-{uid}")
        return sorted(self._close_up(self._queues[uid], ids) for uid, ids in self._ids.items())

    def export(self) -> Iterator[Record]:
        """Yield the fewest records that rebuild what was salvaged, once it is finished."""
        for record in self._broker.export():
            is_renamed = record[0] == records.RESTORE and record[1] in self._names
            yield (*record[:2], self._names[record[1]], *record[3:]) if is_renamed else record

    def _free_name(self, name: str) -> str:
        while name in self._broker:
            name += "-again"
        return name

    def _close_up(self, queue: Queue, ids: _Ids) -> QueueOutcome:
        """Let a queue's ids end where they have ended, and its counters add up.

        What is missing counts as purged.
        """
        fifo = queue.fifo
        count = fifo.count
        messages = list(fifo.export())
        fifo.clear()
        fifo.restart(ids.next_id - count)
        for _, pack_count, pack, headers, now_ms in messages:
            fifo.append(pack, pack_count, headers, now_ms)
        queue.pulled += ids.unseen_pulls
        queue.purged = fifo.first_id - 1 - queue.pulled
        queue.pushed = queue.pulled + queue.purged + count
        missing = ids.next_id - ids.head - count
        name = self._names.get(queue.uid, queue.name)
        return QueueOutcome(name, count, missing, queue.uid in self._made_up)
