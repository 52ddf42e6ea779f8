"""Users and tokens in the local engine: commands, at the highest level that can be promised.

Whatever ends somebody's way in is on the disk before it is answered: a server that is killed
right after that lets nobody in any more. So the level of these commands is no matter of
configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.core.access import MANAGES
from mqd.core.errors import may_not_manage
from mqd.core.standings import Issue
from mqd.engine.commits import RECORD_BYTES
from mqwire.names import matches

if TYPE_CHECKING:
    from mqd.core.access import Role
    from mqd.core.broker import Broker
    from mqd.core.records import Record
    from mqd.core.standings import Account, Change, Standing, Token
    from mqd.engine.account_base import Asked
    from mqd.engine.commits import Commits
    from mqwire.levels import Level

_ACCOUNT_BYTES: Final = 4096
"""More than a user's or a token's record takes, with the longest texts."""

_SLICE: Final = 500
"""Tokens that one turn of time ends at most."""


class LocalAccounts:
    """See `mqd.engine.base.AccountEngine`.

    Args:
        broker: the state, as it was restored.
        commits: the way to change it.
    """

    def __init__(self, broker: Broker, commits: Commits) -> None:
        self.now_ms = 0
        """The present turn's time."""
        self.has_changed = False
        self._accounts = broker.accounts
        self._commits = commits

    # Who comes in

    def fix(self, name: str, basis: str, role: Role) -> None:
        """Take note of a user that is managed elsewhere."""
        self._accounts.fix(name, basis, role)

    def begin(self) -> list[str]:
        """End what rests on users that are managed elsewhere, and are no more, or others."""
        for record in self._accounts.plan_start(self.now_ms):
            self._commits.commit(record)
        return self._accounts.hidden()

    def user(self, name: str) -> Account | None:
        """Return a managed user that may come in with a password, disabled ones too."""
        return self._accounts.user(name)

    def standing_of(self, digest: bytes) -> Standing | None:
        """Return what a token gives, by its digest."""
        return self._accounts.standing_of(digest, self.now_ms)

    def holds(self, standing: Standing) -> bool:
        """Tell whether a standing has not ended."""
        return self._accounts.holds(standing, self.now_ms)

    # Users

    def users(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the users whose names fit, sorted by name."""
        accounts = self._accounts
        found = [
            {"user": name, "role": role.word, "is_managed": False, "is_disabled": False}
            for name, role in accounts.fixed()
        ]
        found += [_described(user) for user in accounts.users() if not accounts.is_fixed(user.name)]
        found.sort(key=lambda entry: str(entry["user"]))
        return [
            {**entry, "tokens": accounts.count_of(str(entry["user"]))}
            for entry in found
            if matches(pattern, str(entry["user"]))
        ]

    def admit(
        self, actor: Role, name: str, role: Role, password_hash: str
    ) -> tuple[dict[str, Any], Level]:
        """Add a user."""
        record = self._accounts.plan_admit(actor, name, role, password_hash, self.now_ms)
        self._commit(record)
        return self._user(name), self._commits.highest

    def alter(self, actor: Role, name: str, change: Change) -> tuple[dict[str, Any], Level]:
        """Change a user."""
        record = self._accounts.plan_alter(actor, name, change, self.now_ms)
        if record is not None:
            self._commit(record, is_freeing=True)
        return self._user(name), self._commits.highest

    def set_password(self, standing: Standing, password_hash: str) -> Level:
        """Give a user the password that it has chosen itself."""
        record = self._accounts.plan_password(standing, password_hash, self.now_ms)
        self._commit(record, is_freeing=True)
        return self._commits.highest

    def expel(self, actor: Role, name: str) -> Level:
        """Remove a user."""
        self._commit(self._accounts.plan_expel(actor, name, self.now_ms), is_freeing=True)
        return self._commits.highest

    # Tokens

    def tokens(self, standing: Standing, pattern: str | None) -> list[dict[str, Any]]:
        """Describe tokens: one's own, or those of users whose names fit; the oldest first."""
        accounts = self._accounts
        names = [standing.name]
        if pattern is not None:
            if not MANAGES[standing.role]:
                sentence = f"the role '{standing.role.word}' sees no tokens but its user's own"
                raise may_not_manage(standing.role.word, sentence)
            names = [name for name in accounts.token_users() if matches(pattern, name)]
        return [_told(token) for name in names for token in accounts.tokens_of(name)]

    def issue(self, standing: Standing, asked: Asked) -> tuple[dict[str, Any], Level]:
        """Make a token for somebody."""
        expires_ms = self.now_ms + asked.life_ms
        issue = Issue(asked.role or standing.role, asked.digest, asked.comment, expires_ms)
        room = self._accounts.plan_room(standing, issue, self.now_ms)
        if room is not None:
            # For both, or neither is made.
            self._commits.check_room("", 2 * _ACCOUNT_BYTES, is_entry=True)
            self._commit(room, is_freeing=True)
        record = self._accounts.plan_issue(standing, issue, self.now_ms)
        self._commit(record, is_entry=True)  # who makes room has to come in first
        token = self._accounts.token(record[1])
        assert token is not None, "it was just made"
        return _told(token), self._commits.highest

    def revoke(self, standing: Standing, token_id: int) -> Level:
        """End a token."""
        record = self._accounts.plan_revoke(standing, token_id, self.now_ms)
        self._commit(record, is_freeing=True)
        return self._commits.highest

    # Time

    def next_ms(self) -> int | None:
        """When `expire` has something to do; None for never."""
        return self._accounts.next_ms()

    def expire(self) -> None:
        """End tokens whose time is over, a slice of them."""
        if self._accounts.forget(self.now_ms, _SLICE):
            self.has_changed = True

    def _commit(self, record: Record, *, is_freeing: bool = False, is_entry: bool = False) -> None:
        size_bytes = RECORD_BYTES if is_freeing else _ACCOUNT_BYTES
        self._commits.check_room("", size_bytes, is_freeing=is_freeing, is_entry=is_entry)
        self._commits.commit(record)
        self.has_changed = True

    def _user(self, name: str) -> dict[str, Any]:
        user = self._accounts.user(name)
        assert user is not None, "it was just changed"
        return {**_described(user), "tokens": self._accounts.count_of(name)}


def _described(user: Account) -> dict[str, Any]:
    """Return what is told of a managed user; never its hash."""
    return {
        "user": user.name,
        "role": user.role.word,
        "is_managed": True,
        "is_disabled": user.is_disabled,
        "made_at": user.made_ms / 1000,
        "changed_at": user.changed_ms / 1000,
    }


def _told(token: Token) -> dict[str, Any]:
    """Return what is told of a token; never what it is known by."""
    return {
        "id": token.token_id,
        "user": token.name,
        "role": token.role.word,
        "comment": token.comment,
        "made_at": token.made_ms / 1000,
        "expires_at": token.expires_ms / 1000,
    }
