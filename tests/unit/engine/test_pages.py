"""An engine that puts bodies aside: what its clients see of it, and of pages that are lost."""

from __future__ import annotations

import pytest

from mqd.core.errors import BrokerError
from mqd.engine.base import NO_MESSAGES, Append, GiveBack, PushOptions, Terms
from mqwire.causes import HAND_BACK
from mqwire.codes import Code
from mqwire.levels import Level
from mqwire.packs import join_bodies, split_pack
from support.engines import Clock, Disk, new_engine
from support.pages import small_pager

COUNT = 100


@pytest.fixture
def pages():
    return small_pager()


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def engine(pages, disk):
    engine = new_engine(Clock(), disk, pager=pages[0])
    push(engine, "jobs", COUNT)
    return engine


def push(engine, name, count):
    for number in range(count):
        engine.push(name, 1, join_bodies([f"job {number:5}"]), (), None)


def bodies(found):
    return split_pack(b"".join(found[1]))


def lease(engine):
    return engine.jobs.lease("jobs", COUNT, Terms(1000, {"instance": "a"}), None)


def wanted(number):
    return join_bodies([f"job {number:5}"])


def test_pulls_peeks_and_leases_are_what_they_would_be(engine, pages):
    assert pages[1].live > 0
    assert bodies(engine.peek("jobs", 60, 3)) == [wanted(60), wanted(61), wanted(62)]
    assert bodies(engine.peek_one("jobs", 71)) == [wanted(70)]
    found, _ = engine.pull("jobs", 30, None)
    assert (found[0], bodies(found)) == ((1, 30), [wanted(number) for number in range(30)])
    assert engine.views.cancel("jobs", (40, 1, 90, 2), None)[0] == (3, 0)
    rest, _ = engine.pull("jobs", COUNT, None)
    assert len(bodies(rest)) == COUNT - 33
    assert rest[0] == (31, 9, 41, 49, 92, 9)


def test_stats_tell_of_pages(engine, pages):
    told = engine.stats()["pages"]
    assert told["limit_bytes"] == 200
    assert told["pages"] == pages[1].live
    assert new_engine(Clock(), Disk()).stats()["pages"] is None


WAYS = {
    "pull": lambda engine: engine.pull("jobs", COUNT, None),
    "pull_each": lambda engine: engine.pull_each("jobs", COUNT, 1 << 20),
    "lease": lease,
    "peek": lambda engine: engine.peek("jobs", 60, 1),
    "peek_one": lambda engine: engine.peek_one("jobs", 71),
    "cancel": lambda engine: engine.views.cancel("jobs", (1, COUNT), None),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_needs_a_page_that_is_lost_is_refused_and_changes_nothing(engine, pages, disk, way):
    engine.create("other", {}, if_missing=False)
    push(engine, "other", 1)
    before, records = engine.info("jobs"), len(disk.records)
    pages[1].is_broken = True
    with pytest.raises(BrokerError) as caught:
        WAYS[way](engine)
    assert caught.value.code is Code.INTERNAL
    assert (engine.info("jobs"), len(disk.records)) == (before, records)
    assert engine.pull("other", 1, None)[0] is not NO_MESSAGES
    pages[1].is_broken = False
    found, _ = engine.pull("jobs", COUNT, None)
    assert bodies(found) == [wanted(number) for number in range(COUNT)]


@pytest.mark.parametrize("terms", [None, Terms(1000, {"instance": "a"})])
def test_one_who_waits_is_told_of_a_lost_page_and_who_has_woken_him_is_not(engine, pages, terms):
    ended = []
    engine.pause("jobs")
    engine.wait("jobs", COUNT, 9, None, terms, lambda outcome, _: ended.append(outcome))
    engine.wait("jobs", 1, 9, None, terms, lambda outcome, _: ended.append(outcome))
    pages[1].is_broken = True
    engine.resume("jobs")
    first, second = ended
    assert isinstance(first, BrokerError)
    assert first.code is Code.INTERNAL
    assert bodies(second) == [wanted(0)]
    assert engine.info("jobs")["waiting"] == 0


def test_leases_hold_what_they_were_given_and_go_on_from_records(engine, disk):
    found, _ = lease(engine)
    assert bodies(found) == [wanted(number) for number in range(COUNT)]
    engine.end_turn(Level.WRITTEN)
    again = new_engine(
        Clock(), Disk(), records=list(engine.broker.export()), pager=small_pager()[0]
    )
    assert again.info("jobs")["leased"] == COUNT


@pytest.mark.parametrize("way", ["pull", "lease"])
def test_a_lost_page_behind_what_has_come_back_takes_nothing_apart(engine, pages, disk, way):
    found, _ = engine.jobs.lease("jobs", 2, Terms(1000, {"instance": "a"}), None)
    engine.jobs.give_back((*found[3], (), "a"), GiveBack(HAND_BACK), None)
    before, records = engine.info("jobs"), len(disk.records)
    pages[1].is_broken = True
    with pytest.raises(BrokerError):
        WAYS[way](engine)
    assert (engine.info("jobs"), len(disk.records)) == (before, records)
    pages[1].is_broken = False
    found, _ = engine.pull("jobs", COUNT, None)
    assert bodies(found) == [wanted(number) for number in range(COUNT)]


def test_looks_at_what_lies_between_chunks_show_the_same_at_any_depth(pages):
    both = [new_engine(Clock(), Disk(), pager=pager) for pager in (pages[0], None)]
    for engine in both:
        for number in range(60):
            push(engine, "jobs", 1)
            if number % 17 == 3:  # it lies beside the packs, in its place
                options = PushOptions(ttl_ms=1000)
                part = Append("jobs", 1, join_bodies([f"own {number}"]), (), options)
                engine.push_with(part, None)
    assert pages[1].live > 0
    for skip in range(64):
        paged, plain = (engine.peek("jobs", skip, 5) for engine in both)
        assert paged == plain
        assert len(bodies(plain)) == min(5, 64 - skip)


def test_a_cancellation_of_messages_far_apart_is_prepared_over_some_turns(engine, pages):
    ids = tuple(each for number in range(30, COUNT, 6) for each in (number, 1))
    turns = list(engine.views.prepare_cancel("jobs", ids))
    assert len(turns) > 3
    pages[1].is_broken = True  # whatever is asked for now was not prepared
    assert engine.views.cancel("jobs", ids, None)[0] == (len(ids) // 2, 0)


def test_what_was_found_out_about_a_queue_is_not_taken_for_that_of_another(engine, pages):
    ids = tuple(each for number in range(30, COUNT, 6) for each in (number, 1))
    steps = engine.views.prepare_cancel("jobs", ids)
    next(steps)
    engine.delete("jobs")
    engine.create("jobs", {}, if_missing=False)
    for _ in range(COUNT):
        engine.push("jobs", 1, join_bodies(["another, of another size"]), (), None)
    each_bytes = engine.info("jobs")["bytes"] // COUNT
    list(steps)
    engine.views.cancel("jobs", ids, None)
    assert engine.info("jobs")["bytes"] == (COUNT - len(ids) // 2) * each_bytes


def test_a_cancellation_where_nothing_is_put_aside_needs_no_turn_of_its_own():
    engine = new_engine(Clock(), Disk())
    push(engine, "jobs", 3)
    assert list(engine.views.prepare_cancel("jobs", (1, 3))) == []
    assert engine.views.cancel("jobs", (1, 3), None)[0] == (3, 0)
