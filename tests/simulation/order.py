"""The part of the judge that looks at the order of deliveries.

Of what is ready the highest priority goes first, and the lowest id within one; but every
sixteenth take goes by age, the lowest id first. A take is counted while there is a choice; which
takes were, the judge cannot know. So each one must go by rank or by age; those that certainly went
by age alone must lie sixteen takes apart; and sixteen in a row that certainly did not are too many.

What is ready is known only in part: `_Span` is a time in which a message certainly was.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from simulation.facts import EPSILON_SECONDS, covers
from simulation.times import due_seconds, ttl_seconds

if TYPE_CHECKING:
    from simulation.facts import Delivery, Facts, Message
    from simulation.history import Moment, Op

BY_AGE_EVERY = 16
"""As DOCUMENTATION.md and PROTOCOL.md have it."""

WAKE_SECONDS = 0.1
"""So long after its time a delayed message is ready for certain."""


class _Span(NamedTuple):
    """A time in which a message is ready, in its queue."""

    message_id: int
    since: Moment
    until: Moment
    message: Message

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.message.priority, self.message_id)


class _Take(NamedTuple):
    """What one pull has taken."""

    op: Op
    begin: Moment
    end: Moment
    may_go_by_rank: bool
    may_go_by_age: bool


def judge_order(facts: Facts) -> None:
    """See that no message is passed over while it is ready."""
    ready: dict[str, list[_Span]] = defaultdict(list)
    for message in facts.messages.values():
        deliveries = sorted(message.deliveries, key=lambda each: each.begin)
        if deliveries and deliveries[0].queue not in facts.deleted:
            _note_fresh(facts, ready, message, deliveries[0])
            for one, other in pairwise(deliveries):
                _note_returned(facts, ready, one, other)
    takes: dict[str, list[_Take]] = defaultdict(list)
    for op, taken in facts.taken_by.items():
        if taken:
            queue = op.parts[0]
            takes[queue].append(_judge_take(facts, op, taken, ready[queue]))
    for queue, found in takes.items():
        found.sort(key=lambda take: take.end)
        _judge_turns(facts, queue, found)


def _judge_take(facts: Facts, op: Op, taken: list[Delivery], spans: list[_Span]) -> _Take:
    """Tell whether a pull may have gone by rank, and whether by age; one of these it must."""
    begin, end = taken[0].begin, taken[0].end
    ids = [delivery.message_id for delivery in taken]
    ranks = [(-delivery.message.priority, delivery.message_id) for delivery in taken]
    last_id, last_rank = max(ids), max(ranks)
    may_go_by_rank, may_go_by_age = ranks == sorted(ranks), ids == sorted(ids)
    passed = None
    for span in spans:
        if span.since < begin and end < span.until:
            is_older, is_higher = span.message_id < last_id, span.rank < last_rank
            may_go_by_age &= not is_older
            may_go_by_rank &= not is_higher
            if is_higher or (is_older and passed is None):
                passed = span
    if not (may_go_by_rank or may_go_by_age):
        why = ""
        if passed is not None:
            why = (
                f" and leaves {passed.message_id}, {passed.message.name}, of priority "
                f"{passed.message.priority}, which is ready from {passed.since[0]:.3f} "
                f"to {passed.until[0]:.3f}"
            )
        facts.complain("reordered", f"{op!r} takes {ids} of {ranks}{why}")
    return _Take(op, begin, end, may_go_by_rank, may_go_by_age)


# The guard against starvation


def _judge_turns(facts: Facts, queue: str, takes: list[_Take]) -> None:
    """Look at which takes of a queue went by age; `takes` are in the order of their ends."""
    by_age: _Take | None = None
    not_by_age: list[_Take] = []
    for take in takes:
        if take.may_go_by_age:
            not_by_age.clear()
        else:
            not_by_age.append(take)
            _judge_run(facts, queue, not_by_age[-BY_AGE_EVERY:], takes)
        if not take.may_go_by_rank and take.may_go_by_age:
            if by_age is not None and not facts.has_crash(by_age.begin, take.end):
                between = _count(facts, queue, takes, by_age.begin, take.end) - 1
                if between < BY_AGE_EVERY:
                    facts.complain(
                        "reordered", f"{by_age.op!r} goes by age, and so does {take.op!r}"
                    )
            by_age = take


def _judge_run(facts: Facts, queue: str, run: list[_Take], takes: list[_Take]) -> None:
    """Judge takes that follow each other, none of which has gone by age."""
    if len(run) < BY_AGE_EVERY or any(take.begin != take.end for take in run):
        return
    begin, end = run[0].begin, run[-1].end
    if not facts.has_crash(begin, end) and _count(facts, queue, takes, begin, end) == len(run):
        facts.complain(
            "starved", f"{queue}: nothing goes by age from {run[0].op!r} to {run[-1].op!r}"
        )


def _count(facts: Facts, queue: str, takes: list[_Take], begin: Moment, end: Moment) -> int:
    """Tell how many takes there may have been between two moments, with these."""
    in_doubt = (*facts.others["PULL"], *facts.others["LEASE"])
    return sum(take.end >= begin and take.begin <= end for take in takes) + sum(
        op.parts[0] == queue and op.end >= begin and op.came <= end for op in in_doubt
    )


# What is ready for certain


def _note_fresh(
    facts: Facts,
    ready: dict[str, list[_Span]],
    message: Message,
    first: Delivery,
) -> None:
    push = message.push
    is_first = first.count == 1 and first.message_id == message.first_id
    is_here = push.is_ok and is_first and first.queue == message.queue
    if not is_here or facts.has_crash(push.left, first.end):
        return
    since: Moment = push.left
    due = due_seconds(message, push.left)  # by a key it may have come before, and been dropped
    if due is not None:
        if facts.scenario.jumps or facts.was_stalled(push.left[0], first.end[0]):
            return
        since = max(since, (due + WAKE_SECONDS, 0))
    until = _until(facts, message, first.begin)
    ready[first.queue].append(_Span(first.message_id, since, until, message))


def _until(facts: Facts, message: Message, taken: Moment) -> Moment:
    """Tell until when a message was ready; once too old it may be dead, and redriven to its place."""
    ttl = ttl_seconds(facts, message)
    if ttl is None:
        return taken
    return min(taken, (message.came[0] + ttl - EPSILON_SECONDS, 0))


def _note_returned(
    facts: Facts,
    ready: dict[str, list[_Span]],
    one: Delivery,
    other: Delivery,
) -> None:
    lease = one.lease
    if (
        lease is None
        or lease.is_parted
        or other.message_id != one.message_id
        or other.queue != one.queue
    ):
        return
    if other.count != one.count + 1 or facts.has_crash(one.begin, other.end):
        return
    handed = [
        op.left
        for op in lease.settled
        if op.is_ok and op.options.get("hand_back") and covers(op, one.message_id)
    ]
    if handed and not _was_elsewhere(lease.settled, one, handed[0]):
        until = _until(facts, one.message, other.begin)
        ready[one.queue].append(_Span(one.message_id, handed[0], until, one.message))


def _was_elsewhere(settled: list[Op], one: Delivery, left: Moment) -> bool:
    """Tell whether something else may have taken a message off its lease before."""
    return any(
        not op.options.get("hand_back") and op.came < left and covers(op, one.message_id)
        for op in settled
    )
