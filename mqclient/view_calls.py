"""Calls that look at single messages or cancel them: what is sent, what is read. Floor 1: pure.

As `mqclient.calls`, for STATUS, CANCEL, WATCH, CREDIT, FRAMES, and PEEK of one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqclient.batches import read_messages
from mqclient.calls import Call, check_level
from mqclient.checks import checked_runs
from mqclient.log_models import LogTail
from mqclient.view_models import Cancellation, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mqclient.messages import Source
    from mqwire.frames import Frame

MOST_IDS: Final = 1024
"""Messages that one CANCEL may name, and one STATUS that waits."""

_CONTEXT_RECORDS: Final = 256
"""Records of the log that are read once more, so that replies find their requests."""


def status(queue: str, ids: Collection[int], wait: float = 0.0) -> Call:
    """Look where messages are. Result: list of Status, by id; not of all where they are many."""
    arguments: tuple[Any, ...] = (queue, checked_runs(ids))
    if wait:
        arguments = (*arguments, {"wait": wait})
    return Call("STATUS", arguments, _statuses, wait)


def cancel(queue: str, ids: Collection[int], durability: str | None = None) -> Call:
    """Cancel messages. Result: Cancellation."""
    arguments: tuple[Any, ...] = (queue, checked_runs(ids))
    if durability is not None:
        arguments = (*arguments, {"durability": check_level(durability)})
    return Call("CANCEL", arguments, _cancellation)


def watch(pattern: str | None, events: Sequence[str] | None, credit: int) -> Call:
    """Begin to be told what happens. Result: None; the events come behind the reply."""
    options: dict[str, Any] = {"credit": credit}
    if events is not None:
        options["events"] = list(events)
    return Call("WATCH", (options,) if pattern is None else (pattern, options), _nothing)


def credit(request_id: int, events: int) -> Call:
    """Let a watch tell so many events more. Result: None."""
    return Call("CREDIT", (request_id, events), _nothing)


def peek_one(source: Source, message_id: int) -> Call:
    """Look at one message. Result: Message; None if the queue does not hold it."""
    return Call(
        "PEEK",
        (source.queue, 1, {"id": message_id}),
        lambda frame: next(iter(read_messages(frame, source)), None),
    )


def frames(after: int | None, count: int | None) -> Call:
    """Look at the newest frames of the log. Result: LogTail."""
    options: dict[str, Any] = {}
    if after is not None:
        options = {"after": after, "context": _CONTEXT_RECORDS}
    if count is not None:
        options["max"] = count
    return Call(
        "FRAMES",
        (options,) if options else (),
        lambda frame: LogTail.from_reply(frame, after, _CONTEXT_RECORDS),
    )


def _statuses(frame: Frame) -> list[Status]:
    return [Status.from_map(entry) for entry in frame[2]]


def _cancellation(frame: Frame) -> Cancellation:
    removed, marked = frame[2], frame[3]
    if type(removed) is not int or type(marked) is not int:
        raise TypeError(f"two numbers were expected, not {removed!r} and {marked!r}")
    return Cancellation(removed, marked)


def _nothing(_frame: Frame) -> None:
    return None
