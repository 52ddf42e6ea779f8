"""Connections of clients: uvicorn's, with bounds around their sockets. Floor 2.

uvicorn parses and keeps the order of requests and answers. What it leaves open is closed here:
how many connections there may be, how large the head of a request may be and how long it may take
to come, and when an answer has left for good. What goes wrong before there is a request is
answered with a problem document as well.

No request has a timer of its own: all times of a connection are looked at by `check`.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mqweb import problems
from mqweb.answers import PIECE_BYTES
from mqweb.exchange import Exchange
from mqweb.handing import CONNECTION_KEY
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_MOST_HEAD_BYTES: Final = 64 * 1024
_LEAST_BYTES_PER_SECOND: Final = 1024


class Joined:
    """A transport that writes the pieces of one turn of the loop together.

    What is written the kernel is offered at once, and what it does not take holds up what is to be
    sent next: so there is never more of an answer here than one piece, and it can be told whether
    it has left.

    Args:
        transport: the one underneath.
        loop: the running loop.
    """

    __slots__ = (
        "_loop",
        "_pieces",
        "_transport",
        "_waiting_bytes",
        "_written_bytes",
        "has_all_taken",
        "has_lost",
    )

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        transport.set_write_buffer_limits(0)
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._written_bytes = 0
        self.has_all_taken = True
        """Whether the kernel has taken all that was written, whatever has happened since."""
        self.has_lost = False
        """Whether there was something to be written when the connection had broken."""

    @property
    def taken_bytes(self) -> int:
        """How much the kernel has taken so far, as long as the connection stands."""
        unsent: int = self._transport.get_write_buffer_size()
        return self._written_bytes - unsent

    def write(self, data: bytes) -> None:
        """Have something written at the end of this turn, or now if it is much."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= PIECE_BYTES:
            self.flush()

    def write_now(self, data: bytes) -> None:
        """Have something written at once: nothing else is to come in this turn."""
        self.flush()
        self._hand_on(data)

    def flush(self) -> None:
        """Write what there is."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._waiting_bytes = 0
            self._hand_on(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        """Write what there is, and close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        is_closing: bool = self._transport.is_closing()
        return is_closing

    def get_write_buffer_size(self) -> int:
        """Return how much of what was written the kernel has not taken yet."""
        unsent: int = self._transport.get_write_buffer_size()
        return unsent

    def _hand_on(self, data: bytes) -> None:
        """Write, unless the connection has broken meanwhile: uvloop takes that amiss."""
        if self._transport.is_closing():
            self.has_lost = True
        else:
            self._written_bytes += len(data)
            self._transport.write(data)
            # A write that fails closes the transport, and what was in it is dropped.
            unsent = self._transport.is_closing() or self._transport.get_write_buffer_size()
            self.has_all_taken = not unsent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """A connection of a client."""

    max_connections = 0
    receive_seconds = 0.0
    send_seconds = 0.0
    _idle_at = math.inf

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or refuse it where there are as many as there may be."""
        self._joined = Joined(transport, self.loop)
        super().connection_made(self._joined)  # type: ignore[arg-type]  # it is one
        self._taken_bytes = -1  # looked at last; none if all was taken then
        self._taken_at = 0.0
        self._loose_bytes = 0  # that have come since there was something of a body
        self._body_bytes = 0
        self._body_seconds = 0.0  # for which the body that is under way has been waited for
        self._in_head = True
        self._in_body = False
        # The time of the first head begins here: empty lines before it give it no more.
        self._heard_at = self._begun_at = self._checked_at = self.loop.time()
        if len(self.connections) > self.max_connections:
            self._refuse(
                Problem(
                    GatewayCode.GATEWAY_FULL,
                    "the gateway has as many connections as it may",
                    {"limit": self.max_connections},
                )
            )

    def data_received(self, data: bytes) -> None:
        """Take what has come; what goes on too long without a body is refused.

        That is a head; the end of a body in chunks, which may have fields as well; and what may
        stand between two chunks.
        """
        if self.transport.is_closing():
            return
        self._heard_at = self.loop.time()
        self._loose_bytes += len(data)
        super().data_received(data)
        if self._loose_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                Problem(
                    GatewayCode.HEAD_TOO_LARGE,
                    "the head of the request, or the end of its body, is too large",
                    {"limit": _MOST_HEAD_BYTES},
                )
            )

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        self.scope[CONNECTION_KEY] = self  # type: ignore[typeddict-unknown-key]  # an extension
        self._in_head = True
        self._idle_at = math.inf
        self._begun_at = self._heard_at

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; one that comes behind the body is not used."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Go on with its body."""
        self._in_head = False
        self._in_body = True
        self._loose_bytes = self._body_bytes = 0
        self._body_seconds = 0.0
        self._checked_at = max(self._checked_at, self._heard_at)
        version = self.parser.get_http_version()
        self._tell_target(version)
        before: RequestResponseCycle | None = self.cycle
        self.cycle = Exchange(
            scope=self.scope,
            transport=self._joined,  # type: ignore[arg-type]  # it is one
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _tell_target(self, version: str) -> None:
        """Put what the request's line says into its scope."""
        scope = self.scope
        scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        target = httptools.parse_url(self.url)
        scope["raw_path"] = target.path
        path = target.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = target.query or b""

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._loose_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._loose_bytes = 0
        self._in_body = False
        self._idle_at = max(self._idle_at, self._heard_at)  # its answer may be over
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._in_head:
            self._idle_at = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse(Problem(GatewayCode.MALFORMED_REQUEST, msg))

    def check(self, now: float) -> None:
        """Refuse a request that does not come to an end, or a connection without one.

        A client that takes nothing of what it is sent is cut off, whether the answer is over for
        uvicorn or not: until the kernel has it, it is held here. A body may come slowly, but not
        for ever: the time that it is granted grows with what has come of it. Of one that is
        answered already nothing is used, and the rest has the time of a request.

        Args:
            now: the time by the loop's clock.
        """
        if self._is_stuck(now):
            self.abort()
            return
        idle_seconds = self.receive_seconds if self._in_body else self.timeout_keep_alive
        if now - self._idle_at > idle_seconds:
            self.transport.close()
            return
        limit = now - self.receive_seconds
        if self._in_head:
            is_late = self._is_between and min(self._heard_at, self._begun_at) < limit
        else:
            # What is not read is not late: then it is for us to go on.
            is_waiting = self.cycle.more_body and not self.flow.read_paused
            if is_waiting:
                self._body_seconds += max(0.0, now - self._checked_at)
            granted = self.receive_seconds + self._body_bytes / _LEAST_BYTES_PER_SECOND
            is_late = is_waiting and (self._heard_at < limit or self._body_seconds > granted)
            is_late = is_late and not self._is_between
        self._checked_at = now
        if is_late:
            self._refuse(Problem(GatewayCode.REQUEST_LATE, "the request has not come in time"))

    @property
    def is_free(self) -> bool:
        """Whether more may be written now: the client takes what it is sent."""
        return not self.flow.write_paused

    def push(self) -> bool:
        """Have the kernel take what has been written, now; tells whether it has everything."""
        joined = self._joined
        joined.flush()
        return not (joined.get_write_buffer_size() or joined.is_closing())

    async def flushed(self, seconds: float) -> bool:
        """Wait until the kernel has everything; False if it breaks or takes nothing.

        A client that has read it all may be gone when this is looked at, and has got it.
        """
        joined, exchange = self._joined, cast("Exchange", self.cycle)
        joined.flush()
        if not (joined.has_all_taken or joined.is_closing()):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.flow.drain(), seconds)
        return joined.has_all_taken and not (joined.has_lost or exchange.has_lost)

    def resume_writing(self) -> None:
        """Go on: the kernel has taken all that was written."""
        self._joined.has_all_taken = True
        super().resume_writing()

    def abort(self) -> None:
        """Cut the connection off."""
        self.transport.abort()

    def _is_stuck(self, now: float) -> bool:
        """Tell whether the client has taken nothing for too long of what it is sent."""
        if not self._joined.get_write_buffer_size():
            self._taken_bytes = -1
            return False
        taken = self._joined.taken_bytes
        if taken != self._taken_bytes:
            self._taken_bytes, self._taken_at = taken, now
        return now - self._taken_at > self.send_seconds

    @property
    def _is_between(self) -> bool:
        """Whether no answer is under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _refuse(self, problem: Problem) -> None:
        body = problem.document() + b"\n"
        head = [
            f"HTTP/1.1 {problem.status} {problem.code.name}".encode("ascii"),
            b"content-type: " + problems.CONTENT_TYPE,
            b"content-length: %d" % len(body),
            *(name + b": " + value for name, value in problem.fields()),
            b"connection: close",
        ]
        if self._is_between or not self.cycle.response_started:
            self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        self.transport.close()
