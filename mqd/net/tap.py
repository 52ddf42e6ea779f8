"""The tap on one connection: what goes by is logged whole, secrets are not.

Once a connection has authenticated, what it sends is logged as the bytes that came,
cut at frames' edges. Before that, and wherever a frame with a password or token stands among
the others, frames are encoded anew without what must not be on record. What is logged is also
told to those who follow the log (`mqd.net.frame_tail`), but for their own asking and its replies.
"""

from __future__ import annotations

import time
from itertools import chain, zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from mqd.net.frame_tail import Untold
from mqd.net.splicing import pieces_of, size_of
from mqwire.framelog import IN, OUT, RecordEncoder
from mqwire.framelog_bodies import without_bodies
from mqwire.frames import Frame, FrameReader, FrameWriter
from mqwire.limits import HARD_MAX_FRAME_BYTES, MAX_TEXT_CHARS
from mqwire.roles import ROLE_WORDS
from mqwire.verbs import SECRET_VERBS, VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.net.frame_log import FrameLog
    from mqd.net.replies import Reply
    from mqd.net.splicing import Output

HIDDEN: Final = "(hidden)"
NOT_LOGGED: Final = "(not logged before AUTH)"

_MAX_VERB_CHARS: Final = 64

_BIN_MARKS: Final = (0xC4, 0xC5, 0xC6)
_wall_time_ns = time.time_ns
_verb_of = itemgetter(0)
_HARMLESS_VERBS: Final = frozenset(VERBS) - SECRET_VERBS
_AS_THEY_CAME: Final = _HARMLESS_VERBS - {"FRAMES"}
"""The verbs of frames that are logged, and told, as they came."""


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
        self._tell = log.tail.add
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

    @property
    def takes_whole(self) -> bool:
        """Whether `received_whole` may be called."""
        return self._is_trusted

    def received_whole(self, data: bytes) -> None:
        """Log a read that is one whole frame, about which `has_apart` has said no."""
        self._append(self._in, [data], len(data))

    def received(self, data: bytes, frames: list[Frame], leftover_bytes: int) -> None:
        """Log what was read.

        Args:
            data: the bytes of one read.
            frames: the frames that were whole with them.
            leftover_bytes: how many bytes at the end belong to a frame that is not.
        """
        may_log = self._is_trusted and not has_apart(frames)
        if may_log and not leftover_bytes and not self._carry:
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
        if may_log:
            self._append(self._in, parts, sum(map(len, parts)))
        else:
            self._append_anew(frames, frames)

    def sent(self, data: Output) -> None:
        """Log what was written: whole frames."""
        is_told = type(data) is not Untold
        self._append(self._out, pieces_of(data), size_of(data), is_told=is_told)

    def _append(
        self, encoder: RecordEncoder, parts: list[bytes], size_bytes: int, *, is_told: bool = True
    ) -> None:
        head = encoder.head(_wall_time_ns(), size_bytes)
        self._log.append(head, parts, size_bytes)
        if is_told:
            self._tell(head, parts, size_bytes)

    def _append_anew(self, frames: list[Frame], shown: Iterable[Frame]) -> None:
        """Log requests without what is not to be on record; tell those that may be told."""
        encode, is_trusted = FrameWriter().encode, self._is_trusted
        parts = [encode(redact(frame, is_trusted=is_trusted)) for frame in shown]
        asks = [is_trusted and frame[:1] == ("FRAMES",) for frame in frames]
        self._append(self._in, parts, sum(map(len, parts)), is_told=not any(asks))
        others = [part for part, is_asking in zip(parts, asks, strict=True) if not is_asking]
        if others and any(asks):
            size_bytes = sum(map(len, others))
            self._tell(self._in.head(_wall_time_ns(), size_bytes), others, size_bytes)

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

    @property
    def takes_whole(self) -> bool:
        """No: frames have to be encoded anew."""
        return False

    def received(self, _data: bytes, frames: list[Frame], _leftover_bytes: int) -> None:
        """Log the frames that were whole with what was read."""
        if not frames:
            return
        shown = map(without_bodies, frames)
        if not self._is_trusted or has_apart(frames):
            self._append_anew(frames, shown)
            return
        parts = list(map(self._encode, shown))
        self._append(self._in, parts, sum(map(len, parts)))

    def sent(self, data: Output) -> None:
        """Log what was written: whole frames."""
        parts = pieces_of(data)
        # Where none of the bytes is there that binary begins with, there is no pack.
        if any(mark in part for mark in _BIN_MARKS for part in parts):
            found = chain.from_iterable(map(self._reader.feed, parts))
            parts = [self._encode(without_bodies(frame)) for frame in found]
        self._append(self._out, parts, sum(map(len, parts)), is_told=type(data) is not Untold)


