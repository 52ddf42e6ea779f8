"""What happens, told to those who want to know: the source of WATCH, and of STATUS that waits.

Nothing is noted while nobody wants to know: `Commits.observer` is None then, which is one
test for a command. Otherwise events are noted as records are made, while the state that
they change is still there to be asked, and told at the end of the turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.core import job_records, order_records, records, step_records, view_records
from mqd.core.leases import identity_of
from mqd.core.messages import Message
from mqd.engine.base import Event
from mqwire import causes
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.broker import Broker
    from mqd.core.leases import Lease
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.engine.base import Listener
    from mqd.engine.commits import Commits
    from mqwire.runs import Runs

MAX_TOLD_REASON_CHARS: Final = 256
"""Of a reason, in an event; PEEK shows it whole."""

_KINDS_BY_CAUSE: Final = {
    causes.NACK: "nacked",
    causes.REJECT: "rejected",
    causes.HAND_BACK: "handed_back",
    causes.EXPIRED: "lost",
    causes.GONE: "lost",
}


class News:
    """Notes events and hands them to those who listen.

    Args:
        broker: the state.
        commits: its way to change, which is listened to.
    """

    def __init__(self, broker: Broker, commits: Commits) -> None:
        self.now_ms = 0
        """The present turn's time."""
        self._broker = broker
        self._commits = commits
        self._listeners: dict[Listener, None] = {}
        self._listeners_by_name: dict[str, list[Listener]] = {}
        self._makers: dict[int, Callable[..., None]] = {
            records.CREATE: self._created,
            records.DELETE: self._deleted,
            records.PUSH: self._pushed,
            order_records.PUSH_WITH: self._pushed,
            order_records.PUSH_EACH: self._pushed,
            order_records.EXPIRE: self._expired,
            order_records.PAUSE: self._paused,
            order_records.RESUME: self._resumed,
            step_records.KEYED_PUSH: lambda *fields: self.before(fields[-1]),
            step_records.STEP: self._stepped,
            step_records.KEYED_STEP: self._stepped,
            records.PURGE: self._purged,
            job_records.ACK: self._acked,
            view_records.DONE: self._acked,
            job_records.RETURN: self._returned,
            job_records.READY: self._woken,
            job_records.REDRIVE: self._redriven,
            job_records.PURGE_DEAD: self._purged_dead,
            view_records.CANCEL: self._cancelled,
            view_records.MARK: self._marked,
        }

    def add(self, listener: Listener) -> None:
        """Let somebody listen."""
        self._listeners[listener] = None
        self._listeners_by_name.clear()
        self._commits.observer = self

    def remove(self, listener: Listener) -> None:
        """Let somebody listen no longer; nothing happens to one who did not."""
        self._listeners.pop(listener, None)
        self._listeners_by_name.clear()
        if not self._listeners:
            self._commits.observer = None

    def tell(self) -> None:
        """The turn is about to end: let everybody pass on what they have noted."""
        for listener in list(self._listeners):
            listener.tell()

    def before(self, record: Record) -> None:
        """Note what a record is about to change."""
        maker = self._makers.get(record[0])
        if maker is not None:
            maker(*record[1:])

    def pulled(self, queue: Queue, ids: Runs) -> None:
        """Note that messages have been taken."""
        if self._wanting(queue.name):
            self._note("pulled", queue, ids)

    def leased(self, queue: Queue, record: Record) -> None:
        """Note that messages have come under a lease."""
        if not self._wanting(queue.name):
            return
        _, _, epoch, seq, _, deadline_ms, owner, _, ids = record
        more = {
            "lease": (epoch, seq),
            "holder": identity_of(owner),
            "deadline_at": deadline_ms / 1000,
        }
        self._note("leased", queue, ids, more)

    def _wanting(self, name: str) -> list[Listener]:
        found = self._listeners_by_name.get(name)
        if found is None:
            found = [listener for listener in self._listeners if listener.wants(name)]
            self._listeners_by_name[name] = found
        return found

    def _note(
        self, kind: str, queue: Queue, ids: Runs = (), more: dict[str, Any] | None = None
    ) -> None:
        level = self._commits.level_for(queue, None)
        event = Event(kind, queue.name, ids, {} if more is None else more, self.now_ms, level)
        for listener in self._wanting(queue.name):
            listener.note(event)

    # What records say

    def _created(self, _uid: int, name: str, _options: dict[str, Any], _now_ms: int) -> None:
        event = Event("created", name, (), {}, self.now_ms, self._commits.level)
        for listener in self._wanting(name):
            listener.note(event)

    def _deleted(self, uid: int) -> None:
        queue = self._broker.queue_of(uid)
        self._note("deleted", queue, (), {"count": queue.fifo.count + queue.outside})
        self._listeners_by_name.pop(queue.name, None)

    def _pushed(self, uid: int, first_id: int, count: int, *_: Any) -> None:
        self._note("pushed", self._broker.queue_of(uid), (first_id, count))

    def _purged(self, uid: int) -> None:
        queue = self._broker.queue_of(uid)
        self._note("purged", queue, (), {"count": queue.ready + queue.delayed, "state": "waiting"})

    def _purged_dead(self, uid: int) -> None:
        queue = self._broker.queue_of(uid)
        self._note("purged", queue, (), {"count": queue.dead, "state": "dead"})

    def _acked(self, uid: int, _epoch: int, seq: int, ids: Runs, *_: Any) -> None:
        queue = self._broker.queue_of(uid)
        if self._wanting(queue.name):
            lease = queue.leases[seq]
            self._note("acked", queue, ids or lease.ids(), _held(lease))

    def _returned(
        self,
        uid: int,
        _epoch: int,
        seq: int,
        cause: str,
        reason: str,
        _now_ms: int,
        parts: tuple[tuple[int, Runs, int], ...],
    ) -> None:
        queue = self._broker.queue_of(uid)
        if not self._wanting(queue.name):
            return
        more = _held(queue.leases[seq])
        more["cause"], more["reason"] = cause, reason[:MAX_TOLD_REASON_CHARS]
        kind = _KINDS_BY_CAUSE[cause]
        for place, ids, rest in parts:
            beside = {"due_at": rest / 1000} if place == job_records.DELAYED else {}
            self._note(kind, queue, ids, {**more, **beside})
        self._ended(queue, parts, more)

    def _ended(
        self, queue: Queue, parts: tuple[tuple[int, Runs, int], ...], more: dict[str, Any]
    ) -> None:
        """Note what is not tried again, and what has waited too long."""
        for place, ids, rest in parts:
            if place in _DEATHS:
                more = {**more, **_DEATHS[place]}
                if place in _MOVES:
                    more["moved_to"] = self._broker.queue_of(rest).name
                self._note("dead", queue, ids, more)
            elif place == order_records.DROPPED:
                self._note("expired", queue, ids, dict(more))
            elif place == job_records.CANCELLED:
                self._note("cancelled", queue, ids, dict(more))

    def _cancelled(self, uid: int, ids: Runs, _now_ms: int) -> None:
        self._note("cancelled", self._broker.queue_of(uid), ids)

    def _marked(self, uid: int, seq: int, ids: Runs) -> None:
        queue = self._broker.queue_of(uid)
        self._note("cancelling", queue, ids, _held(queue.leases[seq]))

    def _expired(
        self, uid: int, numbers: Runs, parts: tuple[tuple[int, Runs, int], ...], _now_ms: int
    ) -> None:
        queue = self._broker.queue_of(uid)
        if not self._wanting(queue.name):
            return
        if parts:
            self._ended(queue, parts, {})
        else:
            self._note("expired", queue, _ids_behind(queue, numbers))

    def _paused(self, uid: int) -> None:
        self._note("paused", self._broker.queue_of(uid))

    def _resumed(self, uid: int) -> None:
        self._note("resumed", self._broker.queue_of(uid))

    def _stepped(self, *fields: Any) -> None:
        for record in fields[-1]:
            self.before(record)

    def _woken(self, uid: int, numbers: Runs) -> None:
        queue = self._broker.queue_of(uid)
        if self._wanting(queue.name):
            self._note("ready", queue, _ids_behind(queue, numbers))

    def _redriven(self, uid: int, ids: Runs, target_uid: int, _now_ms: int) -> None:
        more = {} if uid == target_uid else {"moved_to": self._broker.queue_of(target_uid).name}
        self._note("redriven", self._broker.queue_of(uid), ids, more)


_DEATHS: Final[dict[int, dict[str, str]]] = {
    job_records.DEAD: {},
    job_records.MOVED: {},
    order_records.OLD_DEAD: {"cause": causes.TTL},
    order_records.OLD_MOVED: {"cause": causes.TTL},
}
"""Places of messages that are not tried again, and what is to be said of why."""

_MOVES: Final = frozenset({job_records.MOVED, order_records.OLD_MOVED})


def _ids_behind(queue: Queue, numbers: Runs) -> Runs:
    """Return the ids of what is delayed or ready in a queue under numbers of `Held`."""
    ids: list[int] = []
    held = queue.hold()
    for number in ids_of(numbers):
        found = held.find(number)
        first, count = (number, 1) if isinstance(found, Message) else found[:2]
        if ids and ids[-2] + ids[-1] == first:
            ids[-1] += count
        else:
            ids += (first, count)
    return tuple(ids)


def _held(lease: Lease) -> dict[str, Any]:
    return {"lease": (lease.epoch, lease.seq), "holder": lease.who}
