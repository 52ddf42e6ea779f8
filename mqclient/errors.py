"""Every error that the library raises, in one tree. Floor 1.

    MqError
      InterfaceError                       the library was misused
        ArgumentError                      an argument is of the wrong kind; says what to write
        ConfigurationError                 a URL, codec or time-out that makes no sense
      TransportError
        ConnectFailed                      no connection could be made
          NotAnAddressFile                 and a ConfigurationError
        ConnectionLost                     it broke; `in_doubt` says what that means
      RequestTimeout                       no reply in time
      ProtocolError                        the peer broke the protocol
      BodyError                            a message's body cannot be decoded or does not fit
      ServerError                          the server refused; one class for each code
        QueueNotFound, QueueFull, ...
        UnknownServerError                 a code that this version does not know
    Drained                                no error: a job is to end, since its process is
    JobCancelled                           no error: a job is to end, since nobody needs it

A class is chosen by the code that the server sends, never by its text. The
classes are written out, so that editors and type checkers see them; a test
holds them equal to the registry in mqwire.codes.
"""

# ruff: noqa: N818  the names of codes are nouns already; QueueFullError says nothing more

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from mqwire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mqclient.messages import Message


class MqError(Exception):
    """Everything that the library raises on purpose."""

    pushed: Sequence[int] = ()
    """From `push_many`: the ids of the messages that had been pushed before the error."""


class InterfaceError(MqError):
    """The library was misused: nothing was sent."""


class ArgumentError(InterfaceError, TypeError, ValueError):
    """An argument is of the wrong kind: the text says which, and what to write instead."""


class ConfigurationError(InterfaceError, ValueError):
    """A URL, codec or other setting makes no sense."""


class TransportError(MqError):
    """The connection could not be made or did not last."""


class ConnectFailed(TransportError):
    """No connection could be made; the text says what to do.

    Args:
        text: why, and what to do.
        may_pass: whether a server that is started later would mend it.
    """

    def __init__(self, text: str, *, may_pass: bool = False) -> None:
        super().__init__(text)
        self.may_pass = may_pass

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the attributes: errors cross process pools."""
        return partial(type(self), may_pass=self.may_pass), self.args, {"pushed": self.pushed}


class NotAnAddressFile(ConnectFailed, ConfigurationError):
    """What was named as an address file is none, or cannot be read: waiting does not help."""


class ConnectionLost(TransportError):
    """The connection broke while the request was under way.

    Args:
        text: what happened.
        in_doubt: whether the server may have carried the request out all the same.
    """

    def __init__(self, text: str, *, in_doubt: bool = False) -> None:
        super().__init__(text)
        self.in_doubt = in_doubt

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the attributes: errors cross process pools."""
        return partial(type(self), in_doubt=self.in_doubt), self.args, {"pushed": self.pushed}


class RequestTimeout(MqError, TimeoutError):
    """No reply came in time.

    Args:
        text: what was asked and how long it was waited for.
        in_doubt: whether the server may have carried the request out, or still may.
    """

    def __init__(self, text: str, *, in_doubt: bool = False) -> None:
        super().__init__(text)
        self.in_doubt = in_doubt

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the attributes: errors cross process pools."""
        return partial(type(self), in_doubt=self.in_doubt), self.args, {"pushed": self.pushed}


class ProtocolError(MqError):
    """The peer broke the protocol: it is no mqd server, or one of another make."""


class BodyError(MqError):
    """A message's body cannot be decoded, or does not fit the type that was asked for.

    Args:
        text: what is wrong, and where.
        message: the message; its `raw` and `headers` are there, so nothing is lost.
    """

    def __init__(self, text: str, message: Message) -> None:
        super().__init__(text)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the message."""
        return type(self), (self.args[0], self.message)


class Drained(BaseException):
    """SIGTERM has come while a job was running, see `Client.consume`.

    It is raised in the job's block, so that the job can save what it has; the block's end
    hands the job back. Like KeyboardInterrupt it is no Exception: a job that catches what
    goes wrong in it does not catch this.
    """


class JobCancelled(BaseException):
    """A job was cancelled while it ran, see `Job.raise_if_cancelled`.

    The job's block lets it go no further. Like Drained it is no Exception.
    """


class ServerError(MqError):
    """The server refused the request, which has changed nothing.

    Args:
        code: the code, as in PROTOCOL.md section 7.
        message: the server's sentence for people.
        details: the same for machines.
    """

    registered_code: ClassVar[Code | None] = None

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.registered_code is not None and self.registered_code.is_retryable

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the attributes: errors cross process pools."""
        return type(self), (self.code, self.message, self.details), {"pushed": self.pushed}


class UnknownServerError(ServerError):
    """The server answered with a code that this version of the library does not know."""


class BadPrefix(ServerError):
    """The bytes at a frame's start were no length prefix."""

    registered_code = Code.BAD_PREFIX


class FrameTooLarge(ServerError):
    """The frame was larger than the server allows."""

    registered_code = Code.FRAME_TOO_LARGE


class MalformedFrame(ServerError):
    """The frame was not one well-formed request."""

    registered_code = Code.MALFORMED_FRAME


class AuthEnded(ServerError):
    """What the connection authenticated with is not valid any more, and it held nothing."""

    registered_code = Code.AUTH_ENDED


class AuthTimeout(ServerError):
    """The connection did not authenticate in time."""

    registered_code = Code.AUTH_TIMEOUT


class TooManyConnections(ServerError):
    """The server holds as many connections as it may."""

    registered_code = Code.TOO_MANY_CONNECTIONS


