"""What a session may do whose credentials have ended: finish what it holds.

It takes no more work, looks at nothing and pushes nothing, but for what a step pushes that
settles a lease: the outputs of a job are a part of it, and days of work would be lost without
them. What its holder has taken since, over other connections, is none of its business. It is
closed as soon as it holds nothing, and at the end of its time in any case; its leases are
extended up to that time and no further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqd.net.job_verbs import JOB_HANDLERS, extend_by
from mqd.net.push_verbs import PUSH_HANDLERS
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.limits import MIN_LEASE_SECONDS
from mqwire.requests import check_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame

_SETTLING: Final = frozenset({"ACK", "NACK", "REJECT"})


def ending() -> RequestError:
    """Make the refusal of what a session may not do any more."""
    return RequestError(
        Code.AUTH_ENDING,
        "what this connection authenticated with has ended: it may settle what it holds, and "
        "AUTH again",
    )


def _check_lease(session: Session, lease: tuple[int, int]) -> Finishing:
    """Return what says how the session finishes, if that lets it settle a lease.

    Raises:
        RequestError: AUTH_ENDING for a lease that is newer than the end of its credentials.
    """
    finishing = session.identity.finishing
    assert finishing is not None, "these are its handlers"
    if lease[1] > finishing.newest_seq:
        raise ending()
    return finishing


def _settling(verb: str) -> Handler:
    settle = JOB_HANDLERS[verb]

    def settle_old(session: Session, request_id: int, frame: Frame) -> Reply | None:
        (lease, *_), _ = check_request(frame)
        _check_lease(session, lease)
        return settle(session, request_id, frame)

    return settle_old


def extend(session: Session, request_id: int, frame: Frame) -> Reply:
    """Let a lease run on, up to the session's own end."""
    (lease, seconds), options = check_request(frame)
    finishing = _check_lease(session, lease)
    seconds = max(MIN_LEASE_SECONDS, min(seconds, finishing.left_seconds()))
    return extend_by(session, request_id, lease, seconds, options)


def step(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Carry out a step that settles something."""
    (parts, *_), _ = check_request(frame)
    # What is no part at all, and what names no lease, is refused by the step itself.
    settling = [part for part in parts if type(part) is tuple and part and part[0] in _SETTLING]
    if not settling:
        raise ending()
    for part in settling:
        if len(part) > 1 and type(part[1]) is tuple and list(map(type, part[1])) == [int, int]:
            _check_lease(session, part[1])
    return PUSH_HANDLERS["STEP"](session, request_id, frame)


FINISHING_HANDLERS: dict[str, Handler] = {
    **{verb: _settling(verb) for verb in sorted(_SETTLING)},
    "EXTEND": extend,
    "STEP": step,
}
"""What a session may do beside the public verbs, where its role allowed it before."""


class Finishing:
    """The time that a session has to finish.

    Args:
        loop: where its timer runs.
        seconds: how long.
        on_end: called at its end.
        newest_seq: the number of the newest lease that there was at its begin.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        on_end: Callable[[], None],
        newest_seq: int,
    ) -> None:
        self.newest_seq = newest_seq
        self._loop = loop
        self._ends_at = loop.time() + seconds
        self._timer = loop.call_later(seconds, on_end)

    def left_seconds(self) -> float:
        """Tell how much of it is left."""
        return max(0.0, self._ends_at - self._loop.time())

    def cancel(self) -> None:
        """Let it not end."""
        self._timer.cancel()
        del self._timer
