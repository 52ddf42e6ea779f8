"""One job of a consumer, as the blocking client has it and as the asynchronous one does. Floor 1.

A job is a message under a lease that is extended for it. What its end sends is in
`mqclient.settling`; here is how its block begins, ends and is interrupted.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mqclient.errors import Drained
from mqclient.settling import BaseJob
from mqclient.terminating import interrupt_in_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from mqclient.async_client import AsyncClient
    from mqclient.base import BaseClient
    from mqclient.client import Client
    from mqclient.messages import Message
    from mqclient.settling import Batch
    from mqclient.steps import StepsOf


class Job(BaseJob):
    """One job of `Client.consume`: a message under a lease that is extended for it.

        with job:
            work(job.body)

    The end of the block settles the job:

    - *it ends well*: the job is done, and gone from its queue;
    - *it raises an Exception*: the job has failed; the traceback goes with it into its
      history. The error is logged and goes no further, so that the loop goes on with the
      next job, unless `consume` was told `raise_errors=True`;
    - *it is left by anything else* (Ctrl-C, SystemExit): the job is handed back without an
      attempt being spent, and what has been raised goes on.

    `done`, `fail`, `reject` and `hand_back` settle it earlier, or without a block; the end of
    the block does nothing then.

    *A lost lease.* `lost` is set when the server says that the job is no longer this
    worker's: it was stopped for longer than its lease, or an operator has taken the job away.
    Whatever it does then, the job is somebody else's; its settlement is refused.

    *A cancelled job.* `cancelled` is set within a third of the lease's time when somebody has
    cancelled the job. One that looks can stop, by `raise_if_cancelled` or however it likes: it
    is not tried again, whatever way it comes back. If it is done all the same, it is done.

    *A lost reply.* Settling goes on over lost connections and restarts of the server, for the
    lease's time at most. Where nobody can say in the end whether the job was settled, that is
    logged, or raised by `done` and its like with `in_doubt`; if it was not it is run again.
    """

    _client: Client
    lost: threading.Event
    cancelled: threading.Event

    def __init__(
        self, client: BaseClient, message: Message, batch: Batch, *, raise_errors: bool
    ) -> None:
        super().__init__(client, message, batch, raise_errors=raise_errors)
        self.lost = threading.Event()
        self.cancelled = threading.Event()

    def done(self, push: Mapping[str, Iterable[Any]] | None = None, *, result: Any = None) -> None:
        """Say that the job is done: it is gone from its queue.

            job.done(push={"results": [{"score": 0.97}]})

        Args:
            push: what to push, by queue. Acknowledging and pushing are one step then: all of
                it happens or nothing.
            result: what came of it, for those who ask for its status: bytes, or what JSON can
                hold; 64 KiB at most. A queue that keeps no results drops it.

        Raises:
            LeaseLost: the job is no longer this worker's; nothing was pushed.
            QueueFull, QueueNotFound, ...: from the push; nothing has happened, and the job
                is still to be settled.
            ConnectionLost, RequestTimeout: with `in_doubt`, nobody can say.
        """
        self._do(self._done(push, result))

    def fail(self, reason: str | BaseException = "", *, delay: float | None = None) -> None:
        """Say that the job has failed: an attempt is spent, and another one follows.

        Args:
            reason: why, for its history: a text, or an error, whose traceback is taken.
            delay: seconds until it is ready again; None for the queue's back-off.
        """
        self._do(self._fail(reason, delay))

    def reject(self, reason: str | BaseException = "") -> None:
        """Say that the job is never to be tried again: it is a dead letter."""
        self._do(self._reject(reason))

    def hand_back(self) -> None:
        """Give the job back to its old place in the queue; no attempt is spent."""
        self._do(self._hand_back())

    def __enter__(self) -> Self:
        self._is_inside = True
        if self._is_told_to_end:  # since it was given out
            interrupt_in_block(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        swallows: bool = self._do(self._end(error))
        return swallows

    def _do(self, operation: StepsOf) -> Any:
        return self._client._run(operation, self._client._timeout)  # noqa: SLF001  a part of it

    def interrupt(self, frame: Any) -> None:
        """Raise Drained in its block, out of a signal handler that has interrupted `frame`."""
        if self.is_settled:
            return
        if not self._is_inside:
            self._is_told_to_end = True
            return
        while frame is not None:
            if frame.f_code in _OWN_CODES:  # it is being settled, and so at its end anyway
                return
            if frame.f_code is Job.__enter__.__code__:
                if not self._is_told_to_end:
                    self._is_told_to_end = True
                    interrupt_in_block(self)
                return
            frame = frame.f_back
        self._is_told_to_end = False
        self._is_drained = True
        raise Drained("the process was told to end")

    @property
    def is_to_be_interrupted(self) -> bool:
        """Whether a signal that came before its block has still to interrupt it there."""
        return self._is_told_to_end and self._is_inside and not self.is_settled


_OWN_CODES: Final = (Job.__exit__.__code__, Job._do.__code__)  # noqa: SLF001  of this module


class AsyncJob(BaseJob):
    """As `Job`, with `async with` and coroutines.

    A block that is cancelled hands its job back, and goes on being cancelled.
    """

    _client: AsyncClient
    lost: asyncio.Event
    cancelled: asyncio.Event

    def __init__(
        self, client: BaseClient, message: Message, batch: Batch, *, raise_errors: bool
    ) -> None:
        super().__init__(client, message, batch, raise_errors=raise_errors)
        self.lost = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    async def done(
        self, push: Mapping[str, Iterable[Any]] | None = None, *, result: Any = None
    ) -> None:
        """As `Job.done`."""
        await self._do(self._done(push, result))

    async def fail(self, reason: str | BaseException = "", *, delay: float | None = None) -> None:
        """As `Job.fail`."""
        await self._do(self._fail(reason, delay))

    async def reject(self, reason: str | BaseException = "") -> None:
        """As `Job.reject`."""
        await self._do(self._reject(reason))

    async def hand_back(self) -> None:
        """As `Job.hand_back`."""
        await self._do(self._hand_back())

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._is_inside = True
        if self._is_told_to_end:  # since it was given out
            self.interrupt()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None and self._is_drained:
            await self._forget_interrupt()
        swallows: bool = await self._do(self._end(error))
        if swallows and isinstance(error, asyncio.CancelledError) and self._task is not None:
            with suppress(AttributeError):  # newer than the oldest Python
                self._task.uncancel()
        return swallows

    async def _do(self, operation: StepsOf) -> Any:
        return await self._client._run(operation, self._client._timeout)  # noqa: SLF001  a part of it

    async def _forget_interrupt(self) -> None:
        """Let an interrupt go that came too late: a block without an `await` has ended well."""
        task = self._task
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if task is not None and hasattr(task, "uncancel") and task.uncancel():
                raise  # somebody else wants it to end, too

    def interrupt(self) -> None:
        """Cancel the task that is in its block, or will be."""
        self._is_told_to_end = True
        if self._is_inside and not self.is_settled and self._task is not None:
            self._is_drained = True
            self._task.cancel("the process was told to end")
