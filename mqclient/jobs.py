"""One job of a consumer: a message under a lease that is extended for it. Floor 1.

    open --- done | fail | reject | hand back ---> settled
      |                        `-- no answer --> given up (in doubt; the lease runs out)
      `--- the server says so ----------------> lost

What a job's end sends is written once, as operations (`mqclient.steps`); `Job` and `AsyncJob`
carry them out in their own way.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient import lease_calls, steps
from mqclient.checks import check_pushes, check_seconds, reason_text
from mqclient.codecs import encode_result
from mqclient.errors import (
    AccessDenied,
    Drained,
    InterfaceError,
    JobCancelled,
    LeaseLost,
    MqError,
    NotLeased,
    QueueNotFound,
    ServerError,
)
from mqclient.terminating import interrupt_in_block

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from mqclient.async_client import AsyncClient
    from mqclient.base import BaseClient
    from mqclient.calls import Call
    from mqclient.client import Client
    from mqclient.messages import Message
    from mqclient.models import LeaseId
    from mqclient.steps import StepsOf

_logger = logging.getLogger("mqclient")

OPEN: Final = "open"
SETTLING: Final = "being settled"
SETTLED: Final = "settled"
LOST: Final = "somebody else's by now"
GIVEN_UP: Final = "given up: whether it was settled is in doubt"
RETURNED: Final = "handed back, since its consumer was closed"


class Batch:
    """The messages that one pull has brought, under one lease.

    Args:
        lease: its id.
        seconds: its time.
        ids: the messages.
    """

    def __init__(self, lease: LeaseId, seconds: float, ids: Iterable[int]) -> None:
        self.lease = lease
        self.seconds = seconds
        self.jobs: list[BaseJob] = []
        self.left = set(ids)
        """Those that have not been settled."""
        self.error: LeaseLost | None = None
        """The server's word that the lease is lost."""

    @property
    def unbegun(self) -> list[int]:
        """Those that are said to begin later; a single one is at work from the start."""
        return [job.id for job in self.jobs] if len(self.jobs) > 1 else []

    def cancel(self, ids: Collection[int]) -> None:
        """Take the server's word that messages were cancelled, and tell their jobs."""
        for job in self.jobs:
            if job.id in ids:
                job.tell_cancelled()

    def lose(self, error: LeaseLost) -> None:
        """Take the server's word that the lease is lost, and tell the jobs."""
        self.error = error
        for job in self.jobs:
            job.tell_lost()


