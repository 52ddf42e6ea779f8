"""The registry of verbs: what each request looks like. Floor 0: data only.

A request is `[verb, id, ...arguments]` or `[verb, id, ...arguments, options]`.
One table says which arguments a verb takes, of which kind and within which
bounds; `mqwire.requests` checks a frame against it, PROTOCOL.md prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mqwire import causes, limits
from mqwire.roles import ROLE_WORDS


class Kind(Enum):
    """The kinds of arguments and options: the word for people, and the decoded types."""

    NAME = ("a queue name (a string)", (str,))
    USER = ("a user name (a string)", (str,))
    PATTERN = ("a pattern of queue names (a string)", (str,))
    TEXT = ("a string", (str,))
    COUNT = ("an unsigned integer", (int,))
    SECONDS = ("a number of seconds", (int, float))
    NUMBER = ("a number", (int, float))
    WORD = ("a word (a string)", (str,))
    LEASE = ("a lease (an array of two unsigned integers)", (tuple,))
    PARTS = ("an array of arrays", (tuple,))
    RUNS = ("runs of ids (an array of unsigned integers: first, count, ...)", (tuple,))
    FLAG = ("a boolean", (bool,))
    LEVEL = ("a durability level (a string)", (str,))
    WORDS = ("an array of words (strings)", (tuple,))
    RESULT = ("a result (binary or a string)", (bytes, str))
    PACK = ("a pack (binary)", (bytes,))
    MAP = ("a map", (dict,))
    HEADERS = ("a map of headers, or an array with a map or nil for each message", (dict, tuple))

    __hash__ = object.__hash__  # an enum's own is not C, and kinds are looked up for each value

    def __init__(self, words: str, types: tuple[type, ...]) -> None:
        self.words = words
        self.types = types


@dataclass(frozen=True, slots=True)
class Field:
    """One argument or option.

    Args:
        name: its name, in error details and in PROTOCOL.md.
        kind: what it may be.
        low: the least value (COUNT, SECONDS, NUMBER), length in characters (TEXT), or size in
            bytes (RESULT), inclusive.
        high: the greatest value, length or size, inclusive.
        is_required: whether the request is refused without it; options never are.
        words: what a WORD, or each of WORDS, may be.
    """

    name: str
    kind: Kind
    low: int | float = 0
    high: int | float = limits.MAX_TEXT_CHARS
    is_required: bool = True
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its name, its arguments in order, and its options by name."""

    name: str
    summary: str
    arguments: tuple[Field, ...] = ()
    options: dict[str, Field] = field(default_factory=dict)

    @property
    def least_length(self) -> int:
        """Length of the shortest well-formed frame."""
        return 2 + sum(argument.is_required for argument in self.arguments)

    @property
    def most_length(self) -> int:
        """Length of the longest well-formed frame: every argument, and a map of options."""
        return 2 + len(self.arguments) + 1


def _options(*fields: Field) -> dict[str, Field]:
    return {option.name: option for option in fields}


_QUEUE = Field("queue", Kind.NAME)
_MAX = Field("max", Kind.COUNT, 1, limits.MAX_MESSAGES_PER_FRAME)
_DURABILITY = Field("durability", Kind.LEVEL)
_KEY = Field("key", Kind.TEXT, 1, limits.MAX_KEY_CHARS)
_LEASE = Field("lease", Kind.LEASE)
_IDS = Field("ids", Kind.RUNS)
_REASON = Field("reason", Kind.TEXT, 0, limits.MAX_REASON_CHARS)
_RESULT = Field("result", Kind.RESULT, 0, limits.MAX_RESULT_BYTES)
_LEASE_SECONDS = (Kind.SECONDS, limits.MIN_LEASE_SECONDS, limits.MAX_LEASE_SECONDS)

BACKOFFS = ("none", "fixed", "linear", "exponential")
"""How the delay before another attempt grows; with none there is no delay."""

