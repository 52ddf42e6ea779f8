"""The part of the judge that looks at what stops a delivery: CANCEL, PAUSE, and a queue's cap.

What was cancelled is never delivered again, and its holder hears of it. From a queue that is
paused nothing is delivered, nor from one that has as many leased messages as it may.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from simulation.facts import covers, ids_in
from simulation.history import NEVER

if TYPE_CHECKING:
    from simulation.facts import Facts, LeaseSeen, Message
    from simulation.history import Op
    from simulation.lifetimes import Lifetimes


def judge_wills(facts: Facts, lifetimes: Lifetimes) -> None:
    """Hold deliveries against what was to stop them."""
    if facts.others["CANCEL"]:
        _judge_cancels(facts)
    for op in facts.others["PAUSE"]:
        if op.is_ok and op.parts[0] not in facts.deleted:
            _judge_pause(facts, op)
    for queue, options in facts.scenario.queues.items():
        if "max_leased" in options and queue not in facts.deleted:
            _judge_cap(facts, lifetimes, queue, options["max_leased"])


# CANCEL


def may_be_cancelled(facts: Facts, message: Message, queues: set[str]) -> bool:
    """Tell whether a CANCEL may have removed a message, in one of the queues it may have been in."""
    known = {delivery.message_id for delivery in message.deliveries}
    if message.first_id is not None:
        known.add(message.first_id)
    has_moved = bool(facts.others["REDRIVE"])  # and may have an id that nobody has seen
    return any(
        op.parts[0] in queues
        and op.end > message.came
        and (
            has_moved
            or op.parts[0] != message.queue
            or not known
            or not known.isdisjoint(ids_in(op.parts[1]))
        )
        for op in facts.others["CANCEL"]
    )


def _judge_cancels(facts: Facts) -> None:
    by_id: dict[tuple[str, int], set[Message]] = defaultdict(set)
    for message in facts.messages.values():
        if message.first_id is not None:
            by_id[message.queue, message.first_id].add(message)
        for delivery in message.deliveries:
            by_id[delivery.queue, delivery.message_id].add(message)
    for op in facts.others["CANCEL"]:
        if op.is_ok:
            _judge_cancel(facts, op, by_id)


def _judge_cancel(facts: Facts, op: Op, by_id: dict[tuple[str, int], set[Message]]) -> None:
    assert op.reply is not None
    queue, ids = op.parts[0], ids_in(op.parts[1])
    removed, marked, word = op.reply[1:4]
    if removed + marked > len(ids):
        facts.complain("wrong count", f"{op!r}: {op.reply}")
    if word != facts.level(op).word:
        facts.complain("wrong level", f"{op!r}: {op.reply}")
    if queue in facts.deleted or removed + marked < len(ids):
        return  # which of them were passed over it does not say
    for message_id in ids:
        messages = by_id[queue, message_id]
        if len(messages) == 1:
            (message,) = messages
            _judge_cancelled(facts, op, message)
            if marked == len(ids):
                _judge_told(facts, op, message, message_id)


def _judge_cancelled(facts: Facts, op: Op, message: Message) -> None:
    level = facts.level(op)
    for delivery in message.deliveries:
        if delivery.begin > op.left and not facts.is_undone(level, op.left, delivery.end):
            facts.complain("cancelled", f"{message.name}: {op!r}, and then {delivery.op!r}")


def _judge_told(facts: Facts, cancel: Op, message: Message, message_id: int) -> None:
    """See that the holder of a cancelled message hears of it with each extension."""
    level = facts.level(cancel)
    for delivery in message.deliveries:
        lease = delivery.lease
        if lease is None or delivery.message_id != message_id or lease.queue != cancel.parts[0]:
            continue
        for op in lease.extends:
            if (
                op.is_ok
                and op.came > cancel.left
                and not _may_be_settled(lease, message_id, op)
                and not facts.is_undone(level, cancel.left, op.left)
            ):
                assert op.reply is not None
                told = ids_in(op.reply[1]) if op.reply[1:] else []
                if message_id not in told:
                    facts.complain("not told", f"{message.name}: {cancel!r}, {op!r}: {op.reply}")


def _may_be_settled(lease: LeaseSeen, message_id: int, op: Op) -> bool:
    return lease.is_parted or any(
        each.came < op.left and covers(each, message_id) for each in lease.settled
    )


# PAUSE


def _judge_pause(facts: Facts, pause: Op) -> None:
    queue = pause.parts[0]
    until = min(
        (op.came for op in facts.others["RESUME"] if op.parts[0] == queue and op.end > pause.came),
        default=NEVER,
    )
    level = facts.level(pause)
    for op, taken in facts.taken_by.items():
        if op.parts[0] != queue or not taken:
            continue
        begin, end = taken[0].begin, taken[0].end
        if pause.left < begin and end < until and not facts.is_undone(level, pause.left, end):
            facts.complain("paused", f"{pause!r}, and then {op!r}")


# Most leased messages


def _judge_cap(facts: Facts, lifetimes: Lifetimes, queue: str, most: int) -> None:
    leases = [each for each in facts.leases.values() if each.queue == queue]
    leases.sort(key=lambda each: each.begin)
    for place, lease in enumerate(leases):
        if lease.begin != lease.end:
            continue
        count = len(lease.taken)
        for other in leases[:place]:
            if other.end < lease.begin:
                count += sum(
                    lease.begin < lifetimes.not_before(other, message_id, lease.end)
                    for message_id in other.taken
                )
        if count > most:
            facts.complain("too many leased", f"{count} in {queue} with {lease.op!r}")