class BaseJob:
    """A message to be worked on; see `Job`."""

    lost: threading.Event | asyncio.Event
    cancelled: threading.Event | asyncio.Event

    def __init__(
        self, client: BaseClient, message: Message, batch: Batch, *, raise_errors: bool
    ) -> None:
        self.message = message
        """The message itself."""
        self._client = client
        self._batch = batch
        self._raise_errors = raise_errors
        self._state = OPEN
        self._error: NotLeased | None = None
        self._is_inside = False
        self._is_drained = False
        self._is_told_to_end = False

    @property
    def id(self) -> int:
        """The message's number in its queue."""
        return self.message.id

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self.message.queue

    @property
    def body(self) -> Any:
        """The message's body, decoded; raises BodyError where that cannot be."""
        return self.message.body

    @property
    def headers(self) -> dict[str, Any]:
        """The message's headers; empty if it has none."""
        return self.message.headers

    @property
    def deliveries(self) -> int:
        """How often the message was handed out, this time included."""
        return self.message.deliveries

    @property
    def attempts(self) -> int:
        """How often it has failed so far."""
        return self.message.attempts

    @property
    def losses(self) -> int:
        """How often its worker was lost so far."""
        return self.message.losses

    @property
    def lease(self) -> LeaseId:
        """The lease that it is under."""
        return self._batch.lease

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be said about it."""
        return self._state != OPEN or self._batch.error is not None

    @property
    def is_lost(self) -> bool:
        """Whether the server has said that the job is no longer this worker's."""
        return self.lost.is_set()

    @property
    def is_draining(self) -> bool:
        """Whether the client drains: a job that can stop may hand itself back."""
        return self._client.is_draining

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the job: nobody needs its result any more."""
        return self.cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled if the job was cancelled; the end of its block lets it go then.

        To be called now and then by a job that takes long.
        """
        if self.is_cancelled:
            raise JobCancelled(f"the job {self.id} of {self.queue!r} was cancelled")

    def raise_if_lost(self) -> None:
        """Raise LeaseLost, or NotLeased, if the job is no longer this worker's.

        To be called now and then by a job that takes long.
        """
        error = self._batch.error or self._error
        if self.is_lost and error is not None:
            raise error

    def tell_lost(self) -> None:
        """Note that the server says that the job is somebody else's by now."""
        if self._state == OPEN:
            self.lost.set()

    def tell_cancelled(self) -> None:
        """Note that the server says that the job was cancelled."""
        if self._state == OPEN:
            self.cancelled.set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id}, queue={self.queue!r}, {self._state})"

    # What is sent

    def _done(self, push: Mapping[str, Iterable[Any]] | None, result: Any = None) -> StepsOf:
        raw = None if result is None else encode_result(result)
        if push is None:
            return self._settle(lambda lease, ids: lease_calls.ack(lease, ids, result=raw))
        check_pushes(push)

        def make(lease: LeaseId, ids: list[int] | None) -> Call:
            part = lease_calls.ack_part(lease, ids, raw)
            return self._client._step_call(part, push)  # noqa: SLF001  a part of the client

        return self._settle(make)

    def _fail(self, reason: str | BaseException, delay: float | None) -> StepsOf:
        text = reason_text(reason)
        check_seconds(delay, "delay")
        return self._settle(lambda *of: lease_calls.nack(*of, reason=text, delay=delay))

    def _reject(self, reason: str | BaseException) -> StepsOf:
        text = reason_text(reason)
        return self._settle(lambda *of: lease_calls.reject(*of, reason=text))

    def _hand_back(self) -> StepsOf:
        return self._settle(lambda *of: lease_calls.nack(*of, hand_back=True))

    def _settle(self, make: Callable[[LeaseId, list[int] | None], Call]) -> StepsOf:
        batch = self._batch
        if self._state != OPEN:
            raise InterfaceError(f"the job {self.id} of {self.queue!r} is {self._state}")
        if batch.error is not None:
            raise batch.error
        # Without ids it is for all that is under the lease: also for what the keeper is about
        # to hand back, and for what was given up in doubt. So only where there is no other.
        call = make(batch.lease, None if len(batch.jobs) == 1 else [self.id])
        self._state = SETTLING
        ends_at = monotonic() + max(batch.seconds, self._client._timeout)  # noqa: SLF001  a part of the client
        try:
            yield from steps.settle(call, 1, ends_at)
        except LeaseLost as error:
            self._state = OPEN  # not settled, and never will be
            batch.lose(error)
            self._leave()
            raise
        except NotLeased as error:
            self._state, self._error = LOST, error  # the others of its lease are well
            self.lost.set()
            self._leave()
            raise
        except ServerError:
            self._state = OPEN  # refused: nothing has changed
            raise
        except BaseException:
            self._state = GIVEN_UP
            self._leave()
            raise
        self._state = SETTLED
        self._leave()

    def _leave(self) -> None:
        """Let the lease be extended no more, once none of its messages needs it."""
        batch = self._batch
        batch.left.discard(self.id)
        if not batch.left or batch.error is not None:
            self._client._release(batch.lease)  # noqa: SLF001  a part of the client

    def _end(self, error: BaseException | None) -> Generator[Any, Any, bool]:
        """Settle at the end of the block; the result is whether its error is swallowed."""
        self._is_inside = False
        trouble = None
        if not self.is_settled:
            try:
                if error is None:
                    yield from self._done(None)
                elif isinstance(error, Exception) and not _is_of_setup(error):
                    yield from self._fail(error, None)
                else:
                    yield from self._hand_back()
            except MqError as settling:
                trouble = settling
        if error is None:
            return self._judge(trouble)
        if trouble is not None:
            _logger.warning("%r ended with an error, and could not say so: %s", self, trouble)
        if not isinstance(error, Exception):
            return self._is_drained or isinstance(error, JobCancelled)
        if self._raise_errors or _is_of_setup(error):
            return False
        _logger.error("%r failed", self, exc_info=error)
        return True

    def _judge(self, trouble: MqError | None) -> bool:
        """Judge what became of a job that ended well, but could not be settled."""
        if trouble is None:
            return False
        is_expected = isinstance(trouble, LeaseLost | NotLeased) or steps.is_passing(trouble)
        if self._raise_errors or not is_expected:
            raise trouble
        _logger.warning("%r is done, but may be run once more: %s", self, trouble)
        return False


def _is_of_setup(error: BaseException) -> bool:
    """Tell whether an error is none of the job's: any other job would meet it as well.

    The library was misused, the server lacks a queue or a right, or it has no room just now.
    """
    if isinstance(error, ServerError):
        return error.is_retryable or isinstance(error, QueueNotFound | AccessDenied)
    return isinstance(error, InterfaceError)


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
