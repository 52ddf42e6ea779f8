"""Checks a decoded request against the registry of verbs. Floor 0: pure.

The hot verbs of the server recognise their plainest form by themselves and
come here for everything else, so each refusal has one wording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqwire.codes import Code
from mqwire.errors import RequestError, StreamError
from mqwire.levels import LEVELS
from mqwire.limits import MAX_MESSAGES_PER_FRAME, MAX_REQUEST_ID
from mqwire.names import NAME_RULE, check_name, check_pattern
from mqwire.verbs import SECRET_VERBS, STEP_PARTS, VERBS, Field, Kind, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_SHOWN_CHARS = 64

HIDDEN = "(hidden)"
"""Stands where a refusal would repeat what may be secret."""


def check_envelope(frame: tuple[Any, ...]) -> tuple[str, int]:
    """Return a request's verb and id, or say that nothing can be answered to it.

    Raises:
        StreamError: MALFORMED_FRAME if the array has no string and unsigned integer
            at its start: without an id no reply could be tied to the request.
    """
    if len(frame) >= 2:
        verb, request_id = frame[0], frame[1]
        if type(verb) is str and type(request_id) is int and 0 < request_id <= MAX_REQUEST_ID:
            return verb, request_id
    message = (
        "a request starts with a verb (a string) and an id "
        f"(an unsigned integer from 1 to {MAX_REQUEST_ID})"
    )
    raise StreamError(Code.MALFORMED_FRAME, message)


def check_request(frame: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Check a request, whose envelope is sound, against its verb's entry in the registry.

    Args:
        frame: the decoded frame, `(verb, id, ...arguments[, options])`.

    Returns:
        The arguments, one for each of the verb's (None for one that was left out),
        and the options that were given.

    Raises:
        RequestError: UNKNOWN_VERB, WRONG_ARITY, WRONG_TYPE, OUT_OF_RANGE,
            UNKNOWN_OPTION or BAD_NAME, naming what was wrong.
    """
    verb = VERBS.get(frame[0])
    if verb is None:
        raise _unknown_verb(frame[0], "verb", VERBS)
    return _check_frame(verb, frame)


