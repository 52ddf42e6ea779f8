from __future__ import annotations

import socket

import pytest

from mqclient import calls, polling
from mqclient.codecs import decoders
from mqclient.errors import ConfigurationError
from mqclient.messages import Source
from mqclient.polling import MAX_POLL_SECONDS, POLL_SECONDS, POLL_VARIABLE, Polling, polling_of

SOURCE = Source("jobs", decoders("json"), None)
PING = calls.ping()
PUSH = calls.push("jobs", 1, b"\x01", None, 1)
PULL = calls.pull(SOURCE, 1, 0.0)
WAIT = calls.pull(SOURCE, 1, 60.0)


class World:
    """A socket and a clock in one: each look takes a microsecond, and to be woken fifty."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reply_at = 0.0
        self.polling = Polling(self.look, 0.0001, self.clock)

    def look(self):
        self.now += 1e-6
        return self.now >= self.reply_at

    def clock(self):
        return self.now

    def exchange(self, call, reply_seconds):
        """Carry a call out; return how many seconds were spent looking."""
        began = self.now
        self.reply_at = self.now + reply_seconds
        gamble = self.polling.gamble_of(call)
        if gamble.looks:
            self.polling.run(gamble)
        spent = self.now - began
        if self.now < self.reply_at:
            self.now = self.reply_at + 50e-6
        gamble.took(self.now - began)
        return spent


def test_a_reply_that_comes_soon_is_looked_for():
    world = World()
    spent = [world.exchange(PUSH, 0.00002) for _ in range(10_000)]
    assert spent[0] == pytest.approx(0.00002, abs=2e-6)
    assert sum(map(bool, spent[5000:])) > 0.95 * 5000


def test_a_reply_is_looked_for_no_longer_than_the_bound():
    assert World().exchange(PUSH, 3600) == pytest.approx(0.0001, abs=2e-6)


def test_replies_that_take_longer_cost_next_to_nothing():
    world = World()
    spent = sum(world.exchange(PUSH, 0.001) for _ in range(10_000))
    assert spent <= 40 * 0.0001


def test_verbs_are_judged_apart_and_pulls_that_wait_too():
    world = World()
    for _ in range(1000):
        world.exchange(PUSH, 0.001)
        world.exchange(WAIT, 60)
    assert world.exchange(PULL, 0.00002) > 0
    assert world.exchange(PING, 0.00002) > 0


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(polling, "usable_cores", lambda allowed, read: cores.count)  # noqa: ARG005
    monkeypatch.delenv(POLL_VARIABLE, raising=False)

    class Cores:
        count = 2

    cores = Cores()
    return cores


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_a_socket_is_looked_at_without_waiting(cores, pair):
    near, far = pair
    looking = polling_of(near)
    assert not looking._look()
    far.send(b"x")
    assert looking._look()
    assert looking._seconds == POLL_SECONDS


def test_nothing_is_looked_at_on_less_than_two_cores(cores, pair):
    cores.count = 1.5
    assert polling_of(pair[0]) is None


def test_the_variable_says_how_long(cores, pair, monkeypatch):
    monkeypatch.setenv(POLL_VARIABLE, "0.00002")
    assert polling_of(pair[0])._seconds == 0.00002
    monkeypatch.setenv(POLL_VARIABLE, str(MAX_POLL_SECONDS))
    assert polling_of(pair[0])._seconds == MAX_POLL_SECONDS
    monkeypatch.setenv(POLL_VARIABLE, "0")
    assert polling_of(pair[0]) is None


@pytest.mark.parametrize("text", ["0.011", "-0.001", "nan", "inf", "a while"])
def test_a_variable_without_sense_is_refused(cores, pair, monkeypatch, text):
    monkeypatch.setenv(POLL_VARIABLE, text)
    with pytest.raises(ConfigurationError, match=POLL_VARIABLE):
        polling_of(pair[0])


def test_the_cores_of_this_machine_can_be_told(pair, monkeypatch):
    monkeypatch.setattr(polling.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert polling_of(pair[0]) is None
    monkeypatch.delattr(polling.os, "sched_getaffinity")
    monkeypatch.setattr(polling.os, "cpu_count", lambda: 1)
    assert polling_of(pair[0]) is None
