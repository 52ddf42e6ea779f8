"""The history checker: what clients saw of a server that died and was started again.

A history is what clients did, in the order in which each of them did it, over several
runs of a server on one data directory; its last run drains every queue. `judge` tells
what in it must not be:

    lost          a push was promised, and nobody has got the message
    duplicated    a message whose removal was promised was delivered again, or one was
                  delivered twice in the same run
    invented      a message that nobody has pushed there, or that was refused
    moved         a message under two ids, or at another place in its push
    id reused     two messages under one id, the earlier of them promised
    reordered     ids that do not grow for a producer or a consumer
    came back     a message that a promised purge or delete has removed

A request whose reply never came is *in doubt*: a push may be there or not, whole or not
at all; a pull may have taken up to as many messages as it asked for, the oldest ones,
which are then nobody's. What was promised is what was answered at `promised` or above:
`WRITTEN` where the server was killed, `SYNCED` where the power went. Anything less may
be gone, or be there again.

Pure; every body occurs in one push only, and a queue that was deleted and made again is
another queue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqwire.levels import Level


class Push(NamedTuple):
    """A push that was tried; without a level its reply never came."""

    queue: str
    producer: str
    bodies: tuple[str, ...]
    run: int
    level: Level | None = None
    first_id: int = 0
    is_refused: bool = False


class Pull(NamedTuple):
    """A pull that was tried; without a level its reply never came."""

    queue: str
    consumer: str
    most: int
    run: int
    level: Level | None = None
    ids: tuple[int, ...] = ()
    bodies: tuple[str, ...] = ()


class Removal(NamedTuple):
    """A purge or delete of all messages with ids below `below_id`."""

    queue: str
    run: int
    below_id: int
    level: Level | None = None


_MOST_STEPS = 200_000

Event: TypeAlias = "Push | Pull | Removal"


class Verdict(NamedTuple):
    """What was found. A history is sound if there are no violations."""

    violations: list[str]
    counts: Counter[str]
    """`acknowledged`, `delivered`, `recovered` (in doubt, and there), `taken` (by pulls in
    doubt), `returned` (removal never promised), `in_doubt`: messages."""


class Delivery(NamedTuple):
    """One message in one reply to a pull."""

    message_id: int
    run: int
    is_promised: bool


@dataclass
class Tried:
    """A push, and what became of it."""

    push: Push
    is_promised: bool
    first_id: int
    """0 as long as nobody knows."""


@dataclass
class _QueueHistory:
    """Everything about one queue."""

    name: str
    promised: Level
    violations: list[str]
    counts: Counter[str]
    pushes: list[Tried] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    owners: dict[str, tuple[Tried, int]] = field(default_factory=dict)
    deliveries: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))

    def complain(self, what: str, sentence: str) -> None:
        self.violations.append(f"{what}: {self.name}: {sentence}")

    def keeps(self, level: Level | None) -> bool:
        return level is not None and level >= self.promised

    def judge(self) -> None:
        for tried in self.pushes:
            for offset, body in enumerate(tried.push.bodies):
                if body in self.owners:
                    raise ValueError(f"{body!r} is pushed twice: no history can be judged by it")
                self.owners[body] = (tried, offset)
        self._collect_deliveries()
        self._judge_deliveries()
        self._judge_ids()
        self._judge_producers()
        self._judge_removals()
        self._judge_missing()
        self._count()

    def _collect_deliveries(self) -> None:
        """Learn from each pull what was delivered, and where the pushes of that lie."""
        last: dict[tuple[str, int], int] = {}
        for pull in self.pulls:
            ids = pull.ids
            before = last.get((pull.consumer, pull.run), 0)
            if list(ids) != sorted(set(ids)) or (ids and ids[0] <= before):
                self.complain("reordered", f"{pull.consumer} got {ids} after {before}")
            if ids:
                last[pull.consumer, pull.run] = ids[-1]
            if len(ids) > pull.most or len(ids) != len(pull.bodies):
                self.complain("invented", f"{len(pull.bodies)} bodies, {ids}, of {pull.most}")
            for message_id, body in zip(ids, pull.bodies, strict=False):
                self._note(Delivery(message_id, pull.run, self.keeps(pull.level)), body)

    def _note(self, delivery: Delivery, body: str) -> None:
        self.counts["delivered"] += 1
        owner = self.owners.get(body)
        if owner is None or owner[0].push.is_refused:
            self.complain("invented", f"{body!r} with id {delivery.message_id}")
            return
        tried, offset = owner
        first_id = delivery.message_id - offset
        if first_id < 1 or tried.first_id not in (0, first_id):
            place = f"as number {offset + 1} of a push from id {tried.first_id or '1'} on"
            self.complain("moved", f"{body!r} with id {delivery.message_id}, {place}")
            return
        tried.first_id = first_id
        tried.is_promised |= delivery.is_promised  # no removal without what it removes
        self.deliveries[body].append(delivery)

    def _judge_deliveries(self) -> None:
        for body, deliveries in self.deliveries.items():
            deliveries.sort(key=lambda each: each.run)
            for one, other in pairwise(deliveries):
                if one.is_promised or one.run == other.run:
                    runs = [each.run for each in deliveries]
                    self.complain("duplicated", f"{body!r} was delivered in runs {runs}")
                else:
                    self.counts["returned"] += 1

    def _judge_ids(self) -> None:
        used: dict[int, tuple[str, int, bool]] = {}
        for tried in sorted(self._known(), key=lambda each: each.push.run):
            run = tried.push.run
            for message_id, body in enumerate(tried.push.bodies, tried.first_id):
                other = used.get(message_id)
                if other is not None and (other[2] or other[1] == run):
                    self.complain("id reused", f"{message_id} for {other[0]!r} and {body!r}")
                used[message_id] = (body, run, tried.is_promised)

    def _known(self) -> list[Tried]:
        return [tried for tried in self.pushes if tried.first_id]

    def _judge_producers(self) -> None:
        """Ids grow with each push of a producer, but for what was lost without a promise."""
        promised_end: dict[str, int] = {}
        run_end: dict[tuple[str, int], int] = {}
        for tried in self._known():
            push = tried.push
            before = run_end.get((push.producer, push.run), 0)
            if tried.is_promised:
                before = max(before, promised_end.get(push.producer, 0))
            end = tried.first_id + len(push.bodies) - 1
            if tried.first_id <= before:
                self.complain(
                    "reordered",
                    f"{push.producer} pushed {push.bodies[0]!r} and got id {tried.first_id} "
                    f"after {before}",
                )
            run_end[push.producer, push.run] = end
            if tried.is_promised:
                promised_end[push.producer] = end

    def _judge_removals(self) -> None:
        for removal in self.removals:
            if not self.keeps(removal.level):
                continue
            for body, deliveries in self.deliveries.items():
                last = deliveries[-1]
                if last.run > removal.run and last.message_id < removal.below_id:
                    self.complain("came back", f"{body!r} with id {last.message_id}")

    def _judge_missing(self) -> None:
        """What was promised and never delivered has to be explained by pulls in doubt."""
        removed_below = max((removal.below_id for removal in self.removals), default=0)
        missing = {
            message_id: body
            for tried in self._known()
            if tried.is_promised
            for message_id, body in enumerate(tried.push.bodies, tried.first_id)
            if body not in self.deliveries and message_id >= removed_below
        }
        groups = self._groups(sorted(missing))
        pulls = sorted((pull.run, pull.most) for pull in self.pulls if pull.level is None)
        explained = _explained(groups, tuple(pulls))
        self.counts["taken"] += sum(len(group.ids) for group in groups[:explained])
        for group in groups[explained:]:
            for message_id in group.ids:
                self.complain("lost", f"{missing[message_id]!r} with id {message_id}")

    def _groups(self, missing: list[int]) -> list[_Group]:
        """Cut missing ids where a delivered one lies between: a pull takes what is in a row."""
        delivered = sorted(
            (each[0].message_id, each[0].run, each[-1].run) for each in self.deliveries.values()
        )
        last_runs = [last for _, _, last in delivered]
        for index in range(len(last_runs) - 1, 0, -1):
            last_runs[index - 1] = min(last_runs[index - 1], last_runs[index])
        groups: dict[int, _Group] = {}
        place = first_run = 0
        for message_id in missing:
            while place < len(delivered) and delivered[place][0] < message_id:
                first_run = max(first_run, delivered[place][1])
                place += 1
            if place not in groups:
                last_run = last_runs[place] if place < len(delivered) else None
                groups[place] = _Group(first_run, last_run)
            groups[place].ids.append(message_id)
        return list(groups.values())

    def _count(self) -> None:
        for tried in self.pushes:
            count = len(tried.push.bodies)
            if tried.push.level is not None:
                self.counts["acknowledged"] += count
            elif not tried.push.is_refused:
                self.counts["in_doubt"] += count
                self.counts["recovered"] += count if tried.first_id else 0


class _Group:
    """Missing messages in a row, and in which runs they can have gone."""

    def __init__(self, first_run: int, last_run: int | None) -> None:
        self.first_run = first_run
        self.last_run: float = float("inf") if last_run is None else last_run
        self.ids: list[int] = []

    def can_be_by(self, run: int) -> bool:
        return self.first_run <= run <= self.last_run


def _explained(groups: list[_Group], pulls: tuple[tuple[int, int], ...]) -> int:
    """Tell how many of the groups, from the first on, pulls in doubt can have taken.

    Each pull takes from one group, up to as many as it has asked for. All ways to give
    pulls to groups are tried, up to `_MOST_STEPS`; nobody is accused beyond that.

    Args:
        groups: in the order of their ids; so both ends of their runs ascend too.
        pulls: `(run, most)` of each, sorted.
    """
    best = 0
    seen: set[tuple[int, int, tuple[tuple[int, int], ...]]] = set()
    todo = [(0, len(groups[0].ids), pulls)] if groups else []
    while todo:
        index, needed, left = todo.pop()
        if needed <= 0:
            index += 1
            best = max(best, index)
            if index == len(groups):
                break
            first_run = groups[index].first_run
            left = tuple(pull for pull in left if pull[0] >= first_run)
            needed = len(groups[index].ids)
        if (index, needed, left) in seen:
            continue
        seen.add((index, needed, left))
        if len(seen) > _MOST_STEPS:
            return len(groups)
        able = [most for run, most in left if groups[index].can_be_by(run)]
        if sum(able) < needed:
            continue
        for place, (run, most) in enumerate(left):
            if groups[index].can_be_by(run) and (not place or left[place - 1] != (run, most)):
                todo.append((index, needed - most, left[:place] + left[place + 1 :]))
    return best


def judge(history: Iterable[Event], promised: Level) -> Verdict:
    """Judge a history.

    Args:
        history: what clients did; of each client in its order.
        promised: the lowest level that what ended the runs must not have undone.

    Complexity: n log n.
    """
    violations: list[str] = []
    counts: Counter[str] = Counter()
    queues: dict[str, _QueueHistory] = {}
    for event in history:
        queue = queues.get(event.queue)
        if queue is None:
            queue = queues[event.queue] = _QueueHistory(event.queue, promised, violations, counts)
        if isinstance(event, Push):
            queue.pushes.append(Tried(event, queue.keeps(event.level), event.first_id))
        elif isinstance(event, Pull):
            queue.pulls.append(event)
        else:
            queue.removals.append(event)
    for queue in queues.values():
        queue.judge()
    return Verdict(violations, counts)
