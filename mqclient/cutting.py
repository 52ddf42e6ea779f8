"""Cuts any number of bodies into pushes that the server's limits allow. Floor 1: pure.

Bodies are taken in groups, and a group is encoded with one C call. Only where a
limit falls inside a group is it taken apart, so what a message costs here is
its encoding and little more. Bodies are taken as they are needed: a generator
of any length is pushed with the memory of one frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgpack

from mqclient.checks import check_bodies, check_headers, is_many
from mqclient.codecs import CODEC_HEADER
from mqclient.errors import InterfaceError
from mqwire.limits import FRAME_OVERHEAD_BYTES, KIB, MAX_CONTAINER_BYTES, MIB
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqclient.codecs import Encoder
    from mqclient.models import Limits

    Headers: TypeAlias = Mapping[str, Any] | None

_FIRST_GROUP: Final = 64
_LARGEST_GROUP: Final = 512
_GROUP_BYTES: Final = MIB
_SHORT_BYTES: Final = 256
_SHORT_HEADS: Final = tuple(bytes((0xC4, size)) for size in range(_SHORT_BYTES))
"""What stands before binary of so many bytes."""
_MAX_COLUMN_BYTES: Final = MAX_CONTAINER_BYTES - KIB
"""Bound of the array of headers; the map of options around it needs a few bytes too."""


@dataclass(frozen=True)
class Portion:
    """What goes into one PUSH.

    Args:
        count: its messages.
        pack: their bodies.
        headers: one map for all, an array with one for each, or None.
        largest_body_bytes: a bound of the largest body, exact where it matters.
    """

    count: int
    pack: bytes
    headers: Any
    largest_body_bytes: int


def cut_portions(
    encoder: Encoder,
    limits: Limits,
    bodies: Iterable[Any],
    headers: Headers | Iterable[Headers],
) -> Iterator[Portion]:
    """Yield the pushes for `bodies`, in order, each as full as the limits allow.

    Args:
        encoder: makes raw bodies.
        limits: the server's.
        bodies: any number, also from a generator.
        headers: one map for all, or a map or None for each body.

    Raises:
        InterfaceError: a body cannot be encoded, or there are not as many headers as bodies.
    """
    cutter = _Cutter(limits)
    check_bodies(bodies)
    for group in _groups(encoder, bodies, headers):
        yield from cutter.add(group)
    yield from cutter.rest()


class _Group:
    """Some encoded messages in a row."""

    __slots__ = ("column_bytes", "count", "headers", "is_shared", "pack")

    def __init__(self, raws: list[Any], headers: list[Any] | None, shared: Any) -> None:
        self.count = len(raws)
        self.pack = pack_bodies(raws)
        self.is_shared = headers is None
        self.headers: list[Any] = [shared] * self.count if headers is None else headers
        self.column_bytes = 0 if headers is None else len(msgpack.packb(headers))


class _Cutter:
    """Fills one portion after the other."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._max_bytes = limits.max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._clear()

    def _clear(self) -> None:
        self._pieces: list[bytes] = []
        self._headers: list[Any] = []
        self._is_shared = True
        self._bytes = 0
        self._column_bytes = 0
        self._largest = 0

    def add(self, group: _Group) -> Iterator[Portion]:
        """Add a group, whole if it fits, else message by message."""
        size = len(group.pack)
        if size <= self._limits.max_body_bytes and self._fits(
            group.count, size, group.column_bytes
        ):
            self._take(group.pack, group.headers, group.column_bytes, is_shared=group.is_shared)
            return
        for piece, headers in zip(split_pack(group.pack), group.headers, strict=True):
            column_bytes = 0 if group.is_shared else len(msgpack.packb(headers))
            if not self._fits(1, len(piece), column_bytes):
                yield from self.rest()
            self._take(piece, [headers], column_bytes, is_shared=group.is_shared)

    def rest(self) -> Iterator[Portion]:
        """Yield what has been added and not been yielded, if anything."""
        if not self._headers:
            return
        headers: Any = self._headers
        first = headers[0]
        if self._is_shared or all(each is first for each in headers):
            headers = first
        yield Portion(len(self._headers), b"".join(self._pieces), headers, self._largest)
        self._clear()

    def _fits(self, count: int, size: int, column_bytes: int) -> bool:
        return (
            len(self._headers) + count <= self._limits.max_messages_per_frame
            and self._bytes + size + self._column_bytes + column_bytes <= self._max_bytes
            and self._column_bytes + column_bytes <= _MAX_COLUMN_BYTES
        )

    def _take(self, pack: bytes, headers: list[Any], column_bytes: int, *, is_shared: bool) -> None:
        self._pieces.append(pack)
        self._headers += headers
        self._is_shared = is_shared
        self._bytes += len(pack)
        self._column_bytes += column_bytes
        self._largest = max(self._largest, len(pack))