PURGEABLE = ("waiting", "dead")
"""What PURGE removes: what is ready or delayed; or what is dead."""

EVENTS = (
    "created",
    "deleted",
    "paused",
    "resumed",
    "purged",
    "pushed",
    "pulled",
    "leased",
    "acked",
    "nacked",
    "rejected",
    "handed_back",
    "lost",
    "ready",
    "expired",
    "dead",
    "redriven",
    "cancelling",
    "cancelled",
)
"""What WATCH tells of."""

STATES = ("ready", "delayed", "leased", "dead")
"""Where a message can be while its queue holds it."""

EXPIRED_FATES = ("drop", "dead_letter")
"""What becomes of messages that have waited for longer than they live."""

_BUDGETS = (
    Field("max_attempts", Kind.COUNT, 1, limits.MAX_ATTEMPTS),
    Field("max_worker_losses", Kind.COUNT, 1, limits.MAX_ATTEMPTS),
)
_ROLE = Field("role", Kind.WORD, words=ROLE_WORDS)
_PASSWORD_CHARS = (limits.MIN_PASSWORD_CHARS, limits.MAX_TEXT_CHARS)
_PASSWORD = Field("password", Kind.TEXT, *_PASSWORD_CHARS)
_USER = Field("user", Kind.USER)
_USERS = Field("pattern", Kind.PATTERN, is_required=False)
_DELAY = Field("delay", Kind.SECONDS, 0, limits.MAX_DELAY_SECONDS)

_WAYS_BACK = (
    _DELAY,
    Field("hand_back", Kind.FLAG),
    Field("lost", Kind.FLAG),
)

_PUSH_OPTIONS = (
    Field("headers", Kind.HEADERS),
    _KEY,
    Field("priority", Kind.COUNT, 0, limits.MAX_PRIORITY),
    _DELAY,
    Field("not_before", Kind.SECONDS, 0, limits.MAX_TIME_SECONDS),
    Field("ttl", Kind.SECONDS, limits.MIN_TTL_SECONDS, limits.MAX_DELAY_SECONDS),
    *_BUDGETS,
)

_ORDER = (
    Field("ttl_seconds", Kind.SECONDS, limits.MIN_TTL_SECONDS, limits.MAX_DELAY_SECONDS),
    Field("on_expiry", Kind.WORD, words=EXPIRED_FATES),
    Field("max_leased", Kind.COUNT, 1, limits.MAX_QUEUE_MESSAGES),
    Field("expires_seconds", Kind.SECONDS, limits.MIN_EXPIRES_SECONDS, limits.MAX_DELAY_SECONDS),
    Field("dedupe_seconds", Kind.SECONDS, 0, limits.MAX_DEDUPE_SECONDS),
)
"""Options of CREATE on order and time."""

_RETRIES = (
    Field("dead_letter", Kind.NAME),
    *_BUDGETS,
    Field("backoff", Kind.WORD, words=BACKOFFS),
    Field("backoff_seconds", Kind.SECONDS, 0, limits.MAX_DELAY_SECONDS),
    Field("backoff_cap_seconds", Kind.SECONDS, 0, limits.MAX_DELAY_SECONDS),
    Field("backoff_jitter", Kind.NUMBER, 0, 1),
)

