from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

import pytest

from mqd.children import Child
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
    monkeypatch.setattr(snapshots, "module_command", lambda *_: ["/nowhere/python"])
    with pytest.raises(CodedError) as caught:
        await store.durable.snapshot()
    assert caught.value.code is Code.SNAPSHOT_FAILED
    assert "cannot be started" in caught.value.message
    said = '{"error": "the disk is full", "warnings": ["bodies stay in memory"]}'
    program = [sys.executable, "-c", f"print({said!r}); raise SystemExit(5)"]
    monkeypatch.setattr(snapshots, "module_command", lambda *_: program)
    with pytest.raises(CodedError, match="the disk is full"):
        await store.durable.snapshot()
    assert "the process that makes snapshots says: bodies stay in memory" in caplog.text
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


@pytest.fixture
def slow_folds(monkeypatch):
    """Have folds that never end by themselves; give their processes."""
    begun = []

    def begin_slow(_command):
        begun.append(Child(["sleep", "60"]))
        return begun[-1]

    monkeypatch.setattr(snapshots, "Child", begin_slow)
    return begun


async def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_stop_in_a_hurry_leaves_no_process(tmp_path, slow_folds):
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    asked = asyncio.ensure_future(store.durable.snapshot())
    await until(lambda: slow_folds)
    await store.stop(is_hurried=True)
    assert slow_folds[0].returncode is not None
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_stop_says_what_it_waits_for_and_how_far_that_is(
    tmp_path, slow_folds, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "mqd.snapshots")
    monkeypatch.setattr(snapshots, "TELL_SECONDS", 0.001)
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    store.do(store.broker.plan_push("jobs", 1, join_bodies(["a" * 3 * MIB]), (), 1))
    hurry = asyncio.Event()
    stopping = asyncio.ensure_future(store.durable.stop(hurry))
    await until(lambda: "reading what there is, about 3 MiB of messages, after" in caplog.text)
    assert "a last snapshot is made for a quick start; a second signal" in caplog.text
    (tmp_path / "snapshot-0000000001.tmp").write_bytes(bytes(2 * MIB))
    await until(lambda: "the last snapshot: 2 MiB of about 3 MiB written, after" in caplog.text)
    assert "left out (" not in caplog.text
    hurry.set()
    await asyncio.wait_for(stopping, 20)
    assert "the last snapshot is left out (as asked)" in caplog.text


async def test_a_last_snapshot_that_takes_too_long_is_left_out(
    tmp_path, slow_folds, monkeypatch, caplog
):
    monkeypatch.setattr(snapshots, "LAST_SECONDS", 0.01)
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    await asyncio.wait_for(store.stop(), 20)
    assert "left out (it takes more than 0.01 s)" in caplog.text


async def test_a_hurry_that_comes_later_ends_the_last_one(tmp_path, slow_folds):
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    hurry = asyncio.Event()
    stopping = asyncio.ensure_future(store.durable.stop(hurry))
    await until(lambda: slow_folds)
    assert not stopping.done()
    hurry.set()
    await asyncio.wait_for(stopping, 20)
    assert slow_folds[0].returncode is not None


@pytest.mark.parametrize("turns", range(4))
async def test_a_stop_that_comes_with_a_new_segment_ends(tmp_path, turns):
    store = Store(tmp_path)
    await asyncio.sleep(0)  # the watch has begun to wait
    store.durable._snapshotter._rotated.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(store.stop(), 20)


async def test_one_who_cannot_have_everything_is_told(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.do(store.broker.plan_create("jobs", {}, 1))
    await store.durable.snapshot()
    store.do(store.broker.plan_push("jobs", 1, join_bodies("a"), (), 1))
    await until(lambda: store.durable._journal.segment_number == 2)
    seal = store.durable._journal.seal
    sealed = seal()
    await until(lambda: store.durable._journal.segment_number == sealed)
    store.do(store.broker.plan_push("jobs", 1, join_bodies("b"), (), 1))

    async def only_what_is_sealed(_self):
        return sealed

    monkeypatch.setattr(snapshots.Snapshotter, "_sealed", only_what_is_sealed)
    with pytest.raises(CodedError) as caught:
        await store.durable.snapshot()
    assert caught.value.code is Code.SNAPSHOT_FAILED
    assert "the newest changes are not in it" in caught.value.message
    monkeypatch.undo()
    assert (await store.durable.snapshot()).number == 3, "what was left out is still to be done"
    await store.stop()


async def test_a_failure_that_nobody_thought_of_is_told_too(tmp_path, monkeypatch, caplog):
    store = Store(tmp_path, interval_seconds=0.01)

    async def fail(_self, _before):
        raise KeyError("unthought")

    monkeypatch.setattr(snapshots.Snapshotter, "_fold", fail)
    store.do(store.broker.plan_create("jobs", {}, 1))
    await until(lambda: "the server failed while making it" in caplog.text)
    monkeypatch.undo()
    await until(lambda: store.durable.stats()["snapshot"]["made"])
    await store.stop()


async def test_the_working_directory_is_nobodys_door(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    for name in ("json", "argparse", "mqd", "msgpack"):
        (tmp_path / "cwd" / f"{name}.py").write_text("raise SystemExit(9)")
    (tmp_path / "data").mkdir()
    store = Store(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "cwd")
    store.do(store.broker.plan_create("jobs", {}, 1))
    assert (await store.durable.snapshot()).number == 1
    await store.stop()


async def test_what_the_disk_has_left_is_told(tmp_path, monkeypatch):
    store = Store(tmp_path)
    disk = list(os.statvfs(tmp_path))
    # A block is 4 KiB; 500 of 1000 are free, and 400 of these for those who are not root.
    disk[:5] = [2**16, 4096, 1000, 500, 400]
    monkeypatch.setattr("os.statvfs", lambda _path: os.statvfs_result(disk))
    figures = store.durable.stats()["journal"]
    assert (figures["disk_free_bytes"], figures["disk_bytes"]) == (400 * 4096, 1000 * 4096)
    monkeypatch.undo()
    await store.stop()
