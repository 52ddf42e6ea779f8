"""What an operation of the API is, and how a request becomes an answer. Floor 2.

Theory of operation. An operation is declared once, with what it takes and gives: the route, the
checks and the OpenAPI document are made from that. A request is answered in one place: who asks
is found, the operation does its work over their connection and returns an answer, or has sent
one itself; whatever it raises becomes a problem document. An answer that has begun cannot be
taken back: then the connection is cut, so that nobody takes half an answer for a whole one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqweb.answers import ANSWER, PIECE_BYTES, problem_answer, send_answer
from mqweb.connections import ENDINGS, token_of
from mqweb.handing import CONNECTION_KEY
from mqweb.problems import Problem, problem_of
from mqweb.requests import Disconnected, Request
from mqwire.codes import Code
from mqwire.limits import KIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    import msgspec

    from mqweb.answers import Answer, Send
    from mqweb.gateway import Gateway
    from mqweb.media import Media
    from mqweb.problems import AnyCode
    from mqweb.requests import Receive, Scope

    Handler: TypeAlias = Callable[[Request], Awaitable["Answer | None"]]

_logger: Final = logging.getLogger("mqweb")
FEW_BYTES: Final = 16 * KIB
"""Most of a body that is a short form, however its characters are written."""


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Args:
        method: of HTTP.
        path: with parameters in braces.
        handler: does it.
        summary: in a few words.
        tag: the group that it belongs to.
        text: what there is to know beyond that.
        verbs: those of the wire that it uses, and so what whoever asks must be allowed.
        query: the form of its query.
        body: the form of its body.
        media: other forms in which its body may come.
        result: the form of its answer; None for one without a body.
        status: of an answer that has one.
        other_status: of an answer of the same form that says something else; 0 for none.
        gives: other forms in which its answer may come.
        is_empty_possible: whether it may answer that there is nothing, with 204.
        codes: refusals that are its own.
        is_open: whether nobody is asked who they are.
        most_bytes: its body may have; None for as many as the settings say.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    text: str = ""
    verbs: tuple[str, ...] = ()
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    media: tuple[Media, ...] = ()
    result: Any = None
    status: int = 200
    other_status: int = 0
    gives: tuple[Media, ...] = ()
    is_empty_possible: bool = False
    codes: tuple[AnyCode, ...] = ()
    is_open: bool = False
    most_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its name in the OpenAPI document."""
        return self.handler.__name__


class Endpoint:
    """An operation as an ASGI application.

    Args:
        gateway: what all requests share.
        operation: what is done.
    """

    def __init__(self, gateway: Gateway, operation: Operation) -> None:
        self._gateway = gateway
        self._handler = operation.handler
        self._is_open = operation.is_open
        self._refuses_body = operation.body is None and operation.method != "GET"
        self._most_bytes = operation.most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Cancellation: the request's call is given up, as that of a client that has gone.
        """
        sending = Sending(send, is_own=CONNECTION_KEY in scope)
        request = Request(self._gateway, scope, receive, sending, self._most_bytes)
        try:
            answer = await (self._handler(request) if self._is_open else self._as_user(request))
            if answer is not None:
                await self._send(sending, answer)
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001  it becomes a problem document
            await self._tell(request, sending, error)
        finally:
            request.close()

    async def _send(self, sending: Sending, answer: Answer) -> None:
        """Send an answer, which is counted for as long as it is held.

        Raises:
            Problem: there is no room for it; nothing of it has been sent.
        """
        outgoing, count = self._gateway.outgoing, len(answer.body)
        outgoing.take(count)
        try:
            self._gateway.answers[answer.status // 100] += 1
            if sending.is_own and count <= PIECE_BYTES:
                await sending({"type": ANSWER, "answer": answer})
            else:
                await send_answer(sending, answer)
        finally:
            outgoing.give(count)

    async def _as_user(self, request: Request) -> Answer | None:
        connections = self._gateway.connections
        token = token_of(request.field(b"authorization"), request.field(b"x-api-key"))
        link = await connections.take(token, request.host)
        request.client = link.client
        request.token = token
        try:
            if self._refuses_body:
                await request.refuse_body()
            return await self._handler(request)
        except Exception as error:
            problem = problem_of(error)
            if problem is not None and problem.code in ENDINGS:
                connections.forget(link)
            raise
        finally:
            connections.give(link)

    async def _tell(self, request: Request, sending: Sending, error: Exception) -> None:
        problem = problem_of(error)
        if problem is None:
            scope = request.scope
            _logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            problem = Problem(Code.INTERNAL, "the gateway failed while handling the request")
        if sending.has_begun:
            connection = request.scope.get(CONNECTION_KEY)
            if connection is None:
                raise CutOff from error
            connection.abort()
            return
        self._gateway.answers[problem.status // 100] += 1
        await send_answer(sending.send, problem_answer(problem))


class CutOff(Exception):  # noqa: N818  no error of ours
    """An answer that had begun cannot be ended: its connection is to be closed."""


class Sending:
    """Sends, and knows whether an answer has begun.

    Args:
        send: ASGI's.
        is_own: whether a connection of our own is behind it, which takes whole answers.
    """

    __slots__ = ("has_begun", "is_own", "send")

    def __init__(self, send: Send, *, is_own: bool) -> None:
        self.send = send
        self.is_own = is_own
        self.has_begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Send a message of ASGI."""
        self.has_begun = True
        await self.send(message)
