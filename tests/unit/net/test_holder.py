from __future__ import annotations

import pytest

from mqd.net.holder import Holder, Keepalive


class Jobs:
    """Notes who comes and goes."""

    def __init__(self):
        self.seen = []

    def arrive(self, who):
        self.seen.append(("arrive", who))

    def leave(self, who, *, has_grace, is_detached):
        self.seen.append(("leave", who, None if is_detached else has_grace))


class Loop:
    """A loop whose time is moved by the test."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def call_later(self, delay, callback):
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def run_until(self, when):
        while True:
            due = [t for t in self.timers if t.when <= when + 1e-9]
            if not due:
                break
            timer = min(due, key=lambda each: each.when)
            self.timers.remove(timer)
            self.now = timer.when
            if not timer.is_cancelled:
                timer.callback()
        self.now = when


class Timer:
    def __init__(self, when, callback):
        self.when, self.callback, self.is_cancelled = when, callback, False

    def cancel(self):
        self.is_cancelled = True


def holder(jobs, **options):
    return Holder(jobs, "ada", (3, 17), "10.0.0.9:1", options)


def test_one_with_an_instance_is_there_from_the_start():
    jobs = Jobs()
    known = holder(jobs, instance="w1", client="doc/1", version=1, host="node7", keepalive=5)
    assert known.who == "ada/w1"
    assert jobs.seen == [("arrive", "ada/w1")]
    assert known.owner == {
        "instance": "ada/w1",
        "user": "ada",
        "peer": "10.0.0.9:1",
        "client": "doc/1",
        "host": "node7",
    }
    assert known.owner is known.owner
    known.leave()
    known.leave()
    assert jobs.seen == [("arrive", "ada/w1"), ("leave", "ada/w1", True)]


def test_one_without_is_its_connection_and_comes_with_its_first_lease():
    jobs = Jobs()
    known = holder(jobs)
    assert known.who == "ada#3.17"
    assert jobs.seen == []
    assert known.owner == {"instance": "ada#3.17", "user": "ada", "peer": "10.0.0.9:1"}
    assert known.owner
    known.leave()
    assert jobs.seen == [("arrive", "ada#3.17"), ("leave", "ada#3.17", False)]


def test_one_that_is_detached_has_no_grace_to_begin():
    jobs = Jobs()
    known = holder(jobs, instance="gate", detached=True)
    assert known.owner == {
        "instance": "ada~gate",
        "user": "ada",
        "peer": "10.0.0.9:1",
        "is_detached": True,
    }
    known.leave()
    assert jobs.seen == [("arrive", "ada~gate"), ("leave", "ada~gate", None)]
    assert holder(jobs, detached=True).who == "ada~"
    assert holder(jobs, instance="w1", detached=False).who == "ada/w1"


def test_one_that_never_came_does_not_leave():
    jobs = Jobs()
    holder(jobs).leave()
    assert jobs.seen == []


def test_nobody_can_be_taken_for_another():
    jobs = Jobs()
    names = [
        Holder(jobs, user, (3, 17), "", options).who
        for user in ("ada", "bob")
        for options in (
            {},
            {"instance": "w1"},
            {"instance": "#3.17"},
            {"instance": "bob/w1"},
            {"instance": "~w1"},
            {"instance": "w1", "detached": True},
            {"detached": True},
        )
    ]
    assert len(set(names)) == len(names)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def cut():
    return []


def keepalive(loop, cut, seconds=1.0, is_deaf=lambda: False):
    return Keepalive(loop, seconds, is_deaf, lambda: cut.append(loop.now))


@pytest.mark.parametrize("seconds", [1, 1.5, 3600])
def test_silence_from_the_start_is_borne_for_twice_the_promise(loop, cut, seconds):
    keepalive(loop, cut, seconds)
    loop.run_until(10 * seconds)
    assert cut == [2 * seconds]


@pytest.mark.parametrize("heard_at", [0.01, 0.49, 0.5, 0.51, 1.99])
def test_silence_is_borne_for_twice_the_promise_and_a_check_at_most(loop, cut, heard_at):
    watch = keepalive(loop, cut)
    loop.run_until(heard_at)
    watch.was_heard = True
    loop.run_until(100)
    [when] = cut
    assert 2 <= when - heard_at <= 2.5


def test_one_that_keeps_its_promise_is_never_cut(loop, cut):
    watch = keepalive(loop, cut)
    for step in range(1, 50):
        loop.run_until(0.99 * step)
        watch.was_heard = True
    assert cut == []


def test_a_server_that_does_not_listen_blames_nobody(loop, cut):
    deaf = [True]
    keepalive(loop, cut, is_deaf=lambda: deaf[0])
    loop.run_until(50)
    assert cut == []
    deaf[0] = False
    loop.run_until(51.9)
    assert cut == []
    loop.run_until(60)
    assert len(cut) == 1


def test_what_is_cancelled_cuts_nobody(loop, cut):
    watch = keepalive(loop, cut)
    loop.run_until(0.7)
    watch.cancel()
    loop.run_until(100)
    assert cut == []
    assert loop.timers == []
