"""What time does in the local engine beyond leases: messages that expire, queues that go."""

from __future__ import annotations

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine.base import NO_MESSAGES, Append, PushOptions, Terms
from mqd.engine.jobs import SLICE
from mqd.engine.local import LocalEngine, Settings
from mqd.engine.storage import MemoryOnly
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.engines import Clock


class Shop:
    """An engine in memory, and its clock."""

    def __init__(self):
        self.clock = Clock()
        settings = Settings(1 << 20, Level.ACCEPTED, grace_ms=1000, epoch=1)
        broker = Broker(Bounds(9000, 1 << 30, 9))
        self.engine = LocalEngine(broker, MemoryOnly(1), self.clock.now_ms, settings)

    def create(self, name, **options):
        self.engine.create(name, options, if_missing=False)

    def push(self, name, *texts, **options):
        part = Append(name, len(texts), join_bodies(texts), (), PushOptions(**options))
        return self.engine.push_with(part, None)[0]

    def go_on(self, seconds):
        """Let time pass, as the ticker does: until nothing is due any more."""
        self.clock.ms += round(1000 * seconds)
        self.engine.begin_turn()
        while (due_ms := self.engine.next_deadline_ms()) is not None and due_ms <= self.clock.ms:
            self.engine.expire()

    def names(self):
        return [info["queue"] for info in self.engine.infos("*")]


@pytest.fixture
def shop():
    return Shop()


def counts(shop, name="jobs"):
    info = shop.engine.info(name)
    return {key: info[key] for key in ("ready", "expired", "moved", "dead") if info[key]}


def test_messages_that_have_waited_too_long_are_dropped(shop):
    shop.create("jobs", ttl_seconds=10)
    shop.push("jobs", "a", "b")
    shop.push("jobs", "c", ttl_ms=2000)
    assert shop.engine.next_deadline_ms() == shop.clock.ms + 2000
    shop.go_on(2)
    assert counts(shop) == {"ready": 2, "expired": 1}
    shop.go_on(8)
    assert counts(shop) == {"expired": 3}
    assert shop.engine.next_deadline_ms() is None


def test_or_become_dead_letters_for_whom_somebody_may_wait(shop):
    ended = []
    shop.create("jobs", ttl_seconds=10, on_expiry="dead_letter", dead_letter="late")
    shop.engine.wait("late", 1, 60, None, None, lambda found, _: ended.append(found[:2]))
    shop.push("jobs", "a")
    shop.go_on(10)
    assert counts(shop) == {"moved": 1}
    assert ended == [((1, 1), [b"\xa1a"])]


def late(shop, seconds):
    """Let time pass in which the ticker does nothing, as when the process stands still."""
    shop.clock.ms += round(1000 * seconds)
    shop.engine.begin_turn()


def lease(shop, name="jobs"):
    return shop.engine.jobs.lease(
        name, 9, Terms(60_000, {"instance": "w", "user": "ada", "peer": "10.0.0.9:1"}), None
    )[0]


def pull(shop, name="jobs"):
    return shop.engine.pull(name, 9, None)[0]


@pytest.mark.parametrize("take", [lease, pull])
def test_what_has_waited_too_long_is_not_delivered_though_the_ticker_is_late(shop, take):
    shop.create("jobs")
    shop.push("jobs", "old", ttl_ms=1000)
    shop.push("jobs", "young")
    late(shop, 1)
    assert take(shop)[:2] == ((2, 1), [b"\xa5young"])
    assert counts(shop)["expired"] == 1


@pytest.mark.parametrize("take", [lease, pull])
def test_nor_is_it_where_it_is_more_than_one_turn_may_move(shop, take):
    shop.create("jobs")
    for _ in range(SLICE + 1):
        shop.push("jobs", "old", ttl_ms=1000)
    shop.push("jobs", "young")
    late(shop, 1)
    assert take(shop) == NO_MESSAGES
    assert take(shop)[1] == [b"\xa5young"]


