"""Where messages are, by their ids: in which state, and what is known of them. Pure.

Complexity: as `mqd.core.finding` for what lies in packs and parcels, and as
`mqd.core.whereabouts` for what is leased; messages with objects are found by hash. A position
among what does not lie in packs is sorted out once for a survey, where that is not too much.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.core.finding import Parcels, Ranks
from mqd.core.lanes import rank_of
from mqd.core.looking import DEAD, DELAYED, LEASED, READY
from mqd.core.messages import Message
from mqd.core.results import GONE

if TYPE_CHECKING:
    from mqd.core.leases import Lease
    from mqd.core.queue import Queue
    from mqd.core.results import Outcome

UNKNOWN: Final = "unknown"

MAX_COUNTED: Final = 20_000
"""Returned messages and parcels among which positions are counted; where there are more, none
is told."""

MAX_SEARCHED: Final = 20_000
"""Messages of a dead-letter queue that are looked through for where others have gone."""


class Status(NamedTuple):
    """Where a message is."""

    state: str
    """READY, DELAYED, LEASED or DEAD, while its queue holds it; what its `Outcome` says, GONE
    where there is none; UNKNOWN where its id was never given."""
    position: int | None = None
    """Of a ready one: how many are delivered before it, if that can be told."""
    message: Message | None = None
    """What is known of it where it is, or in the queue that it has moved to; None where it
    was never given back."""
    lease: Lease | None = None
    outcome: Outcome | None = None
    moved_to: str | None = None
    """The queue where it is, as `message`, if that is another one."""
    due_ms: int = 0
    """When it becomes ready, where it is delayed."""
    new_id: int = 0
    """What it is called in its queue now, if it has come back from a dead-letter queue."""


_NEVER: Final = Status(UNKNOWN)
_GONE: Final = Status(GONE)


class Survey:
    """Looks for messages of one queue. The queue must not change meanwhile.

    Args:
        queue: whose.
        target: its dead-letter queue, if that is there.
        now_ms: when.
    """

    def __init__(self, queue: Queue, target: Queue | None, now_ms: int) -> None:
        self._queue = queue
        self._target = target
        self._now_ms = now_ms
        self._ranks = Ranks(queue.fifo)
        self._places: list[int] = []  # the ranks of what is ready and not in packs, ascending
        self._counts: list[int] = []  # how many messages are before each, and in all
        self._parcels = Parcels(queue)
        self._moved: dict[int, Message] | None = None  # by what they were called here

    def find(self, message_id: int) -> Status:
        """Tell where a message is, by whatever name it has come back."""
        found, new_id = self._find(message_id), 0
        while found.outcome is not None and found.outcome.moved_to is not None:
            name, moved_id = found.outcome.moved_to
            if name != self._queue.name:
                break
            found, new_id = self._find(moved_id), moved_id  # a higher one each time
        return found._replace(new_id=new_id) if new_id else found

    def _find(self, message_id: int) -> Status:
        queue = self._queue
        if not 0 < message_id < queue.fifo.next_id:
            return _NEVER
        held = queue.held
        if held is not None:
            for state, messages in ((DELAYED, held.delayed), (DEAD, held.dead)):
                message = messages.get(message_id)
                if message is not None:
                    return Status(state, message=message, due_ms=message.due_ms)
            message = held.ready.get(message_id)
            if message is not None:
                position = self._position(rank_of(message.priority, message_id))
                return Status(READY, position, message)
        if self._ranks.holds(message_id):
            return Status(READY, self._position(message_id))
        if queue.leased:
            lease = queue.where.find(message_id)
            if lease is not None:
                return Status(LEASED, message=(lease.loose or {}).get(message_id), lease=lease)
        return self._in_parcel(message_id) or self._departed(message_id)

    def _departed(self, message_id: int) -> Status:
        """Tell what has become of a message that the queue does not hold."""
        kept = self._queue.kept
        outcome = None if kept is None else kept.get(message_id, self._now_ms)
        if outcome is not None:
            return Status(outcome.state, outcome=outcome)
        target = self._target
        if target is None or target.held is None:
            return _GONE
        if self._moved is None:
            self._moved = _moved_from(self._queue.name, target)
        message = self._moved.get(message_id)
        if message is None:
            return _GONE
        return Status(DEAD, message=message, moved_to=target.name)

    def _in_parcel(self, message_id: int) -> Status | None:
        parcels = self._parcels
        key = parcels.key_of(message_id)
        if not key:
            return None
        parcel, is_delayed = parcels.parcel(key)
        if is_delayed:
            return Status(DELAYED, due_ms=parcel[6])
        return Status(READY, self._position(rank_of(parcel[5], key), message_id - parcel[0]))

    def _position(self, rank: int, inside: int = 0) -> int | None:
        """Tell how many messages are delivered before one.

        Args:
            rank: as `mqd.core.lanes` has it; of a parcel's message, the parcel's.
            inside: of a parcel's message: how many of the parcel's are before it.
        """
        held = self._queue.held
        before = self._ranks.before(rank) + inside
        if held is None or not held.ready_count:
            return before
        if len(held.ready) + len(held.parcels) > MAX_COUNTED:
            return None
        if not self._places:
            count = 0
            for each, thing in held.in_order():
                self._places.append(each)
                self._counts.append(count)
                count += 1 if isinstance(thing, Message) else thing[1]
            self._counts.append(count)
        return before + self._counts[bisect_left(self._places, rank)]


def _moved_from(name: str, target: Queue) -> dict[int, Message]:
    """Return dead letters of a queue by what they were called there, the newest last.

    Those under leases of the dead-letter queue's are not among them.
    """
    held = target.hold()
    messages = chain(held.ready.values(), held.dead.values(), held.delayed.values())
    return {
        message.origin.message_id: message
        for message in islice(messages, MAX_SEARCHED)
        if message.origin is not None and message.origin.queue == name
    }
