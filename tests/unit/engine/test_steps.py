"""Steps and pushes with options in the local engine: levels, room, and who is served."""

from __future__ import annotations

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine.base import Append, GiveBack, PushOptions, Settle, Terms
from mqd.engine.local import LocalEngine, Settings
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.engines import Clock, Disk

OWNER = {"instance": "ada/1"}


class Bench:
    """An engine with the queues `jobs` (written) and `results` (synced), and its clock."""

    def __init__(self):
        self.clock = Clock()
        self.storage = Disk()
        broker = Broker(Bounds(100, 1 << 30, 9))
        settings = Settings(1 << 20, Level.ACCEPTED, grace_ms=1000, epoch=1, chance=lambda: 0.5)
        self.engine = LocalEngine(broker, self.storage, self.clock.now_ms, settings)
        for name, level in (("jobs", "written"), ("results", "synced")):
            self.engine.create(name, {"durability": level}, if_missing=False)

    def push(self, name, *texts, **options):
        wanted = PushOptions(**options)
        return self.engine.push_with(Append(name, len(texts), join_bodies(texts), (), wanted), None)

    def lease(self, name="jobs", count=1):
        results, _ = self.engine.jobs.lease(name, count, Terms(60_000, OWNER), None)
        return (*results[3], (), OWNER["instance"])

    def go_on(self, seconds):
        self.clock.ms += round(1000 * seconds)
        self.engine.begin_turn()
        self.engine.expire()


@pytest.fixture
def bench():
    return Bench()


def append(name, *texts):
    return Append(name, len(texts), join_bodies(texts))


def test_a_step_reaches_the_highest_level_of_its_queues(bench):
    bench.push("jobs", "a", "b")
    claim = bench.lease()
    _, level = bench.engine.step([Settle(claim)], None, None)
    assert level is Level.WRITTEN
    _, level = bench.engine.step([Settle(bench.lease()), append("results", "r")], None, None)
    assert level is Level.SYNCED
    _, level = bench.engine.step([append("jobs", "r")], None, Level.ACCEPTED)
    assert level is Level.ACCEPTED


def test_what_a_step_has_pushed_is_a_promise_to_those_who_pull_it(bench):
    bench.engine.step([append("results", "r")], None, None)
    bench.storage.commit = lambda *_, **__: 17
    bench.engine.end_turn(Level.SYNCED)
    assert bench.engine.needs(Level.ACCEPTED, shows_messages=True) == (17, 17)
    assert bench.engine.needs(Level.ACCEPTED, shows_messages=False) == (0, 0)


def test_a_step_is_one_record(bench):
    bench.push("jobs", "a", "b")
    first, second = bench.lease(), bench.lease()
    bench.storage.records.clear()
    parts = [Settle(first), append("results", "r"), Settle(second, GiveBack("nack", "no", 500))]
    done, _ = bench.engine.step(parts, "key", None)
    assert done == ((1, 1, 1), (), False)
    assert len(bench.storage.records) == 1
    again, _ = bench.engine.step(parts, "key", None)
    assert again == ((1, 1, 1), (), True)
    assert len(bench.storage.records) == 1


def test_a_step_that_adds_needs_room_and_one_that_frees_does_not(bench):
    bench.push("jobs", "a", "b")
    claim = bench.lease()
    bench.storage.room_bytes = 1000
    with pytest.raises(CodedError) as caught:
        bench.engine.step([Settle(claim), append("results", "x" * 2000)], None, None)
    assert caught.value.code is Code.STORAGE_FULL
    assert bench.engine.info("jobs")["leased"] == 1
    done, _ = bench.engine.step([Settle(claim)], None, None)
    assert done.results == (1,)


