"""Where a server is and how to get in: URLs, variables, address files. Floor 1.

    mq://user:password@host:port         TCP; the port is 7500 if left out
    mq://:token@host:port                a token instead of a user and password
    mq+unix:///path                      a Unix socket, with credentials before the path:
    mq+unix://user:password@/path        mq+unix://:token@/path
    file:///path/address.json            an address file, written by the server

A URL without credentials takes a token that is given beside it, or that of the variable
MQ_TOKEN, or of the file that MQ_TOKEN_FILE names, which must be its owner's alone.

Special characters in users, passwords and paths are percent-encoded. No text
that this module makes holds a password or token: URLs are taken apart by hand,
since the errors of the standard library quote them.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mqclient.errors import ConfigurationError, ConnectFailed, NotAnAddressFile
from mqwire.address import DEFAULT_ADDRESS_FILE, Address

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT: Final = 7500
URL_VARIABLE: Final = "MQ_URL"
FILE_VARIABLE: Final = "MQ_ADDRESS_FILE"
TOKEN_VARIABLE: Final = "MQ_TOKEN"  # noqa: S105  a variable's name
TOKEN_FILE_VARIABLE: Final = "MQ_TOKEN_FILE"  # noqa: S105  a variable's name

_FORMS = "mq://user:password@host:port, mq://:token@host:port or mq+unix://user:password@/path"


@dataclass(frozen=True)
class Endpoint:
    """One place to connect to: a host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"mq+unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mq://{host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """What AUTH takes. Its parts are never shown."""

    fields: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Route:
    """What to try next: the endpoints in order, and how to get in.

    Args:
        endpoints: at least one.
        credentials: for AUTH.
        stale: a sentence that says what to do if nothing answers, since the server that
            wrote the address is gone; empty if it may be alive.
    """

    endpoints: tuple[Endpoint, ...]
    credentials: Credentials
    stale: str = ""


class UrlTarget:
    """A server named by a URL.

    Args:
        url: see the module's head; or where it leads.
        token: for a URL without credentials; None takes that of the environment.

    Raises:
        ConfigurationError: it is no such URL; the text does not show its credentials.
    """

    def __init__(self, url: str | Route, token: str | None = None) -> None:
        if isinstance(url, Route):
            self._route = url
            return
        endpoint, credentials = _parse(url)
        if credentials is not None and token is not None:
            raise ConfigurationError(
                f"the URL of {endpoint} has credentials, and so no token beside"
            )
        if credentials is None:
            token = token or _token_of_environment()
            if token is None:
                raise ConfigurationError(_credentials_wanted(endpoint))
            credentials = Credentials({"token": token})
        self._route = Route((endpoint,), credentials)

    def __str__(self) -> str:
        return str(self._route.endpoints[0])

    def with_password(self, password: str) -> UrlTarget:
        """Return the target with another password, if it is one that has a password."""
        fields = self._route.credentials.fields
        if "password" not in fields:
            return self
        return UrlTarget(
            Route(self._route.endpoints, Credentials({**fields, "password": password}))
        )

    def route(self) -> Route:
        """Return what to try."""
        return self._route

    def fields(self) -> dict[str, Any]:
        """Return what `target_from` makes this target of again; it holds secrets."""
        return {
            "endpoint": asdict(self._route.endpoints[0]),
            "credentials": dict(self._route.credentials.fields),
        }


class FileTarget:
    """A server that has written an address file. It is read anew at each connect.

    Args:
        path: the file; `~` is the home directory.
        is_default: whether nothing was said, so that this is the last resort.
        token: to come in with instead of the file's own.
    """

    def __init__(self, path: str, *, is_default: bool = False, token: str | None = None) -> None:
        self._path = Path(path).expanduser()
        self._is_default = is_default
        self._token = token

    def __str__(self) -> str:
        return f"address file {self._path}"

    def fields(self) -> dict[str, Any]:
        """Return what `target_from` makes this target of again."""
        fields = {"file": str(self._path.absolute())}
        return fields if self._token is None else {**fields, "token": self._token}

    def with_password(self, _password: str) -> FileTarget:
        """Return the target: it has no password."""
        return self

    def address(self) -> Address | None:
        """Return what is in the file, or None where it is missing or of no use."""
        try:
            return Address.from_json(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def route(self) -> Route:
        """Read the file.

        Raises:
            ConnectFailed: it is not there, or empty; the text says what to do.
            NotAnAddressFile: it is none, of another version, or cannot be read.
        """
        text = self._text()
        try:
            address = Address.from_json(text)
            urls = address.urls_from(socket.gethostname())
            endpoints = tuple(_parse(url)[0] for url in urls)
        except ValueError as error:
            raise self._unusable(str(error)) from error
        if not endpoints:
            raise ConnectFailed(self._elsewhere(address))
        token = address.token if self._token is None else self._token
        return Route(endpoints, Credentials({"token": token}), self._staleness(address))

    def _text(self) -> str:
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError as error:
            raise ConnectFailed(self._missing(), may_pass=True) from error
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except ValueError as error:
            raise self._unusable("it is not UTF-8 text") from error
        if not text.strip():  # as a crash in the middle of a start leaves it
            raise ConnectFailed(
                f"the address file {self._path} is empty; start the server that writes it, "
                "which replaces the file",
                may_pass=True,
            )
        return text

    def _unusable(self, why: str) -> NotAnAddressFile:
        return NotAnAddressFile(
            f"{self._path} is no address file that can be used: {why}; name the one that your "
            f"`mqd` says at its start ({DEFAULT_ADDRESS_FILE} unless it has --address-file), or "
            f"give a URL: {_FORMS}"
        )

    def _missing(self) -> str:
        if self._is_default:
            return (
                f"there is no server to be found: no URL was given, {URL_VARIABLE} and "
                f"{FILE_VARIABLE} are not set and there is no address file {self._path}; "
                f"start a server on this machine with `mqd`, or give a URL: {_FORMS}"
            )
        return f"there is no address file {self._path}; the server that writes it is not running"

    def _elsewhere(self, address: Address) -> str:
        return (
            f"the server of the address file {self._path} runs on {address.host} and listens "
            f"there only ({', '.join(address.urls)}): work on {address.host}, start it with "
            "--host so that other machines reach it, or use an SSH tunnel and a URL"
        )

    def _staleness(self, address: Address) -> str:
        if address.host != socket.gethostname() or _is_alive(address.pid):
            return ""
        return (
            f"the address file {self._path} is stale: the server that wrote it "
            f"(process {address.pid}) is gone; start `mqd` again, which replaces the file, or "
            "wait for one that is starting just now (server_wait)"
        )


def find_target(
    url: str | None, address_file: str | os.PathLike[str] | None, token: str | None = None
) -> UrlTarget | FileTarget:
    """Return the server that is meant: what was given, else the variables, else the file.

    Raises:
        ConfigurationError: both were given, or the URL is none.
    """
    if url is not None and address_file is not None:
        raise ConfigurationError("give a URL or an address file, not both")
    if url is not None and not isinstance(url, str):
        raise ConfigurationError(f"a URL is a text such as mq://user:password@host, not {url!r}")
    if token is not None and not token:
        raise ConfigurationError("the token is empty")
    if address_file is not None:
        if not isinstance(address_file, str | os.PathLike):
            raise ConfigurationError(f"address_file is a path, not {address_file!r}")
        return FileTarget(os.fspath(address_file), token=token)
    url = url or os.environ.get(URL_VARIABLE)
    if url:
        scheme, _, rest = url.partition("://")
        is_file = scheme == "file"
        return FileTarget(unquote(rest), token=token) if is_file else UrlTarget(url, token)
    named = os.environ.get(FILE_VARIABLE)
    return FileTarget(named or DEFAULT_ADDRESS_FILE, is_default=not named, token=token)


def target_from(fields: Mapping[str, Any]) -> UrlTarget | FileTarget:
    """Return the target that has such `fields`: for a process that shares nothing else."""
    if "file" in fields:
        return FileTarget(fields["file"], token=fields.get("token"))
    credentials = Credentials(fields["credentials"])
    return UrlTarget(Route((Endpoint(**fields["endpoint"]),), credentials))


def _credentials_wanted(endpoint: Endpoint) -> str:
    """Say what to do about a URL that does not say who somebody is."""
    scheme, _, place = str(endpoint).partition("://")
    return (
        f"{endpoint} has no credentials: put them in ({scheme}://USER:PASSWORD@{place}), or give a "
        f"token ({TOKEN_VARIABLE}=TOKEN, or {TOKEN_FILE_VARIABLE}=PATH of a file with it); whoever "
        "runs the server hands out both. For a server of your own on this machine give no URL "
        f"(unset {URL_VARIABLE}): its address file has a token"
    )


def _token_of_environment() -> str | None:
    """Return the token of the variables, or of the file that one of them names.

    Raises:
        ConfigurationError: the file cannot be read, or others may read it too.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    path = os.environ.get(TOKEN_FILE_VARIABLE)
    return token or (read_token_file(path) if path else None)


