"""What answers look like. Floor 2: data only.

These classes describe answers for the OpenAPI document, and tests hold the answers to them; the
hot ones are built without them. A member that has nothing to tell may be left out.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Shape(msgspec.Struct, kw_only=True):
    """The base of all shapes."""


class KnownToken(Shape):
    """A token of a user, by its id."""

    id: int
    user: str
    role: str
    comment: str
    made_at: float
    expires_at: float


class Token(KnownToken, kw_only=True):
    """A token, which is sent as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`."""

    token: str
    token_type: str


class Tokens(Shape):
    """Several of them."""

    tokens: list[KnownToken]


class User(Shape):
    """A user; one that is not managed stands in the server's configuration."""

    user: str
    role: str
    is_managed: bool
    is_disabled: bool
    tokens: int
    made_at: float | None
    changed_at: float | None


class Users(Shape):
    """Several of them, by name."""

    users: list[User]


class Who(Shape):
    """Who asks, as mqd knows them.

    `is_managed` tells whether the password can be changed here; null if mqd does not say.
    """

    user: str
    role: str
    is_managed: bool | None
    server: str
    version: str
    protocol: int
    durability: str
    token_id: int | None
    expires_at: float | None
    max_body_bytes: int
    max_messages: int


class Queue(Shape):
    """A queue, with its figures of the moment."""

    queue: str
    ready: int
    delayed: int
    leased: int
    dead: int
    bytes: int
    waiting: int
    is_paused: bool
    pushed: int
    pulled: int
    acked: int
    purged: int
    moved: int
    expired: int
    cancelled: int
    oldest_age_seconds: float | None
    oldest_delayed_age_seconds: float | None
    oldest_leased_age_seconds: float | None
    oldest_dead_age_seconds: float | None
    created_at: float
    options: dict[str, Any]


class Queues(Shape):
    """Queues by name."""

    queues: list[Queue]


class Removed(Shape):
    """How many messages went."""

    removed: int


class Pushed(Shape):
    """Messages that were pushed: `count` of them, with consecutive ids from `first` on."""

    queue: str
    first: int
    count: int
    durability: str
    is_repeat: bool


class AtWork(Shape):
    """A lease that a pull has given."""

    id: str
    seconds: float


class Message(Shape):
    """A message."""

    id: int
    body: Any
    encoding: str = "json"
    headers: dict[str, Any] = {}
    deliveries: int = 1
    attempts: int = 0
    losses: int = 0


class Pulled(Shape):
    """Messages, and the lease that they are under, if they are."""

    queue: str
    messages: list[Message]
    lease: AtWork | None = None


class Attempt(Shape):
    """A delivery that ended otherwise than with an ack."""

    owner: Any
    leased_at: float
    ended_at: float
    cause: str
    reason: str


class Origin(Shape):
    """Where a dead letter came from."""

    queue: str
    id: int
    pushed_at: float
    attempts: int
    losses: int


class Seen(Message, kw_only=True):
    """A message that was looked at."""

    state: str
    history: list[Attempt] = []
    origin: Origin | None = None
    due_at: float | None = None
    lease: str | None = None
    holder: str | None = None
    deadline_at: float | None = None


class Peeked(Shape):
    """Messages that were looked at; `state` is null where one was looked for and is not there."""

    queue: str
    state: str | None
    messages: list[Seen]


class Place(Shape):
    """A message of a queue."""

    queue: str
    id: int


class Status(Shape):
    """Where a message is, and what has become of it."""

    id: int
    state: str
    position: int | None = None
    due_at: float | None = None
    lease: str | None = None
    holder: str | None = None
    leased_at: float | None = None
    deadline_at: float | None = None
    user: str | None = None
    client: str | None = None
    host: str | None = None
    peer: str | None = None
    is_cancelled: bool = False
    deliveries: int | None = None
    attempts: int | None = None
    losses: int | None = None
    result: Any = None
    result_encoding: str | None = None
    cause: str | None = None
    error: str | None = None
    moved_to: Place | None = None
    ended_at: float | None = None


class Statuses(Shape):
    """Several of them, in the order of their ids."""

    queue: str
    statuses: list[Status]


class Settled(Shape):
    """How many messages were settled."""

    count: int


class Extended(Shape):
    """Ids of messages under the lease that were cancelled, and are not to be worked on."""

    cancelled: list[int]


class Stepped(Shape):
    """What each part came to: how many messages were settled, or the first id pushed."""

    results: list[int]


class Cancelled(Shape):
    """How many messages were removed, and how many marked that are under leases."""

    removed: int
    marked: int


class Holder(Shape):
    """A lease and who holds it."""

    queue: str
    lease: str
    count: int
    holder: str
    user: str
    client: str
    host: str
    peer: str
    leased_at: float
    deadline_at: float
    is_connected: bool


class LoggedFrame(Shape):
    """A frame of the log: `frame` is null where it could not be decoded."""

    number: int
    at: float
    time: str
    connection: int
    direction: str
    source: str
    destination: str
    user: str
    verb: str | None
    queue: str | None
    code: str | None
    seconds: float | None
    bytes: int
    frame: list[Any] | None


class LoggedFrames(Shape):
    """Frames, the oldest first.

    `last` leads on; `missed` and `cut` tell what is not told: records that are in the log's files
    alone (null if nobody knows how many), and frames over the limit.
    """

    frames: list[LoggedFrame]
    last: int
    missed: int | None
    cut: int
    level: str


class Holders(Shape):
    """Leases, the oldest first."""

    holders: list[Holder]


class Redriven(Shape):
    """How many messages are tried again."""

    moved: int


class Snapshot(Shape):
    """A snapshot that mqd has made."""

    number: int
    records: int
    bytes: int
    seconds: float


class Health(Shape):
    """That the process answers, or that it reaches mqd."""

    status: str


class Problem(Shape):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool
    details: dict[str, Any]
    in_doubt: bool | None = None


class Dead(Shape):
    """Dead letters. `dead` and `ready` are the queue's figures."""

    queue: str
    dead_letter: str | None
    dead: int
    ready: int
    messages: list[Seen]


class Task(Status, kw_only=True):
    """A task: where it is, and what has become of it."""

    queue: str
    task: Any = None
    headers: dict[str, Any] = {}
    encoding: str | None = None


class Tasks(Shape):
    """Tasks in one state; `before` leads to the next ones, where there may be more."""

    queue: str
    state: str
    tasks: list[Task]
    before: int | None = None
