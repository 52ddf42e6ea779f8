"""Which lease a message is under, for those who ask by its id. Pure.

Theory of operation. A message is leased for the first time together with others whose ids
follow each other, and such a run is never given again: what comes back has an object of its
own. So a run is known by its first id, and by each 64th from there on: whoever looks for a
message looks at no more than 64 ids, downwards. The messages that have objects are known
one by one. What is known costs a lease about as much as each of the other tables that it
stands in, and is there from the start: nobody ever waits for a million leases to be put in
order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqd.core.shelves import Shelves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.core.leases import Lease

STRIDE: Final = 64
"""A run of messages is known by its first id and by each that is so many behind."""


class Whereabouts:
    """Which lease of a queue a message is under. `mqd.core.leases.LeaseBook` keeps it.

    Args:
        leases: the queue's, by number.

    Complexity: O(1) for a lease of one short run; a step for each 64 messages, and for each of
    those that have objects. Looking takes O(64), and as long as the lease has runs.
    """

    __slots__ = ("_leases", "_objects", "_runs")

    def __init__(self, leases: Shelves[Lease]) -> None:
        self._leases = leases
        self._runs: Shelves[int] = Shelves()  # numbers of leases: nothing for the collector
        self._objects: Shelves[int] = Shelves()

    def find(self, message_id: int) -> Lease | None:
        """Return the lease that a message is under."""
        seq = self._objects.get(message_id)
        if seq is not None:
            return self._leases[seq]
        seq = self._runs.last_before(message_id + 1, STRIDE)
        if seq is None:
            return None
        lease = self._leases[seq]
        return lease if lease.has(message_id) else None

    def open(self, lease: Lease) -> None:
        """Take in a lease with what it holds."""
        runs, seq = self._runs, lease.seq
        for batch, _, _ in lease.parts:
            runs[batch.first_id] = seq
            if batch.count > STRIDE:
                for key in _marks(batch.first_id, batch.count):
                    runs[key] = seq
        for parcel in lease.parcels or ():
            for key in _marks(parcel[0], parcel[1]):
                runs[key] = seq
        if lease.loose:
            self.add(lease, lease.loose)

    def add(self, lease: Lease, ids: Iterable[int]) -> None:
        """Take in messages with objects, which a lease holds too."""
        for message_id in ids:
            self._objects[message_id] = lease.seq

    def drop(self, message_id: int) -> None:
        """Note that a message has left its lease."""
        self._objects.discard(message_id)

    def close(self, lease: Lease) -> None:
        """Forget a lease with what it still holds."""
        discard = self._runs.discard
        for batch, _, _ in lease.parts:
            discard(batch.first_id)
            if batch.count > STRIDE:
                for key in _marks(batch.first_id, batch.count):
                    discard(key)
        for parcel in lease.parcels or ():
            for key in _marks(parcel[0], parcel[1]):
                discard(key)
        for first_id, count in lease.spans:
            for key in _marks(first_id, count):
                discard(key)
        if lease.loose:
            for message_id in lease.loose:
                self._objects.discard(message_id)


def _marks(first_id: int, count: int) -> range:
    """Return what a run is known by."""
    return range(first_id, first_id + count, STRIDE)
