"""Users in the configuration: name, password hash, role.

What it is: their form, checked without any hashing.
What it is not: checking passwords, which `mqd.passwords` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import argon2

from mqd.config.problems import ConfigError, Problem, refusal, suggestion, type_words
from mqd.core.access import ROLE_WORDS, Role, role_named
from mqwire.errors import RequestError
from mqwire.names import NAME_RULE, check_name

MAX_USERS: Final = 10_000
MAX_HASH_CHARS: Final = 1024
_MIN_SALT_BYTES: Final = 8  # what argon2 itself asks for
_MIN_HASH_BYTES: Final = 16
_FIELDS: Final = ("name", "password_hash", "role")
_is_plain_word = re.compile(r"[A-Za-z_-]{1,32}").fullmatch
_is_encoded = re.compile(r"\$argon2(id|i|d)(\$[A-Za-z0-9+/=,]+){4}").fullmatch


@dataclass(frozen=True)
class UserEntry:
    """One user of the configuration.

    Args:
        name: 1 to 128 characters of the alphabet of queue names.
        password_hash: an encoded argon2 hash, as `mqd hash-password` prints it; a secret.
        role: what the user may do.
    """

    name: str
    password_hash: str = field(repr=False)
    role: Role


class Users:
    """The kind of `auth.users`: a list of users with different names."""

    takes = (
        f"a list of at most {MAX_USERS} users, each a mapping of {', '.join(_FIELDS)} (name: "
        f"{NAME_RULE}; password_hash: what 'mqd hash-password' prints; role: "
        f"{', '.join(ROLE_WORDS)})"
    )

    def read(self, path: str, value: Any) -> tuple[UserEntry, ...]:
        """Return the users, or say everything that is wrong with any of them."""
        if not isinstance(value, (list, tuple)) or len(value) > MAX_USERS:
            raise _secret_refusal(path, value, self.takes)
        users: dict[str, UserEntry] = {}
        problems: list[Problem] = []
        for index, item in enumerate(value):
            here = f"{path}[{index}]"
            try:
                user = _read_user(here, item)
            except ConfigError as error:
                problems += error.problems
                continue
            if user.name in users:
                problems.append(Problem(f"{here}.name", f"there are two users named {user.name}"))
            users[user.name] = user
        if problems:
            raise ConfigError(problems)
        return tuple(users.values())


def _read_user(path: str, item: Any) -> UserEntry:
    fields = dict(vars(item)) if isinstance(item, UserEntry) else item
    if not isinstance(fields, dict):
        raise _secret_refusal(path, item, f"a mapping of {', '.join(_FIELDS)}")
    problems = [_unknown(path, name) for name in fields if name not in _FIELDS]
    checked: dict[str, Any] = {}
    for name, check in zip(_FIELDS, (_read_name, _read_hash, _read_role), strict=True):
        here = f"{path}.{name}"
        if name not in fields:
            problems.append(Problem(here, "it is missing"))
            continue
        try:
            checked[name] = check(here, fields[name])
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return UserEntry(**checked)


def _secret_refusal(path: str, value: Any, takes: str) -> ConfigError:
    """Return a refusal that shows nothing of the value: it may be somebody's password."""
    return ConfigError([Problem(path, f"got {type_words(value)}; it takes {takes}")])


def _unknown(path: str, name: Any) -> Problem:
    if not isinstance(name, str) or _is_plain_word(name) is None:
        # A hash without quotes inside braces falls into pieces at its commas.
        sentence = (
            f"it has a key that is no plain word; the keys are {', '.join(_FIELDS)}, "
            "and a password_hash needs quotes, since it holds commas"
        )
        return Problem(path, sentence)
    sentence = f"there is no such key; there are {', '.join(_FIELDS)}{suggestion(name, _FIELDS)}"
    return Problem(f"{path}.{name}", sentence)


def _read_name(path: str, value: Any) -> str:
    try:
        if isinstance(value, str):
            return check_name(value)
    except RequestError:
        pass  # the same refusal as for a value that is no text
    raise refusal(path, value, f"a name of {NAME_RULE}")


def _read_hash(path: str, value: Any) -> str:
    """Return an encoded hash; no message shows it, since it may be the password itself."""
    if isinstance(value, str) and len(value) <= MAX_HASH_CHARS and _is_sound_hash(value):
        return value
    takes = "an encoded argon2 hash in quotes, as 'mqd hash-password' prints it"
    raise _secret_refusal(path, value, takes)


def _is_sound_hash(text: str) -> bool:
    if _is_encoded(text) is None:
        return False
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        return False
    return parameters.salt_len >= _MIN_SALT_BYTES and parameters.hash_len >= _MIN_HASH_BYTES


def _read_role(path: str, value: Any) -> Role:
    if isinstance(value, Role):
        return value
    try:
        if isinstance(value, str):
            return role_named(value)
    except ValueError:
        pass  # the same refusal as for a value that is no text
    raise refusal(path, value, " or ".join(ROLE_WORDS))
