"""Frames of a frame log as lines for people and objects for machines. Floor 4: pure.

A log holds what clients have sent, so nothing in it is trusted: what is shown is
escaped, cut and bounded in depth, and what cannot be shown says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from mqclient.ctl.output import base64_of, escape, to_json
from mqwire.errors import CodedError
from mqwire.framelog import IN
from mqwire.packs import decode_body, split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqwire.framelog import LoggedFrame, Record
    from mqwire.frames import Frame

SHOWN_BODIES: Final = 8
"""How many bodies of a pack a person sees, unless everything was asked for."""

MAX_SHOWN_DEPTH: Final = 64
_is_plain: Final = re.compile(r"[A-Za-z0-9._*?:/-]+").fullmatch
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that has been taken apart."""

    bodies: list[Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame of a log and the record that it stands in."""

    record: Record
    logged: LoggedFrame

    @property
    def is_request(self) -> bool:
        """Whether a client has sent it."""
        return self.record.direction == IN

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.record.source if self.is_request else self.record.destination

    @property
    def request_id(self) -> Any:
        """The id that ties request and reply together; None where there is none."""
        frame = self.logged.frame or ()
        position = 1 if self.is_request else 0
        return frame[position] if len(frame) > position else None

    @property
    def verb(self) -> str | None:
        """A request's verb; None for a reply."""
        frame = self.logged.frame
        is_known = self.is_request and frame and isinstance(frame[0], str)
        return frame[0] if frame and is_known else None

    @property
    def queue(self) -> str | None:
        """The queue that a request names; None where it names none."""
        frame = self.logged.frame or ()
        has_name = self.is_request and len(frame) > 2 and isinstance(frame[2], str)
        return frame[2] if has_name and frame[0] != "LIST" else None


def open_packs(frame: Frame, *, is_request: bool) -> list[Any]:
    """Return a frame with its packs taken apart, where it has the form of one with packs.

    A reply does not say what it answers; ids and packs side by side are the reply to PULL
    or PEEK.
    """
    opened = list(frame)
    if is_request:
        if len(frame) > 4 and frame[0] == "PUSH" and isinstance(frame[4], bytes):
            opened[4] = _open_pack(frame[4])
    elif len(frame) > 3 and frame[1] == "OK" and isinstance(frame[2], tuple):
        packs = frame[3]
        if isinstance(packs, tuple) and all(isinstance(pack, bytes) for pack in packs):
            opened[3] = [_open_pack(pack) for pack in packs]
    return opened


def _open_pack(pack: bytes) -> Any:
    """Return a pack's bodies, or its bytes if it is none."""
    try:
        return Pack([_decode_body(piece) for piece in split_pack(pack)])
    except CodedError:
        return pack


def _decode_body(piece: bytes) -> Any:
    try:
        return decode_body(piece)
    except (ValueError, TypeError, RecursionError):  # another client's idea of a body
        return piece


# For machines


def to_object(entry: Entry) -> str:
    """Return an entry as one JSON object, whole."""
    record, logged = entry.record, entry.logged
    fields: dict[str, Any] = {
        "time": _utc(record.wall_time_ns),
        "time_ns": record.wall_time_ns,
        "connection": record.connection_id,
        "direction": record.direction,
        "source": record.source,
        "destination": record.destination,
        "user": record.user,
        "bytes": len(logged.raw),
    }
    if logged.frame is None:
        return _undecodable(fields, logged.raw, logged.reason)
    frame = open_packs(logged.frame, is_request=entry.is_request)
    try:
        return to_json({**fields, "frame": _without_packs(frame)})
    except RecursionError:
        return _undecodable(fields, logged.raw, "it is nested too deeply")


def _undecodable(fields: dict[str, Any], raw: bytes, reason: str) -> str:
    extra = {"frame": None, "undecodable": reason, "base64": base64_of(raw)}
    return to_json({**fields, **extra})


def _without_packs(frame: Iterable[Any]) -> list[Any]:
    """Return a frame in which packs are plain arrays."""
    return [
        value.bodies
        if isinstance(value, Pack)
        else [item.bodies if isinstance(item, Pack) else item for item in value]
        if isinstance(value, list)
        else value
        for value in frame
    ]


def _utc(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _NANOSECONDS)
    try:
        moment = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):  # no time that a calendar knows
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


