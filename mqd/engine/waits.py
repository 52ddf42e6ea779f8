"""Pulls that wait on queues of the local engine."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from mqd.core.deadlines import Deadline, Deadlines
from mqd.core.errors import queue_not_found
from mqd.core.queue import Waiter
from mqd.engine.base import NO_MESSAGES
from mqwire.levels import Level

if TYPE_CHECKING:
    from mqd.core.queue import Queue
    from mqd.engine.base import OnEnd, Results, Terms, Wait
    from mqwire.errors import CodedError


class LocalWait(Waiter):
    """A pull that waits on a queue of the local engine.

    Args:
        queue: which.
        most: how many messages it takes at most.
        room_bytes: how large they may be together.
        level: that the delivery is to reach.
        terms: of the lease; None for a pull that removes.
        on_end: takes what it has ended with.
    """

    __slots__ = ("deadline", "level", "on_end", "queue", "terms")

    def __init__(
        self,
        queue: Queue,
        most: int,
        room_bytes: int,
        level: Level,
        terms: Terms | None,
        on_end: OnEnd,
    ) -> None:
        super().__init__(most, room_bytes)
        self.queue = queue
        self.level = level
        self.terms = terms
        self.on_end: OnEnd | None = on_end
        self.deadline: Deadline[LocalWait] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""
        return self.on_end is None


class Waits:
    """All pulls that wait, by the time when they end empty."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[LocalWait] = Deadlines()

    def add(self, wait: LocalWait, now_ms: int, seconds: float) -> None:
        """Let a pull wait."""
        wait.queue.waiters[wait] = None
        wait.deadline = self._deadlines.add(now_ms + ceil(seconds * 1000) + 1, wait)

    def end(
        self, wait: LocalWait, outcome: Results | CodedError, level: Level = Level.ACCEPTED
    ) -> None:
        """Tell a pull, which its queue does not know any more, what it has ended with."""
        if wait.deadline is not None:
            self._deadlines.remove(wait.deadline)
        on_end, wait.on_end = wait.on_end, None
        assert on_end is not None, "a wait ends once"
        on_end(outcome, level)

    def wake(self, wait: Wait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""
        assert isinstance(wait, LocalWait)
        if wait.is_over:
            return False
        del wait.queue.waiters[wait]
        self.end(wait, NO_MESSAGES)
        return True

    def forget(self, wait: Wait) -> None:
        """Drop a wait whose client has gone: nothing is delivered to it any more."""
        assert isinstance(wait, LocalWait)
        if not wait.is_over:
            wait.on_end = _ignore
            self.wake(wait)

    def end_all(self, queue: Queue) -> None:
        """Tell all who wait on a queue that it is gone."""
        while queue.waiters:
            wait, _ = queue.waiters.popitem(last=False)
            assert isinstance(wait, LocalWait)
            self.end(wait, queue_not_found(queue.name))

    def next_ms(self) -> int | None:
        """When the next one ends; None for never."""
        return self._deadlines.next_ms()

    def expire(self, now_ms: int) -> None:
        """End those whose time has run out."""
        while (wait := self._deadlines.pop_due(now_ms)) is not None:
            del wait.queue.waiters[wait]
            self.end(wait, NO_MESSAGES)


def _ignore(_outcome: Results | CodedError, _level: Level) -> None:
    """Stand in for a client that has gone."""
