"""Many messages, as they come in one reply. Floor 1.

A pulled message is gone from the server, so reading a reply must never fail for what is in a
body: bodies are decoded when they are asked for, and one that cannot be decoded fails alone,
with the message at hand.

Theory of operation. A reply has columns, and so has what is read off it: ids, bodies as they
were on the wire, headers. One C call splits the bodies. Objects are made of these when somebody
looks at a message, all at once; who wants the bodies alone, or knows by their number what to
do, never pays for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

import msgpack

from mqclient.codecs import decode_plain
from mqclient.messages import Message
from mqwire.packs import decode_body, split_pack
from mqwire.runs import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mqclient.messages import Source
    from mqwire.frames import Frame

_COLUMNS: Final = frozenset(
    (
        "deliveries",
        "attempts",
        "losses",
        "history",
        "origin",
        "due_at",
        "expires_at",
        "priority",
        "lease",
        "holder",
        "deadline_at",
        "state",
    )
)
"""Columns beside the headers; others are not known yet, and passed over."""

_BYTES_ALONE: Final = {bytes}


class _Columns(NamedTuple):
    """What a reply says of its messages: of each sequence one entry for each message."""

    ids: Sequence[int]
    raws: list[Any]
    headers: Sequence[dict[str, Any] | None] | None
    more: Mapping[str, Sequence[Any]]
    source: Source


class Messages(Sequence[Message]):
    """Messages in the order of their queue: a list that is only read.

    The same message is the same object each time it is looked at.
    """

    __slots__ = ("_columns", "_made")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._made: list[Message] = list(messages)
        self._columns: _Columns | None = None
        """What these are still to be made of; None once they are."""

    def bodies(self) -> list[Any]:
        """Return all bodies, as `Message.body` of each.

        Bodies that are bytes cost next to nothing here, since no objects are made for their
        messages.

        Raises:
            BodyError: of the first that cannot be decoded or does not fit.
        """
        columns = self._columns
        if columns is not None and columns.headers is None and columns.source.restore is None:
            raws = columns.raws
            if _BYTES_ALONE.issuperset(map(type, raws)):
                return raws.copy()
            try:
                return list(map(decode_plain, raws))
            except (ValueError, RecursionError):
                pass  # the message itself is to say so
        return [message.body for message in self._all()]

    def plus(self, others: Messages) -> Messages:
        """Return these and others behind them."""
        if not self:
            return others
        return Messages([*self, *others]) if others else self

    def __len__(self) -> int:
        return len(self._made if self._columns is None else self._columns.raws)

    @overload
    def __getitem__(self, place: int) -> Message: ...

    @overload
    def __getitem__(self, place: slice) -> list[Message]: ...

    def __getitem__(self, place: int | slice) -> Message | list[Message]:
        return self._all()[place]

    def __iter__(self) -> Iterator[Message]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Messages | list):
            return self._all() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __add__(self, other: Iterable[Message]) -> list[Message]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Message]) -> list[Message]:
        return [*other, *self]

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        return Messages, (self._all(),)

    def _all(self) -> list[Message]:
        columns = self._columns
        if columns is not None:
            self._made = _made_of(columns)
            self._columns = None
        return self._made


def _made_of(columns: _Columns) -> list[Message]:
    headers = repeat(None) if columns.headers is None else columns.headers
    messages = list(map(Message, columns.ids, columns.raws, headers, repeat(columns.source)))
    _add_columns(messages, columns.more)
    return messages


def _add_columns(messages: list[Message], more: Mapping[str, Sequence[Any]]) -> None:
    for name, column in more.items():
        for message, value in zip(messages, column, strict=True):
            if value is None:
                continue
            if not hasattr(message, "_more"):
                message._more = {}  # noqa: SLF001  made here
            message._more[name] = value  # noqa: SLF001  made here


def read_messages(frame: Frame, source: Source) -> Messages:
    """Read the messages of the reply to a PULL or PEEK.

    Raises:
        LookupError, TypeError, ValueError: the reply does not have the form of one.
    """
    found = Messages()
    if not frame[2]:
        return found
    ids, pack = _ids_and_pack(frame)
    count = len(ids)
    headers, more = _columns(frame[4], count) if len(frame) > 4 else (None, {})
    try:
        raws = _values(count, pack)
    except (ValueError, TypeError):  # one of the bodies; find out which
        made = _read_one_by_one(ids, pack, headers, source)
        _add_columns(made, more)
        return Messages(made)
    found._columns = _Columns(ids, raws, headers, more, source)  # noqa: SLF001  made here
    return found


def read_plain(frame: Frame) -> list[Any] | None:
    """Read the bodies alone of the reply to a PULL or PEEK, which costs no object for each.

    Returns:
        The raw bodies; None where there is more to tell of the messages than ids and bodies, or
        a body is no value: then `read_messages` has it.

    Raises:
        LookupError, TypeError, ValueError: the reply does not have the form of one.
    """
    if not frame[2]:
        return []
    if len(frame) > 4 and frame[4]:
        return None
    ids, pack = _ids_and_pack(frame)
    try:
        return _values(len(ids), pack)
    except (ValueError, TypeError):
        return None


def read_message(frame: Frame, source: Source) -> Message | None:
    """Read the one message of the reply to a PULL, or None if there is none.

    Raises:
        LookupError, TypeError, ValueError: the reply does not have the form of one.
    """
    if len(frame) == 4 and len(frame[2]) == 2 and frame[2][1] == 1 and len(frame[3]) == 1:
        try:
            raw = msgpack.unpackb(frame[3][0], strict_map_key=False)
        except (ValueError, TypeError):
            pass  # told below what is wrong with it
        else:
            return Message(frame[2][0], raw, None, source)
    return next(iter(read_messages(frame, source)), None)


def pack_bytes(frame: Frame) -> int:
    """Return the size of the packs of such a reply in bytes."""
    return sum(map(len, frame[3]))


def _ids_and_pack(frame: Frame) -> tuple[Sequence[int], bytes]:
    """Return the ids of a reply's messages, and their pack."""
    runs, packs = frame[2], frame[3]
    count = sum(runs[1::2])
    pack = packs[0] if len(packs) == 1 else b"".join(packs)
    if count > len(pack):
        raise ValueError(f"{count} messages cannot be in {len(pack)} bytes")
    if len(runs) == 2:
        return range(runs[0], runs[0] + count), pack
    ids = list(islice(ids_of(runs), count + 1))
    if len(ids) != count:
        raise ValueError(f"runs {runs} are not of {count} messages")
    return ids, pack


