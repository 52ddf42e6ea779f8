"""Kinds of values that a configuration key takes: each checks, and says what it takes.

A kind knows nothing of where a value came from. `read` returns the value in the
form in which the configuration holds it, so that 10 and 10.0 seconds are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from mqd.config.problems import refusal


class Kind(Protocol):
    """What a key takes."""

    @property
    def takes(self) -> str:
        """What is taken, with bounds and unit, as a noun for a sentence."""
        ...

    def read(self, path: str, value: Any) -> Any:
        """Return the value as the configuration holds it.

        Raises:
            ConfigError: `path` does not take this value.
        """
        ...


@dataclass(frozen=True)
class Integer:
    """A whole number.

    Args:
        low: the least, inclusive.
        high: the greatest, inclusive.
        unit: what is counted, for people.
    """

    low: int
    high: int
    unit: str = ""

    @property
    def takes(self) -> str:
        """What is taken."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"an integer from {self.low} to {self.high}{unit}"

    def read(self, path: str, value: Any) -> int:
        """Return the integer; a boolean or a float is none."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise refusal(path, value, self.takes)
        return value


@dataclass(frozen=True)
class Seconds:
    """A duration above zero.

    Args:
        high: the longest in seconds, inclusive.
        zero_means: what 0 stands for, for people; where it is empty 0 is not taken.
    """

    high: float
    zero_means: str = ""

    @property
    def takes(self) -> str:
        """What is taken."""
        if self.zero_means:
            return f"a number of seconds from 0 ({self.zero_means}) to {self.high:.15g}"
        return f"a number of seconds above 0 and up to {self.high:.15g}"

    def read(self, path: str, value: Any) -> float:
        """Return the seconds as a float; infinity and not-a-number are refused."""
        is_number = type(value) in (int, float)
        # NaN fails both comparisons, and infinity the second.
        if not is_number or not 0 <= value <= self.high or not (value or self.zero_means):
            raise refusal(path, value, self.takes)
        return float(value)


@dataclass(frozen=True)
class Boolean:
    """Yes or no."""

    takes: str = "true or false"

    def read(self, path: str, value: Any) -> bool:
        """Return the boolean; numbers and words are none."""
        if type(value) is not bool:
            raise refusal(path, value, self.takes)
        return value


@dataclass(frozen=True)
class Text:
    """Printable text.

    Args:
        what: what the text is, for people, such as "a path".
        max_chars: the longest, in characters; the shortest is one.
        allowed: a regular expression that the whole text follows.
        is_optional: whether null is taken too.
        null_means: what null stands for, for people.
    """

    what: str
    max_chars: int
    allowed: str = r"(?s:.*)"
    is_optional: bool = False
    null_means: str = "none"

    @property
    def takes(self) -> str:
        """What is taken."""
        null = f", or null ({self.null_means})" if self.is_optional else ""
        return f"{self.what}: text of 1 to {self.max_chars} characters{null}"

    def read(self, path: str, value: Any) -> str | None:
        """Return the text, or None where null is taken."""
        if value is None and self.is_optional:
            return None
        if not (isinstance(value, str) and self._is_sound(value)):
            raise refusal(path, value, self.takes)
        return value

    def _is_sound(self, text: str) -> bool:
        if not 0 < len(text) <= self.max_chars or not text.isprintable():
            return False
        return re.fullmatch(self.allowed, text) is not None


@dataclass(frozen=True)
class Choice:
    """One word out of a few.

    Args:
        words: those that are taken.
    """

    words: tuple[str, ...]

    @property
    def takes(self) -> str:
        """What is taken."""
        return " or ".join(self.words) if len(self.words) < 3 else f"one of {', '.join(self.words)}"

    def read(self, path: str, value: Any) -> str:
        """Return the word."""
        if isinstance(value, str) and value in self.words:
            return value
        raise refusal(path, value, self.takes)
