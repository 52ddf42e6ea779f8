"""What the server tells of single messages, and of what happens to them. Floor 1: data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqclient.codecs import decode_result
from mqclient.models import LeaseId
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPEN_STATES: Final = frozenset({"ready", "delayed", "leased"})
"""Where a message is that will still be worked on."""

MISSED: Final = "missed"
"""The kind of the event that tells that others were not told."""


class Place(NamedTuple):
    """A message of a queue: where another one has moved to."""

    queue: str
    id: int


class Cancellation(NamedTuple):
    """What a cancel has done.

    Args:
        removed: messages that waited, and are gone.
        marked: messages under leases: their holders are told, and they are not tried again.
    """

    removed: int
    marked: int


@dataclass(frozen=True)
class Status:
    """Where a message is, and what has become of it. What is not known is None.

    Args:
        id: its number in its queue.
        state: `ready`, `delayed`, `leased`, `dead`, `done`, `cancelled`, `gone` (not there any
            more, and the queue keeps no results) or `unknown` (never was there).
        position: of a ready one: how many would be delivered before it.
        due_at: of a delayed one: when it becomes ready, in seconds since 1970-01-01 UTC.
        lease: of a leased one: the lease.
        holder: who has it.
        leased_at: since when.
        deadline_at: until when, unless it is extended.
        user, client, host, peer: who that is, as far as known.
        is_cancelled: whether it is not to be tried again.
        deliveries: how often it was handed out.
        attempts: how often it has failed.
        losses: how often its worker was lost.
        raw_result: what its worker attached, as it was on the wire.
        cause: of a dead one: why, a word of its history.
        error: and what its worker said.
        moved_to: where it is now, if that is another queue; or what it is called now, if it
            came back from its dead-letter queue.
        ended_at: when it came to its end.
    """

    id: int
    state: str
    position: int | None = None
    due_at: float | None = None
    lease: LeaseId | None = None
    holder: str | None = None
    leased_at: float | None = None
    deadline_at: float | None = None
    user: str | None = None
    client: str | None = None
    host: str | None = None
    peer: str | None = None
    is_cancelled: bool = False
    deliveries: int | None = None
    attempts: int | None = None
    losses: int | None = None
    raw_result: bytes | str | None = None
    cause: str | None = None
    error: str | None = None
    moved_to: Place | None = None
    ended_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody is going to work on it any more."""
        return self.state not in OPEN_STATES

    @property
    def result(self) -> Any:
        """What its worker attached: bytes as they are, JSON decoded, other text as it is."""
        return decode_result(self.raw_result)

    @classmethod
    def from_map(cls, entry: Mapping[str, Any]) -> Status:
        """Read an entry of STATUS; keys that are not known are passed over.

        Raises:
            KeyError, TypeError, ValueError: the map is not such an entry.
        """
        known = {name: entry[name] for name in cls.__dataclass_fields__ if name in entry}
        known["raw_result"] = entry.get("result")
        if known.get("lease") is not None:
            known["lease"] = LeaseId.from_array(known["lease"])
        if known.get("moved_to") is not None:
            known["moved_to"] = Place(known["moved_to"]["queue"], known["moved_to"]["id"])
        return cls(**{"id": entry["id"], "state": entry["state"], **known})


@dataclass(frozen=True)
class Event:
    """What has happened to a queue, or to messages of it.

    Args:
        kind: what: `pushed`, `leased`, `acked` ..., as PROTOCOL.md section 5 (WATCH) lists
            them; or `missed`, where others could not be told: whoever needs all has to ask for
            the state of things then.
        queue: which; empty for `missed`.
        runs: the messages: first, count, first, count, ...
        at: when, in seconds since 1970-01-01 UTC; 0 for `missed`.
        more: what else the server told, as it was on the wire.
    """

    kind: str
    queue: str
    runs: Sequence[int]
    at: float
    more: Mapping[str, Any]

    @property
    def ids(self) -> list[int]:
        """The messages that it is about."""
        return list(ids_of(self.runs))

    @property
    def count(self) -> int | None:
        """How many messages (of `missed`: events); None where nobody knows."""
        count: int | None = self.more.get("count", sum(self.runs[1::2]))
        return count

    @property
    def lease(self) -> LeaseId | None:
        """The lease that they are or were under."""
        lease = self.more.get("lease")
        return None if lease is None else LeaseId.from_array(lease)

    @property
    def holder(self) -> str | None:
        """Who has or had them."""
        return self.more.get("holder")

    @property
    def cause(self) -> str | None:
        """Why they came back, in a word."""
        return self.more.get("cause")

    @property
    def reason(self) -> str | None:
        """What their worker said to that; of a long reason the beginning."""
        return self.more.get("reason")

    @property
    def due_at(self) -> float | None:
        """When they become ready, if they are delayed, in seconds since 1970-01-01 UTC."""
        return self.more.get("due_at")

    @property
    def moved_to(self) -> str | None:
        """The queue that they went to."""
        return self.more.get("moved_to")

    @classmethod
    def from_array(cls, event: Sequence[Any]) -> Event:
        """Read an event of WATCH.

        Raises:
            TypeError, ValueError, LookupError: it is none.
        """
        kind, queue, runs, at, more = event[:5]
        if type(kind) is not str or len(runs) % 2 or type(more) is not dict:
            raise TypeError(f"an event was expected, not {event!r}")
        return cls(kind, queue, runs, at, more)

    @classmethod
    def missed(cls, count: int | None) -> Event:
        """Return the event that tells that `count` others were not told; None: some may be."""
        return cls(MISSED, "", (), 0.0, {"count": count})
