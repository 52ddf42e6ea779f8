"""The part of the judge that looks at time: nothing before its time, and nothing past its end.

What is said of it in a push holds in the queue of the push: not for dead letters, and not in the
same way for what was redriven, which begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.facts import EPSILON_SECONDS
from simulation.history import WALL_SECONDS

if TYPE_CHECKING:
    from simulation.facts import Delivery, Facts, Message
    from simulation.history import Moment

SLACK_SECONDS = 0.1
"""A message may be delivered so long after its end."""


def due_seconds(message: Message, pushed: Moment) -> float | None:
    """Return when a message that was pushed at a moment may be delivered; None for at once."""
    options = message.push.options
    if "delay" in options:
        return options["delay"] + pushed[0]
    if "not_before" in options:
        return options["not_before"] - WALL_SECONDS
    return None


def ttl_seconds(facts: Facts, message: Message) -> float | None:
    """Return for how long a message may wait; None for ever."""
    known = [
        message.push.options.get("ttl"),
        facts.scenario.queues.get(message.queue, {}).get("ttl_seconds"),
    ]
    return min((each for each in known if each is not None), default=None)


def may_expire(facts: Facts, message: Message) -> bool:
    """Tell whether a message may have been dropped for its age."""
    ttl = ttl_seconds(facts, message)
    if ttl is None or facts.scenario.queues[message.queue].get("on_expiry") == "dead_letter":
        return False
    if facts.scenario.jumps:
        return True
    return message.came[0] + ttl < facts.end_seconds


def judge_times(facts: Facts) -> None:
    """Hold deliveries against delays and ends."""
    if facts.scenario.jumps:
        return
    for message in facts.messages.values():
        if not message.deliveries or not message.alive:
            continue
        due, ttl = due_seconds(message, message.came), ttl_seconds(facts, message)
        if due is None and ttl is None:
            continue
        for delivery in message.deliveries:
            if delivery.queue != message.queue or _may_be_redriven(facts, delivery):
                continue
            if due is not None and delivery.end[0] < due - EPSILON_SECONDS:
                facts.complain("too early", f"{message.name}: {message.push!r}, {delivery.op!r}")
            if ttl is not None:
                _judge_end(facts, message, delivery, ttl)


def _may_be_redriven(facts: Facts, delivery: Delivery) -> bool:
    return any(op.came < delivery.end for op in facts.others["REDRIVE"])


def _pushed(facts: Facts, message: Message) -> Moment:
    """Return when a message was pushed at the latest: what was undone, its key may bring again."""
    push = message.push
    if not push.is_ok:
        return max(each.end for each in message.alive)
    level = facts.level(push)
    again = [each.end for each in message.alive if facts.is_undone(level, push.left, each.end)]
    return max([push.left, *again])


def _judge_end(facts: Facts, message: Message, delivery: Delivery, ttl: float) -> None:
    end_seconds = _pushed(facts, message)[0] + ttl + SLACK_SECONDS
    if delivery.begin[0] > end_seconds:
        facts.complain(
            "too late",
            f"{message.name}: {message.push!r}, over at {end_seconds:.3f}, {delivery.op!r}",
        )
