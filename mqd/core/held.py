"""Messages of one queue that have an object of their own.

That is only those that a lease has given back, that wait for a time, or that are dead,
and those that came from another queue. All others lie in packs, see `mqd.core.fifo`.
A message with an object is in one place: here (returned, delayed or dead) or under a
lease, see `mqd.core.leases`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core.deadlines import Timetable
from mqd.core.fifo import PIECE_BYTES, Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqd.core.records import Record

MAX_HISTORY: Final = 16
"""Entries of a message's history; past that the oldest go."""

_SWEEP_LEAST: Final = 64

Owner: TypeAlias = "str | dict[str, Any]"
"""Who holds a lease. A text is all that there is to know; of a map its entry `instance` is
who it is, and the rest describes. Whoever makes it keeps it small."""

Runs: TypeAlias = "tuple[int, ...]"
"""Ids as `(first, count, first, count, ...)`, ascending, no two runs touching."""


class Entry(NamedTuple):
    """One delivery of a message that ended otherwise than with an ack."""

    owner: Owner
    leased_ms: int
    ended_ms: int
    cause: str
    """One of `mqd.core.job_records.CAUSES`."""
    reason: str


class Origin(NamedTuple):
    """Where a dead letter came from, and what it had been through there."""

    queue: str
    message_id: int
    pushed_ms: int
    attempts: int
    losses: int


class Message:
    """One message that was delivered before, or waits for a time."""

    __slots__ = (
        "attempts",
        "deliveries",
        "due_ms",
        "header_bytes",
        "headers",
        "history",
        "losses",
        "message_id",
        "origin",
        "piece",
        "pushed_ms",
    )

    def __init__(
        self,
        message_id: int,
        piece: bytes,
        headers: dict[str, Any] | None,
        header_bytes: int,
        pushed_ms: int,
    ) -> None:
        self.message_id = message_id
        self.piece = piece
        self.headers = headers
        self.header_bytes = header_bytes
        self.pushed_ms = pushed_ms
        self.deliveries = 0
        """How often it was handed out; never falls."""
        self.attempts = 0
        """How often it failed since it came into its queue or was redriven."""
        self.losses = 0
        """How often its worker was lost, since then."""
        self.due_ms = 0
        """When it becomes ready, while it is delayed."""
        self.history: tuple[Entry, ...] = ()
        self.origin: Origin | None = None

    @property
    def size_bytes(self) -> int:
        """Encoded body and headers."""
        return len(self.piece) + self.header_bytes

    def note(self, entry: Entry) -> None:
        """Add an entry to its history."""
        self.history = (*self.history, entry)[-MAX_HISTORY:]

    def export(self) -> Record:
        """Return what `restored` takes."""
        return tuple(getattr(self, name) for name in _FIELDS)


_FIELDS: Final = (
    "message_id", "piece", "headers", "header_bytes", "pushed_ms",
    "deliveries", "attempts", "losses", "due_ms", "history", "origin",
)  # fmt: skip


def restored(fields: Record) -> Message:
    """Make a message as it was exported."""
    message = Message(*fields[:5])
    message.deliveries, message.attempts, message.losses, message.due_ms = fields[5:9]
    message.history = tuple(Entry(*entry) for entry in fields[9])
    message.origin = None if fields[10] is None else Origin(*fields[10])
    return message


@dataclass(slots=True)
class HeldBatch(Batch):
    """A batch whose messages have objects, for the columns that only they need."""

    messages: list[Message]

    @property
    def size_bytes(self) -> int:
        """Encoded bodies and headers."""
        return sum(message.size_bytes for message in self.messages)


class Held:
    """The returned, delayed and dead messages of a queue."""

    __slots__ = ("_heap", "dead", "delayed", "ready", "ready_bytes", "times")

    def __init__(self) -> None:
        self.ready: dict[int, Message] = {}
        self.delayed: dict[int, Message] = {}
        self.dead: dict[int, Message] = {}
        self.ready_bytes = 0
        self.times: Timetable[int] = Timetable()
        """The ids of the delayed by the time when they become ready."""
        self._heap: list[int] = []  # the ids of the ready, and some that have gone

    def add_ready(self, message: Message) -> None:
        """Put a message where its id says."""
        self.ready[message.message_id] = message
        self.ready_bytes += message.size_bytes
        heapq.heappush(self._heap, message.message_id)
        if len(self._heap) > 2 * len(self.ready) + _SWEEP_LEAST:
            self._heap = sorted(self.ready)

    def add_delayed(self, message: Message, due_ms: int) -> None:
        """Keep a message back until `wake`, which is called for after `due_ms`."""
        message.due_ms = due_ms
        self.delayed[message.message_id] = message
        self.times.add(due_ms, message.message_id)

    def wake(self, message_id: int) -> None:
        """Make a delayed message ready."""
        message = self.delayed.pop(message_id)
        self.times.remove(message.due_ms, message_id)
        message.due_ms = 0
        self.add_ready(message)

    def remove_ready(self, message_id: int) -> Message:
        """Take a ready message out of its place."""
        message = self.ready.pop(message_id)
        self.ready_bytes -= message.size_bytes
        return message

    def first_ready(self) -> int | None:
        """Return the lowest id that is ready here; None if none is."""
        heap, ready = self._heap, self.ready
        while heap and heap[0] not in ready:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def take(self, most: int, room_bytes: int, at_least: int) -> HeldBatch:
        """Remove the first ready messages whose ids follow each other, as `Fifo.take`."""
        first_id = message_id = self.first_ready() or 0
        messages: list[Message] = []
        while len(messages) < most and message_id in self.ready:
            size_bytes = self.ready[message_id].size_bytes + PIECE_BYTES
            if size_bytes > room_bytes and len(messages) >= at_least:
                break
            room_bytes -= size_bytes
            messages.append(self.remove_ready(message_id))
            message_id += 1
        headers = [message.headers for message in messages]
        column = headers if any(headers) else None
        packs = [b"".join([message.piece for message in messages])] if messages else []
        return HeldBatch(first_id, len(messages), packs, column, messages)

    def waiting(self) -> Iterator[Message]:
        """Yield the ready and the delayed messages."""
        yield from self.ready.values()
        yield from self.delayed.values()

    def purge(self) -> None:
        """Drop the ready and the delayed messages."""
        self.ready, self.delayed, self._heap = {}, {}, []
        self.ready_bytes = 0
        self.times = Timetable()


def runs_of(ids: Iterable[int]) -> Runs:
    """Return ascending ids as runs."""
    runs: list[int] = []
    for message_id in ids:
        if runs and runs[-2] + runs[-1] == message_id:
            runs[-1] += 1
        else:
            runs += (message_id, 1)
    return tuple(runs)


def ids_of(runs: Runs) -> Iterator[int]:
    """Yield the ids of runs."""
    for first, count in zip(runs[::2], runs[1::2], strict=True):
        yield from range(first, first + count)