def _values(count: int, pack: bytes) -> list[Any]:
    """Return the values in a pack, with one C call."""
    values: list[Any] = msgpack.unpackb(_array_header(count) + pack, strict_map_key=False)
    return values


def _columns(
    said: Mapping[str, Any], count: int
) -> tuple[Sequence[dict[str, Any] | None] | None, dict[str, Any]]:
    """Return the headers, and the other columns that are known."""
    more = {name: said[name] for name in _COLUMNS.intersection(said)}
    headers = said.get("headers")
    for column in more.values() if headers is None else (headers, *more.values()):
        if len(column) != count:
            raise ValueError(f"a column of {len(column)} is not of {count} messages")
    return headers, more


def _read_one_by_one(
    ids: Sequence[int],
    pack: bytes,
    headers: Sequence[dict[str, Any] | None] | None,
    source: Source,
) -> list[Message]:
    try:
        pieces = split_pack(pack)
    except Exception as error:
        raise ValueError(str(error)) from error
    if len(pieces) != len(ids):
        raise ValueError(f"{len(ids)} ids came with {len(pieces)} bodies")
    messages = []
    each_headers = repeat(None) if headers is None else headers
    for message_id, piece, each in zip(ids, pieces, each_headers, strict=False):
        message = Message(message_id, piece, each, source)
        try:
            message.raw = decode_body(piece)
        except (ValueError, TypeError, RecursionError) as error:
            message._flaw = f"it is no msgpack value that Python can hold: {error}"  # noqa: SLF001  made here
        messages.append(message)
    return messages


def _array_header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    return (
        (b"\xdc" + count.to_bytes(2, "big"))
        if count < 65536
        else b"\xdd" + count.to_bytes(4, "big")
    )
