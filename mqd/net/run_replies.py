"""The replies of a run, encoded together: what encoding each by itself gives, at a fraction.

All replies of a run are alike but for their numbers. So a template is repeated as often as there
are replies, and each byte of a number is put into all of them by one assignment with a stride.
That needs numbers of one column to be encoded in the same length; where they are not, which is so
a few times in the life of a connection, each reply is encoded by itself.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from mqwire.frames import PREFIX_BYTE, FrameWriter, prefix
from mqwire.limits import PREFIX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mqd.engine.base import Each
    from mqd.net.replies import Reply

_NUMBERS: Final = (
    (0x00, 0x7F, b"", "B"),
    (0x80, 0xFF, b"\xcc", "B"),
    (0x100, 0xFFFF, b"\xcd", "H"),
    (0x1_0000, 0xFFFF_FFFF, b"\xce", "I"),
    (0x1_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, b"\xcf", "Q"),
)
"""From where to where, the byte before it, and the form of an unsigned integer of msgpack."""

_BINARIES: Final = ((0, 0xFF, b"\xc4", "B"), (0x100, 0xFFFF, b"\xc5", "H"))
"""The same of a binary's length."""

_encode = FrameWriter().encode
_pack = FrameWriter().pack


class _Column(NamedTuple):
    """Numbers of the same encoded length."""

    mark: bytes
    width: int
    data: bytes
    """All of them, big-endian, one after the other."""


def push_replies(ids: Sequence[int], first_id: int, word: str) -> bytes:
    """Return the frames `[id, "OK", message id, word]` in a row, the message ids rising by one."""
    count = len(ids)
    requests = _column(ids)
    messages = _column(range(first_id, first_id + count))
    if requests is None or messages is None:
        replies = ((each, "OK", first_id + at, word) for at, each in enumerate(ids))
        return b"".join(map(_encode, replies))
    return _filled(count, _body(b"\x94", requests, b"\xa2OK", messages, _pack(word)))


def pull_replies(ids: Sequence[int], found: Each) -> bytes:
    """Return the frames `[id, "OK", [message id, 1], [body]]` in a row, one for each body.

    Args:
        ids: at least as many as there are bodies.
        found: the messages, of which some may have columns behind the body.
    """
    count = len(found.bodies)
    ids = ids[:count]
    lengths = list(map(len, found.bodies))
    is_even = lengths.count(lengths[0]) == count
    requests = _column(ids)
    messages = _column(found.ids)
    binaries = _column(lengths[:1] if is_even else lengths, _BINARIES)
    if found.columns or requests is None or messages is None or binaries is None:
        return b"".join(_one_by_one(ids, found))
    sizes = binaries.mark + binaries.data if is_even else binaries
    body = _body(b"\x94", requests, b"\xa2OK\x92", messages, b"\x01\x91", sizes)
    heads = _filled(count, body, lengths[0] if is_even else lengths)
    pieces: list[bytes] = [b""] * (2 * count)
    pieces[::2] = struct.unpack(f"{len(heads) // count}s" * count, heads)
    pieces[1::2] = found.bodies
    return b"".join(pieces)


def encoded(replies: Iterable[Reply]) -> bytes:
    """Return the frames of replies of any form in a row."""
    return b"".join(map(_encode, replies))


def _one_by_one(ids: Sequence[int], found: Each) -> Iterator[bytes]:
    columns = found.columns
    for place, (request_id, message_id) in enumerate(zip(ids, found.ids, strict=True)):
        reply = (request_id, "OK", (message_id, 1), (found.bodies[place],))
        yield _encode((*reply, columns[place]) if place in columns else reply)


def _column(
    numbers: Sequence[int], forms: Sequence[tuple[int, int, bytes, str]] = _NUMBERS
) -> _Column | None:
    """Return numbers as a column; None if they have not all the same form."""
    is_row = type(numbers) is range
    least, most = (numbers[0], numbers[-1]) if is_row else (min(numbers), max(numbers))
    for low, high, mark, code in forms:
        if low <= least and most <= high:
            return _Column(
                mark, struct.calcsize(code), struct.pack(f">{len(numbers)}{code}", *numbers)
            )
    return None


def _body(*parts: bytes | _Column) -> list[bytes | _Column]:
    """Return the parts of a frame's body, columns with their marks before them."""
    split: list[bytes | _Column] = []
    for part in parts:
        if isinstance(part, _Column):
            split.append(part.mark)
        split.append(part)
    return split


def _filled(
    count: int, body: Sequence[bytes | _Column], more_bytes: Sequence[int] | int = 0
) -> bytes:
    """Return `count` frames in a row.

    Args:
        count: how many.
        body: what is the same in all of them, and columns, in order.
        more_bytes: how many bytes follow each of them that belong to it, or all of them.
    """
    length = sum(part.width if isinstance(part, _Column) else len(part) for part in body)
    parts: list[bytes | _Column]
    if isinstance(more_bytes, int):
        parts = [prefix(length + more_bytes), *body]
    else:
        lengths = struct.pack(f">{count}I", *[length + more for more in more_bytes])
        parts = [bytes([PREFIX_BYTE]), _Column(b"", PREFIX_BYTES - 1, lengths), *body]
    frame = b"".join(bytes(part.width) if isinstance(part, _Column) else part for part in parts)
    frames, size, at = bytearray(frame * count), len(frame), 0
    for part in parts:
        if isinstance(part, _Column):
            for place in range(part.width):
                frames[at + place :: size] = part.data[place :: part.width]
            at += part.width
        else:
            at += len(part)
    return bytes(frames)
