"""What requests look like: forms, checked field by field when they are read. Floor 2: data only.

Unknown fields are refused. The bounds are those of the protocol; mqd judges again, by its
configuration. The OpenAPI document is made from these classes, their docstrings, and `words`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from mqwire.limits import (
    MAX_ATTEMPTS,
    MAX_DEDUPE_SECONDS,
    MAX_DELAY_SECONDS,
    MAX_KEY_CHARS,
    MAX_LEASE_SECONDS,
    MAX_MESSAGES_PER_FRAME,
    MAX_NAME_CHARS,
    MAX_PRIORITY,
    MAX_QUEUE_BYTES,
    MAX_QUEUE_MESSAGES,
    MAX_REQUEST_ID,
    MAX_STEP_PARTS,
    MAX_TEXT_CHARS,
    MAX_TIME_SECONDS,
    MAX_WAIT_SECONDS,
    MAX_WAITED_MESSAGES,
    MIN_EXPIRES_SECONDS,
    MIN_KEEP_SECONDS,
    MIN_LEASE_SECONDS,
    MIN_PASSWORD_CHARS,
    MIN_TTL_SECONDS,
)

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Id: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Ids: TypeAlias = Annotated[list[Id], Meta(min_length=1, max_length=MAX_MESSAGES_PER_FRAME)]
FewIds: TypeAlias = Annotated[
    list[Id],
    Meta(min_length=1, max_length=MAX_WAITED_MESSAGES),
]
Durability: TypeAlias = Literal["accepted", "written", "synced"]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_MESSAGES_PER_FRAME)]
Budget: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)]
Delay: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_DELAY_SECONDS)]
Wait: TypeAlias = Annotated[
    float,
    Meta(ge=0, le=MAX_WAIT_SECONDS),
]
LeaseSeconds: TypeAlias = Annotated[float, Meta(ge=MIN_LEASE_SECONDS, le=MAX_LEASE_SECONDS)]
LeaseText: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,20}-[0-9]{1,20}$",
        examples=["3-17"],
    ),
]
Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
Headers: TypeAlias = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={"type": ["object", "null"]},
    ),
]
"""They are read by `mqweb.bodies`, which makes nothing of what is no scalar."""
Encoding: TypeAlias = Literal["json", "text", "base64"]
Role: TypeAlias = Literal[
    "admin", "administrator", "agent", "basic", "manager", "secretary", "user"
]
NewPassword: TypeAlias = Annotated[
    str, Meta(min_length=MIN_PASSWORD_CHARS, max_length=MAX_TEXT_CHARS)
]
Reason: TypeAlias = Annotated[str, Meta(max_length=100_000)]


class Form(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The base of all forms."""


class NoQuery(Form):
    """For operations that take no query."""


class Login(Form):
    """A user and password, for a token."""

    user: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    password: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    role: Role | None = None
    lifetime: Annotated[float, Meta(ge=1, le=MAX_DELAY_SECONDS)] | None = None
    comment: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None = None


class TokensQuery(Form):
    """Whose tokens."""

    users: (
        Annotated[
            str,
            Meta(
                max_length=MAX_NAME_CHARS,
            ),
        ]
        | None
    ) = None


class UsersQuery(Form):
    """Which users."""

    pattern: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None


class UserForm(Form):
    """A user that is to be added."""

    user: Name
    role: Role
    password: NewPassword


class ChangeForm(Form):
    """What is to be changed about a user."""

    role: Role | None = None
    password: NewPassword | None = None
    disabled: bool | None = None


class PasswordForm(Form):
    """A new password for oneself."""

    old: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    new: NewPassword


class QueuesQuery(Form):
    """Which queues."""

    pattern: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None


