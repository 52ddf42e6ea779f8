"""What the server tells about itself and its queues, as frozen dataclasses. Floor 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from mqwire import limits as wire_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LeaseId(NamedTuple):
    """The id of a lease: the epoch of the server that gave it, and its number there."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def from_array(cls, pair: Sequence[int]) -> LeaseId:
        """Read what stands on the wire.

        Raises:
            TypeError, ValueError: it is no pair of integers.
        """
        epoch, seq = pair
        if type(epoch) is not int or type(seq) is not int:
            raise TypeError(f"a lease is two integers, not {pair!r}")
        return cls(epoch, seq)

    @classmethod
    def from_text(cls, text: str) -> LeaseId:
        """Read what `str` of an id gives.

        Raises:
            ValueError: it is no such text.
        """
        epoch, dash, seq = text.partition("-")
        if not dash or not all(part.isascii() and part.isdecimal() for part in (epoch, seq)):
            raise ValueError(f"a lease is written as two numbers with a dash, not {text[:64]!r}")
        return cls(int(epoch), int(seq))


@dataclass(frozen=True)
class Attempt:
    """One delivery of a message that ended otherwise than with an ack.

    Args:
        owner: who had it: a text, or a map with an `instance` and what describes it.
        leased_at: since when, in seconds since 1970-01-01 UTC.
        ended_at: until when.
        cause: what ended it, in a word.
        reason: what its worker said to that.
    """

    owner: Any
    leased_at: float
    ended_at: float
    cause: str
    reason: str

    @classmethod
    def from_map(cls, entry: Mapping[str, Any]) -> Attempt:
        """Read an entry of the column `history`; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not such an entry.
        """
        return cls(**{name: entry[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Origin:
    """Where a dead letter came from, and what it had been through there.

    Args:
        queue: its first queue.
        id: its number there.
        pushed_at: when it was pushed, in seconds since 1970-01-01 UTC.
        attempts: how often it failed there.
        losses: how often its worker was lost there.
    """

    queue: str
    id: int
    pushed_at: float
    attempts: int
    losses: int

    @classmethod
    def from_map(cls, origin: Mapping[str, Any]) -> Origin:
        """Read an entry of the column `origin`; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not such an entry.
        """
        return cls(**{name: origin[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Holder:
    """A lease and who holds it.

    Args:
        lease: its id.
        queue: whose messages it holds.
        count: how many.
        holder: who holds it: user and instance.
        user: the user.
        client: name and version of its client; empty where it has not said.
        host: the machine that it said to be on; empty where it has not said.
        peer: the address that it came from.
        leased_at: since when, in seconds since 1970-01-01 UTC.
        deadline_at: until when, unless it is extended; of some of its messages at least.
        is_connected: whether the server has a connection of the holder.
        is_detached: whether its leases end at their time alone, be it connected or not.
    """

    lease: LeaseId
    queue: str
    count: int
    holder: str
    user: str
    client: str
    host: str
    peer: str
    leased_at: float
    deadline_at: float
    is_connected: bool
    is_detached: bool = False

    @classmethod
    def from_map(cls, entry: Mapping[str, Any]) -> Holder:
        """Read an entry of HOLDERS; keys that are not known are passed over.

        Raises:
            KeyError, TypeError, ValueError: the map is not such an entry.
        """
        said = {"client": "", "host": "", "peer": "", "is_detached": False, **entry}
        values = {name: said[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "lease": LeaseId.from_array(entry["lease"])})


@dataclass(frozen=True)
class QueueInfo:
    """The state of a queue at the moment of the reply.

    Args:
        queue: its name.
        ready: messages that wait to be pulled.
        bytes: size of these, encoded bodies and headers.
        oldest_age_seconds: how long the oldest has waited, or None if there is none.
        pushed: messages that were pushed since the queue was created.
        pulled: messages that were pulled since then.
        purged: messages that were purged since then.
        waiting: pulls that wait for messages.
        max_messages: bound of `ready`.
        max_bytes: bound of `bytes`.
        durability: the level of what is done with it and says nothing else, see PROTOCOL.md
            section 6.
        created_at: seconds since 1970-01-01 UTC.
        delayed: messages that wait for a time.
        leased: messages that somebody works on.
        dead: messages that are past a budget and have stayed.
        acked: messages that were acknowledged since the queue was created.
        moved: messages that went to the dead-letter queue since then.
        expired: messages that waited longer than they might since then, and were dropped.
        cancelled: messages that were cancelled since then.
        is_paused: whether nothing is delivered.
        oldest_delayed_age_seconds: how long the oldest delayed message has been so, or None.
        oldest_leased_age_seconds: how long ago the oldest lease was given, or None.
        oldest_dead_age_seconds: how long the message has been dead that has been so for
            longest, or None.
        options: all that the queue was created with, by name.
    """

    queue: str
    ready: int
    bytes: int
    oldest_age_seconds: float | None
    pushed: int
    pulled: int
    purged: int
    waiting: int
    max_messages: int
    max_bytes: int
    durability: str
    created_at: float
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    acked: int = 0
    moved: int = 0
    expired: int = 0
    cancelled: int = 0
    is_paused: bool = False
    oldest_delayed_age_seconds: float | None = None
    oldest_leased_age_seconds: float | None = None
    oldest_dead_age_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_map(cls, info: Mapping[str, Any]) -> QueueInfo:
        """Read the map of PROTOCOL.md section 5; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not an info.
        """
        options = info["options"]
        return cls(
            queue=info["queue"],
            ready=info["ready"],
            bytes=info["bytes"],
            oldest_age_seconds=info["oldest_age_seconds"],
            pushed=info["pushed"],
            pulled=info["pulled"],
            purged=info["purged"],
            waiting=info["waiting"],
            max_messages=options["max_messages"],
            max_bytes=options["max_bytes"],
            durability=options["durability"],
            created_at=info["created_at"],
            options=dict(options),
            **{name: info[name] for name in _NEWER_KEYS if name in info},
        )


_NEWER_KEYS = (
    "delayed",
    "leased",
    "dead",
    "acked",
    "moved",
    "expired",
    "cancelled",
    "is_paused",
    "oldest_delayed_age_seconds",
    "oldest_leased_age_seconds",
    "oldest_dead_age_seconds",
)


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot that the server has made.

    Args:
        number: its number; they count up from 1.
        records: how many records the state took.
        bytes: size of its file, and so of a backup.
        seconds: how long it took.
    """

    number: int
    records: int
    bytes: int
    seconds: float

    @classmethod
    def from_map(cls, info: Mapping[str, Any]) -> SnapshotInfo:
        """Read the result of SNAPSHOT or BACKUP; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not such a result.
        """
        counts = (info["number"], info["records"], info["bytes"])
        if any(type(count) is not int or count < 0 for count in counts):
            raise TypeError(f"number, records and bytes are {counts}")
        return cls(*counts, seconds=float(info["seconds"]))


@dataclass(frozen=True)
class Limits:
    """The bounds that the server has in force, as AUTH tells them.

    Args:
        max_frame_bytes: of one frame's body.
        max_body_bytes: of one encoded body.
        max_messages_per_frame: bodies in one PUSH, messages in one PULL or PEEK.
    """

    max_frame_bytes: int = wire_limits.MAX_FRAME_BYTES
    max_body_bytes: int = wire_limits.MAX_BODY_BYTES
    max_messages_per_frame: int = wire_limits.MAX_MESSAGES_PER_FRAME

    @classmethod
    def from_map(cls, values: Mapping[str, Any]) -> Limits:
        """Read the map of limits in AUTH's reply; one that is missing has its default.

        Raises:
            ValueError: a limit is not a positive integer.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name, value in known.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"the limit {name} is {value!r}")
        return cls(**known)


BEFORE_AUTH = Limits(max_frame_bytes=wire_limits.MAX_FRAME_BYTES_BEFORE_AUTH)
"""What holds until the server has answered AUTH."""


@dataclass(frozen=True)
class ServerInfo:
    """Who answered, and as whom.

    Args:
        user: the user that the connection acts as.
        role: `admin`, `secretary`, `agent` or `user`.
        server: name of the server's software.
        version: its version.
        protocol: the protocol version in force.
        durability: the level that replies have reached when neither the request nor its
            queue says another, see PROTOCOL.md section 6.
        limits: the bounds in force.
        grace_seconds: how long leases of a client without a connection go on; 0 where the
            server does not say.
        token_id: of the token that the client came with; None where it came with a password,
            or the address file.
        expires_at: until when that may be used, in seconds since 1970-01-01 UTC.
        is_managed: whether `change_password` can change the user's; None where the server does
            not say.
    """

    user: str
    role: str
    server: str
    version: str
    protocol: int
    durability: str
    limits: Limits
    grace_seconds: float = 0.0
    token_id: int | None = None
    expires_at: float | None = None
    is_managed: bool | None = None

    @classmethod
    def from_map(cls, who: Mapping[str, Any]) -> ServerInfo:
        """Read AUTH's reply; keys that are not known are passed over.

        Raises:
            KeyError, TypeError, ValueError: the map is not AUTH's reply.
        """
        return cls(
            user=who["user"],
            role=who["role"],
            server=who["server"],
            version=who["version"],
            protocol=who["protocol"],
            durability=who["durability"],
            limits=Limits.from_map(who["limits"]),
            grace_seconds=float(who.get("grace_seconds", 0.0)),
            token_id=who.get("token_id"),
            expires_at=who.get("expires_at"),
            is_managed=who.get("is_managed"),
        )
