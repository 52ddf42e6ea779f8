"""What is sent back. Floor 2.

Every answer has the same security fields; a page that needs more than nothing says so itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from mqweb import problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from mqweb.problems import Problem

    Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Field: TypeAlias = tuple[bytes, bytes]

JSON: Final = b"application/json"
PIECE_BYTES: Final = 64 * 1024
"""How much of an answer is sent before it is asked whether the last piece was taken."""

COMMON: Final[tuple[Field, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Fields of every answer."""
CLOSED_POLICY: Final[Field] = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
"""For answers that are no page: nothing in them is ever loaded or run."""
UNCACHED: Final[Field] = (b"cache-control", b"no-store")
API_FIELDS: Final[tuple[Field, ...]] = (*COMMON, CLOSED_POLICY, UNCACHED)
"""Fields of every answer of the API."""

encode_json: Final = msgspec.json.Encoder(enc_hook=repr).encode
"""Makes JSON; what it cannot hold is shown in its own way."""

ANSWER: Final = "mqweb.answer"
"""The type of a message of ASGI that has a whole `answer`, which connections of our own take: so it
goes in one piece. With `more_body` its end is told by another message, as ever."""


class Answer(NamedTuple):
    """A whole answer.

    Args:
        status: the HTTP status.
        body: all of it.
        content_type: of the body.
        fields: header fields beside those of every answer of the API.
        common: those.
    """

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    fields: Sequence[Field] = ()
    common: Sequence[Field] = API_FIELDS


NOTHING: Final = Answer(204)


def json_answer(value: Any, status: int = 200, fields: Sequence[Field] = ()) -> Answer:
    """Return an answer with a JSON document, which ends a line for people at a terminal."""
    return Answer(status, encode_json(value) + b"\n", JSON, fields)


def problem_answer(problem: Problem) -> Answer:
    """Return the answer that tells of a problem."""
    return Answer(
        problem.status, problem.document() + b"\n", problems.CONTENT_TYPE, problem.fields()
    )


def head_of(answer: Answer) -> dict[str, Any]:
    """Return the message that begins an answer whose body follows."""
    fields = [*answer.common, *answer.fields]
    if answer.status != 204:
        fields += (
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
        )
    return {"type": "http.response.start", "status": answer.status, "headers": fields}


async def send_answer(send: Send, answer: Answer) -> None:
    """Send all of an answer; a large one only as fast as it is taken.

    Cancellation: the answer is cut off.
    """
    await send(head_of(answer))
    body = answer.body
    last = max(0, len(body) - 1) // PIECE_BYTES * PIECE_BYTES
    for start in range(0, last, PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": body[last:]})
