"""Frames: a stream of bytes in, decoded arrays out, and the way back. Floor 0: pure.

    +------+--------------------+----------------------+
    | 0xCE | length, 32 bit, BE | body: length bytes   |  one msgpack array
    +------+--------------------+----------------------+

The five bytes of the prefix are themselves a msgpack unsigned integer, so the
stream is length-prefixed for those who want that and, at the same time, a
plain row of msgpack values (integer, array, integer, array ...) that one
C-level parser reads without any slicing in Python.

Theory of operation. The reader counts bytes received and knows where the
frame that it stands in ends, so it calls the parser only when a whole frame is
there: a peer that sends a byte at a time costs a comparison for each, not a
parse. The length is judged at the prefix, before the body arrives.

A parser takes 40 KiB, so a reader has one only while it stands inside a frame;
at a frame's edge the parser goes to a small pool. Ten thousand idle connections
then cost a tenth of what they would.

Frames in a row that are alike are decoded together, see `mqwire.alike`; the parser passes
over their bytes.

What a few bytes may make of themselves is bounded too. A container's header
announces entries that the parser makes room for before it has seen one, and a
byte of empty map decodes to 74 bytes of memory. So the frames of a stranger and
those over the bound of containers are walked, which allocates nothing, before
they are decoded; in all others a container can announce only so many entries.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import msgpack

from mqwire.alike import FIRST_LOOK, LONGEST_LOOK, Frames, decode_alike, is_like
from mqwire.codes import Code
from mqwire.errors import StreamError
from mqwire.limits import (
    MAX_CONTAINER_ENTRIES,
    MAX_FRAME_BYTES_BEFORE_AUTH,
    MAX_REQUEST_ELEMENTS,
    PREFIX_BYTES,
)

PREFIX_BYTE: Final = 0xCE
_pack_prefix = struct.Struct(">BI").pack
_SHORT_PREFIXES: Final = tuple(_pack_prefix(PREFIX_BYTE, length) for length in range(1024))
_INITIAL_BYTES: Final = 4 * 1024
_LEAST_LOOK_BYTES: Final = 256  # read at once, from which on it is looked for frames that are alike
_LOOK_PAUSE: Final = 32  # frames until it is looked again, where there were none
_KEPT_BYTES: Final = 1024 * 1024
_MAX_SPARES: Final = 16
_SPARES: Final[dict[bool, list[msgpack.Unpacker]]] = {False: [], True: []}

Frame: TypeAlias = tuple[Any, ...]


def prefix(length: int) -> bytes:
    """Return the prefix of a frame whose body has `length` bytes (below 2**32)."""
    return _SHORT_PREFIXES[length] if length < 1024 else _pack_prefix(PREFIX_BYTE, length)


class FrameWriter:
    """Encodes frames with one reusable packer. Not thread-safe."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer().pack
        """Encodes one frame's body; the caller puts `prefix(len(body))` before it."""

    def encode(self, frame: Frame | list[Any]) -> bytes:
        """Return a whole frame, prefix and body.

        Args:
            frame: an array of nil, booleans, integers, floats, str, bytes, arrays and maps.

        Raises:
            TypeError, ValueError, OverflowError: a value that msgpack cannot hold; the
                writer stays usable.
        """
        body: bytes = self.pack(frame)
        return prefix(len(body)) + body


