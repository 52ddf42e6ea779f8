"""Finds what somebody stands on who comes with the credentials of an AUTH.

Users of the configuration come before managed ones of the same name, which cannot come in.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mqd.core.access import Role
from mqd.core.standings import Standing
from mqd.passwords import digest_of
from mqwire.codes import Code
from mqwire.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.config import UserEntry
    from mqd.engine.account_base import AccountEngine
    from mqd.passwords import PasswordChecker, Tokens

OWNER_BASIS = "owner"
"""What the owner of the address file stands on, and its tokens."""


class Authenticator:
    """Checks passwords of users, and tokens.

    Args:
        users: who is configured, by name.
        checker: does the costly part off the event loop.
        tokens: those of this run alone, beside the users' own.
        accounts: knows the managed users, and everybody's tokens.
    """

    def __init__(
        self,
        users: Mapping[str, UserEntry],
        checker: PasswordChecker,
        tokens: Tokens,
        accounts: AccountEngine,
    ) -> None:
        self._users = users
        self._checker = checker
        self._tokens = tokens
        self._accounts = accounts
        self._decoy = next((entry.password_hash for entry in users.values()), "")
        for entry in users.values():
            accounts.fix(entry.name, basis_of(entry), entry.role)

    def add_owner(self, name: str) -> None:
        """Take note that this is the name of whoever has the address file."""
        self._accounts.fix(name, OWNER_BASIS, Role.ADMIN)

    def let_owner_in(self, name: str, token: str) -> None:
        """Take the token of the address file from here on."""
        self._tokens.add(token, Standing(name, Role.ADMIN, OWNER_BASIS))

    async def authenticate(self, credentials: dict[str, str]) -> Standing:
        """Return what these credentials give.

        Args:
            credentials: `user` and `password`, or `token`.

        Raises:
            CodedError: AUTH_FAILED, not saying what was wrong; AUTH_BUSY.
        """
        if "token" in credentials:
            token = credentials["token"]
            found = self._tokens.check(token) or self._accounts.standing_of(digest_of(token))
        else:
            found = await self.check(credentials["user"], credentials["password"])
        if found is None:
            raise auth_failed()
        return found

    async def check(self, name: str, password: str) -> Standing | None:
        """Return what a password gives its user; None if it is not the user's.

        Raises:
            CodedError: AUTH_BUSY.
        """
        configured = self._users.get(name)
        if configured is not None:
            if await self._checker.check(configured, password) is None:
                return None
            return Standing(name, configured.role, basis_of(configured))
        user = await self._checker.check(self._accounts.user(name), password, self._decoy)
        # What has changed meanwhile is seen by the basis, which is that of this hash.
        return None if user is None else Standing(name, user.role, user.basis)

    async def hash(self, password: str) -> str:
        """Return the hash of a password. CodedError: AUTH_BUSY."""
        return await self._checker.hash(password)


def auth_failed() -> RequestError:
    """Make the refusal of credentials; it does not say which part was wrong."""
    return RequestError(
        Code.AUTH_FAILED, "user and password, or the token, are not valid on this server"
    )


def basis_of(entry: UserEntry) -> str:
    """Return what credentials of a configured user rest on: its password, as it is there now."""
    return "config:" + hashlib.sha256(entry.password_hash.encode()).hexdigest()[:32]
