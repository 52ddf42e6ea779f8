"""Calls: what one request sends and how its reply is read. Floor 1: pure.

One function for each verb; those that have to do with leases are in
`mqclient.lease_calls`. A call knows nothing of connections or time; the same ones serve
both clients and their pipelines.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mqclient.batches import pack_bytes, read_message, read_messages
from mqclient.checks import check_flag
from mqclient.errors import ArgumentError, ProtocolError
from mqclient.models import QueueInfo, ServerInfo, SnapshotInfo
from mqclient.options import checked_options
from mqwire import PROTOCOL_VERSION
from mqwire.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Unpack

    from mqclient.batches import Messages
    from mqclient.identity import Identity
    from mqclient.messages import Source
    from mqclient.options import QueueOptions
    from mqclient.url import Credentials
    from mqwire.frames import Frame


REPEATABLE_VERBS: Final = frozenset(
    {
        "AUTH",
        "PING",
        "INFO",
        "LIST",
        "PEEK",
        "WAKE",
        "STATS",
        "SNAPSHOT",
        "HOLDERS",
        "EXTEND",
        "PAUSE",
        "RESUME",
        "STATUS",
        "CREDIT",
        "USERS",
        "TOKENS",
        "FRAMES",
    }
)
"""Those of which done twice is done once, so they are never in doubt. A second extension
lets the lease run on from then. A second snapshot costs its time, holds the same
and more, and takes the place of the first. BACKUP changes no queue either, but its pieces are
of a snapshot that one connection holds, so over another connection they would be refused."""

STATS_PARTS: Final = (
    "server",
    "queues",
    "connections",
    "requests",
    "rates",
    "journal",
    "pages",
    "snapshot",
    "recovery",
    "frame_log",
)
"""The parts of the figures that STATS tells, in the order of PROTOCOL.md section 5."""


class Call:
    """One request that has not been sent yet, or may be sent again.

    Args:
        verb: the protocol's verb.
        arguments: what follows the id in the frame.
        read: makes the result out of the reply's frame.
        wait: seconds that the server may hold the reply back.
        largest_body_bytes: encoded size of the largest body in it, or a bound of that.
    """

    __slots__ = (
        "arguments",
        "ends_on_drain",
        "is_keyed",
        "is_leased",
        "largest_body_bytes",
        "read",
        "verb",
        "wait",
    )

    def __init__(
        self,
        verb: str,
        arguments: tuple[Any, ...],
        read: Callable[[Frame], Any],
        wait: float = 0.0,
        largest_body_bytes: int = 0,
    ) -> None:
        self.verb = verb
        self.arguments = arguments
        self.read = read
        self.wait = wait
        self.largest_body_bytes = largest_body_bytes
        self.is_keyed = False
        """Whether it is a PUSH with a key, which may be sent again while that is remembered."""
        self.is_leased = False
        """Whether it is a PULL whose messages stay at the server, under a lease."""
        self.ends_on_drain = False
        """Whether it is a PULL that waits no more once the client drains."""

    @property
    def is_repeatable(self) -> bool:
        """Whether carrying it out twice is the same as once."""
        return self.verb in REPEATABLE_VERBS


def auth(credentials: Credentials, identity: Identity) -> Call:
    """Say who we are. Result: ServerInfo."""
    options: dict[str, Any] = {"client": identity.client, "version": PROTOCOL_VERSION}
    if identity.instance:
        options["instance"] = identity.instance
    if identity.host:
        options["host"] = identity.host
    if identity.keepalive:
        options["keepalive"] = identity.keepalive
    if identity.detached:
        options["detached"] = True
    return Call("AUTH", (dict(credentials.fields), options), _server_info)


def ping() -> Call:
    """Ask whether the server answers. Result: None."""
    return Call("PING", (), _nothing)


def wake(request_id: int) -> Call:
    """End the wait of a PULL of the same connection. Result: None."""
    return Call("WAKE", (request_id,), _nothing)


def create(
    queue: str,
    *,
    max_messages: int | None = None,
    max_bytes: int | None = None,
    durability: str | None = None,
    if_missing: bool = False,
    **more: Unpack[QueueOptions],
) -> Call:
    """Create a queue. Result: QueueInfo."""
    options: dict[str, Any] = checked_options(more)
    if max_messages is not None:
        options["max_messages"] = max_messages
    if max_bytes is not None:
        options["max_bytes"] = max_bytes
    if durability is not None:
        options["durability"] = check_level(durability)
    check_flag(if_missing, "if_missing")
    if if_missing:
        options["if_missing"] = True
    return Call("CREATE", (queue, options) if options else (queue,), _queue_info)


def delete(queue: str) -> Call:
    """Delete a queue. Result: how many messages went with it."""
    return Call("DELETE", (queue,), number)


def purge(queue: str, state: str | None = None) -> Call:
    """Remove a queue's messages, or those in one state. Result: how many."""
    return Call("PURGE", (queue,) if state is None else (queue, {"state": state}), number)


def pause(queue: str) -> Call:
    """Stop the delivery of a queue's messages. Result: None."""
    return Call("PAUSE", (queue,), _nothing)


def resume(queue: str) -> Call:
    """Let a queue's messages be delivered again. Result: None."""
    return Call("RESUME", (queue,), _nothing)


def info(queue: str) -> Call:
    """Look at one queue. Result: QueueInfo."""
    return Call("INFO", (queue,), _queue_info)


def queues(pattern: str | None) -> Call:
    """Look at all queues, or those that fit a pattern. Result: list of QueueInfo."""
    return Call("LIST", () if pattern is None else (pattern,), _queue_infos)


