r"""Message bodies on their way between lines of text and the wire. Floor 4.

A body that `mqctl` pushes is a JSON document unless it is told otherwise. What is
JSON already goes as that document; other text goes as a JSON string. What
it prints is again one JSON document a line: JSON bodies as they came, other text as
a JSON string, binary as `{"base64": text}`. So the output of one `mqctl` is the input
of the next, and a body's line breaks never make two messages of one.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mqclient.ctl import exits
from mqclient.ctl.exits import Failure
from mqwire.json_text import to_json
from mqwire.limits import HARD_MAX_FRAME_BYTES, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES: Final = MIB
"""Most that is read, and so pushed, at a time."""

MAX_LINE_BYTES: Final = HARD_MAX_FRAME_BYTES
"""No server takes a larger frame, so no line needs more memory than this."""


class Style(Enum):
    """What the bytes of an input are, or what the text of an output is."""

    JSON = auto()
    """JSON documents; other text is made a JSON string."""
    TEXT = auto()
    """Text, whatever it looks like: always a JSON string on the wire."""
    RAW = auto()
    """Bytes as they are."""


class _NotJsonError(ValueError):
    pass


def _refuse_constant(name: str) -> None:
    raise _NotJsonError(name)


# Where only the form matters, numbers are left alone: no digit is lost.
_checker: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def is_json(text: str) -> bool:
    """Tell whether `text` is one JSON document that is not nested too deeply to be read."""
    try:
        _checker.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def flaw_of(text: str) -> str | None:
    """Return what keeps a text that looks like a JSON object or array from being one.

    None for what is JSON, and for what does not begin with a bracket: plain text.
    """
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        _checker.decode(text)
    except json.JSONDecodeError as error:
        return f"{error.msg}, character {error.pos + 1}"
    except _NotJsonError as error:
        return f"{error} is no number of JSON"
    return None


def to_body(data: bytes, style: Style) -> Any:
    """Return what the client is to push: bytes, a JSON document, or text to make one of.

    Raises:
        Failure: the bytes are not text, or JSON that is nested too deeply.
    """
    if style is Style.RAW:
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Failure("it is not UTF-8 text; push binary data with --raw", exits.USAGE) from error
    if style is Style.TEXT:
        return text
    try:
        _checker.decode(text)
    except ValueError:
        return text
    except RecursionError as error:
        reason = "it is nested too deeply"
        raise Failure(f"{reason}; push it with --text or --raw", exits.USAGE) from error
    from mqclient.codecs import JsonText  # noqa: PLC0415  --help does without

    return JsonText(text)


def read_lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of `stream` as they arrive, without their line ends.

    What is there is yielded at once, so a slow writer's lines wait for nobody, and
    a huge file is never held as a whole.

    Raises:
        Failure: a line is longer than any message may be.
    """
    pieces: list[bytes] = []
    held_bytes = 0
    while chunk := _read_some(stream):
        pieces.append(chunk)
        held_bytes += len(chunk)
        if b"\n" in chunk:
            *lines, rest = b"".join(pieces).split(b"\n")
            yield lines
            pieces, held_bytes = [rest], len(rest)
        _check_size(held_bytes)
    if held_bytes:
        yield [b"".join(pieces)]


def _read_some(stream: Any) -> bytes:
    """Return what has arrived, waiting only if that is nothing; empty at the end."""
    data: bytes = stream.read1(CHUNK_BYTES)
    return data


def read_whole(stream: BinaryIO) -> bytes:
    """Return all of `stream`.

    Raises:
        Failure: it is longer than any message may be.
    """
    data = stream.read(MAX_LINE_BYTES + 1)
    _check_size(len(data))
    return data


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_LINE_BYTES:
        raise Failure(
            f"a body is longer than {MAX_LINE_BYTES} bytes, more than any server takes; "
            "put the data in a file that all workers see and push its path",
            exits.USAGE,
        )


def to_document(raw: Any) -> str:
    """Return a body as one JSON document on one line.

    Args:
        raw: bytes or text as it was on the wire, or what another client's body decodes to.
    """
    if not isinstance(raw, str):
        try:
            return to_json(raw)
        except RecursionError:
            return json.dumps("(nested too deeply)")
    if not is_json(raw):
        return json.dumps(raw, ensure_ascii=False)
    # Outside of strings, where JSON allows none, a line break is mere layout.
    return raw.strip().replace("\n", " ").replace("\r", " ")


def to_text(raw: Any) -> str:
    """Return the text of a body that is a JSON string, and any other as `to_document`."""
    document = to_document(raw)
    return str(json.loads(document)) if document.startswith('"') else document


def to_bytes(raw: Any) -> bytes:
    """Return a body's bytes as they were on the wire; text in UTF-8."""
    if isinstance(raw, bytes):
        return raw
    text = raw if isinstance(raw, str) else to_document(raw)
    return text.encode("utf-8", "backslashreplace")
