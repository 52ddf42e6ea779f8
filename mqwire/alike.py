"""Frames that are alike, decoded together: what decoding each gives, at a fraction. Floor 0: pure.

Who pipelines sends hundreds of frames in a row that are as long as each other and differ in
their request ids, and in a binary at their end, alone:

    +--------+-------+------+----+-----+------------+--------+
    | prefix | array | verb | id | ... | its header | binary |    the same bytes in all of
    +--------+-------+------+----+-----+------------+--------+    them, but for id and binary
     <------- head -------->      <------ tail ---->

The first of them is decoded by the parser, and is the model of the others. Each byte of the
model's head and tail is held against the bytes in the same place of the others, which are read
with a stride; those before the first that differs are alike. Since everything that says where a
value begins and what it is stands in head and tail, frames that are the same there have the same
values, but for id and binary, and those lie in the same places.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mqwire.limits import PREFIX_BYTES

if TYPE_CHECKING:
    from mqwire.frames import Frame

LEAST_ALIKE: Final = 32
"""Frames that are worth it, beside the one that they are like."""

FIRST_LOOK: Final = 1024
"""Frames that are looked at together at most, in a first look."""

LONGEST_LOOK: Final = 4096
"""And in one that follows others that have found all alike, each twice as long as the one before:
so what is looked at in vain is no more than what was found before it, or a first look."""

_MOST_COMPARED: Final = 256  # bytes of head and tail: a plain request has no more

_UINTS: Final = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"}
_FIXARRAY: Final = 0x90
_FIXSTR: Final = 0xA0
_MOST_SHORT: Final = 15  # elements of a fixarray; a verb is no longer than that either
_BYTES: Final = tuple(bytes([byte]) for byte in range(256))
_SHARED: Final = frozenset({str, int, bool, bytes, type(None)})
"""Types of values that frames may share."""


class Frames(list[tuple[Any, ...]]):
    """Frames in order, of which it is known where some that are alike lie.

    Frames that are alike have the same values, but for an id that is an integer and, if
    they end in a binary, that, which has the same length in all of them.

    Args:
        frames: the frames. Others may be appended, of which nothing is known then; none removed.
        rows: the places of frames that are alike, ascending: that of the first of them, and that
            behind the last.
    """

    def __init__(self, frames: list[Frame], rows: list[tuple[int, int]]) -> None:
        super().__init__(frames)
        self.rows = rows
        """As given."""

    def rest(self, start: int) -> Frames:
        """Return the frames from a place on, with what is known of them."""
        rows = [(max(first - start, 0), end - start) for first, end in self.rows if end > start]
        return Frames(self[start:], rows)

    def alike_until(self, start: int) -> int:
        """Return the place behind the last of the frames that are like the one at a place.

        Complexity: logarithmic.
        """
        at = bisect_right(self.rows, (start, inf)) - 1
        return max(self.rows[at][1], start + 1) if at >= 0 else start + 1


def joined(first: list[Frame], second: list[Frame]) -> list[Frame]:
    """Return frames and those behind them, with what is known of either."""
    if type(second) is not Frames:
        first += second
        return first
    before = len(first)
    rows = [(start + before, end + before) for start, end in second.rows]
    return Frames(first + second, [*(first.rows if type(first) is Frames else ()), *rows])


class _Form(NamedTuple):
    """What frames that are alike have in common."""

    head: bytes
    """All before the id, the byte that says what it is included."""
    id_code: str
    """The form of the id, as in `struct`."""
    tail: bytes
    """All behind the id, but for the binary at the end."""
    binary_bytes: int
    """How long that is; 0 if there is none."""


def decode_alike(
    data: bytes, start: int, size_bytes: int, model: Frame, most: int = FIRST_LOOK
) -> list[Frame]:
    """Decode the frames that follow one that they are like.

    Args:
        data: bytes of a stream.
        start: where the frame before ends in them, all of which they hold.
        size_bytes: its size, prefix included.
        model: what it has been decoded to.
        most: frames that are looked at.

    Returns:
        Frames that follow each other from `start` on, as `mqwire.frames.FrameReader` would
        decode them: those that are alike, none where these are few. What
        they have in common are the same objects in all of them.

    Complexity: two C calls for each byte of head and tail, `_MOST_COMPARED` at most, and a small
    tuple for each frame.
    """
    count = min((len(data) - start) // size_bytes, most)
    if count < LEAST_ALIKE:
        return []
    form = _form_of(data[start - size_bytes : start], model)
    if form is None:
        return []
    tail_from = size_bytes - form.binary_bytes - len(form.tail)
    for at in (start, start + (LEAST_ALIKE - 1) * size_bytes):  # most that are not alike end here
        if not (data.startswith(form.head, at) and data.startswith(form.tail, at + tail_from)):
            return []
    for place, byte in chain(enumerate(form.head), enumerate(form.tail, tail_from)):
        column = data[start + place : start + count * size_bytes : size_bytes]
        if column != _BYTES[byte] * count:
            count = len(column) - len(column.lstrip(_BYTES[byte]))
    if count < LEAST_ALIKE:
        return []
    layout = f">{len(form.head)}x{form.id_code}{len(form.tail)}x{form.binary_bytes}s"
    view = memoryview(data)[start : start + count * size_bytes]
    verb, _, *shared = model
    if not form.binary_bytes:
        return [(verb, each, *shared) for each, _ in struct.iter_unpack(layout, view)]
    del shared[-1]
    return [(verb, each, *shared, binary) for each, binary in struct.iter_unpack(layout, view)]


def is_like(frame: Frame, model: Frame) -> bool:
    """Tell whether a frame that was decoded by itself is like one that has others like it."""
    if list(map(type, frame)) != list(map(type, model)) or frame[0] != model[0]:
        return False
    last, model_last = frame[-1], model[-1]
    if type(last) is bytes:
        return frame[2:-1] == model[2:-1] and len(last) == len(model_last)
    return frame[2:] == model[2:]


def _form_of(frame: bytes, model: Frame) -> _Form | None:
    """Return the form of a frame; None if others are not to be held against it."""
    if not 1 < len(model) <= _MOST_SHORT or not _SHARED.issuperset(map(type, model)):
        return None
    verb = model[0]
    if type(verb) is not str or not verb.isascii() or len(verb) > _MOST_SHORT:
        return None
    start = bytes([_FIXARRAY | len(model), _FIXSTR | len(verb)]) + verb.encode()
    id_from = PREFIX_BYTES + len(start) + 1
    code = _UINTS.get(frame[id_from - 1])
    if code is None or not frame.startswith(start, PREFIX_BYTES):
        return None
    last = model[-1]
    binary_bytes = len(last) if type(last) is bytes else 0
    tail = frame[id_from + struct.calcsize(f">{code}") : len(frame) - binary_bytes]
    if id_from + len(tail) > _MOST_COMPARED:
        return None
    return _Form(frame[:id_from], code, tail, binary_bytes)
