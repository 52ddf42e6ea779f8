"""Large replies in pieces: packs leave as they lie in memory, and are copied by the kernel alone.

Encoding a reply copies its packs into the packer's buffer, out of it, and once more where frames
are joined. For packs of a hundred kilobytes that is a tenth of what a pull costs. So a reply that
is mostly large packs is made of a few bytes before each of them, and is never one piece.

On uvloop alone: asyncio joins pieces before Python 3.12; from then on some versions of it let a
client that does not read fill the memory (CVE-2024-12254), or never finish an empty piece.
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgpack

from mqwire.frames import prefix
from mqwire.limits import MAX_TAIL_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqd.net.replies import Reply

Output: TypeAlias = "bytes | list[bytes]"
"""Whole frames: in pieces where they are large."""

LEAST_BYTES: Final = MAX_TAIL_RECORD_BYTES
"""Of packs that stay in pieces: what is smaller is joined for those who follow the log anyway."""

MOST_PIECES: Final = 64
"""Of what leaves together: more are joined, since there are so many small ones among them."""

_PACKS_AT: Final = 3  # in a reply that has some
_array_header: Final = msgpack.Packer().pack_array_header
_mark_8, _mark_16, _mark_32 = (struct.Struct(form).pack for form in (">BB", ">BH", ">BI"))


def spliced(reply: Reply, pack: Callable[[Any], bytes]) -> list[bytes]:
    """Return the frame of a reply in pieces; none where it is cheaper to encode it whole.

    Args:
        reply: any.
        pack: encodes a value.
    """
    packs = reply[_PACKS_AT] if len(reply) > _PACKS_AT else None
    if type(packs) is not list or not packs or type(packs[0]) is not bytes:
        return []
    if sum(map(len, packs)) < LEAST_BYTES or 2 * len(packs) >= MOST_PIECES:
        return []
    before = [_array_header(len(reply)), *map(pack, reply[:_PACKS_AT]), _array_header(len(packs))]
    pieces = [b""]
    for each in packs:
        before.append(_binary_header(len(each)))
        pieces += (b"".join(before), each)
        before.clear()
    if len(reply) > _PACKS_AT + 1:
        pieces.append(b"".join(map(pack, reply[_PACKS_AT + 1 :])))
    pieces[0] = prefix(sum(map(len, pieces)))
    return pieces


def size_of(output: Output) -> int:
    """Return how many bytes it has."""
    return sum(map(len, output)) if isinstance(output, list) else len(output)


def pieces_of(output: Output) -> list[bytes]:
    """Return it in pieces, be it one."""
    return output if isinstance(output, list) else [output]


def joined(outputs: Sequence[Output]) -> Output:
    """Return what follows each other, in pieces if some of it is."""
    pieces = list(chain.from_iterable(map(pieces_of, outputs)))
    return pieces if list in map(type, outputs) else b"".join(pieces)


def _binary_header(size_bytes: int) -> bytes:
    if size_bytes <= 0xFF:
        return _mark_8(0xC4, size_bytes)
    return _mark_16(0xC5, size_bytes) if size_bytes <= 0xFFFF else _mark_32(0xC6, size_bytes)
