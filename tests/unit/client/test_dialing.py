from __future__ import annotations

import socket

import pytest

from mqclient import dialing
from mqclient.dialing import Dialing
from mqclient.errors import (
    AuthFailed,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    RequestTimeout,
    ShuttingDown,
    server_error,
)
from mqclient.url import Credentials, Endpoint, Route

HERE, THERE = Endpoint("here", 1), Endpoint("there", 2)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(dialing, "monotonic", lambda: self.now)


class Target:
    def __init__(self, *endpoints: Endpoint, stale: str = "") -> None:
        self._route = Route(endpoints, Credentials({"token": "t"}), stale)
        self.reads = 0

    def __str__(self) -> str:
        return "the target"

    def route(self) -> Route:
        self.reads += 1
        return self._route


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("refused"),
        FileNotFoundError("no socket"),
        ConnectionLost("in the middle of AUTH"),
        RequestTimeout("late"),
        server_error("SHUTTING_DOWN", "no"),
        server_error("AUTH_BUSY", "no"),
        server_error("TOO_MANY_CONNECTIONS", "no"),
        socket.gaierror(socket.EAI_AGAIN, "again"),
    ],
)
def test_what_may_pass_is_tried_again(clock: Clock, error: Exception):
    dial = Dialing(Target(HERE), 10)
    dial.attempt()
    assert 0 < dial.pause_after(error) <= 0.02
    assert dial.attempt().endpoint == HERE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (server_error("AUTH_FAILED", "no"), AuthFailed),
        (ProtocolError("no mqd"), ProtocolError),
        (ConnectFailed("no file"), ConnectFailed),
        (PermissionError("not yours"), ConnectFailed),
        (socket.gaierror(socket.EAI_NONAME, "no such host"), ConnectFailed),
    ],
)
def test_what_will_not_pass_ends_it(clock: Clock, error: Exception, kind: type[Exception]):
    dial = Dialing(Target(HERE), 10)
    dial.attempt()
    with pytest.raises(kind):
        dial.pause_after(error)


def test_pauses_grow_with_jitter_up_to_a_bound_and_the_time_ends_them(clock: Clock):
    dial = Dialing(Target(HERE), 10)
    pauses: list[float] = []

    def dial_until_it_ends():
        while True:
            dial.attempt()
            pauses.append(dial.pause_after(ConnectionRefusedError("refused")))
            clock.now += pauses[-1]

    with pytest.raises(ConnectFailed, match="the target within 10 s: refused; is the server"):
        dial_until_it_ends()
    assert clock.now <= 110
    assert sum(pauses) > 8
    for number, pause in enumerate(pauses):
        full = min(0.02 * 2**number, 1.0)
        assert full / 2 <= pause <= full


def test_at_the_end_the_servers_own_error_counts(clock: Clock):
    dial = Dialing(Target(HERE), 1)
    dial.attempt()
    clock.now += 2
    with pytest.raises(ShuttingDown):
        dial.pause_after(server_error("SHUTTING_DOWN", "no"))


def test_all_addresses_are_tried_before_a_pause_and_share_the_time(clock: Clock):
    target = Target(HERE, THERE)
    dial = Dialing(target, 10)
    first = dial.attempt()
    assert (first.endpoint, first.seconds) == (HERE, 5)
    assert dial.pause_after(PermissionError()) == 0
    second = dial.attempt()
    assert (second.endpoint, second.seconds) == (THERE, 10)
    assert dial.pause_after(ConnectionRefusedError()) > 0
    assert dial.attempt().endpoint == HERE
    assert target.reads == 2


def test_a_stale_file_ends_it_unless_a_server_was_there_before(clock: Clock):
    dial = Dialing(Target(HERE, stale="it is stale"), 10)
    dial.attempt()
    with pytest.raises(ConnectFailed, match="it is stale"):
        dial.pause_after(ConnectionRefusedError())
    dial = Dialing(Target(HERE, stale="it is stale"), 10, is_again=True)
    dial.attempt()
    assert dial.pause_after(ConnectionRefusedError()) > 0
    clock.now += 20
    with pytest.raises(ConnectFailed, match=r"cannot connect.*it is stale"):
        dial.pause_after(ConnectionRefusedError())


def test_a_file_that_is_gone_is_waited_for_if_a_server_was_there_before(clock: Clock):
    dial = Dialing(Target(HERE), 10, is_again=True)
    assert dial.pause_after(ConnectFailed("no file")) > 0


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (ConnectionRefusedError("refused"), True),
        (TimeoutError(), True),
        (PermissionError("the socket"), False),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
    ],
)
def test_whether_a_later_server_would_mend_it(clock: Clock, error: Exception, may_pass: bool):
    dial = Dialing(Target(HERE), 10)
    dial.attempt()
    clock.now += 20
    with pytest.raises(ConnectFailed) as caught:
        dial.pause_after(error)
    assert caught.value.may_pass is may_pass
