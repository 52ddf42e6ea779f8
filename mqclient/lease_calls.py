"""Calls that have to do with leases: what is sent and how the reply is read. Floor 1: pure.

As `mqclient.calls`, for leased PULL, ACK, NACK, EXTEND, REJECT, STEP, REDRIVE and HOLDERS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mqclient.batches import read_messages
from mqclient.calls import Call, check_level, number
from mqclient.checks import check_seconds, checked_runs, reason_text
from mqclient.models import Holder, LeaseId
from mqwire.limits import MAX_REASON_CHARS
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mqclient.messages import Source
    from mqwire.frames import Frame

    Part: TypeAlias = "tuple[Any, ...]"


class Leased(NamedTuple):
    """The result of a leased PULL that found something."""

    lease: LeaseId
    messages: Any
    """`Messages`, unless the call has a reader of its own."""


def pull(
    source: Source,
    count: int,
    seconds: float,
    wait: float,
    durability: str | None = None,
    read_found: Callable[[Frame, Source], Any] = read_messages,
) -> Call:
    """Lease up to `count` messages for `seconds`. Result: Leased, or None if nothing came.

    Args:
        source: what they have in common.
        count: at most.
        seconds: the time of the lease.
        wait: for the first one, in seconds.
        durability: what the reply waits for.
        read_found: makes out of the reply what stands in place of the messages.
    """
    options: dict[str, Any] = {"lease": seconds}
    if wait:
        options["wait"] = wait
    if durability is not None:
        options["durability"] = check_level(durability)

    def read(frame: Frame) -> Leased | None:
        if not frame[2]:
            return None
        return Leased(LeaseId.from_array(frame[5]), read_found(frame, source))

    call = Call("PULL", (source.queue, count, options), read, wait)
    call.is_leased = True
    return call


def ack(
    lease: LeaseId,
    ids: Collection[int] | None = None,
    durability: str | None = None,
    result: bytes | str | None = None,
) -> Call:
    """Say that messages are done, and what came of each. Result: how many."""
    return _settlement(ack_part(lease, ids, result), durability)


def nack(
    lease: LeaseId,
    ids: Collection[int] | None = None,
    *,
    reason: str | BaseException = "",
    delay: float | None = None,
    hand_back: bool = False,
    lost: bool = False,
    durability: str | None = None,
) -> Call:
    """Give messages back. Result: how many.

    Args:
        lease: theirs.
        ids: which of its messages; None for all.
        reason: why; where it is too long its end alone is sent.
        delay: seconds until they are ready, instead of the queue's back-off.
        hand_back: they have not failed: they take their old place and no budget is spent.
        lost: their worker was lost: the budget for that is spent.
        durability: what the reply waits for.
    """
    options = _options(ids, reason)
    check_seconds(delay, "delay")
    if delay is not None:
        options["delay"] = delay
    if hand_back:
        options["hand_back"] = True
    if lost:
        options["lost"] = True
    return _settlement(_part("NACK", lease, options), durability)


def reject(
    lease: LeaseId,
    ids: Collection[int] | None = None,
    *,
    reason: str | BaseException = "",
    durability: str | None = None,
) -> Call:
    """Say that messages are never to be tried again. Result: how many."""
    return _settlement(_part("REJECT", lease, _options(ids, reason)), durability)


def extend(lease: LeaseId, seconds: float, ids: Collection[int] | None = None) -> Call:
    """Let a lease, or some of its messages, run for `seconds` from now on.

    Result: ids of the lease that were cancelled meanwhile.
    """
    check_seconds(seconds, "seconds")
    arguments: tuple[Any, ...] = (tuple(lease), seconds)
    return Call("EXTEND", arguments if ids is None else (*arguments, _options(ids)), _cancelled)


def step(
    parts: Sequence[Part],
    pack: bytes = b"",
    largest_body_bytes: int = 0,
    *,
    key: str | None = None,
    durability: str | None = None,
) -> Call:
    """Carry out all parts or none. Result: what each part would have answered.

    Args:
        parts: settlements and pushes, in order.
        pack: the bodies of all pushes, in the same order.
        largest_body_bytes: a bound of the largest of them.
        key: with it the step may be sent again: a repeat changes nothing and has the same
            result.
        durability: what the reply waits for.
    """
    arguments: tuple[Any, ...] = (list(parts), pack) if pack else (list(parts),)
    options: dict[str, Any] = {} if key is None else {"key": key}
    if durability is not None:
        options["durability"] = check_level(durability)
    if options:
        arguments = (*arguments, options)
    return Call("STEP", arguments, lambda frame: list(frame[2]), 0.0, largest_body_bytes)


def redrive(
    queue: str,
    *,
    ids: Collection[int] | None = None,
    count: int | None = None,
    cause: str | None = None,
    origin: str | None = None,
) -> Call:
    """Let dead messages be tried again. Result: how many."""
    named = {"max": count, "cause": cause, "origin": origin}
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if ids is not None:
        options["ids"] = checked_runs(ids)
    return Call("REDRIVE", (queue, options) if options else (queue,), number)


def holders(pattern: str | None, count: int | None = None) -> Call:
    """Look at who holds leases. Result: list of Holder."""
    arguments: tuple[Any, ...] = () if pattern is None else (pattern,)
    if count is not None:
        arguments = (*arguments, {"max": count})
    return Call("HOLDERS", arguments, lambda frame: [Holder.from_map(each) for each in frame[2]])


def ack_part(
    lease: LeaseId, ids: Collection[int] | None, result: bytes | str | None = None
) -> Part:
    """Return an ack as it stands in a STEP."""
    options = _options(ids)
    if result is not None:
        options["result"] = result
    return _part("ACK", lease, options)


def push_part(queue: str, count: int, headers: Any) -> Part:
    """Return a push as it stands in a STEP, whose pack has its bodies."""
    part = ("PUSH", queue, count)
    return (*part, {"headers": headers}) if headers else part


def _cancelled(frame: Frame) -> list[int]:
    return list(ids_of(frame[2] if len(frame) > 2 else ()))


def _options(ids: Collection[int] | None, reason: str | BaseException = "") -> dict[str, Any]:
    options: dict[str, Any] = {}
    if ids is not None:
        options["ids"] = checked_runs(ids)
    text = reason_text(reason)
    if text:
        # Of a traceback the end says most: the error, and where it was raised.
        options["reason"] = text[-MAX_REASON_CHARS:]
    return options


def _part(verb: str, lease: LeaseId, options: dict[str, Any]) -> Part:
    return (verb, tuple(lease), options) if options else (verb, tuple(lease))


def _settlement(part: Part, durability: str | None) -> Call:
    verb, lease, *rest = part
    options: dict[str, Any] = dict(rest[0]) if rest else {}
    if durability is not None:
        options["durability"] = check_level(durability)
    return Call(verb, (lease, options) if options else (lease,), number)
