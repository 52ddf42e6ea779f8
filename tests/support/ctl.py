"""`mqctl` in this process, talking to a client that keeps its queues in a dict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from mqclient import errors
from mqclient.backups import Backup
from mqclient.codecs import Encoder
from mqclient.ctl.app import cli
from mqclient.ctl.session import Session
from mqclient.models import Limits, QueueInfo, ServerInfo, SnapshotInfo

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class FakeMessage:
    id: int
    queue: str
    raw: Any
    headers: dict[str, Any] = field(default_factory=dict)
    deliveries: int = 0
    attempts: int = 0
    losses: int = 0
    priority: int = 128
    history: tuple[Any, ...] = ()
    origin: Any = None
    due_at: float | None = None
    expires_at: float | None = None
    lease: Any = None
    holder: str | None = None
    deadline_at: float | None = None
    state: str | None = None


@dataclass
class FakeQueue:
    messages: list[FakeMessage] = field(default_factory=list)
    last_id: int = 0
    max_messages: int = 1000
    max_bytes: int = 2048
    durability: str = "synced"


SNAPSHOT = SnapshotInfo(number=3, records=1200, bytes=2048, seconds=0.25)
STATS = {
    "server": {"version": "9.9", "started_at": 1_800_000_000.0, "uptime_seconds": 75.5, "epoch": 4},
    "queues": {"count": 2, "ready": 12345, "bytes": 4096, "waiting": 0},
    "connections": {"open": 1, "limit": 1000, "opened": 7, "refused": 0},
    "requests": {"frames": 20, "errors": 1, "pushed": 30, "pulled": 10},
    "rates": {"seconds": 60.0, "frames": 1234.56, "pushed": 0.0, "pulled": 0.5},
    "journal": {
        "durability": "synced",
        "segments": 2,
        "bytes": 3 * 1024**2,
        "backlog_bytes": 0,
        "written_bytes": 1024,
        "batches": 9,
        "syncs": 8,
        "sync_seconds_mean": 0.00012345,
        "sync_seconds_max": 1.5,
        "is_full": False,
    },
    "snapshot": {"number": 3, "records": 1200, "bytes": 2048, "seconds": 0.25, "age_seconds": None},
    "recovery": {"seconds": 0.0, "decision": "nothing was there"},
    "frame_log": None,
}


class FakeClient:
    """Does what `mqclient.Client` does, as far as `mqctl` can tell."""

    def __init__(self) -> None:
        self.queues_by_name: dict[str, FakeQueue] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.levels: list[str | None] = []
        """The level that each push and pull asked for."""
        self.before: dict[str, Callable[..., object]] = {}
        self.server = ServerInfo("ann", "admin", "mqd", "9.9", 1, "accepted", Limits())

    def __enter__(self):
        self._called("connect")
        return self

    def __exit__(self, *_):
        self.calls.append(("close",))

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] in self.before:
            self.before[call[0]](*call[1:])

    def _queue(self, queue: str) -> FakeQueue:
        if queue not in self.queues_by_name:
            raise errors.QueueNotFound("QUEUE_NOT_FOUND", f"there is no queue '{queue}'")
        return self.queues_by_name[queue]

    def create(
        self, queue, *, max_messages=None, max_bytes=None, durability=None, if_missing=False
    ):
        self._called("create", queue, max_messages, max_bytes, if_missing)
        if queue in self.queues_by_name and not if_missing:
            raise errors.QueueExists("QUEUE_EXISTS", f"queue '{queue}' exists")
        new = FakeQueue(durability=durability or self.server.durability)
        self.queues_by_name.setdefault(queue, new)
        return self.info(queue)

    def delete(self, queue):
        self._called("delete", queue)
        count = len(self._queue(queue).messages)
        del self.queues_by_name[queue]
        return count

    def queues(self, pattern=None):
        self._called("queues", pattern)
        prefix = (pattern or "*").rstrip("*")
        return [self.info(name) for name in sorted(self.queues_by_name) if name.startswith(prefix)]

    def info(self, queue):
        found = self._queue(queue)
        ready = len(found.messages)
        return QueueInfo(
            queue=queue,
            ready=ready,
            bytes=2048 * ready,
            oldest_age_seconds=75.5 if ready else None,
            pushed=found.last_id,
            pulled=found.last_id - ready,
            purged=0,
            waiting=0,
            max_messages=found.max_messages,
            max_bytes=found.max_bytes,
            durability=found.durability,
            created_at=1_800_000_000.0,
        )

    def push_many(self, queue, bodies, *, headers=None, on_progress=None, durability=None):
        self.levels.append(durability)
        bodies = list(bodies)
        found = self._queue(queue)
        ids = []
        for number, body in enumerate(bodies, 1):
            self._called("push", body)
            raw = Encoder("json").encode(body)
            found.last_id += 1
            found.messages.append(FakeMessage(found.last_id, queue, raw, dict(headers or {})))
            ids.append(found.last_id)
            if on_progress is not None:
                on_progress(number)
        return ids

    def pull_many(self, queue, count, *, wait=0.0, durability=None):
        self.levels.append(durability)
        self._called("pull_many", queue, count, wait)
        found = self._queue(queue)
        taken, found.messages = found.messages[:count], found.messages[count:]
        return taken

    def peek(self, queue, count=1, *, skip=0):
        self._called("peek", queue, count, skip)
        return self._queue(queue).messages[skip : skip + count]

    def peek_one(self, queue, message_id):
        self._called("peek_one", queue, message_id)
        found = (each for each in self._queue(queue).messages if each.id == message_id)
        message = next(found, None)
        return None if message is None else replace(message, state="leased")

    def purge(self, queue):
        self._called("purge", queue)
        found = self._queue(queue)
        count, found.messages = len(found.messages), []
        return count

    def stats(self):
        self._called("stats")
        return STATS

    def snapshot(self, *, timeout=None):
        self._called("snapshot", timeout)
        return SNAPSHOT

    def backup(self, file, *, overwrite=False, on_progress=None, timeout=None):
        """Write half of it, then the whole, as `before` lets it."""
        target = Backup(file, overwrite=overwrite)
        try:
            for result in (SNAPSHOT, b"x" * 1024, b"y" * 1024, b""):
                self._called("backup", timeout)
                target.take(result)
                target.tell(on_progress)
        except BaseException:
            target.discard()
            raise
        return target.info

    def ping(self):
        self._called("ping")
        return 0.00125


class Ctl:
    """Runs command lines against one fake client."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.sessions: list[Session] = []

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Result:
        session = Session(open_client=self._open)
        return CliRunner().invoke(cli, list(arguments), input=stdin, obj=session)

    def _open(self, session: Session) -> FakeClient:
        self.sessions.append(session)
        return self.client

    def with_queue(self, *raws: Any, queue: str = "jobs") -> Ctl:
        """Make a queue that holds bodies as they are on the wire."""
        messages = [FakeMessage(number, queue, raw) for number, raw in enumerate(raws, 1)]
        self.client.queues_by_name[queue] = FakeQueue(messages, len(raws))
        return self

    def raws(self, queue: str = "jobs") -> list[Any]:
        """Return the bodies in a queue as they are on the wire."""
        return [message.raw for message in self.client.queues_by_name[queue].messages]
