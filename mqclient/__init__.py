"""The client library of mqd. Floor 1: uses mqwire alone.

`Client` blocks, `AsyncClient` is for asyncio; both have the same methods and
the same behaviour, described at `Client`. What they do is decided in modules
without I/O, around which each puts its own way of sending and waiting:

    calls, steps      what a request sends and how its reply is read; loops of several
    inflight          the requests of a connection: ids, replies, losses, giving up
    cutting           any number of bodies into frames
    pipelines         calls that are sent in one go
    backups           the pieces of a backup into a file
    messages, codecs, typed    bodies: read late, decoded, restored to dataclasses
    driver, async_driver       how the clients carry calls out
    options, keys     what a push or a queue may be told beside; the keys of pushes
    leases, jobs, consuming    work under a lease: the plain verbs; one job; one after the other
    keeper, keeping, holdings  the process beside this one that extends the leases of jobs
    account_calls     users and tokens
    view_calls, tracking, watching    what becomes of single messages; what happens, as it does
    probing           when a silent connection is asked, and when it is taken for lost
    url, dialing      where the server is; when to try again
    blocking, streaming        the two kinds of connection
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mqwire import __version__

if TYPE_CHECKING:
    from mqclient.account_models import NewToken, TokenInfo, UserInfo
    from mqclient.async_client import AsyncClient
    from mqclient.batches import Messages
    from mqclient.client import Client
    from mqclient.codecs import Codec, JsonText
    from mqclient.consuming import AsyncConsumer, Consumer
    from mqclient.errors import (
        AccessDenied,
        ArgumentError,
        AuthBusy,
        AuthEnded,
        AuthEnding,
        AuthFailed,
        AuthTimeout,
        BadHeaders,
        BadName,
        BadPack,
        BadPrefix,
        BodyError,
        BodyTooLarge,
        ConfigurationError,
        ConflictingOptions,
        ConnectFailed,
        ConnectionLost,
        Drained,
        FrameTooLarge,
        IdInUse,
        InterfaceError,
        Internal,
        JobCancelled,
        KeyReused,
        LastAdministrator,
        LeaseLost,
        MalformedFrame,
        MqError,
        NoBackup,
        NoFrameLog,
        NoJournal,
        NotAnAddressFile,
        NotAuthenticated,
        NotLeased,
        OutOfRange,
        ProtocolError,
        QueueExists,
        QueueFull,
        QueueNotFound,
        RequestTimeout,
        ServerError,
        ShuttingDown,
        SnapshotFailed,
        StorageFull,
        TokenNotFound,
        TooManyConnections,
        TooManyMessages,
        TooManyQueues,
        TooManyTokens,
        TooManyUsers,
        TooManyWaits,
        TransportError,
        UnknownOption,
        UnknownServerError,
        UnknownVerb,
        UnsupportedVersion,
        UserConfigured,
        UserExists,
        UserNotFound,
        WrongArity,
        WrongType,
    )
    from mqclient.jobs import AsyncJob, Job
    from mqclient.leases import AsyncLease, Lease
    from mqclient.log_models import LoggedFrame, LogTail
    from mqclient.messages import Message
    from mqclient.models import (
        Attempt,
        Holder,
        LeaseId,
        Limits,
        Origin,
        QueueInfo,
        ServerInfo,
        SnapshotInfo,
    )
    from mqclient.pipelines import AsyncPipeline, Pipeline
    from mqclient.view_models import Cancellation, Event, Place, Status
    from mqclient.watching import AsyncWatch, Watch

__all__ = [
    "AccessDenied",
    "ArgumentError",
    "AsyncClient",
    "AsyncConsumer",
    "AsyncJob",
    "AsyncLease",
    "AsyncPipeline",
    "AsyncWatch",
    "Attempt",
    "AuthBusy",
    "AuthEnded",
    "AuthEnding",
    "AuthFailed",
    "AuthTimeout",
    "BadHeaders",
    "BadName",
    "BadPack",
    "BadPrefix",
    "BodyError",
    "BodyTooLarge",
    "Cancellation",
    "Client",
    "Codec",
    "ConfigurationError",
    "ConflictingOptions",
    "ConnectFailed",
    "ConnectionLost",
    "Consumer",
    "Drained",
    "Event",
    "FrameTooLarge",
    "Holder",
    "IdInUse",
    "InterfaceError",
    "Internal",
    "Job",
    "JobCancelled",
    "JsonText",
    "KeyReused",
    "LastAdministrator",
    "Lease",
    "LeaseId",
    "LeaseLost",
    "Limits",
    "LogTail",
    "LoggedFrame",
    "MalformedFrame",
    "Message",
    "Messages",
    "MqError",
    "NewToken",
    "NoBackup",
    "NoFrameLog",
    "NoJournal",
    "NotAnAddressFile",
    "NotAuthenticated",
    "NotLeased",
    "Origin",
    "OutOfRange",
    "Pipeline",
    "Place",
    "ProtocolError",
    "QueueExists",
    "QueueFull",
    "QueueInfo",
    "QueueNotFound",
    "RequestTimeout",
    "ServerError",
    "ServerInfo",
    "ShuttingDown",
    "SnapshotFailed",
    "SnapshotInfo",
    "Status",
    "StorageFull",
    "TokenInfo",
    "TokenNotFound",
    "TooManyConnections",
    "TooManyMessages",
    "TooManyQueues",
    "TooManyTokens",
    "TooManyUsers",
    "TooManyWaits",
    "TransportError",
    "UnknownOption",
    "UnknownServerError",
    "UnknownVerb",
    "UnsupportedVersion",
    "UserConfigured",
    "UserExists",
    "UserInfo",
    "UserNotFound",
    "Watch",
    "WrongArity",
    "WrongType",
    "__version__",
]

# Each name is imported when it is first asked for: a program that blocks never pays for
# asyncio, and `mqctl --help` for neither client.
_HOMES = {
    "AsyncClient": "async_client",
    "AsyncConsumer": "consuming",
    "AsyncJob": "jobs",
    "AsyncLease": "leases",
    "AsyncPipeline": "pipelines",
    "AsyncWatch": "watching",
    "Attempt": "models",
    "Cancellation": "view_models",
    "Client": "client",
    "Codec": "codecs",
    "Consumer": "consuming",
    "Event": "view_models",
    "Holder": "models",
    "Job": "jobs",
    "JsonText": "codecs",
    "Lease": "leases",
    "LeaseId": "models",
    "Limits": "models",
    "LogTail": "log_models",
    "LoggedFrame": "log_models",
    "Message": "messages",
    "Messages": "batches",
    "NewToken": "account_models",
    "Origin": "models",
    "Pipeline": "pipelines",
    "Place": "view_models",
    "QueueInfo": "models",
    "ServerInfo": "models",
    "SnapshotInfo": "models",
    "Status": "view_models",
    "TokenInfo": "account_models",
    "UserInfo": "account_models",
    "Watch": "watching",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
