from __future__ import annotations

from collections import deque

import pytest

from mqd.net import busy_poll
from mqd.net.busy_poll import BusyPoll, poll_seconds


class World:
    """A loop and a clock in one: a round of the loop takes a microsecond, to be woken fifty."""

    def __init__(self, seconds: float = 0.00005) -> None:
        self.now = 1000.0
        self.ready: deque = deque()
        self.busy: set = set()
        self.polling = BusyPoll(self, seconds, self.busy, self.clock)

    def call_soon(self, callback):
        self.ready.append(callback)

    def clock(self):
        return self.now

    def idle(self, seconds):
        """Let time pass; return how many rounds the loop has gone without sleeping."""
        rounds, until = 0, self.now + seconds
        while self.now < until and self.ready:
            rounds += 1
            for _ in range(len(self.ready)):
                self.ready.popleft()()
            self.now += 1e-6
        if not self.ready:
            self.now = until + 50e-6
        return rounds


@pytest.fixture
def world():
    return World()


def test_an_idle_loop_sleeps(world):
    assert world.idle(1) == 0


def test_after_a_request_the_loop_stays_awake_for_so_long_at_most(world):
    world.polling.heard()
    assert world.idle(1) == pytest.approx(51, abs=2)
    assert world.idle(1) == 0


def test_requests_that_come_soon_are_looked_for(world):
    awake = 0
    for _ in range(10_000):
        world.polling.heard()
        awake += world.idle(0.00003) > 20
    assert awake > 0.9 * 10_000


def test_requests_that_come_later_cost_next_to_nothing(world):
    rounds = 0
    for _ in range(10_000):
        world.polling.heard()
        rounds += world.idle(0.0002)
    assert rounds <= 40 * 52


def test_requests_that_follow_no_faster_are_left_to_wake_the_loop(world):
    awake = 0
    for _ in range(10_000):
        world.polling.heard()
        awake += bool(world.idle(0.00003))
        world.now += 0.0006  # the client has its own pace
    assert awake < 0.2 * 10_000


def test_a_loop_that_waits_for_a_thread_leaves_it_the_interpreter(world):
    world.polling.heard()
    world.idle(0.00001)
    world.busy.add("a session")
    assert world.idle(1) == 1
    world.busy.clear()
    for _ in range(10):
        world.polling.heard()
        world.busy.add("a session")
        world.idle(1)
        world.busy.clear()
    world.polling.heard()
    assert world.idle(1) > 10, "none of these looks was in vain"


def test_none_is_begun_while_one_is_under_way(world):
    for _ in range(100):
        world.polling.heard()
    assert len(world.ready) == 1


def test_stopping_ends_it(world):
    world.polling.heard()
    world.polling.stop()
    assert world.idle(1) == 1
    world.polling.heard()
    assert world.idle(1) == 0


def test_zero_seconds_is_never():
    world = World(seconds=0.0)
    world.polling.heard()
    assert world.idle(1) == 0


def test_one_core_is_too_few(monkeypatch):
    monkeypatch.setattr(busy_poll, "usable_cores", lambda allowed, read: allowed)  # noqa: ARG005
    monkeypatch.setattr(busy_poll.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert poll_seconds(0.00005) == 0.00005
    monkeypatch.setattr(busy_poll.os, "sched_getaffinity", lambda _: {1}, raising=False)
    assert poll_seconds(0.00005) == 0.0
    monkeypatch.delattr(busy_poll.os, "sched_getaffinity")
    monkeypatch.setattr(busy_poll.os, "cpu_count", lambda: None)
    assert poll_seconds(0.00005) == 0.0
