"""Steps and pushes with options, from the engine's words into those of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core import steps as core
from mqd.core.parcels import PushExtras
from mqd.engine.base import NO_OPTIONS, Append, PushOptions, Settle
from mqwire import causes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.core.records import Record


_NOTHING_MORE = NO_OPTIONS[1:]
"""The options of a push that says nothing, or a key alone."""


def plan_push(broker: Broker, part: Append, now_ms: int) -> tuple[Record | None, int]:
    """Plan a push with options.

    Returns:
        The record, or None where the push is a repeat; and its first id.
    """
    key, extras = part.options.key, _extras(part.options, now_ms)
    fields = (part.queue, part.count, part.pack, part.headers, now_ms)
    if key is not None:
        return broker.plan_keyed_push(*fields, key, extras)
    record = broker.plan_push(*fields, extras=extras)
    return record, record[2]


def plan_step(
    broker: Broker,
    parts: Sequence[Settle | Append],
    key: str | None,
    now_ms: int,
    chance: Callable[[], float],
) -> core.PlannedStep:
    """Plan a step; see `Broker.plan_step`."""
    return broker.plan_step([_in_core(part, now_ms, chance) for part in parts], now_ms, key=key)


def queues_of(broker: Broker, parts: Sequence[Settle | Append]) -> list[Queue]:
    """Return the queues that a planned step settles in or pushes to."""
    found: dict[int, Queue] = {}
    for part in parts:
        if isinstance(part, Append):
            queue = broker.queue(part.queue)
        else:
            queue = broker.jobs.lease_of(part.claim).queue
        found[queue.uid] = queue
    return list(found.values())


def size_bytes(part: Settle | Append) -> int:
    """Tell about how large a part makes a record, beyond what any record takes."""
    if isinstance(part, Append):
        return len(part.pack) + sum(run[3] for run in part.headers)
    if part.how is None:
        return 0 if part.result is None else len(part.result)
    return len(part.how.reason)


def _extras(options: PushOptions, now_ms: int) -> PushExtras | None:
    """Return what a push says beyond a plain one; None for nothing."""
    if options[1:] == _NOTHING_MORE:
        return None
    return PushExtras(
        options.priority,
        now_ms + options.delay_ms if options.delay_ms else options.not_before_ms,
        options.ttl_ms,
        options.max_attempts,
        options.max_losses,
    )


def _in_core(part: Settle | Append, now_ms: int, chance: Callable[[], float]) -> core.Part:
    if isinstance(part, Append):
        options = part.options
        named = {"extras": _extras(options, now_ms)}
        return core.Push(part.queue, part.count, part.pack, part.headers, options.key, named)
    how = part.how
    if how is None:
        return core.Ack(part.claim, part.result)
    if how.cause == causes.REJECT:
        return core.Reject(part.claim, how.reason)
    ways: dict[str, Any] = {
        "is_hand_back": how.cause == causes.HAND_BACK,
        "is_lost": how.cause == causes.GONE,
    }
    return core.Nack(part.claim, how.reason, how.delay_ms, chance(), **ways)
