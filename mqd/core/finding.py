"""Where in a queue a message lies that has no object, by its id. Pure.

Complexity: the place of a message in packs follows from its id and the gaps before it, so
no pack is looked at: O(gaps) once, and O(log gaps) for each id. Parcels are found by hash,
in as many steps as there are messages between the one that is looked for and the parcel's
last; where that would be many, their keys are sorted once.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from mqd.core.parcel_table import ParcelTable
from mqwire.limits import MAX_MESSAGES_PER_FRAME

if TYPE_CHECKING:
    from mqd.core.fifo import Fifo
    from mqd.core.parcels import Parcel
    from mqd.core.queue import Queue

MAX_PROBED: Final = 100_000
"""Ids that are looked up before all parcels are put in order."""


class Ranks:
    """The places of messages that lie in packs.

    Args:
        fifo: the packs.
    """

    def __init__(self, fifo: Fifo) -> None:
        self._fifo = fifo
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
        if index < len(self._starts) and message_id >= self._starts[index]:
            return False
        return not self._fifo.is_hole(message_id)

    def before(self, message_id: int) -> int:
        """Tell how many messages with lower ids are there."""
        message_id = min(max(message_id, self._first_id), self._next_id)
        index = bisect_left(self._ends, message_id + 1)  # of the first gap that ends behind it
        missing = self._missing[index - 1] if index else 0
        if index < len(self._starts):
            missing += max(0, message_id - self._starts[index])
        missing += self._fifo.holes_before(message_id)
        return message_id - self._first_id - missing


class Parcels:
    """The parcels of a queue by the ids of their messages. They must not change meanwhile.

    Args:
        queue: whose.
    """

    def __init__(self, queue: Queue) -> None:
        held = queue.held
        self._ready = ParcelTable() if held is None else held.parcels
        self._delayed: dict[int, Parcel] = {} if held is None else held.delayed_parcels
        self._next_id = queue.fifo.next_id
        self._keys: list[int] | None = None  # of all of them, ascending
        self._probed = (0, 0)  # no key is between these
        self._probes = 0

    def parcel(self, key: int) -> tuple[Parcel, bool]:
        """Return the parcel with a key, and whether it is delayed."""
        parcel = self._ready.find(key)
        return (self._delayed[key], True) if parcel is None else (parcel, False)

    def key_of(self, message_id: int) -> int:
        """Return the key of the parcel that a message lies in; 0 if it lies in none."""
        if not self._ready and not self._delayed:
            return 0
        key = self._next_key(message_id)
        return key if key and self.parcel(key)[0][0] <= message_id else 0

    def _next_key(self, message_id: int) -> int:
        """Return the lowest key that is not below an id; 0 if none can be that of its parcel."""
        if self._keys is not None:
            index = bisect_left(self._keys, message_id)
            return self._keys[index] if index < len(self._keys) else 0
        ready, delayed = self._ready, self._delayed
        low, high = self._probed
        start = high if low <= message_id < high else message_id
        end = min(message_id + MAX_MESSAGES_PER_FRAME, self._next_id)
        for key in range(start, end):
            if key in ready or key in delayed:
                return key
        self._probed = (message_id, max(start, end))
        self._probes += max(0, end - start)
        if self._probes > MAX_PROBED:
            self._keys = sorted((*ready, *delayed))
        return 0
