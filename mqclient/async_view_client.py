"""What the asyncio client offers to those who follow messages. Floor 1.

A part of `mqclient.async_client`; what its methods do is said in `mqclient.view_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqclient import calls, tracking, view_calls
from mqclient.async_account_client import AsyncAccountClient
from mqclient.base import check_wait
from mqclient.steps import check_count
from mqclient.watching import DEFAULT_CREDIT, AsyncWatch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mqclient.log_models import LogTail
    from mqclient.messages import Message
    from mqclient.view_models import Cancellation, Status


class AsyncViewClient(AsyncAccountClient):
    """The methods of `AsyncClient` that look at single messages, cancel them, and watch."""

    async def status(
        self, queue: str, ids: int | Collection[int], *, timeout: float | None = None
    ) -> list[Status]:
        """As `Client.status`."""
        seconds = self._seconds(timeout)
        calls.check_queue(queue)
        found: list[Status] = await self._run(tracking.status(queue, tracking.ids_of(ids)), seconds)
        return found

    async def wait(
        self, queue: str, ids: int | Collection[int], *, timeout: float | None = None
    ) -> list[Status]:
        """As `Client.wait`."""
        self._seconds(None)
        calls.check_queue(queue)
        operation = tracking.wait(
            queue,
            tracking.ids_of(ids),
            tracking.seconds_of(timeout),
            was_connected=self._was_connected,
        )
        found: list[Status] = await self._run(operation, self._timeout)
        return found

    async def cancel(
        self,
        queue: str,
        ids: int | Collection[int],
        *,
        durability: str | None = None,
        timeout: float | None = None,
    ) -> Cancellation:
        """As `Client.cancel`."""
        seconds = self._seconds(timeout)
        calls.check_queue(queue)
        operation = tracking.cancel(queue, tracking.ids_of(ids), durability)
        done: Cancellation = await self._run(operation, seconds)
        return done

    def watch(
        self,
        pattern: str | None = None,
        *,
        events: Sequence[str] | None = None,
        credit: int = DEFAULT_CREDIT,
        wait: float | None = None,
    ) -> AsyncWatch:
        """As `Client.watch`, with `async for` and `async with`."""
        seconds = None if wait is None else check_wait(wait)
        return AsyncWatch(self, pattern, events, credit, seconds)

    async def peek_one(
        self,
        queue: str,
        message_id: int,
        *,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """As `Client.peek_one`."""
        check_count(message_id, "message_id")
        call = view_calls.peek_one(self._source(queue, into, 0), message_id)
        message: Message | None = await self._result(call, self._seconds(timeout))
        return message

    async def frames(
        self,
        after: int | None = None,
        *,
        count: int | None = None,
        timeout: float | None = None,
    ) -> LogTail:
        """As `Client.frames`."""
        call = view_calls.frames(after, count)
        tail: LogTail = await self._result(call, self._seconds(timeout))
        return tail
