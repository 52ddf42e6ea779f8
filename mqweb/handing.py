"""Pulls: messages that are gone from mqd, or the client's, once they are handed on. Floor 2.

Theory of operation. A plain pull over the wire removes its messages when mqd has answered; a
gateway in between could lose them on the second half of their way. So it pulls them under a
lease, sends them, and acknowledges them when the client's connection has taken the whole answer,
which is when the kernel has it. In order:

    the client leaves while the pull waits        the wait is ended, nothing is delivered
    ... when the messages have come               they are handed back at once
    ... while the answer is sent, or takes none   they are handed back
        of it for `send_seconds`
    the gateway dies before the ack               the lease runs out, and the messages come back
    mqd dies before the ack                       the same; the client may have them already
    the client dies when its connection has       they are gone, as with any plain pull
        taken the answer

So what a client has read is delivered at most once unless a server dies in between, and at least
once unless the client does. Who needs to be sure pulls under a lease, and acknowledges. Such a
lease is the client's once the answer is there: until then its messages are handed back as well.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqclient import lease_calls
from mqclient.errors import MqError
from mqweb.answers import ANSWER, PIECE_BYTES, head_of
from mqweb.requests import Disconnected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqclient.models import LeaseId
    from mqweb.answers import Answer
    from mqweb.connections import GatewayClient
    from mqweb.requests import Request

_logger: Final = logging.getLogger("mqweb")
CONNECTION_KEY: Final = "mqweb.connection"
"""Where the scope of a request has the connection, if it is one of our own server."""
_SPARE_SECONDS: Final = 10.0


class Outgoing(Protocol):
    """What is asked of the connection of a client."""

    @property
    def is_free(self) -> bool:
        """Whether more may be written now."""
        ...

    def push(self) -> bool:
        """Have the kernel take what has been written, now; tells whether it has everything."""
        ...

    async def flushed(self, seconds: float) -> bool:
        """Wait until the kernel has everything; False if it breaks or takes nothing."""
        ...

    def abort(self) -> None:
        """Cut the connection off."""
        ...


def hold_seconds(send_seconds: float) -> float:
    """Return the time of the lease underneath a plain pull: longer than any piece may take."""
    return 2 * send_seconds + _SPARE_SECONDS


async def hand_on(
    request: Request, answer: Answer, lease: LeaseId, count: int, durability: str | None
) -> None:
    """Send an answer, and settle the lease of what is in it by what became of it.

    Args:
        request: which pulls.
        answer: with all that is under the lease.
        lease: underneath the pull.
        count: messages in it.
        durability: what the acknowledgement waits for.

    Raises:
        Disconnected: the client has gone; its messages have been handed back.
        Problem: there is no room for the answer; its messages have been handed back.

    Cancellation: the messages are handed back.
    """
    await _deliver(request, answer, lease, Hold(request, lease, monotonic()))
    settler = request.gateway.settler
    settler.ack(request.client, lease, durability)
    settler.handed_on += count
    await _end(request, answer)


async def hand_over(request: Request, answer: Answer, lease: LeaseId) -> None:
    """Send an answer with messages under a lease that is the client's own from now on.

    Raises:
        Disconnected: the client has gone; its messages have been handed back.
        Problem: there is no room for the answer; its messages have been handed back.

    Cancellation: the messages are handed back.
    """
    await _deliver(request, answer, lease, None)
    await _end(request, answer)


async def hand_back(client: GatewayClient, lease: LeaseId) -> None:
    """Give messages back that nobody got; where that fails their lease runs out."""
    try:
        await client.call(lease_calls.nack(lease, hand_back=True))
    except MqError as error:
        _logger.warning("lease %s could not be handed back, and will run out: %s", lease, error)


class Hold:
    """Keeps the lease underneath a plain pull for as long as the answer is sent.

    Args:
        request: which pulls.
        lease: has just been taken.
        now: the time by the monotonic clock.
    """

    __slots__ = ("_client", "_from", "_lease", "_send_seconds")

    def __init__(self, request: Request, lease: LeaseId, now: float) -> None:
        self._client = request.client
        self._lease = lease
        self._send_seconds = request.config.send_seconds
        self._from = now

    async def keep(self, now: float) -> None:
        """Let the lease go on where it would not outlast the next piece.

        Args:
            now: the time by the monotonic clock.

        Raises:
            MqError: it is over.
        """
        if now - self._from > self._send_seconds:
            seconds = hold_seconds(self._send_seconds)
            await self._client.call(lease_calls.extend(self._lease, seconds))
            self._from = now


async def _deliver(request: Request, answer: Answer, lease: LeaseId, hold: Hold | None) -> None:
    """Send all but the end of an answer; where that fails its messages are handed back."""
    outgoing, count = request.gateway.outgoing, len(answer.body)
    try:
        outgoing.take(count)
        try:
            await _sent(request, answer, hold)
        finally:
            outgoing.give(count)
    except BaseException:
        await asyncio.shield(hand_back(request.client, lease))
        raise


async def _end(request: Request, answer: Answer) -> None:
    request.gateway.answers[answer.status // 100] += 1
    await request.send({"type": "http.response.body", "body": b""})


async def _sent(request: Request, answer: Answer, hold: Hold | None) -> None:
    """Send all but the end of an answer, and wait until the connection has taken it."""
    connection: Outgoing | None = request.scope.get(CONNECTION_KEY)
    if connection is not None and connection.is_free and len(answer.body) <= PIECE_BYTES:
        await request.send({"type": ANSWER, "answer": answer, "more_body": True})
        if connection.push():
            return
    else:
        await _sent_in_pieces(request, answer, hold)
    if connection is not None and not await connection.flushed(request.config.send_seconds):
        raise Disconnected


async def _sent_in_pieces(request: Request, answer: Answer, hold: Hold | None) -> None:
    """Send all but the end of an answer as fast as it is taken."""
    pieces = _pieces(answer.body)
    # What stands before it on its connection may take its time with the head already.
    await _in_time(request, head_of(answer), next(pieces))
    for piece in pieces:
        if hold is not None:
            await hold.keep(monotonic())
        await _in_time(request, piece)


def _pieces(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the messages of ASGI that a body is sent with, but for its end."""
    for start in range(0, len(body) or 1, PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES] if len(body) > PIECE_BYTES else body
        yield {"type": "http.response.body", "body": piece, "more_body": True}