def test_those_who_wait_are_served_by_each_part(bench):
    ended = []
    bench.push("jobs", "a")
    claim = bench.lease()
    for name in ("jobs", "results"):
        bench.engine.wait(name, 1, 60, None, None, lambda outcome, _: ended.append(outcome[0]))
    back = Settle(claim, GiveBack("hand_back"))
    bench.engine.step([back, append("results", "r", "s")], None, None)
    assert sorted(ended) == [(1, 1), (1, 1)]
    assert bench.engine.info("results")["ready"] == 1


def test_an_ack_serves_those_who_wait_at_the_cap(bench):
    ended = []
    bench.engine.create("few", {"max_leased": 1}, if_missing=False)
    bench.push("few", "a", "b")
    claim = bench.lease("few", 2)
    terms = Terms(60_000, OWNER)
    bench.engine.wait("few", 1, 60, None, terms, lambda outcome, _: ended.append(outcome[0]))
    assert bench.engine.jobs.ack(claim, None)[0] == 1
    assert ended == [(2, 1)]


def test_a_repeat_counts_for_nothing(bench):
    assert bench.push("jobs", "a", key="k") == (1, False, Level.WRITTEN)
    assert bench.push("jobs", "a", key="k") == (1, True, Level.WRITTEN)
    assert bench.engine.pushed == 1
    with pytest.raises(CodedError) as caught:
        bench.push("jobs", "b", key="k")
    assert caught.value.code is Code.KEY_REUSED
    bench.go_on(601)
    assert bench.push("jobs", "b", key="k") == (2, False, Level.WRITTEN)


def test_delays_and_moments_are_kept(bench):
    bench.push("jobs", "late", delay_ms=5000)
    bench.push("jobs", "later", not_before_ms=bench.clock.ms + 9000)
    bench.push("jobs", "now", not_before_ms=5)
    assert bench.engine.pull("jobs", 9, None)[0][0] == (3, 1)
    assert bench.engine.next_deadline_ms() == bench.clock.ms + 5000
    bench.go_on(5)
    assert bench.engine.pull("jobs", 9, None)[0][0] == (1, 1)
    bench.go_on(4)
    assert bench.engine.pull("jobs", 9, None)[0][0] == (2, 1)


def test_a_pause_holds_those_who_wait_and_an_end_of_it_serves_them(bench):
    ended = []
    bench.engine.pause("jobs")
    bench.push("jobs", "a")
    bench.engine.wait("jobs", 1, 60, None, None, lambda outcome, _: ended.append(outcome[0]))
    assert ended == []
    assert bench.engine.resume("jobs") is Level.WRITTEN
    assert ended == [(1, 1)]


def test_a_repeat_of_a_step_reaches_what_was_asked_or_all_that_can_be(bench):
    parts = [append("jobs", "r")]
    assert bench.engine.step(parts, "k", None)[1] is Level.WRITTEN
    assert bench.engine.step(parts, "k", None)[1] is Level.SYNCED
    assert bench.engine.step(parts, "k", Level.WRITTEN)[1] is Level.WRITTEN


def test_repeats_are_not_counted_as_pushed(bench):
    bench.push("jobs", "a", "b", key="k")
    assert bench.engine.pushed == 2
    repeat = Append("jobs", 2, join_bodies(["a", "b"]), (), PushOptions(key="k"))
    done, _ = bench.engine.step([repeat, append("results", "r", "s", "t")], "key", None)
    assert done.repeats == (0,)
    assert bench.engine.pushed == 5
    bench.engine.step([repeat, append("results", "r", "s", "t")], "key", None)
    assert bench.engine.pushed == 5


def test_keys_that_are_past_their_time_go_as_time_passes(bench):
    bench.push("jobs", "a", key="k")
    bench.push("results", "a", key="k")
    keys, begun_ms = bench.engine.broker.keys, bench.clock.ms
    assert bench.engine.next_deadline_ms() == begun_ms + 600_000
    bench.go_on(600)
    assert [keys.count(queue) for queue in bench.engine.broker.queues()] == [0, 0]
    assert bench.engine.next_deadline_ms() is None