class QueueForm(Form):
    """A queue that is to be created. What is left out is as the server has it."""

    queue: Name
    if_missing: bool = False
    max_messages: Annotated[int, Meta(ge=1, le=MAX_QUEUE_MESSAGES)] | None = None
    max_bytes: Annotated[int, Meta(ge=1, le=MAX_QUEUE_BYTES)] | None = None
    durability: Durability | None = None
    dead_letter: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_NAME_CHARS,
            ),
        ]
        | None
    ) = None
    max_attempts: Budget | None = None
    max_worker_losses: Budget | None = None
    backoff: Literal["none", "fixed", "linear", "exponential"] | None = None
    backoff_seconds: Delay | None = None
    backoff_cap_seconds: Delay | None = None
    backoff_jitter: Annotated[float, Meta(ge=0, le=1)] | None = None
    ttl_seconds: Annotated[float, Meta(ge=MIN_TTL_SECONDS, le=MAX_DELAY_SECONDS)] | None = None
    on_expiry: Literal["drop", "dead_letter"] | None = None
    max_leased: Annotated[int, Meta(ge=1, le=MAX_QUEUE_MESSAGES)] | None = None
    expires_seconds: Annotated[float, Meta(ge=MIN_EXPIRES_SECONDS, le=MAX_DELAY_SECONDS)] | None = (
        None
    )
    dedupe_seconds: Annotated[float, Meta(ge=0, le=MAX_DEDUPE_SECONDS)] | None = None
    keep_results_seconds: (
        Annotated[float, Meta(ge=MIN_KEEP_SECONDS, le=MAX_DELAY_SECONDS)] | None
    ) = None


class PurgeForm(Form):
    """Which messages are to go."""

    state: Literal["waiting", "dead"] = "waiting"


class PushOptions(Form):
    """How messages are pushed."""

    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] | None = None
    delay: Delay | None = None
    not_before: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=MAX_TIME_SECONDS,
            ),
        ]
        | None
    ) = None
    ttl: (
        Annotated[
            float,
            Meta(
                ge=MIN_TTL_SECONDS,
                le=MAX_DELAY_SECONDS,
            ),
        ]
        | None
    ) = None
    max_attempts: Budget | None = None
    max_worker_losses: Budget | None = None
    durability: Durability | None = None


class BodyForm(Form):
    """A message that is to be pushed."""

    body: msgspec.Raw
    encoding: Encoding = "json"
    headers: Headers | msgspec.UnsetType = msgspec.UNSET


class PushForm(PushOptions):
    """Messages that are to be pushed: one as `body`, or many as `messages`, all or none."""

    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    encoding: Encoding = "json"
    headers: Headers | msgspec.UnsetType = msgspec.UNSET
    messages: (
        Annotated[list[BodyForm], Meta(min_length=1, max_length=MAX_MESSAGES_PER_FRAME)] | None
    ) = None


class PushQuery(PushOptions):
    """How a body that is no form is pushed."""

    raw: bool = False
    headers: str | None = None


class PullQuery(Form):
    """What is pulled."""

    max: Count = 1
    wait: Wait = 0.0
    lease: LeaseSeconds | None = None
    durability: Durability | None = None


class PeekQuery(Form):
    """Which messages are looked at."""

    state: (
        Annotated[
            Literal["ready", "delayed", "leased", "dead"],
            Meta(description="`ready` if it is left out, or any with `id`."),
        ]
        | None
    ) = None
    max: Count = 20
    skip: Annotated[int, Meta(ge=0, le=2**32)] = 0
    id: Annotated[int, Meta(ge=1, le=MAX_REQUEST_ID, description="That message alone.")] | None = (
        None
    )


class StatusQuery(Form):
    """Whether a status is waited for."""

    wait: Wait = 0.0


class StatusForm(Form):
    """Messages that are asked after."""

    ids: FewIds
    wait: Wait = 0.0


class CancelForm(Form):
    """Messages that are not needed any more."""

    ids: FewIds
    durability: Durability | None = None


class AckForm(Form):
    """Messages that are done."""

    ids: Ids | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    encoding: Encoding = "json"
    durability: Durability | None = None


class NackForm(Form):
    """Messages that come back."""

    ids: Ids | None = None
    reason: Reason = ""
    delay: Delay | None = None
    hand_back: bool = False
    lost: bool = False
    durability: Durability | None = None


