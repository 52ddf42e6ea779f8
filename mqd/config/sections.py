"""The configuration itself: one frozen `Config` of frozen sections.

What it is: every key with its default, its bounds and its line of explanation,
in one place; mqd.yaml and the messages to the operator are made from it.
What it is not: where values come from, which `mqd.config.loading` knows. Making
a `Config` reads nothing and changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mqd.config.kinds import Boolean, Choice, Integer, Seconds, Text
from mqd.config.printing import yaml_text
from mqd.config.problems import ConfigError, Problem
from mqd.config.users import UserEntry, Users
from mqwire import limits
from mqwire.address import DEFAULT_ADDRESS_FILE
from mqwire.framelog import BINARY, JSONL
from mqwire.levels import LEVELS, Level
from mqwire.verbs import BACKOFFS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.config.kinds import Kind

_BODY_OVERHEAD_BYTES: Final = limits.MAX_HEADERS_BYTES + limits.FRAME_OVERHEAD_BYTES
_DAY_SECONDS: Final = 86_400

SEGMENT_FRAMES: Final = 4
"""The largest frames that a segment has to hold: what was taken must find its place in the
last one on a disk that becomes full."""


@dataclass(frozen=True)
class Key:
    """What there is to know about a key beyond its name and default.

    Args:
        kind: what it takes.
        doc: what it does, a sentence or two for the operator.
        flag: the flag of `mqd` that sets it, or empty.
    """

    kind: Kind
    doc: str
    flag: str = ""


def _key(default: Any, kind: Kind, doc: str, *, flag: str = "") -> Any:
    return field(default=default, metadata={"key": Key(kind, doc, flag)})


def _path(default: str | None, doc: str, *, flag: str = "", null: str = "") -> Any:
    kind = Text("a path", 4096, is_optional=bool(null), null_means=null)
    return _key(default, kind, doc, flag=flag)


@dataclass(frozen=True)
class Section:
    """What all sections share: their values are checked when they are made.

    Raises:
        ConfigError: with every value of the section that its key does not take.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for item in fields(self):
            key: Key = item.metadata["key"]
            try:
                value = key.kind.read(f"{self.section}.{item.name}", getattr(self, item.name))
            except ConfigError as error:
                problems += error.problems
            else:
                object.__setattr__(self, item.name, value)
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class ServerConfig(Section):
    """Where the server listens and how it runs."""

    section: ClassVar[str] = "server"

    host: str = _key(
        "127.0.0.1",
        Text("a host name or an address", 253, r"[A-Za-z0-9._:%-]+"),
        "Address to listen on. 127.0.0.1 serves this machine alone, 0.0.0.0 every network.",
        flag="--host",
    )
    port: int = _key(
        7500,
        Integer(0, 65_535),
        "TCP port to listen on. 0 takes a free one, which the address file then tells.",
        flag="--port",
    )
    unix_socket: str | None = _key(
        None,
        Text("a path", 107, is_optional=True, null_means="no such socket"),
        "Unix socket to listen on, beside the TCP port.",
        flag="--unix-socket",
    )
    address_file: str | None = _path(
        DEFAULT_ADDRESS_FILE,
        "File that tells clients of the same user where the server is, and lets them in as "
        "administrators. Each server needs its own.",
        flag="--address-file",
        null="no such file",
    )
    loop: str = _key(
        "auto",
        Choice(("auto", "uvloop", "asyncio")),
        "Event loop. auto takes uvloop, and asyncio where uvloop is not installed.",
        flag="--loop",
    )
    busy_poll_seconds: float = _key(
        0.00005,
        Seconds(0.01, "never"),
        "How long the server looks for the next request before it sleeps, after one that was "
        "answered, and where that is found to be faster. Clients that wait for each reply are "
        "served sooner, for more processor time. Never on a single core.",
    )
    log_level: str = _key(
        "info",
        Choice(("debug", "info", "warning", "error")),
        "Least severe messages that go to standard error.",
    )


