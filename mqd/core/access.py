"""Who may do what: roles, and the one table of verb by role. Floor 1: pure.

What it is: the roles, their other names, which verbs each role allows, and whose users
each may manage.
What it is not: who somebody is. Users and tokens are the matter of `mqd.core.accounts`,
passwords the shell's.

Everything that the table does not allow is refused: a verb that is added to
the registry and not to the table is nobody's.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from mqwire import roles


@unique
class Role(Enum):
    """What a user may do; the value is the word on the wire and in the config."""

    ADMIN = "admin"
    """Everything."""
    SECRETARY = "secretary"
    """Look, and manage those users who may do no more than work."""
    AGENT = "agent"
    """Push, pull and look: what a worker needs."""
    USER = "user"
    """Look."""

    @property
    def word(self) -> str:
        """The lower-case word used on the wire, in the config and in text."""
        return self.value


ROLE_ALIASES: Final[dict[str, Role]] = {
    alias: Role(word) for alias, word in roles.ROLE_ALIASES.items()
}
"""Other words that are taken for a role; they are never given out."""

ROLE_WORDS: Final = roles.ROLE_WORDS
"""Every word that `role_named` takes."""

PUBLIC_VERBS: Final = frozenset({"AUTH", "PING"})
"""Verbs that are open to anyone, before AUTH too."""

_EVERYONE: Final = frozenset(Role)
_WORKERS: Final = frozenset({Role.ADMIN, Role.AGENT})
_KEEPERS: Final = frozenset({Role.ADMIN, Role.SECRETARY})
_ADMINS: Final = frozenset({Role.ADMIN})

_ROLES_BY_VERB: Final[dict[str, frozenset[Role]]] = {
    "LIST": _EVERYONE,
    "INFO": _EVERYONE,
    "PEEK": _EVERYONE,
    "STATUS": _EVERYONE,
    "WATCH": _EVERYONE,
    "CREDIT": _EVERYONE,
    "UNWATCH": _EVERYONE,
    "STATS": _EVERYONE,
    "PUSH": _WORKERS,
    "PULL": _WORKERS,
    "WAKE": _EVERYONE,
    "ACK": _WORKERS,
    "NACK": _WORKERS,
    "EXTEND": _WORKERS,
    "REJECT": _WORKERS,
    "STEP": _WORKERS,
    "HOLDERS": _EVERYONE,
    "CANCEL": _WORKERS,
    "REDRIVE": _ADMINS,
    "CREATE": _ADMINS,
    "DELETE": _ADMINS,
    "PURGE": _ADMINS,
    "PAUSE": _ADMINS,
    "RESUME": _ADMINS,
    "SNAPSHOT": _ADMINS,
    "BACKUP": _ADMINS,
    "FRAMES": _ADMINS,
    "USERS": _KEEPERS,
    "ADMIT": _KEEPERS,
    "ALTER": _KEEPERS,
    "EXPEL": _KEEPERS,
    "PASSWORD": _EVERYONE,
    "ISSUE": _EVERYONE,
    "TOKENS": _EVERYONE,
    "REVOKE": _EVERYONE,
}

ALLOWED: Final[dict[Role, frozenset[str]]] = {
    role: frozenset(verb for verb, roles in _ROLES_BY_VERB.items() if role in roles)
    for role in Role
}
"""The verbs that each role allows, beside the public ones."""

MANAGES: Final[dict[Role, frozenset[Role]]] = {
    Role.ADMIN: frozenset(Role),
    Role.SECRETARY: frozenset({Role.AGENT, Role.USER}),
    Role.AGENT: frozenset(),
    Role.USER: frozenset(),
}
"""Which roles the users may have, before and after, that each role may add, change and remove.

A secretary makes nobody a secretary or an administrator, and touches none of them, itself
included: whoever can set an administrator's password is one.
"""


def covers(role: Role, other: Role) -> bool:
    """Tell whether a role allows, and manages, all that another one does."""
    return ALLOWED[other] <= ALLOWED[role] and MANAGES[other] <= MANAGES[role]


def role_named(word: str) -> Role:
    """Return the role that `word` stands for, by its own name or an alias.

    Raises:
        ValueError: no such role; the sentence tells the words that there are.
    """
    alias = ROLE_ALIASES.get(word)
    if alias is not None:
        return alias
    try:
        return Role(word)
    except ValueError as error:
        raise ValueError(f"there is no such role; there are {', '.join(ROLE_WORDS)}") from error