def test_nor_to_one_who_waits(shop):
    ended = []
    shop.create("jobs", on_expiry="dead_letter", dead_letter="late")
    shop.engine.pause("jobs")
    shop.engine.wait("jobs", 1, 60, None, None, lambda found, _: ended.append(found[1]))
    shop.push("jobs", "old", ttl_ms=1000)
    shop.push("jobs", "young")
    late(shop, 1)
    shop.engine.resume("jobs")
    assert ended == []
    shop.go_on(0)
    assert ended == [[b"\xa5young"]]
    assert counts(shop, "late") == {"ready": 1}


def test_a_queue_that_nobody_uses_goes(shop):
    shop.create("jobs", expires_seconds=10)
    shop.create("kept")
    shop.go_on(9)
    shop.engine.pull("jobs", 1, None)
    shop.go_on(9)
    assert shop.names() == ["jobs", "kept"]
    shop.engine.info("jobs")
    shop.engine.infos("*")
    shop.go_on(1)
    assert shop.names() == ["kept"]
    with pytest.raises(CodedError) as caught:
        shop.engine.pull("jobs", 1, None)
    assert caught.value.code is Code.QUEUE_NOT_FOUND


@pytest.mark.parametrize("use", ["wait", "lease", "peek", "push", "pause"])
def test_what_is_use(shop, use):
    shop.create("jobs", expires_seconds=10)
    if use == "lease":
        shop.push("jobs", "a")
        shop.engine.jobs.lease("jobs", 1, Terms(60_000, {"instance": "ada/1"}), None)
    elif use == "wait":
        shop.engine.wait("jobs", 1, 15, None, None, lambda *_: None)
    shop.go_on(9)
    if use == "peek":
        shop.engine.peek("jobs", 0, 1)
    elif use == "push":
        shop.push("jobs", "a")
    elif use == "pause":
        shop.engine.pause("jobs")
    shop.go_on(5)
    assert shop.names() == ["jobs"]


def test_a_restart_is_use():
    shop = Shop()
    shop.create("jobs", expires_seconds=10)
    again = Broker(Bounds(9000, 1 << 30, 9))
    again.apply_all(shop.engine.broker.export())
    shop.clock.ms += 3_600_000
    settings = Settings(1 << 20, Level.ACCEPTED, grace_ms=1000, epoch=2)
    shop.engine = LocalEngine(again, MemoryOnly(2), shop.clock.now_ms, settings)
    shop.go_on(9)
    assert shop.names() == ["jobs"]
    shop.go_on(1)
    assert shop.names() == []


def test_a_lease_that_runs_out_is_use_of_its_queue(shop):
    shop.create("jobs", expires_seconds=10)
    shop.push("jobs", "a")
    shop.engine.jobs.lease("jobs", 1, Terms(60_000, {"instance": "ada/1"}), None)
    shop.go_on(60)
    assert counts(shop) == {"ready": 1}, "a worker that has died takes no queue along"
    shop.go_on(9)
    assert shop.names() == ["jobs"]
    shop.go_on(1)
    assert shop.names() == []


def test_finding_that_it_is_there_and_repeats_are_use(shop):
    shop.create("jobs", expires_seconds=10)
    shop.push("jobs", "a", key="k")
    shop.go_on(9)
    assert shop.push("jobs", "a", key="k") == 1
    shop.go_on(9)
    shop.engine.create("jobs", {}, if_missing=True)
    shop.go_on(9)
    assert shop.names() == ["jobs"]


def test_many_leases_of_one_moment_run_out_in_slices(shop):
    shop.create("jobs")
    shop.push("jobs", *"a" * 2000)
    for _ in range(2000):
        shop.engine.jobs.lease("jobs", 1, Terms(5000, {"instance": "ada/1"}), None)
    shop.clock.ms += 5000
    shop.engine.begin_turn()
    shop.engine.expire()
    assert shop.engine.info("jobs")["ready"] == SLICE
    shop.go_on(0)
    assert shop.engine.info("jobs")["ready"] == 2000
