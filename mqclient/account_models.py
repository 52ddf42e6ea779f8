"""What the library tells of users and tokens. Floor 1: data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@dataclass(frozen=True)
class UserInfo:
    """A user of the server.

    Args:
        user: its name.
        role: `admin`, `secretary`, `agent` or `user`.
        is_managed: whether it can be changed; one of the server's configuration cannot.
        is_disabled: whether it cannot come in.
        tokens: how many tokens it has.
        made_at: since when it is there, in seconds since 1970-01-01 UTC; None where it is not
            managed.
        changed_at: when it was changed last; None where it is not managed.
    """

    user: str
    role: str
    is_managed: bool
    is_disabled: bool
    tokens: int
    made_at: float | None = None
    changed_at: float | None = None

    @classmethod
    def from_map(cls, entry: Mapping[str, Any]) -> UserInfo:
        """Read what the server tells; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not such an entry.
        """
        known = {name: entry[name] for name in cls.__dataclass_fields__ if name in entry}
        return cls(**known)


@dataclass(frozen=True)
class TokenInfo:
    """A token of a user.

    Args:
        id: by which it is revoked.
        user: whose it is.
        role: what it allows.
        comment: what was said of it when it was made.
        made_at: when, in seconds since 1970-01-01 UTC.
        expires_at: until when it may be used.
    """

    id: int
    user: str
    role: str
    comment: str
    made_at: float
    expires_at: float

    @classmethod
    def from_map(cls, entry: Mapping[str, Any]) -> Self:
        """Read what the server tells; keys that are not known are passed over.

        Raises:
            KeyError, TypeError: the map is not such an entry.
        """
        return cls(**{name: entry[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class NewToken(TokenInfo):
    """A token that was just made.

    Args:
        token: the token itself: the server does not know it any more.
    """

    token: str = field(repr=False, default="")
