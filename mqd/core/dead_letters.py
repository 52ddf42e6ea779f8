"""Dead letters: where messages go that are not to be tried again, and how they come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mqd.core import job_records as records
from mqd.core import order_records
from mqd.core.errors import BrokerError, queue_full, queue_not_found
from mqd.core.messages import Entry, Message, Origin
from mqd.core.rooms import Room, Rooms
from mqwire import causes
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.queue import Queue
    from mqd.core.records import Record


class Yard:
    """Where the dead messages of a queue go.

    That is its dead-letter queue, as far as that is there and has room. A message that
    cannot go there stays and is marked: nothing is lost.

    Args:
        queue: whose.
        by_name: all queues.
        rooms: those of the plan that this is part of, where there is one.
    """

    def __init__(self, queue: Queue, by_name: dict[str, Queue], rooms: Rooms | None = None) -> None:
        target = None if queue.dead_letter is None else by_name.get(queue.dead_letter)
        self._queue = queue
        self._rooms = Rooms() if rooms is None else rooms
        self._room = None if target is None else self._rooms.of(target)

    def place(self, message: Message) -> tuple[int, int]:
        """Tell the fate of one more message, as `mqd.core.job_records` has it."""
        room = self._room
        if room is not None and room.takes(message):
            self.drop(message)
            return (records.MOVED, room.queue.uid)
        return (records.DEAD, 0)

    def drop(self, message: Message) -> None:
        """Count on a message that goes for good."""
        self._rooms.of(self._queue).free(1, message.size_bytes)

    @staticmethod
    def move(message: Message, queue: Queue, target: Queue, now_ms: int) -> None:
        """Carry a message that is no longer anywhere in `queue` over to its dead letters."""
        message.origin = Origin(
            queue.name, message.message_id, message.pushed_ms, message.attempts, message.losses
        )
        message_id = message.message_id
        queue.leave(1, message.size_bytes)
        queue.moved += 1
        _arrive(message, target, now_ms)
        if queue.kept is not None:
            queue.kept.add_move(message_id, message, target.name)


class Wanted(NamedTuple):
    """Which dead messages are meant; None stands for any."""

    cause: str | None = None
    """What the last delivery ended with: one of `mqwire.causes`."""
    origin: str | None = None
    """The queue that they came from."""

    def fits(self, message: Message) -> bool:
        """Tell whether a message is meant."""
        if self.cause is not None:
            history = message.history
            if not history or history[-1].cause != self.cause:
                return False
        if self.origin is not None:
            origin = message.origin
            return origin is not None and origin.queue == self.origin
        return True


EVERY_ONE: Final = Wanted()


class Attic:
    """Where the messages of a queue go that have waited longer than they may.

    Args:
        queue: whose.
        yard: where its dead messages go, which may take these too.
    """

    def __init__(self, queue: Queue, yard: Yard) -> None:
        self._yard = yard
        self.is_drop = not queue.keeps_expired
        """Whether they are dropped, one and all."""

    def place(self, message: Message) -> tuple[int, int]:
        """Tell the fate of one more message, as `mqd.core.order_records` has it."""
        if self.is_drop:
            self._yard.drop(message)
            return (order_records.DROPPED, 0)
        place, uid = self._yard.place(message)
        is_moved = place == records.MOVED
        return (order_records.OLD_MOVED if is_moved else order_records.OLD_DEAD, uid)

    @staticmethod
    def move(message: Message, queue: Queue, place: int, target: Queue | None, now_ms: int) -> None:
        """Let a message that is no longer anywhere in `queue` have its fate."""
        if place == order_records.DROPPED:
            queue.leave(1, message.size_bytes)
            queue.expired += 1
            if queue.kept is not None:
                queue.kept.add_expired(message, now_ms)
            return
        message.note(Entry("", now_ms, now_ms, causes.TTL, ""))
        if target is None:
            queue.hold().dead[message.message_id] = message
        else:
            Yard.move(message, queue, target, now_ms)


class Redrive:
    """The way back of a queue's dead messages.

    Args:
        queue: where they are: dead in it, or come to it as dead letters.
        by_name: all queues.
        wanted: which of them; see `Wanted`.
    """

    def __init__(self, queue: Queue, by_name: dict[str, Queue], wanted: Wanted = EVERY_ONE) -> None:
        self._queue = queue
        self._wanted = wanted
        self._by_name = by_name
        self._rooms: dict[str, Room] = {}
        self._ids_by_target: dict[int, list[int]] = {}
        self._refusal: BrokerError | None = None

    def plan(self, now_ms: int, most: int, ids: Runs) -> tuple[list[Record], int]:
        """See `mqd.core.jobs.Jobs.plan_redrive`."""
        count = 0
        for message in self._candidates(ids):
            if count >= most:
                break
            if not self._wanted.fits(message):
                continue
            target_uid = self._target(message)
            if target_uid:
                self._ids_by_target.setdefault(target_uid, []).append(message.message_id)
                count += 1
        if not count and self._refusal is not None:
            raise self._refusal
        uid = self._queue.uid
        return [
            (records.REDRIVE, uid, runs_of(sorted(set(each))), target_uid, now_ms)
            for target_uid, each in self._ids_by_target.items()
        ], count

    def _candidates(self, ids: Runs) -> Iterator[Message]:
        held = self._queue.held
        if held is None:
            return
        if not ids:
            yield from held.dead.values()
            yield from (each for each in held.ready.values() if each.origin is not None)
        for message_id in ids_of(ids):
            message = held.dead.get(message_id) or held.ready.get(message_id)
            if message is not None and (message_id in held.dead or message.origin is not None):
                yield message

    def _target(self, message: Message) -> int:
        """Tell the uid of the queue that a message goes to; 0 where it cannot go."""
        origin = message.origin
        if message.message_id in self._queue.hold().dead or origin is None:
            return self._queue.uid
        room = self._rooms.get(origin.queue)
        if room is None:
            target = self._by_name.get(origin.queue)
            if target is None:
                self._refusal = self._refusal or queue_not_found(origin.queue)
                return 0
            room = self._rooms[origin.queue] = Room(target)
        if room.takes(message):
            return room.queue.uid
        self._refusal = self._refusal or _full(room.queue, message)
        return 0

    @staticmethod
    def carry_out(queue: Queue, ids: Runs, target: Queue, now_ms: int) -> int:
        """Move messages, with new budgets; returns how many."""
        count = 0
        held = queue.hold()
        for message_id in ids_of(ids):
            count += 1
            if target is queue:
                message = held.dead.pop(message_id)
                message.attempts = message.losses = 0
                message.expires_ms = queue.expiry_ms(now_ms, message)
                held.add_ready(message)
            else:
                message = held.remove_ready(message_id)
                queue.leave(1, message.size_bytes)
                queue.moved += 1
                origin, message.origin = message.origin, None
                _arrive(message, target, now_ms)
                if queue.kept is not None:
                    queue.kept.add_move(message_id, message, target.name)
                if target.kept is not None and origin is not None:
                    place = (queue.name, message_id)
                    target.kept.add_return(origin.message_id, place, message, target.name)
        return count


def _arrive(message: Message, target: Queue, now_ms: int) -> None:
    """Put a message that has left its queue at the end of another, with new budgets."""
    message.attempts = message.losses = 0
    message.message_id = target.fifo.skip(1)
    message.pushed_ms = now_ms
    message.expires_ms = target.expiry_ms(now_ms, message)
    target.used_ms = now_ms
    target.enter(1, message.size_bytes)
    target.pushed += 1
    target.hold().add_ready(message)


def _full(queue: Queue, message: Message) -> BrokerError:
    """Make the refusal of a message that does not fit into a queue."""
    messages, size_bytes = queue.room()
    if messages < 1:
        present = queue.max_messages - messages
        return queue_full(queue.name, "max_messages", queue.max_messages, present, 1)
    present = queue.max_bytes - size_bytes
    return queue_full(queue.name, "max_bytes", queue.max_bytes, present, message.size_bytes)
