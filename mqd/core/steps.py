"""Steps: settle any leases and push to any queues, all or nothing, as one record.

Theory of operation. The parts of a step are planned in their order, each as if those
before it had been done: room that an ack has freed is there for a later push, and a dead
letter has its place and its id in its queue before a push that comes behind it. Nothing
has changed until the record is applied, so a part that is refused refuses the step.

Each lease may be settled by one part of a step; another one finds it to be over. So what
a part finds under its lease does not depend on the parts before it.

Whoever has lost the reply to a step cannot know whether it was made: the leases are over
in any case, settled or run out. A key tells: the same step with the same key is answered
with what it was answered first. What it would have to be judged by, leases and room, is
then not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core import job_records, order_records
from mqd.core import step_records as records
from mqd.core.errors import BrokerError, key_reused, lease_lost, too_many_settled
from mqd.core.keys import digest_of, digest_of_content, digest_of_push
from mqd.core.rooms import Rooms
from mqwire.limits import MAX_STEP_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mqd.core.broker import Broker
    from mqd.core.fifo import HeaderRun
    from mqd.core.keys import Keys, Results
    from mqd.core.leases import Claim
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.core.results import Result


@dataclass(frozen=True, slots=True)
class Ack:
    """Messages are done."""

    claim: Claim
    result: Result = None
    """As in `Jobs.plan_ack`."""


@dataclass(frozen=True, slots=True)
class Nack:
    """Messages have failed; or, at most one of them, are handed back or lost their worker."""

    claim: Claim
    reason: str = ""
    delay_ms: int | None = None
    """As in `Jobs.plan_nack`; None with `is_hand_back` and `is_lost`."""
    chance: float = 0.0
    """As in `Jobs.plan_nack`."""
    is_hand_back: bool = False
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """Messages are never to be tried again."""

    claim: Claim
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """Messages for a queue. Fields as in `Broker.plan_push`."""

    queue: str
    count: int
    pack: bytes
    headers: tuple[HeaderRun, ...] = ()
    key: str | None = None
    """The push's own, as in `Broker.plan_keyed_push`."""
    options: Mapping[str, Any] | None = None
    """Other named arguments of `Broker.plan_push`."""


_MOVES: Final = frozenset({job_records.MOVED, order_records.OLD_MOVED})

Part: TypeAlias = "Ack | Nack | Reject | Push"


class PlannedStep(NamedTuple):
    """A step that may be carried out."""

    record: Record | None
    """What to append and apply; None where nothing is to change."""
    results: tuple[int, ...]
    """For each part how many messages it settles, or the first id of its push."""
    repeats: tuple[int, ...]
    """Which parts are pushes that had been made before, and so change nothing."""
    is_repeat: bool
    """Whether the whole step had been made before: then nothing changes."""
    queues: tuple[Queue, ...]
    """Those that may have more ready messages afterwards, each once."""


