from __future__ import annotations

import asyncio
import logging

import pytest

from mqd.core.broker import Bounds, Broker
from mqd.engine import snapshots
from mqd.engine.durable import Durable, Settings
from mqd.engine.snapshots import Schedule
from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level
from mqwire.packs import join_bodies

MIB = 2**20


@pytest.mark.parametrize(
    ("elapsed_seconds", "journal_bytes", "live_bytes", "last_bytes", "expected"),
    [
        (10**6, 0, 10 * MIB, 0, False),  # nothing has changed
        (59, 1, 0, 0, False),
        (60, 1, 0, 0, True),  # the time has come
        (0, 2 * MIB, 0, 0, False),
        (0, 2 * MIB + 1, 0, 0, True),  # grown past half a segment
        (0, 10 * MIB, 20 * MIB, 0, False),
        (0, 10 * MIB + 1, 20 * MIB, 0, True),  # grown past half of the state
        (0, 1, 10 * MIB, 24 * MIB, False),
        (0, 1, 10 * MIB, 24 * MIB + 1, True),  # the state has shrunk
    ],
)
def test_when_a_snapshot_is_due(elapsed_seconds, journal_bytes, live_bytes, last_bytes, expected):
    schedule = Schedule(interval_seconds=60, segment_bytes=4 * MIB)
    assert schedule.is_due(elapsed_seconds, journal_bytes, live_bytes, last_bytes) is expected


class Store:
    """A data directory in use."""

    def __init__(self, directory, interval_seconds=3600.0):
        self.broker = Broker(Bounds(10**6, 2**30, 10))
        settings = Settings(interval_seconds, 2**16)
        self.durable = Durable(str(directory), self.broker, settings)
        self.durable.start(asyncio.get_running_loop())

    def do(self, record):
        self.durable.append(record)
        self.broker.apply(record)
        self.durable.commit(Level.SYNCED)

    async def stop(self, *, is_hurried=False):
        hurry = asyncio.Event()
        if is_hurried:
            hurry.set()
        await self.durable.stop(hurry)


async def restored(directory):
    """Return the state that a start finds."""
    store = Store(directory)
    await store.stop()
    return store.broker


def numbers(directory):
    return sorted(int(path.stem.partition("-")[2]) for path in directory.glob("snapshot-*.mqs"))


async def test_those_who_ask_together_share_one(tmp_path):
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    made = await asyncio.gather(*(store.durable.snapshot() for _ in range(3)))
    assert [snapshot.number for snapshot in made] == [1, 1, 1]
    assert (await store.durable.snapshot()).number == 1, "nothing has changed"
    store.do(store.broker.plan_push("jobs", 1, join_bodies("a"), (), 1))
    assert (await store.durable.snapshot()).number == 2
    assert numbers(tmp_path) == [2]
    assert store.durable.stats()["snapshot"]["made"] == 2
    await store.stop()
    assert numbers(tmp_path) == [2], "nothing has changed"


async def test_a_state_without_anything_in_it_is_one_too(tmp_path):
    store = Store(tmp_path)
    assert (await store.durable.snapshot()).number == 1
    assert not store.durable.stats()["snapshot"]["failed"]
    await store.stop()
    assert len(await restored(tmp_path)) == 0


async def test_a_stop_makes_a_last_one_and_in_a_hurry_none(tmp_path):
    for is_hurried, expected in ((True, []), (False, [1])):
        store = Store(tmp_path)
        if "jobs" not in store.broker:
            store.do(store.broker.plan_create("jobs", {}, 1))
        store.do(store.broker.plan_push("jobs", 1, join_bodies("a"), (), 1))
        await store.stop(is_hurried=is_hurried)
        assert numbers(tmp_path) == expected
    assert (await restored(tmp_path)).queue("jobs").fifo.count == 2


async def test_a_fold_that_fails_is_told_and_harms_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    before = monkeypatch
    before.setattr(snapshots.sys, "executable", "/nowhere/python")
    with pytest.raises(CodedError) as caught:
        await store.durable.snapshot()
    assert caught.value.code is Code.SNAPSHOT_FAILED
    assert "cannot be started" in caught.value.message
    monkeypatch.undo()
    (segment, *_) = sorted(tmp_path.glob("segment-*.mqj"))
    sound = segment.read_bytes()
    segment.write_bytes(sound[:60] + bytes([sound[60] ^ 1]) + sound[61:])
    with pytest.raises(CodedError) as caught:
        await store.durable.snapshot()
    assert "the journal is damaged" in caught.value.message
    assert "the journal is damaged" in caplog.text
    segment.write_bytes(sound)
    assert (await store.durable.snapshot()).number == 1
    await store.stop()


async def test_a_snapshot_that_is_given_up_leaves_no_process(tmp_path):
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    task = asyncio.ensure_future(store.durable.snapshot())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.stop(is_hurried=True)
    assert list(tmp_path.glob("*.tmp")) == []
