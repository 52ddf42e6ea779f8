"""Scripted histories of a broker with a journal, and the model that recoveries are held to."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mqd.core import records
from mqd.core.broker import Bounds, Broker
from mqd.store.errors import SnapshotRefused, StorageError
from mqd.store.fold import fold
from mqd.store.journal import Journal
from mqd.store.recovery import Recovered, recover
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.pages import small_pager

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from mqd.core.records import Record
    from mqd.store.files import Files

DIRECTORY = "d"
SEGMENT_BYTES = 1000

View = Any


class Promise(NamedTuple):
    """What somebody outside may rely on."""

    synced_lsn: int
    epoch: int


def new_broker() -> Broker:
    """Return a broker that puts aside what is more than a few bodies."""
    return Broker(Bounds(10**9, 10**12, 1000), small_pager(20, 12, 6, 24)[0])


def view(broker: Broker) -> View:
    """Everything that can be told of a broker's state, however it lies in packs."""
    exported = list(broker.export())
    queues = []
    for queue in broker.queues():
        batch = queue.fifo.peek(0, 10**9, 10**12)
        queues.append((
            queue.uid,
            queue.name,
            sorted(queue.options.items()),
            queue.created_ms,
            queue.pushed,
            queue.pulled,
            queue.purged,
            queue.fifo.first_id,
            queue.fifo.count,
            queue.fifo.size_bytes,
            b"".join(batch.packs),
            repr(batch.headers),
        ))  # fmt: skip
    return (exported[-1], queues)


class Model:
    """What the state was after each lsn."""

    def __init__(self) -> None:
        self.states: dict[int, View] = {0: view(new_broker())}

    def at(self, lsn: int) -> View:
        while lsn not in self.states:
            lsn -= 1
        return self.states[lsn]


class Driver:
    """Carries commands out, journals them and keeps the model. One run of a server."""

    def __init__(self, files: Files, model: Model, **options: Any) -> None:
        self.files = files
        self.model = model
        self.broker = new_broker()
        self.recovered = recover(
            files, DIRECTORY, self.broker.apply_all, segment_bytes=SEGMENT_BYTES
        )
        self.journal = Journal(
            self.recovered.writer,
            lambda: None,
            **{"sync_interval_seconds": 3600.0, "marker_seconds": 0.0005, **options},
        )

    def promise(self) -> Promise:
        return Promise(self.journal.synced_lsn, self.recovered.epoch)

    def do(self, *planned: Record, level: Level = Level.SYNCED) -> int:
        """Journal and apply records, and wait until the level is reached."""
        for record in planned:
            self.journal.append(record)
            self.broker.apply(record)
        lsn = self.journal.commit(level)
        self.model.states[lsn] = view(self.broker)
        if level is Level.SYNCED:
            self.wait(lambda: self.journal.synced_lsn >= lsn)
        elif level is Level.WRITTEN:
            self.wait(lambda: self.journal.written_lsn >= lsn)
        return lsn

    def wait(self, condition: Callable[[], bool]) -> None:
        started = time.monotonic()
        while not condition():
            if self.journal.failure is not None:
                raise self.journal.failure
            waited = time.monotonic() - started
            assert waited < 30, "the journal has stopped"
            if self.journal.is_full and waited > 0.05:
                raise StorageError("the disk stays full")
            time.sleep(0)

    def push(self, name: str, *bodies: bytes | str, headers: Any = ()) -> Record:
        now_ms = self.broker.clock_ms + 30
        return self.broker.plan_push(name, len(bodies), join_bodies(bodies), headers, now_ms)

    def seal(self) -> int:
        number = self.journal.seal()
        self.wait(lambda: self.journal.segment_number >= number)
        return number

    def fold(self) -> None:
        fold(self.files, DIRECTORY, self.seal())


def run(driver: Driver, chooser: random.Random, steps: int) -> None:
    """Do some steps that the chooser picks."""
    broker = driver.broker
    if not len(broker):
        driver.do(broker.plan_create("a", {}, 1))
    for step in range(steps):
        what = chooser.random()
        level = chooser.choice((Level.WRITTEN, Level.WRITTEN, Level.SYNCED))
        names = [queue.name for queue in broker.queues()]
        if what < 0.04 and len(names) < 3:
            name = f"q{driver.recovered.epoch}.{step}"
            driver.do(broker.plan_create(name, {}, broker.clock_ms + step), level=level)
        elif what < 0.06 and len(names) > 1:
            driver.do(broker.plan_delete(chooser.choice(names)), level=level)
        elif what < 0.09:
            driver.do(broker.plan_purge(chooser.choice(names)), level=level)
        elif what < 0.14:
            with suppress(SnapshotRefused):  # nothing has come since the last one
                driver.fold()
        else:
            _push_or_pull(driver, chooser, chooser.choice(names), level)


def _push_or_pull(driver: Driver, chooser: random.Random, name: str, level: Level) -> None:
    queue = driver.broker.queue(name)
    if queue.fifo.count > chooser.randrange(8):
        count = chooser.randint(1, queue.fifo.count)
        driver.do((records.PULL, queue.uid, count), level=level)
        return
    size = 700 if chooser.random() < 0.04 else chooser.randrange(12)
    bodies = [chooser.randbytes(size) for _ in range(chooser.randint(1, 3))]
    headers = ((0, 1, {"k": chooser.randrange(9)}, 4),) if chooser.random() < 0.3 else ()
    driver.do(driver.push(name, *bodies, headers=headers), level=level)


class Outcome(NamedTuple):
    """What a recovery has made of a disk."""

    recovered: Recovered
    state: View


def reopen(files: Files) -> Outcome:
    """Recover, and stop."""
    broker = new_broker()
    recovered = recover(files, DIRECTORY, broker.apply_all, segment_bytes=SEGMENT_BYTES)
    return Outcome(recovered, view(broker))


def check(outcome: Outcome, promise: Promise, model: Model) -> None:
    """Hold a recovery against what was promised and against the model."""
    lsn = outcome.recovered.next_lsn - 1
    assert lsn >= promise.synced_lsn, "something that was promised is gone"
    assert outcome.state == model.at(lsn), "the state is not that of any moment"
    assert outcome.recovered.epoch > promise.epoch, "an epoch comes again"