@dataclass(frozen=True)
class QueuesConfig(Section):
    """Of new queues: bounds, which are default and cap, and what retries they have."""

    section: ClassVar[str] = "queues"

    max_messages: int = _key(
        1_000_000,
        Integer(1, limits.MAX_QUEUE_MESSAGES, "messages"),
        "Most messages that one queue holds.",
    )
    max_bytes: int = _key(
        1024 * limits.MIB,
        Integer(1, limits.MAX_QUEUE_BYTES, "bytes"),
        "Most bytes, bodies and headers together, that one queue holds.",
    )
    max_queues: int = _key(
        10_000,
        Integer(1, 1_000_000, "queues"),
        "Most queues that the server holds.",
    )
    backoff: str = _key(
        "exponential",
        Choice(BACKOFFS),
        "How long a message that has failed is kept back, in a queue that does not say: a second "
        "after the first failure, and with exponential twice as long after each further one, "
        "an hour at most. With none it is tried again at once, before all that came after it.",
    )
    max_worker_losses: int = _key(
        5,
        Integer(1, limits.MAX_ATTEMPTS, "workers"),
        "How many workers a message may take with it (killed, cut off, out of time) until it is "
        "dead, in a queue that does not say.",
    )


@dataclass(frozen=True)
class LeasesConfig(Section):
    """Who keeps the messages that were pulled under a lease."""

    section: ClassVar[str] = "leases"

    grace_seconds: float = _key(
        15.0,
        Seconds(_DAY_SECONDS),
        "How long a worker whose last connection has broken, or whose server was restarted, has "
        "to come back before its messages are given to others, even if their lease would run "
        "on.",
    )


@dataclass(frozen=True)
class StorageConfig(Section):
    """Where the server keeps what it keeps, and what OK promises."""

    section: ClassVar[str] = "storage"

    path: str = _path(
        "~/.mqd/data",
        "Data directory, made with mode 0700 where it is missing.",
        flag="--data-dir",
    )
    durability: str = _key(
        Level.SYNCED.word,
        Choice(tuple(LEVELS)),
        "What has happened to a change when its OK leaves the server, where neither the request "
        "nor the queue says otherwise. synced: it is on the disk and survives loss of power; "
        "written: it is in the kernel and survives the death of the server; accepted: it is in "
        "memory, and on the disk within about a second.",
    )
    journal: bool = _key(
        True,
        Boolean(),
        "Whether the state is kept on disk at all. false keeps it in memory alone: everything "
        "ends with the process, and every reply says accepted.",
    )
    segment_bytes: int = _key(
        64 * limits.MIB,
        Integer(64 * limits.KIB, 4096 * limits.MIB, "bytes"),
        "Space that is reserved for a file of the journal, and for the next one ahead of it. At "
        f"least {SEGMENT_FRAMES} times limits.max_frame_bytes.",
    )
    snapshot_interval_seconds: float = _key(
        60.0,
        Seconds(_DAY_SECONDS),
        "How often a snapshot of the state takes the place of the journal before it, if "
        "anything has changed. Another process makes it; a journal that grows past the state "
        "is dealt with earlier.",
    )
    allow_network_filesystem: bool = _key(
        False,
        Boolean(),
        "Whether the data directory may lie on NFS, Lustre and the like, where locks and syncs "
        "may not mean what they say: two servers may use one directory, and what is promised "
        "may be lost.",
    )
    resident_bytes: int = _key(
        32 * limits.MIB,
        Integer(limits.MIB, 2**50, "bytes"),
        "How much of the bodies of waiting messages is kept in memory, over all queues. What is "
        "beyond that is put aside in files without names in the data directory's file system, "
        "and comes back when it is to be pulled. The first pack of each queue stays, however "
        "large, and so does what may expire. Nothing is put aside without a journal.",
    )


