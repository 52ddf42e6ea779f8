"""The asyncio client: what users call. Floor 1: a thin shell around calls and steps."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import calls, lease_calls, steps
from mqclient.async_view_client import AsyncViewClient
from mqclient.backups import Backup
from mqclient.base import check_lease, check_wait
from mqclient.checks import check_callable
from mqclient.consuming import AsyncConsumer, consume_settings
from mqclient.errors import ConnectionLost, RequestTimeout
from mqclient.lease_calls import Leased
from mqclient.leases import AsyncLease, lease_id
from mqclient.pipelines import AsyncPipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from mqclient.backups import Destination
    from mqclient.batches import Messages
    from mqclient.consuming import ConsumeOptions
    from mqclient.messages import Message
    from mqclient.models import Holder, LeaseId, QueueInfo, SnapshotInfo
    from mqclient.options import PushOptions, QueueOptions


class AsyncClient(AsyncViewClient):
    """A connection to an mqd server, for asyncio.

        async with mqclient.AsyncClient() as client:
            await client.push("jobs", {"lr": 0.1})
            message = await client.pull("jobs", wait=60)

    Arguments, methods and behaviour are those of `Client`; the methods are coroutines.
    Tasks of one event loop may share a client. On another loop, and in a forked child, it
    connects anew; it is not for use by several threads at a time.

    *Cancellation.* A task that is cancelled in a pull gives the pull up like a time-out
    does: the server is told, and messages that come all the same are kept for the next
    pull of the queue by this client. Other requests may or may not be carried out.
    """

    async def connect(self, *, timeout: float | None = None) -> None:
        """As `Client.connect`."""
        await self._ready(monotonic() + self._connect_seconds(timeout))

    async def close(self) -> None:
        """As `Client.close`; calls of other tasks fail."""
        if self._is_closed:
            return
        self._is_closed = True
        self._leave_keeper()
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in [*self._others, self._connection]:
            if connection is not None and connection.loop is asyncio.get_running_loop():
                connection.close()
                await connection.wait_closed()
        self._report_kept()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def create(
        self,
        queue: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        durability: str | None = None,
        if_missing: bool = False,
        timeout: float | None = None,
        **more: Unpack[QueueOptions],
    ) -> QueueInfo:
        """As `Client.create`."""
        call = calls.create(
            queue,
            max_messages=max_messages,
            max_bytes=max_bytes,
            durability=durability,
            if_missing=if_missing,
            **more,
        )
        info: QueueInfo = await self._result(call, self._seconds(timeout))
        return info

    async def delete(self, queue: str, *, timeout: float | None = None) -> int:
        """As `Client.delete`."""
        removed: int = await self._result(calls.delete(queue), self._seconds(timeout))
        return removed

    async def queues(
        self, pattern: str | None = None, *, timeout: float | None = None
    ) -> list[QueueInfo]:
        """As `Client.queues`."""
        infos: list[QueueInfo] = await self._result(calls.queues(pattern), self._seconds(timeout))
        return infos

    async def info(self, queue: str, *, timeout: float | None = None) -> QueueInfo:
        """As `Client.info`."""
        info: QueueInfo = await self._result(calls.info(queue), self._seconds(timeout))
        return info

    async def push(
        self,
        queue: str,
        body: Any,
        *,
        headers: Mapping[str, Any] | None = None,
        durability: str | None = None,
        timeout: float | None = None,
        **more: Unpack[PushOptions],
    ) -> int:
        """As `Client.push`."""
        call = self._push_call(queue, body, headers, durability, more)
        message_id: int = await self._result(call, self._seconds(timeout))
        return message_id

    async def push_many(
        self,
        queue: str,
        bodies: Iterable[Any],
        *,
        headers: Mapping[str, Any] | Iterable[Mapping[str, Any] | None] | None = None,
        on_progress: Callable[[int], object] | None = None,
        durability: str | None = None,
        timeout: float | None = None,
        **more: Unpack[PushOptions],
    ) -> list[int]:
        """As `Client.push_many`."""
        seconds = self._seconds(timeout)
        check_callable(on_progress, "on_progress")
        said = self._more_of_frames(durability, more)
        limits = await self._limits(seconds)
        operation = steps.push_many(
            self._encoder, limits, queue, bodies, headers, on_progress, said
        )
        ids: list[int] = await self._run(operation, seconds)
        return ids

    async def pull(
        self,
        queue: str,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Message | None:
        """As `Client.pull`."""
        messages = await self.pull_many(
            queue, 1, wait=wait, durability=durability, into=into, timeout=timeout
        )
        return messages[0] if messages else None

    async def pull_many(
        self,
        queue: str,
        count: int,
        *,
        wait: float = 0.0,
        durability: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Messages:
        """As `Client.pull_many`."""
        steps.check_count(count)
        seconds = self._seconds(timeout)
        source = self._source(queue, into)
        if durability is not None:
            calls.check_level(durability)
        limits = await self._limits(seconds)
        operation = steps.pull_many(self._kept, limits, source, count, check_wait(wait), durability)
        messages: Messages = await self._run(operation, seconds)
        return messages

    async def peek(
        self,
        queue: str,
        count: int = 1,
        *,
        skip: int = 0,
        state: str | None = None,
        into: type | None = None,
        timeout: float | None = None,
    ) -> Messages:
        """As `Client.peek`."""
        steps.check_count(count)
        steps.check_count(skip, "skip", 0)
        seconds = self._seconds(timeout)
        source = self._source(queue, into, 0)
        operation = steps.peek(await self._limits(seconds), source, count, skip, state)
        messages: Messages = await self._run(operation, seconds)
        return messages

    async def lease(
        self,
        queue: str,
        count: int = 1,
        *,
        seconds: float = 60.0,
        wait: float = 0.0,
        into: type | None = None,
        timeout: float | None = None,
    ) -> AsyncLease | None:
        """As `Client.lease`."""
        call = self._lease_call(queue, count, check_lease(seconds), check_wait(wait), into)
        leased = await self._result(call, self._seconds(timeout))
        return None if leased is None else AsyncLease(self, leased)

    def lease_named(self, lease: LeaseId | str) -> AsyncLease:
        """As `Client.lease_named`."""
        return AsyncLease(self, Leased(lease_id(lease), []))

    def consume(
        self,
        queue: str,
        *,
        lease: float = 60.0,
        prefetch: int = 1,
        wait: float | None = None,
        into: type | None = None,
        **more: Unpack[ConsumeOptions],
    ) -> AsyncConsumer:
        """As `Client.consume`, with `async for` and `async with`."""
        source = self._source(queue, into)
        settings = consume_settings(lease, prefetch, wait, more)
        return AsyncConsumer(self, source, settings)

    def drain(self) -> None:
        """As `Client.drain`."""
        self._is_draining = True
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it is closed, and nothing waits any more
                loop.call_soon_threadsafe(self._finish_drain)

    async def holders(
        self,
        pattern: str | None = None,
        *,
        count: int | None = None,
        timeout: float | None = None,
    ) -> list[Holder]:
        """As `Client.holders`."""
        call = lease_calls.holders(pattern, count)
        found: list[Holder] = await self._result(call, self._seconds(timeout))
        return found

    async def redrive(
        self,
        queue: str,
        *,
        ids: Collection[int] | None = None,
        count: int | None = None,
        cause: str | None = None,
        origin: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Client.redrive`."""
        call = lease_calls.redrive(queue, ids=ids, count=count, cause=cause, origin=origin)
        moved: int = await self._result(call, self._seconds(timeout))
        return moved

    async def purge(
        self, queue: str, *, state: str | None = None, timeout: float | None = None
    ) -> int:
        """As `Client.purge`."""
        removed: int = await self._result(calls.purge(queue, state), self._seconds(timeout))
        return removed

    async def pause(self, queue: str, *, timeout: float | None = None) -> None:
        """As `Client.pause`."""
        await self._result(calls.pause(queue), self._seconds(timeout))

    async def resume(self, queue: str, *, timeout: float | None = None) -> None:
        """As `Client.resume`."""
        await self._result(calls.resume(queue), self._seconds(timeout))

    async def stats(self, *, timeout: float | None = None) -> dict[str, Any]:
        """As `Client.stats`."""
        figures: dict[str, Any] = await self._result(calls.stats(), self._seconds(timeout))
        return figures

    async def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """As `Client.snapshot`."""
        info: SnapshotInfo = await self._result(calls.snapshot(), self._snapshot_seconds(timeout))
        return info

    async def backup(
        self,
        file: Destination,
        *,
        overwrite: bool = False,
        on_progress: Callable[[int, int], object] | None = None,
        timeout: float | None = None,
    ) -> SnapshotInfo:
        """As `Client.backup`; the file is written by a thread, so that the loop goes on.

        Cancellation: the backup ends as one that fails, unless its file has got its name.
        """
        seconds = self._snapshot_seconds(timeout)
        copy = Backup(file, overwrite=overwrite)
        disk = ThreadPoolExecutor(1, "mqclient-backup")
        try:
            await self._copy(copy, disk, seconds, on_progress)
        except BaseException as error:
            # Behind what the thread may still have in hand.
            run = asyncio.get_running_loop().run_in_executor
            await asyncio.shield(run(disk, copy.discard))
            if isinstance(error, ConnectionLost | RequestTimeout):
                raise copy.unfinished(error) from error
            raise
        finally:
            disk.shutdown(wait=False)
        return copy.info

    async def ping(self, *, timeout: float | None = None) -> float:
        """As `Client.ping`."""
        seconds = self._seconds(timeout)
        await self._ready(monotonic() + seconds)
        started_at = time.perf_counter()
        await self._result(calls.ping(), seconds)
        return time.perf_counter() - started_at

    def pipeline(self, *, raise_errors: bool = True, timeout: float | None = None) -> AsyncPipeline:
        """As `Client.pipeline`."""
        return AsyncPipeline(self, timeout, raise_errors=raise_errors)
