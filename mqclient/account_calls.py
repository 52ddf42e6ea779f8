"""Calls about users and tokens: what is sent and how the reply is read. Floor 1: pure.

As `mqclient.calls`, for USERS, ADMIT, ALTER, EXPEL, PASSWORD, ISSUE, TOKENS and REVOKE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqclient.account_models import NewToken, TokenInfo, UserInfo
from mqclient.calls import Call
from mqclient.errors import ArgumentError
from mqwire.limits import MAX_TEXT_CHARS, MIN_PASSWORD_CHARS
from mqwire.roles import ROLE_WORDS

if TYPE_CHECKING:
    from mqwire.frames import Frame


def users(pattern: str | None) -> Call:
    """Look at users. Result: list of UserInfo."""
    arguments = () if pattern is None else (pattern,)
    return Call("USERS", arguments, lambda frame: [UserInfo.from_map(each) for each in frame[2]])


def add_user(name: str, role: str, password: str) -> Call:
    """Add a user. Result: UserInfo."""
    return Call("ADMIT", (name, check_role(role), check_password(password)), _user)


def change_user(
    name: str, role: str | None, password: str | None, *, disabled: bool | None
) -> Call:
    """Change a user. Result: UserInfo."""
    options: dict[str, Any] = {}
    if role is not None:
        options["role"] = check_role(role)
    if password is not None:
        options["password"] = check_password(password)
    if disabled is not None:
        options["disabled"] = bool(disabled)
    if not options:
        raise ArgumentError("say what is to be changed: role, password or disabled")
    return Call("ALTER", (name, options), _user)


def remove_user(name: str) -> Call:
    """Remove a user. Result: None."""
    return Call("EXPEL", (name,), _nothing)


def change_password(old: str, new: str) -> Call:
    """Change the password of the user that the connection acts as. Result: None."""
    return Call("PASSWORD", (old, check_password(new)), _nothing)


def issue_token(role: str | None, lifetime: float | None, comment: str | None) -> Call:
    """Make a token. Result: NewToken."""
    options: dict[str, Any] = {}
    if role is not None:
        options["role"] = check_role(role)
    if lifetime is not None:
        options["lifetime"] = lifetime
    if comment:
        options["comment"] = comment
    return Call("ISSUE", (options,) if options else (), lambda frame: NewToken.from_map(frame[2]))


def tokens(users: str | None) -> Call:
    """Look at tokens. Result: list of TokenInfo."""
    arguments = () if users is None else (users,)
    return Call("TOKENS", arguments, lambda frame: [TokenInfo.from_map(each) for each in frame[2]])


def revoke_token(token_id: int) -> Call:
    """End a token. Result: None."""
    return Call("REVOKE", (token_id,), _nothing)


def check_role(role: str) -> str:
    """Return a role's word.

    Raises:
        ArgumentError: it is none.
    """
    if role not in ROLE_WORDS:
        raise ArgumentError(f"a role is one of {', '.join(ROLE_WORDS)}, not {role!r}")
    return role


def check_password(password: str) -> str:
    """Return a new password; what is wrong with it is told without it.

    Raises:
        ArgumentError: it is no text, or too short or too long.
    """
    bounds = f"{MIN_PASSWORD_CHARS} to {MAX_TEXT_CHARS}"
    if not isinstance(password, str):
        raise ArgumentError(f"a password is a text of {bounds} characters")
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_TEXT_CHARS:
        raise ArgumentError(f"a password has {bounds} characters, not {len(password)}")
    return password


def _user(frame: Frame) -> UserInfo:
    return UserInfo.from_map(frame[2])


def _nothing(_frame: Frame) -> None:
    return None
