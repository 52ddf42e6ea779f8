"""Crash states one after the other: recorded histories, and the judgement of each state.

Each state is recovered and held against what was promised, and what that leaves is
recovered again; of some, the recovery itself is crashed at each of its operations. Where
recoveries of different states leave the same files, byte for byte, these are recovered a
second time once: all that is random in a recovery, its file ids, is fixed here.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import mqd.store.recovery
import mqd.store.segments
import mqd.store.snapshot
from crash.crash_files import Crash, MemoryFiles, RecordingFiles, crashes
from crash.history import DIRECTORY, SEGMENT_BYTES, Driver, Model, Promise, new_broker, run, view
from mqd.store.errors import JournalFailed
from mqd.store.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crash.crash_files import Op
    from mqd.core.records import Record

NESTED_EVERY = 500
"""In how many states the recovery itself is crashed, at every point of it."""

STEPS = 30


class Recorded(NamedTuple):
    """What happened on a disk, and what anybody may rely on at its end."""

    ops: list[Op]
    promise: Promise
    model: Model


def record_history(seed: int) -> Recorded:
    """Run a server twice on a recording disk: killed once, closed once."""
    chooser = random.Random(seed)
    model = Model()
    promise = Promise(0, 0)
    files = RecordingFiles(lambda: promise)
    for is_last in (False, True):
        driver = Driver(files, model)
        files.promise = driver.promise
        run(driver, chooser, STEPS)
        _wait_until_written(driver)
        promise = driver.promise()
        if is_last:
            driver.journal.close()
            promise = driver.promise()
        else:
            _kill(driver, files)
        files.promise = lambda promise=promise: promise
    return Recorded(files.ops, promise, model)


def _wait_until_written(driver: Driver) -> None:
    last_lsn = max(driver.model.states)
    driver.wait(lambda: driver.journal.written_lsn >= last_lsn)


def _kill(driver: Driver, files: RecordingFiles) -> None:
    files.is_dead = True
    driver.journal.append((0,))
    with contextlib.suppress(JournalFailed):
        driver.journal.commit()
    with contextlib.suppress(JournalFailed):
        driver.wait(lambda: driver.journal.failure is not None)
    assert driver.journal.failure is not None
    driver.journal._worker.join()
    files.is_dead = False


class _FileIds:
    """Stands in for `secrets` in the store: every recovery has ids of its own."""

    def __init__(self) -> None:
        self._restart = 0
        self._count = 0

    def next_recovery(self, number: int) -> None:
        self._restart, self._count = number, 0

    def token_bytes(self, size_bytes: int) -> bytes:
        self._count += 1
        return (b"%d.%d" % (self._restart, self._count)).ljust(size_bytes, b"\0")


_ids = _FileIds()


@contextlib.contextmanager
def fixed_file_ids() -> Iterator[None]:
    """Let recoveries depend on nothing but the files."""
    modules = (mqd.store.recovery, mqd.store.segments, mqd.store.snapshot)
    before = [module.secrets for module in modules]
    for module in modules:
        module.secrets = SimpleNamespace(token_bytes=_ids.token_bytes)
    try:
        yield
    finally:
        for module, secrets in zip(modules, before, strict=True):
            module.secrets = secrets


class _Found(NamedTuple):
    """What a recovery has come to."""

    exported: list[Record]
    next_lsn: int
    epoch: int
    cut_bytes: int


def _reopen(files: MemoryFiles, number: int) -> _Found:
    _ids.next_recovery(number)
    broker = new_broker()
    recovered = recover(files, DIRECTORY, broker.apply_all, segment_bytes=SEGMENT_BYTES)
    return _Found(list(broker.export()), recovered.next_lsn, recovered.epoch, recovered.cut_bytes)


def _view(exported: list[Record]) -> Any:
    broker = new_broker()
    broker.apply_all(exported)
    return view(broker)


class Judge:
    """Judges the states of one history. To be used under `fixed_file_ids`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._exports: dict[int, list[Record]] = {}
        self._seconds: dict[int, _Found] = {}
        self.recoveries = 0

    def judge(self, crash: Crash) -> None:
        """Recover, check, and recover again."""
        files = MemoryFiles(crash.content)
        first = self._recover(files, 1)
        self._check(first, crash.promise)
        left = hash(tuple(sorted((name, bytes(i.data)) for name, i in files.inodes.items())))
        second = self._seconds.get(left)
        if second is None:
            second = self._seconds[left] = self._recover(files, 2)
        assert second.exported == first.exported, "a second recovery gives something else"
        assert second.next_lsn == first.next_lsn
        assert second.epoch > first.epoch
        assert not second.cut_bytes, "a torn tail was left for the next time"

    def judge_nested(self, crash: Crash) -> int:
        """Crash the recovery at each operation; what it has served from is a promise.

        Returns:
            How many states that were.
        """
        files = RecordingFiles(lambda: crash.promise, crash.content)
        first = self._recover(files, 1)
        served = Promise(first.next_lsn - 1, first.epoch)
        count = 0
        for inner in crashes(files.ops, files.begins_at, served):
            again = self._recover(MemoryFiles(inner.content), 2)
            self._check(again, inner.promise)
            assert again.exported == first.exported or again.next_lsn < first.next_lsn
            count += 1
        return count

    def _recover(self, files: MemoryFiles, number: int) -> _Found:
        self.recoveries += 1
        return _reopen(files, number)

    def _check(self, found: _Found, promise: Promise) -> None:
        lsn = found.next_lsn - 1
        assert lsn >= promise.synced_lsn, "something that was promised is gone"
        assert found.epoch > promise.epoch, "an epoch comes again"
        # Most are what was found for this lsn before, and need no closer look.
        if self._exports.get(lsn) != found.exported:
            wanted = self._model.at(lsn)
            assert _view(found.exported) == wanted, "the state is not that of any moment"
            self._exports[lsn] = found.exported


