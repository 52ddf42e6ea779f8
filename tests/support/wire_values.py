"""What the tests of the wire format share: values, encodings, and plain models of the readers.

The models are slow and short on purpose, and share nothing with mqwire but its
registry of codes: `end_of_value` walks msgpack by its specification alone.
"""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from itertools import pairwise

import msgpack
from hypothesis import strategies as st

from mqwire.codes import Code

MIB = 1024 * 1024

# Lengths on both sides of each edge between two msgpack forms.
EDGE_LENGTHS = (0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536)

integers = st.integers(-(2**63), 2**64 - 1)
texts = st.text(max_size=40)
scalars = (
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=40)
)


def _nested(children):
    return st.lists(children, max_size=17).map(tuple) | st.dictionaries(
        texts, children, max_size=17
    )


values = st.recursive(scalars, _nested, max_leaves=12)
"""Whatever a frame may hold, as it comes out of a reader: arrays are tuples."""

frames = st.lists(values, max_size=8).map(tuple)

edge_bodies = st.sampled_from(EDGE_LENGTHS).flatmap(
    lambda length: st.sampled_from([b"x" * length, "y" * length])
)
extensions = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
timestamps = st.builds(msgpack.Timestamp, st.integers(0, 2**34), st.integers(0, 999_999_999))
bodies = st.binary(max_size=20) | texts | values | edge_bodies | extensions | timestamps
"""Whatever a pack may hold."""

packs = st.lists(bodies.map(msgpack.packb), max_size=12)
"""A pack as a list of the encodings of its bodies."""


@st.composite
def mutated(draw, whole):
    """Draw bytes from `whole` and damage them: flip, cut out, or put in."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 4)))
        data[at:end] = draw(st.binary(max_size=4))
    return bytes(data)


def framed(body: bytes) -> bytes:
    """Put the prefix before a frame's body."""
    return b"\xce" + len(body).to_bytes(4, "big") + body


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at `places`, each taken modulo its length; the same place twice is an empty piece."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read_all(reader, pieces):
    """Feed `pieces` to `reader`; return the frames and the error's code, if there is one."""
    frames_read = [frame for piece in pieces for frame in reader.feed(piece)]
    return frames_read, reader.error and reader.error.code


def read_plainly(stream: bytes, max_frame_bytes: int):
    """Do what a reader without bounds on containers does, the plain way."""
    frames_read = []
    at = 0
    while at < len(stream):
        if stream[at] != 0xCE:
            return frames_read, Code.BAD_PREFIX
        if len(stream) < at + 5:
            break
        length = int.from_bytes(stream[at + 1 : at + 5], "big")
        if length > max_frame_bytes:
            return frames_read, Code.FRAME_TOO_LARGE
        if length == 0:
            return frames_read, Code.MALFORMED_FRAME
        if len(stream) < at + 5 + length:
            break
        frame = _decode_strictly(stream[at + 5 : at + 5 + length])
        if type(frame) is not tuple:
            return frames_read, Code.MALFORMED_FRAME
        frames_read.append(frame)
        at += 5 + length
    return frames_read, None


def _decode_strictly(body: bytes):
    """Return the decoded body, or None where it is not strict msgpack."""

    def refuse(*_):
        raise ValueError

    def pairs_once(pairs):
        return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse()

    try:
        if has_extension(body):
            return None
        return msgpack.unpackb(body, use_list=False, object_pairs_hook=pairs_once)
    except ValueError:
        return None


_FIXED_SIZES = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 1),
    **dict.fromkeys((0xCC, 0xD0), 2),
    **dict.fromkeys((0xCD, 0xD1), 3),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 5),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 9),
    0xD4: 3,
    0xD5: 4,
    0xD6: 6,
    0xD7: 10,
    0xD8: 18,
}
# First byte -> (bytes of the length, bytes between length and content).
_LENGTHS = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}
# First byte -> (bytes of the count, values for each entry).
_COUNTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
EXTENSION_BYTES = frozenset({0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})


def end_of_value(data: bytes, at: int, firsts: set[int] | None = None) -> int:
    """Return where the msgpack value that starts at `at` ends.

    Args:
        data: msgpack values.
        at: where one of them starts.
        firsts: takes up the first bytes of this value and all in it.

    Raises:
        ValueError: the bytes there are not one whole value.
    """
    if at >= len(data):
        raise ValueError("ends in the middle")
    if firsts is not None:
        firsts.add(data[at])
    end, inner = _end_of_head(data, at)
    if end > len(data):
        raise ValueError("ends in the middle")
    for _ in range(inner):
        end = end_of_value(data, end, firsts)
    return end


def _end_of_head(data: bytes, at: int) -> tuple[int, int]:
    """Return where the value at `at` ends but for inner values, and how many of these follow."""
    first = data[at]
    if first < 0x80 or first >= 0xE0:
        return at + 1, 0
    if first < 0xA0:
        return at + 1, (first & 15) * (2 if first < 0x90 else 1)
    if first < 0xC0:
        return at + 1 + (first & 31), 0
    if first in _FIXED_SIZES:
        return at + _FIXED_SIZES[first], 0
    if first in _LENGTHS:
        width, between = _LENGTHS[first]
        length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
        return at + 1 + width + between + length, 0
    if first in _COUNTS:
        width, each = _COUNTS[first]
        return at + 1 + width, each * int.from_bytes(data[at + 1 : at + 1 + width], "big")
    raise ValueError("0xC1 is not msgpack")


def has_extension(body: bytes) -> bool:
    """Tell whether the value in `body` is or holds one of an extension type."""
    firsts: set[int] = set()
    end_of_value(body, 0, firsts)
    return not firsts.isdisjoint(EXTENSION_BYTES)


def split_plainly(pack: bytes) -> list[bytes] | None:
    """Cut a pack into its bodies, or return None where it is not a row of msgpack values."""
    pieces = []
    start = 0
    try:
        while start < len(pack):
            end = end_of_value(pack, start)
            pieces.append(pack[start:end])
            start = end
    except ValueError:
        return None
    return pieces


@contextmanager
def traced_memory():
    """Give a function that returns (bytes now, greatest number of bytes) since the start."""
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()

        def used():
            now, peak = tracemalloc.get_traced_memory()
            return now - start, peak - start

        yield used
    finally:
        tracemalloc.stop()