def check_step_part(part: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Check a part of a STEP, as `check_request` does a request.

    Returns:
        Its verb, its arguments and its options.

    Raises:
        RequestError: as for a request; WRONG_TYPE if it is no array with a verb.
    """
    if type(part) is not tuple or not part or type(part[0]) is not str:
        expected = "an array that begins with a verb"
        raise RequestError(
            Code.WRONG_TYPE,
            f"STEP: a part must be {expected}",
            {"verb": "STEP", "field": "parts", "expected": expected, "got": "something else"},
        )
    verb = STEP_PARTS.get(part[0])
    if verb is None:
        raise _unknown_verb(part[0], "part of a STEP", STEP_PARTS)
    arguments, options = _check_frame(verb, (part[0], 0, *part[1:]))
    return part[0], arguments, options


def _unknown_verb(verb: str, what: str, known: Mapping[str, Verb]) -> RequestError:
    return RequestError(
        Code.UNKNOWN_VERB,
        f"there is no {what} {_shown(verb)}; there are {', '.join(known)}",
        {"verb": verb[:MAX_SHOWN_CHARS]},
    )


def _check_frame(verb: Verb, frame: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
    if not verb.least_length <= len(frame) <= verb.most_length:
        raise _wrong_arity(verb, len(frame))
    arguments, options = _parts(verb, frame)
    if type(options) is not dict:
        raise _wrong_type(verb.name, "options", "a map", options)
    for argument, value in zip(verb.arguments, arguments, strict=False):
        _check_value(verb.name, argument, value)
    arguments += [None] * (len(verb.arguments) - len(arguments))
    check_options(verb, options)
    return arguments, options


def _parts(verb: Verb, frame: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Return the arguments, and what stands in the place of the options."""
    arguments = list(frame[2 : 2 + len(verb.arguments)])
    if len(frame) > 2 + len(arguments):
        return arguments, frame[-1]
    # A map where an argument may be left out is the options: no argument of that kind is one.
    if len(frame) > verb.least_length and type(arguments[-1]) is dict:
        return arguments[:-1], arguments[-1]
    return arguments, {}


def check_options(verb: Verb, options: Mapping[Any, Any]) -> None:
    """Check the options of a request whose arguments are known to be sound.

    Raises:
        RequestError: as `check_request`.
    """
    for name, value in options.items():
        option = verb.options.get(name)
        if option is None:
            known = ", ".join(verb.options) or "none"
            raise RequestError(
                Code.UNKNOWN_OPTION,
                f"{verb.name} has no option {_shown(name)}; it has {known}",
                {"verb": verb.name, "option": _cut(name)},
            )
        _check_value(verb.name, option, value)


def _check_value(verb: str, field: Field, value: Any) -> None:
    if type(value) not in field.kind.types:
        raise _wrong_type(verb, field.name, field.kind.words, value)
    check = _CHECKS.get(field.kind)
    if check is not None:
        check(verb, field, value)


def _check_number(verb: str, field: Field, value: Any) -> None:
    if not field.low <= value <= field.high:
        raise _out_of_range(verb, field, value)


def _check_length(verb: str, field: Field, value: str) -> None:
    _check_number(verb, field, len(value))


def _check_entries(verb: str, field: Field, value: tuple[Any, ...]) -> None:
    _check_number(verb, field, len(value))


def _check_size(verb: str, field: Field, value: bytes | str) -> None:
    encoded = value if type(value) is bytes else value.encode()  # type: ignore[union-attr]
    _check_number(verb, field, len(encoded))


def _check_level(verb: str, field: Field, value: str) -> None:
    _check_word(verb, field, value, tuple(LEVELS))


def _check_lease(verb: str, field: Field, value: tuple[Any, ...]) -> None:
    if len(value) != 2 or not all(map(_is_number, value)):
        raise _wrong_form(verb, field)


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_REQUEST_ID


def _check_runs(verb: str, field: Field, runs: tuple[Any, ...]) -> None:
    """Return if `runs` are runs of ids, no more of them together than a frame has messages."""
    is_sound = runs and len(runs) % 2 == 0 and all(map(_is_number, runs)) and all(runs)
    if not is_sound:
        raise _wrong_form(verb, field)
    asked = sum(runs[1::2])
    if asked > MAX_MESSAGES_PER_FRAME:
        raise RequestError(
            Code.TOO_MANY_MESSAGES,
            f"{verb}: {field.name} may name {MAX_MESSAGES_PER_FRAME} messages at most, not {asked}",
            {
                "verb": verb,
                "field": field.name,
                "low": 1,
                "high": MAX_MESSAGES_PER_FRAME,
                "got": asked,
            },
        )


def _wrong_arity(verb: Verb, length: int) -> RequestError:
    names = [a.name if a.is_required else f"[{a.name}]" for a in verb.arguments]
    names.append("[options]")
    form = ", ".join([f'"{verb.name}"', "id", *names])
    return RequestError(
        Code.WRONG_ARITY,
        f"{verb.name} has the form [{form}]; this frame has {length} elements",
        {"verb": verb.name, "form": form, "got": length},
    )


def _wrong_type(verb: str, name: str, words: str, value: Any) -> RequestError:
    got = _TYPE_WORDS.get(type(value), type(value).__name__)
    return RequestError(
        Code.WRONG_TYPE,
        f"{verb}: {name} must be {words}, not {got}",
        {"verb": verb, "field": name, "expected": words, "got": got},
    )


def _out_of_range(verb: str, field: Field, value: Any) -> RequestError:
    # A field that counts messages has a code of its own: a client cuts its frame then.
    counts_messages = field.name in ("count", "max") and value > field.high
    code = Code.TOO_MANY_MESSAGES if counts_messages else Code.OUT_OF_RANGE
    units = {Kind.TEXT: " in characters", Kind.RESULT: " in bytes"}
    what = field.name + units.get(field.kind, "")
    return RequestError(
        code,
        f"{verb}: {what} must be from {field.low} to {field.high}, not {value}",
        {"verb": verb, "field": field.name, "low": field.low, "high": field.high, "got": value},
    )


def _wrong_form(verb: str, field: Field) -> RequestError:
    words = field.kind.words
    return RequestError(
        Code.WRONG_TYPE,
        f"{verb}: {field.name} must be {words}",
        {"verb": verb, "field": field.name, "expected": words, "got": "another array"},
    )


def _check_word(verb: str, field: Field, value: str, words: tuple[str, ...] = ()) -> None:
    words = words or field.words
    if value in words:
        return
    if verb in SECRET_VERBS:  # it may be a password in the wrong place
        value = HIDDEN
    raise RequestError(
        Code.OUT_OF_RANGE,
        f"{verb}: {field.name} must be one of {', '.join(words)}, not {_shown(value)}",
        {"verb": verb, "field": field.name, "expected": list(words), "got": _cut(value)},
    )


def _check_user(verb: str, field: Field, value: str) -> None:
    """Check a user's name; one that is none is not repeated, since it may be a password."""
    try:
        check_name(value)
    except RequestError:
        raise RequestError(
            Code.BAD_NAME,
            f"{verb}: {field.name} must be a name of {NAME_RULE}",
            {"verb": verb, "field": field.name, "rule": NAME_RULE},
        ) from None  # the cause holds the name


def _check_words(verb: str, field: Field, value: tuple[Any, ...]) -> None:
    for word in value:
        if type(word) is not str:
            raise _wrong_form(verb, field)
        _check_word(verb, field, word)


_CHECKS: dict[Kind, Callable[[str, Field, Any], object]] = {
    Kind.COUNT: _check_number,
    Kind.SECONDS: _check_number,
    Kind.NUMBER: _check_number,
    Kind.NAME: lambda _verb, _field, value: check_name(value),
    Kind.USER: _check_user,
    Kind.PATTERN: lambda _verb, _field, value: check_pattern(value),
    Kind.TEXT: _check_length,
    Kind.LEVEL: _check_level,
    Kind.RESULT: _check_size,
    Kind.WORD: _check_word,
    Kind.WORDS: _check_words,
    Kind.LEASE: _check_lease,
    Kind.PARTS: _check_entries,
    Kind.RUNS: _check_runs,
}
"""What is looked at beyond the type."""

_TYPE_WORDS = {
    type(None): "nil",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    bytes: "binary",
    tuple: "an array",
    dict: "a map",
}


def _cut(value: Any) -> str:
    return (value if type(value) is str else repr(value))[:MAX_SHOWN_CHARS]


def _shown(value: Any) -> str:
    return f"'{_cut(value)}'".encode("ascii", "backslashreplace").decode("ascii")
