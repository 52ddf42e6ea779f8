"""A request and its answer on a connection. Floor 2.

What ASGI lets an application say is sent by uvicorn. Most answers are whole when they begin.
These go in one piece, behind a head of which all that is always the same is made once; the
application says so with the message ANSWER.
"""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from mqweb.answers import ANSWER, API_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqweb.answers import Answer, Field

_NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Exchange(RequestResponseCycle):
    """A request that is under way, and its answer."""

    transport: Any  # that of our own connections
    _is_whole = False
    has_lost = False
    """Whether something was to be sent when the client had gone."""

    async def send(self, message: Any) -> None:
        """Send what the application says.

        Cancellation: before an answer has begun nothing of it has been sent.
        """
        if message["type"] == ANSWER:
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if self.disconnected:
                self.has_lost = True
                return
            data = self._begun(message["answer"])
            if message.get("more_body"):
                self.transport.write(data)
            else:
                self.transport.write_now(data)
                self._end()
        elif self._is_whole:
            if not self.disconnected:
                self._end()
        else:
            await super().send(message)
            if self.disconnected:  # then nothing was sent
                self.has_lost = True

    def _begun(self, answer: Answer) -> bytes:
        """Return an answer as it is sent."""
        if self.response_started:
            raise RuntimeError("an answer has begun already")
        head = _head(answer, self.default_headers, keep_alive=self.keep_alive)
        self.response_started = self._is_whole = True
        self.waiting_for_100_continue = False
        is_plain = answer.status != HTTPStatus.NO_CONTENT and self.scope["method"] != "HEAD"
        return head + answer.body if is_plain else head

    def _end(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _head(answer: Answer, more: Iterable[Field], *, keep_alive: bool) -> bytes:
    """Return the head of an answer of the API.

    Raises:
        RuntimeError: a field has a value that it cannot have.
    """
    parts = [_opening(answer.status)]
    for name, value in (*more, *answer.fields):
        parts.append(_line(name, value))
    if answer.status != HTTPStatus.NO_CONTENT:
        parts.append(_line(b"content-type", answer.content_type))
        parts.append(b"content-length: %d\r\n" % len(answer.body))
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(parts)


def _line(name: bytes, value: bytes) -> bytes:
    if _NO_VALUE.search(value):
        raise RuntimeError(f"the field {name!r} cannot have this value")
    return b"%b: %b\r\n" % (name, value)


@cache
def _opening(status: int) -> bytes:
    """Return what all answers of the API with a status begin with."""
    phrase = HTTPStatus(status).phrase
    lines = b"".join(_line(*each) for each in API_FIELDS)
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii") + lines
