"""What happens is told to those who listen, and to nobody else."""

from __future__ import annotations

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine.base import Append, GiveBack, PushOptions, Settle, Terms
from mqd.engine.local import LocalEngine, Settings
from mqd.engine.owners import described
from mqd.engine.storage import MemoryOnly
from mqwire.levels import Level
from mqwire.limits import MAX_FRAME_BYTES
from mqwire.names import matches
from mqwire.packs import join_bodies
from mqwire.verbs import EVENTS

W1 = {"instance": "w1", "host": "n1"}


class Clock:
    ms = 1000

    def now_ms(self):
        return self.ms


class Ear:
    def __init__(self, pattern="*"):
        self.pattern = pattern
        self.events = []
        self.turns = 0

    def wants(self, name):
        return matches(self.pattern, name)

    def note(self, event):
        self.events.append(event)

    def tell(self):
        self.turns += 1

    def heard(self):
        found, self.events = self.events, []
        return [(event.kind, event.name, event.ids) for event in found]


class Stage:
    def __init__(self):
        self.clock = Clock()
        settings = Settings(
            max_frame_bytes=MAX_FRAME_BYTES, level=Level.SYNCED, grace_ms=1000, epoch=7
        )
        broker = Broker(Bounds(10_000, 1 << 30, 9))
        self.engine = LocalEngine(broker, MemoryOnly(), self.clock.now_ms, settings)
        self.ear = Ear()
        self.engine.views.listen(self.ear)

    def push(self, *texts, name="jobs"):
        self.engine.push(name, len(texts), join_bodies(texts), (), None)

    def push_with(self, *texts, **options):
        part = Append("jobs", len(texts), join_bodies(texts), (), PushOptions(**options))
        self.engine.push_with(part, None)

    def lease(self, most=1):
        (_, _, _, name), _ = self.engine.jobs.lease("jobs", most, Terms(5000, W1), None)
        return name

    def pass_time(self, ms):
        self.clock.ms += ms
        self.engine.begin_turn()
        self.engine.expire()


@pytest.fixture
def stage():
    stage = Stage()
    stage.engine.create("jobs", {"dead_letter": "dead"}, if_missing=False)
    return stage


@pytest.fixture
def leased(stage):
    stage.push(*"abc")
    name = stage.lease(3)
    stage.ear.heard()
    return name


def test_the_life_of_a_queue(stage):
    assert stage.ear.heard() == [("created", "dead", ()), ("created", "jobs", ())]
    stage.push("a", "b")
    stage.engine.pull("jobs", 1, None)
    stage.engine.purge("jobs")
    stage.push("c")
    stage.engine.delete("jobs")
    purged, _, deleted = stage.ear.events[2:]
    assert (purged.more, deleted.more) == ({"count": 1, "state": "waiting"}, {"count": 1})
    assert stage.ear.heard() == [
        ("pushed", "jobs", (1, 2)),
        ("pulled", "jobs", (1, 1)),
        ("purged", "jobs", ()),
        ("pushed", "jobs", (3, 1)),
        ("deleted", "jobs", ()),
    ]


def test_a_lease_says_whose_it_is(stage):
    stage.push("a", "b")
    stage.ear.heard()
    name = stage.lease(2)
    (event,) = stage.ear.events
    assert (event.kind, event.ids, event.at_ms) == ("leased", (1, 2), 1000)
    assert event.more == {"lease": name, "holder": "w1", "deadline_at": 6.0}


@pytest.mark.parametrize("ids", [(), (2, 1)])
def test_an_ack_names_messages(stage, leased, ids):
    stage.engine.jobs.ack((*leased, ids, "w1"), None)
    (event,) = stage.ear.events
    assert (event.kind, event.ids) == ("acked", ids or (1, 3))
    assert event.more == {"lease": leased, "holder": "w1"}


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (GiveBack("nack", "x" * 300), "nacked"),
        (GiveBack("hand_back"), "handed_back"),
        (GiveBack("gone"), "lost"),
    ],
)
def test_what_comes_back_says_why(stage, leased, how, kind):
    stage.engine.jobs.give_back((*leased, (1, 1), "w1"), how, None)
    (event,) = stage.ear.events
    assert (event.kind, event.ids, event.more["cause"]) == (kind, (1, 1), how.cause)
    assert event.more["reason"] == how.reason[:256]


def test_a_delay_is_told_and_its_end(stage, leased):
    stage.engine.jobs.give_back((*leased, (1, 1), "w1"), GiveBack("nack", delay_ms=500), None)
    assert stage.ear.events[0].more["due_at"] == 1.5
    stage.ear.heard()
    stage.pass_time(500)
    assert stage.ear.heard() == [("ready", "jobs", (1, 1))]


