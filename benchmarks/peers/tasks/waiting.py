"""Many connections that each wait: for the answer to a push, or for a message."""

from __future__ import annotations

import selectors
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.peers import bursts
from benchmarks.peers.figures import latencies
from benchmarks.peers.tasks.base import LIMIT_SECONDS, Task

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place
    from benchmarks.peers.wires.base import Wire


class ClosedLoops(Task):
    """Connections that each push, wait for the answer, and push again.

    Options: `connections`, `seconds`.
    """

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._seconds: float = options["seconds"]
        self._wires = [self.wire() for _ in range(options["connections"])]

    def go(self) -> dict[str, float]:
        """Return pushes a second of all together, and how long each takes."""
        times: list[float] = []
        clock = time.perf_counter
        with selectors.DefaultSelector() as selector:
            for wire in self._wires:
                selector.register(wire.socket, selectors.EVENT_READ, _Loop(wire, self))
            for key in list(selector.get_map().values()):
                key.data.push(clock())
            started = clock()
            pushing = len(self._wires)
            while pushing:
                for key, _ in selector.select(LIMIT_SECONDS):
                    now = clock()
                    taken = key.data.receive(now)
                    if taken is None:
                        continue
                    times.append(taken)
                    if now < started + self._seconds:
                        key.data.push(now)
                    else:
                        pushing -= 1
                if clock() > started + LIMIT_SECONDS:
                    raise TimeoutError(f"{pushing} pushes are not answered")
        rate = len(times) / (clock() - started)
        return {"messages": len(times), "push_per_second": rate, **latencies(times)}


class _Loop:
    """One connection, with at most one push under way."""

    def __init__(self, wire: Wire, task: Task) -> None:
        self._wire = wire
        self._task = task
        self._missing = 0
        self._began = 0.0

    def push(self, now: float) -> None:
        """Send a push."""
        burst = self._wire.push(self._task.queue, self._task.body, 1)
        self._counter, self._missing, self._began = burst.counter, burst.answers, now
        self._wire.socket.sendall(burst.requests)

    def receive(self, now: float) -> float | None:
        """Take what has come; return how long the push took if that was its answer."""
        data = self._wire.socket.recv(65536)
        if not data:
            raise RuntimeError("the server has closed the connection")
        self._missing -= self._counter.feed(data)
        return None if self._missing > 0 else now - self._began


class WakeUps(Task):
    """Blocked pullers, one of which gets each push; options `pullers`, `count`."""

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        super().__init__(place, options, stack)
        self._pullers: int = options["pullers"]
        self._count: int = options["count"]

    def go(self) -> dict[str, float]:
        """Return how long a push takes to its puller, and how fast all are woken at once.

        The connections are of this go alone: what waits for a minute may be answered empty.
        """
        before = self._stack
        with ExitStack() as self._stack:
            pusher = self.wire()
            pullers = [self.wire() for _ in range(self._pullers)]
            flows = [bursts.Flow(wire, wire.wait(self.queue)) for wire in pullers]
            for flow in flows:
                flow.send()
            while pusher.blocked(self.queue) < len(flows):
                time.sleep(0.01)
            times = self._one_by_one(pusher, flows)
            seconds = self._all_at_once(pusher, flows)
        self._stack = before
        woken = len(times) + len(flows)
        rate = len(flows) / seconds
        return {"messages": woken, **latencies(times), "all_at_once_per_second": rate}

    def _one_by_one(self, pusher: Wire, flows: list[bursts.Flow]) -> list[float]:
        times = []
        with selectors.DefaultSelector() as selector:
            for flow in flows:
                selector.register(flow.socket, selectors.EVENT_READ, flow)
            for _ in range(self._count):
                push = bursts.Flow(pusher, pusher.push(self.queue, self.body, 1))
                began = time.perf_counter()
                push.send()
                woken, now = self._woken(selector)
                times.append(now - began)
                woken.finish()
                woken.restart(woken.wire.wait(self.queue))
                woken.send()
                push.finish()
        return times

    def _woken(self, selector: selectors.BaseSelector) -> tuple[bursts.Flow, float]:
        """Return the one that has got something of a message, and when; pings are nothing."""
        ends_at = time.perf_counter() + LIMIT_SECONDS
        while time.perf_counter() < ends_at:
            events = selector.select(1.0)
            now = time.perf_counter()
            woken = [key.data for key, _ in events if key.data.has_got_something()]
            if len(woken) > 1:
                raise RuntimeError(f"{len(woken)} have got something of one message")
            if woken:
                return woken[0], now
        raise TimeoutError("nobody has got the message")

    def _all_at_once(self, pusher: Wire, flows: list[bursts.Flow]) -> float:
        push = bursts.Flow(pusher, pusher.push(self.queue, self.body, len(flows)))
        return bursts.drive([push, *flows], LIMIT_SECONDS)
