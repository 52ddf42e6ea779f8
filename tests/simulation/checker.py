"""The judge of a history: what of it must not be.

It knows what clients asked for and were told at the server's door (`simulation.history`), when
connections and the server ended, and which levels were promised; and of the inside only when each
lease was given. What it asserts:

    lost             a push was promised, nothing that was asked for can have removed it, and it
                     is not there at the end
    after its end    a message is delivered though an ack of it, or a pull without a lease, was
                     answered before, and no end of the server may have undone that
    two at once      a message is delivered while a lease on it still lives
    lease reused     two pulls are given the same lease
    stale            a settlement or extension is accepted: of a lease whose message somebody else
                     has got since, that was settled before, whose deadline has passed, whose
                     holder was away for longer than the grace, or that is another holder's
    refused          one is refused though the lease lives, is its client's, and has the message
    wrong count      a settlement or pull counts other messages than it should
    reordered        a message is passed over by one of lower priority, or of the same and a higher
                     id, while it is certainly ready (pushed and never delivered, or handed back),
                     and that by no take that may have gone by age; takes that went by age less than
                     sixteen from each other; ids that do not grow with the pushes of a producer
    starved          sixteen takes in a row, none of which went by age, passed over older ones
    id, key          a message under another id than was told, or two messages under one; a push or a
                     step that comes again with its key is carried out again, or not answered as the
                     first time
    invented         a message that was not pushed there, or was refused, with its step or by itself
    half             a part of a step has happened and another has not: it is seen by its reply, by
                     its messages, by what it has acknowledged and what comes again
    wrong part       a step is refused for a part that cannot be refused like that
    came back        a purge or delete was answered, and a message that it must have removed is
                     delivered
    cancelled        the same of a CANCEL
    not told         an extension does not tell of a message that was cancelled under its lease
    paused           a message is delivered out of a queue that is paused
    too many leased  more than the queue's cap allows
    too early        a message is delivered before the delay or time of its push, or the delay of its
                     nack, has passed, or after its budget was spent
    too late         a message is delivered that has waited longer than it may
    deliveries       its count is not above that of the delivery before
    refusal, unanswered, stuck, silent
                     an error that cannot be right; no reply though nothing hinders; messages that
                     cannot be got out at the end; a client that is silent in spite of its promise
                     and is not cut off

A promise holds against what its level survives: `accepted` no end of the server but an orderly
one, `written` no loss of power, `synced` all. What is in doubt (there, and not answered) may have
happened or not.

What it cannot see: which of several messages a lost pull has taken (it may explain any as many as
it asked for); wrong figures in INFO, LIST, HOLDERS, PEEK; order among those who wait; when a
message that waits for a back-off comes, if it is only late; times where somebody has set the clock;
and nothing about a queue's ids and order after it may have been deleted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mqwire.levels import LEVELS, Level
from simulation.facts import EPSILON_SECONDS, SETTLING, Facts, covers, is_settled_by
from simulation.halves import judge_steps
from simulation.history import NEVER
from simulation.ids import judge_ids, judge_keys
from simulation.lifetimes import Lifetimes
from simulation.order import judge_order
from simulation.steps import Part
from simulation.times import judge_times, may_expire, ttl_seconds
from simulation.wills import judge_wills, may_be_cancelled

if TYPE_CHECKING:
    from simulation.facts import Delivery, LeaseSeen, Message
    from simulation.history import History, Moment, Op
    from simulation.scenario import Scenario

ALLOWED = {
    "PUSH": {"QUEUE_NOT_FOUND", "QUEUE_FULL", "STORAGE_FULL"},
    "PULL": {"QUEUE_NOT_FOUND", "TOO_MANY_WAITS"},
    "ACK": {"LEASE_LOST", "NOT_LEASED"},
    "NACK": {"LEASE_LOST", "NOT_LEASED"},
    "REJECT": {"LEASE_LOST", "NOT_LEASED"},
    "EXTEND": {"LEASE_LOST", "NOT_LEASED"},
    "INFO": {"QUEUE_NOT_FOUND"},
    "PEEK": {"QUEUE_NOT_FOUND"},
    "REDRIVE": {"QUEUE_NOT_FOUND", "QUEUE_FULL", "STORAGE_FULL"},
    "PURGE": {"QUEUE_NOT_FOUND"},
    "DELETE": {"QUEUE_NOT_FOUND"},
    "CREATE": {"STORAGE_FULL"},
    "STEP": {"LEASE_LOST", "NOT_LEASED", "QUEUE_NOT_FOUND", "QUEUE_FULL", "STORAGE_FULL"},
    "CANCEL": {"QUEUE_NOT_FOUND"},
    "PAUSE": {"QUEUE_NOT_FOUND"},
    "RESUME": {"QUEUE_NOT_FOUND"},
}
"""The refusals that there may be."""

ANSWER_SECONDS = 3.0
SILENT_SLACK_SECONDS = 5.0


def judge(history: History, scenario: Scenario) -> list[str]:
    """Return what is wrong with a history; nothing if it is sound."""
    facts = Facts(history, scenario)
    lifetimes = Lifetimes(facts)
    _judge_replies(facts)
    _judge_silence(facts)
    for op in facts.claims:
        _judge_claim(facts, lifetimes, op)
    for message in facts.messages.values():
        if message.deliveries:
            _judge_deliveries(facts, lifetimes, message)
    _judge_acks(facts)
    _judge_purges(facts)
    judge_ids(facts)
    judge_keys(facts)
    judge_order(facts)
    judge_times(facts)
    judge_wills(facts, lifetimes)
    judge_steps(facts)
    _judge_missing(facts)
    return facts.violations


# Replies


def _judge_replies(facts: Facts) -> None:
    scenario = facts.scenario
    hinders = {"slow_disk", "stall", "deaf", "full_disk", "disk", "stop"}
    is_smooth = (
        not any(each.kind in hinders for each in scenario.mishaps)
        and not scenario.limits
        and not any(name.startswith("worker") for name in scenario.crew)
    )
    for op in facts.history.ops:
        error = op.error
        if error is not None and error not in ALLOWED.get(op.verb, ()):
            facts.complain("refusal", f"{op!r}: {op.reply}")
        elif is_smooth and op.is_there and op.reply is None:
            waited_seconds = op.conn.ended[0] - op.came[0] - op.options.get("wait", 0)
            if waited_seconds > ANSWER_SECONDS:
                facts.complain("unanswered", f"{op!r} for {waited_seconds:.2f} s")


def _judge_silence(facts: Facts) -> None:
    """A connection whose client has promised to be heard ends after twice that time."""
    if facts.history.stalls:
        return
    for conn in facts.history.conns:
        if conn.keepalive is None:
            continue
        silent_seconds = conn.ended[0] - conn.heard_seconds
        # A half more, since the server looks twice in that time; and what it has to hear first.
        if silent_seconds > 2.5 * conn.keepalive + SILENT_SLACK_SECONDS:
            facts.complain(
                "silent", f"{conn.client}/{conn.number} for {silent_seconds:.1f} s, and not cut off"
            )


# Claims


def _judge_claim(facts: Facts, lifetimes: Lifetimes, op: Op) -> None:
    """Judge a settlement or an extension by its reply."""
    lease = facts.leases.get(tuple(op.parts[0]))
    if lease is None or op.reply is None or op.came < lease.op.left:
        return
    if op.is_ok:
        _judge_accepted(facts, lifetimes, op, lease)
    elif op.who == lease.who:
        _judge_refused(facts, lifetimes, op, lease)


def _judge_accepted(facts: Facts, lifetimes: Lifetimes, op: Op, lease: LeaseSeen) -> None:
    if op.who != lease.who:
        facts.complain("stale", f"{op!r} is accepted, and the lease is that of {lease.who}")
        return
    why = lifetimes.overdue(lease, op)
    if why is not None:
        facts.complain("stale", f"{op!r} is accepted, and {why}")
    over = _over_before(facts, op, lease)
    is_named = "ids" in op.options
    for message_id, reason in over.items():
        if is_named or len(over) == len(lease.taken):
            facts.complain("stale", f"{op!r} is accepted, and message {message_id} {reason}")
            return
    if op.verb in SETTLING:
        _judge_count(facts, lifetimes, op, lease, len(over))


def _over_before(facts: Facts, op: Op, lease: LeaseSeen) -> dict[int, str]:
    """Tell of which messages that a claim covers the lease was over, and why."""
    over = {}
    for message_id, message in lease.taken.items():
        if not covers(op, message_id):
            continue
        for other in message.deliveries:
            if (
                lease.end < other.begin
                and other.end < op.came
                and not facts.is_undone(_delivery_level(facts, other), other.begin, op.came)
            ):
                over[message_id] = f"was delivered again: {other.op!r}"
        for other_op in lease.settled:
            if (
                other_op is not op
                and other_op.is_ok
                and other_op.left < op.came
                and covers(other_op, message_id)
                and not facts.is_undone(
                    facts.settled_level(other_op, lease), other_op.left, op.came
                )
            ):
                over[message_id] = f"was settled before: {other_op!r}"
    return over


def _delivery_level(facts: Facts, delivery: Delivery) -> Level:
    lease = delivery.lease
    return facts.level(delivery.op) if lease is None else lease.level


def _judge_count(facts: Facts, lifetimes: Lifetimes, op: Op, lease: LeaseSeen, over: int) -> None:
    assert op.reply is not None
    told = op.reply[1]
    asked = sum(covers(op, message_id) for message_id in lease.taken)
    perhaps = sum(
        covers(op, message_id)
        and (
            any(
                other is not op and other.came < op.left and covers(other, message_id)
                for other in lease.settled
            )
            or (lease.is_parted and lifetimes.not_before(lease, message_id, op.left, op) < op.left)
        )
        for message_id in lease.taken
    )
    if not asked - perhaps <= told <= asked - over:
        facts.complain("wrong count", f"{op!r}: {op.reply}, of {asked}, {over} of them settled")
    word = op.reply[2]
    if not isinstance(op, Part) and LEVELS[word] is not facts.settled_level(op, lease):
        facts.complain("wrong level", f"{op!r}: {op.reply}")


def _judge_refused(facts: Facts, lifetimes: Lifetimes, op: Op, lease: LeaseSeen) -> None:
    if op.error not in ("LEASE_LOST", "NOT_LEASED"):
        return
    is_live = [
        op.left < lifetimes.not_before(lease, message_id, op.left, op)
        for message_id in lease.taken
        if op.error == "LEASE_LOST" or covers(op, message_id)
    ]
    if any(is_live) if op.error == "LEASE_LOST" else all(is_live):
        facts.complain("refused", f"{op!r}: {op.reply}, and the lease {lease.name} lives")


# Deliveries of one message


def _judge_deliveries(facts: Facts, lifetimes: Lifetimes, message: Message) -> None:
    deliveries = sorted(message.deliveries, key=lambda each: each.begin)
    allowed = {message.queue, *_dead_letters(facts, message.queue)}
    for place, one in enumerate(deliveries):
        if one.queue not in allowed:
            facts.complain("invented", f"{message.name} in {one.queue}: {one.op!r}")
        _judge_budget(facts, one)
        for other in deliveries[place + 1 :]:
            if one.lease is None:
                _judge_second(facts, one, other)
            elif one.lease is not other.lease:
                end = lifetimes.not_before(one.lease, one.message_id, other.end)
                if other.end < end:
                    facts.complain(
                        "two at once",
                        f"{message.name}: lease {one.lease.name} lives until {end[0]:.3f}, "
                        f"and {other.op!r} has it at {other.end[0]:.3f}",
                    )
                _judge_delay(facts, one.lease, one, other)
        if place and deliveries[place - 1].lease is not None:
            _judge_counts(facts, deliveries[place - 1], one)


def _dead_letters(facts: Facts, queue: str) -> list[str]:
    """Return the queues that dead letters of a queue come to."""
    found = []
    following = facts.scenario.queues.get(queue, {}).get("dead_letter")
    while following is not None:
        found.append(following)
        following = facts.scenario.queues[following].get("dead_letter")
    return found


def _judge_second(facts: Facts, one: Delivery, other: Delivery) -> None:
    """Judge what comes after a pull without a lease."""
    if one.end < other.begin and not facts.is_undone(facts.level(one.op), one.end, other.end):
        facts.complain("after its end", f"{one.message.name}: {one.op!r}, and then {other.op!r}")


def _judge_budget(facts: Facts, delivery: Delivery) -> None:
    options = facts.scenario.queues[delivery.queue]
    for figure, option in (("attempts", "max_attempts"), ("losses", "max_worker_losses")):
        most = options.get(option)
        if most is not None and getattr(delivery, figure) >= most:
            facts.complain("too early", f"{delivery.message.name}: {figure} at {most}")


def _judge_delay(facts: Facts, lease: LeaseSeen, one: Delivery, other: Delivery) -> None:
    if facts.scenario.jumps or other.queue != one.queue:
        return
    for op in lease.settled:
        delay_seconds = op.options.get("delay")
        if not delay_seconds or not op.is_ok or not covers(op, one.message_id):
            continue
        if lease.is_parted and "ids" not in op.options:
            continue  # it may have gone back before
        if any(
            each is not op and each.came < op.left and covers(each, one.message_id)
            for each in lease.settled
        ):
            continue  # it may have gone back before
        due_seconds = op.came[0] + delay_seconds - EPSILON_SECONDS
        level = facts.settled_level(op, lease)
        if (
            op.left < other.begin
            and other.end[0] < due_seconds
            and not facts.is_undone(level, op.left, other.end)
            and not any(each.came < other.end for each in facts.others["REDRIVE"])
        ):
            facts.complain("too early", f"{one.message.name}: {op!r}, and then {other.op!r}")


def _judge_counts(facts: Facts, before: Delivery, delivery: Delivery) -> None:
    if before.end >= delivery.begin or delivery.count > before.count:
        return
    if not facts.is_undone(_delivery_level(facts, before), before.begin, delivery.end):
        facts.complain(
            "deliveries",
            f"{delivery.message.name}: {before.count} by {before.op!r}, "
            f"{delivery.count} by {delivery.op!r}",
        )


# What is done is done


def _judge_acks(facts: Facts) -> None:
    for op in facts.claims:
        lease = facts.leases.get(tuple(op.parts[0]))
        if op.verb != "ACK" or not op.is_ok or lease is None:
            continue
        level = facts.settled_level(op, lease)
        for message_id, message in lease.taken.items():
            if not is_settled_by(lease, op, message_id):
                continue
            for other in message.deliveries:
                if (
                    other.begin > lease.end
                    and other.lease is not lease
                    and not facts.is_undone(level, op.left, other.end)
                    and not facts.is_undone(_delivery_level(facts, other), other.begin, op.came)
                ):
                    facts.complain(
                        "after its end", f"{message.name}: {op!r}, and then {other.op!r}"
                    )


def _judge_purges(facts: Facts) -> None:
    """A message that was never delivered, and was there, has to go with a purge or a delete."""
    for op in (*facts.others["PURGE"], *facts.others["DELETE"]):
        queue = op.parts[0]
        if not op.is_ok or op.options.get("state") == "dead":
            continue
        level = facts.level(op)
        for message in facts.messages.values():
            push = message.push
            if message.queue != queue or not push.is_ok or push.left > op.came:
                continue
            if ttl_seconds(facts, message) is not None:
                continue  # it may have been dead then
            for delivery in message.deliveries[:1]:
                if (
                    delivery.begin > op.left
                    and delivery.count == 1
                    and delivery.queue == queue
                    and not facts.is_undone(min(level, Level.WRITTEN), push.came, delivery.end)
                ):
                    facts.complain("came back", f"{message.name}: {op!r}, then {delivery.op!r}")


# What has to be there at the end


def _judge_missing(facts: Facts) -> None:
    """What was promised and has never been removed has to be there at the end."""
    shown = _shown_steps(facts)
    missing: dict[str, list[Message]] = defaultdict(list)
    for message in facts.messages.values():
        if _is_promised(facts, message, shown) and not _may_be_removed(facts, message):
            missing[message.queue].append(message)
    for queue, messages in missing.items():
        pulls = _pulls_in_doubt(facts, queue)
        able = [
            message
            for message in messages
            if any(min(push.came for push in message.tries) < op.conn.ended for op in pulls)
        ]
        unable = [message for message in messages if message not in able]
        if len(able) > sum(op.parts[1] for op in pulls):
            unable += able
        for message in unable:
            facts.complain("lost", f"{message.name} of {message.push!r}, {message.push.reply}")


def _pulls_in_doubt(facts: Facts, queue: str) -> list[Op]:
    queues = {queue, *_dead_letters(facts, queue)}
    return [op for op in facts.others["PULL"] if op.parts[0] in queues]


def _shown_steps(facts: Facts) -> dict[int, list[Moment]]:
    """Tell when steps, by the numbers of their requests, were seen to have happened.

    One without whose acknowledgement a message would have to be there is seen in the end.
    """
    shown: dict[int, list[Moment]] = {}
    steps = {each.number: step for step in facts.steps for each in step.tries}
    for step in facts.steps:
        moments = [each.left for each in step.tries if each.is_ok]
        moments += [
            delivery.op.left
            for tries in step.pushes()
            for message in facts.messages_of(tries[0])
            for delivery in message.deliveries
        ]
        for each in step.tries:
            shown[each.number] = moments
    for message in facts.messages.values():
        acks = _acks_of(message)
        if not acks or not all(isinstance(op, Part) for op in acks):
            continue
        owners = {id(steps[op.number]) for op in acks}
        if len(owners) > 1 or not _is_promised(facts, message, {}):
            continue
        if not _may_go_otherwise(facts, message):
            shown[acks[0].number].append((facts.end_seconds, 0))
    return shown


def _is_promised(facts: Facts, message: Message, shown: dict[int, list[Moment]]) -> bool:
    """Tell whether nothing may have undone a push: somebody was told of it, or was shown it."""
    told = [push.left for push in message.tries if push.is_ok]
    told += [delivery.op.left for delivery in message.deliveries]
    if isinstance(message.push, Part):
        told += shown.get(message.push.number, ())
    level = facts.level(message.push)
    return any(not facts.is_undone(level, moment, NEVER) for moment in told)


def _may_be_removed(facts: Facts, message: Message) -> bool:
    return (
        any(delivery.lease is None for delivery in message.deliveries)
        or bool(_acks_of(message))
        or _may_be_taken_away(facts, message)
    )


def _may_go_otherwise(facts: Facts, message: Message) -> bool:
    """Tell whether a message may be gone though it was not acknowledged."""
    return (
        any(delivery.lease is None for delivery in message.deliveries)
        or _may_be_taken_away(facts, message)
        or bool(_pulls_in_doubt(facts, message.queue))
    )


def _acks_of(message: Message) -> list[Op]:
    """Return what may have acknowledged a message."""
    return [
        op
        for delivery in message.deliveries
        if delivery.lease is not None
        for op in delivery.lease.settled
        if op.verb == "ACK" and covers(op, delivery.message_id)
    ]


def _may_be_taken_away(facts: Facts, message: Message) -> bool:
    """Tell whether a message may have been purged, deleted or cancelled, or is too old."""
    queues = {message.queue, *_dead_letters(facts, message.queue)}
    removals = facts.others["DELETE"] + facts.others["PURGE"]
    return (
        any(op.parts[0] in queues and op.end > message.came for op in removals)
        or may_be_cancelled(facts, message, queues)
        or may_expire(facts, message)
    )
