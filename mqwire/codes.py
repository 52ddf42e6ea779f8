"""The registry of error codes. Floor 0: data only.

A code's name is what goes over the wire, what a client maps to an exception
class, and what the table in PROTOCOL.md lists; a test holds the three equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error code says beyond its name.

    Args:
        summary: one sentence for people.
        http_status: the status an HTTP gateway answers with.
        is_fatal: whether the server closes the connection after the error frame.
        is_retryable: whether the same request may succeed later, unchanged.
    """

    summary: str
    http_status: int
    is_fatal: bool = False
    is_retryable: bool = False


@unique
class Code(Enum):
    """Every error that a server may answer with."""

    # The stream itself is broken: an error frame with id 0, then the connection closes.
    BAD_PREFIX = Meaning("the bytes at a frame's start are not a length prefix", 400, True)
    FRAME_TOO_LARGE = Meaning("the prefix announces more than a frame may hold", 413, True)
    MALFORMED_FRAME = Meaning("the frame's body is not one well-formed request", 400, True)
    AUTH_ENDED = Meaning("what the connection authenticated with is not valid any more", 401, True)
    AUTH_TIMEOUT = Meaning("the connection did not authenticate in time", 408, True)
    TOO_MANY_CONNECTIONS = Meaning(
        "the server holds as many connections as it may", 503, True, True
    )
    SHUTTING_DOWN = Meaning("the server is stopping", 503, True, True)

    # One request is refused: the connection lives and nothing has changed.
    UNKNOWN_VERB = Meaning("no such verb", 404)
    WRONG_ARITY = Meaning("too few or too many arguments for the verb", 400)
    WRONG_TYPE = Meaning("an argument or option has the wrong type", 400)
    OUT_OF_RANGE = Meaning("an argument or option is outside its bounds", 400)
    UNKNOWN_OPTION = Meaning("the verb has no such option", 400)
    BAD_NAME = Meaning("the name breaks the rule for queue names", 400)
    BAD_PACK = Meaning("the pack does not hold the declared count of well-formed bodies", 400)
    BAD_HEADERS = Meaning("the headers are not small maps of text to scalars", 400)
    BODY_TOO_LARGE = Meaning("a body is larger than a body may be", 413)
    TOO_MANY_MESSAGES = Meaning("the frame holds or asks for more messages than it may", 413)
    TOO_MANY_WAITS = Meaning("the connection waits or watches as often as it may", 429, False, True)
    ID_IN_USE = Meaning("a request with this id is still waiting", 409)
    UNSUPPORTED_VERSION = Meaning("the server does not speak this protocol version", 400)
    NOT_AUTHENTICATED = Meaning("the connection has not authenticated", 401)
    AUTH_FAILED = Meaning("the credentials are not valid", 401)
    AUTH_ENDING = Meaning(
        "the credentials have ended: the connection may finish what it holds, and that is all", 401
    )
    AUTH_BUSY = Meaning("too many password checks are under way", 503, False, True)
    ACCESS_DENIED = Meaning("the user's role does not allow the verb", 403)
    USER_NOT_FOUND = Meaning("no such user", 404)
    USER_EXISTS = Meaning("a user of this name exists", 409)
    USER_CONFIGURED = Meaning("the user stands in the server's configuration", 409)
    LAST_ADMINISTRATOR = Meaning("nobody could administer the server any more", 409)
    TOO_MANY_USERS = Meaning("the server holds as many users as it may", 507)
    TOKEN_NOT_FOUND = Meaning("no such token", 404)
    TOO_MANY_TOKENS = Meaning("there are as many tokens as there may be", 409)
    QUEUE_NOT_FOUND = Meaning("no such queue", 404)
    QUEUE_EXISTS = Meaning("a queue of this name exists", 409)
    QUEUE_FULL = Meaning("the push would take the queue past its bounds", 507, False, True)
    TOO_MANY_QUEUES = Meaning("the server holds as many queues as it may", 507, False, True)
    LEASE_LOST = Meaning("the lease is not, or no longer, the client's", 409)
    NOT_LEASED = Meaning("the message is not under the lease", 409)
    CONFLICTING_OPTIONS = Meaning("the options of a request exclude each other", 400)
    KEY_REUSED = Meaning("the key came with something else before", 409)
    STORAGE_FULL = Meaning("the server's disk has no room for it", 507, False, True)
    NO_JOURNAL = Meaning("the server keeps its state in memory alone", 409)
    SNAPSHOT_FAILED = Meaning("no snapshot could be made", 503, False, True)
    NO_BACKUP = Meaning("the connection holds no backup", 409)
    NO_FRAME_LOG = Meaning("the server keeps no frame log", 409)
    INTERNAL = Meaning("the server failed while handling the request", 500)

    @property
    def summary(self) -> str:
        """One sentence for people."""
        return self.value.summary

    @property
    def http_status(self) -> int:
        """The status an HTTP gateway answers with."""
        return self.value.http_status

    @property
    def is_fatal(self) -> bool:
        """Whether the server closes the connection after the error frame."""
        return self.value.is_fatal

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.value.is_retryable


@unique
class GatewayCode(Enum):
    """What the HTTP gateway alone answers with, beside the codes of the wire."""

    NO_SUCH_PATH = Meaning("nothing is served at this path", 404)
    METHOD_NOT_ALLOWED = Meaning("the path is not served with this method", 405)
    NOT_ACCEPTABLE = Meaning("the answer does not come in a form that the client takes", 406)
    MALFORMED_BODY = Meaning("the request's body is not what its content type says", 400)
    MALFORMED_QUERY = Meaning("the query is not what this path takes", 400)
    MISSING_FIELD = Meaning("the request lacks something that it needs", 400)
    UNEXPECTED_BODY = Meaning("the path takes no body: options stand in the query", 400)
    UNSUPPORTED_MEDIA_TYPE = Meaning("the path takes no body of this content type", 415)
    MALFORMED_REQUEST = Meaning("this is no HTTP request", 400, True)
    HEAD_TOO_LARGE = Meaning("the request's line and header fields are too large", 431, True)
    REQUEST_LATE = Meaning("the request did not come whole in time", 408, True)
    GATEWAY_FULL = Meaning("the gateway does as much as it may", 503, False, True)
    SERVER_AWAY = Meaning("the gateway does not reach the queue server", 503, False, True)
    SERVER_LATE = Meaning("the queue server has not answered in time", 504, False, True)
    SERVER_BROKEN = Meaning("what the queue server has answered cannot be read", 502)

    @property
    def summary(self) -> str:
        """One sentence for people."""
        return self.value.summary

    @property
    def http_status(self) -> int:
        """The status that goes with it."""
        return self.value.http_status

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.value.is_retryable
