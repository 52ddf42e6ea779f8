from __future__ import annotations

import pytest

from mqd.net.ticker import LOOK_SECONDS, Ticker


class Handle:
    def __init__(self, delay, callback):
        self.delay, self.callback, self.is_cancelled = delay, callback, False

    def cancel(self):
        self.is_cancelled = True


class World:
    """A loop, an engine and a clock in one, without time of its own."""

    def __init__(self):
        self.ms = 1000
        self.deadlines = []
        self.handles = []
        self.sent = 0

    def call_later(self, delay, callback):
        self.handles.append(Handle(delay, callback))
        return self.handles[-1]

    def now_ms(self):
        return self.ms

    def next_deadline_ms(self):
        return min(self.deadlines, default=None)

    def begin_turn(self):
        pass

    def expire(self):
        self.deadlines = [when for when in self.deadlines if when > self.ms]

    def send(self):
        self.sent += 1

    @property
    def armed(self):
        return [handle for handle in self.handles if not handle.is_cancelled]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def ticker(world):
    return Ticker(world, world, world.now_ms, world.send)


def test_nothing_due_means_no_timer(world, ticker):
    ticker.arm()
    assert world.armed == []


def test_there_is_one_timer_for_the_earliest(world, ticker):
    for when in (5000, 3000, 4000, 3000):
        world.deadlines.append(when)
        ticker.arm()
    [handle] = world.armed
    assert handle.delay == 2.0


def test_a_tick_expires_sends_and_arms_for_the_next(world, ticker):
    world.deadlines = [3000, 5000]
    ticker.arm()
    world.ms = 3000
    world.armed[0].callback()
    assert world.deadlines == [5000]
    assert world.sent == 1
    assert world.handles[-1].delay == 2.0


def test_a_deadline_that_is_past_is_due_at_once(world, ticker):
    world.deadlines = [10]
    ticker.arm()
    assert world.armed[0].delay == 0


def test_turns_that_follow_each_other_share_one_look(world, ticker):
    ticker.arm_soon()
    world.deadlines = [3000]
    ticker.arm_soon()
    [look] = world.armed
    assert look.delay == LOOK_SECONDS
    look.callback()
    assert world.handles[-1].delay == 2.0, "what came before the look is in it"
    ticker.arm_soon()
    assert world.handles[-1].delay == LOOK_SECONDS


def test_stopping_ends_a_look_that_is_to_come(world, ticker):
    ticker.arm_soon()
    ticker.stop()
    assert world.armed == []
    ticker.arm_soon()
    assert world.armed == []


def test_stopping_disarms(world, ticker):
    world.deadlines = [3000]
    ticker.arm()
    ticker.stop()
    ticker.stop()
    assert world.armed == []


def test_what_is_stopped_is_not_armed_by_what_ends_after_it(world, ticker):
    ticker.stop()
    world.deadlines = [3000]
    ticker.arm()
    assert world.armed == []
