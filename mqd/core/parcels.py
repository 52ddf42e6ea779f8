"""Parcels: pushed packs that are kept whole, with what their push said beyond a plain one.

All messages of a push share priority, time and budgets, so these lie beside the pack, and
no message gets an object for them. A parcel is a plain tuple, which costs little and is
not looked at by the garbage collector:

    (first_id, count, pack, headers, pushed_ms, priority, due_ms, expires_ms, terms)

`headers` are runs by offset. `due_ms` is when it becomes ready, 0 for at once; `expires_ms`
when it expires, 0 for never. `terms` is `(ttl_ms, max_attempts, max_losses)`, each 0 where
the push says nothing, or None where it says nothing of these. In the place of a pack that
is begun, or was looked into for its headers, there is a `Fifo` of what is left of it.

A parcel's *key* is the id of its last message: it stays as messages leave at the front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core.fifo import PIECE_BYTES, Batch, Fifo, within
from mqd.core.lanes import PRIORITY
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mqd.core.fifo import HeaderRun

Parcel: TypeAlias = "tuple[int, int, Any, tuple[HeaderRun, ...], int, int, int, int, Terms | None]"
"""See above."""

Terms: TypeAlias = "tuple[int, int, int]"
"""What a push says for as long as its messages live: see above."""


NO_TERMS: Final[Terms] = (0, 0, 0)
"""Those of messages of which nothing is said."""


class PushExtras(NamedTuple):
    """What a push may say beyond a plain one. Bounds are checked by whoever makes it."""

    priority: int = PRIORITY
    """0 to 255; higher first."""
    due_ms: int = 0
    """When the messages become ready; 0, or a time that is past, for at once."""
    ttl_ms: int = 0
    """How long they may wait; 0 for as long as the queue lets them."""
    max_attempts: int = 0
    """Failures after which they are dead; 0 to go by the queue's."""
    max_losses: int = 0
    """Lost workers after which they are dead; 0 to go by the queue's."""


PLAIN: Final = PushExtras()
"""A push that says nothing, to a queue that does."""


@dataclass(slots=True)
class ParcelBatch(Batch):
    """A batch out of parcels, with what was taken of each."""

    size_bytes: int
    """Encoded bodies and headers."""
    parcels: list[Parcel]


def size_of(parcel: Parcel) -> int:
    """Return the encoded size of a parcel's bodies and headers."""
    store = parcel[2]
    if type(store) is bytes:
        size_bytes = len(store)
        for run in parcel[3]:
            size_bytes += run[1] * run[3]
    else:
        size_bytes = store.size_bytes
    return size_bytes


def closed(parcel: Parcel) -> Parcel:
    """Return a parcel as a record holds it: what is left of it as a pack."""
    store = parcel[2]
    if type(store) is not Fifo:
        return parcel
    ((first_id, count, pack, headers, _),) = store.export()
    return (first_id, count, pack, headers, *parcel[4:])


def is_simple(parcel: Parcel, most: int, room_bytes: int) -> bool:
    """Tell whether a parcel may leave as it is."""
    return (
        parcel[1] <= most
        and type(parcel[2]) is bytes
        and not parcel[3]
        and len(parcel[2]) <= room_bytes - PIECE_BYTES
    )


def cut(
    parcel: Parcel, most: int, room_bytes: int, at_least: int
) -> tuple[Parcel, Parcel | None, list[dict[str, Any] | None] | None]:
    """Take the first messages of a parcel, as `Fifo.take`.

    Returns:
        What was taken, perhaps none; what is left, None for nothing; and the column of the
        headers of what was taken.
    """
    first_id, count, store, headers = parcel[:4]
    beyond = parcel[4:]
    if type(store) is not Fifo:
        fifo = Fifo()
        fifo.restart(first_id)
        fifo.append(store, count, headers, parcel[4])
        store = fifo
    runs, _ = store.beside(min(most, count))
    batch = store.take(most, room_bytes, at_least)
    end = first_id + batch.count
    pack = batch.packs[0] if batch.packs else b""
    taken = (first_id, batch.count, pack, within(runs, first_id, end), *beyond)
    left = (store.first_id, store.count, store, (), *beyond) if store.count else None
    return taken, left, batch.headers


def without(parcel: Parcel, ids: Collection[int]) -> Iterator[Parcel]:
    """Yield what is left of a parcel without some of its messages, in parcels."""
    first_id, count, pack, headers, *beyond = closed(parcel)
    end = first_id + count
    pieces = [pack] if count == 1 else split_pack(pack)
    start = first_id
    for hole in (*sorted(ids), end):
        if start < hole:
            low, high = start - first_id, hole - first_id
            inside = within(headers, low, high)
            left: Any = (start, hole - start, b"".join(pieces[low:high]), inside, *beyond)
            yield left
        start = hole + 1