class RejectForm(Form):
    """Messages that are never to be tried again."""

    ids: Ids | None = None
    reason: Reason = ""
    durability: Durability | None = None


class ExtendForm(Form):
    """How long a lease runs from now on, or some of its messages."""

    seconds: LeaseSeconds
    ids: Ids | None = None


class AckPart(Form, tag_field="do", tag="ack"):
    """A part of a step: messages are done."""

    lease: LeaseText
    ids: Ids | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    encoding: Encoding = "json"


class NackPart(Form, tag_field="do", tag="nack"):
    """A part of a step: messages come back."""

    lease: LeaseText
    ids: Ids | None = None
    reason: Reason = ""
    delay: Delay | None = None
    hand_back: bool = False
    lost: bool = False


class RejectPart(Form, tag_field="do", tag="reject"):
    """A part of a step: messages are dead."""

    lease: LeaseText
    ids: Ids | None = None
    reason: Reason = ""


class PushPart(Form, tag_field="do", tag="push"):
    """A part of a step: messages are pushed."""

    queue: Name
    messages: Annotated[list[BodyForm], Meta(min_length=1, max_length=MAX_MESSAGES_PER_FRAME)]
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] | None = None
    delay: Delay | None = None
    not_before: Annotated[float, Meta(ge=0, le=MAX_TIME_SECONDS)] | None = None
    ttl: Annotated[float, Meta(ge=MIN_TTL_SECONDS, le=MAX_DELAY_SECONDS)] | None = None
    max_attempts: Budget | None = None
    max_worker_losses: Budget | None = None


class StepForm(Form):
    """Settlements and pushes of which all happen, or none."""

    parts: Annotated[
        list[AckPart | NackPart | RejectPart | PushPart],
        Meta(min_length=1, max_length=MAX_STEP_PARTS),
    ]
    durability: Durability | None = None


class HoldersQuery(Form):
    """Which leases."""

    pattern: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    max: Count = 1000


class RedriveForm(Form):
    """Which dead messages are tried again: one of `ids`, `max` and `all` is said."""

    ids: Ids | None = None
    max: Count | None = None
    all: bool = False
    cause: Annotated[str, Meta(max_length=32)] | None = None
    origin: Name | None = None


class EventsQuery(Form):
    """What is told."""

    pattern: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None
    events: Annotated[str, Meta(max_length=1024)] | None = None


class FramesQuery(Form):
    """Which frames of the log."""

    after: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MAX_REQUEST_ID,
            ),
        ]
        | None
    ) = None
    queue: Name | None = None
    verb: Annotated[str, Meta(max_length=64)] | None = None
    user: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None = None
    peer: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None = None
    connection: Annotated[int, Meta(ge=0, le=MAX_REQUEST_ID)] | None = None
    direction: Literal["in", "out"] | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    errors: bool = False
    changes: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class DeadQuery(Form):
    """Which dead letters."""

    max: Count = 50
    skip: Annotated[int, Meta(ge=0, le=2**32)] = 0


TaskState: TypeAlias = Literal["queued", "processing", "completed", "failed", "cancelled"]


class TaskForm(PushOptions, kw_only=True):
    """A task that is submitted."""

    task: msgspec.Raw
    headers: Headers | msgspec.UnsetType = msgspec.UNSET


class TakeQuery(Form):
    """How a task is taken."""

    lease: LeaseSeconds = 60.0
    wait: Wait = 0.0


class CompleteForm(Form):
    """What came of a task."""

    lease: LeaseText
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class FailForm(Form):
    """Why a task has failed."""

    lease: LeaseText
    error: Reason = ""
    retry: bool = True


class TasksQuery(Form):
    """Which tasks."""

    state: TaskState = "queued"
    max: Annotated[int, Meta(ge=1, le=1000)] = 50
    skip: Annotated[int, Meta(ge=0, le=2**32)] = 0
    before: Id | None = None