# For people


def to_line(entry: Entry, width: int) -> str:
    """Return an entry as one line.

    Args:
        entry: what to show.
        width: most characters of one body or other value; 0 shows all of everything.
    """
    record, logged = entry.record, entry.logged
    parts = [
        _local(record.wall_time_ns),
        f"#{record.connection_id}",
        ">>" if entry.is_request else "<<",
        f"{record.source} -> {record.destination}",
        record.user or "-",
    ]
    if logged.frame is None:
        parts.append(f"(undecodable, {len(logged.raw)} bytes: {logged.reason})")
    else:
        frame = open_packs(logged.frame, is_request=entry.is_request)
        if not entry.is_request:
            frame[:2] = reversed(frame[:2])  # people look for OK or ERR first
        parts += [show(value, width) for value in frame]
    return escape(" ".join(parts))


def _local(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _NANOSECONDS)
    try:
        moment = datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    except (ValueError, OverflowError, OSError):  # no time that a calendar knows
        return f"{seconds}.{rest // 1_000_000:03d}"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}"


def show(value: Any, width: int) -> str:
    """Return a value of a frame as text, cut to `width` characters with its size if longer."""
    packs = value if isinstance(value, list) else [value]
    if packs and all(isinstance(pack, Pack) for pack in packs):
        return _show_bodies([body for pack in packs for body in pack.bodies], width)
    if isinstance(value, str) and _is_plain(value) and len(value) <= (width or len(value)):
        return value
    return _cut(value, width)


def _show_bodies(bodies: list[Any], width: int) -> str:
    shown = bodies[:SHOWN_BODIES] if width else bodies
    # Text bodies are JSON as a rule, and quoted once more nobody could read them.
    texts = [
        _cut(body, width, quote="") if isinstance(body, str) else _cut(body, width)
        for body in shown
    ]
    if len(shown) < len(bodies):
        texts.append(f"... {len(bodies)} bodies")
    return f"[{', '.join(texts)}]"


def _cut(value: Any, width: int, quote: str = '"') -> str:
    """Return a value's text, no more of it than is shown."""
    if isinstance(value, str):
        text = value[:width] if width else value
        size = f"{len(value)} characters"
        shown, is_whole = f"{quote}{text}{quote}", len(text) == len(value)
    elif isinstance(value, bytes):
        data = value[: max(1, width // 2)] if width else value
        size = f"{len(value)} bytes"
        shown, is_whole = f"0x{data.hex()}", len(data) == len(value)
    else:
        shown, is_whole = _take(_pieces(value, 0), width)
        size = f"{len(value)} entries" if isinstance(value, (tuple, list, dict)) else "long"
    return shown if is_whole else f"{shown}... ({size})"


def _take(pieces: Iterator[str], width: int) -> tuple[str, bool]:
    """Join pieces up to `width` characters; tell whether that was all."""
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if width and length > width:
            return "".join(taken)[:width], False
    return "".join(taken), True


def _pieces(value: Any, depth: int) -> Iterator[str]:
    """Yield the text of a value piece by piece, so that one that is cut costs no more."""
    if depth > MAX_SHOWN_DEPTH:
        yield "(nested deeper)"
    elif isinstance(value, dict):
        yield "{"
        for index, (key, item) in enumerate(value.items()):
            yield ", " if index else ""
            yield from _pieces(key, depth + 1)
            yield ": "
            yield from _pieces(item, depth + 1)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(item, depth + 1)
        yield "]"
    elif isinstance(value, Pack):
        yield from _pieces(value.bodies, depth)
    elif isinstance(value, bytes):
        yield f"0x{value.hex()}"
    elif isinstance(value, str):
        yield f'"{value}"'
    elif value is None or isinstance(value, bool):
        yield {None: "nil", True: "true", False: "false"}[value]
    else:
        yield str(value)
