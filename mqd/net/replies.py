"""What handlers of verbs share: the types of a handler and its reply, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.limits import PREFIX_BYTES
from mqwire.requests import check_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.net.session import Session
    from mqwire.frames import Frame

Reply: TypeAlias = tuple[Any, ...]
"""A reply's frame, before it is encoded."""

Handler: TypeAlias = "Callable[[Session, int, Frame], Reply | None]"
"""Takes the session, the request's id and its frame; None where the reply comes later."""

WORDS: Final = tuple(level.word for level in Level)
"""The levels' words by their numbers."""


def error_reply(request_id: int, error: CodedError) -> Reply:
    """Make the reply that refuses a request."""
    return (request_id, "ERR", error.code.name, error.message, error.details)


def refusal(frame: Frame, error: CodedError) -> Reply:
    """Make the reply that refuses a request; a bad name is told before a missing queue."""
    if error.code is Code.QUEUE_NOT_FOUND:
        try:
            check_request(frame)
        except CodedError as earlier:
            error = earlier
    return error_reply(frame[1], error)


def cut(frames: bytes) -> list[bytes]:
    """Return whole frames that follow each other one by one."""
    found, at = [], 0
    while at < len(frames):
        end = at + PREFIX_BYTES + int.from_bytes(frames[at + 1 : at + PREFIX_BYTES], "big")
        found.append(frames[at:end])
        at = end
    return found
