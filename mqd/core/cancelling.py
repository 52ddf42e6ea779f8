"""Cancelling messages: what waits is removed, what is leased is marked.

A marked message stays with its holder, who is told with the next extension. If it is done
all the same, it is done; however else it comes back, it is dropped instead of being tried
again. See `mqd.core.view_records` for the records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mqd.core import view_records as records
from mqd.core.finding import Parcels, Ranks
from mqd.core.parcels import size_of, without
from mqd.core.results import CANCELLED, Outcome
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from mqd.core.cold import Known
    from mqd.core.messages import Message
    from mqd.core.queue import Queue
    from mqd.core.records import Record


class Cancellation(NamedTuple):
    """What a cancellation will do."""

    records: list[Record]
    """To be applied together."""
    removed: int
    """Messages that are to go now."""
    marked: int
    """Leased messages that are to be marked, and were not."""


def look_up(queue: Queue, ids: Runs, known: Known) -> bool:
    """Find out what `plan_cancel` will need to know of bodies that were put aside, a slice of it.

    Args:
        queue: theirs; the same in all calls with the same `known`.
        ids: which.
        known: takes what is found.

    Returns:
        Whether that is all, as things are now. If not, it is to be called again.

    Raises:
        BrokerError: INTERNAL: it cannot be had.
    """
    if queue.fifo.cold is None:
        return True
    ranks, wanted = Ranks(queue.fifo), sorted(set(ids_of(ids)).difference(known.sizes))
    return queue.fifo.look_up(list(filter(ranks.holds, wanted)), known)


def plan_cancel(queue: Queue, ids: Runs, now_ms: int) -> Cancellation:
    """Plan to cancel messages.

    What was put aside is read as far as `look_up` has not just done it.

    Args:
        queue: theirs.
        ids: which; those that are neither ready nor delayed nor leased are passed over.
        now_ms: when.

    Raises:
        BrokerError: INTERNAL: what is to be known of one that was put aside cannot be had.
    """
    ranks, parcels, held = Ranks(queue.fifo), Parcels(queue), queue.held
    waiting: list[int] = []
    in_packs: list[int] = []
    marked: dict[int, list[int]] = {}
    for message_id in sorted(set(ids_of(ids))):
        is_held = held is not None and (message_id in held.ready or message_id in held.delayed)
        if not is_held and ranks.holds(message_id):
            in_packs.append(message_id)
            waiting.append(message_id)
        elif is_held or parcels.key_of(message_id):
            waiting.append(message_id)
        elif queue.leased:
            lease = queue.where.find(message_id)
            if lease is not None and message_id not in (lease.cancelled or ()):
                marked.setdefault(lease.seq, []).append(message_id)
    queue.fifo.prepare_removal(in_packs)
    planned: list[Record] = []
    if waiting:
        planned.append((records.CANCEL, queue.uid, runs_of(waiting), now_ms))
    planned += ((records.MARK, queue.uid, seq, runs_of(each)) for seq, each in marked.items())
    return Cancellation(planned, len(waiting), sum(map(len, marked.values())))


def remove_waiting(queue: Queue, ids: Runs, now_ms: int) -> int:
    """Remove ready and delayed messages, and remember them as cancelled; returns how many."""
    held = queue.held
    parcels = Parcels(queue)
    bare: list[int] = []  # those that have no object
    in_packs: list[int] = []
    by_key: dict[int, list[int]] = {}
    count = 0
    for message_id in ids_of(ids):
        count += 1
        message = None if held is None else held.take_out(message_id)
        if message is not None:
            queue.leave(1, message.size_bytes)
            keep_cancelled(queue, message, now_ms)
            continue
        bare.append(message_id)
        key = parcels.key_of(message_id)
        (by_key.setdefault(key, []) if key else in_packs).append(message_id)
    for key, found in by_key.items():
        _remove_from_parcel(queue, key, found)
    if in_packs:
        queue.fifo.remove(in_packs)
    if bare and queue.kept is not None:
        queue.kept.add(runs_of(bare), Outcome(CANCELLED, now_ms, 0, 0, 0, "", None, None))
    queue.cancelled += count
    return count


def _remove_from_parcel(queue: Queue, key: int, ids: list[int]) -> None:
    """Remove messages of a parcel; what is left of it goes on as parcels of its own."""
    held = queue.hold()
    is_delayed = key in held.delayed_parcels
    parcel = held.remove(key)
    assert isinstance(parcel, tuple), "it was found as a parcel"
    gone_bytes = size_of(parcel)
    for left in without(parcel, ids):
        size_bytes = size_of(left)
        gone_bytes -= size_bytes
        if is_delayed:
            held.add_delayed_parcel(left)
        else:
            held.add_parcel(left, size_bytes)
    queue.leave(len(ids), gone_bytes)


def keep_cancelled(queue: Queue, message: Message, now_ms: int) -> None:
    """Remember a message with an object as cancelled, if its queue keeps results."""
    if queue.kept is not None:
        counts = (message.deliveries, message.attempts, message.losses)
        outcome = Outcome(CANCELLED, now_ms, *counts, "", None, None)
        queue.kept.add((message.message_id, 1), outcome)