def pack_bodies(raws: list[Any]) -> bytes:
    """Encode raw bodies, one after the other, with one C call."""
    if len(raws) == 1 and type(raws[0]) is bytes and len(raws[0]) < _SHORT_BYTES:
        return _SHORT_HEADS[len(raws[0])] + raws[0]
    try:
        array: bytes = msgpack.packb(raws)
    except ValueError as error:  # text with a lone surrogate, mostly
        raise InterfaceError(f"a body cannot be sent: {error}") from error
    count = len(raws)
    return array[1 if count < 16 else 3 if count < 65536 else 5 :]


def _groups(
    encoder: Encoder, bodies: Iterable[Any], headers: Headers | Iterable[Headers]
) -> Iterator[_Group]:
    plan = _HeaderPlan(encoder, headers)
    plan.check_lengths(bodies, headers)
    remaining = iter(bodies)
    size = _FIRST_GROUP
    while bodies_now := list(islice(remaining, size)):
        raws = encoder.encode_all(bodies_now)
        each = None if plan.is_shared else list(map(plan.headers_of, bodies_now))
        group = _Group(raws, each, plan.shared)
        yield group
        size = max(1, min(_LARGEST_GROUP, _GROUP_BYTES // (len(group.pack) // group.count + 1)))
    plan.check_end()


class _HeaderPlan:
    """Which headers go with which body."""

    def __init__(self, encoder: Encoder, headers: Headers | Iterable[Headers]) -> None:
        self._encoder = encoder
        self._listed: Iterator[Headers] | None = None
        self._plain: dict[str, Any] | None = None
        if isinstance(headers, Mapping):
            self._plain = dict(headers) or None
            check_headers(self._plain)
        elif is_many(headers):
            self._listed = iter(headers or ())
        elif headers is not None:
            check_headers(headers)
        self._marked = self._plain
        if encoder.mark is not None:
            self._marked = {**(self._plain or {}), **encoder.mark}
        is_reserved = CODEC_HEADER in (self._plain or ())
        self.is_shared = self._listed is None and encoder.marks_all and not is_reserved
        """Whether all messages get the same headers, whatever they are."""
        self.shared = self._marked if self.is_shared else None

    def headers_of(self, body: Any) -> dict[str, Any] | None:
        """Return the headers of the next body; equal ones are one object where that is easy."""
        if self._listed is not None:
            try:
                headers = next(self._listed)
            except StopIteration:
                raise _uneven() from None
            check_headers(headers)
            return self._encoder.headers_of(body, headers)
        if self._encoder.is_marked(body) and CODEC_HEADER not in (self._plain or ()):
            return self._marked
        return self._encoder.headers_of(body, self._plain)

    def check_lengths(self, bodies: Iterable[Any], headers: Any) -> None:
        """Refuse lists of different lengths before anything is sent."""
        if self._listed is None or not (isinstance(bodies, Sized) and isinstance(headers, Sized)):
            return
        if len(bodies) != len(headers):
            raise _uneven()

    def check_end(self) -> None:
        """Refuse headers that are left over."""
        if self._listed is not None and next(self._listed, self) is not self:
            raise _uneven()


def _uneven() -> InterfaceError:
    return InterfaceError("give one map of headers for all, or as many (or None) as bodies")
