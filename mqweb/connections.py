"""Connections to mqd: one for each who asks, kept while it is used. Floor 2.

Theory of operation. A request brings a token, and is carried out over the connection that
has authenticated with it: so it is mqd that knows who may do what. Connections are bounded in
number, and closed when nobody has used them for a while. None is closed that a request is using.
Until mqd has taken a token, those who bring it from one place wait together for one login, which
is none of theirs: who is cancelled leaves it to the others, and the last one ends it.

All clients of one user are the same holder of leases for mqd, whichever gateway they came
through: a lease may be settled by a request that names it, now or after a restart of the gateway.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mqclient import AsyncClient, calls
from mqclient.errors import MqError
from mqclient.url import (
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    find_target,
)
from mqweb.gates import Gate, SharedGate, place_of
from mqweb.probing import probe
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode
from mqwire.limits import MAX_REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from mqclient.calls import Call
    from mqclient.inflight import Request as InFlightRequest
    from mqclient.url import Endpoint
    from mqweb.config import Config

HOLDER: Final = "http"
"""The instance of every connection: the holder of the leases of one user."""
ENDINGS: Final = (Code.AUTH_FAILED, Code.AUTH_ENDING, Code.AUTH_ENDED)
"""What mqd answers over a connection that is of no use to who brings its token any more."""
_MOST_LOGINS: Final = 16
_MOST_WAITING_LOGINS: Final = 1024
_SHARE_OF_LOGINS: Final = 4
_MOST_PASSWORDS: Final = 4
_MOST_WAITING_PASSWORDS: Final = 64
_MOST_KNOWN: Final = 10_000


class GatewayClient(AsyncClient):
    """A client that carries out any call."""

    uses = 0
    """How many there are who need it: requests, and acknowledgements under way."""

    async def call(self, call: Call, *, timeout: float | None = None) -> Any:
        """Carry out a call that `mqclient` has made, and return its result.

        Raises:
            MqError: it was refused, or the connection was lost.
        """
        return await self._result(call, self._seconds(timeout))

    async def call_many(self, many: Sequence[Call]) -> list[MqError | None]:
        """Carry out several calls in one go, and return what went wrong with each."""
        try:
            requests = await self._run_pipeline(many, self._seconds(None))
        except MqError as error:
            return [error] * len(many)
        return [_error_of(each) for each in requests]

    async def check(self) -> None:
        """Return if mqd still takes what the connection has authenticated with.

        Raises:
            MqError: it does not, or is not reached.
        """
        # Anyone may ask this who is somebody. It changes nothing: no request has this number.
        await self.call(calls.wake(MAX_REQUEST_ID))

    def new_key(self) -> str:
        """Return a key that no push or step has had."""
        return next(self._keys)


def _error_of(request: InFlightRequest) -> MqError | None:
    try:
        request.outcome()
    except MqError as error:
        return error
    return None


class Place:
    """Where mqd is, and whether the gateway has credentials of its own for it.

    Args:
        url: as in the settings; empty for the address file of this machine.

    Raises:
        ConfigurationError: it is no URL of a server.
    """

    def __init__(self, url: str) -> None:
        url = url or os.environ.get(URL_VARIABLE, "")
        self._is_file = not url or url.startswith("file:")
        scheme, separator, rest = url.partition("://")
        userinfo, _, place = rest.rpartition("@")
        self.url: str | None = url or None
        """For whoever brings a token: without credentials."""
        has_own = self._is_file or bool(userinfo)
        if not self._is_file:
            self.url = f"{scheme}{separator}{place}"
            find_target(self.url, None, "-")  # it is judged now
            has_own = has_own or any(map(os.environ.get, (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE)))
        self.own_url: str | None = (url if userinfo else self.url or "") if has_own else None
        """The URL that the gateway itself connects with; None where it has no credentials."""

    def url_for(self, user: str, password: str) -> str:
        """Return the URL that connects with a user and password.

        Raises:
            Problem: SERVER_AWAY: there is no address file that says where mqd is.
        """
        scheme, _, place = str(self.endpoint()).partition("://")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{place}"

    def endpoint(self) -> Endpoint:
        """Return where mqd is now.

        Raises:
            Problem: SERVER_AWAY: there is no address file that says where mqd is.
        """
        try:
            return find_target(self.url, None, "-").route().endpoints[0]
        except MqError as error:
            text = "there is no address file that says where the queue server is"
            raise Problem(GatewayCode.SERVER_AWAY, text) from error


class Link:
    """A connection that is kept.

    Args:
        token: whose.
        client: it itself.
    """

    __slots__ = ("client", "is_known", "logins", "token", "used_at")

    def __init__(self, token: str, client: GatewayClient) -> None:
        self.token = token
        self.client = client
        self.is_known = False
        """Whether mqd has taken the token."""
        self.logins: dict[str, asyncio.Task[None]] = {}
        """By the place that they come from: those that are under way."""
        self.used_at = monotonic()

    @property
    def is_used(self) -> bool:
        """Whether it may not be closed."""
        return self.client.uses > 0

    def begin(self, place: str, login: asyncio.Task[None]) -> None:
        """Have a login under way until it is over."""
        self.logins[place] = login
        login.add_done_callback(lambda ended: self._end(place, ended))

    def end_logins(self) -> None:
        """End those that are under way."""
        logins, self.logins = self.logins, {}
        for login in logins.values():
            login.cancel()

    def _end(self, place: str, ended: asyncio.Task[None]) -> None:
        if self.logins.get(place) is ended:
            del self.logins[place]
        if not ended.cancelled():
            ended.exception()  # nobody need have waited for it


class Connections:
    """The connections of one gateway.

    Args:
        config: the settings.
        place: where mqd is.
    """

    def __init__(self, config: Config, place: Place) -> None:
        self._config = config
        self._place = place
        self._links: dict[str, Link] = {}
        self._coming: dict[str, Link] = {}  # of which mqd has not taken the token; all in use
        self._left: list[Link] = []  # not given to anybody any more, and still in use
        self._own: GatewayClient | None = None
        self._logins = Gate(_MOST_LOGINS, _MOST_WAITING_LOGINS)
        # Anybody may try tokens: what mqd has taken once does not wait behind them, and others
        # not behind those that come from one place.
        self._tries = SharedGate(_MOST_LOGINS, _MOST_WAITING_LOGINS, _SHARE_OF_LOGINS)
        self._known: dict[bytes, None] = {}  # digests of tokens, the oldest first
        # Anybody may try passwords: who brings a token does not wait behind them.
        self._passwords = Gate(_MOST_PASSWORDS, _MOST_WAITING_PASSWORDS)
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._links)

    async def take(self, token: str, host: str = "") -> Link:
        """Return a connection that acts as somebody; it is to be given back.

        Args:
            token: what they bring.
            host: from where.

        Raises:
            Problem: there are as many as there may be, and all are in use.
            MqError: mqd refuses the credentials, or is not reached.

        Cancellation: the login goes on if others wait for it; else nothing is left of it.
        """
        link = self._links.get(token) or self._coming.get(token)
        if link is None:
            link = Link(token, client_of(self._config, self._place.url, token))
            self._coming[token] = link
        link.client.uses += 1
        if not link.is_known:
            try:
                await self._proven(link, place_of(host))
            except BaseException:
                link.client.uses -= 1
                self._give_up(link)
                raise
        return link

    def give(self, link: Link) -> None:
        """Give a connection back."""
        link.client.uses -= 1
        link.used_at = monotonic()

    def forget(self, link: Link) -> None:
        """Keep a connection no longer; it is closed when nobody uses it."""
        for links in (self._links, self._coming):
            if links.get(link.token) is link:
                del links[link.token]
        if not link.is_used:
            self._close(link.client)
        elif link not in self._left:
            self._left.append(link)

    async def log_in(self, user: str, password: str, host: str = "") -> GatewayClient:
        """Return a connection with a user and password, which who asked for it closes.

        Args:
            user: who they say to be.
            password: theirs.
            host: from where, which mqd tells its log where it refuses them.

        Raises:
            MqError: mqd refuses them, or is not reached.
        """
        client = client_of(self._config, self._place.url_for(user, password), host=host)
        return await self._connected(client, self._passwords)

    async def apart(self, token: str) -> GatewayClient:
        """Return a connection with a token that nobody else is given; who asked for it closes it.

        Raises:
            MqError: mqd refuses it, or is not reached.
        """
        client = client_of(self._config, self._place.url, token)
        return await self._connected(client, self._logins)

    def note(self, token: str) -> None:
        """Remember that a token is one of mqd's, whether it ends or not."""
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[_digest(token)] = None

    def forget_token(self, token: str) -> None:
        """Keep no connection with a token: who brings it next is asked for it again."""
        for links in (self._links, self._coming):
            if token in links:
                self.forget(links[token])

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

    async def probe(self) -> None:
        """Return if there is an mqd.

        Raises:
            Problem, MqError: it is not reached.
        """
        await probe(self._place.endpoint())

    def close_idle(self, now: float) -> None:
        """Close connections that nobody has used for a while, and those that were left.

        Args:
            now: the time by the monotonic clock.
        """
        limit = now - self._config.user_idle_seconds
        for link in list(self._links.values()):
            if not link.is_used and link.used_at < limit:
                self.forget(link)
        for link in [each for each in self._left if not each.is_used]:
            self._left.remove(link)
            self._close(link.client)

    async def close(self) -> None:
        """Close all of them."""
        for link in [*self._links.values(), *self._coming.values(), *self._left]:
            self._close(link.client)
        self._links.clear()
        self._coming.clear()
        self._left.clear()
        if self._own is not None:
            self._close(self._own)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _proven(self, link: Link, place: str) -> None:
        """Wait until mqd has taken the token of a connection, for who comes from some place.

        Each place has a login of its own, so that none waits behind what another one tries.
        """
        login = link.logins.get(place)
        if login is None:
            login = asyncio.get_running_loop().create_task(self._prove(link, place))
            link.begin(place, login)
        await asyncio.wait([login])
        if not link.is_known:
            login.result()

    async def _prove(self, link: Link, place: str) -> None:
        async with self._gate(link.token, place) as seconds:
            if not link.is_used:
                return  # cancelled as it came in, which `wait_for` may hide
            await link.client.connect(timeout=seconds)
        link.logins.pop(place, None)
        self.note(link.token)
        self._keep(link)

    def _give_up(self, link: Link) -> None:
        """Forget a connection that has come to nothing: nobody tries it any more."""
        if link.is_known:
            return
        if not link.is_used:
            link.end_logins()
        if not link.logins:
            self.forget(link)

    def _gate(self, token: str, place: str) -> AbstractAsyncContextManager[float]:
        """Return what who brings a token has to pass."""
        if _digest(token) in self._known:
            return self._logins.passed(self._config.connect_seconds)
        return self._tries.passed(place, self._config.connect_seconds)

    async def _connected(self, client: GatewayClient, gate: Gate) -> GatewayClient:
        try:
            async with gate.passed(self._config.connect_seconds) as seconds:
                await client.connect(timeout=seconds)
        except BaseException:
            self._close(client)
            raise
        return client

    def _keep(self, link: Link) -> None:
        """Keep a connection whose token mqd has taken: no other takes room from those there are.

        Raises:
            Problem: there are as many as there may be, and all are in use.
        """
        if self._coming.get(link.token) is not link:
            return  # it has been kept, or forgotten, while its connection was made
        if len(self._links) >= self._config.max_users:
            self._make_room()
        self._links[link.token] = self._coming.pop(link.token)
        link.is_known = True
        link.end_logins()  # those that are left need not be any more

    def _make_room(self) -> None:
        """Close the connection that was used longest ago.

        Raises:
            Problem: all are in use.
        """
        idle = [link for link in self._links.values() if not link.is_used]
        if not idle:
            raise Problem(
                GatewayCode.GATEWAY_FULL,
                "the gateway acts for as many users as it may",
                {"limit": self._config.max_users},
            )
        self.forget(min(idle, key=lambda link: link.used_at))

    def _close(self, client: GatewayClient) -> None:
        task = asyncio.get_running_loop().create_task(_closed(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def client_of(
    config: Config, url: str | None, token: str | None = None, *, host: str = ""
) -> GatewayClient:
    """Return a client that connects when it is first used, for somebody who comes from `host`."""
    return GatewayClient(
        url,
        timeout=config.answer_seconds,
        connect_timeout=config.connect_seconds,
        name=f"mqweb for {host}" if host else "mqweb",
        detached=HOLDER,
        token=token,
    )


async def _closed(client: GatewayClient) -> None:
    with suppress(MqError):
        await client.close()


def token_of(authorization: bytes | None, api_key: bytes | None) -> str:
    """Return the token that a request brings.

    Raises:
        Problem: it brings none, or brings it in another form.
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
        return token.decode("ascii")
    except UnicodeDecodeError as error:
        raise Problem(Code.AUTH_FAILED, "the token is no token") from error
