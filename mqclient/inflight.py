"""The requests of one connection that are under way. Floor 1: no I/O, no time, no locks.

Bytes in, answered requests out; calls in, bytes out. Both clients put their
sockets and their ways of waiting around it.

Theory of operation. A request is in flight from the moment it gets its id
until its reply is read. One that its caller has given up stays in flight, so
that the late reply is recognised: it is dropped, but for a PULL, whose messages
are gone from the server; these are kept for the next pull of that queue. Messages that
come late under a lease are handed back. For a PULL that is given up a WAKE goes out, which
makes the window for both small.

A frame of id 0 announces that the server breaks off. If it broke off because
of a frame of ours (the stream's codes), everything before that frame has been
answered, so what is in flight was refused and gets the server's error itself.
In every other case, and when the connection just ends, what is in flight may
have been carried out: it gets ConnectionLost, with the server's error as cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqclient import calls, lease_calls
from mqclient.errors import (
    ConnectionLost,
    InterfaceError,
    MqError,
    ProtocolError,
    RequestTimeout,
    ServerError,
    server_error,
)
from mqclient.messages import Message
from mqclient.models import BEFORE_AUTH
from mqwire.codes import Code
from mqwire.frames import FrameReader, FrameWriter, prefix
from mqwire.limits import HARD_MAX_FRAME_BYTES
from mqwire.verbs import SECRET_VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqclient.calls import Call
    from mqclient.kept import KeptMessages
    from mqwire.frames import Frame

_STREAM_CODES: Final = frozenset(
    {Code.BAD_PREFIX.name, Code.FRAME_TOO_LARGE.name, Code.MALFORMED_FRAME.name}
)


class Request:
    """One call under way on one connection.

    Args:
        call: what was asked.
        request_id: its id, or 0 if it could not be sent.
        waker: what the shell wakes when the request is done; the core only carries it.
    """

    __slots__ = ("call", "error", "id", "is_given_up", "is_sent", "reply", "waker")

    def __init__(self, call: Call, request_id: int, waker: Any) -> None:
        self.call = call
        self.id = request_id
        self.waker = waker
        self.reply: Frame | None = None
        self.error: MqError | None = None
        self.is_sent = False
        """Whether any of its bytes may have reached the server."""
        self.is_given_up = False

    def outcome(self) -> Any:
        """Return the result of a request that is done.

        Raises:
            MqError: why there is none.
        """
        if self.reply is None:
            assert self.error is not None
            raise self.error
        return read_reply(self.call, self.reply)

    @property
    def may_be_done(self) -> bool:
        """Whether the server may carry it out although its reply will not be read."""
        return self.is_sent and not self.call.is_repeatable


def read_reply(call: Call, reply: Frame) -> Any:
    """Return the result that a reply to `call` carries.

    Raises:
        MqError: the server has refused the request, or its reply is of another form.
    """
    try:
        if reply[1] == "OK":
            return call.read(reply)
        error = server_error(reply[2], reply[3], reply[4] if len(reply) > 4 else None)
    except (LookupError, TypeError, ValueError, AttributeError) as reason:
        text = f"the reply to {call.verb} does not have its form: {reason}"
        raise ProtocolError(text) from reason
    raise error


class InFlight:
    """The requests of one connection. Not thread-safe: the shell serialises all calls.

    Args:
        kept: where messages go that nobody waits for any more.
    """

    def __init__(self, kept: KeptMessages) -> None:
        self.limits = BEFORE_AUTH
        """The server's bounds; the shell sets them from the reply to AUTH."""
        self.is_lost = False
        """Whether the connection is of no use any more."""
        self.unsent: list[bytes] = []
        """Frames that `feed` and `drain` have made: the shell sends and clears them."""
        self.take_events: Callable[[Frame], object] | None = None
        """Takes the frames behind the reply to a WATCH; None where there is no watch."""
        self.is_draining = False
        """Whether no PULL of a consumer waits at the server any more."""
        self._why_lost = ""
        self._kept = kept
        self._reader = FrameReader(HARD_MAX_FRAME_BYTES)
        self._pack = FrameWriter().pack
        self._requests: dict[int, Request] = {}
        self._last_id = 0

    def begin(self, call: Call, waker: Any) -> tuple[Request, bytes]:
        """Give `call` an id and encode it.

        Returns:
            The request and its frame. If it cannot be sent the frame is empty and the
            request is done with an error: InterfaceError, BodyTooLarge, FrameTooLarge or
            ConnectionLost (not in doubt).
        """
        request_id = self._last_id + 1
        request = Request(call, request_id, waker)
        if self.is_lost:
            request.error = ConnectionLost(self._why_lost)
            return request, b""
        arguments = call.arguments
        if self.is_draining and call.ends_on_drain:
            options = {name: value for name, value in arguments[2].items() if name != "wait"}
            arguments = (*arguments[:2], options)
        try:
            body = self._pack((call.verb, request_id, *arguments))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            request.error = _unsendable(call, error)
            return request, b""
        limits = self.limits
        if len(body) > limits.max_frame_bytes or call.largest_body_bytes > limits.max_body_bytes:
            request.error = self._too_large(call, len(body))
            return request, b""
        self._last_id = request_id
        self._requests[request_id] = request
        return request, prefix(len(body)) + body

    def feed(self, data: bytes) -> list[Request]:
        """Take bytes that have arrived.

        Returns:
            The requests that are done now, answered or failed; nobody waits for others.
        """
        done: list[Request] = []
        for frame in self._reader.feed(data):
            try:
                request = self._requests.pop(frame[0], None)
            except (IndexError, TypeError):
                request = None
            if request is None:
                self._take_unasked(frame, done)
            elif request.is_given_up:
                self._take_late(request, frame)
            else:
                request.reply = frame
                done.append(request)
        if self._reader.error is not None and not self.is_lost:
            cause = ProtocolError(f"this is no mqd server: {self._reader.error.message}")
            done += self.lose("the server's stream is broken", cause)
        return done

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._requests

    @property
    def missing_bytes(self) -> int:
        """How much of a reply is still to come of which a part has; 0 if there is none."""
        return self._reader.missing_bytes

    def ping(self) -> bytes:
        """Return a PING whose reply nobody waits for; empty if the connection is lost."""
        return self.say(calls.ping())

    def drain(self) -> None:
        """End the waits of consumers, now and from now on: WAKEs are put into `unsent`."""
        self.is_draining = True
        for request in list(self._requests.values()):
            if request.call.ends_on_drain and request.is_sent and not request.is_given_up:
                self.unsent.append(self.say(calls.wake(request.id)))

    def waiting(self) -> Request | None:
        """Return any request in flight that somebody waits for."""
        for request in self._requests.values():
            if not request.is_given_up:
                return request
        return None

    def has(self, waker: Any) -> bool:
        """Tell whether a request with this waker is in flight."""
        return any(request.waker is waker for request in self._requests.values())

    def lose(self, why: str, cause: BaseException | None = None) -> list[Request]:
        """Note that the connection is of no use any more.

        Args:
            why: what happened, for people.
            cause: the error behind it, if there is one.

        Returns:
            The requests that have failed with it.
        """
        if self.is_lost:
            return []
        self.is_lost = True
        self._why_lost = why if cause is None else f"{why}: {cause}"
        requests, self._requests = self._requests, {}
        for request in requests.values():
            if request.is_given_up:
                self._forget(request)
            else:
                request.error = self._loss(request, cause)
        return [request for request in requests.values() if not request.is_given_up]

    def expire(self, request: Request, text: str) -> bytes:
        """Give a request up because its time is over; its outcome is RequestTimeout.

        Returns:
            What is to be sent, see `give_up`.
        """
        if request.reply is not None or request.error is not None:
            return b""
        request.error = RequestTimeout(text, in_doubt=request.may_be_done)
        return self.give_up(request)

    def give_up(self, request: Request) -> bytes:
        """Note that nobody waits for `request` any more.

        Messages that have arrived, or still arrive for it, are kept for the next pull.

        Returns:
            The frame that ends its wait at the server, to be sent; empty if none is needed.
        """
        if request.reply is not None:
            self._take_late(request, request.reply, was_expected=False)
            return b""
        if request.is_given_up or self._requests.get(request.id) is not request:
            return b""  # it failed, or never was in flight
        if not request.is_sent:
            del self._requests[request.id]
            return b""
        request.is_given_up = True
        request.waker = None
        if request.call.verb != "PULL" or self.is_lost:
            return b""
        if not request.call.is_leased:
            self._kept.expect(request.call.arguments[0])
        return self.say(calls.wake(request.id))

    def say(self, call: Call) -> bytes:
        """Return the frame of a call whose reply nobody waits for."""
        request, frame = self.begin(call, None)
        request.is_sent = request.is_given_up = True
        return frame

    def _take_unasked(self, frame: Frame, done: list[Request]) -> None:
        if self.take_events is not None and frame[1:2] in (("EVENT",), ("ERR",)) and frame[0]:
            self.take_events(frame)
        elif frame[:1] != (0,):
            shown = repr(frame[:2])[:60]
            cause = ProtocolError(f"the server has answered what nobody asked: {shown}")
            done += self.lose("the server's stream is broken", cause)
        elif len(frame) >= 4 and frame[1] == "ERR":
            error = server_error(str(frame[2]), str(frame[3]), _details(frame))
            done += self.lose("the server has broken off", error)
        # Other frames of id 0 are events that this version does not know.

    def _take_late(self, request: Request, frame: Frame, *, was_expected: bool = True) -> None:
        """Handle the reply to a request that its caller has given up."""
        if request.call.verb != "PULL":
            return
        # The request itself stays as it is: its caller may not have looked at it yet, and
        # must not get what the next pull is going to get.
        try:
            result = read_reply(request.call, frame)
        except MqError:
            result = None  # a refusal: no messages were removed
        if isinstance(result, lease_calls.Leased):
            self.unsent.append(self.say(lease_calls.nack(result.lease, hand_back=True)))
            return
        messages = result[0] if type(result) is tuple else result
        if messages:
            kept = [messages] if isinstance(messages, Message) else messages
            self._kept.keep(request.call.arguments[0], kept)
        if was_expected:  # only now: a pull that looks in between must find one or the other
            self._forget(request)

    def _forget(self, request: Request) -> None:
        if request.call.verb == "PULL" and not request.call.is_leased:
            self._kept.forget(request.call.arguments[0])

    def _loss(self, request: Request, cause: BaseException | None) -> MqError:
        is_answer = request.call.verb == "AUTH"  # there is nothing else that it could mean
        if isinstance(cause, ServerError) and (is_answer or cause.code in _STREAM_CODES):
            return server_error(cause.code, cause.message, cause.details)
        doubt = request.may_be_done
        tail = "; it may or may not have been carried out" if doubt else ""
        text = f"the connection was lost during {request.call.verb} ({self._why_lost}){tail}"
        error = ConnectionLost(text, in_doubt=doubt)
        error.__cause__ = cause
        return error

    def _too_large(self, call: Call, frame_bytes: int) -> MqError:
        """Say before sending what the server would say: a frame too large breaks the stream."""
        limits = self.limits
        limit, asked, code, what = (
            limits.max_frame_bytes,
            frame_bytes,
            Code.FRAME_TOO_LARGE,
            "frame",
        )
        if call.largest_body_bytes > limits.max_body_bytes:
            limit, asked = limits.max_body_bytes, call.largest_body_bytes
            code, what = Code.BODY_TOO_LARGE, "body"
        text = f"{call.verb}: a {what} of {asked} bytes is over the server's bound of {limit}"
        return server_error(code.name, text, {"limit": limit, "asked": asked})


def _unsendable(call: Call, error: Exception) -> InterfaceError:
    if call.verb in SECRET_VERBS:  # the error may quote a password
        return InterfaceError(f"{call.verb} cannot be sent: it holds what is no text")
    refusal = InterfaceError(f"{call.verb} cannot be sent: {error}")
    refusal.__cause__ = error
    return refusal


def _details(frame: Frame) -> dict[str, Any] | None:
    return frame[4] if len(frame) > 4 and isinstance(frame[4], dict) else None