_ALL = (
    Verb(
        "AUTH",
        "say who you are",
        (Field("credentials", Kind.MAP),),
        _options(
            Field("client", Kind.TEXT),
            Field("version", Kind.COUNT, 0, 2**31),
            Field("instance", Kind.TEXT, 1, limits.MAX_INSTANCE_CHARS),
            Field("host", Kind.TEXT, 0, limits.MAX_HOST_CHARS),
            Field("keepalive", Kind.SECONDS, 1, limits.MAX_KEEPALIVE_SECONDS),
            Field("detached", Kind.FLAG),
            Field("issue", Kind.MAP),
        ),
    ),
    Verb(
        "CREATE",
        "create a queue",
        (_QUEUE,),
        _options(
            Field("max_messages", Kind.COUNT, 1, limits.MAX_QUEUE_MESSAGES),
            Field("max_bytes", Kind.COUNT, 1, limits.MAX_QUEUE_BYTES),
            _DURABILITY,
            *_RETRIES,
            *_ORDER,
            Field(
                "keep_results_seconds",
                Kind.SECONDS,
                limits.MIN_KEEP_SECONDS,
                limits.MAX_DELAY_SECONDS,
            ),
            Field("if_missing", Kind.FLAG),
        ),
    ),
    Verb("DELETE", "delete a queue and its messages", (_QUEUE,)),
    Verb(
        "LIST",
        "list queues by pattern",
        (Field("pattern", Kind.PATTERN, is_required=False),),
    ),
    Verb("INFO", "show one queue", (_QUEUE,)),
    Verb(
        "PUSH",
        "append messages to a queue",
        (
            _QUEUE,
            Field("count", Kind.COUNT, 1, limits.MAX_MESSAGES_PER_FRAME),
            Field("pack", Kind.PACK),
        ),
        _options(
            *_PUSH_OPTIONS,
            _DURABILITY,
        ),
    ),
    Verb(
        "PULL",
        "return the oldest messages: remove them, or keep them under a lease",
        (_QUEUE, _MAX),
        _options(
            Field("wait", Kind.SECONDS, 0, limits.MAX_WAIT_SECONDS),
            Field("lease", *_LEASE_SECONDS),
            _DURABILITY,
        ),
    ),
    Verb(
        "ACK",
        "say that leased messages are done",
        (_LEASE,),
        _options(
            _IDS,
            _RESULT,
            _DURABILITY,
        ),
    ),
    Verb(
        "NACK",
        "give leased messages back",
        (_LEASE,),
        _options(
            _IDS,
            _REASON,
            *_WAYS_BACK,
            _DURABILITY,
        ),
    ),
    Verb(
        "EXTEND",
        "let a lease run on",
        (_LEASE, Field("seconds", *_LEASE_SECONDS)),
        _options(_IDS),
    ),
    Verb(
        "REJECT",
        "say that leased messages are never to be tried again",
        (_LEASE,),
        _options(_IDS, _REASON, _DURABILITY),
    ),
    Verb(
        "STEP",
        "settle leases and push messages, all or nothing",
        (
            Field("parts", Kind.PARTS, 1, limits.MAX_STEP_PARTS),
            Field("pack", Kind.PACK, is_required=False),
        ),
        _options(_KEY, _DURABILITY),
    ),
    Verb(
        "REDRIVE",
        "let dead messages be tried again",
        (_QUEUE,),
        _options(
            _MAX, _IDS, Field("cause", Kind.WORD, words=causes.CAUSES), Field("origin", Kind.NAME)
        ),
    ),
    Verb(
        "HOLDERS",
        "list who holds leases",
        (Field("pattern", Kind.PATTERN, is_required=False),),
        _options(_MAX),
    ),
    Verb(
        "WAKE",
        "end one of this connection's waiting requests now",
        (Field("request", Kind.COUNT, 1, limits.MAX_REQUEST_ID),),
    ),
    Verb(
        "PEEK",
        "return messages without removing them",
        (_QUEUE, _MAX),
        _options(
            Field("skip", Kind.COUNT, 0, limits.MAX_QUEUE_MESSAGES),
            Field("state", Kind.WORD, words=STATES),
            Field("id", Kind.COUNT, 1, limits.MAX_REQUEST_ID),
        ),
    ),
    Verb(
        "STATUS",
        "tell where messages are, now or once they have come to an end",
        (_QUEUE, _IDS),
        _options(Field("wait", Kind.SECONDS, 0, limits.MAX_WAIT_SECONDS)),
    ),
    Verb(
        "WATCH",
        "tell what happens from now on, as frames of this request's id",
        (Field("pattern", Kind.PATTERN, is_required=False),),
        _options(
            Field("events", Kind.WORDS, words=EVENTS),
            Field("credit", Kind.COUNT, 1, limits.MAX_CREDIT),
        ),
    ),
    Verb(
        "CREDIT",
        "let one of this connection's watches send more events",
        (
            Field("request", Kind.COUNT, 1, limits.MAX_REQUEST_ID),
            Field("events", Kind.COUNT, 1, limits.MAX_CREDIT),
        ),
    ),
    Verb(
        "UNWATCH",
        "end one of this connection's watches",
        (Field("request", Kind.COUNT, 1, limits.MAX_REQUEST_ID),),
    ),
    Verb(
        "CANCEL",
        "remove messages that wait, and tell the holders of those that are leased",
        (_QUEUE, _IDS),
        _options(_DURABILITY),
    ),
    Verb(
        "PURGE",
        "remove messages of a queue",
        (_QUEUE,),
        _options(Field("state", Kind.WORD, words=PURGEABLE)),
    ),
    Verb("PAUSE", "deliver no messages of a queue", (_QUEUE,)),
    Verb("RESUME", "deliver messages of a queue again", (_QUEUE,)),
    Verb("USERS", "list users by pattern", (_USERS,)),
    Verb("ADMIT", "add a user", (_USER, _ROLE, _PASSWORD)),
    Verb(
        "ALTER",
        "change a user",
        (_USER,),
        _options(_ROLE, _PASSWORD, Field("disabled", Kind.FLAG)),
    ),
    Verb("EXPEL", "remove a user", (_USER,)),
    Verb(
        "PASSWORD",
        "change one's own password",
        (Field("old", Kind.TEXT), Field("new", Kind.TEXT, *_PASSWORD_CHARS)),
    ),
    Verb(
        "ISSUE",
        "make a token for oneself",
        options=_options(
            _ROLE,
            Field("lifetime", Kind.SECONDS, limits.MIN_TOKEN_SECONDS, limits.MAX_TOKEN_SECONDS),
            Field("comment", Kind.TEXT),
        ),
    ),
    Verb("TOKENS", "list one's own tokens, or those of users by pattern", (_USERS,)),
    Verb("REVOKE", "end a token", (Field("token", Kind.COUNT, 1, limits.MAX_REQUEST_ID),)),
    Verb("PING", "ask whether the server answers"),
    Verb("STATS", "show the server's figures"),
    Verb("SNAPSHOT", "make a snapshot of the state now"),
    Verb(
        "BACKUP",
        "make a snapshot and hold it, or return a piece of the one that is held",
        (Field("offset", Kind.COUNT, 0, limits.MAX_REQUEST_ID, is_required=False),),
    ),
    Verb(
        "FRAMES",
        "return the newest records of the frame log",
        options=_options(
            Field("after", Kind.COUNT, 0, limits.MAX_REQUEST_ID),
            _MAX,
            Field("context", Kind.COUNT, 0, limits.MAX_TAIL_ENTRIES),
        ),
    ),
)

SECRET_VERBS = frozenset({"AUTH", "ADMIT", "ALTER", "PASSWORD"})
"""The verbs whose requests carry passwords or tokens: no log may hold these."""

STEP_PARTS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("ACK", "say that leased messages are done", (_LEASE,), _options(_IDS, _RESULT)),
        Verb("NACK", "give leased messages back", (_LEASE,), _options(_IDS, _REASON, *_WAYS_BACK)),
        Verb(
            "REJECT",
            "say that leased messages are never to be tried again",
            (_LEASE,),
            _options(_IDS, _REASON),
        ),
        Verb(
            "PUSH",
            "append the next messages of the step's pack to a queue",
            (_QUEUE, Field("count", Kind.COUNT, 1, limits.MAX_MESSAGES_PER_FRAME)),
            _options(*_PUSH_OPTIONS),
        ),
    )
}
"""The parts of a STEP: as requests of the same name, with neither id nor durability."""

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}
