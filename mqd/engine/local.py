"""The local engine: the broker of `mqd.core` in this process, its records in a `Storage`."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003  the compiled form looks it up
from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Any

from mqd.core.deadlines import earlier
from mqd.engine import steps
from mqd.engine.accounts import LocalAccounts
from mqd.engine.base import (
    NO_MESSAGES,
    Append,
    Each,
    HeaderRuns,
    Needs,
    OnEnd,
    PushOptions,
    Results,
    Snapshot,
    StepDone,
)
from mqd.engine.commits import RECORD_BYTES, Commits
from mqd.engine.deliveries import Deliveries, level_of_lease
from mqd.engine.jobs import LocalJobs
from mqd.engine.looking import Looker
from mqd.engine.statuses import StatusWait
from mqd.engine.views import LocalViews
from mqd.engine.waits import LocalWait, Waits
from mqwire.levels import LEVELS, Level
from mqwire.limits import FRAME_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.engine.base import Settle, Terms, Wait
    from mqd.engine.storage import Storage


@dataclass(frozen=True)
class Settings:
    """How a local engine works.

    Args:
        max_frame_bytes: a reply with messages is made to fit into a frame of this size.
        level: of commands and queues that name none; at most what the storage can promise.
        grace_ms: how long a holder without a connection keeps its leases.
        epoch: which start of the state this is.
        chance: draws a number from 0 up to 1, for the jitter of back-offs.
    """

    max_frame_bytes: int
    level: Level
    grace_ms: int
    epoch: int = 0
    chance: Callable[[], float] = random


class LocalEngine:
    """Carries commands out on a broker of its own. See `mqd.engine.base.Engine`.

    Args:
        broker: the state, as it was restored.
        storage: takes the records that change it.
        now_ms: the clock, in milliseconds since 1970-01-01 UTC, never falling.
        settings: see `Settings`.
    """

    def __init__(
        self,
        broker: Broker,
        storage: Storage,
        now_ms: Callable[[], int],
        settings: Settings,
    ) -> None:
        self.broker = broker
        self.epoch = broker.jobs.epoch = settings.epoch
        self._storage = storage
        self._read_clock = now_ms
        self._room_bytes = settings.max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._commits = Commits(broker, storage, settings.level)
        self.level = self._commits.level
        self._looker = Looker(self._room_bytes)
        self._waits = Waits()
        self._deliveries = Deliveries(broker, self._commits, self._waits)
        self.jobs = LocalJobs(
            broker,
            self._commits,
            self._deliveries,
            room_bytes=self._room_bytes,
            grace_ms=settings.grace_ms,
            chance=settings.chance,
        )
        self._chance = settings.chance
        self._now_ms = now_ms()
        self.views = LocalViews(broker, self._commits, self._room_bytes)
        self.accounts = LocalAccounts(broker, self._commits)
        self._now_ms = self.views.now_ms = self.accounts.now_ms = now_ms()
        self.jobs.begin(self._now_ms)
        self.pushed = 0  # messages, since the start
        self._lsn = 0  # of all records up to the last turn's end
        self._pushed_level = Level.ACCEPTED  # the highest of this turn's pushes
        self._promised: Needs = (0, 0)  # marks of the last pushes at `written` and `synced`

    @property
    def pulled(self) -> int:
        """Messages that were pulled since the start, those under a lease included."""
        return self._deliveries.delivered

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
        now_ms = self._read_clock()
        self._now_ms = self.jobs.now_ms = self.views.now_ms = self.accounts.now_ms = now_ms

    def end_turn(self, level: Level, *, is_alone: bool = False) -> None:
        """Hand on what the turn has changed; `level` is the highest that is waited for."""
        self._lsn = lsn = self._storage.commit(level, is_alone=is_alone)
        pushed = self._pushed_level
        if self.jobs.moved_level:
            pushed = max(pushed, self.jobs.moved_level)
            self.jobs.moved_level = Level.ACCEPTED
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
        written, synced = needs
        storage = self._storage
        return (not written or storage.written_lsn >= written) and (
            not synced or storage.synced_lsn >= synced
        )

    # Commands

    def create(
        self, name: str, options: Mapping[str, Any], *, if_missing: bool
    ) -> tuple[dict[str, Any], Level]:
        """Create a queue and return its info."""
        broker, commits = self.broker, self._commits
        if not (if_missing and name in broker):
            planned = broker.plan_creation(name, options, self._now_ms)
            word = options.get("durability")
            if word is not None:
                commits.check_level(LEVELS[word])
            commits.check_room(name, RECORD_BYTES * len(planned))
            for record in planned:
                commits.commit(record)
        queue = self._used(name)
        return self._info(queue), commits.level_for(queue, None)

    def delete(self, name: str) -> tuple[int, Level]:
        """Delete a queue; those who wait get QUEUE_NOT_FOUND. Returns messages removed."""
        queue, commits = self.broker.queue(name), self._commits
        commits.check_room(name, RECORD_BYTES, is_freeing=True)
        removed = commits.commit(self.broker.plan_delete(name))
        self._waits.end_all(queue)
        return removed, commits.level_for(queue, None)

    def purge(self, name: str) -> tuple[int, Level]:
        """Remove the ready and delayed messages of a queue. Returns how many."""
        queue, commits = self._used(name), self._commits
        commits.check_room(name, RECORD_BYTES, is_freeing=True)
        removed = commits.commit(self.broker.plan_purge(name))
        return removed, commits.level_for(queue, None)

    def pause(self, name: str) -> Level:
        """Let no message of a queue be delivered; it takes pushes as before."""
        return self._switch(name, self.broker.plan_pause(name))

    def resume(self, name: str) -> Level:
        """Let messages of a queue be delivered again, and serve those who wait."""
        return self._switch(name, self.broker.plan_resume(name))

    def _switch(self, name: str, record: Record) -> Level:
        queue, commits = self._used(name), self._commits
        commits.check_room(name, RECORD_BYTES, is_freeing=True)
        commits.commit(record)
        if queue.waiters:
            self._deliveries.serve(queue, self._now_ms)
        return commits.level_for(queue, None)

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
        broker, commits = self.broker, self._commits
        record = broker.plan_push(name, count, pack, headers, self._now_ms)
        queue = broker.queue(name)
        level = commits.level_for(queue, level)
        if self._storage.is_full:
            size_bytes = RECORD_BYTES + len(pack) + sum(run[3] for run in headers)
            commits.check_room(name, size_bytes)
        first_id = commits.commit(record)
        self.pushed += count
        self._pushed_level = max(self._pushed_level, level)
        if queue.waiters:
            self._deliveries.serve(queue, self._now_ms)
        return first_id, level

    def push_with(self, part: Append, level: Level | None) -> tuple[int, bool, Level]:
        """Append messages with options. Returns the first id, and whether it is a repeat."""
        broker, commits = self.broker, self._commits
        queue = broker.queue(part.queue)
        level = commits.level_for(queue, level)
        queue.used_ms = self._now_ms
        record, first_id = steps.plan_push(broker, part, self._now_ms)
        if record is not None:
            if self._storage.is_full:
                commits.check_room(part.queue, RECORD_BYTES + steps.size_bytes(part))
            commits.commit(record)
            self.pushed += part.count
            self._pushed_level = max(self._pushed_level, level)
            if queue.waiters:
                self._deliveries.serve(queue, self._now_ms)
        return first_id, record is None, level

    def push_each(
        self, name: str, bodies: Sequence[bytes], priorities: bytes, delay_ms: int
    ) -> tuple[int, Level] | None:
        """Append messages as pushes of one message each would."""
        queue, pack = self.broker.queue(name), b"".join(bodies)
        if queue.waiters:  # each push would serve them before the next
            return None
        priority = priorities[0]
        if priorities.count(priority) == len(bodies):
            options = PushOptions(None, priority, delay_ms)
            first_id, _, level = self.push_with(Append(name, len(bodies), pack, (), options), None)
            return first_id, level
        commits, due_ms = self._commits, self._now_ms + delay_ms if delay_ms else 0
        record = self.broker.rows.plan_push(queue, pack, priorities, due_ms, self._now_ms)
        level = commits.level_for(queue, None)
        commits.check_room(name, RECORD_BYTES + len(bodies) + len(pack))
        if commits.observer is not None:
            commits.observer.before(record)
        commits.append(record)
        first_id = self.broker.rows.push(record, bodies)
        self.pushed += len(bodies)
        self._pushed_level = max(self._pushed_level, level)
        return first_id, level

    def step(
        self, parts: Sequence[Settle | Append], key: str | None, level: Level | None
    ) -> tuple[StepDone, Level]:
        """Settle leases and push messages, all or nothing."""
        commits = self._commits
        planned = steps.plan_step(self.broker, parts, key, self._now_ms, self._chance)
        if planned.is_repeat:  # its leases are over: which levels they had is not known
            reached = commits.highest if level is None else level
            commits.check_level(reached)
            return StepDone(planned.results, planned.repeats, is_repeat=True), reached
        queues = steps.queues_of(self.broker, parts)
        reached = max(commits.level_for(queue, level) for queue in queues)
        if planned.record is not None:
            pushed = sum(part.count for part in parts if isinstance(part, Append))
            size_bytes = RECORD_BYTES * len(parts) + sum(map(steps.size_bytes, parts))
            commits.check_room(queues[0].name, size_bytes, is_freeing=not pushed)
            commits.commit(planned.record)
            self.pushed += sum(
                part.count
                for index, part in enumerate(parts)
                if isinstance(part, Append) and index not in planned.repeats
            )
            if planned.queues:
                self._pushed_level = max(self._pushed_level, reached)
            for queue in dict.fromkeys((*queues, *planned.queues)):
                queue.used_ms = self._now_ms
                if queue.waiters:
                    self._deliveries.serve(queue, self._now_ms)
        return StepDone(planned.results, planned.repeats, planned.is_repeat), reached

    def pull(self, name: str, most: int, level: Level | None) -> tuple[Results, Level]:
        """Remove the oldest messages and return them, or `NO_MESSAGES`."""
        queue = self.broker.queue(name)
        queue.used_ms = self._now_ms
        level = self._commits.level_for(queue, level)
        if self.jobs.has_overdue(queue) or not queue.available:
            return NO_MESSAGES, Level.ACCEPTED
        if self._storage.is_full:
            self._commits.check_room(name, RECORD_BYTES, is_freeing=True)
        return self._deliveries.take(queue, most, self._room_bytes), level

    def may_pull_each(self, name: str) -> bool:
        """Tell whether `pull_each` would return something now."""
        queue = self.broker.queue(name)
        is_free = queue.available > 0 and queue.max_leased is None and not self._storage.is_full
        return is_free and (queue.held is None or not queue.has_overdue(self._now_ms))

    def pull_each(self, name: str, most: int, room_bytes: int) -> Each | None:
        """Remove messages as pulls of one message each would."""
        if not self.may_pull_each(name):
            return None
        queue = self.broker.queue(name)
        queue.used_ms = self._now_ms
        found = self._deliveries.take_each(queue, most, room_bytes)
        return Each(*found, self._commits.level_for(queue, None))

    def wait(
        self,
        name: str,
        most: int,
        seconds: float,
        level: Level | None,
        terms: Terms | None,
        on_end: OnEnd,
    ) -> LocalWait:
        """Wait for messages of a queue that is empty now; `on_end` is called once."""
        queue = self._used(name)
        reached = self._commits.level_for(queue, level)
        if terms is not None:
            reached = level_of_lease(reached, level)
        wait = LocalWait(queue, most, self._room_bytes, reached, terms, on_end)
        self._waits.add(wait, self._now_ms, seconds)
        return wait

    def wake(self, wait: Wait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""
        return self.views.wake(wait) if isinstance(wait, StatusWait) else self._waits.wake(wait)

    def forget(self, wait: Wait) -> None:
        """Drop a wait whose client has gone: nothing is delivered to it any more."""
        if isinstance(wait, StatusWait):
            self.views.forget(wait)
        else:
            self._waits.forget(wait)

    def peek_one(self, name: str, message_id: int, state: str | None = None) -> Results:
        """Return one message, in whichever state it is, without removing it."""
        return self._looker.peek_one(self._used(name), message_id, state)

    def peek(self, name: str, skip: int, most: int, state: str = "ready") -> Results:
        """Return messages that are in a state, without removing them."""
        return self._looker.peek(self._used(name), state, skip, most)

    async def snapshot(self) -> Snapshot:
        """Make a snapshot of the state, all that was done before included."""
        return await self._storage.snapshot()

    def stats(self) -> dict[str, Any]:
        """Return the engine's parts of STATS."""
        queues = list(self.broker.queues())
        parts = self._storage.stats()
        if parts["journal"] is not None:
            parts["journal"] = {"durability": self.level.word, **parts["journal"]}
        parts["pages"] = None if self.broker.pager is None else self.broker.pager.stats()
        parts["queues"] = {
            "count": len(queues),
            "ready": sum(queue.ready for queue in queues),
            "delayed": sum(queue.delayed for queue in queues),
            "leased": sum(queue.leased for queue in queues),
            "dead": sum(queue.dead for queue in queues),
            "bytes": sum(queue.size_bytes for queue in queues),
            "waiting": sum(len(queue.waiters) for queue in queues),
        }
        return parts

    # Time

    def next_deadline_ms(self) -> int | None:
        """When `expire` has to be called next, on the engine's clock; None for never."""
        due_ms = earlier(self._waits.next_ms(), self.jobs.next_deadline_ms())
        due_ms = earlier(due_ms, self.accounts.next_ms())
        return earlier(due_ms, self.views.next_ms())

    def expire(self) -> None:
        """Carry out what time has brought by the present turn's clock, or a slice of it."""
        self._waits.expire(self._now_ms)
        self.jobs.expire()
        self.views.expire()
        self.accounts.expire()

    def _used(self, name: str) -> Queue:
        """Return the queue of this name, and note that it is in use."""
        queue = self.broker.queue(name)
        queue.used_ms = self._now_ms
        return queue

    def _info(self, queue: Queue) -> dict[str, Any]:
        info = queue.info(self._now_ms)
        info["options"]["durability"] = self._commits.level_for(queue, None).word
        return info