def push(
    queue: str,
    count: int,
    pack: bytes,
    headers: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None,
    largest_body_bytes: int,
    durability: str | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Call:
    """Push a pack of `count` bodies. Result: the first id.

    Where a level is asked for, a reply that tells of less is a ProtocolError.

    Args:
        queue: where to.
        count: how many bodies.
        pack: they themselves.
        headers: as they stand on the wire.
        largest_body_bytes: a bound of the largest body.
        durability: what the reply waits for.
        more: other options, as they stand on the wire.
    """
    options: dict[str, Any] = dict(more)
    read: Callable[[Frame], int] = number
    if headers:
        options["headers"] = headers
    if durability is not None:
        options["durability"] = check_level(durability)
        read = _push_reader(durability)
    arguments: tuple[Any, ...] = (queue, count, pack)
    if options:
        arguments = (queue, count, pack, options)
    call = Call("PUSH", arguments, read, 0.0, largest_body_bytes)
    call.is_keyed = "key" in options
    return call


def pull_one(source: Source, durability: str | None = None) -> Call:
    """Pull a message if there is one. Result: Message or None."""
    arguments: tuple[Any, ...] = (source.queue, 1)
    if durability is not None:
        arguments = (source.queue, 1, {"durability": check_level(durability)})
    return Call("PULL", arguments, lambda frame: read_message(frame, source))


def pull(source: Source, count: int, wait: float, durability: str | None = None) -> Call:
    """Pull up to `count` messages. Result: (messages, bytes of their packs)."""
    options: dict[str, Any] = {}
    if wait:
        options["wait"] = wait
    if durability is not None:
        options["durability"] = check_level(durability)
    arguments: tuple[Any, ...] = (source.queue, count)
    if options:
        arguments = (source.queue, count, options)
    return Call("PULL", arguments, _batch_reader(source), wait)


def peek(source: Source, count: int, skip: int, state: str | None = None) -> Call:
    """Look at up to `count` messages. Result: (messages, bytes of their packs)."""
    options: dict[str, Any] = {}
    if skip:
        options["skip"] = skip
    if state is not None:
        options["state"] = state
    arguments: tuple[Any, ...] = (source.queue, count)
    if options:
        arguments = (source.queue, count, options)
    return Call("PEEK", arguments, _batch_reader(source))


def stats() -> Call:
    """Look at the server's figures. Result: a dict of dicts, or None for a part it has not."""
    return Call("STATS", (), _stats)


def snapshot() -> Call:
    """Make a snapshot. Result: SnapshotInfo."""
    return Call("SNAPSHOT", (), _snapshot_info)


def backup() -> Call:
    """Make a snapshot and have the connection hold it. Result: SnapshotInfo."""
    return Call("BACKUP", (), _snapshot_info)


def backup_piece(offset: int) -> Call:
    """Return the held snapshot's bytes from `offset` on, as many as come. Result: bytes."""
    return Call("BACKUP", (offset,), _binary)


def then(call: Call, change: Callable[[Any], Any]) -> Call:
    """Return `call` with `change` applied to its result."""
    read = call.read
    call.read = lambda frame: change(read(frame))
    return call


def _batch_reader(source: Source) -> Callable[[Frame], tuple[Messages, int]]:
    return lambda frame: (read_messages(frame, source), pack_bytes(frame))


def _nothing(_frame: Frame) -> None:
    return None


def number(frame: Frame) -> int:
    """Read a reply whose result is a number.

    Raises:
        LookupError, TypeError: the reply does not have that form.
    """
    result = frame[2]
    if type(result) is not int:
        raise TypeError(f"a number was expected, not {type(result).__name__}")
    return result


def _push_reader(asked: str) -> Callable[[Frame], int]:
    def read(frame: Frame) -> int:
        first, reached = number(frame), frame[3]
        if LEVELS[reached] < LEVELS[asked]:
            raise ProtocolError(
                f"the messages from {first} on have been pushed, but the server has reached "
                f"{reached} alone where {asked} was asked for"
            )
        return first

    return read


def _binary(frame: Frame) -> bytes:
    data = frame[2]
    if type(data) is not bytes:
        raise TypeError(f"binary was expected, not {type(data).__name__}")
    return data


def _stats(frame: Frame) -> dict[str, Any]:
    parts = frame[2]
    if type(parts) is not dict:
        raise TypeError(f"a map was expected, not {type(parts).__name__}")
    return {**dict.fromkeys(STATS_PARTS), **parts}


def _snapshot_info(frame: Frame) -> SnapshotInfo:
    return SnapshotInfo.from_map(frame[2])


def _queue_info(frame: Frame) -> QueueInfo:
    return QueueInfo.from_map(frame[2])


def _queue_infos(frame: Frame) -> list[QueueInfo]:
    return [QueueInfo.from_map(each) for each in frame[2]]


def _server_info(frame: Frame) -> ServerInfo:
    return ServerInfo.from_map(frame[2])


def check_level(durability: object) -> str:
    """Return `durability` if it is a level that can be asked for.

    Raises:
        InterfaceError: it is none.
    """
    if not isinstance(durability, str) or durability not in LEVELS:
        known = ", ".join(LEVELS)
        raise ArgumentError(f"durability must be one of {known}, not {durability!r}")
    return durability


def check_queue(queue: object) -> None:
    """Return if `queue` is a string; whether it is a good name is the server's business.

    Raises:
        InterfaceError: it is none.
    """
    if not isinstance(queue, str):
        raise ArgumentError(f"a queue's name is a string, not {type(queue).__name__}")
