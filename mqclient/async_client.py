"""The asyncio client. Floor 1: a thin shell around calls, steps and a connection."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import calls, lease_calls, steps
from mqclient.backups import Backup
from mqclient.base import BaseClient, check_lease, check_wait
from mqclient.consuming import AsyncConsumer, consume_settings
from mqclient.dialing import Dialing
from mqclient.errors import ConnectionLost, InterfaceError, MqError, RequestTimeout
from mqclient.identity import KEEPALIVE_SECONDS
from mqclient.leases import AsyncLease
from mqclient.pipelines import AsyncPipeline
from mqclient.steps import Pause
from mqclient.streaming import AsyncConnection, open_async

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from mqclient.backups import Destination
    from mqclient.calls import Call
    from mqclient.consuming import ConsumeOptions
    from mqclient.inflight import Request
    from mqclient.messages import Message
    from mqclient.models import Holder, Limits, QueueInfo, SnapshotInfo
    from mqclient.options import QueueOptions
    from mqclient.steps import StepsOf


class AsyncClient(BaseClient):
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

    def _reset(self) -> None:
        super()._reset()
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[AsyncConnection] | None = None
        self._others: set[AsyncConnection] = set()  # of backups
        self._pauses: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _after_fork(self) -> None:
        # The loop is the parent's as well: nothing of it may be touched, not even freed.
        _inherited.append((self._connection, self._connecting, self._others))
        super()._after_fork()

    async def connect(self, *, timeout: float | None = None) -> None:
        """As `Client.connect`."""
        await self._ready(monotonic() + self._seconds(timeout))

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
    ) -> int:
        """As `Client.push`."""
        call = self._push_call(queue, body, headers, durability)
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
    ) -> list[int]:
        """As `Client.push_many`."""
        seconds = self._seconds(timeout)
        limits = await self._limits(seconds)
        operation = steps.push_many(
            self._encoder, limits, queue, bodies, headers, on_progress, durability
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
    ) -> list[Message]:
        """As `Client.pull_many`."""
        steps.check_count(count)
        seconds = self._seconds(timeout)
        source = self._source(queue, into)
        if durability is not None:
            calls.check_level(durability)
        limits = await self._limits(seconds)
        operation = steps.pull_many(self._kept, limits, source, count, check_wait(wait), durability)
        messages: list[Message] = await self._run(operation, seconds)
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
    ) -> list[Message]:
        """As `Client.peek`."""
        steps.check_count(count)
        steps.check_count(skip, "skip", 0)
        seconds = self._seconds(timeout)
        source = self._source(queue, into, 0)
        operation = steps.peek(await self._limits(seconds), source, count, skip, state)
        messages: list[Message] = await self._run(operation, seconds)
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
        self, pattern: str | None = None, *, timeout: float | None = None
    ) -> list[Holder]:
        """As `Client.holders`."""
        found: list[Holder] = await self._result(
            lease_calls.holders(pattern), self._seconds(timeout)
        )
        return found

    async def redrive(
        self,
        queue: str,
        *,
        ids: Collection[int] | None = None,
        count: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `Client.redrive`."""
        call = lease_calls.redrive(queue, ids=ids, count=count)
        moved: int = await self._result(call, self._seconds(timeout))
        return moved

    async def purge(
        self, queue: str, *, state: str | None = None, timeout: float | None = None
    ) -> int:
        """As `Client.purge`."""
        removed: int = await self._result(calls.purge(queue, state), self._seconds(timeout))
        return removed

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

    # Inside

    async def _result(self, call: Call, seconds: float) -> Any:
        """Carry one call out; one that is certain not to have been done is tried again."""
        deadline = monotonic() + seconds + call.wait
        request = await self._exchange(call, deadline)
        if type(request.error) is ConnectionLost and not request.error.in_doubt:
            request = await self._exchange(call, deadline)
        return request.outcome()

    async def _exchange(self, call: Call, deadline: float) -> Request:
        connection = await self._ready(deadline)
        [request] = await connection.exchange((call,), deadline)
        return request

    async def _run(self, operation: StepsOf, seconds: float) -> Any:
        """Drive an operation of several calls."""
        try:
            call = next(operation)
            while True:
                try:
                    result = await self._step(call, seconds)
                except BaseException as error:  # noqa: BLE001, PERF203  the operation raises it again
                    call = operation.throw(error)
                else:
                    call = operation.send(result)
        except StopIteration as stop:
            return stop.value

    async def _step(self, call: Call | Pause, seconds: float) -> Any:
        if isinstance(call, Pause):
            await self._pause(call)
            return None
        return await self._result(call, seconds)

    async def _pause(self, pause: Pause) -> None:
        if not pause.ends_on_drain:
            await asyncio.sleep(pause.seconds)
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pauses.add(ended)
        await asyncio.wait([ended], timeout=pause.seconds)
        self._pauses.discard(ended)

    def _finish_drain(self) -> None:
        """End what waits; on the loop."""
        for pause in self._pauses:
            if not pause.done():
                pause.set_result(None)
        if self._connection is not None:
            self._connection.drain()
        self._drain_consumers()

    async def _run_pipeline(self, many: Sequence[Call], seconds: float) -> Sequence[Request]:
        deadline = monotonic() + seconds + max((call.wait for call in many), default=0.0)
        if not many:
            return []
        connection = await self._ready(deadline)
        return await connection.exchange(many, deadline)

    async def _limits(self, seconds: float) -> Limits:
        connection = await self._ready(monotonic() + seconds)
        assert connection.server is not None
        return connection.server.limits

    async def _ready(self, deadline: float) -> AsyncConnection:
        """Return a connection that is not known to be lost; connect if there is none.

        Cancellation: the connecting goes on, for others that wait for it too.
        """
        connection = self._connection
        self._loop = loop = asyncio.get_running_loop()
        if connection is not None and connection.loop is loop and not connection.is_lost:
            return connection
        left = deadline - monotonic()
        task = self._connecting
        if task is None or task.done() or task.get_loop() is not loop:
            task = loop.create_task(self._connect(min(left, self._connect_timeout)))
            task.add_done_callback(_look_at)
            self._connecting = task
        await asyncio.wait([task], timeout=max(left, 0.0))
        if self._is_closed:
            raise InterfaceError("the client is closed")
        if not task.done():
            raise RequestTimeout("no connection was made in time")
        return task.result()

    async def _copy(
        self,
        copy: Backup,
        disk: ThreadPoolExecutor,
        seconds: float,
        on_progress: Callable[[int, int], object] | None,
    ) -> None:
        """Fetch a backup over a connection of its own, which ends with it."""
        run = asyncio.get_running_loop().run_in_executor
        connection = await self._dial(min(seconds, self._connect_timeout))
        self._others.add(connection)
        try:
            while not copy.is_done:
                if self._is_closed:
                    raise InterfaceError("the client is closed")
                deadline = monotonic() + seconds
                [request] = await connection.exchange((copy.next_call(),), deadline)
                await run(disk, copy.take, request.outcome())
                copy.tell(on_progress)
                seconds = min(seconds, self._timeout)
        finally:
            self._others.discard(connection)
            connection.close()

    async def _connect(self, seconds: float) -> AsyncConnection:
        self._connection = connection = await self._dial(seconds)
        if self._is_draining:
            connection.drain()
        return connection

    async def _dial(self, seconds: float) -> AsyncConnection:
        """Make a connection, or say why there is none."""
        dialing = Dialing(self._target, seconds, is_again=self._was_connected)
        while True:
            try:
                identity = self._identity(KEEPALIVE_SECONDS)
                connection = await open_async(dialing.attempt(), identity, self._kept)
            except (OSError, MqError) as error:
                pause = dialing.pause_after(error)
            else:
                self._server, self._was_connected = connection.server, True
                return connection
            await asyncio.sleep(pause)


_inherited: list[object] = []
"""What a forked child has of its parent's loops."""


def _look_at(task: asyncio.Task[AsyncConnection]) -> None:
    """Take note of a failure that nobody may have waited for."""
    if not task.cancelled():
        task.exception()
