"""Requests of one session that are answered later: those that wait, and work in tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import Level

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from mqd.engine.base import Engine, OnEnd, Results, Terms, Wait
    from mqwire.errors import CodedError

    Outcome: TypeAlias = Results | Callable[[], Results]
    OnWaitOver = Callable[[int, Results | CodedError, Level], None]
    OnTaskOver = Callable[[int, asyncio.Task[Outcome]], None]


class Pending:
    """What a session still owes a reply to.

    Args:
        engine: lets PULLs wait.
        loop: runs tasks.
        most: how many requests may be pending at a time.
        on_wait_over: takes a request's id, what its wait has ended with, and the level that
            this is to reach; not called for waits that were forgotten.
        on_task_over: takes a request's id and its task; not called for one that was forgotten.
    """

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        most: int,
        on_wait_over: OnWaitOver,
        on_task_over: OnTaskOver,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._most = most
        self._on_wait_over = on_wait_over
        self._on_task_over = on_task_over
        self._waits: dict[int, Wait] = {}
        self._tasks: dict[int, asyncio.Task[Outcome]] = {}

    def wait(
        self,
        request_id: int,
        queue: tuple[str, int],
        seconds: float,
        level: Level | None,
        terms: Terms | None = None,
    ) -> None:
        """Let a PULL wait for messages.

        Args:
            request_id: its own.
            queue: which, and how many messages at most.
            seconds: how long at most.
            level: that the delivery is to reach; None for the queue's.
            terms: of a lease, if they are to come under one.

        Raises:
            RequestError: ID_IN_USE or TOO_MANY_WAITS.
            CodedError: the engine's.
        """
        name, most = queue
        self.wait_for(
            request_id, lambda on_end: self._engine.wait(name, most, seconds, level, terms, on_end)
        )

    def wait_for(self, request_id: int, begin: Callable[[OnEnd], Wait | None]) -> bool:
        """Let a request wait for what the engine tells it in the end.

        Args:
            request_id: its own.
            begin: begins a wait that ends with what it is given; None for no need to wait.

        Returns:
            Whether it waits.

        Raises:
            RequestError: ID_IN_USE or TOO_MANY_WAITS.
            CodedError: the engine's.
        """
        self._check(request_id)

        def on_end(outcome: Results | CodedError, reached: Level) -> None:
            self._waits.pop(request_id, None)
            self._on_wait_over(request_id, outcome, reached)

        wait = begin(on_end)
        if wait is None:
            return False
        self._waits[request_id] = wait
        return True

    def start(self, request_id: int, results: Coroutine[Any, Any, Outcome]) -> None:
        """Let a coroutine find the results out, or what makes them, or raise the refusal.

        What makes the results is called in a turn of its own, and may change things there.

        Raises:
            RequestError: ID_IN_USE or TOO_MANY_WAITS; the coroutine is not begun.
        """
        try:
            self._check(request_id)
        except RequestError:
            results.close()
            raise
        task = self._tasks[request_id] = self._loop.create_task(results)
        task.add_done_callback(lambda task: self._task_over(request_id, task))

    def wake(self, request_id: int) -> bool:
        """End the wait of a PULL; tell whether there was such a one."""
        wait = self._waits.get(request_id)
        return wait is not None and self._engine.wake(wait)

    def wake_all(self) -> None:
        """End every wait."""
        for wait in list(self._waits.values()):
            self._engine.wake(wait)

    def refuse_all(self, error: CodedError) -> None:
        """Answer everything with a refusal: nothing is delivered, and work is given up."""
        request_ids = [*self._waits, *self._tasks]
        self.forget_all()
        for request_id in request_ids:
            self._on_wait_over(request_id, error, Level.ACCEPTED)

    def forget_all(self) -> None:
        """Drop everything: there is nobody to answer to, and nothing may be delivered."""
        for wait in self._waits.values():
            self._engine.forget(wait)
        self._waits.clear()
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()

    def close(self) -> None:
        """Drop everything for good, and those who would be told of it."""
        self.forget_all()
        del self._on_wait_over, self._on_task_over

    def _task_over(self, request_id: int, task: asyncio.Task[Outcome]) -> None:
        if self._tasks.pop(request_id, None) is None:
            if not task.cancelled():
                task.exception()  # it was forgotten just before it ended
            return
        self._on_task_over(request_id, task)

    def _check(self, request_id: int) -> None:
        if request_id in self._waits or request_id in self._tasks:
            raise RequestError(
                Code.ID_IN_USE, f"request {request_id} still waits; number requests afresh"
            )
        if len(self._waits) + len(self._tasks) >= self._most:
            raise RequestError(
                Code.TOO_MANY_WAITS,
                f"{self._most} requests of this connection wait already; use more connections",
                {"limit": self._most},
            )
