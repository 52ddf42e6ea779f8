"""Whatever is damaged: a salvage keeps what was there, and makes nothing up.

Every message that was there and lies in a sound batch is kept, once. A check changes
nothing, and says what a start does.

MQD_SALVAGE_CASES sets how many random damages are tried, and MQD_CRASH_SEED the first one.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Content, MemoryFiles
from crash.damage import (
    History,
    bodies_of,
    cut,
    flip,
    make_history,
    sound_bytes,
    without,
)
from crash.history import DIRECTORY, Driver, Model, new_broker, reopen
from mqd.core import records
from mqd.core.broker import Bounds
from mqd.store import snapshot as snapshots
from mqd.store.checking import check
from mqd.store.errors import StorageError
from mqd.store.recovery import recover
from mqd.store.salvage import QUARANTINE_NAME, Salvaged, plan_salvage, salvage
from mqd.store.snapshot import snapshot_name

if TYPE_CHECKING:
    from mqd.core.broker import Broker

CASES = int(os.environ.get("MQD_SALVAGE_CASES", "3000"))
SEED = int(os.environ.get("MQD_CRASH_SEED", "1"))
BOUNDS = Bounds(10**6, 10**9, 10**6)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(300, CASES // 4))]


@pytest.fixture(autouse=True)
def small_snapshot_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_BATCH_RECORDS", 3)


def salvaged(content: Content) -> tuple[Salvaged, Broker, str]:
    """Salvage a directory; return what a server would find in the new one."""
    files, target = MemoryFiles(content), MemoryFiles()
    inventory, plan = plan_salvage(files, DIRECTORY)

    class Both(MemoryFiles):
        """Reads the old directory, writes the new one."""

        def __init__(self) -> None:
            self.inodes, self.handles, self.last = target.inodes, target.handles, 10**6

        def open(self, path: str, *, writable: bool = False) -> int:  # noqa: ARG002  as Files
            where = self if path.startswith("new/") else files
            handle = MemoryFiles.open(where, path)
            if where is files:
                self.handles[handle] = files.handles[handle]
            return handle

    done = salvage(Both(), inventory, plan, "new", BOUNDS, 5.0, lambda _: "report\n")
    assert files.content() == content, "a salvage has changed what it only reads"
    found = target.content()
    broker = new_broker()
    recovered = recover(MemoryFiles(found), DIRECTORY, broker.apply_all, segment_bytes=1000)
    assert not recovered.cut_bytes
    assert recovered.warnings == []
    return done, broker, found.get(QUARANTINE_NAME, b"").decode()


def judge(history: History, content: Content) -> None:
    done, broker, quarantine = salvaged(content)
    kept = bodies_of(broker)
    counts = Counter(kept)
    assert max(counts.values(), default=1) == 1, "a message is there twice"
    assert set(kept) <= history.pushed, "a message was made up"
    assert len(kept) == done.contents.messages
    readable = sound_bytes(content)
    for body in bodies_of(history.broker):
        if body in readable and body not in counts:
            text = body[1:].decode()
            assert f'"{text}"' in quarantine, f"{text} could have been kept"
    for queue in broker.queues():
        assert queue.pushed == queue.pulled + queue.purged + queue.fifo.count
        if queue.name in history.broker:
            old = history.broker.queue(queue.name)
            if old.uid == queue.uid and not done.plan.torn_bytes:
                assert queue.fifo.next_id <= old.fifo.next_id
    last = max(name for name in history.content if name.endswith(".mqj"))
    is_told = done.plan.losses or done.touched or done.quarantined
    if content.get(last) == history.content[last] and not is_told:
        assert sorted(kept) == sorted(bodies_of(history.broker)), "a loss was not told"


def judge_check(content: Content) -> None:
    files = MemoryFiles(content)
    checked = check(files, DIRECTORY, lambda _: None)
    assert files.content() == content, "a check has changed something"
    try:
        outcome = reopen(MemoryFiles(content))
    except StorageError as error:
        assert checked.problem is not None
        assert (type(checked.problem), checked.problem.message) == (type(error), error.message)
        assert not checked.is_sound
    else:
        assert checked.problem is None
        assert checked.recovered is not None
        assert checked.recovered.decision == outcome.recovered.decision
        assert checked.recovered.cut_bytes == outcome.recovered.cut_bytes


def damage(chooser: random.Random, content: Content) -> Content:
    """Do one or two things that happen to files."""
    for _ in range(chooser.choice((1, 1, 2))):
        name = chooser.choice(sorted(content))
        size = len(content[name])
        what = chooser.random()
        if what < 0.5 and size:
            content = flip(content, name, chooser.randrange(size), chooser.randrange(8))
        elif what < 0.65:
            content = cut(content, name, chooser.randrange(size + 1))
        elif what < 0.8 and size:
            start = chooser.randrange(size)
            data = bytearray(content[name])
            end = min(size, start + chooser.choice((16, 64, 300)))
            data[start:end] = bytes(end - start)
            content = {**content, name: bytes(data)}
        elif what < 0.9 and len(content) > 1:
            content = without(content, name)
        else:
            other = chooser.choice([each for each in content if each[-3:] == name[-3:]])
            content = {**content, name: content[other], other: content[name]}
    return content


def test_random_damage() -> None:
    chooser = random.Random(SEED)
    for case in range(CASES):
        if case % 20 == 0:
            history = make_history(SEED * 1000 + case, folds=chooser.choice((0, 1, 1, 2)))
        content = damage(chooser, dict(history.content))
        judge_check(content)
        try:
            judge(history, content)
        except StorageError as error:
            assert "nothing in d is sound" in error.message
            assert not sound_bytes(content)


def test_a_bit_in_every_byte() -> None:
    history = make_history(7, steps=14)
    for name, data in history.content.items():
        for position in range(len(data)):
            content = flip(history.content, name, position, position % 8)
            judge(history, content)


def test_one_of_the_snapshots_batches() -> None:
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    for number in range(20):
        driver.do(driver.push("a", f"folded {number:02}"))
    driver.fold()
    driver.do((records.PULL, 1, 2))
    driver.do(driver.push("a", "later"))
    driver.journal.close()
    content = files.content()
    name = snapshot_name(1)
    done, broker, _ = salvaged(flip(content, name, content[name].index(b"folded 07")))
    assert len(done.plan.losses) == 1
    names = {body[1:].decode() for body in bodies_of(broker)}
    lost = {f"folded {number:02}" for number in range(2, 20)} - names
    assert "folded 07" in lost
    assert len(lost) == 3, "a batch of three records is damaged"
    assert "later" in names
    assert broker.queue("a").fifo.next_id == 22
