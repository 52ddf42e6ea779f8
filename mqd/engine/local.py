"""The local engine: the broker of `mqd.core` in this process, its records in a `Storage`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from mqd.core import records
from mqd.core.deadlines import Deadline, Deadlines
from mqd.core.errors import queue_not_found
from mqd.core.queue import Queue, Waiter
from mqd.engine.base import NO_MESSAGES, HeaderRuns, Needs, OnEnd, Results, Snapshot
from mqd.engine.storage import no_journal, storage_full
from mqwire.levels import LEVELS, Level
from mqwire.limits import FRAME_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mqd.core.broker import Broker
    from mqd.core.fifo import Batch
    from mqd.core.records import Record
    from mqd.engine.base import Wait
    from mqd.engine.storage import Storage
    from mqwire.errors import CodedError

_UNSERVED = ("delayed", "leased", "dead", "acked", "moved")
"""What only leases change, which no verb gives."""

_RECORD_BYTES = 512
"""More than a record takes without its pack and headers."""


class LocalWait(Waiter):
    """A pull that waits on a queue of the local engine."""

    __slots__ = ("deadline", "level", "on_end", "queue")

    def __init__(
        self, queue: Queue, most: int, room_bytes: int, level: Level, on_end: OnEnd
    ) -> None:
        super().__init__(most, room_bytes)
        self.queue = queue
        self.level = level
        self.on_end: OnEnd | None = on_end
        self.deadline: Deadline[LocalWait] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""
        return self.on_end is None


class LocalEngine:
    """Carries commands out on a broker of its own. See `mqd.engine.base.Engine`.

    Args:
        broker: the state, as it was restored.
        storage: takes the records that change it.
        now_ms: the clock, in milliseconds since 1970-01-01 UTC, never falling.
        max_frame_bytes: a reply with messages is made to fit into a frame of this size.
        level: of commands and queues that name none; not above what `storage` can promise.
    """

    def __init__(
        self,
        broker: Broker,
        storage: Storage,
        now_ms: Callable[[], int],
        *,
        max_frame_bytes: int,
        level: Level,
    ) -> None:
        self.broker = broker
        self.level = min(level, storage.highest_level)
        self._storage = storage
        self._append = storage.append
        self._read_clock = now_ms
        self._now_ms = now_ms()
        self._room_bytes = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._deadlines: Deadlines[LocalWait] = Deadlines()
        self.pushed = self.pulled = 0  # messages, since the start
        self._lsn = 0  # of all records up to the last turn's end
        self._pushed_level = Level.ACCEPTED  # the highest of this turn's pushes
        self._promised: Needs = (0, 0)  # marks of the last pushes at `written` and `synced`

    # Turns

    @property
    def on_progress(self) -> Callable[[], None]:
        """Called in the event loop when records have come further, or writing has failed."""
        return self._storage.on_progress

    @on_progress.setter
    def on_progress(self, callback: Callable[[], None]) -> None:
        self._storage.on_progress = callback

    @property
    def failure(self) -> Exception | None:
        """Why nothing can be promised any more; None while all is well."""
        return self._storage.failure

    @property
    def is_behind(self) -> bool:
        """Whether so much is on its way to the disk that clients have to wait."""
        return self._storage.is_behind

    def begin_turn(self) -> None:
        """Read the clock for the requests that follow."""
        self._now_ms = self._read_clock()

    def end_turn(self, level: Level, *, is_alone: bool = False) -> None:
        """Hand on what the turn has changed; `level` is the highest that is waited for."""
        self._lsn = lsn = self._storage.commit(level, is_alone=is_alone)
        pushed = self._pushed_level
        if pushed:
            self._pushed_level = Level.ACCEPTED
            self._promised = (lsn, lsn if pushed is Level.SYNCED else self._promised[1])

    def needs(self, level: Level, *, shows_messages: bool) -> Needs:
        """Tell what the results of the turn that has ended rest on."""
        lsn = self._lsn
        written = lsn if level >= Level.WRITTEN else 0
        synced = lsn if level is Level.SYNCED else 0
        if shows_messages:
            promised = self._promised
            return (max(written, promised[0]), max(synced, promised[1]))
        return (written, synced)

    def has_reached(self, needs: Needs) -> bool:
        """Tell whether results that need this may leave."""
        storage = self._storage
        return storage.synced_lsn >= needs[1] and storage.written_lsn >= needs[0]

    # Commands

    def create(
        self, name: str, options: Mapping[str, Any], *, if_missing: bool
    ) -> tuple[dict[str, Any], Level]:
        """Create a queue and return its info."""
        broker = self.broker
        if not (if_missing and name in broker):
            record = broker.plan_create(name, options, self._now_ms)
            word = options.get("durability")
            if word is not None:
                self._check_level(LEVELS[word])
            self._check_room(name, _RECORD_BYTES)
            self._commit(record)
        queue = broker.queue(name)
        return self._info(queue), self._level(queue, None)

    def delete(self, name: str) -> tuple[int, Level]:
        """Delete a queue; those who wait get QUEUE_NOT_FOUND. Returns messages removed."""
        queue = self.broker.queue(name)
        self._check_room(name, _RECORD_BYTES, is_freeing=True)
        removed = self._commit(self.broker.plan_delete(name))
        while queue.waiters:
            waiter, _ = queue.waiters.popitem(last=False)
            assert isinstance(waiter, LocalWait)
            self._end(waiter, queue_not_found(name))
        return removed, self._level(queue, None)

    def purge(self, name: str) -> tuple[int, Level]:
        """Remove the messages of a queue. Returns how many."""
        queue = self.broker.queue(name)
        self._check_room(name, _RECORD_BYTES, is_freeing=True)
        return self._commit(self.broker.plan_purge(name)), self._level(queue, None)

    def info(self, name: str) -> dict[str, Any]:
        """Describe a queue."""
        return self._info(self.broker.queue(name))

    def infos(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the queues whose names fit, sorted by name."""
        return [self._info(queue) for queue in self.broker.queues(pattern)]

    def push(
        self, name: str, count: int, pack: bytes, headers: HeaderRuns, level: Level | None
    ) -> tuple[int, Level]:
        """Append messages and serve those who wait. Returns the first id."""
        broker = self.broker
        record = broker.plan_push(name, count, pack, headers, self._now_ms)
        queue = broker.queue(name)
        level = self._level(queue, level)
        if self._storage.is_full:
            self._check_room(name, _RECORD_BYTES + len(pack) + sum(run[3] for run in headers))
        first_id = self._commit(record)
        self.pushed += count
        self._pushed_level = max(self._pushed_level, level)
        if queue.waiters:
            for batch, waiter in broker.serve(queue):
                assert isinstance(waiter, LocalWait)
                self._append((records.PULL, queue.uid, batch.count))
                self.pulled += batch.count
                self._end(waiter, _results(batch), waiter.level)
        return first_id, level

    def pull(self, name: str, most: int, level: Level | None) -> tuple[Results, Level]:
        """Remove the oldest messages and return them, or `NO_MESSAGES`."""
        queue = self.broker.queue(name)
        level = self._level(queue, level)
        if not queue.fifo.count:
            return NO_MESSAGES, Level.ACCEPTED
        if self._storage.is_full:
            self._check_room(name, _RECORD_BYTES, is_freeing=True)
        batch = self.broker.take(queue, most, self._room_bytes)
        self._append((records.PULL, queue.uid, batch.count))
        self.pulled += batch.count
        return _results(batch), level

    def wait(
        self, name: str, most: int, seconds: float, level: Level | None, on_end: OnEnd
    ) -> LocalWait:
        """Wait for messages of a queue that is empty now; `on_end` is called once."""
        queue = self.broker.queue(name)
        level = self._level(queue, level)
        wait = LocalWait(queue, most, self._room_bytes, level, on_end)
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

    async def snapshot(self) -> Snapshot:
        """Make a snapshot of the state, all that was done before included."""
        return await self._storage.snapshot()

    def stats(self) -> dict[str, Any]:
        """Return the engine's parts of STATS."""
        queues = list(self.broker.queues())
        parts = self._storage.stats()
        if parts["journal"] is not None:
            parts["journal"] = {"durability": self.level.word, **parts["journal"]}
        parts["queues"] = {
            "count": len(queues),
            "ready": sum(queue.fifo.count for queue in queues),
            "bytes": sum(queue.fifo.size_bytes for queue in queues),
            "waiting": sum(len(queue.waiters) for queue in queues),
        }
        return parts

    # Time

    def next_deadline_ms(self) -> int | None:
        """When `expire` has to be called next, on the engine's clock; None for never."""
        return self._deadlines.next_ms()

    def expire(self) -> None:
        """End the waits whose time has run out, by the present turn's clock."""
        while (wait := self._deadlines.pop_due(self._now_ms)) is not None:
            del wait.queue.waiters[wait]
            self._end(wait, NO_MESSAGES)

    # Inside

    def _commit(self, record: Record) -> int:
        """Carry a planned record out: the one place where commands change the state.

        Messages that leave are the exception: `Broker.take` finds out how many and removes
        them in one pass, and its record is appended beside it.
        """
        self._append(record)
        return self.broker.apply(record)

    def _level(self, queue: Queue, asked: Level | None) -> Level:
        """Tell the level of a command on a queue. NO_JOURNAL if it cannot be had."""
        if asked is not None:
            self._check_level(asked)
            return asked
        return self.level if queue.level is None else queue.level

    def _check_level(self, asked: Level) -> None:
        if asked > self._storage.highest_level:
            raise no_journal(f"the level {asked.word}")

    def _check_room(self, name: str, size_bytes: int, *, is_freeing: bool = False) -> None:
        if not self._storage.has_room(size_bytes, is_freeing=is_freeing):
            raise storage_full(name)

    def _info(self, queue: Queue) -> dict[str, Any]:
        info = queue.info(self._now_ms)
        for key in _UNSERVED:
            del info[key]
        info["options"]["durability"] = self._level(queue, None).word
        return info

    def _end(
        self, waiter: LocalWait, outcome: Results | CodedError, level: Level = Level.ACCEPTED
    ) -> None:
        if waiter.deadline is not None:
            self._deadlines.remove(waiter.deadline)
        on_end, waiter.on_end = waiter.on_end, None
        assert on_end is not None, "a wait ends once"
        on_end(outcome, level)


def _results(batch: Batch) -> Results:
    ids = (batch.first_id, batch.count)
    if batch.headers is None:
        return (ids, batch.packs)
    return (ids, batch.packs, {"headers": batch.headers})


def _ignore(_outcome: Results | CodedError, _level: Level) -> None:
    """Stand in for a client that has gone."""
