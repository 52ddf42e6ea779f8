"""Where messages are, as the results of STATUS; and STATUS that waits until they have ended."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from mqd.core.deadlines import Deadline, Deadlines
from mqd.core.errors import queue_not_found
from mqd.core.looking import DEAD, DELAYED, LEASED, READY
from mqd.core.status import Survey
from mqd.engine.owners import described
from mqwire.frames import FrameWriter
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.core.broker import Broker
    from mqd.core.leases import Lease
    from mqd.core.messages import Message
    from mqd.core.queue import Queue
    from mqd.core.results import Outcome
    from mqd.core.status import Status
    from mqd.engine.base import Event, OnEnd, Results
    from mqd.engine.commits import Commits
    from mqd.engine.news import News
    from mqwire.errors import CodedError
    from mqwire.runs import Runs

MAX_STATUSES: Final = 2048
"""In one reply: the loop is to be free again soon. Whoever has asked for more asks again."""

_LIVING: Final = frozenset({READY, DELAYED, LEASED})
_COUNTS: Final = ("deliveries", "attempts", "losses")

_ENDS: Final = frozenset({"acked", "pulled", "dead", "cancelled", "expired", "redriven"})
"""Events after which messages may have come to an end: they are looked at again."""

_SWEEPS: Final = frozenset({"purged"})
"""The same of events that name no messages."""


class StatusWait:
    """A STATUS that waits. See `mqd.engine.base.Wait`.

    Args:
        queue: whose messages.
        ids: all that were asked for.
        on_end: takes the results.
    """

    __slots__ = ("deadline", "ids", "left", "new_ids", "on_end", "queue", "watched")

    def __init__(self, queue: Queue, ids: Runs, on_end: OnEnd) -> None:
        self.queue = queue
        self.ids = ids
        self.on_end: OnEnd | None = on_end
        self.left: set[int] = set()
        """Those that have not come to an end, by what they are called now."""
        self.new_ids: dict[int, int] = {}
        """What those that have come back are called now, by what was asked for: their queue
        may forget it meanwhile."""
        self.deadline: Deadline[StatusWait] | None = None
        self.watched: _Watched | None = None
        """Where it waits; None once it does not any more."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""
        return self.on_end is None


class _Watched:
    """The waits for messages of one queue."""

    __slots__ = ("touched", "waits", "waits_by_id")

    def __init__(self) -> None:
        self.waits: dict[StatusWait, None] = {}
        self.waits_by_id: dict[int, list[StatusWait]] = {}
        self.touched: set[int] = set()  # ids that may have come to an end in this turn


