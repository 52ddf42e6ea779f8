"""Types of options and arguments: text of a command line in, checked values out. Floor 4.

Plain functions instead of classes of click's: they raise what click shows, and each is
tested by calling it.
"""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Final

import click

from mqwire.limits import (
    MAX_MESSAGES_PER_FRAME,
    MAX_QUEUE_BYTES,
    MAX_QUEUE_MESSAGES,
    MAX_REQUEST_ID,
    MAX_TIME_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_INTERVAL_SECONDS: Final = 0.1
"""More often is a load on the server, and nobody's eye sees it."""
LONGEST_INTERVAL_SECONDS: Final = 86400
SLOWEST_RATE: Final = 0.001
FASTEST_RATE: Final = 1_000_000

_is_size: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?b?)", re.IGNORECASE).fullmatch
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_digits_after_point: Final = re.compile(r"[.]([0-9]+)")
_is_id_range: Final = re.compile(r"([0-9]{1,16})(?:-([0-9]{1,16}))?").fullmatch
_is_duration: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])").fullmatch
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def number(low: int, high: int = MAX_QUEUE_MESSAGES) -> Callable[[str], int]:
    """Return a type: whole numbers from `low` to `high`."""

    def whole_number(value: str) -> int:
        try:
            result = int(value)
        except ValueError:
            result = low - 1
        if not low <= result <= high:
            raise click.BadParameter(f"'{value}' is not a whole number from {low} to {high}")
        return result

    return whole_number


def size_bytes(value: str) -> int:
    """Return the number of bytes in 500, 10M or 10MiB (of 1024), or 10MB (of 1000)."""
    match = _is_size(value.strip())
    if match is None:
        raise click.BadParameter(f"'{value}' is not a size such as 500, 10M, 1GiB or 20MB")
    number, unit, rest = match.groups()
    base = 1000 if rest.lower() == "b" else 1024
    result = int(float(number) * base ** _POWERS[unit.lower()])
    if not 1 <= result <= MAX_QUEUE_BYTES:
        raise click.BadParameter(f"'{value}' is not from 1 byte to {MAX_QUEUE_BYTES} bytes")
    return result


def seconds(value: str) -> float:
    """Return a number of seconds, fractions allowed, neither negative nor endless."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not 0 <= result < math.inf:
        negative = " from 0 on" if result < 0 else ""
        raise click.BadParameter(f"'{value}' is not a number of seconds{negative}")
    return result


def seconds_up_to(most: float, least: float = 0) -> Callable[[str], float]:
    """Return a type: numbers of seconds from `least` to `most`."""

    def bounded_seconds(value: str) -> float:
        result = seconds(value)
        if not least <= result <= most:
            raise click.BadParameter(f"'{value}' is not from {least} to {most} seconds")
        return result

    return bounded_seconds


def fraction(value: str) -> float:
    """Return a number from 0 to 1."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not 0 <= result <= 1:
        raise click.BadParameter(f"'{value}' is not a number from 0 to 1")
    return result


def per_second(value: str) -> float:
    """Return a number a second: above 0, and not too many for a clock."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not SLOWEST_RATE <= result <= FASTEST_RATE:
        raise click.BadParameter(
            f"'{value}' is not a number from {SLOWEST_RATE} to {FASTEST_RATE} a second"
        )
    return result


def id_ranges(value: str) -> list[int]:
    """Return the ids in 7 or 7,9 or 10-20 or any mixture of these, ascending.

    At most MAX_MESSAGES_PER_FRAME of them: that is what one request may name.
    """
    ids: set[int] = set()
    for part in value.split(","):
        match = _is_id_range(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= MAX_REQUEST_ID:
            where = "" if part == value else f" in '{value}'"
            turned = f"; write {last}-{first}" if 1 <= last < first else ""
            raise click.BadParameter(
                f"'{part}'{where} is neither an id nor a range as 10-20{turned}"
            )
        if len(ids) + last - first >= MAX_MESSAGES_PER_FRAME:
            raise click.BadParameter(
                f"'{value}' are more than {MAX_MESSAGES_PER_FRAME} ids; name fewer at a time"
            )
        ids.update(range(first, last + 1))
    return sorted(ids)


def timeout(value: str) -> float:
    """Return a number of seconds above 0."""
    result = seconds(value)
    if not result:
        raise click.BadParameter("a time-out of 0 would never let anything happen")
    return result


def interval(value: str) -> float:
    """Return a number of seconds between two looks, from 0.1 on."""
    result = seconds(value)
    if not SHORTEST_INTERVAL_SECONDS <= result <= LONGEST_INTERVAL_SECONDS:
        raise click.BadParameter(
            f"'{value}' is not from {SHORTEST_INTERVAL_SECONDS} to {LONGEST_INTERVAL_SECONDS} "
            "seconds"
        )
    return result


def header(value: str) -> tuple[str, str]:
    """Return key and value of a header, both text, out of KEY=VALUE."""
    key, equals, text = value.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"'{value}' does not have the form KEY=VALUE")
    return key, text


def clock_time(value: str) -> float:
    """Return seconds since 1970-01-01 UTC, given as such or in ISO 8601 (local time)."""
    try:
        result = float(value)
    except ValueError:
        result = _iso_seconds(value)
    if not 0 <= result <= MAX_TIME_SECONDS:
        raise click.BadParameter(
            f"'{value}' is neither a time (2030-01-31T12:00) nor seconds since 1970"
        )
    return result


def _iso_seconds(value: str) -> float:
    """Return seconds since 1970-01-01 UTC out of ISO 8601, or nan if it is none."""
    from datetime import datetime

    # Python 3.10 takes no Z, and a fraction of three or six digits alone.
    text = _digits_after_point.sub(lambda found: f".{found[1]:0<6.6}", value.replace("Z", "+00:00"))
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return math.nan


def moment(value: str) -> int:
    """Return nanoseconds since 1970-01-01 UTC out of ISO 8601 (local time) or an age."""
    age = _is_duration(value)
    if age is not None:
        return time.time_ns() - int(float(age[1]) * _UNIT_SECONDS[age[2]] * 1e9)
    result = _iso_seconds(value)
    if math.isnan(result):
        raise click.BadParameter(f"'{value}' is neither a time (2030-01-31T12:00) nor an age (10m)")
    return int(result * 1e9)
