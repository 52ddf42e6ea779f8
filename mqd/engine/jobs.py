"""Job life in the local engine: leases, what becomes of them, and who holds them."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from mqd.core import job_records, order_records, records, step_records
from mqd.core.dead_letters import Wanted
from mqd.core.deadlines import earlier
from mqd.core.leases import is_detached
from mqd.engine.base import NO_MESSAGES
from mqd.engine.commits import LEASE_RECORD_BYTES, RECORD_BYTES
from mqd.engine.deliveries import level_of_lease
from mqd.engine.owners import described
from mqd.engine.presence import Presence
from mqwire import causes
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.limits import MAX_HOLDERS_ENTRIES
from mqwire.runs import ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mqd.core.broker import Broker
    from mqd.core.leases import Claim, Lease
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.engine.base import GiveBack, Results, Terms
    from mqd.engine.commits import Commits
    from mqd.engine.deliveries import Deliveries
    from mqwire.runs import Runs

SLICE: Final = 250
"""About how many messages time may move in one turn: the loop is to be free again soon."""

GONE_REASON: Final = "it had no connection for longer than its grace"
"""What the history says of a holder that went away."""

_DESCRIBED_BYTES: Final = 160
"""More than what HOLDERS tells of a lease takes beside its texts."""

_MOST_DESCRIBED_BYTES: Final = 4096
"""More than that takes with the longest texts."""

_RETRY_MS: Final = 1000
"""How long a full disk is left alone before what time brings is tried again."""


class LocalJobs:
    """See `mqd.engine.base.JobEngine`.

    Args:
        broker: the state, as it was restored.
        commits: the way to change it.
        deliveries: hands out messages.
        room_bytes: how large the messages of one reply may be together.
        grace_ms: how long a holder without a connection keeps its leases.
        chance: draws a number from 0 up to 1, for the jitter of back-offs.
    """

    def __init__(
        self,
        broker: Broker,
        commits: Commits,
        deliveries: Deliveries,
        *,
        room_bytes: int,
        grace_ms: int,
        chance: Callable[[], float],
    ) -> None:
        self.now_ms = 0
        """The present turn's time."""
        self.moved_level = Level.ACCEPTED
        """The highest of those at which messages came to other queues in this turn: like a
        push, that is what whoever is shown them waits for."""
        self._broker = broker
        self._jobs = broker.jobs
        self._commits = commits
        self._deliveries = deliveries
        self._room_bytes = room_bytes
        self._grace_ms = grace_ms
        self._chance = chance
        self._presence = Presence()
        self._not_before_ms = 0  # a full disk is left alone until then

    def begin(self, now_ms: int) -> None:
        """Take note of who held leases when the server was started: now they are away.

        None of their leases runs out before they have had their grace to come back: the time
        while the server was down was not the worker's fault.
        """
        self.now_ms = now_ms
        self._jobs.started_ms = now_ms
        gone_ms = now_ms + self._grace_ms
        self._jobs.hold_leases(gone_ms)
        for lease in self._jobs.leases():
            if not is_detached(lease.owner):
                self._presence.miss(lease.who, gone_ms)

    # Commands

    def lease(
        self, name: str, most: int, terms: Terms, level: Level | None
    ) -> tuple[Results, Level]:
        """Put the first ready messages under a lease; `NO_MESSAGES` if there are none."""
        queue = self._broker.queue(name)
        queue.used_ms = self.now_ms
        reached = level_of_lease(self._commits.level_for(queue, level), level)
        if self.has_overdue(queue) or not queue.available:
            return NO_MESSAGES, Level.ACCEPTED
        outside = min(most, queue.ready - queue.fifo.count)  # each may be a run of its own
        self._commits.check_room(name, LEASE_RECORD_BYTES + 20 * outside, is_freeing=True)
        found = self._deliveries.lease(queue, most, self._room_bytes, terms, self.now_ms)
        return found, reached

    def lease_each(
        self, name: str, most: int, terms: Terms, times: int, room_bytes: int
    ) -> tuple[list[Results], Level]:
        """Give leases as so many calls of `lease` would."""
        queue, commits = self._broker.queue(name), self._commits
        if commits.is_full or self.has_overdue(queue) or not queue.available:
            return [], Level.ACCEPTED
        queue.used_ms = self.now_ms
        found: list[Results] = []
        while len(found) < times and room_bytes > 0 and queue.available:
            results = self._deliveries.lease(queue, most, self._room_bytes, terms, self.now_ms)
            room_bytes -= sum(map(len, results[1]))
            found.append(results)
        return found, level_of_lease(commits.level_for(queue, None), None)

    def ack_each(self, claims: Sequence[tuple[int, int]], who: str) -> tuple[list[int], Level]:
        """Let whole leases be done as so many calls of `ack` would."""
        commits, find, finish = self._commits, self._jobs.lease_of, self._jobs.finish
        if commits.is_full or commits.observer is not None:
            return [], Level.ACCEPTED
        counts: list[int] = []
        made: list[Record] = []
        queue = None
        try:
            for epoch, seq in claims:
                lease = find((epoch, seq, (), who))
                if lease.queue is not queue:
                    if queue is not None or lease.queue.kept is not None or lease.queue.waiters:
                        break
                    queue = lease.queue
                counts.append(lease.count)
                made.append(finish(lease, ()))
        except CodedError:
            pass  # who asks for that one by itself is told why not
        if queue is None:
            return [], Level.ACCEPTED
        queue.used_ms = self.now_ms
        commits.append((step_records.STEP, tuple(made)))
        return counts, commits.level_for(queue, None)

    def ack(
        self, claim: Claim, level: Level | None, result: bytes | str | None = None
    ) -> tuple[int, Level]:
        """Let leased messages be done; returns how many."""
        lease, commits = self._jobs.lease_of(claim), self._commits
        queue = lease.queue
        queue.used_ms = self.now_ms
        level = commits.level_for(queue, level)
        size_bytes = RECORD_BYTES + _size_of_ids(lease, claim[2])
        if result is not None:
            size_bytes += 4 * len(result)
        commits.check_room(queue.name, size_bytes, is_freeing=True)
        before = queue.leased
        if commits.observer is None:
            commits.append(self._jobs.finish(lease, claim[2], self.now_ms, result))
        else:
            commits.commit(self._jobs.plan_ack(claim, self.now_ms, result))
        count = before - queue.leased
        if queue.waiters:  # they may have waited for room under the queue's cap
            self._deliveries.serve(queue, self.now_ms)
        return count, level

    def give_back(self, claim: Claim, how: GiveBack, level: Level | None) -> tuple[int, Level]:
        """Let leased messages go on otherwise than by being done; returns how many."""
        lease = self._jobs.lease_of(claim)
        queue = lease.queue
        queue.used_ms = self.now_ms
        level = self._commits.level_for(queue, level)
        size_bytes = RECORD_BYTES + 4 * len(how.reason) + _size_of_ids(lease, claim[2])
        self._commits.check_room(queue.name, size_bytes, is_freeing=True)
        return self._move(self._plan(claim, how), level), level

    def _plan(self, claim: Claim, how: GiveBack) -> Record:
        jobs, now_ms, reason = self._jobs, self.now_ms, how.reason
        if how.cause == causes.HAND_BACK:
            return jobs.plan_hand_back(claim, now_ms, reason=reason)
        if how.cause == causes.REJECT:
            return jobs.plan_reject(claim, now_ms, reason=reason)
        if how.cause == causes.GONE:
            return jobs.plan_lost(claim, now_ms, reason=reason)
        chance = self._chance() if how.delay_ms is None else 0.0
        return jobs.plan_nack(claim, now_ms, reason=reason, delay_ms=how.delay_ms, chance=chance)

    def extend(self, claim: Claim, lease_ms: int) -> Level:
        """Let a lease, or messages of it, end so long from now."""
        lease = self._jobs.lease_of(claim)
        queue = lease.queue
        queue.used_ms = self.now_ms
        size_bytes = RECORD_BYTES + 10 * len(claim[2])
        self._commits.check_room(queue.name, size_bytes, is_freeing=True)
        self._commits.commit(self._jobs.plan_extend(claim, self.now_ms + lease_ms, self.now_ms))
        return level_of_lease(self._commits.level_for(queue, None), None)

    def cancelled(self, claim: Claim) -> Runs:
        """Tell which messages of a lease were cancelled, as runs of ids."""
        return runs_of(sorted(self._jobs.lease_of(claim).cancelled or ()))

    def redrive(
        self, name: str, most: int, ids: Runs, cause: str | None = None, origin: str | None = None
    ) -> tuple[int, Level]:
        """Let dead messages be tried again; returns how many."""
        queue = self._broker.queue(name)
        queue.used_ms = self.now_ms
        chosen = runs_of(sorted(set(ids_of(ids))))
        planned, count = self._jobs.plan_redrive(
            queue, self.now_ms, most, chosen, Wanted(cause, origin)
        )
        self._commits.check_room(name, RECORD_BYTES * (1 + len(planned)))
        level = self._commits.level_for(queue, None)
        for record in planned:
            self._move(record, level)
        return count, level

    def purge_dead(self, name: str) -> tuple[int, Level]:
        """Remove the dead messages of a queue; returns how many."""
        queue = self._broker.queue(name)
        queue.used_ms = self.now_ms
        self._commits.check_room(name, RECORD_BYTES, is_freeing=True)
        removed = self._commits.commit(self._jobs.plan_purge_dead(queue))
        return removed, self._commits.level_for(queue, None)

    def holders(self, pattern: str, most: int) -> list[dict[str, Any]]:
        """Describe leases on the queues whose names fit, the oldest first."""
        found: list[dict[str, Any]] = []
        room_bytes = self._room_bytes
        most = min(most, MAX_HOLDERS_ENTRIES)
        queues = [queue for queue in self._broker.queues(pattern) if queue.leases]
        leases = merge(*(queue.leases.values() for queue in queues), key=attrgetter("seq"))
        for lease in islice(leases, most):
            if room_bytes < _MOST_DESCRIBED_BYTES:
                break
            entry = self._describe(lease)
            room_bytes -= _DESCRIBED_BYTES + sum(
                len(value.encode()) for value in entry.values() if isinstance(value, str)
            )
            found.append(entry)
        return found

    def _describe(self, lease: Lease) -> dict[str, Any]:
        return {
            "queue": lease.queue.name,
            "lease": (lease.epoch, lease.seq),
            "count": lease.count,
            **described(lease.owner),
            "is_connected": self._presence.is_there(lease.who),
            "leased_at": lease.leased_ms / 1000,
            "deadline_at": lease.next_ms / 1000,
        }

    # Who is there

    def newest_seq(self) -> int:
        """Return the number of the newest lease that there was."""
        return self._jobs.newest_seq

    def holds(self, who: str, newest_seq: int | None = None) -> bool:
        """Tell whether a holder has any lease, or any that is no newer than this."""
        return self._jobs.holds(who, newest_seq)

    def arrive(self, who: str) -> None:
        """Note that a holder has one more connection."""
        self._presence.arrive(who)

    def leave(self, who: str, *, has_grace: bool, is_detached: bool = False) -> None:
        """Note that a holder has one connection less."""
        grace_ms = self._grace_ms if has_grace else 0
        self._presence.leave(who, None if is_detached else self.now_ms + grace_ms)
        if not self._jobs.holds(who) and not self._presence.is_there(who):
            self._presence.close(who)

    # Time

    def next_deadline_ms(self) -> int | None:
        """When `expire` has something to do; None for never."""
        due_ms = earlier(self._jobs.next_deadline_ms(), self._presence.next_ms())
        due_ms = earlier(due_ms, self._broker.view.next_ms())
        due_ms = earlier(due_ms, self._broker.keys.next_ms())
        return None if due_ms is None else max(due_ms, self._not_before_ms)

    def expire(self) -> None:
        """Carry out what time has brought, a slice of it."""
        if self.now_ms < self._not_before_ms:
            return
        self._broker.view.forget(self.now_ms, SLICE)
        self._broker.keys.forget(self.now_ms, 4 * SLICE)
        try:
            for record in self._planned():
                queue = self._broker.queue_of(record[1])
                self._commits.check_room(queue.name, RECORD_BYTES, is_freeing=True)
                self._move(record, min(self._commits.level_for(queue, None), Level.WRITTEN))
        except CodedError:
            self._not_before_ms = self.now_ms + _RETRY_MS

    def has_overdue(self, queue: Queue) -> bool:
        """Let go what has waited too long in a queue, a slice of it; tells whether there is more.

        To be asked before something is delivered. Time does this by itself; but where the server
        itself was held up, requests come before what was due.
        """
        if queue.held is None or not queue.has_overdue(self.now_ms):
            return False
        self._commits.check_room(queue.name, RECORD_BYTES, is_freeing=True)
        level = min(self._commits.level_for(queue, None), Level.WRITTEN)
        self._move(self._jobs.plan_overdue(queue, self.now_ms, SLICE), level)
        return queue.has_overdue(self.now_ms)

    def _planned(self) -> Iterator[Record]:
        jobs, now_ms = self._jobs, self.now_ms
        who = self._presence.due(now_ms)
        if who is not None:
            yield from jobs.plan_gone(who, now_ms, SLICE, reason=GONE_REASON)
            if not jobs.holds(who):
                self._presence.close(who)
            return
        yield from jobs.plan_expiry(now_ms, SLICE)

    def _move(self, record: Record, level: Level) -> int:
        """Carry out what makes messages ready, and serve those who wait; returns how many."""
        count = self._commits.commit(record)
        for queue in self._woken(record):
            if queue.uid != record[1]:
                self.moved_level = max(self.moved_level, level)
            if queue.waiters:
                self._deliveries.serve(queue, self.now_ms)
        return count

    def _woken(self, record: Record) -> Iterator[Queue]:
        """Yield the queues in which a record may have made messages ready."""
        broker, kind = self._broker, record[0]
        if kind == records.DELETE:
            return
        if kind == job_records.REDRIVE:
            yield broker.queue_of(record[3])
            return
        yield broker.queue_of(record[1])
        parts_at = _PARTS_AT.get(kind)
        for place, _, uid in () if parts_at is None else record[parts_at]:
            if place in _MOVED:
                yield broker.queue_of(uid)


_PARTS_AT: Final = {job_records.RETURN: 7, order_records.EXPIRE: 3}
"""Where the records have their parts that may carry messages to another queue."""

_MOVED: Final = frozenset({job_records.MOVED, order_records.OLD_MOVED})


def _size_of_ids(lease: Lease, ids: Runs) -> int:
    """Tell about how large the ids of a settlement make its record, in bytes."""
    return 10 * len(ids) if ids else 20 * len(lease.loose or ())
