"""Where messages are, by their ids: in which state, and what is known of them. Pure.

Complexity: the place of a message in packs follows from its id and the gaps before it, so
no pack is looked at: O(gaps) once for a survey, and O(log gaps) for each id. Messages with
objects are found by hash, and so are parcels, in as many steps as there are messages between
the one that is looked for and the parcel's last; where that would be many, their keys are
sorted once for the survey. Of leased ones the first survey of a queue makes an index, which
later surveys go on with: O(messages leased since). A position among what does not lie in
packs is sorted out once for a survey, where that is not too much.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.core.lanes import rank_of
from mqd.core.looking import DEAD, DELAYED, LEASED, READY
from mqd.core.messages import Message
from mqd.core.results import GONE
from mqwire.limits import MAX_MESSAGES_PER_FRAME

if TYPE_CHECKING:
    from mqd.core.fifo import Fifo
    from mqd.core.held import Held
    from mqd.core.leases import Lease
    from mqd.core.queue import Queue
    from mqd.core.results import Outcome

UNKNOWN: Final = "unknown"

MAX_COUNTED: Final = 20_000
"""Returned messages and parcels among which positions are counted; where there are more, none
is told."""

MAX_PROBED: Final = 100_000
"""Ids that are looked up before all parcels are put in order."""

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
        self._ranks = _Ranks(queue.fifo)
        self._places: list[int] = []  # the ranks of what is ready and not in packs, ascending
        self._counts: list[int] = []  # how many messages are before each, and in all
        self._keys: list[int] | None = None  # of all parcels, ascending
        self._probed = (0, 0)  # no parcel's key is between these
        self._probes = 0
        self._moved: dict[int, Message] | None = None  # by what they were called here

    def find(self, message_id: int) -> Status:
        """Tell where a message is."""
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
            lease = queue.whereabouts().find(message_id)
            if lease is not None:
                return Status(LEASED, message=(lease.loose or {}).get(message_id), lease=lease)
        return self._find_parcel(message_id) or self._departed(message_id)

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

    def _find_parcel(self, message_id: int) -> Status | None:
        held = self._queue.held
        if held is None or not (held.parcels or held.delayed_parcels):
            return None
        key = self._key_of(held, message_id)
        parcel = held.parcels.get(key)
        if parcel is not None:
            if parcel[0] > message_id:
                return None
            rank = rank_of(parcel[5], key)
            return Status(READY, self._position(rank, message_id - parcel[0]))
        parcel = held.delayed_parcels.get(key)
        if parcel is None or parcel[0] > message_id:
            return None
        return Status(DELAYED, due_ms=parcel[6])

    def _key_of(self, held: Held, message_id: int) -> int:
        """Return the key of the parcel that holds a message if one does: the next there is."""
        if self._keys is None:
            ready, delayed = held.parcels, held.delayed_parcels
            low, high = self._probed
            start = high if low <= message_id < high else message_id
            end = min(message_id + MAX_MESSAGES_PER_FRAME, self._queue.fifo.next_id)
            for key in range(start, end):
                if key in ready or key in delayed:
                    return key
            self._probed = (message_id, max(start, end))
            self._probes += max(0, end - start)
            if self._probes > MAX_PROBED:
                self._keys = sorted((*ready, *delayed))
            return 0
        index = bisect_left(self._keys, message_id)
        return self._keys[index] if index < len(self._keys) else 0

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


class _Ranks:
    """The places of messages that lie in packs.

    Args:
        fifo: the packs.
    """

    def __init__(self, fifo: Fifo) -> None:
        self._first_id = fifo.first_id
        self._next_id = fifo.next_id if fifo.count else fifo.first_id
        self._starts: list[int] = []  # of gaps
        self._ends: list[int] = []
        self._missing: list[int] = []  # ids in the gaps up to this one
        missing = 0
        for first, count in fifo.gaps():
            missing += count
            self._starts.append(first)
            self._ends.append(first + count)
            self._missing.append(missing)

    def holds(self, message_id: int) -> bool:
        """Tell whether a message is there."""
        if not self._first_id <= message_id < self._next_id:
            return False
        index = bisect_left(self._ends, message_id + 1)
        return index == len(self._starts) or message_id < self._starts[index]

    def before(self, message_id: int) -> int:
        """Tell how many messages with lower ids are there."""
        message_id = min(max(message_id, self._first_id), self._next_id)
        index = bisect_left(self._ends, message_id + 1)  # of the first gap that ends behind it
        missing = self._missing[index - 1] if index else 0
        if index < len(self._starts):
            missing += max(0, message_id - self._starts[index])
        return message_id - self._first_id - missing


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
