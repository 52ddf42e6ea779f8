"""The task view of the local engine: where messages are, and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqd.core.cancelling import look_up, plan_cancel
from mqd.core.cold import Known
from mqd.engine.commits import RECORD_BYTES
from mqd.engine.news import News
from mqd.engine.statuses import Statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.engine.base import Listener, OnEnd, Results
    from mqd.engine.commits import Commits
    from mqd.engine.statuses import StatusWait
    from mqwire.levels import Level
    from mqwire.runs import Runs


class LocalViews:
    """See `mqd.engine.base.ViewEngine`.

    Args:
        broker: the state.
        commits: the way to change it.
        room_bytes: how large a reply may be.
    """

    def __init__(self, broker: Broker, commits: Commits, room_bytes: int) -> None:
        self._broker = broker
        self._commits = commits
        self._news = News(broker, commits)
        self._statuses = Statuses(broker, commits, self._news, room_bytes)

    @property
    def now_ms(self) -> int:
        """The present turn's time."""
        return self._statuses.now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        self._statuses.now_ms = self._news.now_ms = now_ms

    @property
    def has_listeners(self) -> bool:
        """Whether `tell` has something to do."""
        return self._commits.observer is not None

    def tell(self) -> None:
        """Tell those who want to know what the turn has changed."""
        self._news.tell()

    def listen(self, listener: Listener) -> None:
        """Let somebody listen to what happens from now on."""
        self._news.add(listener)

    def stop_listening(self, listener: Listener) -> None:
        """Let somebody listen no longer."""
        self._news.remove(listener)

    def status(self, name: str, ids: Runs) -> tuple[Results, Level]:
        """Tell where messages are."""
        queue = self._used(name)
        found = self._statuses.statuses(queue, ids)
        return (found,), self._commits.level_for(queue, None)

    def wait(self, name: str, ids: Runs, seconds: float, on_end: OnEnd) -> StatusWait | None:
        """Wait until messages have come to an end; None if all have, or are not known."""
        return self._statuses.wait(self._used(name), ids, seconds, on_end)

    def prepare_cancel(self, name: str, ids: Runs) -> Iterator[None]:
        """Find out what `cancel` needs to know, a slice between one turn and the next."""
        queue, known = self._used(name), Known()
        while not look_up(queue, ids, known):
            yield
            before, queue = queue, self._used(name)
            if queue is not before:  # another one has the name now, and other messages the ids
                known = Known()

    def cancel(self, name: str, ids: Runs, level: Level | None) -> tuple[tuple[int, int], Level]:
        """Cancel messages; returns how many were removed, and how many leased ones marked."""
        queue, commits = self._used(name), self._commits
        level = commits.level_for(queue, level)
        planned = plan_cancel(queue, ids, self.now_ms)
        size_bytes = RECORD_BYTES * len(planned.records) + 16 * len(ids)
        commits.check_room(name, size_bytes, is_freeing=True)
        for record in planned.records:
            commits.commit(record)
        return (planned.removed, planned.marked), level

    def wake(self, wait: StatusWait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""
        return self._statuses.wake(wait)

    def forget(self, wait: StatusWait) -> None:
        """Drop a wait whose client has gone."""
        self._statuses.forget(wait)

    def next_ms(self) -> int | None:
        """When `expire` has something to do; None for never."""
        return self._statuses.next_ms()

    def expire(self) -> None:
        """End the waits whose time has run out."""
        self._statuses.expire()

    def _used(self, name: str) -> Queue:
        """Return the queue of this name, and note that it is in use."""
        queue = self._broker.queue(name)
        queue.used_ms = self.now_ms
        return queue
