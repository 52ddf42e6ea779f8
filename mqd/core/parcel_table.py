"""The ready parcels of a queue by key, most of them as small as they can be.

By far the most parcels that are ready have one message, no headers and no terms. Such a *lone*
one is kept as one piece of bytes, its head before its body: half the memory of a tuple with
a body, nothing for the garbage collector to look at, and one place in memory to go to instead
of three. Whoever asks for a parcel is given a tuple as of any other.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, Sequence

    from mqd.core.parcels import Parcel

_HEAD: Final = struct.Struct(">QQ")
"""When it was pushed, and when it expires; behind that a byte for its priority."""

_PRIORITY_AT: Final = _HEAD.size
_BODY_AT: Final = _HEAD.size + 1
_PRIORITIES: Final = [bytes((priority,)) for priority in range(256)]


class ParcelTable(dict[int, Any]):
    """Parcels by key. What is changed in it is changed by `put`, `put_each` and `del`."""

    __slots__ = ()

    get = None  # type: ignore[assignment]  # compiled code would call the one of a dict: see `find`

    def put(self, key: int, parcel: Parcel) -> None:
        """Take a parcel in, or another in its place."""
        _, count, pack, headers, pushed_ms, priority, _, expires_ms, terms = parcel
        if count == 1 and not headers and terms is None and type(pack) is bytes:
            self[key] = _HEAD.pack(pushed_ms, expires_ms) + _PRIORITIES[priority] + pack
        else:
            self[key] = parcel

    def put_each(
        self,
        keys: Sequence[int],
        bodies: Sequence[bytes],
        priorities: bytes,
        times: tuple[int, int],
    ) -> None:
        """Take lone parcels in: one for each body, all pushed at once.

        Args:
            keys: theirs.
            bodies: encoded.
            priorities: a byte for each.
            times: when they were pushed, and when they expire.
        """
        head = _HEAD.pack(*times)
        heads = [head + priority for priority in _PRIORITIES]
        entries = [heads[each] + body for each, body in zip(priorities, bodies, strict=True)]
        self.update(zip(keys, entries, strict=True))

    def take_lone(
        self, line: deque[int], most: int, room_bytes: int
    ) -> tuple[list[int], list[bytes]]:
        """Remove the parcels that the first keys of a line name, as long as they are lone ones.

        Args:
            line: keys, which go with their parcels.
            most: how many at most.
            room_bytes: how large they may be together; else none is taken.

        Returns:
            The keys; and for each what `body_of` and `expiry_of` understand.
        """
        keys = list(islice(line, most))
        entries: list[Any] = list(map(super().get, keys))
        for at, entry in enumerate(entries):
            if type(entry) is not bytes:
                del entries[at:], keys[at:]
                break
        if sum(map(len, entries)) > room_bytes:
            return [], []
        for key in keys:
            line.popleft()
            del self[key]
        return keys, entries

    def __getitem__(self, key: int) -> Parcel:
        entry = super().__getitem__(key)
        return _whole(key, entry) if type(entry) is bytes else entry

    def find(self, key: int, default: Any = None) -> Any:
        """Return a parcel; `default` if there is none."""
        entry = super().get(key, default)
        return _whole(key, entry) if type(entry) is bytes else entry

    def values(self) -> Iterator[Parcel]:  # type: ignore[override]  # no view: each is made anew
        """Yield the parcels."""
        for key, entry in super().items():
            yield _whole(key, entry) if type(entry) is bytes else entry

    def items(self) -> Iterator[tuple[int, Parcel]]:  # type: ignore[override]  # as values
        """Yield keys and parcels."""
        return zip(self, self.values(), strict=True)


def body_of(entry: bytes) -> bytes:
    """Return the body of a lone parcel that was taken."""
    return entry[_BODY_AT:]


def expiry_of(entry: bytes) -> int:
    """Tell when a lone parcel that was taken would have expired; 0 for never."""
    expires_ms: int = _HEAD.unpack_from(entry)[1]
    return expires_ms


def _whole(key: int, entry: bytes) -> Parcel:
    pushed_ms, expires_ms = _HEAD.unpack_from(entry)
    body, priority = entry[_BODY_AT:], entry[_PRIORITY_AT]
    return (key, 1, body, (), pushed_ms, priority, 0, expires_ms, None)
