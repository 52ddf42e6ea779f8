"""The worker's side of the keeper, with a stand-in at the other end of its socket pair."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mqclient import keeper as module
from mqclient.keeper import Keeper
from mqclient.models import LeaseId
from mqwire.frames import FrameReader, FrameWriter
from support.fake_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from mqclient.errors import LeaseLost

ONE, TWO = LeaseId(3, 1), LeaseId(3, 2)


class Process:
    """A stand-in for the keeper's process, which only reads what it is told."""

    pid = 4711

    def __init__(self, theirs: socket.socket) -> None:
        self.socket = theirs.dup()
        self.heard: list[tuple] = []
        self.returncode = None
        self.is_killed = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        reader = FrameReader(1 << 20)
        with self.socket:
            while data := self.socket.recv(65536):
                with self._news:
                    self.heard += reader.feed(data)
                    self._news.notify_all()

    def hears(self, *orders: tuple) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while len(self.heard) < len(orders):
                assert self._news.wait(deadline - time.monotonic()), self.heard
        assert self.heard == list(orders)

    def says(self, *frame) -> None:
        self.socket.sendall(FrameWriter().encode(frame))

    def dies(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.is_killed = True

    def wait(self, _seconds: float | None = None) -> int:
        self._thread.join(PATIENCE_SECONDS)
        return 0


@pytest.fixture
def processes(monkeypatch):
    made: list[Process] = []

    def spawn(theirs):
        made.append(Process(theirs))
        return made[-1]

    monkeypatch.setattr(module, "_spawn", spawn)
    return made


@pytest.fixture
def keeper(processes):
    keeper = Keeper()
    yield keeper
    keeper.end()


LINK = ("link", "me", {"file": "/a"}, {"client": "c"})


def ignore(_error):
    pass


def test_it_starts_with_the_first_lease_and_is_told_all(keeper: Keeper, processes):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.join("me", {"file": "/b"}, {})
    assert keeper.pid is None
    keeper.hold("me", ONE, 30.0, ignore)
    assert keeper.pid == 4711
    keeper.hold("me", TWO, 5.0, ignore)
    keeper.release("me", ONE)
    keeper.release("me", ONE)
    keeper.hand_back("me", TWO, [7, 8])
    processes[0].hears(
        LINK,
        ("hold", "me", (3, 1), 30.0),
        ("hold", "me", (3, 2), 5.0),
        ("release", "me", (3, 1)),
        ("hand_back", "me", (3, 2), (7, 8)),
    )


def test_clients_share_it_and_the_last_one_ends_it(keeper: Keeper, processes):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    keeper.join("you", {"file": "/b"}, {})
    keeper.hold("you", TWO, 30.0, ignore)
    keeper.leave("me")
    keeper.leave("me")
    assert keeper.pid == 4711
    keeper.leave("you")
    assert keeper.pid is None
    processes[0].hears(
        LINK,
        ("hold", "me", (3, 1), 30.0),
        ("link", "you", {"file": "/b"}, {}),
        ("hold", "you", (3, 2), 30.0),
        ("hand_back", "me", (3, 1), None),
        ("drop", "me"),
        ("hand_back", "you", (3, 2), None),
        ("drop", "you"),
        ("end",),
    )
    assert len(processes) == 1


def test_the_end_of_the_process_hands_back_what_is_held(keeper: Keeper, processes):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    keeper.end()
    assert processes[0].heard[-3:] == [("hand_back", "me", (3, 1), None), ("drop", "me"), ("end",)]


def test_what_is_lost_is_told_once(keeper: Keeper, processes, caplog):
    lost: list[LeaseLost] = []
    is_told = threading.Event()
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, lambda error: (lost.append(error), is_told.set()))
    with caplog.at_level(logging.WARNING):
        processes[0].says("trouble", "me", "no server")
        processes[0].says("lost", "me", (3, 1), "it is over", {"why": "over"})
        assert is_told.wait(PATIENCE_SECONDS)
    [error] = lost
    assert error.details == {"why": "over"}
    assert "no server" in caplog.text
    processes[0].says("lost", "me", (3, 1), "it is over", {"why": "over"})
    keeper.release("me", ONE)
    assert len(lost) == 1


def until(is_true) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline


def test_one_that_dies_is_replaced_and_told_what_the_first_was(keeper: Keeper, processes, caplog):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    keeper.hold("me", TWO, 5.0, ignore)
    keeper.release("me", ONE)
    processes[0].dies()
    until(lambda: len(processes) == 2)
    processes[1].hears(LINK, ("hold", "me", (3, 2), 5.0))
    assert "another one is started" in caplog.text


