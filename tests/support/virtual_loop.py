"""An event loop in virtual time: nothing waits, and the same calls give the same run.

    Timeline        the one order of everything that happens, and the time
    +-- VirtualLoop an asyncio loop on it; what it was asked to call dies with it

Several loops share a timeline. A process that is killed is a loop that is closed: none of its
callbacks, timers and tasks runs any more, and the others go on.

What it is not: a loop with sockets, threads or signals. Whoever asks for one of these gets
`NotImplementedError`; `create_server` takes its factory and gives a listener without a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


MOST_CALLS = 20_000
"""Calls in one moment of virtual time; more than that is a loop without an end."""


class Call:
    """Something that is to be called: a handle to cancel it by."""

    __slots__ = ("arguments", "callback", "loop", "when_seconds")

    def __init__(
        self,
        loop: VirtualLoop | None,
        when_seconds: float,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
    ) -> None:
        self.loop = loop
        self.when_seconds = when_seconds
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None
        self.arguments = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_seconds


class Timeline:
    """Calls what is due in the order of its time, and of asking where that is the same."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self._ready: deque[Call] = deque()
        self._later: list[tuple[float, int, Call]] = []
        self._asked = 0
        self._calls_left = MOST_CALLS
        self._loop: VirtualLoop | None = None  # the running one

    def soon(
        self, loop: VirtualLoop | None, callback: Callable[..., object], arguments: tuple[Any, ...]
    ) -> Call:
        call = Call(loop, self.now_seconds, callback, arguments)
        self._ready.append(call)
        return call

    def at(
        self,
        loop: VirtualLoop | None,
        when_seconds: float,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
    ) -> Call:
        call = Call(loop, when_seconds, callback, arguments)
        self._asked += 1
        heapq.heappush(self._later, (when_seconds, self._asked, call))
        return call

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Call:
        """Have something called that belongs to no loop."""
        return self.at(None, self.now_seconds + seconds, callback, arguments)

    def run(self, until_seconds: float) -> None:
        """Go on up to a moment; what is due later stays.

        An exception of what was called ends the run: nothing here is allowed to raise.
        """
        later = self._later
        self._loop = None
        asyncio._set_running_loop(None)
        self._calls_left = MOST_CALLS
        try:
            while True:
                self._run_ready()
                if not later or later[0][0] > until_seconds:
                    break
                if later[0][0] > self.now_seconds:  # a stall may have gone beyond that already
                    self._calls_left = MOST_CALLS
                    self.now_seconds = later[0][0]
                while later and later[0][0] <= self.now_seconds:
                    self._ready.append(heapq.heappop(later)[2])
        finally:
            asyncio._set_running_loop(None)
        self.now_seconds = max(self.now_seconds, until_seconds)

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            call = ready.popleft()
            callback, loop = call.callback, call.loop
            if callback is None or (loop is not None and loop.is_dead):
                continue
            self._calls_left -= 1
            if not self._calls_left:
                raise RuntimeError("time stands still: something is called for ever")
            if loop is not self._loop:
                asyncio._set_running_loop(loop)
                self._loop = loop
            callback(*call.arguments)

    def stall(self, seconds: float) -> None:
        """Let time pass in which nobody does anything, as when the machine is suspended."""
        self.now_seconds += seconds


class VirtualLoop(asyncio.AbstractEventLoop):
    """What one process of the simulation takes for its event loop."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.is_dead = False
        self.complaints: list[str] = []
        """What asyncio had to say to its exception handler."""
        self._tasks: list[asyncio.Task[Any]] = []

    def kill(self) -> None:
        """Let nothing of this loop happen any more."""
        self.is_dead = True
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # one that has never begun is no mistake
                    coroutine: Any = task.get_coro()
                    _close(coroutine)
        self._tasks.clear()

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.timeline.now_seconds

    def call_soon(self, callback: Callable[..., object], *arguments: Any, **_options: Any) -> Any:
        return self.timeline.soon(self, callback, arguments)

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *arguments: Any, **_options: Any
    ) -> Any:
        when_seconds = self.timeline.now_seconds + delay
        return self.timeline.at(self, when_seconds, callback, arguments)

    def call_at(
        self, when: float, callback: Callable[..., object], *arguments: Any, **_options: Any
    ) -> Any:
        return self.timeline.at(self, when, callback, arguments)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Take note of nothing: a cancelled call is passed over."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        task = asyncio.Task(coro, loop=self, **options)
        if len(self._tasks) > 64:
            self._tasks = [each for each in self._tasks if not each.done()]
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    async def create_server(self, factory: Any, *_arguments: Any, **_options: Any) -> Any:
        return Listener(factory)


def _close(coroutine: Any) -> None:
    """Close a coroutine of a process that is dead; what it would do about that is not done."""
    with contextlib.suppress(RuntimeError):  # one that waits for something even now
        coroutine.close()


class Listener:
    """What listens: connections come by calling `factory`."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        self.is_closed = False
        self.sockets = (_NoSocket(),)

    def close(self) -> None:
        self.is_closed = True


class _NoSocket:
    def setsockopt(self, *arguments: Any) -> None:
        pass

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 7500)
