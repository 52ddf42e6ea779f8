"""The part of the judge that looks at ids and at the order of deliveries."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from simulation.facts import covers

if TYPE_CHECKING:
    from simulation.facts import Delivery, Facts, Message
    from simulation.history import Moment, Op


def judge_ids(facts: Facts) -> None:
    """Hold ids against what pushes were told, and against each other."""
    _judge_pushes(facts)
    used: dict[tuple[str, int], Message] = {}
    has_moves = bool(facts.others["REDRIVE"])
    for message in facts.messages.values():
        first_id = message.first_id
        if first_id is not None and message.queue not in facts.deleted:
            _use(facts, used, (message.queue, first_id), message)
        for delivery in message.deliveries:
            queue = delivery.queue
            if queue in facts.deleted:
                continue
            if queue != message.queue or has_moves:
                continue
            if len(message.tries) > 1 and _was_pushed_anew(facts, message):
                continue
            if first_id is not None and delivery.message_id != first_id:
                facts.complain("id", f"{message.name} was {first_id}, and is {delivery.message_id}")
            elif first_id is None:
                _use(facts, used, (queue, delivery.message_id), message)


def _was_pushed_anew(facts: Facts, message: Message) -> bool:
    """Tell whether a push with a key may have been undone before it was repeated."""
    tries = message.tries
    return facts.is_undone(facts.level(message.push), tries[0].came, tries[-1].end)


def _use(
    facts: Facts, used: dict[tuple[str, int], Message], key: tuple[str, int], message: Message
) -> None:
    other = used.setdefault(key, message)
    if other is message:
        return
    told = [other.push.left, *(each.op.left for each in other.deliveries)]
    later = min([message.push.left, *(each.op.left for each in message.deliveries)])
    if not facts.is_undone(facts.level(other.push), min(told), later):
        facts.complain("id", f"{key} is {other.name} and {message.name}")
    used[key] = message


def _judge_pushes(facts: Facts) -> None:
    """Ids grow with the pushes of a producer, in the order of its connection and of replies."""
    last: dict[tuple[str, str], Op] = {}
    for op in facts.pushes:
        if not op.is_ok or op.parts[0] in facts.deleted:
            continue
        assert op.reply is not None
        if op.reply[3:]:  # a repeat: it has the id that was given before
            continue
        key = (op.conn.client, op.parts[0])
        before = last.get(key)
        is_after = before is not None and (before.conn is op.conn or before.left < op.came)
        if is_after and not facts.is_undone(facts.level(before), before.left, op.left):
            assert before is not None
            assert before.reply is not None
            if op.reply[1] < before.reply[1] + before.parts[1]:
                facts.complain("reordered", f"{before!r}: {before.reply}, then {op!r}: {op.reply}")
        last[key] = op
        if op.reply[2] != facts.level(op).word:
            facts.complain("wrong level", f"{op!r}: {op.reply}")


def judge_order(facts: Facts) -> None:
    """No message is passed over while it is ready: the lowest id comes first."""
    ready: dict[str, list[tuple[int, Moment, Moment, Message]]] = defaultdict(list)
    for message in facts.messages.values():
        deliveries = sorted(message.deliveries, key=lambda each: each.begin)
        if deliveries and deliveries[0].queue not in facts.deleted:
            _note_fresh(facts, ready, message, deliveries[0])
            for one, other in pairwise(deliveries):
                _note_returned(facts, ready, one, other)
    for spans in ready.values():
        spans.sort(key=lambda span: span[0])
    for op, taken in facts.taken_by.items():
        if taken:
            _judge_pull(facts, op, taken, ready[op.parts[0]])


def _judge_pull(
    facts: Facts,
    op: Op,
    taken: list[Delivery],
    spans: list[tuple[int, Moment, Moment, Message]],
) -> None:
    highest = max(delivery.message_id for delivery in taken)
    begin, end = taken[0].begin, taken[0].end
    for message_id, since, until, message in spans:
        if message_id >= highest:
            return
        if since < begin and end < until:
            facts.complain(
                "reordered",
                f"{op!r} takes {highest} and leaves {message_id}, {message.name}, which is ready "
                f"from {since[0]:.3f} to {until[0]:.3f}",
            )


def _note_fresh(
    facts: Facts,
    ready: dict[str, list[tuple[int, Moment, Moment, Message]]],
    message: Message,
    first: Delivery,
) -> None:
    push = message.push
    is_first = first.count == 1 and first.message_id == message.first_id
    is_here = push.is_ok and is_first and first.queue == message.queue
    if is_here and not facts.has_crash(push.left, first.end):
        ready[first.queue].append((first.message_id, push.left, first.begin, message))


def _note_returned(
    facts: Facts,
    ready: dict[str, list[tuple[int, Moment, Moment, Message]]],
    one: Delivery,
    other: Delivery,
) -> None:
    lease = one.lease
    if lease is None or other.message_id != one.message_id or other.queue != one.queue:
        return
    if other.count != one.count + 1 or facts.has_crash(one.begin, other.end):
        return
    handed = [
        op.left
        for op in lease.settled
        if op.is_ok and op.options.get("hand_back") and covers(op, one.message_id)
    ]
    if handed and not _was_elsewhere(lease.settled, one, handed[0]):
        ready[one.queue].append((one.message_id, handed[0], other.begin, one.message))


def _was_elsewhere(settled: list[Op], one: Delivery, left: Moment) -> bool:
    """Tell whether something else may have taken a message off its lease before."""
    return any(
        not op.options.get("hand_back") and op.came < left and covers(op, one.message_id)
        for op in settled
    )
