"""What the asyncio client offers about users and tokens. Floor 1.

A part of `mqclient.async_client`; what its methods do is said in `mqclient.account_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqclient import account_calls
from mqclient.async_driver import AsyncDriver

if TYPE_CHECKING:
    from mqclient.account_models import NewToken, TokenInfo, UserInfo


class AsyncAccountClient(AsyncDriver):
    """The methods of `AsyncClient` that manage users, and tokens."""

    async def users(
        self, pattern: str | None = None, *, timeout: float | None = None
    ) -> list[UserInfo]:
        """As `Client.users`."""
        call = account_calls.users(pattern)
        found: list[UserInfo] = await self._result(call, self._seconds(timeout))
        return found

    async def add_user(
        self, name: str, role: str, password: str, *, timeout: float | None = None
    ) -> UserInfo:
        """As `Client.add_user`."""
        call = account_calls.add_user(name, role, password)
        user: UserInfo = await self._result(call, self._seconds(timeout))
        return user

    async def change_user(
        self,
        name: str,
        *,
        role: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
        timeout: float | None = None,
    ) -> UserInfo:
        """As `Client.change_user`."""
        call = account_calls.change_user(name, role, password, disabled=disabled)
        user: UserInfo = await self._result(call, self._seconds(timeout))
        return user

    async def remove_user(self, name: str, *, timeout: float | None = None) -> None:
        """As `Client.remove_user`."""
        await self._result(account_calls.remove_user(name), self._seconds(timeout))

    async def change_password(self, old: str, new: str, *, timeout: float | None = None) -> None:
        """As `Client.change_password`."""
        await self._result(account_calls.change_password(old, new), self._seconds(timeout))
        self._target = self._target.with_password(new)

    async def issue_token(
        self,
        *,
        role: str | None = None,
        lifetime: float | None = None,
        comment: str | None = None,
        timeout: float | None = None,
    ) -> NewToken:
        """As `Client.issue_token`."""
        call = account_calls.issue_token(role, lifetime, comment)
        token: NewToken = await self._result(call, self._seconds(timeout))
        return token

    async def tokens(
        self, users: str | None = None, *, timeout: float | None = None
    ) -> list[TokenInfo]:
        """As `Client.tokens`."""
        call = account_calls.tokens(users)
        found: list[TokenInfo] = await self._result(call, self._seconds(timeout))
        return found

    async def revoke_token(self, token_id: int, *, timeout: float | None = None) -> None:
        """As `Client.revoke_token`."""
        await self._result(account_calls.revoke_token(token_id), self._seconds(timeout))
