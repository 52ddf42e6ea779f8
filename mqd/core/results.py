"""What has become of messages that have left their queue, for those who ask later.

Only a queue that was created with `keep_results_seconds` remembers it, for so long, and
of so many messages at most; past that the oldest are forgotten. What is past its time is
never told, whether it is still here or not: so forgetting needs no record, and a broker
that was rebuilt answers the same. `Kept.forget` lets go of it, a slice at a time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mqd.core import view_records as records
from mqd.core.deadlines import Timetable
from mqd.core.messages import Message
from mqwire.causes import TTL
from mqwire.limits import MAX_KEPT_MESSAGES, MAX_KEPT_RESULT_BYTES
from mqwire.runs import Runs, ids_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.core.leases import Lease
    from mqd.core.parcels import Parcel
    from mqd.core.records import Record

Result: TypeAlias = "bytes | str | None"
"""What a worker says came of a message."""

DONE: Final = "done"
DEAD: Final = "dead"
GONE: Final = "gone"
CANCELLED: Final = "cancelled"

_EXPORTED_BYTES: Final = 256 * 1024


class Outcome(NamedTuple):
    """What has become of a message."""

    state: str
    """DONE, DEAD, GONE or CANCELLED."""
    at_ms: int
    """When."""
    deliveries: int
    attempts: int
    losses: int
    cause: str
    """Why it is dead, one of `mqwire.causes`; `TTL` of one that is gone because it had waited
    too long; else empty."""
    result: Result
    """What its worker said: of a dead one that is the error."""
    moved_to: tuple[str, int] | None
    """The queue that it went to, and its id there."""

    @property
    def size_bytes(self) -> int:
        """About what the result takes."""
        return 0 if self.result is None else len(self.result)


class Kept:
    """The outcomes that a queue remembers.

    Args:
        keep_ms: for how long.
        max_count: of how many messages at most.
        max_bytes: how large the results may be together.
    """

    __slots__ = (
        "_by_id",
        "_due_ms",
        "_groups",
        "_max_bytes",
        "_max_count",
        "keep_ms",
        "size_bytes",
        "times",
    )

    def __init__(
        self,
        keep_ms: int,
        max_count: int = MAX_KEPT_MESSAGES,
        max_bytes: int = MAX_KEPT_RESULT_BYTES,
    ) -> None:
        self.keep_ms = keep_ms
        self.size_bytes = 0
        """Of all results; one that messages share counts once."""
        self.times: Timetable[Kept] = Timetable()
        """Where it stands with the time when `forget` has something to do; may be shared, and
        is set before anything is remembered."""
        self._due_ms: int | None = None
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._groups: deque[tuple[Runs, Outcome]] = deque()  # the oldest first
        self._by_id: dict[int, Outcome] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, ids: Runs, outcome: Outcome) -> None:
        """Remember what has become of messages; the oldest go where there are too many."""
        self._groups.append((ids, outcome))
        self._by_id.update(dict.fromkeys(ids_of(ids), outcome))
        self.size_bytes += outcome.size_bytes
        while len(self._by_id) > self._max_count or self.size_bytes > self._max_bytes:
            self._forget_first()
        if self._due_ms is None:
            self._set_alarm()

    def add_move(self, message_id: int, message: Message, target: str) -> None:
        """Remember that a message has gone to another queue.

        Args:
            message_id: what it was called here.
            message: as it is there; one that came from here as a dead letter says so.
            target: the name of the other queue.
        """
        moved_to = (target, message.message_id)
        origin, at_ms = message.origin, message.pushed_ms
        if origin is None:
            outcome = Outcome(GONE, at_ms, message.deliveries, 0, 0, "", None, moved_to)
        else:
            last = message.history[-1]
            outcome = Outcome(
                DEAD,
                at_ms,
                message.deliveries,
                origin.attempts,
                origin.losses,
                last.cause,
                last.reason,
                moved_to,
            )
        self.add((message_id, 1), outcome)

    def add_return(self, old_id: int, place: tuple[str, int], message: Message, name: str) -> None:
        """Remember that a dead letter has come back, where it is known to have gone.

        Args:
            old_id: what it was called here before.
            place: its dead-letter queue, and what it was called there.
            message: as it is here.
            name: of this queue.
        """
        known = self.get(old_id, message.pushed_ms)
        if known is not None and known.moved_to == place:
            self.add_move(old_id, message, name)

    def add_done(self, message: Message, at_ms: int, result: Result) -> None:
        """Remember that a message with an object is done."""
        counts = (message.deliveries, message.attempts, message.losses)
        outcome = Outcome(DONE, at_ms, *counts, "", result, None)
        self.add((message.message_id, 1), outcome)

    def add_expired(self, thing: Message | Parcel, at_ms: int) -> None:
        """Remember that a message, or those of a parcel, had waited too long and were dropped."""
        if isinstance(thing, Message):
            counts = (thing.deliveries, thing.attempts, thing.losses)
            ids = (thing.message_id, 1)
        else:
            counts, ids = (0, 0, 0), thing[:2]
        self.add(ids, Outcome(GONE, at_ms, *counts, TTL, None, None))

    def get(self, message_id: int, now_ms: int) -> Outcome | None:
        """Tell what has become of a message; None where that is not known, or not any more."""
        outcome = self._by_id.get(message_id)
        return None if outcome is None or outcome.at_ms + self.keep_ms <= now_ms else outcome

    def forget(self, now_ms: int, most: int) -> int:
        """Let go of what is past its time.

        Args:
            now_ms: when.
            most: about how many messages at most; those of one ACK are not divided.

        Returns:
            How many were let go; those of which more is known count as well.
        """
        count = 0
        while self._groups and count < most:
            if self._groups[0][1].at_ms + self.keep_ms > now_ms:
                break
            count += self._forget_first()
        self._set_alarm()
        return count

    def clear(self) -> None:
        """Forget everything."""
        self._groups.clear()
        self._by_id.clear()
        self.size_bytes = 0
        self._set_alarm()

    def export(self, uid: int, now_ms: int) -> Iterator[Record]:
        """Yield the records of what is not past its time."""
        groups: list[tuple[object, ...]] = []
        size_bytes = 0
        for ids, outcome in self._groups:
            if outcome.at_ms + self.keep_ms <= now_ms:
                continue
            groups.append((ids, *outcome))
            size_bytes += 64 + 8 * len(ids) + outcome.size_bytes
            if size_bytes > _EXPORTED_BYTES:
                yield (records.RESULTS, uid, tuple(groups))
                groups, size_bytes = [], 0
        if groups:
            yield (records.RESULTS, uid, tuple(groups))

    def _set_alarm(self) -> None:
        """Stand in the timetable with the time when the oldest has to go."""
        if self._due_ms is not None:
            self.times.remove(self._due_ms, self)
        self._due_ms = self._groups[0][1].at_ms + self.keep_ms if self._groups else None
        if self._due_ms is not None:
            self.times.add(self._due_ms, self)

    def _forget_first(self) -> int:
        """Let go of the oldest group; returns of how many messages it told."""
        ids, outcome = self._groups.popleft()
        for message_id in ids_of(ids):
            if self._by_id.get(message_id) is outcome:  # else more has become of it since
                del self._by_id[message_id]
        self.size_bytes -= outcome.size_bytes
        return sum(ids[1::2])


def done_with(
    lease: Lease, ids: Runs, at_ms: int, result: Result
) -> Iterator[tuple[Runs, Outcome]]:
    """Yield the outcomes of messages that are done, while the lease still holds them.

    Args:
        lease: which.
        ids: of messages under it; empty for all of them.
        at_ms: when.
        result: what came of each of them.
    """
    wanted = None if not ids else set(ids_of(ids))
    by_counts: dict[tuple[int, int, int], list[int]] = {}
    for batch, _, _ in lease.parts:
        for message_id in range(batch.first_id, batch.first_id + batch.count):
            if wanted is None or message_id in wanted:
                by_counts.setdefault((1, 0, 0), []).append(message_id)
    for parcel in lease.parcels or ():
        for message_id in range(parcel[0], parcel[0] + parcel[1]):
            if wanted is None or message_id in wanted:
                by_counts.setdefault((1, 0, 0), []).append(message_id)
    for message_id, message in (lease.loose or {}).items():
        if wanted is None or message_id in wanted:
            counts = (message.deliveries, message.attempts, message.losses)
            by_counts.setdefault(counts, []).append(message_id)
    for counts, found in by_counts.items():
        yield runs_of(sorted(found)), Outcome(DONE, at_ms, *counts, "", result, None)
