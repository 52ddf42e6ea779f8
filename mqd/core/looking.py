"""Looking at messages without disturbing them, in any state. Pure.

Everything here reads; objects that it makes are its own and are not kept. Whoever takes
what is yielded one by one stops when there is no more room: of what lies in packs and
parcels, one at a time is taken apart. The queue must not change meanwhile.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqd.core.errors import skips_too_much
from mqd.core.finding import Parcels
from mqd.core.messages import Message, unpacked
from mqd.core.parcels import closed
from mqwire.limits import MAX_SKIPPED_ENTRIES
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.cold import Chunk
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


def find(queue: Queue, message_id: int) -> tuple[str, Seen] | None:
    """Return one message and the state that it is in; None if the queue does not hold it.

    Complexity: as that of a place by `mqd.core.finding` and `mqd.core.whereabouts`, and what it
    takes to take the pack, parcel or lease apart that it lies in.
    """
    held = queue.held
    if held is not None:
        for state, messages in ((READY, held.ready), (DELAYED, held.delayed), (DEAD, held.dead)):
            message = messages.get(message_id)
            if message is not None:
                return state, _seen(message)._replace(due_ms=message.due_ms)
    in_pack = queue.fifo.find(message_id)
    if in_pack is not None:
        return READY, Seen(message_id, *in_pack, None)
    lease = queue.where.find(message_id) if queue.leased else None
    if lease is not None:
        found = (each for each in lease.messages() if each.message_id == message_id)
        return LEASED, _seen(next(found), lease)
    return _in_parcel(queue, message_id)


def _in_parcel(queue: Queue, message_id: int) -> tuple[str, Seen] | None:
    parcels = Parcels(queue)
    key = parcels.key_of(message_id)
    if not key:
        return None
    parcel, is_delayed = parcels.parcel(key)
    message = next(unpacked(closed(parcel), message_id - parcel[0]))
    if is_delayed:
        return DELAYED, _seen(message)._replace(due_ms=parcel[6])
    return READY, _seen(message)


class _Skip:
    """How many messages are still to be passed over, and how much was looked at for it."""

    def __init__(self, count: int) -> None:
        self._count = self._left = count
        self._entries = 0

    def passes(self, count: int) -> bool:
        """Tell whether so many messages that lie together are passed over whole.

        Raises:
            BrokerError: OUT_OF_RANGE: that was said of too many such places.
        """
        if not self._left or self._left < count:
            return False
        self._left -= count
        self._entries += 1
        if self._entries > MAX_SKIPPED_ENTRIES:
            raise skips_too_much(self._count, MAX_SKIPPED_ENTRIES)
        return True

    def inside(self) -> int:
        """Return how many of those that lie together next are passed over; none after that."""
        left, self._left = self._left, 0
        return left


def look(queue: Queue, state: str, skip: int) -> Iterator[Seen]:
    """Yield the messages of a queue that are in a state.

    Args:
        queue: whose.
        state: READY, in the order of delivery, without regard to the takes that go by age;
            DELAYED or DEAD, those first that have been so for longest; LEASED, the oldest
            lease first and in a lease by id.
        skip: how many are passed over.

    Complexity: linear in what is passed over; packs, parcels and leases are passed over whole.

    Raises:
        BrokerError: OUT_OF_RANGE: more than `MAX_SKIPPED_ENTRIES` packs, parcels, leases and
            messages that lie by themselves would be passed over; dead ones are not counted.
    """
    return _WAYS[state](queue, skip)


def _ready(queue: Queue, skip: int) -> Iterator[Seen]:
    """Yield what lies in packs and what does not, merged by rank."""
    things = iter(()) if queue.held is None else queue.held.in_order()
    rank, thing = next(things, _NOTHING)
    left = _Skip(skip)

    def passes(chunk: Chunk) -> bool:
        return (thing is None or chunk.end <= rank) and left.passes(chunk.count)

    for first_id, count, pack, runs, _ in queue.fifo.export(passes):
        while thing is not None and rank < first_id:  # nothing else has a place inside a pack
            yield from _seen_of(thing, left)
            rank, thing = next(things, _NOTHING)
        if not left.passes(count):
            yield from islice(_fresh(first_id, pack, runs), left.inside(), None)
    while thing is not None:
        yield from _seen_of(thing, left)
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
    left = _Skip(skip)
    for thing in things:
        due_ms = thing.due_ms if isinstance(thing, Message) else thing[6]
        for seen in _seen_of(thing, left):
            yield seen._replace(due_ms=due_ms)


def _dead(queue: Queue, skip: int) -> Iterator[Seen]:
    dead = () if queue.held is None else queue.held.dead.values()
    return map(_seen, islice(dead, skip, None))


def _leased(queue: Queue, skip: int) -> Iterator[Seen]:
    left = _Skip(skip)
    for lease in queue.leases.values():
        if not left.passes(lease.count):
            for message in lease.messages()[left.inside() :]:
                yield _seen(message, lease)


def _seen_of(thing: Message | Parcel, left: _Skip) -> Iterator[Seen]:
    """Yield a message, or those of a parcel, but for those that are passed over."""
    if isinstance(thing, Message):
        if not left.passes(1):
            yield _seen(thing)
    elif not left.passes(thing[1]):
        yield from map(_seen, unpacked(closed(thing), left.inside()))


def _seen(message: Message, lease: Lease | None = None) -> Seen:
    return Seen(message.message_id, message.piece, message.headers, message, lease)


_WAYS: Final[dict[str, Callable[[Queue, int], Iterator[Seen]]]] = {
    READY: _ready,
    DELAYED: _delayed,
    LEASED: _leased,
    DEAD: _dead,
}
