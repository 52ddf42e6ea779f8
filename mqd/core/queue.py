"""One queue: its messages, bounds and counters, and those who wait for messages."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mqd.core.errors import queue_full
from mqd.core.fifo import Batch, Fifo
from mqwire.levels import LEVELS, Level


class Waiter:
    """One who waits for messages of a queue, served in the order of coming.

    Args:
        most: how many messages it takes at most.
        room_bytes: how large packs and headers may be together.
    """

    __slots__ = ("most", "room_bytes")

    def __init__(self, most: int, room_bytes: int) -> None:
        self.most = most
        self.room_bytes = room_bytes


class Queue:
    """One queue. Its persistent part changes through records only, see `mqd.core.broker`.

    `pushed == pulled + purged + fifo.count` holds after every record.

    Args:
        uid: its number, never used twice.
        name: what clients call it.
        options: as they are on record: `max_messages`, `max_bytes`, and `durability` (a
            level's word) where the queue has a level of its own.
        created_ms: when it was created.
    """

    __slots__ = (
        "created_ms",
        "fifo",
        "level",
        "max_bytes",
        "max_messages",
        "name",
        "options",
        "pulled",
        "purged",
        "pushed",
        "uid",
        "waiters",
    )

    def __init__(self, uid: int, name: str, options: dict[str, Any], created_ms: int) -> None:
        self.uid = uid
        self.name = name
        self.options = options
        self.max_messages: int = options["max_messages"]
        self.max_bytes: int = options["max_bytes"]
        word = options.get("durability")
        self.level: Level | None = None if word is None else LEVELS[word]
        self.created_ms = created_ms
        self.pushed = self.pulled = self.purged = 0
        self.fifo = Fifo()
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()

    def check_room(self, count: int, size_bytes: int) -> None:
        """Return if `count` messages of `size_bytes` together fit.

        Raises:
            BrokerError: QUEUE_FULL, with the bound that they would pass.
        """
        fifo = self.fifo
        if fifo.count + count > self.max_messages:
            raise queue_full(self.name, "max_messages", self.max_messages, fifo.count, count)
        if fifo.size_bytes + size_bytes > self.max_bytes:
            raise queue_full(self.name, "max_bytes", self.max_bytes, fifo.size_bytes, size_bytes)

    def take(self, most: int, room_bytes: int) -> Batch:
        """Remove the oldest messages, as `Fifo.take`, and count them as pulled."""
        batch = self.fifo.take(most, room_bytes)
        self.pulled += batch.count
        return batch

    def info(self, now_ms: int) -> dict[str, Any]:
        """Describe the queue, as PROTOCOL.md section 5 (INFO)."""
        oldest_ms = self.fifo.oldest_ms()
        age = None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000
        return {
            "queue": self.name,
            "ready": self.fifo.count,
            "bytes": self.fifo.size_bytes,
            "oldest_age_seconds": age,
            "pushed": self.pushed,
            "pulled": self.pulled,
            "purged": self.purged,
            "waiting": len(self.waiters),
            "options": dict(self.options),
            "created_at": self.created_ms / 1000,
        }