class StateFailed(AssertionError):  # noqa: N818  the name says what has happened
    """A state that was not recovered as it should be; the message says how to see it again."""


def keep(crash: Crash, model: Model, seed: int) -> Path:
    """Write a state down where `replay` finds it."""
    place = Path(tempfile.mkdtemp(prefix=f"mqd-crash-state-{seed}-"))
    (place / "disk").mkdir()
    for name, data in crash.content.items():
        (place / "disk" / name).write_bytes(data)
    told = {"seed": seed, "after_ops": crash.after_ops, "promise": crash.promise._asdict()}
    (place / "promise.json").write_text(json.dumps(told))
    (place / "model.pickle").write_bytes(pickle.dumps(model.states))
    return place


def replay(place: Path) -> int:
    """Judge a state that was kept, and the crashes of its recovery. Returns how many."""
    told = json.loads((place / "promise.json").read_text())
    model = Model()
    model.states = pickle.loads((place / "model.pickle").read_bytes())
    content = {path.name: path.read_bytes() for path in (place / "disk").iterdir()}
    crash = Crash(content, Promise(**told["promise"]), told["after_ops"])
    with fixed_file_ids():
        judge = Judge(model)
        judge.judge(crash)
        return 1 + judge.judge_nested(crash)


def enumerate_states(
    seed: int, step: int, most: int, record: Callable[[int], Recorded] = record_history
) -> Iterator[dict[str, int]]:
    """Judge states of the histories `seed`, `seed + step` ... and count them.

    Raises:
        StateFailed: one was not as it should be; it was kept.
    """
    judged = 0
    while True:
        recorded = record(seed)
        with fixed_file_ids():
            judge = Judge(recorded.model)
            before = 0
            for number, crash in enumerate(crashes(recorded.ops, 0, recorded.promise), 1):
                try:
                    judge.judge(crash)
                    nested = 0 if number % NESTED_EVERY else judge.judge_nested(crash)
                except Exception as error:
                    place = keep(crash, recorded.model, seed)
                    raise StateFailed(
                        f"history {seed}, after {crash.after_ops} operations: {error!r}\n"
                        f"to see it again: scripts/crash --replay {place}"
                    ) from error
                judged += 1 + nested
                done = judge.recoveries - before
                before = judge.recoveries
                yield {"states": 1 + nested, "nested": nested, "recoveries": done}
                if judged >= most:
                    return
        yield {"histories": 1}
        seed += step


def work(options: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Judge one worker's share of the states. See `crash.pool`.

    Args:
        options: `seed` of its first history, `jobs`, and `most`, how many states it judges.
    """
    return enumerate_states(options["seed"], options["jobs"], options["most"])
