"""One job after the other: what a worker's loop stands on. Floor 1.

Theory of operation. A consumer pulls up to `prefetch` messages under one lease, has the
lease extended by the keeper, and gives out a job for each. It pulls again when it has none
left; so it never holds more than `prefetch` messages. What it holds and has not begun goes
back through the keeper, which needs no answer: so that can be said by any thread, by the
garbage collector, and at the end of the process.

What it is not: how a job is settled (`mqclient.settling`), or what SIGTERM does
(`mqclient.terminating`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, TypedDict, TypeVar

from mqclient import lease_calls, steps
from mqclient.base import check_lease, check_wait
from mqclient.errors import ConnectFailed, InterfaceError, MqError, ServerError
from mqclient.jobs import AsyncJob, Job
from mqclient.settling import OPEN, RETURNED, BaseJob, Batch
from mqclient.terminating import leave_loop, on_loop, on_process
from mqwire.limits import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from mqclient.async_client import AsyncClient
    from mqclient.base import BaseClient
    from mqclient.client import Client
    from mqclient.errors import LeaseLost
    from mqclient.lease_calls import Leased
    from mqclient.messages import Source
    from mqclient.steps import StepsOf

_logger = logging.getLogger("mqclient")
_SHORTEST_WAIT_SECONDS: Final = 0.005

JobT = TypeVar("JobT", bound=BaseJob)


class ConsumeOptions(TypedDict, total=False):
    """The options of `Client.consume` that few need."""

    raise_errors: bool
    handle_signals: bool


@dataclass(frozen=True)
class Settings:
    """How a consumer works; see `Client.consume`."""

    lease: float
    prefetch: int
    wait: float
    raise_errors: bool = False
    handle_signals: bool = True


def consume_settings(
    lease: float, prefetch: int, wait: float | None, more: ConsumeOptions
) -> Settings:
    """Check the arguments of `consume`.

    Raises:
        InterfaceError: one of them makes no sense, or there is no such option.
    """
    steps.check_count(prefetch, "prefetch")
    for name in more:
        if name not in ConsumeOptions.__annotations__:
            raise InterfaceError(f"consume has no option {name!r}")
    seconds = math.inf if wait is None else check_wait(wait)
    return Settings(check_lease(lease), prefetch, seconds, **more)


class BaseConsumer(Generic[JobT]):
    """The jobs of one loop; see `Client.consume` for the arguments."""

    _kind: type[JobT]

    def __init__(self, client: BaseClient, source: Source, settings: Settings) -> None:
        self._client = client
        self._source = source
        self._settings = settings
        self._lock = threading.Lock()
        self._unbegun: deque[JobT] = deque()
        self._current: JobT | None = None
        self._is_closed = False
        self._is_watching = False
        client._consumers.add(self)  # noqa: SLF001  a part of the client

    @property
    def current(self) -> JobT | None:
        """The job that was given out last."""
        return self._current

    @property
    def client(self) -> BaseClient:
        """The client that it belongs to."""
        return self._client

    @property
    def is_over(self) -> bool:
        """Whether it gives out no more jobs."""
        return self._is_closed

    def return_unbegun(self) -> None:
        """Have given back what was not begun; from any thread, without waiting."""
        with self._lock:
            jobs = list(self._unbegun)
            self._unbegun.clear()
        self._return(jobs)

    def abandon(self) -> None:
        """Forget what it holds, and say nothing: somebody else does."""
        self._is_closed = True
        jobs = [*self._unbegun, *([] if self._current is None else [self._current])]
        self._unbegun.clear()
        for job in jobs:
            _mark(job)

    def _finish(self) -> None:
        """Hand back what is not settled; the loop is over."""
        if self._is_closed:
            return
        self._is_closed = True
        self.return_unbegun()
        if self._current is not None and not self._current.is_settled:
            self._return([self._current])

    def _return(self, jobs: list[JobT]) -> None:
        by_batch: dict[Batch, list[int]] = {}
        for job in jobs:
            if not job.is_settled:
                _mark(job)
                by_batch.setdefault(job._batch, []).append(job.id)  # noqa: SLF001  made here
        for batch, ids in by_batch.items():
            batch.left.difference_update(ids)
            self._client._hand_back(batch.lease, ids if batch.left else None)  # noqa: SLF001  a part of it

    def __del__(self) -> None:
        # Of one that was not even made there is nothing to finish.
        if getattr(self, "_lock", None) is not None:
            self._finish()

    # The next job

    def _next(self) -> StepsOf:
        """Find the next job; the result is None at the end."""
        self._check_settled()
        while not self._is_closed:
            if self._client.is_draining:
                return None  # what was not begun goes back, now or with the loop
            job = self._take()
            if job is not None:
                return job
            leased = yield from self._pull()
            if leased is None:
                return None
            self._begin(leased)
        return None

    def _check_settled(self) -> None:
        job = self._current
        if job is None or job.is_settled:
            return
        self._finish()
        raise InterfaceError(
            f"{job!r} was not settled before the next one was asked for, and is handed back: work "
            "on it in `with job:`, or call its done, fail, reject or hand_back"
        )

    def _take(self) -> JobT | None:
        """Give out the next job of those that are here, if there is one."""
        cancelled: list[JobT] = []
        with self._lock:
            self._current = job = self._first_open(cancelled)
        self._return(cancelled)  # where they are dropped
        if job is not None:
            batch = job._batch  # noqa: SLF001  made here
            if len(batch.jobs) > 1:
                self._client._begin_work(batch.lease, job.id)  # noqa: SLF001  a part of it
        return job

    def _first_open(self, cancelled: list[JobT]) -> JobT | None:
        while self._unbegun:
            job = self._unbegun.popleft()
            if job.is_cancelled:
                cancelled.append(job)
            elif not job.is_settled:  # nor lost while it lay here
                return job
        return None

    def _pull(self) -> Generator[Any, Any, Leased | None]:
        """Lease messages, for as long as there are none and nobody drains."""
        client = self._client
        ends_at = monotonic() + self._settings.wait
        patience = steps.Patience(ends_on_drain=True)
        server_by = monotonic() + client._worker_wait()  # noqa: SLF001  a part of it
        told = ""
        while not client.is_draining:
            left = max(ends_at - monotonic(), 0.0)
            wait = min(left, MAX_WAIT_SECONDS)
            call = lease_calls.pull(
                self._source, self._settings.prefetch, self._settings.lease, wait
            )
            call.ends_on_drain = True
            try:
                leased: Leased | None = yield call
            except MqError as error:
                if not client._was_connected:  # noqa: SLF001  a part of it
                    # Until there is a server nothing can have come: the wait begins with it.
                    ends_at = monotonic() + self._settings.wait
                    yield self._pause_without_server(error, server_by, patience)
                    continue
                if not (_is_passing(error) and left):
                    raise
                if str(error) != told:
                    told = str(error)
                    _logger.warning("no jobs of %r just now: %s", self._source.queue, error)
                yield patience.pause(left)
                continue
            if leased is not None or ends_at - monotonic() < _SHORTEST_WAIT_SECONDS:
                return leased
        return None

    def _pause_without_server(
        self, error: MqError, server_by: float, patience: steps.Patience
    ) -> steps.Pause:
        """Return how long to wait for a server that is not there yet, until `server_by` at most.

        Raises:
            MqError: the error, since waiting would not help, or has lasted long enough.
        """
        may_pass = error.may_pass if isinstance(error, ConnectFailed) else _is_passing(error)
        left = server_by - monotonic()
        if not may_pass or left <= 0:
            raise error
        self._client._say_waiting(str(error), left)  # noqa: SLF001  a part of it
        return patience.pause(left)

    def _begin(self, leased: Leased) -> None:
        batch = Batch(
            leased.lease, self._settings.lease, (message.id for message in leased.messages)
        )
        for message in leased.messages:
            job = self._kind(self._client, message, batch, raise_errors=self._settings.raise_errors)
            batch.jobs.append(job)
        self._hold(batch)
        with self._lock:
            self._unbegun.extend(batch.jobs)  # type: ignore[arg-type]  # of this kind

    def _hold(self, batch: Batch) -> None:
        raise NotImplementedError


class Consumer(BaseConsumer[Job]):
    """The jobs of a queue, one at a time; see `Client.consume`."""

    _client: Client
    _kind = Job

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        if self._settings.handle_signals and not self._is_watching:
            self._is_watching = True
            on_process(self)
        job: Job | None = self._client._run(self._next(), self._client._timeout)  # noqa: SLF001  a part of it
        if job is None:
            self.close()
            raise StopIteration
        return job

    def close(self) -> None:
        """Hand back what is not settled, and end the loop."""
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _hold(self, batch: Batch) -> None:
        hold = self._client._hold  # noqa: SLF001  a part of it
        hold(batch.lease, batch.seconds, batch.lose, batch.cancel, batch.unbegun)


class AsyncConsumer(BaseConsumer[AsyncJob]):
    """The jobs of a queue, one at a time; see `Client.consume`."""

    _client: AsyncClient
    _kind = AsyncJob

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncJob:
        if self._settings.handle_signals and not self._is_watching:
            self._is_watching = True
            on_loop(self)
        job: AsyncJob | None = await self._client._run(self._next(), self._client._timeout)  # noqa: SLF001  a part of it
        if job is None:
            await self.close()
            raise StopAsyncIteration
        return job

    async def close(self) -> None:
        """As `Consumer.close`."""
        self._finish()
        leave_loop(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _hold(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()

        def on_lost(error: LeaseLost) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(batch.lose, error)

        def on_cancelled(ids: Sequence[int]) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(batch.cancel, ids)

        hold = self._client._hold  # noqa: SLF001  a part of it
        hold(batch.lease, batch.seconds, on_lost, on_cancelled, batch.unbegun)


def _is_passing(error: MqError) -> bool:
    """Tell whether a pull may succeed later, as it is."""
    return steps.is_passing(error) or (isinstance(error, ServerError) and error.is_retryable)


def _mark(job: BaseJob) -> None:
    if job._state == OPEN:  # noqa: SLF001  a part of its consumer
        job._state = RETURNED  # noqa: SLF001  a part of its consumer
