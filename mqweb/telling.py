"""What is wrong with a form, as a sentence for people who speak HTTP. Floor 2: pure.

The library that reads forms names types of Python and places like `$.messages[0].body`. Here these
become words, the field or parameter that is meant, and what may stand there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import inspect

from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

_EXPECTED: Final = re.compile(r"Expected `(?P<type>[^`]+)`(?P<bound>[^,]*)(?:, got `(?P<got>.+)`)?")
_WORDS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "a JSON object",
    "array": "a list",
    "null": "null",
}


def invalid(
    error: msgspec.ValidationError,
    form: type[msgspec.Struct],
    query: dict[str, str] | None = None,
) -> Problem:
    """Return what is wrong with a document or a query.

    Args:
        error: what the library says.
        form: what was expected.
        query: the parameters, where it is a query; None for a document.
    """
    sentence, _, rest = str(error).partition(" - at `")
    at = rest.removesuffix("`")
    place = at.removeprefix("$.").removeprefix("$")
    details: dict[str, Any] = {}
    if query is not None:
        details = {"parameter": place} if place else {}
    elif at:
        details = {"at": at}
    name = re.search(r"field `([^`]*)`", sentence)
    if name is not None:
        return _of_names(sentence, name.group(1), place, form, details, is_query=query is not None)
    said = (query or {}).get(place)
    subject = _subject(place, is_query=query is not None)
    if sentence.startswith("Invalid"):
        details["expected"] = list(_choices(form, place))
        got = sentence.partition("value ")[2]
        text = f"{subject} is one of {', '.join(map(str, details['expected']))}, not {got}"
        return Problem(Code.OUT_OF_RANGE, text, details)
    return _of_value(sentence, subject, said, details)


def _of_names(
    sentence: str,
    name: str,
    place: str,
    form: type[msgspec.Struct],
    details: dict[str, Any],
    *,
    is_query: bool,
) -> Problem:
    """Return that a field is missing, or not known."""
    what = "parameter" if is_query else "field"
    where = f"`{place}`" if place else ("the query" if is_query else "the body")
    if "missing" in sentence:
        return Problem(GatewayCode.MISSING_FIELD, f"{where} lacks the {what} `{name}`", details)
    known = "" if place else f"; there are {', '.join(form.__struct_encode_fields__) or 'none'}"
    if is_query:
        details = {"parameter": name}
    return Problem(Code.UNKNOWN_OPTION, f"{where} has no {what} `{name}`{known}", details)


def _of_value(sentence: str, subject: str, said: str | None, details: dict[str, Any]) -> Problem:
    """Return that a value is of another type, or out of its bounds."""
    found = _EXPECTED.match(sentence)
    if found is None:
        return Problem(Code.WRONG_TYPE, f"{subject}: {sentence}", details)
    wanted, bound, got = found.group("type", "bound", "got")
    text = f"{subject} is to be {_words(wanted)}{_bound(bound)}"
    if said is not None:
        text += f", not {said[:100]!r}"
    elif got is not None:
        text += f", not {_words(got)}"
    return Problem(Code.WRONG_TYPE if got else Code.OUT_OF_RANGE, text, details)


def _subject(place: str, *, is_query: bool) -> str:
    if not place:
        return "the query" if is_query else "the body"
    return f"the parameter `{place}` of the query" if is_query else f"`{place}`"


def _words(types: str) -> str:
    return " or ".join(_WORDS.get(each, each) for each in types.split(" | "))


def _bound(text: str) -> str:
    """Return a bound such as ` >= 1`, ` of length <= 9` or ` matching regex 'x'` in words."""
    text = text.strip().replace(">=", "at least").replace("<=", "at most")
    text = text.replace("matching regex", "of the form")
    if not text:
        return ""
    return f" {text}" if text.startswith("of ") else f", {text}"


def _choices(form: type[msgspec.Struct], place: str) -> Iterable[Any]:
    """Return what may stand at a place where only some values may."""
    here = list(_plain(inspect.type_info(form)))
    tags: list[Any] = []
    for name in re.findall(r"(?:^|\.)(\w+)", place):
        structs = [each for each in here if isinstance(each, inspect.StructType)]
        tags = [each.tag for each in structs if each.tag_field == name]
        fields = [field for each in structs for field in each.fields if field.encode_name == name]
        here = [found for field in fields for found in _plain(field.type)]
    values = [
        value for each in here if isinstance(each, inspect.LiteralType) for value in each.values
    ]
    return dict.fromkeys(tags + values)


def _plain(found: inspect.Type) -> Iterable[inspect.Type]:
    """Yield the types that a type is made of, without bounds and lists around them."""
    if isinstance(found, inspect.Metadata):
        yield from _plain(found.type)
    elif isinstance(found, inspect.UnionType):
        for each in found.types:
            yield from _plain(each)
    elif isinstance(found, inspect.ListType):
        yield from _plain(found.item_type)
    else:
        yield found
