"""How the asyncio client carries calls out: connections and operations. Floor 1.

What is not here: what users call, which is `mqclient.async_client`.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from mqclient import steps
from mqclient.base import BaseClient
from mqclient.dialing import Dialing
from mqclient.errors import ConnectionLost, InterfaceError, MqError, RequestTimeout
from mqclient.steps import Pause, Within
from mqclient.streaming import AsyncConnection, open_async

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from mqclient.backups import Backup
    from mqclient.calls import Call
    from mqclient.inflight import Request
    from mqclient.models import Limits
    from mqclient.steps import StepsOf


class AsyncDriver(BaseClient):
    """A client without its methods: see `Client` for what the arguments mean."""

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

    async def _result(self, call: Call, seconds: float) -> Any:
        """Carry one call out; one of which nothing can be done twice is tried again."""
        sent_at = monotonic()
        deadline = sent_at + seconds + call.wait
        request = await self._exchange(call, deadline)
        if type(request.error) is ConnectionLost and not request.error.in_doubt:
            request = await self._exchange(call, deadline)
        if type(request.error) is ConnectionLost and call.is_keyed and request.error.in_doubt:
            again = steps.push_again(call, request.error, sent_at, deadline)
            return await self._run(again, seconds)
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

    async def _step(self, call: Call | Pause | Within, seconds: float) -> Any:
        if isinstance(call, Pause):
            await self._pause(call)
            return None
        if isinstance(call, Within):
            call, seconds = call
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
            task = loop.create_task(self._connect(min(left, self._dial_seconds())))
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

    async def _dial_another(self) -> AsyncConnection:
        """Make a connection beside the client's own, which ends with the client."""
        connection = await self._dial(self._connect_timeout)
        self._others.add(connection)
        if self._is_closed:  # by another task, meanwhile
            self._hang_up(connection)
        return connection

    def _hang_up(self, connection: AsyncConnection) -> None:
        """End such a connection."""
        self._others.discard(connection)
        connection.close()

    async def _connect(self, seconds: float) -> AsyncConnection:
        self._connection = connection = await self._dial(seconds)
        if self._is_closed:  # as it was made: `wait_for` may have hidden that this was cancelled
            connection.close()
        if self._is_draining:
            connection.drain()
        return connection

    async def _dial(self, seconds: float) -> AsyncConnection:
        """Make a connection, or say why there is none."""
        waits = self._waits_for_server()
        dialing = Dialing(self._target, seconds, is_again=self._was_connected or waits)
        while True:
            try:
                # No promise to be heard: a job that holds the interpreter lock would break it,
                # and the server take from it what it has leased.
                identity = self._identity()
                connection = await open_async(dialing.attempt(), identity, self._kept)
            except (OSError, MqError) as error:
                pause = dialing.pause_after(error)
                if waits:
                    self._say_waiting(dialing.why(error), seconds)
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
