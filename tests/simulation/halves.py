"""The part of the judge that looks at steps as wholes: all of one has happened, or nothing.

That a step has happened is seen by its reply, and by each of its messages that is delivered. From
then on what it has acknowledged must not come again, and all its messages must be there (see
`simulation.checker` for what is lost). That it has not is seen by a message that it would have
acknowledged, and that is delivered when the step cannot come any more: then none of its messages may
ever be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.facts import is_settled_by
from simulation.steps import is_repeat

if TYPE_CHECKING:
    from simulation.facts import Delivery, Facts, LeaseSeen
    from simulation.history import Op
    from simulation.steps import Part, StepSeen

REFUSED_BY = {
    "LEASE_LOST": ("ACK", "NACK", "REJECT"),
    "NOT_LEASED": ("ACK", "NACK", "REJECT"),
    "QUEUE_FULL": ("PUSH",),
    "QUEUE_NOT_FOUND": ("PUSH",),
}
"""Which parts may be refused with which codes."""


def judge_steps(facts: Facts) -> None:
    """Look at all steps."""
    for step in facts.steps:
        for op in step.tries:
            _judge_reply(facts, op)
        shown = [
            delivery
            for tries in step.pushes()
            for message in facts.messages_of(tries[0])
            for delivery in message.deliveries
        ]
        if shown:
            for part in step.settlements():
                lease = facts.leases.get(tuple(part.parts[0]))
                if part.verb == "ACK" and part.error is None and lease is not None:
                    _judge_ack(facts, step, part, lease, shown)


def _judge_reply(facts: Facts, op: Op) -> None:
    reply = op.reply
    if reply is None:
        return
    if op.is_ok:
        if len(reply[1]) != len(op.parts[0]):
            facts.complain("wrong count", f"{op!r}: {reply}")
        if not is_repeat(op) and reply[2] != facts.step_level(op).word:
            facts.complain("wrong level", f"{op!r}: {reply}")
        return
    verbs = REFUSED_BY.get(reply[1])
    if verbs is not None and op.parts[0][reply[3]["part"]][0] not in verbs:
        facts.complain("wrong part", f"{op!r}: {reply}")


def _judge_ack(
    facts: Facts, step: StepSeen, part: Part, lease: LeaseSeen, shown: list[Delivery]
) -> None:
    """Hold what comes after an acknowledgement that may have happened against the pushes."""
    level = facts.step_level(part.step)
    for message_id, message in lease.taken.items():
        if not is_settled_by(lease, part, message_id):
            continue
        for other in message.deliveries:
            if other.lease is lease or other.begin < lease.end:
                continue
            for one in shown:
                is_before = one.op.left < other.begin
                if is_before and not facts.is_undone(level, one.op.left, other.end):
                    what = "is pushed"
                elif step.end < other.begin and other.end < one.begin:
                    what = "is pushed after all"
                else:
                    continue
                facts.complain(
                    "half",
                    f"{part.step!r}: {one.message.name} {what}, and {message.name} is not done: "
                    f"{other.op!r}",
                )
                return
