"""Frames of a frame log as lines for people. Floor 4: pure.

A log holds what clients have sent, so nothing in it is trusted: what is shown is
escaped, cut and bounded in depth, and what cannot be shown says so.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from mqclient.ctl.output import escape
from mqwire.framelog_entries import NANOSECONDS, Pack, open_packs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqwire.framelog import Gap
    from mqwire.framelog_entries import Entry

SHOWN_BODIES: Final = 8
"""How many bodies of a pack a person sees, unless everything was asked for."""

MAX_SHOWN_DEPTH: Final = 64
_is_plain: Final = re.compile(r"[A-Za-z0-9._*?:/-]+").fullmatch


def to_line(entry: Entry, width: int) -> str:
    """Return an entry as one line.

    Args:
        entry: what to show.
        width: most characters of one body or other value; 0 shows all of everything.
    """
    record, logged = entry.record, entry.logged
    gap = entry.gap
    if gap is not None:
        return escape(f"{_local(record.wall_time_ns)} {_gap_text(gap)}")
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
    if entry.answers is not None:
        parts.append(_answer_text(entry))
    return escape(" ".join(parts))


def _answer_text(entry: Entry) -> str:
    """Return what a reply answers, and after how long."""
    milliseconds = (entry.elapsed_ns or 0) / 1e6
    names = [show(name, 40) for name in (entry.verb, entry.queue) if name is not None]
    return f"({' '.join([*names, f'{milliseconds:.3f} ms'])})"


def _gap_text(gap: Gap) -> str:
    since = _local(gap.since_ns)
    return f"--- {gap.records} records are missing here, from {since} on: {gap.reason} ---"


def _local(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, NANOSECONDS)
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
