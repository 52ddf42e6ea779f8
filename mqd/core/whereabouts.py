"""Which lease a message is under, for those who ask by its id. Pure."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.core.leases import Lease
    from mqd.core.queue import Queue

_SWEEP_LEAST: Final = 1024


class Whereabouts:
    """Which lease a message is under.

    Made when it is first asked for: a lease by itself knows nothing of it, and costs no more
    for it. Each look goes on with the leases that were given since the last.

    Args:
        queue: whose leases.

    Complexity: a step for each message that was leased since the last look; making it for a
    million leases takes about a second.
    """

    __slots__ = ("_last_seq", "_queue", "_seq_by_id")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._last_seq = 0
        self._seq_by_id: dict[int, int] = {}  # some of them are over, or have it no more

    def find(self, message_id: int) -> Lease | None:
        """Return the lease that a message is under."""
        self._catch_up()
        lease = self._queue.leases.get(self._seq_by_id.get(message_id, 0))
        return lease if lease is not None and _has(lease, message_id) else None

    def _catch_up(self) -> None:
        leases = self._queue.leases
        newest = next(reversed(leases), 0)
        if newest <= self._last_seq:
            return
        if not self._last_seq:
            self._add(leases.values())
        else:
            later = takewhile(lambda seq: seq > self._last_seq, reversed(leases))
            self._add(leases[seq] for seq in reversed(list(later)))
        self._last_seq = newest
        if len(self._seq_by_id) > 2 * self._queue.leased + _SWEEP_LEAST:
            self._seq_by_id.clear()
            self._add(leases.values())

    def _add(self, leases: Iterable[Lease]) -> None:
        by_id = self._seq_by_id
        for lease in leases:
            seq = lease.seq
            for batch, _, _ in lease.parts:
                for message_id in range(batch.first_id, batch.first_id + batch.count):
                    by_id[message_id] = seq
            for parcel in lease.parcels or ():
                by_id.update(dict.fromkeys(range(parcel[0], parcel[0] + parcel[1]), seq))
            if lease.loose:
                by_id.update(dict.fromkeys(lease.loose, seq))


def _has(lease: Lease, message_id: int) -> bool:
    if lease.loose and message_id in lease.loose:
        return True
    if any(
        batch.first_id <= message_id < batch.first_id + batch.count for batch, _, _ in lease.parts
    ):
        return True
    return any(parcel[0] <= message_id < parcel[0] + parcel[1] for parcel in lease.parcels or ())