class Statuses:
    """Answers STATUS.

    Args:
        broker: the state.
        commits: knows the levels of queues.
        news: what happens.
        room_bytes: how large a reply may be.
    """

    def __init__(self, broker: Broker, commits: Commits, news: News, room_bytes: int) -> None:
        self.now_ms = 0
        """The present turn's time."""
        self._broker = broker
        self._commits = commits
        self._news = news
        self._room_bytes = room_bytes
        self._pack = FrameWriter().pack
        self._watched: dict[str, _Watched] = {}
        self._deadlines: Deadlines[StatusWait] = Deadlines()
        self._deleted: list[_Watched] = []

    def statuses(
        self, queue: Queue, ids: Runs, new_ids: Mapping[int, int] | None = None
    ) -> tuple[dict[str, Any], ...]:
        """Describe messages in the order of `ids`, as many as a reply has room for.

        The first is described in any case. `new_ids` has what some of them are known to be
        called now.
        """
        new_ids = new_ids or {}
        survey = self._survey(queue)
        found: list[dict[str, Any]] = []
        left = self._room_bytes
        for message_id in ids_of(ids):
            new_id = new_ids.get(message_id, 0)
            status = survey.find(new_id or message_id)
            if new_id and not status.new_id:
                status = status._replace(new_id=new_id)
            entry = _described(message_id, status, queue.name)
            left -= len(self._pack(entry))
            if found and left < 0:
                break
            found.append(entry)
            if len(found) == MAX_STATUSES:
                break
        return tuple(found)

    def wait(self, queue: Queue, ids: Runs, seconds: float, on_end: OnEnd) -> StatusWait | None:
        """Wait until messages have come to an end; None if they have already."""
        wait = StatusWait(queue, ids, on_end)
        survey = self._survey(queue)
        for each in ids_of(ids):
            status = survey.find(each)
            if status.new_id:
                wait.new_ids[each] = status.new_id
            if status.state in _LIVING:
                wait.left.add(status.new_id or each)
        if not wait.left:
            return None
        watched = self._watched.get(queue.name)
        if watched is None:
            watched = self._watched[queue.name] = _Watched()
            self._listen()
        wait.watched = watched
        watched.waits[wait] = None
        for message_id in wait.left:
            watched.waits_by_id.setdefault(message_id, []).append(wait)
        wait.deadline = self._deadlines.add(self.now_ms + ceil(1000 * seconds) + 1, wait)
        return wait

    def wake(self, wait: StatusWait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""
        if wait.is_over:
            return False
        self._end(wait)
        return True

    def forget(self, wait: StatusWait) -> None:
        """Drop a wait whose client has gone."""
        if not wait.is_over:
            self._remove(wait)
            wait.on_end = None

    def next_ms(self) -> int | None:
        """When the next wait ends by time; None for never."""
        return self._deadlines.next_ms()

    def expire(self) -> None:
        """End the waits whose time has run out."""
        while (wait := self._deadlines.pop_due(self.now_ms)) is not None:
            self._end(wait)

    # As one who listens to the news

    def wants(self, name: str) -> bool:
        """Tell whether somebody waits for messages of a queue."""
        return name in self._watched

    def note(self, event: Event) -> None:
        """Take note of messages that may come to an end."""
        watched = self._watched[event.name]
        if event.kind in _ENDS:
            awaited = watched.waits_by_id
            if sum(event.ids[1::2]) > len(awaited):
                watched.touched.update(awaited)
            else:
                watched.touched.update(awaited.keys() & set(ids_of(event.ids)))
        elif event.kind in _SWEEPS:
            watched.touched.update(watched.waits_by_id)
        elif event.kind == "deleted":
            self._deleted.append(self._watched.pop(event.name))
            self._listen()

    def tell(self) -> None:
        """End the waits for messages that have all come to an end in this turn."""
        deleted, self._deleted = self._deleted, []
        for watched in deleted:
            for wait in list(watched.waits):
                self._remove(wait)
                self._close(wait, queue_not_found(wait.queue.name))
        if deleted:
            self._listen()
        for watched in list(self._watched.values()):
            if watched.touched:
                self._look_at(watched)

    def _look_at(self, watched: _Watched) -> None:
        touched, watched.touched = watched.touched, set()
        queue = next(iter(watched.waits)).queue
        survey = self._survey(queue)
        ended = [each for each in touched if _has_ended(survey.find(each))]
        over: dict[StatusWait, None] = {}
        for message_id in ended:
            for wait in watched.waits_by_id.pop(message_id, ()):
                wait.left.discard(message_id)
                if not wait.left:
                    over[wait] = None
        for wait in over:
            self._end(wait)

    def _survey(self, queue: Queue) -> Survey:
        name = queue.dead_letter
        target = self._broker.queue(name) if name is not None and name in self._broker else None
        return Survey(queue, target, self.now_ms)

    def _end(self, wait: StatusWait) -> None:
        self._remove(wait)
        self._close(wait, (self.statuses(wait.queue, wait.ids, wait.new_ids),))

    def _close(self, wait: StatusWait, outcome: Results | CodedError) -> None:
        on_end, wait.on_end = wait.on_end, None
        assert on_end is not None, "a wait ends once"
        on_end(outcome, self._commits.level_for(wait.queue, None))

    def _remove(self, wait: StatusWait) -> None:
        """Take a wait out of where it waits."""
        watched, wait.watched = wait.watched, None
        assert watched is not None, "a wait ends once"
        del watched.waits[wait]
        assert wait.deadline is not None, "as above"
        self._deadlines.remove(wait.deadline)
        for message_id in wait.left:
            others = watched.waits_by_id[message_id]
            others.remove(wait)
            if not others:
                del watched.waits_by_id[message_id]
        name = wait.queue.name
        if not watched.waits and self._watched.get(name) is watched:
            del self._watched[name]
            self._listen()

    def _listen(self) -> None:
        """Listen to the news as far as there is need."""
        self._news.remove(self)
        if self._watched or self._deleted:
            self._news.add(self)


def _has_ended(status: Status) -> bool:
    """Tell whether what was waited for by an id has ended. What has another one by now has."""
    return status.state not in _LIVING or bool(status.new_id)


def _described(message_id: int, status: Status, name: str) -> dict[str, Any]:
    """Return what the wire has of the status of a message of the queue `name`."""
    entry: dict[str, Any] = {"id": message_id, "state": status.state}
    if status.new_id:
        message_id = status.new_id
        entry["moved_to"] = {"queue": name, "id": message_id}
    if status.position is not None:
        entry["position"] = status.position
    if status.outcome is not None:
        _add_outcome(entry, status.outcome)
        return entry
    if status.due_ms:
        entry["due_at"] = status.due_ms / 1000
    if status.message is not None:
        _add_message(entry, status.message, status)
    elif status.state in _LIVING:
        entry.update(deliveries=int(status.state == LEASED), attempts=0, losses=0)
    if status.lease is not None:
        _add_lease(entry, status.lease, message_id)
        if message_id in (status.lease.cancelled or ()):
            entry["is_cancelled"] = True
    return entry


def _add_message(entry: dict[str, Any], message: Message, status: Status) -> None:
    entry.update((name, getattr(message, name)) for name in _COUNTS)
    if status.moved_to is not None:
        entry["moved_to"] = {"queue": status.moved_to, "id": message.message_id}
        origin = message.origin
        assert origin is not None, "that is how it was found"
        entry["attempts"], entry["losses"] = origin.attempts, origin.losses
    if status.state == DEAD and message.history:
        last = message.history[-1]
        entry.update(cause=last.cause, error=last.reason, ended_at=last.ended_ms / 1000)


def _add_outcome(entry: dict[str, Any], outcome: Outcome) -> None:
    entry.update((name, getattr(outcome, name)) for name in _COUNTS)
    entry["ended_at"] = outcome.at_ms / 1000
    if outcome.state == DEAD:
        entry["cause"], entry["error"] = outcome.cause, outcome.result
    elif outcome.cause:
        entry["cause"] = outcome.cause
    elif outcome.result is not None:
        entry["result"] = outcome.result
    if outcome.moved_to is not None:
        queue, message_id = outcome.moved_to
        entry["moved_to"] = {"queue": queue, "id": message_id}


def _add_lease(entry: dict[str, Any], lease: Lease, message_id: int) -> None:
    entry["lease"] = (lease.epoch, lease.seq)
    entry.update(described(lease.owner))
    entry["leased_at"] = lease.leased_ms / 1000
    entry["deadline_at"] = lease.deadline_of(message_id) / 1000
