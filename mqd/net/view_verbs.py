"""The verbs of the task view: as those of `mqd.net.verbs`, for where messages are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqd.net.replies import WORDS
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import LEVELS
from mqwire.limits import MAX_CANCELLED_MESSAGES, MAX_WAITED_MESSAGES
from mqwire.requests import check_request

if TYPE_CHECKING:
    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame

_CREDIT = 1000
"""Of a WATCH that does not say."""


def status(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Tell where messages are, or wait until they have come to an end."""
    (name, ids), options = check_request(frame)
    seconds, views = options.get("wait", 0), session.engine.views
    session.use_up_share()
    if seconds:
        _check_count("STATUS", ids, MAX_WAITED_MESSAGES)
        if session.pending.wait_for(
            request_id, lambda on_end: views.wait(name, ids, seconds, on_end)
        ):
            return None
    results, level = views.status(name, ids)
    session.rest_on(level)
    return (request_id, "OK", *results)


def cancel(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Remove messages that wait, and mark those that are leased."""
    (name, ids), options = check_request(frame)
    _check_count("CANCEL", ids, MAX_CANCELLED_MESSAGES)
    session.use_up_share()
    views = session.engine.views
    if not session.prepare(frame, lambda: views.prepare_cancel(name, ids)):
        return None
    level = LEVELS.get(options.get("durability", ""))
    counts, level = views.cancel(name, ids, level)
    session.rest_on(level)
    return (request_id, "OK", *counts, WORDS[level])


def watch(session: Session, request_id: int, frame: Frame) -> Reply:
    """Begin to tell what happens."""
    (pattern,), options = check_request(frame)
    kinds, credit = options.get("events", ()), options.get("credit", _CREDIT)
    session.watches.begin(session, request_id, pattern or "*", kinds, credit)
    return (request_id, "OK", credit)


def credit(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let a watch send more events."""
    (watch_id, events), _ = check_request(frame)
    return (request_id, "OK", session.watches.add_credit(watch_id, events))


def unwatch(session: Session, request_id: int, frame: Frame) -> Reply:
    """End a watch."""
    (watch_id,), _ = check_request(frame)
    return (request_id, "OK", session.watches.end(watch_id))


def _check_count(verb: str, ids: tuple[int, ...], most: int) -> None:
    count = sum(ids[1::2])
    if count > most:
        raise RequestError(
            Code.TOO_MANY_MESSAGES,
            f"{verb}: ids may name {most} messages at most here, not {count}",
            {"verb": verb, "field": "ids", "low": 1, "high": most, "got": count},
        )


VIEW_HANDLERS: dict[str, Handler] = {
    "CANCEL": cancel,
    "CREDIT": credit,
    "STATUS": status,
    "UNWATCH": unwatch,
    "WATCH": watch,
}
