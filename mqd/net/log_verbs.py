"""The verb of the frame log: as those of `mqd.net.verbs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.requests import check_request

if TYPE_CHECKING:
    from mqd.engine.base import Results
    from mqd.net.replies import Handler
    from mqd.net.session import Session
    from mqwire.frames import Frame


def frames(session: Session, request_id: int, frame: Frame) -> None:
    """Return the newest records of the log, in a reply that does not become one of them."""
    _, options = check_request(frame)
    if session.frame_tail is None:
        raise RequestError(
            Code.NO_FRAME_LOG, "this server keeps no frame log (frame_log.level is off)"
        )
    session.use_up_share()
    session.pending.start(request_id, _alone(session.frame_tail.results(options)))


async def _alone(results: Results) -> Results:
    """Return results from a task, whose reply has a turn of its own."""
    return results


LOG_HANDLERS: dict[str, Handler] = {"FRAMES": frames}
