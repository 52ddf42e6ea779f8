"""The part of the judge that looks at ids, and at keys, by which pushes and steps are known."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from simulation.steps import Part, is_repeat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.facts import Delivery, Facts, Message
    from simulation.history import Moment, Op


class _Sighting(NamedTuple):
    """A message that somebody was told of under an id."""

    at: Moment
    message: Message


def judge_ids(facts: Facts) -> None:
    """Hold ids against what pushes were told, and against each other."""
    _judge_pushes(facts)
    seen: dict[tuple[str, int], list[_Sighting]] = defaultdict(list)
    has_moves = bool(facts.others["REDRIVE"])
    for message in facts.messages.values():
        queue = message.queue
        if queue in facts.deleted:
            continue
        for push in message.tries:
            if push.is_ok and push.reply is not None:
                seen[queue, push.reply[1] + message.offset].append(_Sighting(push.left, message))
        if has_moves or (len(message.tries) > 1 and _was_pushed_anew(facts, message)):
            continue
        for delivery in message.deliveries:
            if delivery.queue == queue:
                _judge_id(facts, delivery)
                seen[queue, delivery.message_id].append(_Sighting(delivery.op.left, message))
    for key, sightings in seen.items():
        if len(sightings) > 1:
            _judge_sightings(facts, key, sightings)


def _judge_id(facts: Facts, delivery: Delivery) -> None:
    message = delivery.message
    first_id = message.first_id
    if first_id is not None and delivery.message_id != first_id:
        facts.complain("id", f"{message.name} was {first_id}, and is {delivery.message_id}")


def _judge_sightings(facts: Facts, key: tuple[str, int], sightings: list[_Sighting]) -> None:
    """One id is one message, unless an end of the server has undone its push."""
    sightings.sort(key=lambda sighting: sighting.at)
    for one, other in pairwise(sightings):
        if one.message is not other.message:
            level = facts.level(one.message.push)
            if not facts.is_undone(level, one.at, other.at):
                facts.complain("id", f"{key} is {one.message.name} and {other.message.name}")


def _was_pushed_anew(facts: Facts, message: Message) -> bool:
    """Tell whether a push with a key may have been undone before it was repeated."""
    tries = message.tries
    return facts.is_undone(facts.level(message.push), tries[0].came, tries[-1].end)


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


# Keys


def judge_keys(facts: Facts) -> None:
    """What comes again with its key is answered as it was, and is done once."""
    by_key: dict[tuple[str, str], list[Op]] = {}
    for op in facts.pushes:
        if not isinstance(op, Part) and "key" in op.options:
            by_key.setdefault((op.parts[0], op.options["key"]), []).append(op)
    for (queue, _), tries in by_key.items():
        if queue not in facts.deleted:
            _judge_tries(facts, tries)
    for step in facts.steps:
        if "key" in step.tries[0].options:
            _judge_tries(facts, step.tries)


def _judge_tries(facts: Facts, tries: Sequence[Op]) -> None:
    tries = sorted(tries, key=lambda op: op.came)
    if is_repeat(tries[0]):
        facts.complain("key", f"{tries[0]!r}: {tries[0].reply}, and it came for the first time")
    for place, op in enumerate(tries):
        if not op.is_ok:
            continue
        assert op.reply is not None
        level = facts.step_level(op) if op.verb == "STEP" else facts.level(op)
        for later in tries[place + 1 :]:
            if later.reply is None or later.came < op.left:
                continue
            if facts.is_undone(level, op.left, later.left):
                continue
            if not is_repeat(later) or later.reply[1] != op.reply[1]:
                facts.complain("key", f"{op!r}: {op.reply}, then {later!r}: {later.reply}")