def test_what_is_not_begun_is_told_to_the_next_one_too(keeper: Keeper, processes):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore, [7, 8, 9])
    keeper.begin("me", ONE, 7)
    keeper.begin("me", ONE, 7)
    keeper.begin("me", TWO, 7)
    keeper.hand_back("me", ONE, [9])
    processes[0].hears(
        LINK,
        ("hold", "me", (3, 1), 30.0, (7, 8, 9)),
        ("begin", "me", (3, 1), 7),
        ("hand_back", "me", (3, 1), (9,)),
    )
    processes[0].dies()
    until(lambda: len(processes) == 2)
    processes[1].hears(LINK, ("hold", "me", (3, 1), 30.0, (8,)))


def test_after_some_that_die_at_once_a_thread_does_it(keeper: Keeper, processes, monkeypatch):
    threads: list[socket.socket] = []
    monkeypatch.setattr(module, "_run_in_thread", threads.append)
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    for number in range(1, 4):
        until(lambda number=number: len(processes) == number)
        processes[-1].dies()
    until(lambda: threads)
    assert len(processes) == 3
    assert keeper.pid is None
    threads[0].close()
    until(lambda: len(threads) == 2)
    keeper.end()
    threads[1].close()


def test_one_that_does_not_read_is_killed_and_replaced(keeper: Keeper, processes, monkeypatch):
    monkeypatch.setattr(module, "_SEND_SECONDS", 0)
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    keeper._socket.shutdown(socket.SHUT_WR)  # nothing can be sent any more
    keeper.hold("me", TWO, 5.0, ignore)
    assert processes[0].is_killed
    processes[1].hears(LINK, ("hold", "me", (3, 1), 30.0), ("hold", "me", (3, 2), 5.0))


def test_a_forked_child_leaves_it_alone(keeper: Keeper, processes):
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    child = os.fork()
    if not child:  # pragma: no cover
        code = 1
        try:
            keeper.abandon()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    keeper.hold("me", TWO, 5.0, ignore)
    processes[0].hears(LINK, ("hold", "me", (3, 1), 30.0), ("hold", "me", (3, 2), 5.0))


@pytest.mark.parametrize("error", [OSError(11, "no more"), subprocess.SubprocessError("no")])
def test_where_no_process_can_be_started(monkeypatch, caplog, error):
    def refuse(*_arguments, **_options):
        raise error

    monkeypatch.setattr(module.subprocess, "Popen", refuse)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert module._spawn(theirs) is None
    assert "a thread does it" in caplog.text
    monkeypatch.setattr(module.sys, "executable", "")
    assert module._spawn(theirs) is None


def test_what_the_process_is_started_with(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda command, **how: seen.update(how, c=command)
    )
    monkeypatch.setenv("MQ_URL", "mq://me:secret@host")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        module._spawn(theirs)
    assert "-I" in seen["c"]
    assert "MQ_URL" not in seen["env"]
    assert "secret" not in repr(seen)
    assert seen["start_new_session"]


def test_the_process_starts_with_little(monkeypatch):
    started = []
    ours, theirs = socket.socketpair()
    with ours, theirs, monkeypatch.context() as patch:
        patch.setattr(module.subprocess, "Popen", lambda command, **_: started.append(command))
        module._spawn(theirs)
    [command] = started
    boot = command.index("-c") + 1
    command[boot] = command[boot].replace("main()", "print(*sys.modules)")
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    modules = set(shown.stdout.split())
    assert "mqclient.keeping" in modules
    # Each of these takes longer than all that the keeper needs.
    assert not modules & {"site", "asyncio", "uvloop", "ssl", "logging", "subprocess", "click"}


def test_a_frozen_application_is_not_started_once_more(monkeypatch, caplog):
    monkeypatch.setattr("sys.frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it was started"))
    assert module._spawn(None) is None
    assert "frozen application" in caplog.text
    assert "a thread does it" in caplog.text


@pytest.fixture
def scarce(monkeypatch):
    """Processes cannot be started for a while; threads stand in."""
    tries, threads = [], []
    monkeypatch.setattr(module, "_spawn", lambda _theirs: tries.append(1))
    monkeypatch.setattr(module, "_run_in_thread", threads.append)
    yield tries, threads
    for theirs in threads:
        theirs.close()


def test_a_process_is_tried_again_after_a_while(scarce, monkeypatch):
    tries, threads = scarce
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    keeper = Keeper()
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)
    now[0] += 1000
    keeper.hold("me", TWO, 30.0, ignore)  # something depends on the thread
    assert (len(tries), len(threads)) == (1, 1)
    keeper.release("me", ONE)
    keeper.release("me", TWO)
    keeper.hold("me", ONE, 30.0, ignore)
    assert (len(tries), len(threads)) == (2, 2)
    keeper.release("me", ONE)
    now[0] += 1
    keeper.hold("me", ONE, 30.0, ignore)  # not each time
    assert len(tries) == 2
    keeper.leave("me")
    keeper.join("me", {"file": "/a"}, {"client": "c"})
    keeper.hold("me", ONE, 30.0, ignore)  # but at each new start
    assert len(tries) == 3
    keeper.end()
