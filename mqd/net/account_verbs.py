"""The verbs of users and tokens: as those of `mqd.net.verbs`.

Passwords are hashed off the loop; what was asked for is done in the turn in which the hash is
there, if who asked still stands where it stood. A token is made here, and told once: its
digest alone goes on.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from mqd.core.access import role_named
from mqd.core.standings import Change
from mqd.engine.account_base import Asked
from mqd.passwords import digest_of, new_user_token
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.requests import check_options, check_request
from mqwire.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mqd.core.standings import Standing
    from mqd.engine.base import Results
    from mqd.net.replies import Handler, Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame
    from mqwire.levels import Level


def users(session: Session, request_id: int, frame: Frame) -> Reply:
    """Describe users."""
    (pattern,), _ = check_request(frame)
    session.use_up_share()
    return (request_id, "OK", session.engine.accounts.users(pattern or "*"))


def admit(session: Session, request_id: int, frame: Frame) -> None:
    """Add a user."""
    (name, word, password), _ = check_request(frame)
    role, accounts = role_named(word), session.engine.accounts

    def add(standing: Standing, encoded: str) -> tuple[Results, Level]:
        entry, level = accounts.admit(standing.role, name, role, encoded)
        return (entry,), level

    session.pending.start(request_id, _with_hash(session, password, add))


def alter(session: Session, request_id: int, frame: Frame) -> Reply | None:
    """Change a user."""
    (name,), options = check_request(frame)
    role = role_named(options["role"]) if "role" in options else None
    is_disabled, accounts = options.get("disabled"), session.engine.accounts
    password = options.get("password")
    if password is None:
        actor = _standing(session).role
        entry, level = accounts.alter(actor, name, Change(role, None, is_disabled))
        session.rest_on(level)
        return (request_id, "OK", entry)

    def change(standing: Standing, encoded: str) -> tuple[Results, Level]:
        entry, level = accounts.alter(standing.role, name, Change(role, encoded, is_disabled))
        return (entry,), level

    session.pending.start(request_id, _with_hash(session, password, change))
    return None


def expel(session: Session, request_id: int, frame: Frame) -> Reply:
    """Remove a user."""
    (name,), _ = check_request(frame)
    session.rest_on(session.engine.accounts.expel(_standing(session).role, name))
    return (request_id, "OK")


def password(session: Session, request_id: int, frame: Frame) -> None:
    """Change one's own password."""
    (old, new), _ = check_request(frame)
    session.pending.start(request_id, _set_password(session, old, new))


async def _set_password(session: Session, old: str, new: str) -> Callable[[], Results]:
    accounts, before = session.engine.accounts, _standing(session)
    found = await session.check_password(before.name, old)
    if found is None:
        raise RequestError(Code.AUTH_FAILED, "that is not the old password")
    encoded = await session.hash_password(new)

    def change() -> Results:
        # Both: that the old password is the present one, and that the session is still whose.
        if session.identity.standing is not before or not accounts.holds(found):
            raise _has_ended()
        session.rest_on(accounts.set_password(before, encoded))
        user = accounts.user(before.name)
        assert user is not None, "it has just got a password"
        if not before.token_id:  # nobody outlives the token that it came with
            session.identity.stand_on(user.basis)  # it has shown that it knows both
        return ()

    return change


async def _with_hash(
    session: Session, text: str, change: Callable[[Standing, str], tuple[Results, Level]]
) -> Callable[[], Results]:
    standing = _standing(session)
    encoded = await session.hash_password(text)

    def carry_out() -> Results:
        if session.identity.standing is not standing or not session.engine.accounts.holds(standing):
            raise _has_ended()
        results, level = change(standing, encoded)
        session.rest_on(level)
        return results

    return carry_out


def issue(session: Session, request_id: int, frame: Frame) -> None:
    """Make a token; its reply is one of its own, since it is logged without the token."""
    _, options = check_request(frame)
    standing = _standing(session)
    session.pending.start(request_id, _issue(session, standing, options))


async def _issue(
    session: Session, standing: Standing, options: Mapping[str, Any]
) -> Callable[[], Results]:
    def carry_out() -> Results:
        if session.identity.standing is not standing or not session.engine.accounts.holds(standing):
            raise _has_ended()
        return (issued(session, standing, options),)

    return carry_out


def check_issue(options: Any) -> None:
    """Check what AUTH asks of a token, as the options of ISSUE."""
    check_options(VERBS["ISSUE"], options)


def issued(session: Session, standing: Standing, options: Mapping[str, Any]) -> dict[str, Any]:
    """Make a token for somebody and describe it, the token included; the reply rests on it.

    Raises:
        CodedError: ACCESS_DENIED, OUT_OF_RANGE, TOO_MANY_TOKENS, STORAGE_FULL.
    """
    usual, most = session.token_seconds
    seconds = options.get("lifetime", usual)
    if seconds > most:
        raise RequestError(
            Code.OUT_OF_RANGE,
            f"ISSUE: a token lives {most:g} s at most on this server, not {seconds:g}",
            {"verb": "ISSUE", "field": "lifetime", "low": 1, "high": most, "got": seconds},
        )
    role = role_named(options["role"]) if "role" in options else None
    token = new_user_token()
    asked = Asked(role, ceil(1000 * seconds), options.get("comment", ""), digest_of(token))
    described, level = session.engine.accounts.issue(standing, asked)
    session.rest_on(level)
    return {**described, "token": token}


def tokens(session: Session, request_id: int, frame: Frame) -> Reply:
    """Describe tokens."""
    (pattern,), _ = check_request(frame)
    session.use_up_share()
    found = session.engine.accounts.tokens(_standing(session), pattern)
    return (request_id, "OK", found)


def revoke(session: Session, request_id: int, frame: Frame) -> Reply:
    """End a token."""
    (token_id,), _ = check_request(frame)
    session.rest_on(session.engine.accounts.revoke(_standing(session), token_id))
    return (request_id, "OK")


def _standing(session: Session) -> Standing:
    standing = session.identity.standing
    assert standing is not None, "only those who have authenticated come here"
    return standing


def _has_ended() -> RequestError:
    return RequestError(
        Code.AUTH_ENDING, "the credentials have ended while this was under way; nothing was done"
    )


ACCOUNT_HANDLERS: dict[str, Handler] = {
    "ADMIT": admit,
    "ALTER": alter,
    "EXPEL": expel,
    "ISSUE": issue,
    "PASSWORD": password,
    "REVOKE": revoke,
    "TOKENS": tokens,
    "USERS": users,
}
