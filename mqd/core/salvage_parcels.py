"""Parcels where records are missing: which of them a message lies in, and how it leaves.

A part of `mqd.core.salvage_jobs`, and pure. Messages leave a parcel at its front alone, or all
at once; so whatever is said of one of them by its id tells that it has left, and those before
it have, too. They get objects then. What is behind stays a parcel, with its key.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from mqd.core import order_records
from mqd.core.fifo import ANY_SIZE
from mqd.core.messages import unpacked
from mqd.core.parcels import NO_TERMS, cut, size_of
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.parcels import Parcel
    from mqd.core.queue import Queue
    from mqd.core.records import Record

_MAX_PRIORITY: Final = 255


class ParcelIndex:
    """The keys of all parcels that were seen, by queue and in order.

    Keys of parcels that are gone may stay: no two parcels of a queue share an id, so a key
    that is gone is found for messages alone that were in its parcel. Memory: 8 bytes each.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[int, array[int]] = {}

    def note(self, uid: int, parcel: Parcel) -> None:
        """Note a parcel that has come to a queue."""
        keys, key = self._keys.get(uid), parcel[0] + parcel[1] - 1
        if keys is None:
            self._keys[uid] = array("q", (key,))
            return
        if key > keys[-1]:
            keys.append(key)
            return
        index = bisect_left(keys, key)
        if keys[index] != key:
            keys.insert(index, key)

    def forget(self, uid: int) -> None:
        """Forget a queue that is deleted."""
        self._keys.pop(uid, None)

    def key_of(self, queue: Queue, message_id: int) -> int | None:
        """Return the key of the parcel in which a message lies; None if it lies in none."""
        keys, held = self._keys.get(queue.uid, ()), queue.hold()
        index = bisect_left(keys, message_id)
        if index == len(keys):
            return None
        key = keys[index]
        parcel = held.parcels.find(key) or held.delayed_parcels.get(key)
        return None if parcel is None or parcel[0] > message_id else key

    def loosen(self, queue: Queue, message_id: int) -> None:
        """Give an object to a message that lies in a parcel, and to those before it there.

        They are ready then, and so is what is left of the parcel.
        """
        key, held = self.key_of(queue, message_id), queue.hold()
        if key is None:
            return
        if key in held.delayed_parcels:
            held.wake(key)
        parcel = held.parcels[key]
        held.remove(key)
        taken, left, _ = cut(parcel, message_id + 1 - parcel[0], ANY_SIZE, 1)
        for message in unpacked(taken):
            held.add_ready(message)
        if left is not None:
            held.add_parcel(left, size_of(left))


def flaw_of(parcel: Parcel) -> str | None:
    """Tell what is wrong with a parcel of a record whose pack is right; None for nothing."""
    priority, terms = parcel[5], parcel[8]
    if not 0 <= priority <= _MAX_PRIORITY:
        return f"its priority is {priority}"
    if terms is not None and list(map(type, terms)) != list(map(type, NO_TERMS)):
        return "what it says of time and budgets is not understood"
    return None


def pushes_in(record: Record) -> Iterator[Record]:
    """Yield the pushes that a PUSH_EACH stands for, one by one."""
    _, uid, first_id, _, pack, priorities, now_ms, *times = record
    made = zip(split_pack(pack), priorities, strict=True)
    for message_id, (body, priority) in enumerate(made, first_id):
        told = (body, (), now_ms, priority, *times, None)
        yield (order_records.PUSH_WITH, uid, message_id, 1, *told)
