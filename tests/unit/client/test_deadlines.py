from __future__ import annotations

from mqclient.deadlines import Deadlines, Wait


class FakeLoop:
    """A loop of which a test calls the timers."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def call_later(self, seconds, call):
        timer = FakeTimer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def run_to(self, now):
        self.now = now
        for timer in list(self.timers):
            if timer.at <= now and not timer.is_done:
                timer.is_done = True
                timer.call()

    @property
    def set_for(self):
        return [each.at for each in self.timers if not each.is_done]


class FakeTimer:
    def __init__(self, at, call):
        self.at = at
        self.call = call
        self.is_done = False

    def cancel(self):
        self.is_done = True


def deadlines():
    loop, over = FakeLoop(), []
    return Deadlines(loop, over.append, lambda: loop.now), loop, over


def wait(at):
    return Wait([], at, at)


def test_each_is_told_in_its_time_with_one_timer():
    several, loop, over = deadlines()
    waits = [wait(5.0), wait(3.0), wait(9.0), wait(3.0)]
    for each in waits:
        several.add(each)
        assert len(loop.set_for) == 1
    loop.run_to(2.9)
    assert over == []
    loop.run_to(3.0)
    assert sorted(each.at for each in over) == [3.0, 3.0]
    assert loop.set_for == [5.0]
    loop.run_to(20.0)
    loop.run_to(21.0)
    assert [each.at for each in over[2:]] in ([5.0, 9.0], [9.0, 5.0])
    assert loop.set_for == []


def test_waits_of_the_same_length_set_no_timer_of_their_own():
    several, loop, over = deadlines()
    for number in range(100):
        loop.now = number / 100
        each = wait(loop.now + 30)
        several.add(each)
        several.drop(each)
    assert loop.set_for == [30.0]
    several.add(wait(40.0))
    loop.run_to(30.0)
    assert (over, loop.set_for) == ([], [40.0])


def test_nothing_is_told_or_set_once_it_is_closed():
    several, loop, over = deadlines()
    several.add(wait(1.0))
    several.close()
    several.add(wait(2.0))
    loop.run_to(9.0)
    assert (over, loop.set_for) == ([], [])
