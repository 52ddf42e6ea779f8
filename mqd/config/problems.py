"""What is wrong with a configuration, in words for the operator.

Every problem names the key, where its value came from, what was got and what
is taken. Values are shown only where they cannot be secret, and cut short.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SHOWN_CHARS: Final = 64
_MAX_SHOWN_BITS: Final = 128  # longer integers are not worth reading
_LEAST_LIKENESS: Final = 0.6


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        path: the key's dotted path, or empty if it is no single key's problem.
        sentence: what is wrong and what would be right.
        where: where the value came from (`file:line`, a variable, a flag); may be empty.
    """

    path: str
    sentence: str
    where: str = ""

    def __str__(self) -> str:
        place = f"({self.where})" if self.path and self.where else self.where
        start = " ".join(part for part in (self.path, place) if part)
        return f"{start}: {self.sentence}" if start else self.sentence


class ConfigError(ValueError):
    """A configuration that is refused, with everything that is wrong with it.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def refusal(path: str, value: Any, takes: str) -> ConfigError:
    """Return the usual error: this value was got, that is what the key takes."""
    return ConfigError([Problem(path, f"got {shown(value)}; it takes {takes}")])


def shown(value: Any) -> str:
    """Return a value with its type in words, cut short and in printable ASCII."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, float) or (type(value) is int and value.bit_length() <= _MAX_SHOWN_BITS):
        return f"{value!r} ({type_words(value)})"
    if isinstance(value, str):
        return f"{quoted(value)} (text)"
    # Lists and mappings are not shown: they may be large, and may hold secrets.
    return type_words(value)


def type_words(value: Any) -> str:
    """Return a value's type in words, and nothing of the value."""
    return _TYPE_WORDS.get(type(value), f"a {type(value).__name__}")


def quoted(text: str) -> str:
    """Return text in quotes, cut short and in printable ASCII."""
    cut = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
    return ascii(cut)


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return a clause that offers the likeliest known name, or nothing.

    Args:
        name: what was written, a dotted path or a single name.
        candidates: the names that there are.
    """
    known = tuple(candidates)
    tail = name.rpartition(".")[2]
    found = [other for other in known if other.rpartition(".")[2] == tail]
    found = found or difflib.get_close_matches(name, known, n=1, cutoff=_LEAST_LIKENESS)
    return f"; did you mean {found[0]}?" if found else ""


_TYPE_WORDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    bytes: "binary",
}
