"""What the floor above may ask of an engine about users and tokens.

It is a part of `mqd.engine.base`, by whose turns and levels it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from mqd.core.access import Role
    from mqd.core.standings import Account, Change, Standing
    from mqwire.levels import Level


class Asked(NamedTuple):
    """What a token is asked for with."""

    role: Role | None
    """None for the role of who asks."""
    life_ms: int
    comment: str
    digest: bytes
    """By which it will be known: the token itself is nobody's matter here."""


class AccountEngine(Protocol):
    """The part of an engine that knows users and tokens.

    What somebody may do is judged by their standing, which its holder has checked (`holds`).
    The levels returned are the highest that there are. ACCESS_DENIED refuses who goes beyond
    their role, USER_NOT_FOUND and USER_CONFIGURED a name, STORAGE_FULL what needs room.
    """

    has_changed: bool
    """Set when a standing may have ended; whoever looks after standings clears it."""

    def fix(self, name: str, basis: str, role: Role) -> None:
        """Take note of a user that is managed elsewhere, and of what its credentials rest on."""

    def begin(self) -> list[str]:
        """Begin, once all such users are known, in a turn.

        Returns:
            Managed users that have the name of one of them, and so cannot come in.
        """

    def user(self, name: str) -> Account | None:
        """Return a managed user that has a password here, be it disabled or not."""

    def standing_of(self, digest: bytes) -> Standing | None:
        """Return what a token gives, by its SHA-256; None if it is none, or over."""

    def holds(self, standing: Standing) -> bool:
        """Tell whether a standing has not ended."""

    def users(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the users whose names fit, sorted by name; those managed elsewhere too."""

    def admit(
        self, actor: Role, name: str, role: Role, password_hash: str
    ) -> tuple[dict[str, Any], Level]:
        """Add a user and describe it. USER_EXISTS, TOO_MANY_USERS."""

    def alter(self, actor: Role, name: str, change: Change) -> tuple[dict[str, Any], Level]:
        """Change a user and describe it. LAST_ADMINISTRATOR."""

    def set_password(self, standing: Standing, password_hash: str) -> Level:
        """Give a user the password that it has chosen itself; its standing ends."""

    def expel(self, actor: Role, name: str) -> Level:
        """Remove a user. LAST_ADMINISTRATOR."""

    def tokens(self, standing: Standing, pattern: str | None) -> list[dict[str, Any]]:
        """Describe tokens: one's own where there is no pattern of users."""

    def issue(self, standing: Standing, asked: Asked) -> tuple[dict[str, Any], Level]:
        """Make a token and describe it. TOO_MANY_TOKENS."""

    def revoke(self, standing: Standing, token_id: int) -> Level:
        """End a token. TOKEN_NOT_FOUND."""