def read_token_file(path: str | os.PathLike[str]) -> str:
    """Return the token that a file holds, which nobody but its owner may read.

    Raises:
        ConfigurationError: it cannot be read, others may read it too, or nothing is in it.
    """
    file = Path(path).expanduser()
    try:
        mode = file.stat().st_mode
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the token file {file} is of no use: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(f"others may read the token file {file}: chmod 600 it first")
    if not text:
        raise ConfigurationError(f"the token file {file} is empty")
    return text


def _parse(url: str) -> tuple[Endpoint, Credentials | None]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(f"this is no URL of a server; write {_FORMS}")
    if scheme == "mq":
        userinfo, has_user, place = rest.rpartition("@")
        endpoint = _tcp_endpoint(place.removesuffix("/"))
    elif scheme == "mq+unix":
        userinfo, has_user, place = ("", "", rest) if rest[:1] == "/" else rest.partition("@")
        endpoint = _unix_endpoint(place)
    elif scheme == "mqs":
        raise ConfigurationError("mqs:// (TLS) is not supported; use mq:// over a trusted network")
    else:
        shown = repr(scheme) if scheme.replace("+", "").isalnum() else "that"
        raise ConfigurationError(f"a URL does not start with {shown} here; write {_FORMS}")
    return endpoint, _credentials(userinfo) if has_user else None


def _tcp_endpoint(place: str) -> Endpoint:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            raise ConfigurationError("the URL's IPv6 host must stand in brackets: mq://[::1]:7500")
        port = rest[1:]
    else:
        host, _, port = place.partition(":")
    # What follows may be the end of a password that was not percent-encoded: not shown.
    if not host or any(sign in host for sign in "/?#@ "):
        raise ConfigurationError(f"the URL has no proper host; write {_FORMS}")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigurationError("the URL's port must be a number from 1 to 65535, and be its end")
    return Endpoint(host=unquote(host), port=int(port) if port else DEFAULT_PORT)


def _unix_endpoint(place: str) -> Endpoint:
    if not place.startswith("/") or len(place) < 2:
        raise ConfigurationError("a mq+unix URL needs an absolute path: mq+unix:///path")
    return Endpoint(path=unquote(place))


def _credentials(userinfo: str) -> Credentials:
    user, colon, secret = userinfo.partition(":")
    if not colon or not secret:
        raise ConfigurationError(f"the URL has no password or token; write {_FORMS}")
    if not user:
        return Credentials({"token": unquote(secret)})
    return Credentials({"user": unquote(user), "password": unquote(secret)})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, so alive
        return True
    return True
