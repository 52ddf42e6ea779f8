"""How much more queues take, while a plan counts on it.

A plan changes nothing, and one that is about several things has to judge each of them
as if those before had been done: what they have filled, freed, and which ids they took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqd.core.errors import queue_full

if TYPE_CHECKING:
    from mqd.core.messages import Message
    from mqd.core.queue import Queue


class Room:
    """What is left of a queue's bounds, and its next id, in the course of a plan."""

    __slots__ = ("messages", "next_id", "queue", "size_bytes")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.messages, self.size_bytes = queue.room()
        self.next_id = queue.fifo.next_id

    def takes(self, message: Message) -> bool:
        """Tell whether a message fits beside those that were asked for before; then it counts."""
        if self.messages < 1 or self.size_bytes < message.size_bytes:
            return False
        self._fill(1, message.size_bytes)
        return True

    def admit(self, count: int, size_bytes: int) -> int:
        """Count on a push, and return the first of its ids.

        Raises:
            BrokerError: QUEUE_FULL, and it does not count.
        """
        queue = self.queue
        if count > self.messages:
            present = queue.max_messages - self.messages
            raise queue_full(queue.name, "max_messages", queue.max_messages, present, count)
        if size_bytes > self.size_bytes:
            present = queue.max_bytes - self.size_bytes
            raise queue_full(queue.name, "max_bytes", queue.max_bytes, present, size_bytes)
        first_id = self.next_id
        self._fill(count, size_bytes)
        return first_id

    def free(self, count: int, size_bytes: int) -> None:
        """Count on messages that leave."""
        self.messages += count
        self.size_bytes += size_bytes

    def _fill(self, count: int, size_bytes: int) -> None:
        self.messages -= count
        self.size_bytes -= size_bytes
        self.next_id += count


class Rooms:
    """The rooms of all queues that a plan is about."""

    __slots__ = ("_by_uid",)

    def __init__(self) -> None:
        self._by_uid: dict[int, Room] = {}

    def of(self, queue: Queue) -> Room:
        """Return the room of a queue, as far as the plan has come."""
        room = self._by_uid.get(queue.uid)
        if room is None:
            room = self._by_uid[queue.uid] = Room(queue)
        return room