def test_a_death_is_told_twice(stage, leased):
    stage.engine.jobs.give_back((*leased, (1, 1), "w1"), GiveBack("reject", "no"), None)
    assert stage.ear.events[1].more["moved_to"] == "dead"
    assert stage.ear.heard() == [("rejected", "jobs", (1, 1)), ("dead", "jobs", (1, 1))]
    stage.engine.delete("dead")
    stage.engine.jobs.give_back((*leased, (2, 1), "w1"), GiveBack("reject", "no"), None)
    assert "moved_to" not in stage.ear.events[-1].more
    assert stage.ear.heard()[1:] == [("rejected", "jobs", (2, 1)), ("dead", "jobs", (2, 1))]
    stage.engine.jobs.redrive("jobs", 9, ())
    stage.engine.jobs.purge_dead("jobs")
    assert stage.ear.heard() == [("redriven", "jobs", (2, 1)), ("purged", "jobs", ())]


def test_a_dead_letter_that_goes_home(stage, leased):
    stage.engine.jobs.give_back((*leased, (1, 1), "w1"), GiveBack("reject", "no"), None)
    stage.ear.heard()
    stage.engine.jobs.redrive("dead", 9, ())
    assert stage.ear.events[0].more == {"moved_to": "jobs"}
    assert stage.ear.heard() == [("redriven", "dead", (1, 1))]


def test_a_lease_that_runs_out(stage, leased):
    stage.pass_time(5000)
    assert stage.ear.events[0].more["cause"] == "expired"
    assert stage.ear.heard() == [("lost", "jobs", (1, 3))]


def test_cancelling(stage, leased):
    stage.push("d")
    stage.ear.heard()
    stage.engine.views.cancel("jobs", (3, 2), None)
    assert stage.ear.events[1].more == {"lease": leased, "holder": "w1"}
    assert stage.ear.heard() == [("cancelled", "jobs", (4, 1)), ("cancelling", "jobs", (3, 1))]
    stage.engine.jobs.give_back((*leased, (), "w1"), GiveBack("nack"), None)
    assert stage.ear.heard() == [
        ("nacked", "jobs", (1, 2)),
        ("nacked", "jobs", (3, 1)),
        ("cancelled", "jobs", (3, 1)),
    ]


def test_messages_for_those_who_wait_are_told_too(stage):
    stage.engine.wait("jobs", 1, 60, None, None, lambda *_: None)
    stage.engine.wait("jobs", 1, 60, None, Terms(5000, W1), lambda *_: None)
    stage.ear.heard()
    stage.push("a", "b")
    assert stage.ear.heard() == [
        ("pushed", "jobs", (1, 2)),
        ("pulled", "jobs", (1, 1)),
        ("leased", "jobs", (2, 1)),
    ]


def test_only_queues_of_interest_are_told_of(stage):
    other = Ear("sweep.*")
    stage.engine.views.listen(other)
    stage.engine.create("sweep.a", {}, if_missing=False)
    stage.push("a", name="sweep.a")
    stage.push("a")
    assert other.heard() == [("created", "sweep.a", ()), ("pushed", "sweep.a", (1, 1))]
    stage.engine.views.stop_listening(stage.ear)
    stage.ear.heard()
    stage.push("a", name="sweep.a")
    assert (other.heard(), stage.ear.heard()) == ([("pushed", "sweep.a", (2, 1))], [])


def test_what_happens_elsewhere_is_not_noted(stage):
    other = Ear("more")
    stage.engine.views.stop_listening(stage.ear)
    stage.engine.views.listen(other)
    stage.push(*"abcd")
    stage.engine.pull("jobs", 1, None)
    name = stage.lease(2)
    stage.engine.jobs.ack((*name, (2, 1), "w1"), None)
    stage.engine.jobs.give_back((*name, (), "w1"), GiveBack("nack"), None)
    stage.engine.jobs.extend((*stage.lease(), (), "w1"), 9000)
    assert other.heard() == []


def test_an_owner_may_be_a_text():
    assert described("w1") == {"holder": "w1"}
    assert described(W1) == {"holder": "w1", "host": "n1"}


def test_who_begins_later_hears_from_then_on(stage):
    stage.push("a")
    other = Ear("jobs")
    stage.engine.views.listen(other)
    stage.push("b")
    assert other.heard() == [("pushed", "jobs", (2, 1))]
    stage.engine.views.stop_listening(other)
    stage.push("c")
    assert other.heard() == []


