"""Packs: many bodies in one piece of bytes. Floor 0: pure.

A pack is the msgpack encodings of its bodies, one after the other, with
nothing before, between or after them. A body is usually `bin` (bytes) or `str`
(text); any msgpack value is carried. The server only counts bodies and cuts
between them; it never decodes one.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import msgpack

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.limits import HARD_MAX_FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INITIAL_BYTES: Final = 64 * 1024

_SHORT_MARKS: Final = b"\xc4\xd9"
"""What `bin` and `str` begin with whose length is the byte that follows."""

_HEAD_BYTES: Final = {0xC4: 2, 0xD9: 2, 0xC5: 3, 0xDA: 3}
"""How long the header of a `bin` or `str` is, its length included, by its first byte."""

_FIXSTR: Final = 0xA0
_FIXSTR_MASK: Final = 0xE0
"""What marks a `str` whose length is in the same byte."""


def join_bodies(bodies: Iterable[bytes | str]) -> bytes:
    """Make a pack of `bodies`: bytes become `bin`, text becomes `str`."""
    packer = msgpack.Packer(autoreset=False)
    for body in bodies:
        packer.pack(body)
    pack: bytes = packer.bytes()
    return pack


def size_of_each(pack: bytes) -> int:
    """Return how large each body of a pack is, encoded, where all are `bin` or `str` of one size.

    0 where that is not so, or bodies are 64 KiB or larger. Otherwise the pack is sound: the first
    body's header tells where the second begins, which has the same header, and so on.

    Complexity: one comparison with a stride for each byte of a header, three at most.
    """
    first = pack[0] if pack else 0
    if first & _FIXSTR_MASK == _FIXSTR:
        head_bytes, each_bytes = 1, 1 + (first & ~_FIXSTR_MASK)
    elif first in _HEAD_BYTES and len(pack) >= _HEAD_BYTES[first]:
        head_bytes = _HEAD_BYTES[first]
        each_bytes = head_bytes + int.from_bytes(pack[1:head_bytes], "big")
    else:
        return 0
    count, rest = divmod(len(pack), each_bytes)
    is_even = not rest and all(
        pack[at::each_bytes] == pack[at : at + 1] * count for at in range(head_bytes)
    )
    return each_bytes if is_even else 0


def split_pack(pack: bytes) -> list[bytes]:
    """Cut a pack into the encodings of its bodies, in order; none is decoded.

    Raises:
        RequestError: BAD_PACK if the bytes are not a row of msgpack values.
    """
    each_bytes = size_of_each(pack)
    if each_bytes:
        return [pack[start : start + each_bytes] for start in range(0, len(pack), each_bytes)]
    unpacker = _unpacker()
    unpacker.feed(pack)
    pieces = []
    start = 0
    try:
        while start < len(pack):
            unpacker.skip()
            end = unpacker.tell()
            pieces.append(pack[start:end])
            start = end
    except (ValueError, msgpack.OutOfData) as error:
        raise _bad_pack("it holds bytes that are not msgpack") from error
    return pieces


def decode_body(piece: bytes) -> Any:
    """Decode one body's encoding.

    Returns:
        bytes, str, or whatever msgpack value a foreign client has sent.

    Raises:
        ValueError: not one well-formed value, or text that is not UTF-8.
    """
    try:
        return msgpack.unpackb(piece, strict_map_key=False)
    except TypeError as error:
        raise ValueError("a map in it has a key that is an array or a map") from error


class PackChecker:
    """Makes sure that packs hold what they claim. Not thread-safe: one for each event loop.

    Complexity: two C calls for a pack, whatever its count; none for one short body.
    """

    def __init__(self) -> None:
        self._unpacker = _unpacker()
        self._packer = msgpack.Packer()
        self._consumed = 0

    def check(self, pack: bytes, count: int) -> None:
        """Return if `pack` is exactly `count` well-formed msgpack values.

        Raises:
            RequestError: BAD_PACK, with the declared count and the pack's size.
        """
        size_bytes = len(pack)
        if count == 1 and size_bytes > 1 and pack[1] == size_bytes - 2 and pack[0] in _SHORT_MARKS:
            return  # a short body, as most are that come one by one
        unpacker = self._unpacker
        expected = self._consumed + size_bytes
        try:
            if count != 1:
                header = self._packer.pack_array_header(count)
                unpacker.feed(header)
                expected += len(header)
            unpacker.feed(pack)
            unpacker.skip()
        except (ValueError, msgpack.OutOfData) as error:
            self._start_afresh()
            raise _bad_pack(f"it does not hold {count} well-formed bodies", count, pack) from error
        if unpacker.tell() != expected:
            self._start_afresh()
            raise _bad_pack(f"it holds more than the declared {count} bodies", count, pack)
        self._consumed = expected
        if len(pack) > _INITIAL_BYTES:
            self._start_afresh()

    def _start_afresh(self) -> None:
        """Drop a parser that stands in the middle of something or has grown its buffer."""
        self._unpacker = _unpacker()
        self._consumed = 0


class Cutter:
    """Takes bodies off the front of a pack, cutting only between bodies.

    Args:
        pack: a pack that has been checked.

    Complexity: one copy of what is taken, and a C call for each body taken unless all have
    the same size (`size_of_each`); the rest of the pack is never copied.
    """

    __slots__ = ("_each_bytes", "_edge", "_pack", "_start", "_unpacker")

    def __init__(self, pack: bytes) -> None:
        self._pack = pack
        self._start = 0
        self._edge = 0  # end of the next body, once it has been looked at; else 0
        self._each_bytes = size_of_each(pack)
        if not self._each_bytes:
            self._unpacker = _unpacker(len(pack))
            self._unpacker.feed(pack)

    @property
    def rest(self) -> bytes:
        """A copy of the bodies that have not been taken."""
        return self._pack[self._start :]

    def take(self, most: int, room_bytes: int, at_least: int = 0) -> tuple[int, bytes]:
        """Take the next bodies.

        Args:
            most: how many at most; the caller knows that so many are left.
            room_bytes: how large they may be together.
            at_least: how many are taken even where there is no room for them.

        Returns:
            How many were taken, and the pack of these.
        """
        start = end = self._start
        if self._each_bytes:
            taken = min(most, max(room_bytes // self._each_bytes, at_least))
            self._start = end = start + taken * self._each_bytes
            return taken, self._pack[start:end]
        taken = 0
        while taken < most:
            edge = self._edge or self._next_edge()
            if edge - start > room_bytes and taken >= at_least:
                self._edge = edge
                break
            end = edge
            self._edge = 0
            taken += 1
        self._start = end
        return taken, self._pack[start:end]

    def _next_edge(self) -> int:
        self._unpacker.skip()
        edge: int = self._unpacker.tell()
        return edge


def iter_sizes(pack: bytes) -> Iterator[int]:
    """Yield the encoded size of each body of a checked pack, in bytes."""
    each_bytes = size_of_each(pack)
    if each_bytes:
        yield from repeat(each_bytes, len(pack) // each_bytes)
        return
    unpacker = _unpacker(len(pack))
    unpacker.feed(pack)
    start = 0
    while start < len(pack):
        unpacker.skip()
        end = unpacker.tell()
        yield end - start
        start = end


def _unpacker(size: int = _INITIAL_BYTES) -> msgpack.Unpacker:
    return msgpack.Unpacker(read_size=size, max_buffer_size=2 * HARD_MAX_FRAME_BYTES)


def _bad_pack(why: str, count: int | None = None, pack: bytes = b"") -> RequestError:
    details = {} if count is None else {"count": count, "bytes": len(pack)}
    return RequestError(Code.BAD_PACK, f"the pack is damaged: {why}", details)
