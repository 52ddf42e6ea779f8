"""One message: its body, decoded when it is asked for, and what is known of it. Floor 1.

How messages are read off a reply is in `mqclient.batches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqclient.codecs import CODEC_HEADER, decode_plain, decoders
from mqclient.errors import BodyError
from mqclient.models import Attempt, LeaseId, Origin
from mqclient.typed import MismatchError
from mqwire.limits import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqclient.typed import Restore

_SHOWN_CHARS = 60


class Source:
    """What the messages of one pull have in common.

    Args:
        queue: the queue that they come from.
        decoders: how to decode a body, by the header `codec`.
        restore: makes the type that was asked for out of a decoded body, or None.
        deliveries: how often a message was handed out of which the reply does not say it:
            once for a pull, which is this time, and 0 for a look.
    """

    __slots__ = ("decoders", "deliveries", "queue", "restore")

    def __init__(
        self,
        queue: str,
        decoders: dict[str, Callable[[Any], Any]],
        restore: Restore | None,
        deliveries: int = 1,
    ) -> None:
        self.queue = queue
        self.decoders = decoders
        self.restore = restore
        self.deliveries = deliveries

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what can be: a copy knows the built-in codecs, and no type to restore."""
        return _plain_source, (self.queue, self.deliveries)


def _plain_source(queue: str, deliveries: int = 1) -> Source:
    return Source(queue, decoders("json"), None, deliveries)


class Message:
    """One message that was pulled or peeked.

    Args:
        message_id: its number in its queue.
        raw: the body as it was on the wire.
        headers: its headers, or None.
        source: what it shares with the others of its pull.
    """

    __slots__ = ("_body", "_flaw", "_headers", "_more", "_source", "id", "raw")
    _body: Any  # not there until it has been decoded
    _flaw: str  # not there unless the body's encoding is broken
    _more: dict[str, Any]  # not there unless the reply has columns beside the headers

    def __init__(
        self, message_id: int, raw: Any, headers: dict[str, Any] | None, source: Source
    ) -> None:
        self.id: int = message_id
        """Its number in its queue."""
        self.raw: Any = raw
        """The body as it was on the wire, not decoded: bytes or str. (A foreign client may
        push other msgpack values, which are themselves here; the encoding of one that is
        no value at all is bytes.)"""
        self._headers = headers
        self._source = source

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self._source.queue

    @property
    def headers(self) -> dict[str, Any]:
        """Its headers; empty if it has none."""
        if self._headers is None:
            self._headers = {}
        return self._headers

    @property
    def body(self) -> Any:
        """The body, decoded and, where a type was asked for, restored and checked.

        It is decoded at the first look and kept.

        Raises:
            BodyError: it cannot be decoded or does not fit; `error.message` is this message.
        """
        try:
            return self._body
        except AttributeError:
            self._body = body = self._decode()
            return body

    @property
    def deliveries(self) -> int:
        """How often it was handed out, this time included."""
        count: int | None = self._column("deliveries")
        return self._source.deliveries if count is None else count

    @property
    def attempts(self) -> int:
        """How often it has failed so far, as its budget counts."""
        return self._column("attempts") or 0

    @property
    def losses(self) -> int:
        """How often its worker was lost so far, as its budget counts."""
        return self._column("losses") or 0

    @property
    def history(self) -> list[Attempt]:
        """Of a message that was peeked at: how its deliveries ended, oldest first."""
        return [Attempt.from_map(entry) for entry in self._column("history") or ()]

    @property
    def origin(self) -> Origin | None:
        """Of a dead letter that was peeked at: where it came from."""
        origin = self._column("origin")
        return None if origin is None else Origin.from_map(origin)

    @property
    def due_at(self) -> float | None:
        """Of a delayed message: when it becomes ready, in seconds since 1970-01-01 UTC."""
        value: float | None = self._column("due_at")
        return value

    @property
    def expires_at(self) -> float | None:
        """Of one that was peeked at: when it expires, in seconds since 1970; None for never."""
        value: float | None = self._column("expires_at")
        return value

    @property
    def priority(self) -> int:
        """Of a message that was peeked at: its priority; 128 where nothing was said."""
        value: int | None = self._column("priority")
        return DEFAULT_PRIORITY if value is None else value

    @property
    def lease(self) -> LeaseId | None:
        """Of a leased message that was peeked at: the lease that it is under."""
        lease = self._column("lease")
        return None if lease is None else LeaseId.from_array(lease)

    @property
    def holder(self) -> str | None:
        """Of a leased message that was peeked at: who works on it."""
        value: str | None = self._column("holder")
        return value

    @property
    def state(self) -> str | None:
        """Of one that was peeked at by its id: `ready`, `delayed`, `leased` or `dead`."""
        value: str | None = self._column("state")
        return value

    @property
    def deadline_at(self) -> float | None:
        """Of a leased message that was peeked at: when its lease ends, unless extended."""
        value: float | None = self._column("deadline_at")
        return value

    def _column(self, name: str) -> Any:
        more = getattr(self, "_more", None)
        return None if more is None else more.get(name)

    def _decode(self) -> Any:
        flaw = getattr(self, "_flaw", None)
        if flaw is not None:
            raise self._error(flaw)
        codec = self._headers.get(CODEC_HEADER) if self._headers else None
        decode = decode_plain if codec is None else self._source.decoders.get(codec)
        if decode is None:
            raise self._error(f"it needs the codec {codec!r}, which this client does not have")
        try:
            body = decode(self.raw)
        except Exception as error:  # a codec of the user's own may raise anything
            raise self._error(f"it cannot be decoded: {error}") from error
        restore = self._source.restore
        if restore is None:
            return body
        try:
            return restore(body, "body")
        except MismatchError as error:
            raise self._error(str(error)) from error

    def _error(self, why: str) -> BodyError:
        return BodyError(f"message {self.id} of queue {self.queue!r}: {why}", self)

    def given_to(self, source: Source) -> Message:
        """Return this message as one of another pull of the same queue."""
        message = Message(self.id, self.raw, self._headers, source)
        flaw = getattr(self, "_flaw", None)
        if flaw is not None:
            message._flaw = flaw
        more = getattr(self, "_more", None)
        if more is not None:
            message._more = more
        return message

    def __repr__(self) -> str:
        shown = repr(self.raw[:_SHOWN_CHARS] if isinstance(self.raw, bytes | str) else self.raw)
        cut = "..." if isinstance(self.raw, bytes | str) and len(self.raw) > _SHOWN_CHARS else ""
        return f"Message(id={self.id}, queue={self.queue!r}, raw={shown}{cut})"
