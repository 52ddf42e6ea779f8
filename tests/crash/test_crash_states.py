"""Every state that a crash may leave: what was promised is there, and nothing is half there.

MQD_CRASH_STATES sets how many states are tried (ten million for a long run), and
MQD_CRASH_SEED the first history.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Crash, MemoryFiles, RecordingFiles, crashes
from crash.history import Driver, Model, Outcome, Promise, check, reopen, run
from mqd.store.errors import JournalFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crash.crash_files import Op

STATES = int(os.environ.get("MQD_CRASH_STATES", "200000"))
SEED = int(os.environ.get("MQD_CRASH_SEED", "1"))
NESTED_EVERY = 500
"""In how many states the recovery itself is crashed, at every point of it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(300, STATES // 400))]


def record_history(seed: int) -> tuple[list[Op], Promise, Model]:
    """Run a server twice on a recording disk: killed once, closed once."""
    chooser = random.Random(seed)
    model = Model()
    promise = Promise(0, 0)
    files = RecordingFiles(lambda: promise)
    for is_last in (False, True):
        driver = Driver(files, model)
        files.promise = driver.promise
        run(driver, chooser, 30)
        wait_until_written(driver)
        promise = driver.promise()
        if is_last:
            driver.journal.close()
            promise = driver.promise()
        else:
            kill(driver, files)
        files.promise = lambda promise=promise: promise
    return files.ops, promise, model


def wait_until_written(driver: Driver) -> None:
    last_lsn = max(driver.model.states)
    driver.wait(lambda: driver.journal.written_lsn >= last_lsn)


def kill(driver: Driver, files: RecordingFiles) -> None:
    files.is_dead = True
    driver.journal.append((0,))
    with pytest.raises(JournalFailed):
        driver.journal.commit()
        driver.wait(lambda: driver.journal.failure is not None)
    driver.journal._thread.join()
    files.is_dead = False


def all_crashes() -> Iterator[tuple[Crash, Model]]:
    seed = SEED
    while True:
        ops, last_promise, model = record_history(seed)
        for crash in crashes(ops, 0, last_promise):
            yield crash, model
        seed += 1


def judge(crash: Crash, model: Model) -> None:
    """Recover, check, and recover again."""
    promise = crash.promise
    files = MemoryFiles(crash.content)
    first = reopen(files)
    check(first, promise, model)
    second = reopen(files)
    check_same(first, second)


def check_same(first: Outcome, second: Outcome) -> None:
    assert second.state == first.state, "a second recovery gives something else"
    assert second.recovered.next_lsn == first.recovered.next_lsn
    assert second.recovered.epoch > first.recovered.epoch
    assert not second.recovered.cut_bytes, "a torn tail was left for the next time"


def judge_nested(crash: Crash, model: Model) -> int:
    """Crash the recovery at each of its operations; what it has served from is a promise."""
    files = RecordingFiles(lambda: crash.promise, crash.content)
    first = reopen(files)
    served = Promise(first.recovered.next_lsn - 1, first.recovered.epoch)
    count = 0
    for inner in crashes(files.ops, files.begins_at, served):
        again = reopen(MemoryFiles(inner.content))
        check(again, inner.promise, model)
        assert again.state == first.state or again.recovered.next_lsn < first.recovered.next_lsn
        count += 1
    return count


def test_every_state_recovers_to_what_was_promised() -> None:
    count = nested = 0
    for crash, model in all_crashes():
        try:
            judge(crash, model)
            count += 1
            if count % NESTED_EVERY == 0:
                nested += judge_nested(crash, model)
        except Exception as error:
            sizes = {name: len(data) for name, data in crash.content.items()}
            raise AssertionError(f"after {crash.after_ops} operations: {sizes}") from error
        if count + nested >= STATES:
            break
    print(  # noqa: T201  the figures are the result
        f"\n{count} crash states, and {nested} of crashed recoveries"
    )
