"""Pushes with options and keys, by both clients, on a real server that also dies."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

import mqclient
from mqwire.frames import FrameReader
from support.both_clients import KINDS, ClientMaker
from support.server import PASSWORD, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture
def client(server, queue: str, make_client) -> Any:
    client = make_client(server.url)
    client.create(queue)
    return client


# Options


def test_higher_priorities_come_first(client, queue: str):
    for priority in (None, 200, 5):
        client.push(queue, priority, priority=priority)
    assert [message.body for message in client.pull_many(queue, 3)] == [200, None, 5]


def test_what_is_delayed_is_not_ready(client, queue: str):
    client.push(queue, "in an hour", delay=3600)
    client.push_many(queue, ["at a time"], not_before=datetime(2099, 1, 1, tzinfo=timezone.utc))
    client.push(queue, "past", not_before=1)
    info = client.info(queue)
    assert (info.ready, info.delayed) == (1, 2)
    assert info.oldest_delayed_age_seconds is not None
    due = [message.due_at for message in client.peek(queue, 9, state="delayed")]
    assert sorted(due)[1] == 4070908800.0
    with pytest.raises(mqclient.ConflictingOptions):
        client.push(queue, 1, delay=1, not_before=1)


def test_budgets_of_a_message(client, queue: str):
    client.push(queue, 1, max_attempts=1, max_worker_losses=1)
    loop = getattr(client, "loop", None)
    lease = client.lease(queue)
    done = lease.nack()
    if loop is not None:
        loop.run_until_complete(done)
    assert client.info(queue).dead == 1
    assert client.redrive(queue, cause="expired") == 0
    assert client.redrive(queue, cause="nack") == 1
    assert client.info(queue).ready == 1


def test_what_expires_is_counted(client, queue: str):
    client.push(queue, 1, ttl=0.001)
    deadline = time.monotonic() + 20
    while not client.info(queue).expired:
        assert time.monotonic() < deadline
    assert client.pull(queue) is None


def test_pauses(client, queue: str):
    client.push(queue, 1)
    client.pause(queue)
    assert client.info(queue).is_paused
    assert client.pull(queue) is None
    client.resume(queue)
    client.resume(queue)
    assert not client.info(queue).is_paused
    assert client.pull(queue).body == 1


# Keys


def test_a_key_that_comes_again_changes_nothing(client, queue: str):
    assert client.push(queue, "a", key="k") == 1
    assert client.push(queue, "b") == 2
    assert client.push(queue, "a", key="k") == 1
    assert client.push_many(queue, ["c", "d"], key="m") == [3, 4]
    assert client.push_many(queue, ["c", "d"], key="m") == [3, 4]
    with pytest.raises(mqclient.KeyReused):
        client.push(queue, "z", key="k")
    assert client.info(queue).pushed == 4


class Cutter:
    """Stands before a server, and loses the replies to pushes.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.losses = 0
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        return f"mq://admin:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.port))
                except OSError:  # nobody is there just now
                    near.close()
                    continue
                pushes: set[int] = set()
                for arguments in ((near, far, pushes, False), (far, near, pushes, True)):
                    threading.Thread(target=self._pass, args=arguments, daemon=True).start()

    def _pass(self, source: Any, target: Any, pushes: set[int], is_back: bool) -> None:
        reader = FrameReader(1 << 30)
        with source, suppress(OSError):
            while data := source.recv(1 << 16):
                for frame in reader.feed(data):
                    if not is_back and frame[0] == "PUSH":
                        pushes.add(frame[1])
                    if is_back and frame[0] in pushes and self.losses:
                        self.losses -= 1
                        self.lost += 1
                        for sock in (source, target):
                            with suppress(OSError):
                                sock.shutdown(socket.SHUT_RDWR)
                        return
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutter_before(port: int) -> Iterator[Cutter]:
    cutter = Cutter(port)
    try:
        yield cutter
    finally:
        cutter.close()


def test_a_push_whose_reply_is_lost_is_there_once(server, queue: str, make_client):
    with cutter_before(server.port) as cutter:
        client = make_client(cutter.url)
        client.create(queue)
        cutter.losses = 2
        assert client.push(queue, "a") == 1
        cutter.losses = 1
        assert client.push_many(queue, ["b", "c"]) == [2, 3]
        assert cutter.lost == 3
        assert client.info(queue).pushed == 3


def test_without_keys_a_lost_reply_is_a_doubt(server, queue: str, make_client):
    with cutter_before(server.port) as cutter:
        client = make_client(cutter.url)
        client.create(queue, dedupe_seconds=0)
        for each in (client, make_client(cutter.url, keys=False)):
            each.info(queue)
            cutter.losses = 1
            with pytest.raises(mqclient.ConnectionLost) as caught:
                each.push(queue, "a")
            assert caught.value.in_doubt
        assert client.info(queue).pushed == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_push_survives_a_restart_of_the_server(kind: str):
    maker = ClientMaker(kind)
    with running_server() as first, cutter_before(first.port) as cutter:
        client = maker(cutter.url, timeout=60)
        client.create("q")
        assert client.push("q", "before") == 1
        cutter.losses = 1
        pushed: list[Any] = []
        worker = threading.Thread(target=lambda: pushed.append(client.push("q", "lost")))
        cutter.port = 1  # nobody is there until the next server is
        worker.start()
        deadline = time.monotonic() + 20
        while not cutter.lost:
            assert time.monotonic() < deadline
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        with running_server(directory=first.directory) as second:
            cutter.port = second.port
            worker.join(30)
            assert pushed == [2]
            assert client.info("q").pushed == 2
            maker.close()
