"""Finds the user for the credentials of an AUTH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqwire.codes import Code
from mqwire.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.config import UserEntry
    from mqd.passwords import PasswordChecker, Tokens, User


class Authenticator:
    """Checks passwords of configured users, and tokens.

    Args:
        users: who is configured, by name.
        checker: does the costly part off the event loop.
        tokens: the tokens that are taken.
    """

    def __init__(
        self, users: Mapping[str, UserEntry], checker: PasswordChecker, tokens: Tokens
    ) -> None:
        self._users = users
        self._checker = checker
        self._tokens = tokens

    async def authenticate(self, credentials: dict[str, str]) -> User:
        """Return the user whose credentials these are.

        Args:
            credentials: `user` and `password`, or `token`.

        Raises:
            CodedError: AUTH_FAILED, not saying what was wrong; AUTH_BUSY.
        """
        if "token" in credentials:
            user = self._tokens.check(credentials["token"])
        else:
            name, password = credentials["user"], credentials["password"]
            user = await self._checker.check(self._users, name, password)
        if user is None:
            raise RequestError(
                Code.AUTH_FAILED, "user and password, or the token, are not valid on this server"
            )
        return user