class FrameReader:
    """Reads frames off a stream of bytes that arrives in any pieces. Not thread-safe.

    Args:
        max_frame_bytes: frames whose body is longer break the stream. May be set later:
            it holds from the next prefix on.
        max_container_bytes: how large the arrays and maps inside a frame may be together,
            encoded, or None for no such bound (a client trusts its server that far).
    """

    def __init__(self, max_frame_bytes: int, max_container_bytes: int | None = None) -> None:
        self._is_wary = max_container_bytes is not None
        self._max_container_bytes = 2**32 if max_container_bytes is None else max_container_bytes
        self._max_entries = MAX_CONTAINER_ENTRIES if self._is_wary else -1
        self.max_frame_bytes = max_frame_bytes
        self.error: StreamError | None = None
        """Why the stream is broken, once it is; nothing more is read then."""
        self._received = 0  # bytes fed to the present parser, by this reader or others
        self._position = 0  # where the last whole frame ended
        self._borrowed_at = 0  # where the parser stood when this reader took it
        self._end = 0  # where the present frame's body will end; 0 until its prefix is read
        self._unpacker: msgpack.Unpacker | None = None  # between frames there is none

    @property
    def max_frame_bytes(self) -> int:
        """Frames whose body is longer break the stream."""
        return self._max_frame_bytes

    @max_frame_bytes.setter
    def max_frame_bytes(self, bound: int) -> None:
        self._max_frame_bytes = bound
        # Frames up to this size, prefix and body, are decoded without a walk.
        is_strangers = self._is_wary and bound <= MAX_FRAME_BYTES_BEFORE_AUTH
        self._trusted_bytes = 0 if is_strangers else PREFIX_BYTES + self._max_container_bytes

    @property
    def is_between(self) -> bool:
        """Whether the stream is sound so far, and no frame has begun that is not whole."""
        return self._unpacker is None and self.error is None

    @property
    def leftover_bytes(self) -> int:
        """How many bytes at the stream's end belong to a frame that is not whole yet."""
        return self._received - self._position

    @property
    def missing_bytes(self) -> int:
        """How many bytes the frame still needs whose prefix has come; 0 between frames."""
        return self._end - self._received if self._end else 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream.

        Returns:
            The frames that are whole now, each a tuple, in order; inner arrays are
            tuples too. `Frames` where some are known to be alike. Never raises for what the
            peer did: see `error`.
        """
        frames: list[Frame] = []
        rows: list[tuple[int, int]] = []
        if self.error is None:
            unpacker = self._unpacker
            if unpacker is None:
                unpacker = self._unpacker = self._borrow_unpacker()
            self._received += len(data)
            unpacker.feed(data)
            try:
                self._read_into(frames, rows, data, unpacker)
            except StreamError as error:
                self.error = error
            except (ValueError, msgpack.UnpackException) as error:
                self.error = _malformed(f"its body cannot be decoded ({_reason(error)})")
        return Frames(frames, rows) if rows else frames

    def _read_into(
        self,
        frames: list[Frame],
        rows: list[tuple[int, int]],
        data: bytes,
        unpacker: msgpack.Unpacker,
    ) -> None:
        received = self._received
        unpack, tell = unpacker.unpack, unpacker.tell
        start, end = self._position, self._end
        fed_at = received - len(data)
        look_from = fed_at if len(data) >= _LEAST_LOOK_BYTES else received
        most = FIRST_LOOK
        while start < received:
            if not end:
                if start >= fed_at and data[start - fed_at] != PREFIX_BYTE:
                    raise _bad_prefix(data[start - fed_at])
                if received - start < PREFIX_BYTES:
                    break
                end = self._end = start + PREFIX_BYTES + self._judge(unpack())
            if received < end:
                break
            frame = (
                unpack() if end - start <= self._trusted_bytes else self._unpack_walked(unpacker)
            )
            if tell() != end:
                raise _malformed("its body is not as long as its prefix says")
            if type(frame) is not tuple:
                raise _malformed("its body is not an array")
            frames.append(frame)
            if look_from <= start and end - start <= self._trusted_bytes:
                size_bytes = end - start
                more = _decode_more(frames, rows, data, (end - fed_at, size_bytes, most))
                unpacker.read_bytes(more * size_bytes)
                end += more * size_bytes
                look_from = end if more else end + _LOOK_PAUSE * size_bytes
                most = min(2 * most, LONGEST_LOOK) if more == most else FIRST_LOOK
            start = self._position = end
            end = self._end = 0
        if start == received:
            self._give_back(unpacker)

    def _judge(self, length: int) -> int:
        """Return a frame's length if it may have that; its body has not arrived yet."""
        if length > self._max_frame_bytes:
            raise StreamError(
                Code.FRAME_TOO_LARGE,
                f"a frame of {length} bytes is over the bound of {self._max_frame_bytes}",
                {"limit": self._max_frame_bytes, "asked": length},
            )
        if not length:
            raise _malformed("its body is empty")
        return length

    def _unpack_walked(self, unpacker: msgpack.Unpacker) -> Any:
        """Decode a frame after making sure that it holds what its headers announce."""
        body = unpacker.read_bytes(self._end - self._position - PREFIX_BYTES)
        walker = _unpacker(len(body))
        walker.feed(body)
        if len(body) > self._max_container_bytes:
            self._walk_large(walker, body)
        else:
            walker.skip()
        entries = self._max_entries
        return msgpack.unpackb(body, max_array_len=entries, max_map_len=entries, **_STRICT)

    def _walk_large(self, walker: msgpack.Unpacker, body: bytes) -> None:
        """Refuse a frame that would decode to much more than its own size.

        Only text and binary may be large: they decode to their own size, where a
        container of tiny values decodes to 74 times its own.
        """
        count = walker.read_array_header()
        if count > MAX_REQUEST_ELEMENTS:
            raise _malformed(f"it is large and has {count} elements")
        in_containers = 0
        for _ in range(count):
            start = walker.tell()
            walker.skip()
            if body[start] & 0xE0 == 0x80 or 0xDC <= body[start] <= 0xDF:
                in_containers += walker.tell() - start
        if in_containers > self._max_container_bytes:
            raise _malformed(f"its arrays and maps have {in_containers} bytes together")

    def _borrow_unpacker(self) -> msgpack.Unpacker:
        """Take a parser for the frames to come; the position goes on where it stands."""
        try:
            # No look before the pop: readers of other threads take from the same list.
            unpacker = _SPARES[self._is_wary].pop()
        except IndexError:
            unpacker = _unpacker(_INITIAL_BYTES, self._max_entries)
        self._received = self._position = self._borrowed_at = unpacker.tell()
        return unpacker

    def _give_back(self, unpacker: msgpack.Unpacker) -> None:
        """Let the next reader have the parser, unless its buffer may have become large."""
        self._unpacker = None
        spares = _SPARES[self._is_wary]
        if self._received - self._borrowed_at <= _KEPT_BYTES and len(spares) < _MAX_SPARES:
            spares.append(unpacker)