async def _in_time(request: Request, *messages: dict[str, Any]) -> None:
    """Send messages of ASGI; a client that does not take them in time is cut off."""
    try:
        await asyncio.wait_for(_all_sent(request, messages), request.config.send_seconds)
    except asyncio.TimeoutError as error:
        connection: Outgoing | None = request.scope.get(CONNECTION_KEY)
        if connection is not None:
            connection.abort()
        raise Disconnected from error


async def _all_sent(request: Request, messages: tuple[dict[str, Any], ...]) -> None:
    for message in messages:
        await request.send(message)


class Settler:
    """Acknowledges what has been handed on, many leases at a time.

    What is handed on while an ACK is under way goes with the next one, so that a busy gateway
    sends few frames.
    """

    def __init__(self) -> None:
        self._due: dict[tuple[GatewayClient, str | None], list[LeaseId]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.handed_on = 0
        """Messages of plain pulls; mqd counts them as acknowledged."""
        self.failed = 0
        """Leases of which nobody knows whether they were acknowledged: what was under them may
        be delivered once more."""

    def ack(self, client: GatewayClient, lease: LeaseId, durability: str | None) -> None:
        """Have a lease acknowledged, soon."""
        key = (client, durability)
        due = self._due.get(key)
        if due is not None:
            due.append(lease)
            return
        self._due[key] = [lease]
        client.uses += 1  # so that it is not closed while an ACK is on its way
        task = asyncio.get_running_loop().create_task(self._settle(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _settle(self, key: tuple[GatewayClient, str | None]) -> None:
        client, durability = key
        try:
            await asyncio.sleep(0)  # what is handed on in this turn of the loop goes along
            while leases := self._due[key]:
                self._due[key] = []
                calls = [lease_calls.ack(each, durability=durability) for each in leases]
                for lease, error in zip(leases, await client.call_many(calls), strict=True):
                    if error is not None:
                        self._failed(lease, error)
        finally:
            del self._due[key]
            client.uses -= 1

    def _failed(self, lease: LeaseId, error: MqError) -> None:
        self.failed += 1
        _logger.warning(
            "lease %s was handed on and could not be acknowledged; it may come once more: %s",
            lease,
            error,
        )