def new_tap(log: FrameLog, connection_id: int, peer: str, local: str) -> Tap:
    """Return a tap on a connection that logs as much as `log` is to hold."""
    kind = Tap if log.has_bodies else BodilessTap
    return kind(log, connection_id, peer, local)


def redact(frame: Frame, *, is_trusted: bool) -> Frame:
    """Return a frame as it may be logged.

    Args:
        frame: a decoded request.
        is_trusted: whether it came after AUTH; before, only verbs and ids are logged, as
            always of verbs that there are not.
    """
    verb = frame[0] if frame else None
    if verb == "AUTH":
        return _redact_auth(frame)
    is_known = type(verb) is str and verb in VERBS
    if is_trusted and is_known:
        return _redact_fields(frame) if verb in SECRET_VERBS else frame
    hidden = HIDDEN if is_trusted else NOT_LOGGED
    if not is_known:  # it may be misspelt, and have a password behind it
        verb = verb[:_MAX_VERB_CHARS] if is_trusted and type(verb) is str else hidden
    request_id = frame[1] if len(frame) > 1 and type(frame[1]) is int else None
    return (verb, request_id, hidden) if len(frame) > 2 else (verb, request_id)


def loggable(reply: Reply) -> Reply | None:
    """Return a reply as it may be logged, where it must not be logged as it is."""
    for place, result in enumerate(reply):
        if type(result) is dict and "token" in result:
            token = result["token"]
            hidden = {**token, "token": HIDDEN} if type(token) is dict else HIDDEN
            return (*reply[:place], {**result, "token": hidden}, *reply[place + 1 :])
    return None


def has_apart(frames: list[Frame]) -> bool:
    """Tell whether a frame may hold what must not be logged, or asks for the log.

    Complexity: a lookup for each frame; searching the bytes for a verb would cost more.
    """
    try:
        return not _AS_THEY_CAME.issuperset(map(_verb_of, frames))
    except (IndexError, TypeError):  # some frame is no request at all
        return True


def _redact_fields(frame: Frame) -> Frame:
    """Return a request without any text that is not known to be harmless."""
    verb = VERBS[frame[0]]
    request_id = frame[1] if len(frame) > 1 and type(frame[1]) is int else None
    shown: list[Any] = [verb.name, request_id]
    names = [argument.name for argument in verb.arguments]
    for name, value in zip_longest(names, frame[2:], fillvalue=""):
        if len(shown) == len(frame):
            break
        if type(value) is dict:
            shown.append({k: _shown(k, v) for k, v in value.items() if k in verb.options})
        else:
            shown.append(_shown(name, value))
    return tuple(shown)


def _shown(name: str, value: Any) -> Any:
    """Return a field of a verb with secrets as it may be logged."""
    is_harmless = (
        (name == "user" and type(value) is str and len(value) <= MAX_TEXT_CHARS)
        or (name == "role" and value in ROLE_WORDS)
        or (name == "disabled" and type(value) is bool)
    )
    return value if is_harmless else HIDDEN


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
