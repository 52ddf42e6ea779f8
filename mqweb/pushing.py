"""Pushes: what came in a request as one PUSH, all or nothing. Floor 2: pure but for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mqclient import calls
from mqclient.cutting import pack_bodies
from mqweb import bodies
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient.calls import Call
    from mqclient.models import Limits
    from mqweb.forms import BodyForm, PushForm, PushOptions, PushPart
    from mqwire.frames import Frame

_encode = msgspec.msgpack.Encoder().encode
OPTIONS = ("priority", "delay", "not_before", "ttl", "max_attempts", "max_worker_losses")


class Load(NamedTuple):
    """What is pushed.

    Args:
        count: messages.
        pack: their bodies.
        headers: as they stand on the wire, or None.
        largest_body_bytes: a bound of the largest body, exact where it matters.
    """

    count: int  # type: ignore[assignment]  # not the method of tuples
    pack: bytes
    headers: Any
    largest_body_bytes: int


class Reached(NamedTuple):
    """The result of a push."""

    first: int
    durability: str
    is_repeat: bool


def load_of_one(raw: bytes | str, headers: dict[str, Any] | None, limits: Limits) -> Load:
    """Return one message to be pushed.

    Raises:
        Problem: it is over the server's bound.
    """
    pack = pack_bodies([raw])
    if len(pack) > limits.max_body_bytes:
        raise _too_large(limits, len(pack))
    return Load(1, pack, headers, len(pack))


def load_of_form(form: PushForm, limits: Limits) -> Load:
    """Return what a form holds.

    Raises:
        Problem: it holds neither one body nor many, or something is over a bound.
    """
    if form.messages is None:
        if form.body is msgspec.UNSET:
            raise Problem(
                GatewayCode.MISSING_FIELD, "there is neither `body` nor `messages` in the document"
            )
        assert isinstance(form.body, msgspec.Raw)
        raw = bodies.raw_of(form.body, form.encoding)
        return load_of_one(raw, bodies.headers_of(form.headers), limits)
    headers = bodies.headers_of(form.headers)
    if form.body is not msgspec.UNSET or headers is not None or form.encoding != "json":
        raise Problem(
            Code.CONFLICTING_OPTIONS,
            "`messages` have bodies, encodings and headers of their own",
            {"options": ["messages", "body"]},
        )
    return load_of_many(form.messages, limits)


def load_of_many(messages: Sequence[BodyForm], limits: Limits) -> Load:
    """Return many messages to be pushed.

    Raises:
        Problem: there are too many, or one is over the server's bound.
    """
    _check_count(len(messages), limits)
    raw_of = bodies.raw_of
    raws = [raw_of(each.body, each.encoding) for each in messages]
    headers: list[Any] | None = None
    if any(each.headers is not msgspec.UNSET for each in messages):
        headers = [bodies.headers_of(each.headers) for each in messages]
    return _packed(raws, headers, limits)


def load_of_lines(body: bytes, headers: dict[str, Any] | None, limits: Limits) -> Load:
    """Return many messages to be pushed, each a JSON document on a line of its own.

    Args:
        body: the lines; the last one may end or not.
        headers: of all of them.
        limits: the server's.

    Raises:
        Problem: a line is no JSON document, or something is over a bound.
    """
    most = limits.max_messages_per_frame
    try:
        # No more is made of them than there may be: there may be millions.
        raws = body.decode("utf-8").split("\n", most + 1)
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        text = f"line {number} is no text in UTF-8"
        raise Problem(GatewayCode.MALFORMED_BODY, text, {"line": number}) from error
    if len(raws) > 1 and not raws[-1]:
        raws.pop()  # the last line has ended
    if len(raws) > most:
        _check_count(body.count(b"\n") + (not body.endswith(b"\n")), limits)
    if bodies.count_lines(body) != len(raws):
        raise _bad_line(raws)
    return _packed(raws, headers, limits)


def _bad_line(lines: Sequence[str]) -> Problem:
    """Return what is wrong with the first line that is no document by itself."""
    if not any(lines):
        return Problem(GatewayCode.MALFORMED_BODY, "the body is empty: there are no lines")
    for number, line in enumerate(lines, 1):
        if bodies.lines_of([line]) is None:
            text = f"line {number} is {'no JSON document by itself' if line else 'empty'}"
            return Problem(GatewayCode.MALFORMED_BODY, text, {"line": number})
    return Problem(GatewayCode.MALFORMED_BODY, "a line is no JSON document by itself")


def options_of(form: PushOptions | PushPart) -> dict[str, Any]:
    """Return the options of a push but its key and level, as they stand on the wire."""
    return {name: value for name in OPTIONS if (value := getattr(form, name)) is not None}


def push_call(
    queue: str, load: Load, options: dict[str, Any], key: str, durability: str | None
) -> Call:
    """Return the call that pushes. Result: Reached."""
    options["key"] = key
    call = calls.push(
        queue, load.count, load.pack, load.headers, load.largest_body_bytes, durability, options
    )
    call.read = _reached
    return call


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.max_messages_per_frame:
        raise Problem(
            Code.TOO_MANY_MESSAGES,
            f"{count} messages are more than one push may have",
            {"limit": limits.max_messages_per_frame, "asked": count},
        )


def _pack_of(raws: list[Any]) -> bytes:
    """Return a pack, as `pack_bodies` does; for many this takes half as long."""
    try:
        array = _encode(raws)
    except ValueError:  # a lone surrogate
        return pack_bodies(raws)
    count = len(raws)
    return array[1 if count < 16 else 3 if count < 65536 else 5 :]


def _packed(raws: list[Any], headers: Any, limits: Limits) -> Load:
    pack = _pack_of(raws)
    largest = len(pack)
    if largest > limits.max_body_bytes:
        largest = max(len(pack_bodies([raw])) for raw in raws)
        if largest > limits.max_body_bytes:
            raise _too_large(limits, largest)
    return Load(len(raws), pack, headers, largest)


def _reached(frame: Frame) -> Reached:
    return Reached(int(frame[2]), str(frame[3]), len(frame) > 4 and frame[4] is True)


def _too_large(limits: Limits, asked: int) -> Problem:
    limit = limits.max_body_bytes
    return Problem(
        Code.BODY_TOO_LARGE,
        f"a body of {asked} bytes, as it is encoded, is over the server's bound of {limit}",
        {"limit": limit, "asked": asked},
    )
