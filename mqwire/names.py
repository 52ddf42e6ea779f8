"""The one rule for names, and patterns over them. Floor 0.

A queue name is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` and does not
start with `.` or `-`. It never becomes a file name, and the rule still keeps
names free of everything that a shell, a log line or a URL would have to quote.
"""

from __future__ import annotations

import re

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.limits import MAX_NAME_CHARS

NAME_RULE = (
    f"1 to {MAX_NAME_CHARS} characters out of A-Z a-z 0-9 . _ - and not starting with . or -"
)

PATTERN_RULE = f"1 to {MAX_NAME_CHARS} characters out of A-Z a-z 0-9 . _ - * ?"

_is_name = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}").fullmatch
_is_pattern = re.compile(rf"[A-Za-z0-9._*?-]{{1,{MAX_NAME_CHARS}}}").fullmatch


def check_name(name: str) -> str:
    """Return `name` if it follows the rule.

    Raises:
        RequestError: BAD_NAME, with the name (cut to 128 characters) and the rule.
    """
    if _is_name(name) is None:
        raise _bad_name("queue name", name, NAME_RULE)
    return name


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it follows the rule of patterns: a name with `*` and `?` in it.

    Raises:
        RequestError: BAD_NAME, with the pattern and the rule.
    """
    if _is_pattern(pattern) is None:
        raise _bad_name("pattern", pattern, PATTERN_RULE)
    return pattern


def matches(pattern: str, name: str) -> bool:
    """Tell whether `name` fits `pattern`: `*` stands for any characters, `?` for one.

    Complexity: at most len(pattern) * len(name) steps, whatever the pattern; a
    regular expression would take exponential time on a hostile one.
    """
    at = here = 0
    star = retry = -1
    while here < len(name):
        if at < len(pattern) and pattern[at] in (name[here], "?"):
            at, here = at + 1, here + 1
        elif at < len(pattern) and pattern[at] == "*":
            star, retry = at, here
            at += 1
        elif star >= 0:
            retry += 1
            at, here = star + 1, retry
        else:
            return False
    return pattern[at:].strip("*") == ""


def _bad_name(what: str, name: str, rule: str) -> RequestError:
    shown = name[:MAX_NAME_CHARS].encode("ascii", "backslashreplace").decode("ascii")
    long = f" (and {len(name) - MAX_NAME_CHARS} more)" if len(name) > MAX_NAME_CHARS else ""
    return RequestError(
        Code.BAD_NAME, f"{what} '{shown}'{long} is not {rule}", {"name": shown, "rule": rule}
    )
