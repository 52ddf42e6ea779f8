"""A request: what stands in it, read when it is asked for and within bounds. Floor 2."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec

from mqweb.problems import Problem
from mqweb.telling import invalid
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from mqweb.answers import Send
    from mqweb.config import Config
    from mqweb.connections import GatewayClient
    from mqweb.gateway import Gateway

    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

Form = TypeVar("Form", bound=msgspec.Struct)

_HALF: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)")
_LONGEST_QUERY: Final = 64
_LONGEST_KEPT_QUERY: Final = 64  # in bytes
_MEDIA_JSON: Final = "application/json"
_MEDIA_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class Disconnected(Exception):  # noqa: N818  no error of ours
    """The client has gone before its request was whole: there is nobody to answer."""


class Request:
    """One request under way.

    Args:
        gateway: what all requests share.
        scope: ASGI's description of it.
        receive: what the client sends further.
        send: where the answer goes.
        most_bytes: its body may have; those of the settings where that is less.
    """

    __slots__ = (
        "_client",
        "_fields",
        "_is_read",
        "_most_bytes",
        "_taken",
        "gateway",
        "receive",
        "scope",
        "send",
        "token",
    )
    token: str

    def __init__(
        self,
        gateway: Gateway,
        scope: Scope,
        receive: Receive,
        send: Send,
        most_bytes: int | None = None,
    ) -> None:
        self.gateway = gateway
        self.scope = scope
        self.receive = receive
        self.send = send
        self._fields: dict[bytes, bytes] = dict(scope["headers"])
        self._client: GatewayClient | None = None
        self._is_read = False
        self._most_bytes = most_bytes
        self._taken = 0

    def close(self) -> None:
        """Let go of what it has taken."""
        if self._taken:
            self.gateway.buffers.give(self._taken)
            self._taken = 0

    @property
    def config(self) -> Config:
        """The settings."""
        return self.gateway.config

    @property
    def client(self) -> GatewayClient:
        """The connection that acts as who asks; an operation that needs one has it."""
        assert self._client is not None
        return self._client

    @client.setter
    def client(self, client: GatewayClient) -> None:
        self._client = client

    @property
    def path(self) -> dict[str, str]:
        """What stands in the path in place of its parameters."""
        parameters: dict[str, str] = self.scope["path_params"]
        return parameters

    @property
    def host(self) -> str:
        """The address that it comes from, as far as that is known."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def field(self, name: bytes) -> bytes | None:
        """Return a header field, or None; of several that are equal the last."""
        return self._fields.get(name)

    @property
    def media_type(self) -> str:
        """The type of the body without its parameters, in lower case; empty if none is said."""
        return _media_type(self._fields.get(b"content-type", b""))

    @property
    def has_query(self) -> bool:
        """Whether there is a query at all."""
        return bool(self.scope["query_string"])

    def query(self, form: type[Form]) -> Form:
        """Return the query as a form.

        Raises:
            Problem: a parameter is not known, doubled, or out of its bounds.
        """
        raw: bytes = self.scope["query_string"]
        found: Form = (_queried if len(raw) > _LONGEST_KEPT_QUERY else _often_queried)(raw, form)
        return found

    async def json(self, form: type[Form]) -> Form:
        """Return the body, a JSON document, as a form; one that is empty is an empty object.

        Raises:
            Problem: it is none, or not of that form.
        """
        if self.media_type not in (_MEDIA_JSON, ""):
            raise Problem(
                GatewayCode.UNSUPPORTED_MEDIA_TYPE,
                f"a body of the type {_MEDIA_JSON} is expected, not {self.media_type}: "
                f"write curl --json, or -H 'Content-Type: {_MEDIA_JSON}'",
                {"expected": _MEDIA_JSON, "got": self.media_type},
            )
        return decoded(await self.body() or b"{}", form)

    def refuse_form(self) -> None:
        """Refuse what a browser's form or `curl -d` sends, where bytes of any type are taken.

        Raises:
            Problem: the body is a form's.
        """
        if self.media_type in _MEDIA_FORMS:
            raise Problem(
                GatewayCode.UNSUPPORTED_MEDIA_TYPE,
                f"{self.media_type} is what curl -d and -F send, and is no message: "
                "write curl --json for JSON, "
                "or -H 'Content-Type: application/octet-stream' for bytes as they are",
                {"got": self.media_type},
            )

    async def refuse_body(self) -> None:
        """Refuse a body where none is taken: what stands in it is never ignored.

        Raises:
            Problem: there is one.
        """
        declared = self._fields.get(b"content-length", b"0")
        if declared == b"0" and b"transfer-encoding" not in self._fields:
            return
        if await self.body():
            raise Problem(
                GatewayCode.UNEXPECTED_BODY,
                f"{self.scope['path'][:200]} takes no body: put the options into the query, "
                "as in ?max=5",
            )
        self._is_read = True

    async def body(self) -> bytes:
        """Return the whole body. Its bounds are judged before and while it is read.

        Raises:
            Problem: it is too large, or there is no room for it.
            Disconnected: the client has gone, or was cut off since it sent nothing more.
        """
        if self._is_read:  # and was empty
            return b""
        limit = self.config.max_request_bytes
        if self._most_bytes is not None:
            limit = min(limit, self._most_bytes)
        declared = self._fields.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit, int(declared))
        message = await self.receive()
        if not message.get("more_body") and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit, len(body))
            return body
        return await self._rest(message, limit)

    async def _rest(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        """Return a body that comes in pieces, which are counted for as long as it comes."""
        parts = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            if len(parts) + len(piece) > limit:
                raise _too_large(limit, len(parts) + len(piece))
            if self._client is not None:  # who is not known yet takes nothing from others
                self.gateway.buffers.take(len(piece))
                self._taken += len(piece)
            parts += piece
            if not message.get("more_body"):
                return bytes(parts)
            message = await self.receive()


def decoded(document: bytes, form: type[Form]) -> Form:
    """Return a JSON document as a form.

    Raises:
        Problem: it is none, or not of that form.
    """
    try:
        found: Form = _decoder(form).decode(document)
    except msgspec.ValidationError as error:
        raise invalid(error, form) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not document.strip():
            text = "the body is empty; a JSON document is expected, as curl --json sends one"
        else:
            text = f"the body is no JSON: {_cause(error, document)}"
        raise Problem(GatewayCode.MALFORMED_BODY, text) from error
    return found


def _cause(error: Exception, document: bytes) -> str:
    """Return why a document is no JSON; the library takes half a character for a missing end."""
    cause = str(error)
    if "truncated" not in cause:
        return cause
    if _HALF.search(document):
        return "it ends too early, or \\ud800 to \\udbff stands without its second half"
    return "it ends too early"


@cache
def _decoder(form: type[Form]) -> msgspec.json.Decoder[Form]:
    return msgspec.json.Decoder(form)


@lru_cache(256)
def _media_type(field: bytes) -> str:
    return field.partition(b";")[0].strip().lower().decode("latin-1")


def _queried(raw: bytes, form: type[Form]) -> Form:
    """Return a query as a form.

    Raises:
        Problem: a parameter is not known, doubled, or out of its bounds.
    """
    if not raw:
        return _converted({}, form)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_LONGEST_QUERY,
        )
    except ValueError as error:
        text = "the query is malformed: write ?name=value, and & between several"
        raise Problem(GatewayCode.MALFORMED_QUERY, text) from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Problem(
            GatewayCode.MALFORMED_QUERY, "a parameter stands in the query twice; say it once"
        )
    return _converted(values, form)


# The same few queries come again and again, and forms are only read: so one serves all.
_often_queried = lru_cache(256)(_queried)


def _converted(values: dict[str, str], form: type[Form]) -> Form:
    try:
        found: Form = msgspec.convert(values, form, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, form, values) from error
    for name, text in values.items():
        if getattr(found, name) is None:  # "null" is a text like others, and no way to say nothing
            raise Problem(
                Code.WRONG_TYPE,
                f"the parameter `{name}` of the query is not to be {text!r}",
                {"parameter": name},
            )
    return found


def _too_large(limit: int, asked: int) -> Problem:
    return Problem(
        Code.BODY_TOO_LARGE,
        f"the request's body is over the bound of {limit} bytes",
        {"limit": limit, "asked": asked},
        headers=((b"connection", b"close"),),
    )
