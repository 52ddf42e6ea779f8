"""What is known of users and tokens, and what those who come in stand on. Floor 1: data only.

What they mean, and what becomes of them, is the matter of `mqd.core.accounts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from mqd.core.access import Role


class Caps(NamedTuple):
    """What the server's configuration allows."""

    users: int = 1000
    """Managed users."""
    tokens: int = 10_000
    """Tokens, of all users together."""
    tokens_per_user: int = 100
    """Tokens of one user."""


@dataclass(frozen=True)
class Standing:
    """What somebody who has come in stands on.

    Args:
        name: the user.
        role: what they may do: the user's role, or less where a token says so.
        basis: what their credentials rest on.
        token_id: of the token that they came with; 0 for none.
        expires_ms: when that ends; 0 for never.
    """

    name: str
    role: Role
    basis: str
    token_id: int = 0
    expires_ms: int = 0


@dataclass
class Account:
    """One managed user."""

    name: str
    role: Role
    password_hash: str = field(repr=False)
    is_disabled: bool
    mark: int
    made_ms: int
    changed_ms: int

    @property
    def basis(self) -> str:
        """What credentials of it rest on now."""
        return f"user:{self.mark}"


@dataclass(frozen=True)
class Token:
    """One token, without what it is known by."""

    token_id: int
    name: str
    basis: str
    role: Role
    digest: bytes = field(repr=False)
    comment: str
    made_ms: int
    expires_ms: int


class Change(NamedTuple):
    """What is to be changed of a user; None leaves it as it is."""

    role: Role | None = None
    password_hash: str | None = None
    is_disabled: bool | None = None


class Issue(NamedTuple):
    """What a token is asked for with."""

    role: Role
    digest: bytes
    comment: str
    expires_ms: int


NO_CAPS: Final = Caps()
"""The bounds of a server whose configuration says nothing."""
