"""Looking at messages without disturbing them, in any state. Pure.

Everything here reads; objects that it makes are its own and are not kept. Whoever takes
what is yielded one by one stops when there is no more room: of what lies in packs and
parcels, one at a time is taken apart. The queue must not change meanwhile.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqd.core.messages import Message, unpacked
from mqd.core.parcels import closed
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.fifo import HeaderRun
    from mqd.core.leases import Lease
    from mqd.core.parcels import Parcel
    from mqd.core.queue import Queue

READY: Final = "ready"
DELAYED: Final = "delayed"
LEASED: Final = "leased"
DEAD: Final = "dead"


class Seen(NamedTuple):
    """One message as it was looked at."""

    message_id: int
    piece: bytes
    """Its body, encoded."""
    headers: dict[str, Any] | None
    message: Message | None
    """What is known of it beside; None where that is nothing."""
    lease: Lease | None = None
    """The lease that it is under."""
    due_ms: int = 0
    """When it becomes ready, where it is delayed."""


def is_plain(queue: Queue, state: str) -> bool:
    """Tell whether what is in a state lies in packs alone, which `Fifo.peek` shows whole."""
    return state == READY and (queue.held is None or not queue.held.ready_count)


def look(queue: Queue, state: str, skip: int) -> Iterator[Seen]:
    """Yield the messages of a queue that are in a state.

    Args:
        queue: whose.
        state: READY, in the order of delivery, without regard to the takes that go by age;
            DELAYED or DEAD, those first that have been so for longest; LEASED, the oldest
            lease first and in a lease by id.
        skip: how many are passed over.

    Complexity: linear in what is passed over; packs, parcels and leases are passed over whole.
    """
    return _WAYS[state](queue, skip)


def _ready(queue: Queue, skip: int) -> Iterator[Seen]:
    """Yield what lies in packs and what does not, merged by rank."""
    things = iter(()) if queue.held is None else queue.held.in_order()
    rank, thing = next(things, _NOTHING)
    for first_id, count, pack, runs, _ in queue.fifo.export():
        while thing is not None and rank < first_id:  # nothing else has a place inside a pack
            yield from _seen_of(thing, skip)
            skip = max(0, skip - _count(thing))
            rank, thing = next(things, _NOTHING)
        if skip < count:
            yield from islice(_fresh(first_id, pack, runs), skip, None)
        skip = max(0, skip - count)
    while thing is not None:
        yield from _seen_of(thing, skip)
        skip = max(0, skip - _count(thing))
        _, thing = next(things, _NOTHING)


_NOTHING: Final = (0, None)


def _fresh(first_id: int, pack: bytes, runs: tuple[HeaderRun, ...]) -> Iterator[Seen]:
    """Yield the messages of a pack."""
    headers: dict[int, dict[str, Any]] = {}
    for offset, count, values, _ in runs:
        headers.update(dict.fromkeys(range(offset, offset + count), values))
    for offset, piece in enumerate(split_pack(pack)):
        yield Seen(first_id + offset, piece, headers.get(offset), None)


def _delayed(queue: Queue, skip: int) -> Iterator[Seen]:
    things = () if queue.held is None else queue.held.delayed_in_order()
    for thing in things:
        due_ms = thing.due_ms if isinstance(thing, Message) else thing[6]
        for seen in _seen_of(thing, skip):
            yield seen._replace(due_ms=due_ms)
        skip = max(0, skip - _count(thing))


def _dead(queue: Queue, skip: int) -> Iterator[Seen]:
    dead = () if queue.held is None else queue.held.dead.values()
    return map(_seen, islice(dead, skip, None))


def _leased(queue: Queue, skip: int) -> Iterator[Seen]:
    for lease in queue.leases.values():
        if skip >= lease.count:
            skip -= lease.count
            continue
        for message in lease.messages()[skip:]:
            yield _seen(message, lease)
        skip = 0


def _count(thing: Message | Parcel) -> int:
    return 1 if isinstance(thing, Message) else thing[1]


def _seen_of(thing: Message | Parcel, skip: int) -> Iterator[Seen]:
    """Yield a message, or those of a parcel; those that are passed over are not."""
    if skip >= _count(thing):
        return
    if isinstance(thing, Message):
        yield _seen(thing)
        return
    for index, message in enumerate(unpacked(closed(thing))):
        if index >= skip:
            yield _seen(message)


def _seen(message: Message, lease: Lease | None = None) -> Seen:
    return Seen(message.message_id, message.piece, message.headers, message, lease)


_WAYS: Final[dict[str, Callable[[Queue, int], Iterator[Seen]]]] = {
    READY: _ready,
    DELAYED: _delayed,
    LEASED: _leased,
    DEAD: _dead,
}
