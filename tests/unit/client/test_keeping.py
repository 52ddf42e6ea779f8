"""The keeper itself, in this process: a socket pair, a scripted server, and a pretended parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest

from mqclient import keeping as module
from mqclient.holdings import STOPPED
from mqclient.identity import Identity
from mqclient.keeping import Keeping, Parent
from mqclient.url import UrlTarget, target_from
from mqwire.frames import FrameReader, FrameWriter
from support.fake_leases import FakeLeases
from support.fake_server import PATIENCE_SECONDS, FakeServer

pytestmark = pytest.mark.timeout(30)


class PretendedParent:
    """A process whose life a test decides."""

    descriptor = None

    def __init__(self) -> None:
        self.is_gone = False
        self.stopped = False
        self.looks = 0

    def is_stopped(self) -> bool:
        self.looks += 1
        return self.stopped

    def ending(self) -> str:
        return "the worker's process ended (signal 9)"


class Worker:
    """What talks to a keeper, as `mqclient.keeper` does."""

    def __init__(self, server: FakeServer, parent: PretendedParent | None) -> None:
        self.socket, theirs = socket.socketpair()
        self.thread = threading.Thread(target=Keeping(theirs, parent).run)
        self.thread.start()
        identity = asdict(Identity("c", "me", "here", 15))
        self.tell("link", "me", UrlTarget(server.url).fields(), identity)
        self._reader = FrameReader(1 << 20)
        self._heard: list[tuple] = []

    def tell(self, *order) -> None:
        self.socket.sendall(FrameWriter().encode(order))

    def hears(self) -> tuple:
        self.socket.settimeout(PATIENCE_SECONDS)
        while not self._heard:
            self._heard += self._reader.feed(self.socket.recv(65536))
        return self._heard.pop(0)

    def ends(self) -> None:
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def parent():
    return PretendedParent()


@pytest.fixture
def leases(server: FakeServer):
    leases = FakeLeases(server)
    leases.live = {1: {7: "1", 8: "2"}, 2: {9: "3"}}
    leases._last = 2
    return leases


@pytest.fixture
def worker(server: FakeServer, leases, parent):
    worker = Worker(server, parent)
    yield worker
    worker.socket.close()
    worker.ends()


def test_it_extends_as_the_same_instance(worker, leases: FakeLeases, server: FakeServer):
    worker.tell("hold", "me", [3, 1], 0.3)
    leases.until(lambda them: len(them.extended) >= 3)
    [auth] = server.frames("AUTH")
    assert auth[3] == {
        "client": "c",
        "version": 1,
        "instance": "me",
        "host": "here",
        "keepalive": 15,
    }
    worker.tell("release", "me", [3, 1])
    worker.tell("hold", "me", [3, 2], 0.15)
    leases.until(lambda them: (2, 0.15) in them.extended)


def test_it_connects_only_when_there_is_something_to_do(worker, leases, server: FakeServer):
    worker.tell("hold", "me", [3, 1], 3600)
    worker.tell("end")
    worker.ends()
    assert not server.peers


def test_it_tells_what_is_lost(worker, leases: FakeLeases):
    leases.end(1)
    worker.tell("hold", "me", [3, 1], 0.1)
    what, key, lease, _, details = worker.hears()
    assert (what, key, lease) == ("lost", "me", (3, 1))
    assert details["why"] == "over"
    assert len(leases.extended) == 1


def test_a_stopped_process_gets_no_extension_until_it_goes_on(
    worker, parent, leases: FakeLeases, server: FakeServer
):
    parent.stopped = True
    worker.tell("hold", "me", [3, 1], 1.5)
    worker.tell("hand_back", "me", [3, 2], None)
    leases.until(lambda them: them.returned == [9])  # that is done all the same
    leases.until(lambda _them: parent.looks >= 2)
    assert not leases.extended
    parent.stopped = False
    leases.until(lambda them: them.extended)


def test_what_a_stopped_process_is_about_to_lose_is_given_up_with_the_reason(
    worker, parent, leases: FakeLeases
):
    parent.stopped = True
    worker.tell("hold", "me", [3, 1], 0.2, [7])
    what, key, lease, text, details = worker.hears()
    assert (what, key, lease, details["why"]) == ("lost", "me", (3, 1), "over")
    assert "was stopped" in text
    leases.until(lambda them: them.failed)
    assert leases.failed == {8: {"reason": STOPPED, "lost": True}}
    assert leases.returned == [7]  # nobody had begun with it
    assert not leases.extended


def test_a_worker_that_does_not_listen_is_told_whole_frames_later(server: FakeServer):
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    keeping = Keeping(theirs, None)
    thread = threading.Thread(target=keeping.run)
    thread.start()
    text = "x" * 1000
    for number in range(500):
        keeping._tell("trouble", "me", f"{number} {text}")
    reader = FrameReader(1 << 20)
    heard = []
    while len(heard) < 200:  # more than any socket takes, and less than is kept
        heard += reader.feed(ours.recv(100_000))
    assert [int(frame[2].split()[0]) for frame in heard] == list(range(len(heard)))
    ours.close()
    thread.join()


def test_a_process_that_is_gone_has_its_leases_handed_back_as_lost(
    worker, leases: FakeLeases, server: FakeServer
):
    worker.tell("hold", "me", [3, 1], 3600)
    worker.tell("hold", "me", [3, 2], 3600)
    worker.socket.shutdown(socket.SHUT_WR)
    worker.ends()
    told = {"reason": "the worker's process ended (signal 9)", "lost": True}
    assert leases.failed == {7: told, 8: told, 9: told}


def test_a_process_that_is_gone_has_not_lost_what_it_had_not_begun(worker, leases: FakeLeases):
    worker.tell("hold", "me", [3, 1], 3600, [7, 8])
    worker.tell("begin", "me", [3, 1], 8)
    worker.socket.shutdown(socket.SHUT_WR)
    worker.ends()
    assert leases.returned == [7]
    assert list(leases.failed) == [8]


def test_a_process_that_is_gone_is_noticed_where_a_child_holds_its_socket(
    worker, parent, leases: FakeLeases, monkeypatch
):
    worker.tell("hold", "me", [3, 1], 3600)
    parent.is_gone = True
    worker.ends()
    assert set(leases.failed) == {7, 8}


def test_its_end_in_good_order_hands_back_what_it_was_told_to(worker, leases: FakeLeases):
    worker.tell("hold", "me", [3, 1], 3600)
    worker.tell("hand_back", "me", [3, 1], [8])
    worker.tell("drop", "me")
    worker.tell("end")
    worker.ends()
    assert leases.returned == [8]
    assert not leases.failed


def test_a_keeper_in_a_thread_knows_of_no_end(server: FakeServer, leases: FakeLeases):
    worker = Worker(server, None)
    worker.tell("hold", "me", [3, 1], 0.1)
    leases.until(lambda them: them.extended)
    worker.socket.close()
    worker.ends()
    assert not leases.failed


def test_it_goes_on_when_the_server_comes_back(worker, leases: FakeLeases, server: FakeServer):
    worker.tell("hold", "me", [3, 1], 0.1)
    leases.until(lambda them: them.extended)
    server.stop()
    count = len(leases.extended)
    server.start()
    leases.until(lambda them: len(them.extended) > count + 1)
    assert len(server.frames("AUTH")) == 2


def test_it_says_once_that_it_cannot_reach_the_server(worker, leases, server, monkeypatch):
    monkeypatch.setattr(module, "_DIAL_SECONDS", 0.05)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.05)
    server.stop()
    worker.tell("hold", "me", [3, 1], 0.1)
    what, key, text = worker.hears()
    assert (what, key) == ("trouble", "me")
    assert "cannot be extended just now" in text
    assert "secret" not in text
    server.start()


def test_a_refusal_of_another_kind_is_told_and_tried_again(worker, leases, server: FakeServer):
    extend = server.answers["EXTEND"]
    server.answers["EXTEND"] = lambda peer, frame: (
        peer.error(frame, "ACCESS_DENIED")
        if len(server.frames("EXTEND")) == 1
        else extend(peer, frame)
    )
    worker.tell("hold", "me", [3, 1], 0.3)
    assert "ACCESS_DENIED" in worker.hears()[2]
    leases.until(lambda them: them.extended)


def test_a_server_that_does_not_answer_is_left(worker, leases, server: FakeServer, monkeypatch):
    monkeypatch.setattr(module, "_REPLY_SECONDS", 0.1)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    extend = server.answers["EXTEND"]
    server.answers["EXTEND"] = lambda peer, frame: (
        None if len(server.frames("EXTEND")) == 1 else extend(peer, frame)
    )
    worker.tell("hold", "me", [3, 1], 0.1)
    leases.until(lambda them: them.extended)
    assert len(server.frames("AUTH")) == 2


def test_it_is_heard_as_often_as_it_promised(server: FakeServer, leases, parent):
    worker = Worker(server, parent)
    identity = asdict(Identity("c", "you", "here", 0))
    worker.tell("link", "you", UrlTarget(server.url).fields(), {**identity, "keepalive": 1})
    worker.tell("link", "you", {}, {})  # known already: nothing is made of it
    worker.tell("hold", "you", [3, 1], 3600)
    worker.tell("hand_back", "you", [3, 2], None)
    server.wait_for("PING")
    worker.tell("end")
    worker.ends()
    worker.socket.close()


def test_a_target_is_told_to_another_process(tmp_path, monkeypatch):
    for url in ("mq://me:pass%20word@[::1]:77", "mq+unix://:token@/run/s"):
        target = UrlTarget(url)
        other = target_from(target.fields())
        assert other.route() == target.route()
    from mqclient.url import FileTarget

    monkeypatch.chdir(tmp_path)
    assert target_from(FileTarget("a.json").fields()).fields() == {"file": f"{tmp_path}/a.json"}


# How a process is looked at


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def until(is_true) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline


def test_a_process_is_seen_to_be_stopped(child):
    parent = Parent(child.pid)
    assert not parent.is_stopped()
    child.send_signal(signal.SIGSTOP)
    until(parent.is_stopped)
    child.send_signal(signal.SIGCONT)
    until(lambda: not parent.is_stopped())
    assert parent.is_gone  # it is not the parent of this one


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda child: child.kill(), " (signal 9)"),
        (lambda child: child.stdin.close(), " (exit code 1)"),
        (lambda child: os.write(child.stdin.fileno(), b"x\n"), ""),
    ],
)
def test_how_a_process_ended_is_told_while_the_system_knows(child, end, how):
    parent = Parent(child.pid)
    end(child)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert parent.ending() == f"the worker's process ended{how}"
    child.wait()
    # Kernels from 6.15 on keep it with the descriptor, others have forgotten it by now.
    assert parent.ending() in (f"the worker's process ended{how}", "the worker's process ended")
    assert not parent.is_stopped()


def test_where_there_is_no_descriptor_of_a_process(monkeypatch):
    def refuse(_pid):
        raise OSError(1, "not here")

    monkeypatch.setattr(module.os, "pidfd_open", refuse)
    parent = Parent(os.getppid())
    assert parent.descriptor is None
    assert not parent.is_gone