@dataclass(frozen=True)
class FrameLogConfig(Section):
    """The record of every request and reply."""

    section: ClassVar[str] = "frame_log"

    level: str = _key(
        "full",
        Choice(("full", "headers", "off")),
        "full records every frame whole, credentials removed; headers puts size and hash in "
        "the place of bodies; off records nothing.",
    )
    path: str | None = _path(
        None,
        "Directory of the frame log.",
        null="the directory frames inside storage.path",
    )
    format: str = _key(
        BINARY,
        Choice((BINARY, JSONL)),
        "binary records frames as they are on the wire; jsonl writes a line of JSON for each "
        "frame, the same as mqctl log --json, which makes some tens of thousands of frames a "
        "second, and clients wait where more come. mqctl log reads both.",
    )
    compress: bool = _key(
        True,
        Boolean(),
        "Whether closed files are compressed with gzip, by another process of low priority.",
    )
    max_file_bytes: int = _key(
        256 * limits.MIB,
        Integer(4 * limits.KIB, 2**40, "bytes"),
        "A file that has so much is closed and the next one begun. One read or write of a "
        "connection is never cut, so a file may be larger by what has gathered.",
    )
    max_file_seconds: float = _key(
        float(_DAY_SECONDS),
        Seconds(366 * _DAY_SECONDS),
        "A file that is so old is closed and the next one begun, unless it is empty.",
    )
    max_total_bytes: int = _key(
        10 * 1024 * limits.MIB,
        Integer(4 * limits.KIB, 2**50, "bytes"),
        "Most that all files have together on disk, the present one counted as full; the "
        "oldest are removed. At least max_file_bytes.",
    )
    max_age_seconds: float = _key(
        30.0 * _DAY_SECONDS,
        Seconds(36_600 * _DAY_SECONDS),
        "A file that was closed so long ago is removed.",
    )


@dataclass(frozen=True)
class AuthConfig(Section):
    """Who may come in, beside the owner of the address file."""

    section: ClassVar[str] = "auth"

    users: tuple[UserEntry, ...] = _key(
        (),
        Users(),
        "Users with passwords. An entry looks like this: "
        '{name: ada, role: agent, password_hash: "$argon2id$..."}. admin may do everything, '
        "agent (or manager) may push, pull and look, secretary may look and manage users, "
        "user (or basic) may look.",
    )
    timeout_seconds: float = _key(
        10.0,
        Seconds(3600),
        "A connection that has not authenticated after this time is closed.",
    )

    max_users: int = _key(
        1000,
        Integer(0, limits.MAX_MANAGED_USERS, "users"),
        "Most users that may be added while the server serves, beside those above.",
    )
    token_seconds: float = _key(
        7 * 24 * 3600.0,
        Seconds(limits.MAX_TOKEN_SECONDS),
        "How long a token lives that was asked for without a time.",
    )
    max_token_seconds: float = _key(
        float(limits.MAX_TOKEN_SECONDS),
        Seconds(limits.MAX_TOKEN_SECONDS),
        "How long a token may live at most.",
    )
    max_tokens: int = _key(
        10_000,
        Integer(0, limits.MAX_TOKENS, "tokens"),
        "Most tokens of all users together.",
    )
    max_tokens_per_user: int = _key(
        100,
        Integer(0, limits.MAX_TOKENS, "tokens"),
        "Most tokens of one user.",
    )
    finish_seconds: float = _key(
        float(limits.MAX_LEASE_SECONDS),
        Seconds(limits.MAX_LEASE_SECONDS),
        "How long a connection whose credentials have ended may finish what it holds.",
    )

    @property
    def users_by_name(self) -> dict[str, UserEntry]:
        """The users by name."""
        return {user.name: user for user in self.users}


