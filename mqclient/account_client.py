"""What the blocking client offers about users and tokens. Floor 1.

A part of `mqclient.client`, which has everything else that users call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqclient import account_calls
from mqclient.driver import Driver

if TYPE_CHECKING:
    from mqclient.account_models import NewToken, TokenInfo, UserInfo


class AccountClient(Driver):
    """The methods of `Client` that manage users, and tokens."""

    def users(self, pattern: str | None = None, *, timeout: float | None = None) -> list[UserInfo]:
        """Return the users, or those whose names fit a pattern, sorted by name.

        Raises:
            AccessDenied: the role does not manage users.
        """
        call = account_calls.users(pattern)
        found: list[UserInfo] = self._result(call, self._seconds(timeout))
        return found

    def add_user(
        self, name: str, role: str, password: str, *, timeout: float | None = None
    ) -> UserInfo:
        """Add a user.

        Args:
            name: as that of a queue.
            role: `admin`, `secretary`, `agent` or `user`, or another name of one of these.
            password: 8 characters at least.
            timeout: seconds; None for the client's.

        Raises:
            UserExists: there is one of this name.
            UserConfigured: it stands in the server's configuration.
            AccessDenied: the role does not manage users who have that role.

        Durability: the user is on the server's disk when it returns.
        """
        call = account_calls.add_user(name, role, password)
        user: UserInfo = self._result(call, self._seconds(timeout))
        return user

    def change_user(
        self,
        name: str,
        *,
        role: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
        timeout: float | None = None,
    ) -> UserInfo:
        """Change a user: what is given, and nothing else.

        A new password, a role that allows less and `disabled=True` end the user's tokens and
        connections within a second; jobs that are under way may be finished.

        Raises:
            UserNotFound: there is no such user.
            UserConfigured: it stands in the server's configuration.
            LastAdministrator: nobody could manage users any more.
            AccessDenied: the role does not manage users who have these roles.

        Durability: the change is on the server's disk when it returns.
        """
        call = account_calls.change_user(name, role, password, disabled=disabled)
        user: UserInfo = self._result(call, self._seconds(timeout))
        return user

    def remove_user(self, name: str, *, timeout: float | None = None) -> None:
        """Remove a user, and end its tokens and connections; errors are as in `change_user`."""
        self._result(account_calls.remove_user(name), self._seconds(timeout))

    def change_password(self, old: str, new: str, *, timeout: float | None = None) -> None:
        """Change the password of the user that this client acts as.

        Its tokens and its other connections end; this client goes on, and connects with the new
        password from now on where it was given user and password.

        Raises:
            AuthFailed: `old` is not the present one.
            UserConfigured: the user stands in the server's configuration.
        """
        self._result(account_calls.change_password(old, new), self._seconds(timeout))
        self._target = self._target.with_password(new)

    def issue_token(
        self,
        *,
        role: str | None = None,
        lifetime: float | None = None,
        comment: str | None = None,
        timeout: float | None = None,
    ) -> NewToken:
        """Make a token for the user that this client acts as.

        Args:
            role: one that allows no more than the client's; None for the same.
            lifetime: seconds until it is over; None for the server's usual time.
            comment: for people; None for none.
            timeout: seconds; None for the client's.

        Raises:
            AccessDenied: the role is above the client's, or it came with a token itself.
            TooManyTokens: the user, or the server, has as many as there may be.

        Durability: the token is on the server's disk, as a digest, when it returns.
        """
        call = account_calls.issue_token(role, lifetime, comment)
        token: NewToken = self._result(call, self._seconds(timeout))
        return token

    def tokens(self, users: str | None = None, *, timeout: float | None = None) -> list[TokenInfo]:
        """Return one's own tokens; with a pattern those of users whose names fit.

        Raises:
            AccessDenied: the role does not manage users, and there was a pattern.
        """
        call = account_calls.tokens(users)
        found: list[TokenInfo] = self._result(call, self._seconds(timeout))
        return found

    def revoke_token(self, token_id: int, *, timeout: float | None = None) -> None:
        """End a token, and the connections that came with it, within a second.

        Raises:
            TokenNotFound: there is none with this id.

        Durability: that it has ended is on the server's disk when it returns.
        """
        self._result(account_calls.revoke_token(token_id), self._seconds(timeout))