class ShuttingDown(ServerError):
    """The server is stopping."""

    registered_code = Code.SHUTTING_DOWN


class UnknownVerb(ServerError):
    """The server has no such verb: it is older than this library."""

    registered_code = Code.UNKNOWN_VERB


class WrongArity(ServerError):
    """Too few or too many arguments for the verb."""

    registered_code = Code.WRONG_ARITY


class WrongType(ServerError):
    """An argument or option has the wrong type."""

    registered_code = Code.WRONG_TYPE


class OutOfRange(ServerError):
    """An argument or option is outside its bounds."""

    registered_code = Code.OUT_OF_RANGE


class UnknownOption(ServerError):
    """The verb has no such option."""

    registered_code = Code.UNKNOWN_OPTION


class BadName(ServerError):
    """The name breaks the rule for queue names."""

    registered_code = Code.BAD_NAME


class BadPack(ServerError):
    """The pack did not hold what it declared."""

    registered_code = Code.BAD_PACK


class BadHeaders(ServerError):
    """The headers are not small maps of text to scalars."""

    registered_code = Code.BAD_HEADERS


class BodyTooLarge(ServerError):
    """A body is larger than a body may be; the client judges this before it sends."""

    registered_code = Code.BODY_TOO_LARGE


class TooManyMessages(ServerError):
    """The frame holds or asks for more messages than it may."""

    registered_code = Code.TOO_MANY_MESSAGES


class TooManyWaits(ServerError):
    """The connection has as many waiting pulls as it may."""

    registered_code = Code.TOO_MANY_WAITS


class IdInUse(ServerError):
    """A request with this id is still waiting."""

    registered_code = Code.ID_IN_USE


class UnsupportedVersion(ServerError):
    """The server does not speak this library's protocol version."""

    registered_code = Code.UNSUPPORTED_VERSION


class NotAuthenticated(ServerError):
    """The connection has not authenticated."""

    registered_code = Code.NOT_AUTHENTICATED


class AuthFailed(ServerError):
    """The credentials are not valid."""

    registered_code = Code.AUTH_FAILED


class AuthEnding(ServerError):
    """The credentials have ended: what is held may be finished, and nothing else begun."""

    registered_code = Code.AUTH_ENDING


class AuthBusy(ServerError):
    """Too many password checks are under way."""

    registered_code = Code.AUTH_BUSY


class AccessDenied(ServerError):
    """The user's role does not allow the verb."""

    registered_code = Code.ACCESS_DENIED


class UserNotFound(ServerError):
    """No such user."""

    registered_code = Code.USER_NOT_FOUND


class UserExists(ServerError):
    """A user of this name exists."""

    registered_code = Code.USER_EXISTS


class UserConfigured(ServerError):
    """The user stands in the server's configuration, and is changed there."""

    registered_code = Code.USER_CONFIGURED


class LastAdministrator(ServerError):
    """Nobody could administer the server any more."""

    registered_code = Code.LAST_ADMINISTRATOR


class TooManyUsers(ServerError):
    """The server holds as many users as it may."""

    registered_code = Code.TOO_MANY_USERS


class TokenNotFound(ServerError):
    """No such token."""

    registered_code = Code.TOKEN_NOT_FOUND


class TooManyTokens(ServerError):
    """The user, or the server, has as many tokens as there may be."""

    registered_code = Code.TOO_MANY_TOKENS


class QueueNotFound(ServerError):
    """No such queue."""

    registered_code = Code.QUEUE_NOT_FOUND


class QueueExists(ServerError):
    """A queue of this name exists."""

    registered_code = Code.QUEUE_EXISTS


class QueueFull(ServerError):
    """The push would take the queue past its bounds; details say which and by how much."""

    registered_code = Code.QUEUE_FULL


class TooManyQueues(ServerError):
    """The server holds as many queues as it may."""

    registered_code = Code.TOO_MANY_QUEUES


class LeaseLost(ServerError):
    """The lease is not, or no longer, this client's; `why` in the details tells more."""

    registered_code = Code.LEASE_LOST


class NotLeased(ServerError):
    """The message is not under the lease; its id is in the details."""

    registered_code = Code.NOT_LEASED


class ConflictingOptions(ServerError):
    """The options of a request exclude each other."""

    registered_code = Code.CONFLICTING_OPTIONS


class KeyReused(ServerError):
    """The key was used for another push, whose messages were others."""

    registered_code = Code.KEY_REUSED


class StorageFull(ServerError):
    """The server's disk has no room for it; what is stored can still be pulled."""

    registered_code = Code.STORAGE_FULL


class NoJournal(ServerError):
    """The server keeps its state in memory alone: no such level, snapshot or backup."""

    registered_code = Code.NO_JOURNAL


class SnapshotFailed(ServerError):
    """No snapshot could be made; nothing else has changed."""

    registered_code = Code.SNAPSHOT_FAILED


class NoBackup(ServerError):
    """The connection holds no backup."""

    registered_code = Code.NO_BACKUP


class NoFrameLog(ServerError):
    """The server keeps no frame log."""

    registered_code = Code.NO_FRAME_LOG


class Internal(ServerError):
    """The server failed while handling the request."""

    registered_code = Code.INTERNAL


ERRORS_BY_CODE: dict[str, type[ServerError]] = {
    kind.registered_code.name: kind
    for kind in ServerError.__subclasses__()
    if kind.registered_code is not None
}


def server_error(code: str, message: str, details: Mapping[str, Any] | None = None) -> ServerError:
    """Return the error of the class that belongs to `code`."""
    return ERRORS_BY_CODE.get(code, UnknownServerError)(code, message, details)