@dataclass(frozen=True)
class LimitsConfig(Section):
    """What clients may ask of the server."""

    section: ClassVar[str] = "limits"

    max_connections: int = _key(
        16_000,
        Integer(1, 1_000_000, "connections"),
        "Most connections at a time. The process needs as many open files.",
    )
    max_frame_bytes: int = _key(
        limits.MAX_FRAME_BYTES,
        Integer(limits.MIN_FRAME_BYTES, limits.HARD_MAX_FRAME_BYTES, "bytes"),
        "Largest body of a frame, both ways.",
    )
    max_body_bytes: int = _key(
        limits.MAX_BODY_BYTES,
        Integer(1, limits.HARD_MAX_FRAME_BYTES - _BODY_OVERHEAD_BYTES, "bytes"),
        "Largest encoded body of a message. At most max_frame_bytes less "
        f"{_BODY_OVERHEAD_BYTES}, so that a frame can carry it with its headers.",
    )
    max_waits_per_connection: int = _key(
        limits.MAX_WAITS_PER_CONNECTION,
        Integer(1, limits.MAX_WAITS_PER_CONNECTION, "requests"),
        "Most PULLs of one connection that wait at a time.",
    )
    max_unsent_bytes: int = _key(
        limits.MIB,
        Integer(4 * limits.KIB, 1024 * limits.MIB, "bytes"),
        "A connection whose unsent output passes this is not read until it has shrunk.",
    )
    unsent_timeout_seconds: float = _key(
        60.0,
        Seconds(_DAY_SECONDS),
        "A client that reads nothing of its unsent output for this long is cut off.",
    )
    max_frames_per_turn: int = _key(
        256,
        Integer(1, 65_536, "frames"),
        "Most frames of one connection that are handled before others have their turn.",
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration; `Config()` is the default one.

    Raises:
        ConfigError: values that do not go together.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    queues: QueuesConfig = field(default_factory=QueuesConfig)
    leases: LeasesConfig = field(default_factory=LeasesConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    frame_log: FrameLogConfig = field(default_factory=FrameLogConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        most = self.limits.max_frame_bytes - _BODY_OVERHEAD_BYTES
        if self.limits.max_body_bytes > most:
            sentence = (
                f"a body of {self.limits.max_body_bytes} bytes does not fit into a frame: with "
                f"limits.max_frame_bytes at {self.limits.max_frame_bytes} it takes at most {most}"
            )
            raise ConfigError([Problem("limits.max_body_bytes", sentence)])
        least = SEGMENT_FRAMES * self.limits.max_frame_bytes
        if self.storage.segment_bytes < least:
            sentence = (
                f"{self.storage.segment_bytes} bytes hold too few frames: with "
                f"limits.max_frame_bytes at {self.limits.max_frame_bytes} it takes at least "
                f"{least}; lower that, and limits.max_body_bytes, for smaller segments"
            )
            raise ConfigError([Problem("storage.segment_bytes", sentence)])
        log = self.frame_log
        if log.max_total_bytes < log.max_file_bytes:
            sentence = (
                f"{log.max_total_bytes} bytes of files cannot hold one file: with "
                f"frame_log.max_file_bytes at {log.max_file_bytes} it takes at least that"
            )
            raise ConfigError([Problem("frame_log.max_total_bytes", sentence)])

    @property
    def storage_path(self) -> Path:
        """The data directory, `~` expanded.

        Raises:
            ConfigError: as the other paths do, if nothing tells the home directory.
        """
        return _expanded("storage.path", self.storage.path)

    @property
    def frame_log_path(self) -> Path:
        """The directory of the frame log, `~` expanded."""
        if self.frame_log.path is None:
            return self.storage_path / "frames"
        return _expanded("frame_log.path", self.frame_log.path)

    @property
    def unix_socket_path(self) -> Path | None:
        """The Unix socket, `~` expanded; None for none."""
        path = self.server.unix_socket
        return None if path is None else _expanded("server.unix_socket", path)

    @property
    def address_file_path(self) -> Path | None:
        """The address file, `~` expanded; None for none."""
        path = self.server.address_file
        return None if path is None else _expanded("server.address_file", path)

    def to_yaml(self) -> str:
        """Return the configuration as commented YAML, password hashes hidden."""
        return yaml_text(self.sections)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections, in the order of mqd.yaml."""
        return tuple(getattr(self, item.name) for item in fields(self))


def _expanded(path: str, text: str) -> Path:
    expanded = os.path.expanduser(text)  # noqa: PTH111  Path's own raises RuntimeError
    if expanded.startswith("~"):
        sentence = f"the home directory of '{text}' cannot be told; give the path without ~"
        raise ConfigError([Problem(path, sentence)])
    return Path(expanded).absolute()


SECTIONS: Final[dict[str, type[Section]]] = {
    kind.section: kind
    for kind in (
        ServerConfig,
        QueuesConfig,
        LeasesConfig,
        StorageConfig,
        FrameLogConfig,
        AuthConfig,
        LimitsConfig,
    )
}
"""The sections by name, in the order of mqd.yaml."""


def _all_keys() -> Iterator[tuple[str, Key]]:
    for name, section in SECTIONS.items():
        for item in fields(section):
            yield f"{name}.{item.name}", item.metadata["key"]


KEYS: Final[dict[str, Key]] = dict(_all_keys())
"""Every key by its dotted path."""
