"""Errors as problem documents (RFC 9457). Floor 2: pure.

Every refusal has a `code`: that of the wire, or one of the gateway's own, both from the registry
in mqwire.codes, which knows the HTTP status too. What was not foreseen is INTERNAL, and its
story goes to the log alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from mqclient.errors import (
    BodyError,
    ConnectFailed,
    ConnectionLost,
    InterfaceError,
    ProtocolError,
    RequestTimeout,
    ServerError,
)
from mqwire.codes import Code, GatewayCode
from mqwire.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    AnyCode: TypeAlias = Code | GatewayCode

CONTENT_TYPE: Final = b"application/problem+json"
RETRY_SECONDS: Final = 1
"""What a client is asked to wait where trying again may help."""


class Problem(Exception):  # noqa: N818  the word of RFC 9457
    """A request that is refused, and why.

    Args:
        code: what is wrong, in a word.
        detail: the same as a sentence about this request.
        details: and for machines.
        headers: further fields of the answer.
        in_doubt: whether the request may have been carried out all the same.
    """

    def __init__(
        self,
        code: AnyCode,
        detail: str,
        details: Mapping[str, Any] | None = None,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        in_doubt: bool = False,
    ) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code
        self.detail = detail
        self.details = dict(details or {})
        self.headers = headers
        self.in_doubt = in_doubt

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code.http_status

    def document(self) -> bytes:
        """Return the problem document."""
        return document(
            self.code, self.detail, self.details, self.status, in_doubt=self.in_doubt or None
        )

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the header fields that belong to it."""
        found = self.headers
        if self.status == 401:
            found = (*found, (b"www-authenticate", b'Bearer realm="mqd"'))
        if self.code.is_retryable and self.status in (429, 503, 507):
            found = (*found, (b"retry-after", b"%d" % RETRY_SECONDS))
        return found


def document(
    code: AnyCode, detail: str, details: Mapping[str, Any], status: int, **more: Any
) -> bytes:
    """Return a problem document; what JSON cannot hold is shown in its own way."""
    members = {
        "type": f"urn:mqd:problem:{code.name}",
        "title": code.summary,
        "status": status,
        "code": code.name,
        "detail": detail,
        "retryable": code.is_retryable,
        "details": dict(details),
        **{name: value for name, value in more.items() if value is not None},
    }
    return msgspec.json.encode(members, enc_hook=repr)


def problem_of(error: BaseException) -> Problem | None:
    """Return what an error means to a client; None where it was not foreseen."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ServerError):
        return _of_server(error)
    if isinstance(error, RequestError):
        return Problem(error.code, error.message, error.details)
    return _of_library(error)


def _of_library(error: BaseException) -> Problem | None:
    if isinstance(error, ConnectFailed):
        # Its text is for who runs the gateway: it names hosts and files.
        return Problem(GatewayCode.SERVER_AWAY, "no connection to the queue server could be made")
    if isinstance(error, ConnectionLost):
        text = "the connection to the queue server broke"
        return Problem(GatewayCode.SERVER_AWAY, text, in_doubt=error.in_doubt)
    if isinstance(error, RequestTimeout):
        text = "the queue server has not answered in time"
        return Problem(GatewayCode.SERVER_LATE, text, in_doubt=error.in_doubt)
    if isinstance(error, InterfaceError):
        return Problem(Code.OUT_OF_RANGE, str(error))
    if isinstance(error, ProtocolError | BodyError):
        return Problem(GatewayCode.SERVER_BROKEN, str(error))
    return None


def _of_server(error: ServerError) -> Problem:
    code = error.registered_code
    if code is None:
        details = {"code": error.code, "details": error.details}
        return Problem(GatewayCode.SERVER_BROKEN, error.message, details)
    return Problem(code, error.message, error.details)
