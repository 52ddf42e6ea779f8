"""The tap on one connection: what goes by is logged whole, secrets are not.

Once a connection has authenticated, what it sends is logged as the bytes that came,
cut at frames' edges. Before that, and wherever an AUTH frame stands among the others,
frames are encoded anew without what must not be on record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mqwire.framelog import IN, OUT, RecordEncoder
from mqwire.framelog_bodies import without_bodies
from mqwire.frames import Frame, FrameReader, FrameWriter
from mqwire.limits import HARD_MAX_FRAME_BYTES, MAX_TEXT_CHARS
from mqwire.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.net.frame_log import FrameLog

HIDDEN: Final = "(hidden)"
NOT_LOGGED: Final = "(not logged before AUTH)"

_BIN_MARKS: Final = (0xC4, 0xC5, 0xC6)
_wall_time_ns = time.time_ns


class Tap:
    """Logs what one connection receives and sends.

    Args:
        log: where to.
        connection_id: the connection's number.
        peer: the client's address.
        local: the server's address.
    """

    def __init__(self, log: FrameLog, connection_id: int, peer: str, local: str) -> None:
        self._log = log
        self._identity = (connection_id, peer, local)
        self._is_trusted = False
        self._carry: list[bytes] = []  # bytes of a frame that is not whole yet
        self._set_encoders("")

    def identify(self, user: str) -> None:
        """Note that the connection acts as `user` from here on."""
        self._is_trusted = True
        self._set_encoders(user)

    @property
    def log(self) -> FrameLog:
        """Where to."""
        return self._log

    def received(self, data: bytes, frames: list[Frame], leftover_bytes: int) -> None:
        """Log what was read.

        Args:
            data: the bytes of one read.
            frames: the frames that were whole with them.
            leftover_bytes: how many bytes at the end belong to a frame that is not.
        """
        # The search for the verb costs next to nothing; what it finds in a body by
        # chance is looked at more closely and logged as it is.
        if not leftover_bytes and not self._carry and self._is_trusted and b"AUTH" not in data:
            self._append(self._in, [data], len(data))
            return
        parts = [*self._carry, data]
        if leftover_bytes and not frames:
            self._carry = parts
            return
        self._carry = []
        if leftover_bytes:
            edge = len(data) - leftover_bytes
            parts[-1] = data[:edge]
            self._carry = [data[edge:]]
        if not frames:
            return
        if not self._is_trusted or any(_names_auth(frame) for frame in frames):
            writer = FrameWriter()
            parts = [writer.encode(redact(frame, is_trusted=self._is_trusted)) for frame in frames]
        self._append(self._in, parts, sum(map(len, parts)))

    def sent(self, data: bytes) -> None:
        """Log what was written: whole frames."""
        self._append(self._out, [data], len(data))

    def _append(self, encoder: RecordEncoder, parts: list[bytes], size_bytes: int) -> None:
        self._log.append(encoder.head(_wall_time_ns(), size_bytes), parts, size_bytes)

    def _set_encoders(self, user: str) -> None:
        number, peer, local = self._identity
        self._in = RecordEncoder(number, IN, peer, local, user)
        self._out = RecordEncoder(number, OUT, local, peer, user)


class BodilessTap(Tap):
    """Logs what one connection receives and sends, without bodies: all is encoded anew."""

    def __init__(self, log: FrameLog, connection_id: int, peer: str, local: str) -> None:
        super().__init__(log, connection_id, peer, local)
        self._encode = FrameWriter().encode
        self._reader = FrameReader(HARD_MAX_FRAME_BYTES)

    def received(self, _data: bytes, frames: list[Frame], _leftover_bytes: int) -> None:
        """Log the frames that were whole with what was read."""
        if not frames:
            return
        shown: Iterable[Frame] = map(without_bodies, frames)
        if not self._is_trusted or any(map(_names_auth, frames)):
            shown = (redact(frame, is_trusted=self._is_trusted) for frame in shown)
        parts = list(map(self._encode, shown))
        self._append(self._in, parts, sum(map(len, parts)))

    def sent(self, data: bytes) -> None:
        """Log what was written: whole frames."""
        # Where none of the bytes is there that binary begins with, there is no pack.
        if any(map(data.__contains__, _BIN_MARKS)):
            parts = [self._encode(without_bodies(frame)) for frame in self._reader.feed(data)]
        else:
            parts = [data]
        self._append(self._out, parts, sum(map(len, parts)))


def new_tap(log: FrameLog, connection_id: int, peer: str, local: str) -> Tap:
    """Return a tap on a connection that logs as much as `log` is to hold."""
    kind = Tap if log.has_bodies else BodilessTap
    return kind(log, connection_id, peer, local)


def redact(frame: Frame, *, is_trusted: bool) -> Frame:
    """Return a frame as it may be logged.

    Args:
        frame: a decoded request.
        is_trusted: whether it came after AUTH; before, only verbs and ids are logged.
    """
    if _names_auth(frame):
        return _redact_auth(frame)
    if is_trusted:
        return frame
    verb = frame[0] if frame and type(frame[0]) is str and frame[0] in VERBS else NOT_LOGGED
    request_id = frame[1] if len(frame) > 1 and type(frame[1]) is int else None
    return (verb, request_id, NOT_LOGGED) if len(frame) > 2 else (verb, request_id)


def _names_auth(frame: Frame) -> bool:
    return bool(frame) and frame[0] == "AUTH"


def _redact_auth(frame: Frame) -> Frame:
    request_id = frame[1] if len(frame) > 1 and type(frame[1]) is int else None
    shown: list[Any] = ["AUTH", request_id]
    if len(frame) > 2:
        credentials = frame[2] if type(frame[2]) is dict else {}
        user = credentials.get("user")
        has_name = type(user) is str and len(user) <= MAX_TEXT_CHARS
        shown.append({"user": user, "password": HIDDEN} if has_name else HIDDEN)
    if len(frame) > 3 and type(frame[3]) is dict:
        options = {name: frame[3].get(name) for name in VERBS["AUTH"].options}
        shown.append({k: v for k, v in options.items() if type(v) in (str, int, bool)})
    return tuple(shown)
