from __future__ import annotations

import pytest

from mqd.core import records
from mqd.core.broker import Bounds, Broker
from mqd.core.errors import BrokerError
from mqd.engine.base import NO_MESSAGES
from mqd.engine.storage import MemoryOnly
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.engines import Clock, Disk, new_engine

OVER = (NO_MESSAGES, Level.ACCEPTED)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(clock):
    return new_engine(clock, MemoryOnly())


@pytest.fixture
def ended():
    return []


def push(engine, *texts, headers=(), level=None):
    return engine.push("jobs", len(texts), join_bodies(texts), headers, level)


def noting(ended):
    return lambda outcome, level: ended.append((outcome, level))


def test_a_turn_has_one_time(engine, clock):
    push(engine, "a")
    clock.ms += 5000
    assert engine.info("jobs")["oldest_age_seconds"] == 0
    engine.begin_turn()
    assert engine.info("jobs")["oldest_age_seconds"] == 5


def test_create_if_missing_leaves_the_queue_as_it_is(engine):
    push(engine, "a")
    info, _ = engine.create("jobs", {"max_messages": 5}, if_missing=True)
    assert (info["ready"], info["options"]["max_messages"]) == (1, 20_000)
    with pytest.raises(BrokerError) as caught:
        engine.create("jobs", {"max_messages": 5}, if_missing=False)
    assert caught.value.code is Code.QUEUE_EXISTS
    info, _ = engine.create("more", {"max_messages": 5}, if_missing=True)
    assert info["options"]["max_messages"] == 5


def test_results_have_the_form_of_the_protocol(engine):
    pack = join_bodies(["a", "b"])
    engine.push("jobs", 2, pack, ((1, 1, {"n": 1}, 4),), None)
    assert engine.peek("jobs", 0, 9) == ((1, 2), [pack], {"headers": [None, {"n": 1}]})
    assert engine.pull("jobs", 1, None)[0] == ((1, 1), [join_bodies(["a"])])
    assert engine.pull("jobs", 1, None)[0] == (
        (2, 1),
        [join_bodies(["b"])],
        {"headers": [{"n": 1}]},
    )
    assert engine.pull("jobs", 1, None)[0] is NO_MESSAGES
    assert engine.peek("jobs", 0, 1) is NO_MESSAGES


def test_a_wait_is_served_by_a_push(engine, ended):
    wait = engine.wait("jobs", 2, 60, None, None, noting(ended))
    assert not wait.is_over
    assert engine.info("jobs")["waiting"] == 1
    push(engine, "a", "b", "c")
    assert ended == [(((1, 2), [join_bodies("ab")]), Level.ACCEPTED)]
    assert wait.is_over
    assert engine.info("jobs")["ready"] == 1
    assert engine.next_deadline_ms() is None


def test_a_wait_ends_when_its_time_has_run_out_and_not_before(engine, clock, ended):
    engine.wait("jobs", 1, 1.5, None, None, noting(ended))
    assert engine.next_deadline_ms() == 2501
    for ms, expected in ((2500, []), (2501, [OVER]), (9999, [OVER])):
        clock.ms = ms
        engine.begin_turn()
        engine.expire()
        assert ended == expected
    assert engine.info("jobs")["waiting"] == 0


def test_waking_ends_a_wait_once(engine, ended):
    wait = engine.wait("jobs", 1, 60, None, None, noting(ended))
    assert engine.wake(wait)
    assert not engine.wake(wait)
    assert ended == [OVER]
    push(engine, "a")
    assert engine.info("jobs")["ready"] == 1


def test_a_forgotten_wait_is_told_nothing(engine, ended):
    wait = engine.wait("jobs", 1, 60, None, None, noting(ended))
    engine.forget(wait)
    engine.forget(wait)
    push(engine, "a")
    assert ended == []
    assert engine.info("jobs")["ready"] == 1
    assert engine.next_deadline_ms() is None


def test_deleting_ends_waits_with_the_reason(engine, ended):
    wait = engine.wait("jobs", 1, 60, None, None, noting(ended))
    assert engine.delete("jobs") == (0, Level.ACCEPTED)
    [(error, _)] = ended
    assert isinstance(error, CodedError)
    assert error.code is Code.QUEUE_NOT_FOUND
    engine.forget(wait)
    assert not engine.wake(wait)
    assert engine.next_deadline_ms() is None


def test_infos_by_pattern_and_purge(engine):
    engine.create("other", {}, if_missing=False)
    push(engine, "a", "b")
    assert [info["queue"] for info in engine.infos("j*")] == ["jobs"]
    assert engine.purge("jobs")[0] == 2
    assert engine.infos("*")[0]["purged"] == 2


def test_a_reply_is_made_to_fit_into_a_frame(clock):
    engine = new_engine(clock, MemoryOnly(), max_frame_bytes=64 * 1024)
    for _ in range(4):
        push(engine, b"x" * 12_000)
    assert engine.pull("jobs", 4, None)[0][0] == (1, 2)
    assert engine.peek("jobs", 0, 4)[0] == (3, 2)


@pytest.fixture
def disk():
    return Disk()


def test_everything_that_changes_the_state_is_on_record(clock, disk, ended):
    engine = new_engine(clock, disk)
    push(engine, "a", "b", "c")
    engine.pull("jobs", 2, None)
    engine.wait("jobs", 1, 60, None, None, noting(ended))  # served below, behind what is there
    push(engine, "d", "e")
    engine.purge("jobs")
    engine.create("more", {"durability": "written"}, if_missing=False)
    engine.delete("jobs")
    rebuilt = Broker(Bounds(1, 1, 1))
    rebuilt.apply_all(disk.records)
    assert list(rebuilt.export()) == list(engine.broker.export())
    assert [record[0] for record in disk.records].count(records.PULL) == 2


