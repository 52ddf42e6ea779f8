"""Typed bodies: dataclasses to plain values and back, checked. Floor 1.

What it knows: dataclasses in dataclasses, `X | None` and other unions, list,
tuple, set, frozenset, dict, enums (by value), Literal, Any, and bool, int,
float, str, bytes, None. A float may be written as an integer; nothing else is
converted but what JSON itself forces (tuples and sets are arrays there, and
keys of maps are text). Fields that do not exist are refused, so that a
misspelt one does not turn silently into a default.

What it is not: a schema language. It stops at types.

Theory of operation: a type is compiled once into nested functions
`(value, place) -> value`, so a message costs calls and no look at type hints.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqclient.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Callable

    Restore: TypeAlias = Callable[[Any, str], Any]


class MismatchError(ValueError):
    """A value does not fit its type; the text says where, and never what the value was."""


def to_plain(value: Any) -> Any:
    """Make of a dataclass a map of its fields, of an enum its value, of a set a list.

    It is the `default` of encoders, which call it again for what is inside. Fields
    with `init=False` are left out: they are computed again where it is restored.

    Raises:
        TypeError: it is none of these.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} is neither a plain value nor a dataclass")


def restorer(hint: Any) -> Restore:
    """Return the function that makes a value of the type `hint` out of plain ones.

    The function takes the value and its place (for error texts) and raises
    MismatchError.

    Raises:
        InterfaceError: the type, or one inside it, is none that this module knows.
    """
    known = _compiled.get(hint) if isinstance(hint, type) else None
    return known or _compile(hint)


_compiled: dict[type, Restore] = {}


def _compile(hint: Any) -> Restore:
    if hint is Any or hint is object:
        return _as_it_is
    if hint in _PLAIN_TYPES:
        return _plain(hint)
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return _compiled.get(hint) or _compile_dataclass(hint)
        if issubclass(hint, Enum):
            return _enum(hint)
    if hint in _CONTAINERS:  # bare: list, dict ...
        return _CONTAINERS[hint](hint, ())
    origin = typing.get_origin(hint)
    build = _CONTAINERS.get(origin)
    if build is None:
        raise InterfaceError(f"{_name(hint)} is no type that a body can be restored to")
    return build(origin, typing.get_args(hint))


def _compile_dataclass(kind: type) -> Restore:
    hints = _hints_of(kind)
    makers: dict[str, Restore] = {}
    # Known before its fields are, so that a dataclass may hold itself.
    _compiled[kind] = restore = _dataclass(kind, makers)
    try:
        for field in dataclasses.fields(kind):
            if field.init:
                makers[field.name] = _compile(hints[field.name])
    except BaseException:
        del _compiled[kind]
        raise
    return restore


