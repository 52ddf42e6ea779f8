"""What one connection has sent: bytes in, frames out, a piece at a time, and each piece logged.

Of the smallest frames thousands fit into one read, which take ten milliseconds to decode; for
so long nobody else would be served. So a large read is decoded in pieces, between which the
session looks how much of its turn is left, unless the first of them shows that its frames are
large, and so few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqwire.alike import joined
from mqwire.frames import FrameReader
from mqwire.limits import MAX_CONTAINER_BYTES, MAX_FRAME_BYTES_BEFORE_AUTH

if TYPE_CHECKING:
    from mqd.net.tap import Tap
    from mqwire.errors import StreamError
    from mqwire.frames import Frame

PIECE_BYTES: Final = 64 * 1024

SMALL_FRAMES: Final = PIECE_BYTES // 256
"""Frames in the first piece of a read from which on the rest of it is decoded in pieces, too."""


class Inbox:
    """What has come.

    It takes frames as of a stranger until `let_in`.
    """

    __slots__ = ("_reader", "_start", "error", "rest", "tap")

    def __init__(self) -> None:
        self._reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTH, MAX_CONTAINER_BYTES)
        self.rest = b""
        """A read of which some is not decoded yet; empty if all is."""
        self._start = 0  # where that begins in it
        self.error: StreamError | None = None
        """Why the stream is broken, once it is."""
        self.tap: Tap | None = None
        """Told of all that is decoded."""

    def let_in(self, user: str, max_frame_bytes: int) -> None:
        """Take frames up to a size from now on; they are logged as this user's."""
        self._reader.max_frame_bytes = max_frame_bytes
        if self.tap is not None:
            self.tap.identify(user)

    def takes_whole(self) -> bool:
        """Whether a frame that comes now, whole, may be decoded elsewhere.

        Nothing has come before it that is not decoded, and it is no stranger's. What is in
        `rest` is the caller's to mind: it is held as long as there is any.
        """
        tap = self.tap
        return (
            self._reader.is_between
            and self._reader.max_frame_bytes > MAX_FRAME_BYTES_BEFORE_AUTH
            and (tap is None or tap.takes_whole)
        )

    def take(self, data: bytes) -> list[Frame]:
        """Take what was read.

        Returns:
            The frames that are whole with it, or the first of them: see `rest`.
        """
        if self.rest:  # it was read although it was not asked for
            self.rest = self.rest[self._start :] + data
            self._start = 0
            return []
        if len(data) <= PIECE_BYTES:
            return self._decode(data)
        frames = self._decode(data[:PIECE_BYTES])
        if len(frames) < SMALL_FRAMES:
            return joined(frames, self._decode(data[PIECE_BYTES:]))
        self.rest, self._start = data, PIECE_BYTES
        return frames

    def take_more(self) -> list[Frame]:
        """Decode the next piece of what has come before."""
        data, start = self.rest, self._start
        self._start = end = start + PIECE_BYTES
        if end >= len(data):
            self.forget()
        return self._decode(data[start:end])

    def forget(self) -> None:
        """Drop what is not decoded yet."""
        self.rest, self._start = b"", 0

    def _decode(self, data: bytes) -> list[Frame]:
        reader = self._reader
        frames = reader.feed(data)
        self.error = reader.error
        if self.tap is not None:
            self.tap.received(data, frames, reader.leftover_bytes)
        return frames
