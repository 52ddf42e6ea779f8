"""Frames without bodies, for a frame log that must not hold them. Floor 0: pure.

What stands in a body's place is described in `mqwire.framelog`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mqwire.frames import Frame

HASH_BYTES: Final = 16


def body_mark(data: bytes) -> dict[str, Any]:
    """Return what is logged in the place of a pack."""
    return {"bytes": len(data), "blake2b": blake2b(data, digest_size=HASH_BYTES).hexdigest()}


def without_bodies(frame: Frame) -> Frame:
    """Return a request or reply with a mark in the place of each pack.

    Every binary that is an element of the frame, or of an array among its elements, counts
    as a pack, in whatever place; so does text where PUSH has its pack or after it, which a
    server refuses. Maps stay: they are options, and the headers in them.

    Returns:
        The same object if there is nothing in it to hide.
    """
    shown: list[Any] | None = None
    for position, value in enumerate(frame):
        kind = type(value)
        if kind is bytes:
            mark: Any = body_mark(value)
        elif kind is tuple and bytes in map(type, value):
            mark = tuple(body_mark(item) if type(item) is bytes else item for item in value)
        elif kind is str and position >= 4 and frame[0] == "PUSH":
            mark = body_mark(value.encode())
        else:
            continue
        if shown is None:
            shown = list(frame)
        shown[position] = mark
    return frame if shown is None else tuple(shown)