class Steps:
    """The planning and carrying out of steps.

    Args:
        broker: whose.
        keys: its keys.
    """

    def __init__(self, broker: Broker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys
        self.appliers: dict[int, Callable[..., int]] = {
            records.STEP: self._apply_step,
            records.KEYED_STEP: self._apply_keyed_step,
        }

    def plan(self, parts: Sequence[Part], now_ms: int, key: str | None) -> PlannedStep:
        """See `Broker.plan_step`."""
        digest = b""
        if key is not None:
            digest = _digest_of_step(parts)
            known = self._keys.step_results(key, digest, now_ms)
            if known is not None:
                return _planned(None, known, is_repeat=True)
        course = _Course(self._broker, self._keys, now_ms)
        results = course.results
        try:
            for part in parts:
                results.append(_PLANNERS[type(part)](course, part))
        except BrokerError as error:
            error.details["part"] = len(results)
            raise
        made = tuple(course.records)
        if key is not None:
            record: Record | None = (records.KEYED_STEP, key, digest, now_ms, tuple(results), made)
        else:
            record = (records.STEP, made) if made else None
        return _planned(record, tuple(results), queues=course.queues.values())

    def _apply_step(self, made: tuple[Record, ...]) -> int:
        for record in made:
            self._broker.apply(record)
        return len(made)

    def _apply_keyed_step(
        self, key: str, digest: bytes, now_ms: int, results: Results, made: tuple[Record, ...]
    ) -> int:
        self._keys.remember(records.STEPS, key, digest, now_ms, results)
        return self._apply_step(made)


class _Course:
    """How far the planning of a step has come."""

    def __init__(self, broker: Broker, keys: Keys, now_ms: int) -> None:
        self.records: list[Record] = []
        self.results: list[int] = []
        self.queues: dict[int, Queue] = {}
        """Those that get messages, or get them back, by number."""
        self._broker = broker
        self._jobs = broker.jobs
        self._by_seq = broker.jobs.state.book.by_seq
        self._keys = keys
        self._now_ms = now_ms
        self._rooms = Rooms()
        self._settled: set[int] = set()  # the numbers of leases that a part has settled
        self._left = MAX_STEP_MESSAGES  # how many more messages may be settled
        self._pushed: dict[tuple[int, str], tuple[bytes, int]] = {}  # by queue and key

    def ack(self, part: Ack) -> int:
        """Plan a part; so do the others. Returns its result."""
        claim = part.claim
        self._check(claim)
        record = self._jobs.plan_ack(claim, self._now_ms, part.result)
        lease, ids = self._by_seq[claim[1]], record[4]
        count, size_bytes = lease.count, lease.size_bytes
        if ids:
            messages = lease.part()
            chosen = [messages[message_id] for message_id in lease.chosen(ids)]
            count, size_bytes = len(chosen), sum(message.size_bytes for message in chosen)
        self._rooms.of(lease.queue).free(count, size_bytes)
        self._settled.add(claim[1])
        self.records.append(record)
        return count

    def nack(self, part: Nack) -> int:
        self._check(part.claim)
        jobs, claim, now_ms, reason = self._jobs, part.claim, self._now_ms, part.reason
        assert part.delay_ms is None or not (part.is_hand_back or part.is_lost)
        assert not (part.is_hand_back and part.is_lost)
        if part.is_hand_back:
            record = jobs.plan_hand_back(claim, now_ms, reason=reason, rooms=self._rooms)
        elif part.is_lost:
            record = jobs.plan_lost(claim, now_ms, reason=reason, rooms=self._rooms)
        else:
            record = jobs.plan_nack(
                claim,
                now_ms,
                reason=reason,
                delay_ms=part.delay_ms,
                chance=part.chance,
                rooms=self._rooms,
            )
        return self._return(record)

    def reject(self, part: Reject) -> int:
        self._check(part.claim)
        record = self._jobs.plan_reject(
            part.claim, self._now_ms, reason=part.reason, rooms=self._rooms
        )
        return self._return(record)

    def _check(self, claim: Claim) -> None:
        """Make sure that no part before has settled the same lease, and that it is not too much."""
        lease = self._jobs.lease_of(claim)
        if claim[1] in self._settled:
            raise lease_lost(claim[0], claim[1], "over")
        self._left -= sum(claim[2][1::2]) if claim[2] else lease.count
        if self._left < 0:
            raise too_many_settled(MAX_STEP_MESSAGES)

    def _return(self, record: Record) -> int:
        """Note a RETURN, and what it brings to which queue."""
        uid, seq, fates = record[1], record[3], record[-1]
        self._settled.add(seq)
        self.records.append(record)
        for place, _, rest in fates:
            if place in _MOVES:
                self._touch(rest)
            elif place == job_records.READY_HERE:
                self._touch(uid)
        return sum(sum(ids[1::2]) for _, ids, _ in fates)

    def push(self, part: Push) -> int:
        queue = self._broker.queue(part.queue)
        digest = b""
        key = part.key
        if key is not None:
            digest = digest_of_push(part.pack, part.headers)
            known = self._known(queue, part, digest)
            if known is not None:
                return -known
        record = self._broker.plan_push(
            part.queue,
            part.count,
            part.pack,
            part.headers,
            self._now_ms,
            room=self._rooms.of(queue),
            **(part.options or {}),
        )
        first_id: int = record[2]
        if key is not None:
            record = self._keys.keyed(queue, key, digest, self._now_ms, record)
            if record[0] == records.KEYED_PUSH:
                self._pushed[queue.uid, key] = (digest, first_id)
        self.records.append(record)
        self._touch(queue.uid)
        return first_id

    def _known(self, queue: Queue, part: Push, digest: bytes) -> int | None:
        """Return the first id of a push with the key of this one, in this step or before."""
        key = part.key
        assert key is not None
        earlier = self._pushed.get((queue.uid, key))
        if earlier is None:
            return self._keys.first_id(queue, key, part.pack, part.headers, self._now_ms)
        if earlier[0] != digest:
            raise key_reused(key, queue.name)
        return earlier[1]

    def _touch(self, uid: int) -> None:
        if uid not in self.queues:
            self.queues[uid] = self._broker.queue_of(uid)


_PLANNERS: Final[dict[type, Callable[[_Course, Any], int]]] = {
    Ack: _Course.ack,
    Nack: _Course.nack,
    Reject: _Course.reject,
    Push: _Course.push,
}


def _planned(
    record: Record | None,
    results: Results,
    *,
    is_repeat: bool = False,
    queues: Iterable[Queue] = (),
) -> PlannedStep:
    repeats: tuple[int, ...] = ()
    if results and min(results) < 0:
        repeats = tuple(index for index, each in enumerate(results) if each < 0)
        results = tuple(map(abs, results))
    return PlannedStep(record, results, repeats, is_repeat, tuple(queues))


def _digest_of_step(parts: Sequence[Part]) -> bytes:
    """Tell the parts of a step in a few bytes, but for who asks and what was drawn for them."""
    told: list[Any] = []
    for part in parts:
        if isinstance(part, Push):
            content = digest_of_content(part.pack, part.headers)
            told.append(("Push", part.queue, content, part.key))
        else:
            how: tuple[Any, ...] = (part.result if isinstance(part, Ack) else part.reason,)
            if how == (None,):
                how = ()
            elif isinstance(part, Nack):
                how = (*how, part.delay_ms, part.is_hand_back, part.is_lost)
            told.append((type(part).__name__, part.claim[:3], how))
    return digest_of(told)
