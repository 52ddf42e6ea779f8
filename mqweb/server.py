"""The HTTP server: uvicorn, with bounds around its sockets. Floor 2.

uvicorn parses and keeps the order of requests and answers. What it leaves open is closed here:
how many connections there may be, how large the head of a request may be and how long it may take
to come, and when an answer has left for good. What goes wrong before there is a request is
answered with a problem document as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mqweb import problems
from mqweb.answers import PIECE_BYTES
from mqweb.app import make_app, make_gateway
from mqweb.handing import CONNECTION_KEY
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from mqweb.config import Config
    from mqweb.gateway import Gateway

_logger: Final = logging.getLogger("mqweb")
_MOST_HEAD_BYTES: Final = 64 * 1024
_LEAST_BYTES_PER_SECOND: Final = 1024
_GRACE_SECONDS: Final = 10
_BACKLOG: Final = 2048


class Joined:
    """A transport that writes the pieces of one turn of the loop together.

    Args:
        transport: the one underneath.
        loop: the running loop.
    """

    __slots__ = ("_loop", "_pieces", "_transport", "_waiting_bytes", "_written_bytes")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._written_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """How much the kernel has taken so far."""
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

    def flush(self) -> None:
        """Write what there is."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._written_bytes += self._waiting_bytes
            self._waiting_bytes = 0
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        """Write what there is, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """A connection of a client."""

    max_connections = 0
    receive_seconds = 0.0
    send_seconds = 0.0
    _begun_at = math.inf
    _is_aborted = False

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
        self._heard_at = self._checked_at = self.loop.time()
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
        self._begun_at = self._heard_at

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; one that comes behind the body is not used."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on with its body."""
        self._in_head = False
        self._loose_bytes = self._body_bytes = 0
        self._body_seconds = 0.0
        self._checked_at = max(self._checked_at, self._heard_at)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._loose_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._loose_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse(Problem(GatewayCode.MALFORMED_REQUEST, msg))

    def check(self, now: float) -> None:
        """Refuse a request that does not come to an end, or a connection without one.

        A client that takes nothing of what it is sent is cut off, whether the answer is over for
        uvicorn or not: until the kernel has it, it is held here. A body may come slowly, but not
        for ever: the time that it is granted grows with what has come of it.

        Args:
            now: the time by the loop's clock.
        """
        if self._is_stuck(now):
            self.abort()
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

    async def flushed(self, seconds: float) -> bool:
        """Wait until the kernel has everything; False if it breaks or takes nothing."""
        transport: Any = self.transport
        transport.flush()
        if transport.get_write_buffer_size() and not transport.is_closing():
            transport.set_write_buffer_limits(0)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.flow.drain(), seconds)
            if not transport.is_closing():
                transport.set_write_buffer_limits()
        is_cut = self._is_aborted or self.cycle.disconnected
        return not (is_cut or transport.get_write_buffer_size())

    def abort(self) -> None:
        """Cut the connection off."""
        self._is_aborted = True  # its buffer is empty now, and nobody has got what was in it
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
        body = problem.document()
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


class Server(uvicorn.Server):
    """uvicorn that ends what waits before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def on_tick(self, counter: int) -> bool:
        """Look after connections, ten times a second."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections; what waits ends; what is under way is finished."""
        _logger.info("mqweb stops, and finishes what is under way")
        self._gateway.stop()
        await super().shutdown(sockets)


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: the address cannot be listened on.
        ConfigurationError: `mqd` in the settings is no URL of a server.
    """
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    gateway = make_gateway(config)
    listener = _listener(config)
    settings = uvicorn.Config(
        make_app(gateway),
        http=_protocol(config),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignored)  # uvicorn has its own, and raises the signal at its end
    with listener, _address_file(config, listener):
        Server(settings, gateway).run(sockets=[listener])


def _ignored(_number: int, _frame: object) -> None:
    """Go on: the gateway has stopped as it was told to."""


def _protocol(config: Config) -> type[BoundedProtocol]:
    names = ("max_connections", "receive_seconds", "send_seconds")
    return type("Connection", (BoundedProtocol,), {each: getattr(config, each) for each in names})


def _listener(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _address_file:  # noqa: N801  used as a function
    """Says where the gateway listens: in the log, and in a file if one is wanted."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._path = Path(config.address_file) if config.address_file else None

    def __enter__(self) -> None:
        _logger.info("mqweb serves at %s", self._url)
        if self._path is not None:
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_text(json.dumps({"url": self._url, "pid": os.getpid()}) + "\n")
            temporary.replace(self._path)

    def __exit__(self, *_error: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
