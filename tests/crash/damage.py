"""Data directories with known content, and ways to damage them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from crash.crash_files import Content, MemoryFiles
from crash.history import DIRECTORY, Driver, Model
from mqd.core import records
from mqd.store.pieces import Pieces
from mqd.store.recordlog import SEGMENT_MAGIC, SNAPSHOT_MAGIC
from mqwire.levels import Level
from mqwire.packs import split_pack

if TYPE_CHECKING:
    from mqd.core.broker import Broker
    from mqd.core.records import Record


class History(NamedTuple):
    """A directory that was closed well."""

    content: Content
    broker: Broker
    """What it holds."""
    pushed: set[bytes]
    """Every body that was ever pushed, as it is encoded; each came once."""


def make_history(seed: int, *, steps: int = 60, folds: int = 1) -> History:
    """Make a directory with some queues, small snapshot batches and several segments."""
    chooser = random.Random(seed)
    files = MemoryFiles()
    driver = Driver(files, Model())
    broker = driver.broker
    for name in ("a", "b"):
        _do(driver, broker.plan_create(name, {}, 1))
    pushed: set[bytes] = set()
    folding_at = [(index + 1) * steps // (folds + 1) for index in range(folds)]
    for step in range(steps):
        if step in folding_at:
            driver.fold()
        _do_something(driver, chooser, step, pushed)
    driver.journal.close()
    return History(files.content(), broker, pushed)


def _do(driver: Driver, record: Record) -> None:
    # Without waiting for a sync each time: the last batch promises all of them.
    driver.do(record, level=Level.WRITTEN)


def _do_something(driver: Driver, chooser: random.Random, step: int, pushed: set[bytes]) -> None:
    broker = driver.broker
    names = [queue.name for queue in broker.queues()]
    name = chooser.choice(names)
    queue = broker.queue(name)
    what = chooser.random()
    if what < 0.05:
        _do(driver, broker.plan_create(f"q{step}", {}, step))
    elif what < 0.08 and len(names) > 1:
        _do(driver, broker.plan_delete(name))
        _do(driver, broker.plan_create(name, {}, step))
    elif what < 0.11:
        _do(driver, broker.plan_purge(name))
    elif what < 0.4 and queue.fifo.count:
        _do(driver, (records.PULL, queue.uid, chooser.randint(1, min(4, queue.fifo.count))))
    else:
        bodies = [f"body {step}-{number}" for number in range(chooser.randint(1, 3))]
        record = driver.push(name, *bodies)
        pushed.update(split_pack(record[4]))
        _do(driver, record)


def bodies_of(broker: Broker) -> list[bytes]:
    """Return the encodings of all bodies, queue by queue."""
    found: list[bytes] = []
    for queue in broker.queues():
        for _, _, pack, _, _ in queue.fifo.export():
            found += split_pack(pack)
    return found


def sound_bytes(content: Content) -> bytes:
    """Return all that lies in sound batches."""
    files = MemoryFiles(content)
    found = []
    for name in content:
        magic = SNAPSHOT_MAGIC if name.endswith(".mqs") else SEGMENT_MAGIC
        pieces = Pieces(files, f"{DIRECTORY}/{name}", magic)
        found += [bytes(payload) for run in pieces.runs() for payload in run.scan.payloads]
        pieces.close()
    return b"".join(found)


def flip(content: Content, name: str, position: int, bit: int = 2) -> Content:
    """Return the directory with a bit of a file changed."""
    data = bytearray(content[name])
    data[position] ^= 1 << bit
    return {**content, name: bytes(data)}


def cut(content: Content, name: str, size_bytes: int) -> Content:
    """Return the directory with a file cut off."""
    return {**content, name: content[name][:size_bytes]}


def without(content: Content, *names: str) -> Content:
    """Return the directory without some files."""
    return {name: data for name, data in content.items() if name not in names}
