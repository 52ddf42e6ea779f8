"""A connection for asyncio, on any event loop. Floor 1.

It is to be used on the loop that it was made on. Cancelling a task that waits
in a call gives the request up; see `mqclient.inflight` for what becomes of its
reply.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from mqclient import calls, probing
from mqclient.deadlines import Deadlines, Wait
from mqclient.inflight import InFlight
from mqclient.probing import ASK, LOST, Probe
from mqclient.sockets import tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqclient.calls import Call
    from mqclient.dialing import Attempt
    from mqclient.identity import Identity
    from mqclient.inflight import Request
    from mqclient.kept import KeptMessages
    from mqclient.models import ServerInfo
    from mqwire.frames import Frame

_IDLE_SECONDS: Final = 1.0
_HIGH_WATER_BYTES: Final = 1024 * 1024
_LARGE_BYTES: Final = 16 * 1024


async def open_async(attempt: Attempt, identity: Identity, kept: KeptMessages) -> AsyncConnection:
    """Connect and authenticate.

    Raises:
        OSError, MqError: it did not work; nothing is left open.
    """
    deadline = monotonic() + attempt.seconds
    try:
        connection = await asyncio.wait_for(_connect(attempt, kept), attempt.seconds)
    except asyncio.TimeoutError as error:  # a class of its own in Python 3.10
        raise TimeoutError("no answer in time") from error
    try:
        auth = calls.auth(attempt.credentials, identity)
        [request] = await connection.exchange((auth,), deadline)
        connection.adopt(request.outcome())
    except BaseException:
        connection.close("it could not be opened")
        raise
    return connection


async def _connect(attempt: Attempt, kept: KeptMessages) -> AsyncConnection:
    loop = asyncio.get_running_loop()
    endpoint = attempt.endpoint

    def make() -> AsyncConnection:
        return AsyncConnection(loop, kept)

    if endpoint.path:
        _, connection = await loop.create_unix_connection(make, endpoint.path)
    else:
        _, connection = await loop.create_connection(make, endpoint.host, endpoint.port)
    return connection


class AsyncConnection(asyncio.Protocol):
    """One connection; of no use any more once it is lost.

    Args:
        loop: the running loop.
        kept: where messages go that nobody waits for any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, kept: KeptMessages) -> None:
        self.server: ServerInfo | None = None
        self.loop = loop
        self._in_flight = InFlight(kept)
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None  # done when there is room to write again
        self._closed: asyncio.Future[None] = loop.create_future()
        self._used_at = monotonic()
        self._probe = Probe(self._used_at)
        self._timer: asyncio.TimerHandle | None = None
        self._deadlines = Deadlines(loop, self._expire)
        self._on_end: Callable[[], object] | None = None
        self._unsent: list[bytes] = []  # what tasks of this turn of the loop have to send

    @property
    def is_lost(self) -> bool:
        """Whether it is of no use any more."""
        return self._in_flight.is_lost

    def adopt(self, server: ServerInfo) -> None:
        """Take the server's limits over, once it has answered AUTH."""
        self.server = server
        self._in_flight.limits = server.limits

    async def exchange(self, many: Sequence[Call], deadline: float) -> list[Request]:
        """Send calls in one go and wait for all replies.

        Args:
            many: the calls, in order.
            deadline: when to give up, by the monotonic clock.

        Returns:
            The requests, all done: answered, refused, expired or lost with the connection.

        Cancellation: the requests are given up.
        """
        now = monotonic()
        if now - self._used_at > _IDLE_SECONDS:
            await self._look()
        self._used_at = now
        requests: list[Request] = []
        wait = Wait(requests, deadline, deadline - now)
        self._deadlines.add(wait)
        try:
            frames = self._begin(many, requests)
            if frames and (self._room is None or await self._has_room(requests)):
                self._write(frames, requests)
            for request in requests:
                if request.reply is None and request.error is None:
                    await request.waker
        except BaseException:
            self._give_up(requests)
            raise
        finally:
            self._deadlines.drop(wait)
        return requests

    def close(self, why: str = "the client was closed") -> None:
        """Close it. What is in flight fails."""
        self._lose(why)

    def drain(self) -> None:
        """End the waits of consumers."""
        self._in_flight.drain()
        self._say_all()

    def subscribe(self, take: Callable[[Frame], object], on_end: Callable[[], object]) -> None:
        """Have the frames behind the reply to a WATCH handed to `take`, and its end told."""
        self._in_flight.take_events = take
        self._on_end = on_end

    def say(self, call: Call) -> None:
        """Send a call whose reply nobody waits for."""
        self._say(self._in_flight.say(call))

    async def wait_closed(self) -> None:
        """Wait until the transport is gone, after `close`."""
        await asyncio.shield(self._closed)

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none
        transport.set_write_buffer_limits(_HIGH_WATER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            tune(sock)
        self._look_after()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._probe.heard(monotonic())
        self._wake(self._in_flight.feed(data))
        self._say_all()
        if self.is_lost:
            self._end()

    def eof_received(self) -> None:
        """Take the server's end."""
        self._lose("the server has closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        self._lose("the connection broke", exc)
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Hold back what is to be sent."""
        self._room = self.loop.create_future()

    def resume_writing(self) -> None:
        """Go on sending."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # Inside

    def _look_after(self) -> None:
        """Ask a server that is silent whether it is there, and give up one that is not.

        It goes on while nobody waits, too: so what was promised in AUTH is kept.
        """
        now = monotonic()
        step = self._probe.step(now)
        if step == ASK:
            self._say(self._in_flight.ping())
        elif step == LOST:
            self._lose("nothing has come from the server, no answer to a PING either")
        if not self.is_lost:
            # An answer may come meanwhile, and the next question is due sooner than `lost`.
            seconds = min(self._probe.next_at - now, probing.QUIET_SECONDS)
            self._timer = self.loop.call_later(seconds, self._look_after)

    def _begin(self, many: Sequence[Call], requests: list[Request]) -> bytes:
        create_future = self.loop.create_future
        frames = []
        for call in many:
            request, frame = self._in_flight.begin(call, create_future())
            requests.append(request)
            frames.append(frame)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _write(self, data: bytes, requests: Sequence[Request]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._lose("the connection is closed")
        if self.is_lost:
            return
        assert transport is not None
        for request in requests:
            request.is_sent = True
        self._send(data)

    async def _has_room(self, requests: Sequence[Request]) -> bool:
        """Wait until the transport takes more; False if the requests are done before."""
        wakers = [request.waker for request in requests]
        while self._room is not None:
            await asyncio.wait([self._room, *wakers], return_when=asyncio.FIRST_COMPLETED)
            if any(waker.done() for waker in wakers):
                return False
        return True

    async def _look(self) -> None:
        """Let the loop see whether the server has said goodbye: it may not have run lately."""
        for _ in range(2):
            await asyncio.sleep(0)

    def _wake(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.waker is not None and not request.waker.done():
                request.waker.set_result(None)

    def _expire(self, wait: Wait) -> None:
        for request in wait.requests:
            waker = request.waker
            text = f"{request.call.verb} was not answered within {wait.seconds:.3g} s"
            self._say(self._in_flight.expire(request, text))
            if waker is not None and not waker.done():
                waker.set_result(None)

    def _give_up(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._say(self._in_flight.give_up(request))

    def _say_all(self) -> None:
        """Send what the core wants to say by itself."""
        frames = self._in_flight.unsent
        if frames:
            self._say(b"".join(frames))
            frames.clear()

    def _say(self, frame: bytes) -> None:
        if frame and self._transport is not None and not self._transport.is_closing():
            self._send(frame)

    def _send(self, data: bytes) -> None:
        """Send at the end of this turn of the loop: what many tasks have goes out in one write.

        What is large goes at once, so that the transport says when it has enough.
        """
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent.append(data)
        if len(data) > _LARGE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        self._wake(self._in_flight.lose(why, cause))
        self.resume_writing()
        self._end()

    def _end(self) -> None:
        if self._on_end is not None:
            self._on_end()
        if self._timer is not None:
            self._timer.cancel()
        self._deadlines.close()
        transport = self._transport
        if transport is None:
            return
        self._flush()
        if transport.get_write_buffer_size():
            transport.abort()  # what is left would never be read
        else:
            transport.close()