def _hints_of(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception as error:
        raise InterfaceError(f"the types of {kind.__name__} cannot be found: {error}") from error


def _dataclass(kind: type, makers: dict[str, Restore]) -> Restore:
    def restore(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _mismatch(place, kind.__name__, value)
        unknown = value.keys() - makers.keys()
        if unknown:
            raise MismatchError(
                f"{place} has no field {min(map(str, unknown))!r} in {kind.__name__}"
            )
        made = {name: makers[name](part, f"{place}.{name}") for name, part in value.items()}
        try:
            return kind(**made)
        except Exception as error:  # a field is missing, or its __post_init__ refuses
            raise MismatchError(f"{place} is no {kind.__name__}: {error}") from error

    return restore


def _as_it_is(value: Any, _place: str) -> Any:
    return value


def _plain(kind: type | None) -> Restore:
    if kind is None or kind is types.NoneType:
        kind = types.NoneType

    def restore(value: Any, place: str) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _mismatch(place, _name(kind), value)

    return restore


def _enum(kind: type[Enum]) -> Restore:
    def restore(value: Any, place: str) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise _mismatch(place, kind.__name__, value) from error

    return restore


def _literal(_origin: Any, choices: tuple[Any, ...]) -> Restore:
    def restore(value: Any, place: str) -> Any:
        for choice in choices:
            if choice == value and type(choice) is type(value):
                return value
        raise _mismatch(place, f"one of {choices}", value)

    return restore


def _union(_origin: Any, hints: tuple[Any, ...]) -> Restore:
    # None first: it is the cheapest to try, and nothing else takes it.
    ordered = sorted(hints, key=lambda hint: hint is not types.NoneType)
    makers = [_compile(hint) for hint in ordered]
    words = " or ".join(_name(hint) for hint in hints)
    only = makers[1] if len(makers) == 2 and ordered[0] is types.NoneType else None

    def restore(value: Any, place: str) -> Any:
        if only is not None:  # X | None: X's own words say best what is wrong
            return None if value is None else only(value, place)
        for maker in makers:
            try:
                return maker(value, place)
            except MismatchError:  # noqa: PERF203  one try for each member of a union
                continue
        raise _mismatch(place, words, value)

    return restore


def _sequence(origin: Any, hints: tuple[Any, ...]) -> Restore:
    maker = _compile(hints[0]) if hints else _as_it_is
    build = origin if origin in (set, frozenset) else list

    def restore(value: Any, place: str) -> Any:
        if type(value) not in (list, tuple):
            raise _mismatch(place, "an array", value)
        made = [maker(part, f"{place}[{index}]") for index, part in enumerate(value)]
        return made if build is list else build(made)

    return restore


def _tuple(origin: Any, hints: tuple[Any, ...]) -> Restore:
    if not hints or hints[-1] is Ellipsis:
        as_list = _sequence(origin, hints[:1])
        return lambda value, place: tuple(as_list(value, place))
    makers = [_compile(hint) for hint in hints]

    def restore(value: Any, place: str) -> Any:
        if type(value) not in (list, tuple) or len(value) != len(makers):
            raise _mismatch(place, f"an array of {len(makers)}", value)
        parts = zip(makers, value, strict=True)
        return tuple(maker(part, f"{place}[{index}]") for index, (maker, part) in enumerate(parts))

    return restore


def _mapping(_origin: Any, hints: tuple[Any, ...]) -> Restore:
    key_hint, value_hint = hints or (Any, Any)
    make_key, make_value = _compile(key_hint), _compile(value_hint)
    parse = _KEY_PARSERS.get(key_hint)

    def key_of(key: Any, place: str) -> Any:
        if parse is not None and type(key) is str:
            try:
                return parse(key)
            except ValueError as error:
                raise _mismatch(f"a key of {place}", _name(key_hint), key) from error
        return make_key(key, f"a key of {place}")

    def restore(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _mismatch(place, "a map", value)
        return {
            key_of(key, place): make_value(part, f"{place}[{key!r}]") for key, part in value.items()
        }

    return restore


def _annotated(_origin: Any, hints: tuple[Any, ...]) -> Restore:
    return _compile(hints[0])


_PLAIN_TYPES: Final = (bool, int, float, str, bytes, None, types.NoneType)
_KEY_PARSERS: Final[dict[Any, Callable[[str], Any]]] = {int: int, float: float}
_CONTAINERS: Final[dict[Any, Callable[[Any, tuple[Any, ...]], Restore]]] = {
    list: _sequence,
    set: _sequence,
    frozenset: _sequence,
    collections.abc.Sequence: _sequence,
    tuple: _tuple,
    dict: _mapping,
    collections.abc.Mapping: _mapping,
    typing.Union: _union,
    types.UnionType: _union,
    typing.Literal: _literal,
    typing.Annotated: _annotated,
}


def _mismatch(place: str, wanted: str, value: Any) -> MismatchError:
    return MismatchError(f"{place} must be {wanted}, not {type(value).__name__}")


def _name(hint: Any) -> str:
    if hint is types.NoneType:
        return "None"
    return hint.__name__ if isinstance(hint, type) else str(hint)
