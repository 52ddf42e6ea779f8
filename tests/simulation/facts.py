"""A history put in order: messages, their deliveries, leases, and who was there when.

What is judged of it stands in `simulation.checker`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgpack

from mqd.core.lanes import PRIORITY
from mqwire.levels import LEVELS, Level
from simulation.history import NEVER, History, LeaseId, Moment, Op
from simulation.steps import Part, StepSeen

if TYPE_CHECKING:
    from simulation.scenario import Scenario

SETTLING = frozenset({"ACK", "NACK", "REJECT"})
OTHERS = frozenset({"DELETE", "PURGE", "REDRIVE", "CANCEL", "PAUSE", "RESUME"})
EPSILON_SECONDS = 0.003
"""The engine counts in whole milliseconds."""


class Message:
    """One body of one push, or of several with one key.

    `push` is the first of them that was answered; where that may have been undone, the last.
    """

    __slots__ = ("body", "deliveries", "offset", "priority", "push", "queue", "tries")

    def __init__(self, body: str, push: Op, offset: int) -> None:
        self.body = body
        self.push = push
        self.tries = [push]
        self.offset = offset
        self.queue: str = push.parts[0]
        self.priority: int = push.options.get("priority", PRIORITY)
        self.deliveries: list[Delivery] = []

    @property
    def alive(self) -> list[Op]:
        """Those of its pushes that were not refused."""
        return [push for push in self.tries if push.error is None]

    @property
    def came(self) -> Moment:
        """It has not been pushed before."""
        return min(push.came for push in self.alive or self.tries)

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return self.body.partition("~")[0]

    @property
    def first_id(self) -> int | None:
        """Its id in its own queue, if the push was answered."""
        return self.push.reply[1] + self.offset if self.push.is_ok and self.push.reply else None


class Delivery:
    """One message in one reply."""

    __slots__ = (
        "attempts",
        "begin",
        "count",
        "end",
        "lease",
        "losses",
        "message",
        "message_id",
        "op",
        "queue",
    )

    def __init__(self, op: Op, message: Message, message_id: int, lease: LeaseSeen | None) -> None:
        self.op = op
        self.message = message
        self.message_id = message_id
        self.lease = lease
        self.queue: str = op.parts[0]
        self.begin = op.came if lease is None else lease.begin
        self.end = op.left if lease is None else lease.end
        self.count = 1
        self.attempts = self.losses = 0


class LeaseSeen:
    """A lease that a reply has told of.

    It was given between `begin` and `end`, which are one where its record was seen.
    """

    __slots__ = (
        "begin",
        "end",
        "extends",
        "level",
        "may_end",
        "name",
        "op",
        "queue",
        "seconds",
        "settled",
        "taken",
    )

    def __init__(self, name: LeaseId, op: Op, granted: Moment | None) -> None:
        self.name = name
        self.op = op
        self.queue: str = op.parts[0]
        self.seconds: float = op.options["lease"]
        self.begin = granted or op.came
        self.end = granted or op.left
        self.taken: dict[int, Message] = {}
        self.settled: list[Op] = []
        """Settlements that name it, by whomever, that are there and were not refused."""
        self.extends: list[Op] = []
        self.level = Level.ACCEPTED
        self.may_end: Moment = NEVER
        """It has not ended before, but for settlements."""

    @property
    def who(self) -> str:
        return self.op.who

    @property
    def is_parted(self) -> bool:
        """Whether some of its messages may end before others: what is of all then is of the rest."""
        return any("ids" in op.options for op in self.extends)


class Facts:
    """What a history tells.

    Args:
        history: a whole one.
        scenario: what it is of.
    """

    def __init__(self, history: History, scenario: Scenario) -> None:
        self.history = history
        self.scenario = scenario
        self.violations: list[str] = list(history.faults)
        self.messages: dict[str, Message] = {}
        self.pushes: list[Op] = []
        self.pulls: list[Op] = []
        """Replies with messages, peeks not among them."""
        self.taken_by: dict[Op, list[Delivery]] = {}
        self.leases: dict[LeaseId, LeaseSeen] = {}
        self.claims: list[Op] = []
        """Settlements and extensions that are there."""
        self.auths: dict[str, list[Op]] = defaultdict(list)
        self.others: dict[str, list[Op]] = defaultdict(list)
        """Requests that are there and were not refused, by verb; of PULLs those in doubt, and as
        LEASE those of them with a lease."""
        self.steps: list[StepSeen] = []
        self._given: dict[LeaseId, Op] = {}
        """The pulls that have brought leases."""
        self.deleted: set[str] = set()
        self.end_seconds = history.ops[-1].conn.opened[0]
        """When the last client came, who has emptied the queues."""
        self._read()
        self._tie()

    def complain(self, what: str, sentence: str) -> None:
        self.violations.append(f"{what}: {sentence}")

    # Reading

    def _read(self) -> None:
        steps: dict[Any, list[Op]] = defaultdict(list)
        readers = {
            "PUSH": self._read_push,
            "PULL": self._read_pull,
            "AUTH": self._read_auth,
            **dict.fromkeys((*SETTLING, "EXTEND"), self.claims.append),
            **dict.fromkeys(OTHERS, self._read_other),
        }
        for op in self.history.ops:
            if not op.is_there:
                continue
            if op.verb == "STEP":
                steps[op.options.get("key", op.number)].append(op)
            elif op.verb in readers:
                readers[op.verb](op)
        holders = {name: op.who for name, op in self._given.items()}
        for tries in steps.values():
            self._read_step(StepSeen(sorted(tries, key=lambda op: op.came), holders))

    def _read_auth(self, op: Op) -> None:
        if op.error is None:
            self.auths[op.who].append(op)

    def _read_step(self, step: StepSeen) -> None:
        self.steps.append(step)
        self.claims += step.settlements()
        for tries in step.pushes():
            for part in tries:
                self._read_push(part)

    def _read_other(self, op: Op) -> None:
        if op.error is not None:
            return
        if op.verb == "REDRIVE" and op.reply is not None and not op.reply[1]:
            return  # it has moved nothing
        self.others[op.verb].append(op)
        if op.verb == "DELETE":
            self.deleted.add(op.parts[0])

    def _read_push(self, op: Op) -> None:
        self.pushes.append(op)
        for offset, body in enumerate(bodies_of([op.parts[2]])):
            message = self.messages.get(body)
            if message is None:
                self.messages[body] = Message(body, op, offset)
            else:
                self._read_repeat(message, op)

    def _read_repeat(self, message: Message, op: Op) -> None:
        message.tries.append(op)
        before = message.push
        if not op.is_ok or not before.is_ok:
            message.push = op if op.is_ok else before
            return
        assert op.reply is not None
        assert before.reply is not None
        if op.reply[1] != before.reply[1]:
            if not self.is_undone(self.level(before), before.left, op.left):
                self.complain("key", f"{before!r}: {before.reply}, then {op!r}: {op.reply}")
            message.push = op

    def _read_pull(self, op: Op) -> None:
        reply = op.reply
        if reply is None:
            self.others["LEASE" if "lease" in op.options else "PULL"].append(op)
        elif reply[0] == "OK" and reply[1]:
            self.pulls.append(op)
            if "lease" in op.options:
                self._given[tuple(reply[4])] = op

    # Tying what belongs together; pushes may be behind pulls in the order of sending

    def _tie(self) -> None:
        self.pulls.sort(key=lambda op: op.left)
        for op in self.pulls:
            self._tie_pull(op)
        for op in self.claims:
            lease = self.leases.get(tuple(op.parts[0]))
            if lease is None:
                continue
            if op.verb == "EXTEND":
                lease.extends.append(op)
            elif op.error is None:
                lease.settled.append(op)
        for lease in self.leases.values():
            lease.extends.sort(key=lambda op: op.came)

    def _tie_pull(self, op: Op) -> None:
        assert op.reply is not None
        runs, packs, *rest = op.reply[1:]
        ids = ids_in(runs)
        bodies = bodies_of(packs)
        columns = rest[0] if rest else {}
        lease = self._tie_lease(op, rest)
        if len(ids) != len(bodies) or len(ids) > op.parts[1]:
            self.complain("wrong count", f"{op!r}: {ids} and {len(bodies)} bodies")
        if len(ids) != len(set(ids)):
            self.complain("id", f"{op!r}: {ids} in one reply")
        counts, attempts, losses = (
            columns.get(each) for each in ("deliveries", "attempts", "losses")
        )
        taken = self.taken_by[op] = []
        for place, (message_id, body) in enumerate(zip(ids, bodies, strict=False)):
            message = self.messages.get(body)
            if message is None or all(push.error is not None for push in message.tries):
                self.complain("invented", f"{op!r}: {body!r} with id {message_id}")
                continue
            delivery = Delivery(op, message, message_id, lease)
            if counts is not None:
                delivery.count = counts[place]
            if attempts is not None:
                delivery.attempts = attempts[place]
            if losses is not None:
                delivery.losses = losses[place]
            message.deliveries.append(delivery)
            taken.append(delivery)
            if lease is not None:
                lease.taken[message_id] = message

    def _tie_lease(self, op: Op, rest: Any) -> LeaseSeen | None:
        if "lease" not in op.options:
            return None
        name = tuple(rest[1])
        if name in self.leases:
            self.complain("lease reused", f"{name}: {op!r} and {self.leases[name].op!r}")
        lease = self.leases[name] = LeaseSeen(name, op, self.history.grants.get(name))
        lease.level = self.lease_level(op)
        return lease

    def messages_of(self, push: Op) -> list[Message]:
        """Return the messages of a push."""
        return [self.messages[body] for body in bodies_of([push.parts[2]])]

    # Levels

    def level(self, op: Op) -> Level:
        """Return the level of a request on a queue, or of the step that it is a part of."""
        if isinstance(op, Part):
            return self.step_level(op.step)
        return self._level(op.options.get("durability"), op.parts[0])

    def step_level(self, step: Op) -> Level:
        """Return the level of a step: the highest of its queues."""
        word = step.options.get("durability")
        given = self._given
        queues = [
            part[1] if part[0] == "PUSH" else given[tuple(part[1])].parts[0]
            for part in step.parts[0]
            if part[0] == "PUSH" or tuple(part[1]) in given
        ]
        return max(self._level(word, queue) for queue in queues)

    def _level(self, word: str | None, queue: str) -> Level:
        options = self.scenario.queues.get(queue, {})
        return LEVELS[word or options.get("durability") or self.scenario.level]

    def lease_level(self, op: Op) -> Level:
        """Return what a lease had reached when its reply left."""
        if "durability" in op.options:
            return self.level(op)
        return min(self.level(op), Level.WRITTEN)

    def settled_level(self, op: Op, lease: LeaseSeen) -> Level:
        """Return the level of a settlement."""
        if isinstance(op, Part):
            return self.step_level(op.step)
        return self._level(op.options.get("durability"), lease.queue)

    def extended_level(self, lease: LeaseSeen) -> Level:
        """Return the level of an extension: its queue's, and `written` at most."""
        return min(self._level(None, lease.queue), Level.WRITTEN)

    def is_undone(self, level: Level, since: Moment, until: Moment) -> bool:
        """Tell whether between two moments an end of the server may have undone something."""
        return any(
            since < crash.at < until and crash.undoes(level) for crash in self.history.crashes
        )

    def has_crash(self, since: Moment, until: Moment) -> bool:
        """Tell whether the server has ended between two moments."""
        return any(since < crash.at < until for crash in self.history.crashes)

    def was_stalled(self, since_seconds: float, until_seconds: float) -> bool:
        """Tell whether in that time nobody did anything for a while."""
        return any(
            begin <= until_seconds and since_seconds <= end for begin, end in self.history.stalls
        )

    def is_still(self, since_seconds: float, until_seconds: float) -> bool:
        """Tell whether in that time the server could not do what was due."""
        spans = self.history.stalls + self.history.full
        return any(begin <= until_seconds and since_seconds <= end for begin, end in spans)


def bodies_of(packs: Any) -> list[str]:
    """Return the bodies of packs."""
    unpacker = msgpack.Unpacker()
    for pack in packs:
        unpacker.feed(pack)
    return list(unpacker)


def covers(op: Op, message_id: int) -> bool:
    """Tell whether a settlement is of a message of its lease."""
    runs = op.options.get("ids")
    return not runs or message_id in ids_in(runs)


def is_settled_by(lease: LeaseSeen, op: Op, message_id: int) -> bool:
    """Tell whether a message was still under its lease for an ack of it, for all that is known."""
    if lease.is_parted and "ids" not in op.options:
        return False
    return covers(op, message_id) and not any(
        other is not op
        and other.verb != "ACK"
        and other.came < op.left
        and covers(other, message_id)
        for other in lease.settled
    )


def ids_in(runs: Any) -> list[int]:
    """Return the ids that runs stand for."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [each for first, count in pairs for each in range(first, first + count)]
