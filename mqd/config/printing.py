"""Writes a configuration as commented YAML: what mqd.yaml is and `--print-config` shows.

All text stands in quotes, so that no reader of YAML takes `off` for a boolean.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mqd.config.sections import Key, Section
    from mqd.config.users import UserEntry

HIDDEN: Final = "(hidden)"
"""What stands in the place of a password hash; it is no hash, so it is refused when read."""

_WIDTH: Final = 92
_INDENT: Final = "  "


def yaml_text(sections: Iterable[Section]) -> str:
    """Return the sections as YAML, with each key's explanation, unit and range."""
    return "\n".join("\n".join(_section_lines(section)) + "\n" for section in sections)


def _section_lines(section: Section) -> Iterator[str]:
    yield from _comment(type(section).__doc__ or "", "")
    yield f"{section.section}:"
    for index, item in enumerate(fields(section)):
        key: Key = item.metadata["key"]
        if index:
            yield ""
        yield from _comment(key.doc, _INDENT)
        yield from _comment(f"Takes {key.kind.takes}.", _INDENT)
        if key.flag:
            yield from _comment(f"Flag: {key.flag}", _INDENT)
        yield from _entry(item.name, getattr(section, item.name))


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False
    )


def _entry(name: str, value: Any) -> Iterator[str]:
    if not (isinstance(value, tuple) and value):
        yield f"{_INDENT}{name}: {scalar_text(value)}"
        return
    yield f"{_INDENT}{name}:"
    for user in value:
        yield f"{_INDENT}{_INDENT}- {_user(user)}"


def _user(user: UserEntry) -> str:
    name, role = scalar_text(user.name), scalar_text(user.role.word)
    return f"{{name: {name}, role: {role}, password_hash: {scalar_text(HIDDEN)}}}"


def scalar_text(value: Any) -> str:
    """Return a value as YAML, small numbers without an exponent."""
    if isinstance(value, float) and "e-" in repr(value):
        return f"{Decimal(repr(value)):f}"
    # JSON's null, numbers and quoted text are YAML's too, and so is the empty list.
    return json.dumps(value, ensure_ascii=False)
