from __future__ import annotations

import pytest

from mqd.core.broker import Bounds
from mqd.core.errors import BrokerError
from mqd.engine.base import NO_MESSAGES
from mqd.engine.local import LocalEngine
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.limits import MAX_FRAME_BYTES
from mqwire.packs import join_bodies


class Clock:
    def __init__(self):
        self.ms = 1000

    def now_ms(self):
        return self.ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(clock):
    engine = LocalEngine(Bounds(100, 10_000, 5), clock.now_ms, MAX_FRAME_BYTES)
    engine.create("jobs", None, None, if_missing=False)
    return engine


@pytest.fixture
def ended():
    return []


def push(engine, *texts, headers=()):
    return engine.push("jobs", len(texts), join_bodies(texts), headers)


def test_a_turn_has_one_time(engine, clock):
    push(engine, "a")
    clock.ms += 5000
    assert engine.info("jobs")["oldest_age_seconds"] == 0
    engine.begin_turn()
    assert engine.info("jobs")["oldest_age_seconds"] == 5


def test_create_if_missing_leaves_the_queue_as_it_is(engine):
    push(engine, "a")
    info = engine.create("jobs", 5, None, if_missing=True)
    assert (info["ready"], info["options"]["max_messages"]) == (1, 100)
    with pytest.raises(BrokerError) as caught:
        engine.create("jobs", 5, None, if_missing=False)
    assert caught.value.code is Code.QUEUE_EXISTS
    assert engine.create("more", 5, None, if_missing=True)["options"]["max_messages"] == 5


def test_results_have_the_form_of_the_protocol(engine):
    pack = join_bodies(["a", "b"])
    engine.push("jobs", 2, pack, ((1, 1, {"n": 1}, 4),))
    assert engine.peek("jobs", 0, 9) == ((1, 2), [pack], {"headers": [None, {"n": 1}]})
    assert engine.pull("jobs", 1) == ((1, 1), [join_bodies(["a"])])
    assert engine.pull("jobs", 1) == ((2, 1), [join_bodies(["b"])], {"headers": [{"n": 1}]})
    assert engine.pull("jobs", 1) is NO_MESSAGES
    assert engine.peek("jobs", 0, 1) is NO_MESSAGES


def test_a_wait_is_served_by_a_push(engine, ended):
    wait = engine.wait("jobs", 2, 60, ended.append)
    assert not wait.is_over
    assert engine.info("jobs")["waiting"] == 1
    push(engine, "a", "b", "c")
    assert ended == [((1, 2), [join_bodies("ab")])]
    assert wait.is_over
    assert engine.info("jobs")["ready"] == 1
    assert engine.next_deadline_ms() is None


def test_a_wait_ends_when_its_time_has_run_out_and_not_before(engine, clock, ended):
    engine.wait("jobs", 1, 1.5, ended.append)
    assert engine.next_deadline_ms() == 2501
    for ms, expected in ((2500, []), (2501, [NO_MESSAGES]), (9999, [NO_MESSAGES])):
        clock.ms = ms
        engine.begin_turn()
        engine.expire()
        assert ended == expected
    assert engine.info("jobs")["waiting"] == 0


def test_waking_ends_a_wait_once(engine, ended):
    wait = engine.wait("jobs", 1, 60, ended.append)
    assert engine.wake(wait)
    assert not engine.wake(wait)
    assert ended == [NO_MESSAGES]
    push(engine, "a")
    assert engine.info("jobs")["ready"] == 1


def test_a_forgotten_wait_is_told_nothing(engine, ended):
    wait = engine.wait("jobs", 1, 60, ended.append)
    engine.forget(wait)
    engine.forget(wait)
    push(engine, "a")
    assert ended == []
    assert engine.info("jobs")["ready"] == 1
    assert engine.next_deadline_ms() is None


def test_deleting_ends_waits_with_the_reason(engine, ended):
    wait = engine.wait("jobs", 1, 60, ended.append)
    assert engine.delete("jobs") == 0
    [error] = ended
    assert isinstance(error, CodedError)
    assert error.code is Code.QUEUE_NOT_FOUND
    engine.forget(wait)
    assert not engine.wake(wait)
    assert engine.next_deadline_ms() is None


def test_infos_by_pattern_and_purge(engine):
    engine.create("other", None, None, if_missing=False)
    push(engine, "a", "b")
    assert [info["queue"] for info in engine.infos("j*")] == ["jobs"]
    assert engine.purge("jobs") == 2
    assert engine.infos("*")[0]["purged"] == 2


def test_a_reply_is_made_to_fit_into_a_frame(clock):
    engine = LocalEngine(Bounds(100, 1 << 30, 5), clock.now_ms, 64 * 1024)
    engine.create("jobs", None, None, if_missing=False)
    for _ in range(4):
        push(engine, b"x" * 12_000)
    assert engine.pull("jobs", 4)[0] == (1, 2)
    assert engine.peek("jobs", 0, 4)[0] == (3, 2)