@pytest.mark.parametrize(
    ("level", "needs"),
    [(Level.ACCEPTED, (0, 0)), (Level.WRITTEN, (2, 0)), (Level.SYNCED, (2, 2))],
)
def test_a_result_needs_its_own_level(clock, disk, level, needs):
    engine = new_engine(clock, disk)
    assert push(engine, "a", level=level) == (1, level)
    engine.end_turn(level)
    assert disk.commits[-1] is level
    found = engine.needs(level, shows_messages=False)
    assert found == needs
    assert engine.has_reached(found) is (level is Level.ACCEPTED)
    disk.written_lsn = 2
    assert engine.has_reached(found) is (level is not Level.SYNCED)
    disk.synced_lsn = 2
    assert engine.has_reached(found)


@pytest.mark.parametrize("level", Level)
def test_messages_need_the_level_of_their_push_too(clock, disk, level):
    engine = new_engine(clock, disk)
    push(engine, "a", level=level)
    engine.end_turn(level)
    engine.begin_turn()
    results, reached = engine.pull("jobs", 1, Level.ACCEPTED)
    assert results[0] == (1, 1)
    assert reached is Level.ACCEPTED
    engine.end_turn(Level.ACCEPTED)
    pushed = {Level.ACCEPTED: (0, 0), Level.WRITTEN: (2, 0), Level.SYNCED: (2, 2)}[level]
    assert engine.needs(Level.ACCEPTED, shows_messages=True) == pushed
    assert engine.needs(Level.SYNCED, shows_messages=True) == (3, 3)
    assert engine.needs(Level.ACCEPTED, shows_messages=False) == (0, 0)


def test_a_written_push_after_a_synced_one_takes_nothing_back(clock, disk):
    engine = new_engine(clock, disk)
    for level in (Level.SYNCED, Level.WRITTEN, Level.ACCEPTED):
        push(engine, "a", level=level)
        engine.end_turn(level)
    assert engine.needs(Level.ACCEPTED, shows_messages=True) == (3, 2)


def test_a_delivery_to_one_who_waits_needs_the_level_that_was_asked_for(clock, disk, ended):
    engine = new_engine(clock, disk, level=Level.ACCEPTED)
    engine.wait("jobs", 1, 60, Level.SYNCED, None, noting(ended))
    push(engine, "a")
    assert ended == [(((1, 1), [join_bodies("a")]), Level.SYNCED)]


def test_levels_go_from_the_request_to_the_queue_to_the_server(clock, disk):
    engine = new_engine(clock, disk, level=Level.WRITTEN)
    engine.create("own", {"durability": "accepted"}, if_missing=False)
    pack = join_bodies("a")
    assert push(engine, "a")[1] is Level.WRITTEN
    assert engine.push("own", 1, pack, (), None)[1] is Level.ACCEPTED
    assert engine.push("own", 1, pack, (), Level.SYNCED)[1] is Level.SYNCED
    assert engine.purge("own")[1] is Level.ACCEPTED
    assert engine.info("own")["options"]["durability"] == "accepted"
    assert engine.info("jobs")["options"]["durability"] == "written"


def test_nothing_is_promised_that_cannot_be_kept(engine):
    assert engine.level is Level.ACCEPTED
    for ask in (
        lambda: push(engine, "a", level=Level.WRITTEN),
        lambda: engine.pull("jobs", 1, Level.SYNCED),
        lambda: engine.create("more", {"durability": "written"}, if_missing=False),
    ):
        with pytest.raises(CodedError) as caught:
            ask()
        assert caught.value.code is Code.NO_JOURNAL
    assert [info["queue"] for info in engine.infos("*")] == ["jobs"]
    assert engine.info("jobs")["pushed"] == 0
    assert engine.stats()["journal"] is None


async def test_without_a_journal_there_is_no_snapshot(engine):
    with pytest.raises(CodedError) as caught:
        await engine.snapshot()
    assert caught.value.code is Code.NO_JOURNAL


def test_a_full_disk_refuses_what_takes_room_and_nothing_else(clock, disk):
    engine = new_engine(clock, disk)
    push(engine, "a", "b")
    disk.room_bytes = 0
    before = len(disk.records)
    for ask in (
        lambda: push(engine, "c"),
        lambda: engine.create("more", {}, if_missing=False),
    ):
        with pytest.raises(CodedError) as caught:
            ask()
        assert caught.value.code is Code.STORAGE_FULL
    assert len(disk.records) == before
    assert engine.info("jobs")["pushed"] == 2
    assert engine.pull("jobs", 1, None)[0][0] == (1, 1)
    assert engine.purge("jobs")[0] == 1
    assert engine.delete("jobs")[0] == 0


def test_after_a_failure_nothing_is_reached(clock, disk):
    engine = new_engine(clock, disk)
    disk.failure = OSError()
    push(engine, "a")
    engine.end_turn(Level.WRITTEN)
    disk.written_lsn = disk.synced_lsn = 10**9
    assert engine.failure is disk.failure
    assert not engine.has_reached(engine.needs(Level.WRITTEN, shows_messages=False))


def test_figures_count_what_went_through(clock, disk, ended):
    engine = new_engine(clock, disk)
    engine.wait("jobs", 1, 60, None, None, noting(ended))
    push(engine, "a", "b", "c")
    engine.pull("jobs", 1, None)
    engine.wait("jobs", 1, 60, None, None, noting(ended))
    assert (engine.pushed, engine.pulled) == (3, 2)
    stats = engine.stats()
    assert stats["queues"] == {
        "count": 1, "ready": 1, "delayed": 0, "leased": 0, "dead": 0, "bytes": 2, "waiting": 1
    }  # fmt: skip
    assert stats["journal"] == {"durability": "synced", "segments": 1}