def test_nothing_is_noted_for_nobody(stage):
    stage.engine.views.tell()
    assert (stage.engine.views.has_listeners, stage.ear.turns) == (True, 1)
    stage.engine.views.stop_listening(stage.ear)
    stage.engine.views.stop_listening(stage.ear)
    assert not stage.engine.views.has_listeners
    assert stage.engine._commits.observer is None
    stage.ear.heard()
    stage.push("a")
    assert stage.ear.events == []


def test_levels_are_those_of_the_queues(stage):
    class Disk(MemoryOnly):
        highest_level = Level.SYNCED

    settings = Settings(max_frame_bytes=MAX_FRAME_BYTES, level=Level.WRITTEN, grace_ms=1000)
    engine = LocalEngine(Broker(Bounds(9, 99, 9)), Disk(), Clock().now_ms, settings)
    ear = Ear()
    engine.views.listen(ear)
    engine.create("jobs", {"durability": "synced"}, if_missing=False)
    engine.push("jobs", 1, join_bodies("a"), (), Level.ACCEPTED)
    assert [event.level for event in ear.events] == [Level.WRITTEN, Level.SYNCED]


def test_every_kind_that_is_told_is_in_the_registry(stage, leased):
    from mqd.engine import news

    told = set(news._KINDS_BY_CAUSE.values())
    told |= {"created", "deleted", "purged", "pushed", "pulled", "leased", "acked", "ready"}
    told |= {"dead", "redriven", "cancelling", "cancelled", "paused", "resumed", "expired"}
    assert told == set(EVENTS)


def test_pushes_with_options_and_what_time_brings_to_them(stage):
    stage.push_with("a", "b", priority=9, key="k")
    stage.push_with("a", "b", priority=9, key="k")
    stage.push_with("c", "d", delay_ms=100)
    stage.push_with("e", "f", ttl_ms=200, delay_ms=100)
    stage.push_with("g", ttl_ms=200)
    stage.ear.events[:2] = []
    assert stage.ear.heard() == [
        ("pushed", "jobs", (1, 2)),
        ("pushed", "jobs", (3, 2)),
        ("pushed", "jobs", (5, 2)),
        ("pushed", "jobs", (7, 1)),
    ]
    stage.pass_time(100)
    assert stage.ear.heard() == [("ready", "jobs", (3, 4))]
    name = stage.lease(3)
    assert stage.ear.heard() == [("leased", "jobs", (3, 3))]
    stage.pass_time(100)
    assert stage.ear.heard() == [("expired", "jobs", (6, 2))]
    stage.engine.jobs.give_back((*name, (), "w1"), GiveBack("nack", "no"), None)
    nacked, again, expired = stage.ear.events
    assert (nacked.kind, nacked.ids) == ("nacked", (3, 2))
    assert (again.kind, again.ids) == ("nacked", (5, 1))
    assert (expired.kind, expired.ids) == ("expired", (5, 1))
    assert expired.more["reason"] == "no"


def test_what_has_expired_and_is_dead(stage):
    options = {"ttl_seconds": 0.1, "on_expiry": "dead_letter", "dead_letter": "dead"}
    stage.engine.create("short", options, if_missing=False)
    stage.push("a", name="short")
    stage.ear.heard()
    stage.pass_time(100)
    (event,) = stage.ear.events
    assert (event.kind, event.name, event.ids) == ("dead", "short", (1, 1))
    assert event.more == {"cause": "ttl", "moved_to": "dead"}


@pytest.mark.parametrize("key", [None, "k"])
def test_a_step_is_told_part_by_part(stage, leased, key):
    parts = (
        Settle((*leased, (2, 1), "w1")),
        Append("dead", 2, join_bodies("xy"), (), PushOptions(key="p")),
    )
    stage.engine.step(parts, key, None)
    assert stage.ear.heard() == [("acked", "jobs", (2, 1)), ("pushed", "dead", (1, 2))]


def test_a_pull_over_gaps_is_one_event(stage):
    stage.push("a")
    stage.push_with("b", priority=200)
    stage.push("c")
    stage.ear.heard()
    stage.engine.pull("jobs", 9, None)
    assert stage.ear.heard() == [("pulled", "jobs", (2, 1, 1, 1, 3, 1))]


def test_pauses_are_told(stage):
    stage.ear.heard()
    stage.engine.pause("jobs")
    stage.engine.resume("jobs")
    assert stage.ear.heard() == [("paused", "jobs", ()), ("resumed", "jobs", ())]