def _decode_more(
    frames: list[Frame], rows: list[tuple[int, int]], data: bytes, look: tuple[int, int, int]
) -> int:
    """Append the frames that follow the last one and are like it; return how many there are.

    Args:
        frames: those that were read, the last of them from `data`.
        rows: where some of them are alike.
        data: what was read.
        look: where the last frame ends in it; its size, prefix included; and how many frames
            are looked at.
    """
    start, size_bytes, most = look
    more = decode_alike(data, start, size_bytes, frames[-1], most)
    if more:
        first = len(frames) - 1
        if first and is_like(frames[first - 1], frames[first]):
            goes_on = rows and rows[-1][1] == first
            first = rows.pop()[0] if goes_on else first - 1  # whose bytes came in two pieces
        frames += more
        rows.append((first, len(frames)))
    return len(more)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(pairs) == 1 and type(pairs[0][0]) is str:  # by far the most
        return result
    if len(result) != len(pairs):
        raise ValueError("a map has the same key twice")
    if bytes in map(type, result):
        raise ValueError("a map has a key that is no string")
    return result


def _no_extensions(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not part of the protocol")


_STRICT: Final[dict[str, Any]] = {
    "use_list": False,
    "max_ext_len": 0,
    "ext_hook": _no_extensions,
    "object_pairs_hook": _no_duplicates,
}


def _unpacker(size: int, max_entries: int = -1) -> msgpack.Unpacker:
    return msgpack.Unpacker(
        read_size=size,
        max_buffer_size=2**31 - 1,
        max_array_len=max_entries,
        max_map_len=max_entries,
        **_STRICT,
    )


def _bad_prefix(byte: int) -> StreamError:
    return StreamError(
        Code.BAD_PREFIX,
        f"a frame starts with the byte 0xCE, not 0x{byte:02X}; is this client made for mqd?",
        {"got": byte},
    )


def _malformed(why: str) -> StreamError:
    return StreamError(Code.MALFORMED_FRAME, f"the frame is malformed: {why}")


def _reason(error: Exception) -> str:
    if isinstance(error, msgpack.OutOfData):
        return "it ends in the middle of a value"
    if isinstance(error, msgpack.StackError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "text in it is not UTF-8"
    return str(error) or "it is not msgpack"
