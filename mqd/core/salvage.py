"""Records of a history with holes in it: applied as far as they make sense. Pure.

A start applies every record or none. Here batches of records are missing, so a later one
may speak of what was never seen. Up to the first gap every record is applied as a start
does it. The rules behind it, in the order of what matters:

- No message is removed that may still have been there. A PULL takes the next ids of its
  queue, whether they are there or not, counted from the last removal that was seen; since
  removals may be missing too, that is never too many, and what was pulled in a hole is
  delivered a second time. Where there were leases that does not hold: a message that was
  leased in a hole may have come back. Then no PULL and no PURGE is carried out, and no
  DELETE of a queue that dead letters go to or come from. The same goes where there were
  priorities, delays or TTLs, since the next messages are then not those of the next ids. (If
  not one record of any of these was found up to there, nobody can know.)
- No message is left out that can be kept. A PUSH whose first id is beyond the next one
  follows all the same, and the ids between are noted as missing. Its queue may be unknown:
  then one is made up under the name `salvaged-UID`.
- A queue is paused where that is the last that was seen of it.
- A CREATE of a name that is taken says that its older queue was deleted.
- Records of leases, and of what has waited too long, name their messages, and are carried
  out for these, wherever they are: `mqd.core.salvage_jobs`.
- A step is carried out part by part, as far as that goes.
- A key is kept where its push or its step was carried out. Those of a snapshot behind a gap
  are not, since what they stand for may be missing: who pushes again is then not refused.
- Users and tokens are taken over as their records have them. Where records are missing, one of
  them may have ended a user or a token: then all tokens go and all users are disabled.
- Records of kinds that have no rule here (all but those in `SHAPES`) are refused. Since
  they may say where messages are, no removal is carried out any more where there were any.
- What is known already changes nothing; what fits nowhere is refused, with a reason, for
  somebody to look at.

Ids are kept. Those that are missing stay free.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqd.core import (
    account_records,
    job_records,
    order_records,
    records,
    step_records,
    view_records,
)
from mqd.core.broker import Bounds, Broker
from mqd.core.salvage_jobs import NO_DOUBT, NO_QUEUE, JobRules
from mqd.core.salvage_parcels import flaw_of, pushes_in
from mqwire.errors import RequestError
from mqwire.packs import PackChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.queue import Queue
    from mqd.core.records import Record

_OWNER: Final = (str, dict)
_PARCEL: Final = (int, int, bytes, tuple, int, int, int, int, (tuple, type(None)))

SHAPES: Final[dict[int, tuple[Any, ...]]] = {
    records.CREATE: (int, int, str, dict, int),
    records.DELETE: (int, int),
    records.PUSH: (int, int, int, int, bytes, tuple, int),
    records.PULL: (int, int, int),
    records.PURGE: (int, int),
    records.RESTORE: (int, int, str, dict, int, int, int, int),
    records.COUNTERS: (int, int, int),
    job_records.LEASE: (int, int, int, int, int, int, _OWNER, int, tuple),
    job_records.ACK: (int, int, int, int, tuple),
    job_records.EXTEND: (int, int, int, int, int, tuple, int),
    job_records.RETURN: (int, int, int, int, str, str, int, tuple),
    job_records.READY: (int, int, tuple),
    job_records.REDRIVE: (int, int, tuple, int, int),
    job_records.PURGE_DEAD: (int, int),
    job_records.KEEP: (int, int, int, tuple),
    job_records.LEASED: (int, int, int, int, int, _OWNER, int, int, tuple, tuple, tuple),
    job_records.TALLY: (int, int, int, int, int),
    job_records.SKIP: (int, int, int),
    job_records.SEQUENCE: (int, int),
    job_records.MORE: (int, int, int, tuple),
    step_records.STEP: (int, tuple),
    step_records.KEYED_PUSH: (int, int, str, bytes, int, tuple),
    step_records.KEYED_STEP: (int, str, bytes, int, tuple, tuple),
    step_records.KEYS: (int, int, tuple),
    order_records.PUSH_WITH: (int, int, *_PARCEL),
    order_records.PUSH_EACH: (int, int, int, int, bytes, bytes, int, int, int),
    order_records.PULL_EACH: (int, int, int),
    order_records.PARCEL: (int, int, *_PARCEL),
    order_records.PAUSE: (int, int),
    order_records.RESUME: (int, int),
    order_records.TURN: (int, int, int),
    order_records.EXPIRE: (int, int, tuple, tuple, int),
    view_records.DONE: (int, int, int, int, tuple, int, (bytes, str, type(None))),
    view_records.RESULTS: (int, int, tuple),
    view_records.CANCEL: (int, int, tuple, int),
    view_records.MARK: (int, int, int, tuple),
    view_records.CANCELLED: (int, int, int),
    account_records.USER: (int, str, str, str, bool, int, int, int),
    account_records.EXPEL: (int, str, int),
    account_records.TOKEN: (int, int, str, str, str, bytes, str, int, int),
    account_records.REVOKE: (int, tuple, int),
    account_records.NUMBER: (int, int),
}
"""What the elements of each kind of record are that has a rule of its own here."""

_MAY_LACK: Final = {job_records.EXTEND: 2, job_records.LEASED: 1, job_records.TALLY: 1}
"""How many elements at the end those have not that older versions have written."""

NO_BOUNDS: Final = Bounds(0, 0, 0)
"""For brokers that only rebuild a state: bounds judge commands, never records."""

_JOB_KINDS: Final = frozenset(range(job_records.LEASE, job_records.MORE + 1))
_PARCEL_KINDS: Final = frozenset({order_records.PUSH_WITH, order_records.PARCEL})
_EACH_KINDS: Final = frozenset({order_records.PUSH_EACH, order_records.PULL_EACH})
_ORDER_KINDS: Final = _PARCEL_KINDS | _EACH_KINDS | {order_records.TURN, order_records.EXPIRE}
_VIEW_KINDS: Final = frozenset(range(view_records.DONE, view_records.CANCELLED + 1))
_LIFE_KINDS: Final = (
    _JOB_KINDS | _ORDER_KINDS | _VIEW_KINDS | {order_records.PAUSE, order_records.RESUME}
) - {order_records.PUSH_WITH, *_EACH_KINDS}
_ACKS: Final = frozenset({job_records.ACK, view_records.DONE})
_REMOVALS: Final = frozenset(
    {records.PULL, order_records.PULL_EACH, records.PURGE, job_records.PURGE_DEAD}
)
_ACCOUNT_KINDS: Final = frozenset(range(account_records.USER, account_records.NUMBER + 1))
_WITHOUT_UID: Final = _ACCOUNT_KINDS | {
    job_records.SEQUENCE,
    step_records.STEP,
    step_records.KEYED_STEP,
    step_records.KEYS,
}
_NO_COUNT: Final = "it is about no message"
_NO_RULE: Final = "it comes behind a gap, and what it means there is not known"
_WHO_KNOWS: Final = (
    "it comes behind a gap, and the messages may have been elsewhere, so that nothing was "
    "removed for it"
)
_NO_KEYS: Final = "it comes behind a gap, and what the keys stand for may be missing"


class QueueOutcome(NamedTuple):
    """What became of a queue that holes have touched."""

    name: str
    kept: int
    """Messages that are there."""
    missing: int
    """Messages that may have been there, and are not: so many at most, as far as is known."""
    is_made_up: bool
    """Whether its name, options and creation are lost."""
    again: int = 0
    """Messages that are there and may have been done: so many are known."""


class _Ids:
    """Which ids of a queue were given to messages that were never seen.

    Args:
        head: every message before this id is gone.
    """

    __slots__ = ("head", "missing", "unseen_pulls")

    def __init__(self, head: int) -> None:
        self.head = head
        self.missing: deque[tuple[int, int]] = deque()  # (first id, count), from the head on
        self.unseen_pulls = 0  # pulled messages that were not there

    def pull(self, count: int, next_id: int) -> int:
        """Move the head on; returns how many of the messages before it were there."""
        end = self.head + count
        absent = end - max(self.head, min(end, next_id))
        while self.missing and self.missing[0][0] < end:
            start, there = self.missing.popleft()
            gone = min(there, end - start)
            absent += gone
            if gone < there:
                self.missing.appendleft((start + gone, there - gone))
        self.head = end
        self.unseen_pulls += absent
        return count - absent

    def purge(self, next_id: int) -> None:
        self.head = next_id
        self.missing.clear()

    def lacks(self, first_id: int, count: int) -> bool:
        """Tell whether one of these ids is missing."""
        end = first_id + count
        return any(start < end and first_id < start + there for start, there in self.missing)


class Salvager:
    """Applies records to a broker in their order, some of them missing.

    Args:
        broker: an empty one that may have a queue; its bounds are those of queues whose own
            are lost.
    """

    def __init__(self, broker: Broker) -> None:
        self.why_all_is_kept = ""
        """Set where records come that may not have been carried out, or are in the state
        already: then nothing is removed for them, for this reason."""
        self._known = 0
        self._has_gap = False
        self._has_others = False  # records of kinds without a rule were seen
        self._is_out_of_order = False  # records were seen of what PULLs cannot be counted by
        self._is_guessing = False  # what is known of messages may not be all
        self._broker = broker
        self._options = broker.plan_create("?", {}, 0)[3]  # of queues whose own are lost
        self._checker = PackChecker()
        self._queues: dict[int, Queue] = {}
        self._ids: dict[int, _Ids] = {}
        self._made_up: set[int] = set()
        self._names: dict[int, str] = {}  # of queues that were made up
        self._last_uid = 0
        self._clock_ms = 0
        self._jobs = JobRules(broker, self._queues, self._make_up)
        self._rules: dict[int, Callable[[Record], str | None]] = {
            records.CREATE: self._begin_queue,
            records.RESTORE: self._begin_queue,
            records.DELETE: self._apply_delete,
            records.PUSH: self._push,
            records.PULL: self._pull,
            records.PURGE: self._apply_purge,
            **dict.fromkeys(_LIFE_KINDS, self._apply_job),
            order_records.PUSH_WITH: self._push,
            order_records.PUSH_EACH: self._push_each,
            order_records.PULL_EACH: self._pull,
            step_records.STEP: self._apply_step,
            step_records.KEYED_PUSH: self._apply_keyed_push,
            step_records.KEYED_STEP: self._apply_step,
            step_records.KEYS: self._apply_keys,
        }

    @property
    def known(self) -> int:
        """Records that changed nothing, since what they say was there."""
        return self._known + self._jobs.known

    def note_gap(self) -> None:
        """Note that records are missing between those of before and those to come."""
        self._has_gap = True
        self._jobs.note_gap()

    def apply(self, record: Record) -> str | None:
        """Apply a record if there is a way to. One that is refused leaves a gap.

        Returns:
            None if it is in the state now, else why it is not.
        """
        reason = self._judge(record)
        if reason is None:
            try:
                reason = self._rules.get(record[0], self._apply_plain)(record)
            except Exception as error:  # noqa: BLE001  whatever it is, the record is at fault
                reason = f"it cannot be applied ({error!r})"
            self._clock_ms = max(self._clock_ms, self._broker.clock_ms)
        if reason is not None:
            self._has_gap = True
            if reason not in NO_DOUBT:
                self._jobs.note_gap()
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
        if not _fits(record, shape):
            return "its fields are not those of its kind"
        if kind not in _WITHOUT_UID:
            self._last_uid = max(self._last_uid, record[1])
        self._is_out_of_order |= kind in _JOB_KINDS or kind in _ORDER_KINDS or kind in _VIEW_KINDS
        why = ""
        if kind in _REMOVALS:
            why = self._why_kept()
        elif kind == records.DELETE:
            why = self._why_not_deleted(record[1])
        elif kind in _ACKS or (kind == order_records.EXPIRE and not record[3]):
            why = self.why_all_is_kept
        return why or None

    def _why_kept(self) -> str:
        """Return why nothing may be removed; empty if it may."""
        is_unclear = self._has_gap and (self._has_others or self._is_out_of_order)
        return self.why_all_is_kept or (_WHO_KNOWS if is_unclear else "")

    def _why_not_deleted(self, uid: int) -> str:
        """Return why a queue may not be deleted; empty if it may."""
        why, queue = self._why_kept(), self._queues.get(uid)
        if self.why_all_is_kept or self._has_others or queue is None:
            return why
        # Where dead letters of a queue that was made up went, nobody knows.
        return why if self._made_up or self._jobs.has_ties(queue) else ""

    def _apply_plain(self, record: Record) -> None:
        self._broker.apply(record)

    def _apply_job(self, record: Record) -> str | None:
        self._is_guessing |= self._has_gap or bool(self.why_all_is_kept)
        flaw = self._flaw(record) if record[0] == order_records.PARCEL else None
        if flaw is not None:
            return flaw
        if record[0] == job_records.PURGE_DEAD or not self._is_guessing:
            self._broker.apply(record)
            if record[0] == order_records.PARCEL:
                self._note_parcel(record)
            return None
        self._jobs.keeps_all = bool(self.why_all_is_kept)
        return self._jobs.apply(record)

    def _apply_keyed_push(self, record: Record) -> str | None:
        _, uid, key, digest, now_ms, push = record
        reason = self.apply(push)
        if reason is None:
            self._broker.keys.remember(uid, key, digest, now_ms, (push[2],))
        return reason

    def _apply_keys(self, record: Record) -> str | None:
        if self._has_gap:
            return _NO_KEYS
        self._broker.apply(record)
        return None

    def _apply_step(self, record: Record) -> str | None:
        """Apply the parts of a step, each for itself."""
        made = record[-1]
        reasons = [reason for each in made if (reason := self.apply(each)) is not None]
        if reasons:
            return f"{len(reasons)} of its {len(made)} parts were not carried out: {reasons[0]}"
        if record[0] == step_records.KEYED_STEP:
            _, key, digest, now_ms, results, _ = record
            self._broker.keys.remember(step_records.STEPS, key, digest, now_ms, results)
        return None

    def _apply_delete(self, record: Record) -> str | None:
        if record[1] not in self._queues:
            return NO_QUEUE
        self._delete(record[1])
        return None

    def _apply_purge(self, record: Record) -> str | None:
        uid = record[1]
        if uid not in self._queues:
            return NO_QUEUE
        self._broker.apply(record)
        if uid in self._ids:
            self._ids[uid].purge(self._queues[uid].fifo.next_id)
        return None

    def _delete(self, uid: int) -> None:
        self._broker.apply((records.DELETE, uid))
        del self._queues[uid]
        self._ids.pop(uid, None)
        self._jobs.forget(uid)

    def _begin_queue(self, record: Record) -> str | None:
        uid, name = record[1], record[2]
        if uid in self._queues:
            self._known += 1
            return None
        if name in self._broker:
            older = self._broker.queue(name)
            if older.uid > uid:
                self._known += 1
                return None
            why = self._why_not_deleted(older.uid)
            if why:
                return why
            Broker(NO_BOUNDS).apply(record)  # raises before anything is lost for it
            self._delete(older.uid)
        self._broker.apply(record)
        self._queues[uid] = self._broker.queue(name)
        return None

    def _make_up(self, uid: int) -> Queue:
        """Begin a queue of which nothing is known but its number."""
        name = f"?{uid}"  # no CREATE has such a name; `export` gives it a better one
        # However many queues the server may hold: messages are not lost for that.
        self._broker.apply((records.CREATE, uid, name, self._options, self._broker.clock_ms))
        queue = self._queues[uid] = self._broker.queue(name)
        self._ids[uid] = _Ids(1)
        self._made_up.add(uid)
        return queue

    def _push(self, record: Record) -> str | None:
        uid, flaw = record[1], self._flaw(record)
        if flaw is not None:
            return flaw
        queue = self._queues.get(uid) or self._make_up(uid)
        if self._has_gap:
            return self._push_behind_gap(record, queue)
        self._broker.apply(record)
        self._note_parcel(record)
        return None

    def _push_each(self, record: Record) -> str | None:
        flaw = self._flaw(record)
        if flaw is not None:
            return flaw
        if len(record[5]) != record[3]:
            return "it has not as many priorities as messages"
        reasons = list(map(self._push, pushes_in(record)))
        return next(filter(None, reasons), None)

    def _flaw(self, record: Record) -> str | None:
        """Tell what is wrong with what a record says of messages; None for nothing."""
        kind, _, _, count, pack, *_ = record
        if count < 1:
            return _NO_COUNT
        try:
            self._checker.check(pack, count)
        except RequestError as error:
            return error.message
        return flaw_of(record[2:]) if kind in _PARCEL_KINDS else None

    def _note_parcel(self, record: Record) -> None:
        if record[0] in _PARCEL_KINDS:
            self._jobs.note_parcel(record[1], record[2:], has_gap=self._has_gap)

    def _push_behind_gap(self, record: Record, queue: Queue) -> str | None:
        _, uid, first_id, count, *_ = record
        next_id, ids = queue.fifo.next_id, self._ids.get(uid)
        if first_id < next_id:
            is_lacking = ids is not None and ids.lacks(first_id, count)
            if first_id + count <= next_id and not is_lacking:
                self._known += 1
                return None
            return "its ids were given already, to messages that are missing or to others"
        if first_id > next_id:
            self._ids_of(queue).missing.append((next_id, first_id - next_id))
            queue.fifo.skip(first_id - next_id)
        self._broker.apply(record)
        self._note_parcel(record)
        return None

    def _ids_of(self, queue: Queue) -> _Ids:
        """Watch over the ids of a queue from now on."""
        ids = self._ids.get(queue.uid)
        if ids is None:
            ids = self._ids[queue.uid] = _Ids(queue.fifo.first_id)
        return ids

    def _pull(self, record: Record) -> str | None:
        kind, uid, count = record
        queue = self._queues.get(uid)
        if queue is None:
            return NO_QUEUE
        if count < 1:
            return _NO_COUNT
        if kind == order_records.PULL_EACH:  # there is no gap before it
            self._broker.apply(record)
            return None
        fifo = queue.fifo
        if queue.uid not in self._ids and (not self._has_gap or count <= fifo.count):
            self._broker.apply(record)
            return None
        ids = self._ids_of(queue)
        taken = ids.pull(count, fifo.next_id)
        if taken:
            self._broker.apply((records.PULL, queue.uid, taken))
        if ids.head > fifo.next_id:
            fifo.skip(ids.head - fifo.next_id)
        return None

    def finish(self) -> list[QueueOutcome]:
        """Let counters and names be whole; nothing may be applied after that.

        Returns:
            The queues with holes, sorted by name.
        """
        self._jobs.finish()
        if self._has_gap:
            for record in list(self._broker.accounts.plan_distrust(self._clock_ms)):
                self._broker.apply(record)
        self._broker.apply((records.COUNTERS, self._last_uid, self._clock_ms))
        for uid in sorted(self._made_up & self._queues.keys()):
            self._names[uid] = self._free_name(f"salvaged-{uid}")
        for uid in self._ids.keys() | self._jobs.touched:
            self._close_up(self._queues[uid])
        known_of = self._ids.keys() | {uid for uid, count in self._jobs.again.items() if count}
        return sorted(self._outcome(self._queues[uid]) for uid in known_of)

    def export(self) -> Iterator[Record]:
        """Yield the fewest records that rebuild what was salvaged, once it is finished."""
        for record in self._broker.export():
            is_renamed = record[0] == records.RESTORE and record[1] in self._names
            yield (*record[:2], self._names[record[1]], *record[3:]) if is_renamed else record

    def _free_name(self, name: str) -> str:
        while name in self._broker:
            name += "-again"
        return name

    def _close_up(self, queue: Queue) -> None:
        """Let a queue's counters add up to the ids that it has given.

        What is missing counts as purged.
        """
        ids, given = self._ids.get(queue.uid), queue.fifo.next_id - 1
        if ids is not None:
            queue.pulled += ids.unseen_pulls
        there = queue.fifo.count + queue.outside
        gone = queue.pulled + queue.acked + queue.moved + queue.expired + queue.cancelled
        queue.purged = max(0, given - there - gone)
        queue.pushed = gone + queue.purged + there

    def _outcome(self, queue: Queue) -> QueueOutcome:
        uid, ids = queue.uid, self._ids.get(queue.uid)
        return QueueOutcome(
            self._names.get(uid, queue.name),
            queue.fifo.count + queue.outside,
            0 if ids is None else sum(count for _, count in ids.missing),
            uid in self._made_up,
            self._jobs.again[uid],
        )


def _fits(record: Record, shape: tuple[Any, ...]) -> bool:
    """Tell whether the elements of a record are those of its kind."""
    lacking = len(shape) - len(record)
    if not 0 <= lacking <= _MAY_LACK.get(record[0], 0):
        return False
    return all(
        type(each) in kind if type(kind) is tuple else type(each) is kind
        for each, kind in zip(record, shape, strict=False)
    )
