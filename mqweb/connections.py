"""Connections to mqd: one for each who asks, kept while it is used. Floor 2.

Theory of operation. A request brings credentials, and is carried out over the connection that
has authenticated with them: so it is mqd that knows who may do what. Connections are found by
a hash of the credentials, bounded in number, and closed when nobody has used them for a while.
None is closed that a request is using.

All clients of one user are the same holder of leases for mqd, whichever gateway they came
through: a lease may be settled by a request that names it, now or after a restart of the gateway.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from mqclient import AsyncClient
from mqclient.errors import MqError
from mqclient.url import URL_VARIABLE, find_target
from mqweb.probing import probe
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from mqclient.calls import Call
    from mqclient.url import Endpoint
    from mqweb.config import Config

HOLDER: Final = "http"
"""The instance of every connection: the holder of the leases of one user."""
_MOST_LOGINS: Final = 16


class Credentials(NamedTuple):
    """Who somebody says to be.

    Args:
        user: the user; empty where there is a token.
        secret: the password, or the token.
    """

    user: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ...)"


class GatewayClient(AsyncClient):
    """A client that carries out any call."""

    async def call(self, call: Call, *, timeout: float | None = None) -> Any:
        """Carry out a call that `mqclient` has made, and return its result.

        Raises:
            MqError: it was refused, or the connection was lost.
        """
        return await self._result(call, self._seconds(timeout))

    def new_key(self) -> str:
        """Return a key that no push or step has had."""
        return next(self._keys)


class Place:
    """Where mqd is, and the gateway's own credentials if it was given some.

    Args:
        url: as in the settings; empty for the address file of this machine.

    Raises:
        ConfigurationError: it is no URL of a server.
    """

    def __init__(self, url: str) -> None:
        url = url or os.environ.get(URL_VARIABLE, "")
        self._url, self._own_url = url, ""
        if "://" in url and not url.startswith("file:"):
            scheme, _, rest = url.partition("://")
            userinfo, at, place = rest.rpartition("@")
            self._url = f"{scheme}://{place}"
            self._own_url = url if at and userinfo else ""
            find_target(self.url_for(Credentials("", "-")), None)  # it is judged now
        else:
            find_target(url or None, None)

    @property
    def own_url(self) -> str | None:
        """The URL that the gateway itself connects with; None where it has no credentials."""
        if self._url and not self._url.startswith("file:"):
            return self._own_url or None
        return self._url

    def url_for(self, credentials: Credentials) -> str:
        """Return the URL that connects with such credentials.

        Raises:
            Problem: SERVER_AWAY: there is no address file that says where mqd is.
        """
        scheme, _, place = self._url.partition("://")
        if scheme in ("", "file"):
            scheme, _, place = str(self.endpoint()).partition("://")
        userinfo = f"{quote(credentials.user, safe='')}:{quote(credentials.secret, safe='')}"
        return f"{scheme}://{userinfo}@{place}"

    def endpoint(self) -> Endpoint:
        """Return where mqd is now.

        Raises:
            Problem: SERVER_AWAY: there is no address file that says where mqd is.
        """
        url = (
            self.url_for(Credentials("", "-")) if self._url[:5] not in ("", "file:") else self._url
        )
        try:
            return find_target(url or None, None).route().endpoints[0]
        except MqError as error:
            text = "there is no address file that says where the queue server is"
            raise Problem(GatewayCode.SERVER_AWAY, text) from error


class _Entry:
    __slots__ = ("client", "is_known", "used_at", "uses")

    def __init__(self, client: GatewayClient) -> None:
        self.client = client
        self.is_known = False
        self.used_at = 0.0
        self.uses = 0


class Connections:
    """The connections of one gateway.

    Args:
        config: the settings.
        place: where mqd is.
    """

    def __init__(self, config: Config, place: Place) -> None:
        self._config = config
        self._place = place
        self._entries: dict[bytes, _Entry] = {}
        self._own: GatewayClient | None = None
        self._salt = secrets.token_bytes(16)
        self._logins = asyncio.Semaphore(_MOST_LOGINS)
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    async def take(self, credentials: Credentials) -> tuple[bytes, GatewayClient]:
        """Return a connection that acts as somebody, and what gives it back.

        Raises:
            Problem: there are as many as there may be, and all are in use.
            MqError: mqd refuses the credentials, or is not reached.
        """
        digest = self._digest(credentials)
        entry = self._entries.get(digest)
        if entry is None:
            entry = self._added(digest, credentials)
        entry.uses += 1
        if not entry.is_known:
            try:
                async with self._logins:
                    await entry.client.connect(timeout=self._config.connect_seconds)
            except BaseException as error:
                entry.uses -= 1
                if isinstance(error, MqError) or not entry.uses:
                    self._forget(digest, entry)
                raise
            entry.is_known = True
        return digest, entry.client

    def give(self, digest: bytes) -> None:
        """Give a connection back."""
        entry = self._entries.get(digest)
        if entry is not None:
            entry.uses -= 1
            entry.used_at = monotonic()

    def forget(self, digest: bytes) -> None:
        """Keep a connection no longer whose credentials mqd does not take any more."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._forget(digest, entry)

    async def own(self) -> GatewayClient | None:
        """Return a connection with the gateway's own credentials; None where it has none.

        Raises:
            MqError: mqd refuses them, or is not reached.
        """
        url = self._place.own_url
        if url is None:
            return None
        if self._own is None:
            self._own = client_of(self._config, url)
        await self._own.connect(timeout=self._config.connect_seconds)
        return self._own

    async def probe(self) -> str:
        """Return `ok` if there is an mqd.

        Raises:
            Problem, MqError: it is not reached.
        """
        await probe(self._place.endpoint())
        return "ok"

    def close_idle(self, now: float) -> None:
        """Close connections that nobody has used for a while.

        Args:
            now: the time by the monotonic clock.
        """
        limit = now - self._config.user_idle_seconds
        for digest, entry in list(self._entries.items()):
            if not entry.uses and entry.used_at < limit:
                self._forget(digest, entry)

    async def close(self) -> None:
        """Close all of them."""
        for digest, entry in list(self._entries.items()):
            self._forget(digest, entry)
        if self._own is not None:
            self._close(self._own)
        if self._closing:
            await asyncio.wait(self._closing)

    def _digest(self, credentials: Credentials) -> bytes:
        said = f"{len(credentials.user)}:{credentials.user}{credentials.secret}"
        return hashlib.sha256(self._salt + said.encode("utf-8", "surrogatepass")).digest()

    def _added(self, digest: bytes, credentials: Credentials) -> _Entry:
        if len(self._entries) >= self._config.max_users:
            self._make_room()
        entry = _Entry(client_of(self._config, self._place.url_for(credentials)))
        entry.used_at = monotonic()
        self._entries[digest] = entry
        return entry

    def _make_room(self) -> None:
        """Close the connection that was used longest ago.

        Raises:
            Problem: all are in use.
        """
        idle = [
            (entry.used_at, digest) for digest, entry in self._entries.items() if not entry.uses
        ]
        if not idle:
            raise Problem(
                GatewayCode.GATEWAY_FULL,
                "the gateway acts for as many users as it may",
                {"limit": self._config.max_users},
            )
        digest = min(idle)[1]
        self._forget(digest, self._entries[digest])

    def _forget(self, digest: bytes, entry: _Entry) -> None:
        if self._entries.get(digest) is entry:
            del self._entries[digest]
        self._close(entry.client)

    def _close(self, client: GatewayClient) -> None:
        task = asyncio.get_running_loop().create_task(_closed(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def client_of(config: Config, url: str) -> GatewayClient:
    """Return a client that connects when it is first used."""
    return GatewayClient(
        url,
        timeout=config.answer_seconds,
        connect_timeout=config.connect_seconds,
        name="mqweb",
        detached=HOLDER,
    )


async def _closed(client: GatewayClient) -> None:
    with suppress(MqError):
        await client.close()


def credentials_of(authorization: bytes | None, api_key: bytes | None) -> Credentials:
    """Return what a request says about who makes it.

    Raises:
        Problem: it says nothing, or says it in another form.
    """
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise Problem(Code.NOT_AUTHENTICATED, "Authorization is to be: Bearer TOKEN")
    elif api_key:
        token = api_key.strip()
    else:
        raise Problem(
            Code.NOT_AUTHENTICATED, "a token is needed: Authorization: Bearer TOKEN, or X-API-Key"
        )
    try:
        return Credentials("", token.decode("ascii"))
    except UnicodeDecodeError as error:
        raise Problem(Code.AUTH_FAILED, "the token is no token") from error
