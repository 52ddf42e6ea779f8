from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mqclient import errors
from mqclient.ctl import output
from mqclient.messages import Message, Source
from support.ctl import Ctl, FakeClient


@pytest.fixture
def ctl():
    made = Ctl()
    made.client = JobsClient()
    return made


@pytest.fixture
def terminal(monkeypatch):
    """A person watches both outputs."""
    monkeypatch.setattr(output, "stdout_is_terminal", lambda: True)
    monkeypatch.setattr(output, "stderr_is_terminal", lambda: True)


@pytest.fixture
def person(terminal, monkeypatch):
    """And can be asked."""
    monkeypatch.setattr(output, "person_is_there", lambda: True)


def message(message_id: int, queue: str, raw: Any = "null", headers=None, **columns: Any):
    """Make a message as a client reads it, with columns as they are on the wire."""
    made = Message(message_id, raw, headers or {}, Source(queue, {}, None, 0))
    made._more = columns
    return made


@pytest.fixture
def make_message():
    return message


class FakeJob:
    """A job whose settlements are written down at its client."""

    def __init__(self, client: JobsClient, of: Any) -> None:
        self.message = of
        self.id, self.queue, self.headers = of.id, of.queue, of.headers
        self.deliveries, self.attempts = 1, 0
        self.is_lost = False
        self.is_cancelled = False
        self._client = client

    def raise_if_lost(self):
        raise errors.LeaseLost("LEASE_LOST", "the lease is over")

    def done(self, push=None):
        self._settle("done", *([] if push is None else [push]))

    def fail(self, reason):
        self._settle("fail", reason)

    def reject(self, reason):
        self._settle("reject", reason)

    def hand_back(self):
        self._settle("hand_back")

    def _settle(self, *how):
        self._client.settlements.append((self.id, *how))
        if self._client.refusal is not None:
            raise self._client.refusal


class FakeConsumer:
    def __init__(self, client: JobsClient, queue: str, wait: float | None) -> None:
        self._client, self._queue, self._wait = client, queue, wait

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __next__(self):
        client = self._client
        client._called("next", self._queue, self._wait)
        with client.lock:
            messages = client._queue(self._queue).messages
            if messages and not client.is_draining:
                job = FakeJob(client, messages.pop(0))
                client.jobs.append(job)
                return job
        if self._wait is None:
            client.drained.wait()
        raise StopIteration


@dataclass
class JobsClient(FakeClient):
    """Knows of jobs, too."""

    dead: dict[str, list[Any]] = field(default_factory=dict)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the infos of queues tell otherwise."""
    held: list[Any] = field(default_factory=list)
    settlements: list[tuple[Any, ...]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    """What each push has said beside its messages."""
    refusal: Exception | None = None
    """What every settlement is answered with."""
    jobs: list[FakeJob] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.drained = threading.Event()

    @property
    def is_draining(self):
        return self.drained.is_set()

    def create(self, queue, **options):
        plain = {"max_messages", "max_bytes", "durability", "if_missing"}
        life = {name: options.pop(name) for name in list(options) if name not in plain}
        super().create(queue, **options)
        self.more[queue] = {"options": life}
        return self.info(queue)

    def info(self, queue):
        known = {"dead": len(self.dead.get(queue, ())), **self.more.get(queue, {})}
        return replace(super().info(queue), **known)

    def peek(self, queue, count=1, *, skip=0, state=None):
        if state == "dead":
            self._called("peek", queue, count, skip, state)
            return self.dead.get(queue, [])[skip : skip + count]
        return super().peek(queue, count, skip=skip)

    def purge(self, queue, *, state=None):
        if state is None:
            return super().purge(queue)
        self._called("purge", queue, state)
        return len(self.dead.pop(queue, ()))

    def redrive(self, queue, *, ids=None, count=None, **which):
        self._called("redrive", queue, ids, count, *([which] if which else []))
        there = self.dead.get(queue, [])
        moved = [each for each in there if ids is None or each.id in ids][:count]
        self.dead[queue] = [each for each in there if each not in moved]
        return len(moved)

    def holders(self, pattern=None):
        self._called("holders", pattern)
        return self.held

    def push_many(self, queue, bodies, *, headers=None, on_progress=None, durability=None, **more):
        self.said.append(more)
        return super().push_many(
            queue, bodies, headers=headers, on_progress=on_progress, durability=durability
        )

    def pause(self, queue):
        self._called("pause", queue)
        self._queue(queue)

    def resume(self, queue):
        self._called("resume", queue)
        self._queue(queue)

    def consume(self, queue, *, lease, wait, handle_signals):
        assert not handle_signals
        self._called("consume", queue, lease, wait)
        return FakeConsumer(self, queue, wait)

    def drain(self):
        self.drained.set()
