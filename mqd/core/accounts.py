"""Users that are managed while the server serves, and tokens. Floor 1: pure.

What it is: who they are, what their credentials rest on, and what ends them.
What it is not: passwords, which are checked and hashed by the shell; this room sees hashes and
digests alone. Nor the users of the configuration and the owner of the address file: the shell
names them (`fix`), since they are on no record here.

Theory of operation. Whoever comes in has a `Standing`: a user, a role, and a *basis*, which is
what the credentials rested on: the mark of a managed user, a digest of a configured one's entry,
the address file. A mark is a number that is given once: with a new password, a lesser role or
when it is disabled a user gets another one, and so every standing on the old one has ended,
here and after a restart, without anybody keeping a list of them. A token has a basis too, so it
ends with what it was issued on; those of managed users go with the record that ends them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mqd.core import account_records as records
from mqd.core.access import MANAGES, Role, covers
from mqd.core.deadlines import Timetable
from mqd.core.errors import (
    last_administrator,
    may_not_manage,
    token_not_found,
    too_many_tokens,
    too_many_users,
    user_configured,
    user_exists,
    user_not_found,
)
from mqd.core.standings import NO_CAPS, Account, Caps, Standing, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.records import Record
    from mqd.core.standings import Change, Issue


_REVOKED_AT_ONCE: Final = 1000
"""Tokens that one record ends at most."""


class Accounts:
    """All managed users and all tokens.

    Args:
        caps: see `Caps`; they judge commands, never records.
    """

    def __init__(self, caps: Caps = NO_CAPS) -> None:
        self._caps = caps
        self.clock_ms = 0
        """When the newest record was made."""
        self._users: dict[str, Account] = {}
        self._tokens: dict[int, Token] = {}
        self._by_digest: dict[bytes, int] = {}
        self._by_user: dict[str, dict[int, None]] = {}
        self._times: Timetable[int] = Timetable()
        self._last = 0
        self._fixed: dict[str, dict[str, Role]] = {}
        self.appliers: dict[int, Callable[..., int]] = {
            records.USER: self._apply_user,
            records.EXPEL: self._apply_expel,
            records.TOKEN: self._apply_token,
            records.REVOKE: self._apply_revoke,
            records.NUMBER: self._apply_number,
        }

    # Who there is

    def fix(self, name: str, basis: str, role: Role) -> None:
        """Take note of a user that is managed elsewhere; of a name there may be several."""
        self._fixed.setdefault(name, {})[basis] = role

    def fixed(self) -> Iterator[tuple[str, Role]]:
        """Yield the users that are managed elsewhere, with the greatest of their roles."""
        for name, roles in self._fixed.items():
            yield name, next(role for role in Role if role in roles.values())

    def is_fixed(self, name: str) -> bool:
        """Tell whether a user is managed elsewhere."""
        return name in self._fixed

    def user(self, name: str) -> Account | None:
        """Return a managed user, unless one that is managed elsewhere has its name."""
        return None if name in self._fixed else self._users.get(name)

    def users(self) -> Iterator[Account]:
        """Yield the managed users by name, hidden ones too."""
        for name in sorted(self._users):
            yield self._users[name]

    def hidden(self) -> list[str]:
        """Return the names of managed users that are managed elsewhere as well."""
        return sorted(self._users.keys() & self._fixed.keys())

    def role_on(self, name: str, basis: str) -> Role | None:
        """Return the role that a user has on a basis; None where that has ended."""
        roles = self._fixed.get(name)
        if roles is not None:
            return roles.get(basis)
        user = self._users.get(name)
        if user is None or user.is_disabled or user.basis != basis:
            return None
        return user.role

    def holds(self, standing: Standing, now_ms: int) -> bool:
        """Tell whether a standing has not ended."""
        if standing.token_id:
            token = self._tokens.get(standing.token_id)
            return token is not None and self._is_good(token, now_ms)
        role = self.role_on(standing.name, standing.basis)
        return role is not None and covers(role, standing.role)

    def standing_of(self, digest: bytes, now_ms: int) -> Standing | None:
        """Return the standing that a token gives; None if there is no such token.

        The digest is looked up in a hash table. How long that takes tells something of the
        digests that are there, and nothing of any token: who could choose digests would have
        broken SHA-256.
        """
        token = self._tokens.get(self._by_digest.get(digest, 0))
        if token is None or not self._is_good(token, now_ms):
            return None
        return Standing(token.name, token.role, token.basis, token.token_id, token.expires_ms)

    def _is_good(self, token: Token, now_ms: int) -> bool:
        role = self.role_on(token.name, token.basis)
        return token.expires_ms > now_ms and role is not None and covers(role, token.role)

    def token(self, token_id: int) -> Token | None:
        """Return the token with this id."""
        return self._tokens.get(token_id)

    def count_tokens(self, now_ms: int) -> int:
        """Tell how many tokens of all users there are that are not over."""
        return sum(token.expires_ms > now_ms for token in self._tokens.values())

    def tokens_of(self, name: str) -> list[Token]:
        """Return the tokens of a user, the oldest first."""
        return [self._tokens[token_id] for token_id in self._by_user.get(name, ())]

    def token_users(self) -> list[str]:
        """Return the names of those who have tokens, sorted."""
        return sorted(self._by_user)

    def count_of(self, name: str) -> int:
        """Tell how many tokens a user has."""
        return len(self._by_user.get(name, ()))

    # Commands

    def plan_admit(
        self, actor: Role, name: str, role: Role, password_hash: str, now_ms: int
    ) -> Record:
        """Plan a new user.

        Raises:
            BrokerError: ACCESS_DENIED, USER_CONFIGURED, USER_EXISTS, TOO_MANY_USERS.
        """
        self._check_actor(actor, role)
        self._check_managed(name)
        if name in self._users:
            raise user_exists(name)
        if len(self._users) >= self._caps.users:
            raise too_many_users(self._caps.users)
        return (records.USER, name, role.word, password_hash, False, self._last + 1, now_ms, now_ms)

    def plan_alter(self, actor: Role, name: str, change: Change, now_ms: int) -> Record | None:
        """Plan to change a user; None if that changes nothing.

        Raises:
            BrokerError: ACCESS_DENIED, USER_CONFIGURED, USER_NOT_FOUND, LAST_ADMINISTRATOR.
        """
        user = self._managed(actor, name)
        role = user.role if change.role is None else change.role
        self._check_actor(actor, role)
        is_disabled = user.is_disabled if change.is_disabled is None else change.is_disabled
        if (role, is_disabled) != (user.role, user.is_disabled):
            self._check_administrators(user, stays=role is Role.ADMIN and not is_disabled)
        elif change.password_hash is None:
            return None
        ends = (
            change.password_hash is not None
            or is_disabled > user.is_disabled
            or not covers(role, user.role)
        )
        password_hash = change.password_hash or user.password_hash
        return self._changed(user, role, password_hash, is_disabled, now_ms, ends=ends)

    def plan_password(self, standing: Standing, password_hash: str, now_ms: int) -> Record:
        """Plan a new password that a user sets itself.

        Raises:
            BrokerError: USER_CONFIGURED, USER_NOT_FOUND.
        """
        self._check_managed(standing.name)
        user = self._users.get(standing.name)
        if user is None:
            raise user_not_found(standing.name)
        return self._changed(user, user.role, password_hash, user.is_disabled, now_ms, ends=True)

    def plan_expel(self, actor: Role, name: str, now_ms: int) -> Record:
        """Plan to remove a user.

        Raises:
            BrokerError: ACCESS_DENIED, USER_CONFIGURED, USER_NOT_FOUND, LAST_ADMINISTRATOR.
        """
        self._check_administrators(self._managed(actor, name), stays=False)
        return (records.EXPEL, name, now_ms)

    def plan_issue(self, standing: Standing, issue: Issue, now_ms: int) -> Record:
        """Plan a token of a user's own, on what it stands on itself.

        Raises:
            BrokerError: ACCESS_DENIED where it came with a token itself, or asks for a role
                above its own; TOO_MANY_TOKENS.
        """
        self._check_issue(standing, issue)
        caps = self._caps
        if self.count_of(standing.name) >= caps.tokens_per_user:
            raise too_many_tokens("tokens_per_user", caps.tokens_per_user)
        if len(self._tokens) >= caps.tokens:
            raise too_many_tokens("tokens", caps.tokens)
        return (
            records.TOKEN,
            self._last + 1,
            standing.name,
            standing.basis,
            issue.role.word,
            issue.digest,
            issue.comment,
            now_ms,
            issue.expires_ms,
        )

    def plan_room(self, standing: Standing, issue: Issue, now_ms: int) -> Record | None:
        """Plan to end the oldest token that a new one takes the place of; None for none.

        It is one with the same comment, where the user has as many as it may: logins are of one
        kind, and the hundredth of them should not shut everybody out until the first is over.

        Raises:
            BrokerError: ACCESS_DENIED, as by `plan_issue`.
        """
        self._check_issue(standing, issue)
        if not issue.comment or self.count_of(standing.name) < self._caps.tokens_per_user:
            return None
        for token in self.tokens_of(standing.name):
            if token.comment == issue.comment:
                return (records.REVOKE, (token.token_id,), now_ms)
        return None

    def plan_revoke(self, standing: Standing, token_id: int, now_ms: int) -> Record:
        """Plan to end a token: one's own, or that of somebody whom one manages.

        Raises:
            BrokerError: TOKEN_NOT_FOUND, ACCESS_DENIED.
        """
        token = self._tokens.get(token_id)
        if token is None:
            raise token_not_found(token_id)
        if token.name == standing.name:
            # A password gives the whole role; a lesser token ends those alone that are no more.
            if token_id != standing.token_id and not covers(standing.role, token.role):
                sentence = f"the role '{standing.role.word}' ends no token with '{token.role.word}'"
                raise may_not_manage(standing.role.word, sentence, token.role.word)
        else:
            if not MANAGES[standing.role]:  # nor is it told that there is such a token
                raise token_not_found(token_id)
            role = self.role_on(token.name, token.basis) or token.role
            self._check_actor(standing.role, role)
        return (records.REVOKE, (token_id,), now_ms)

    def forget(self, now_ms: int, most: int) -> int:
        """Let go of tokens whose time is over, `most` at most; returns how many.

        They give nobody a standing any more, here or after a restart, so there is no record of it.
        """
        ids = list(islice(self._times.all_due(now_ms), most))
        return sum(map(self._forget, ids))

    def plan_start(self, now_ms: int) -> Iterator[Record]:
        """Plan what a start ends: tokens of users that the configuration has no more, or changed.

        To be asked once all users that are managed elsewhere are known.
        """
        tokens = list(self._tokens.items())
        yield from _revocations(
            [token_id for token_id, token in tokens if not self._is_good(token, now_ms)], now_ms
        )

    def plan_distrust(self, now_ms: int) -> Iterator[Record]:
        """Plan that nobody who is managed here comes in any more, until somebody says so.

        It is for a state with holes: what ended somebody may have been in one of them.
        """
        yield from _revocations(list(self._tokens), now_ms)
        for user in list(self.users()):
            if not user.is_disabled:
                yield self._changed(user, user.role, user.password_hash, True, now_ms, ends=True)

    def next_ms(self) -> int | None:
        """When the next token is over; None for never."""
        return self._times.next_ms()

    # Inside

    @staticmethod
    def _check_issue(standing: Standing, issue: Issue) -> None:
        if standing.token_id:
            raise may_not_manage(
                standing.role.word, "a token issues no tokens: come in with a password"
            )
        if not covers(standing.role, issue.role):
            sentence = f"the role '{standing.role.word}' has no tokens with '{issue.role.word}'"
            raise may_not_manage(standing.role.word, sentence, issue.role.word)

    def _changed(
        self,
        user: Account,
        role: Role,
        password_hash: str,
        is_disabled: bool,  # noqa: FBT001  a field of the record
        now_ms: int,
        *,
        ends: bool,
    ) -> Record:
        mark = self._last + 1 if ends else user.mark
        return (
            records.USER,
            user.name,
            role.word,
            password_hash,
            is_disabled,
            mark,
            user.made_ms,
            now_ms,
        )

    def _check_managed(self, name: str) -> None:
        if name in self._fixed:
            raise user_configured(name)

    def _managed(self, actor: Role, name: str) -> Account:
        """Return a user whom somebody with a role may manage."""
        self._check_managed(name)
        user = self._users.get(name)
        if user is None:
            raise user_not_found(name)
        self._check_actor(actor, user.role)
        return user

    def _check_actor(self, actor: Role, role: Role) -> None:
        if role not in MANAGES[actor]:
            sentence = f"the role '{actor.word}' manages nobody who is, or is to be, '{role.word}'"
            raise may_not_manage(actor.word, sentence, role.word)

    def _check_administrators(self, user: Account, *, stays: bool) -> None:
        """Return if somebody can administer the server without this user, or it stays one."""
        if stays or user.role is not Role.ADMIN or user.is_disabled:
            return
        if any(role is Role.ADMIN for _, role in self.fixed()):
            return
        others = (
            each for each in self.users() if each is not user and each.name not in self._fixed
        )
        if not any(each.role is Role.ADMIN and not each.is_disabled for each in others):
            raise last_administrator(user.name)

    # Records

    def export(self, now_ms: int = 0) -> Iterator[Record]:
        """Yield the fewest records that rebuild this, without the tokens that are over."""
        for user in self.users():
            yield (
                records.USER,
                user.name,
                user.role.word,
                user.password_hash,
                user.is_disabled,
                user.mark,
                user.made_ms,
                user.changed_ms,
            )
        for token in self._tokens.values():
            if token.expires_ms <= now_ms:
                continue
            yield (
                records.TOKEN,
                token.token_id,
                token.name,
                token.basis,
                token.role.word,
                token.digest,
                token.comment,
                token.made_ms,
                token.expires_ms,
            )
        if self._last:
            yield (records.NUMBER, self._last)

    def _apply_user(
        self,
        name: str,
        word: str,
        password_hash: str,
        is_disabled: bool,  # noqa: FBT001  a field of the record
        mark: int,
        made_ms: int,
        now_ms: int,
    ) -> int:
        before = self._users.get(name)
        user = Account(name, Role(word), password_hash, is_disabled, mark, made_ms, now_ms)
        if before is not None and before.mark != mark:
            self._end_tokens(name)
        self._users[name] = user
        self._note(mark, now_ms)
        return mark

    def _apply_expel(self, name: str, now_ms: int) -> int:
        self._users.pop(name, None)
        self.clock_ms = max(self.clock_ms, now_ms)
        return self._end_tokens(name)

    def _apply_token(
        self, token_id: int, name: str, basis: str, word: str, digest: bytes, *rest: Any
    ) -> int:
        token = Token(token_id, name, basis, Role(word), digest, *rest)
        self._forget(token_id)
        self._tokens[token_id] = token
        self._by_digest[digest] = token_id
        self._by_user.setdefault(name, {})[token_id] = None
        self._times.add(token.expires_ms, token_id)
        self._note(token_id, token.made_ms)
        return token_id

    def _apply_revoke(self, ids: tuple[int, ...], now_ms: int) -> int:
        self.clock_ms = max(self.clock_ms, now_ms)
        return sum(map(self._forget, ids))

    def _apply_number(self, number: int) -> int:
        self._last = max(self._last, number)
        return number

    def _note(self, number: int, now_ms: int) -> None:
        self._last = max(self._last, number)
        self.clock_ms = max(self.clock_ms, now_ms)

    def _end_tokens(self, name: str) -> int:
        """Forget the tokens of a user that rest on its being managed here."""
        ids = [token.token_id for token in self.tokens_of(name) if token.basis[:5] == "user:"]
        return sum(map(self._forget, ids))

    def _forget(self, token_id: int) -> bool:
        token = self._tokens.pop(token_id, None)
        if token is None:
            return False
        del self._by_digest[token.digest]
        of_user = self._by_user[token.name]
        del of_user[token_id]
        if not of_user:
            del self._by_user[token.name]
        self._times.remove(token.expires_ms, token_id)
        return True


def _revocations(ids: list[int], now_ms: int) -> Iterator[Record]:
    """Yield records that end tokens, none of them large for their number."""
    for start in range(0, len(ids), _REVOKED_AT_ONCE):
        yield (records.REVOKE, tuple(ids[start : start + _REVOKED_AT_ONCE]), now_ms)
