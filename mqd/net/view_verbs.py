"""The verbs of the task view: as those of `mqd.net.verbs`, for where messages are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.limits import MAX_WAITED_MESSAGES
from mqwire.requests import check_request

if TYPE_CHECKING:
    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame


def status(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Tell where messages are, or wait until they have come to an end."""
    (name, ids), options = check_request(frame)
    seconds, views = options.get("wait", 0), session.engine.views
    session.use_up_share()
    if seconds:
        _check_waited(ids)
        if session.pending.wait_for(
            request_id, lambda on_end: views.wait(name, ids, seconds, on_end)
        ):
            return None
    results, level = views.status(name, ids)
    session.rest_on(level)
    return (request_id, "OK", *results)


def _check_waited(ids: tuple[int, ...]) -> None:
    count = sum(ids[1::2])
    if count > MAX_WAITED_MESSAGES:
        raise RequestError(
            Code.TOO_MANY_MESSAGES,
            f"STATUS: one request may wait for {MAX_WAITED_MESSAGES} messages at most, not {count}",
            {"verb": "STATUS", "field": "ids", "low": 1, "high": MAX_WAITED_MESSAGES, "got": count},
        )


VIEW_HANDLERS: dict[str, Handler] = {
    "STATUS": status,
}
