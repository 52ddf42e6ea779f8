"""What handlers of verbs share: the types of a handler and its reply, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.net.session import Session
    from mqwire.errors import CodedError
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
