"""The local engine: the broker of `mqd.core`, in this process."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from mqd.core.broker import Bounds, Broker
from mqd.core.deadlines import Deadline, Deadlines
from mqd.core.errors import queue_not_found
from mqd.core.queue import Queue, Waiter
from mqd.engine.base import NO_MESSAGES, HeaderRuns, OnEnd, Results
from mqwire.levels import Level
from mqwire.limits import FRAME_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.fifo import Batch
    from mqd.core.records import Record
    from mqd.engine.base import Wait
    from mqwire.errors import CodedError


class LocalWait(Waiter):
    """A pull that waits on a queue of the local engine."""

    __slots__ = ("deadline", "on_end", "queue")

    def __init__(self, queue: Queue, most: int, room_bytes: int, on_end: OnEnd) -> None:
        super().__init__(most, room_bytes)
        self.queue = queue
        self.on_end: OnEnd | None = on_end
        self.deadline: Deadline[LocalWait] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""
        return self.on_end is None


class LocalEngine:
    """Carries commands out on a broker of its own. See `mqd.engine.base.Engine`.

    Args:
        bounds: what the configuration allows.
        now_ms: the clock, in milliseconds since 1970-01-01 UTC, never falling.
        max_frame_bytes: a reply with messages is made to fit into a frame of this size.
    """

    durability = Level.ACCEPTED.word

    def __init__(self, bounds: Bounds, now_ms: Callable[[], int], max_frame_bytes: int) -> None:
        self.broker = Broker(bounds)
        self._read_clock = now_ms
        self._now_ms = now_ms()
        self._room_bytes = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._deadlines: Deadlines[LocalWait] = Deadlines()

    def begin_turn(self) -> None:
        """Read the clock for the requests that follow."""
        self._now_ms = self._read_clock()

    def create(
        self, name: str, max_messages: int | None, max_bytes: int | None, *, if_missing: bool
    ) -> dict[str, Any]:
        """Create a queue and return its info."""
        broker = self.broker
        if not (if_missing and name in broker):
            self._commit(broker.plan_create(name, max_messages, max_bytes, self._now_ms))
        return self.info(name)

    def delete(self, name: str) -> int:
        """Delete a queue; those who wait get QUEUE_NOT_FOUND. Returns messages removed."""
        queue = self.broker.queue(name)
        removed = self._commit(self.broker.plan_delete(name))
        while queue.waiters:
            waiter, _ = queue.waiters.popitem(last=False)
            self._end(waiter, queue_not_found(name))
        return removed

    def purge(self, name: str) -> int:
        """Remove the messages of a queue. Returns how many."""
        return self._commit(self.broker.plan_purge(name))

    def info(self, name: str) -> dict[str, Any]:
        """Describe a queue."""
        return self.broker.queue(name).info(self._now_ms)

    def infos(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the queues whose names fit, sorted by name."""
        return [queue.info(self._now_ms) for queue in self.broker.queues(pattern)]

    def push(self, name: str, count: int, pack: bytes, headers: HeaderRuns) -> int:
        """Append messages and serve those who wait. Returns the first id."""
        broker = self.broker
        first_id = self._commit(broker.plan_push(name, count, pack, headers, self._now_ms))
        queue = broker.queue(name)
        if queue.waiters:
            for batch, waiter in broker.serve(queue):
                self._end(waiter, _results(batch))
        return first_id

    def pull(self, name: str, most: int) -> Results:
        """Remove the oldest messages and return them, or `NO_MESSAGES`."""
        queue = self.broker.queue(name)
        if not queue.fifo.count:
            return NO_MESSAGES
        return _results(self.broker.take(queue, most, self._room_bytes))

    def wait(self, name: str, most: int, seconds: float, on_end: OnEnd) -> LocalWait:
        """Wait for messages of a queue that is empty now; `on_end` is called once."""
        queue = self.broker.queue(name)
        wait = LocalWait(queue, most, self._room_bytes, on_end)
        queue.waiters[wait] = None
        wait.deadline = self._deadlines.add(self._now_ms + ceil(seconds * 1000) + 1, wait)
        return wait

    def wake(self, wait: Wait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""
        assert isinstance(wait, LocalWait)
        if wait.is_over:
            return False
        del wait.queue.waiters[wait]
        self._end(wait, NO_MESSAGES)
        return True

    def forget(self, wait: Wait) -> None:
        """Drop a wait whose client has gone: nothing is delivered to it any more."""
        assert isinstance(wait, LocalWait)
        if not wait.is_over:
            wait.on_end = _ignore
            self.wake(wait)

    def peek(self, name: str, skip: int, most: int) -> Results:
        """Return messages without removing them."""
        batch = self.broker.queue(name).fifo.peek(skip, most, self._room_bytes)
        return _results(batch) if batch.count else NO_MESSAGES

    def next_deadline_ms(self) -> int | None:
        """When `expire` has to be called next, on the engine's clock; None for never."""
        return self._deadlines.next_ms()

    def expire(self) -> None:
        """End the waits whose time has run out, by the present turn's clock."""
        while (wait := self._deadlines.pop_due(self._now_ms)) is not None:
            del wait.queue.waiters[wait]
            self._end(wait, NO_MESSAGES)

    def _commit(self, record: Record) -> int:
        """Carry a planned record out: the one place where commands change the state."""
        return self.broker.apply(record)

    def _end(self, waiter: Waiter, outcome: Results | CodedError) -> None:
        assert isinstance(waiter, LocalWait)
        if waiter.deadline is not None:
            self._deadlines.remove(waiter.deadline)
        on_end, waiter.on_end = waiter.on_end, None
        assert on_end is not None, "a wait ends once"
        on_end(outcome)


def _results(batch: Batch) -> Results:
    ids = (batch.first_id, batch.count)
    if batch.headers is None:
        return (ids, batch.packs)
    return (ids, batch.packs, {"headers": batch.headers})


def _ignore(_outcome: Results | CodedError) -> None:
    """Stand in for a client that has gone."""
