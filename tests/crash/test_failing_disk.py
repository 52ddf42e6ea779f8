"""A disk that fails at its first, second, third ... operation, once and for ever.

Whatever it does: what was promised is there afterwards, and the journal says so when it
cannot go on. After a failed write or sync nothing is written or synced any more.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import MemoryFiles, RecordingFiles, crashes
from crash.history import DIRECTORY, Driver, Model, Promise, check, reopen
from mqd.core import records
from mqd.store.errors import JournalFailed, StorageError
from mqd.store.fold import fold
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHANGES = (
    "create",
    "write",
    "sync_data",
    "sync",
    "truncate",
    "allocate",
    "rename",
    "unlink",
    "sync_directory",
)


class FailingFiles(RecordingFiles):
    """A recording disk that fails from its `fail_at`-th operation on.

    Args:
        fail_at: which operation fails first, from 1 on; 0 for none.
        how: an errno, or "short" for a write that is done in part before it fails.
        is_for_ever: whether all later ones fail as well.
    """

    def __init__(self, fail_at: int, how: int | str, *, is_for_ever: bool) -> None:
        self.count = 0
        self.fail_at = 0
        self.how = how
        self.is_for_ever = is_for_ever
        self.failed: list[str] = []
        self.after_failure: list[str] = []
        super().__init__(lambda: Promise(0, 0))
        self.count, self.fail_at = 0, fail_at

    def meet(self, kind: str) -> bool:
        """Count an operation; True if it is to fail."""
        if self.failed and kind in CHANGES:
            self.after_failure.append(kind)
        self.count += 1
        fails = self.count == self.fail_at or (self.is_for_ever and 0 < self.fail_at <= self.count)
        if fails:
            self.failed.append(kind)
        return fails

    def give_up(self) -> None:
        raise OSError(errno.EIO if self.how == "short" else self.how, "the disk fails", "file")


def _guard(kind: str) -> Callable[..., object]:
    def method(self: FailingFiles, *arguments: object, **options: object) -> object:
        if self.meet(kind):
            if kind == "write" and self.how == "short":
                handle, offset, parts = arguments
                data = b"".join(parts)  # type: ignore[arg-type]
                RecordingFiles.write(self, handle, offset, [data[: len(data) // 2]])  # type: ignore[arg-type]
            if kind == "allocate":
                RecordingFiles.allocate(self, arguments[0], 100)  # type: ignore[arg-type]
            self.give_up()
        return getattr(RecordingFiles, kind)(self, *arguments, **options)

    return method


for _kind in (*CHANGES, "open", "read", "names", "size_bytes"):
    setattr(FailingFiles, _kind, _guard(_kind))

ERRORS: Sequence[int | str] = (errno.EIO, errno.ENOSPC, errno.EMFILE, "short")


def serve(files: FailingFiles, model: Model, drivers: list[Driver]) -> None:
    """Recover, append, rotate, fold, recover again."""
    for _ in range(2):
        driver = Driver(files, model, retry_seconds=0.0005)
        drivers.append(driver)
        files.promise = driver.promise
        broker = driver.broker
        if "a" not in broker:
            driver.do(broker.plan_create("a", {}, 1))
        for number in range(4):
            driver.do(driver.push("a", b"%d" % number * 30), level=Level.WRITTEN)
        driver.do((records.PULL, 1, 3))
        with suppress(OSError, StorageError):
            driver.fold()
        if driver.journal.failure is not None:
            raise driver.journal.failure
        driver.do(driver.push("a", "x" * 400))
        driver.do(driver.push("a", "y" * 500))
        driver.journal.close()
        promise = driver.promise()
        files.promise = lambda promise=promise: promise


def run_once(fail_at: int, how: int | str, *, is_for_ever: bool) -> bool:
    """Serve on a disk that fails, and check everything. False if it has not failed."""
    files = FailingFiles(fail_at, how, is_for_ever=is_for_ever)
    model = Model()
    drivers: list[Driver] = []
    try:
        serve(files, model, drivers)
    except StorageError:
        assert files.failed
    finally:
        for driver in drivers:
            with suppress(StorageError):
                driver.journal.close()
    promise = drivers[-1].promise() if drivers else Promise(0, 0)
    for driver in drivers:
        failure = driver.journal.failure
        if failure is not None:
            assert isinstance(failure, JournalFailed)
            assert files.failed
            with pytest.raises(JournalFailed):
                driver.journal.commit()
            assert driver.journal.synced_lsn == promise.synced_lsn
    _check_disk(files, promise, model)
    return bool(files.failed)


def _check_disk(files: FailingFiles, promise: Promise, model: Model) -> None:
    """What a healthy disk would make of it: as the kernel has it, and as after a loss of power."""
    check(reopen(MemoryFiles(files.content())), promise, model)
    for crash in crashes(files.ops, len(files.ops), promise):
        check(reopen(MemoryFiles(crash.content)), promise, model)


@pytest.mark.parametrize("how", ERRORS)
@pytest.mark.parametrize("is_for_ever", [False, True])
def test_every_operation(how: int | str, *, is_for_ever: bool) -> None:
    fail_at = 1
    while run_once(fail_at, how, is_for_ever=is_for_ever):
        fail_at += 1
    assert fail_at > 60, "the script is too short to show anything"


def _journal_at(kind: str) -> tuple[FailingFiles, Driver, Model]:
    files = FailingFiles(0, errno.EIO, is_for_ever=False)
    model = Model()
    driver = Driver(files, model, marker_seconds=3600.0)
    files.promise = driver.promise
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.wait(lambda: driver.journal._writer.has_spare and driver.journal._is_asleep)
    files.fail_at = files.count + {"write": 1, "sync_data": 2}[kind]
    return files, driver, model


@pytest.mark.parametrize("kind", ["write", "sync_data"])
def test_nothing_is_done_after_a_failure(kind: str) -> None:
    files, driver, model = _journal_at(kind)
    with pytest.raises(JournalFailed, match="the journal cannot be written"):
        driver.do(driver.push("a", "lost"))
    for _ in range(3):
        with pytest.raises(JournalFailed):
            driver.journal.commit()
    with pytest.raises(JournalFailed):
        driver.journal.close()
    assert files.failed == [kind]
    assert files.after_failure == []
    assert driver.journal.synced_lsn == 1
    _check_disk(files, driver.promise(), model)


def test_a_failed_fold_leaves_everything_in_place() -> None:
    fail_at = 1
    while True:
        files = FailingFiles(0, errno.EIO, is_for_ever=True)
        model = Model()
        driver = Driver(files, model)
        driver.do(driver.broker.plan_create("a", {}, 1))
        driver.fold()
        driver.do(driver.push("a", "one", "two"))
        number = driver.seal()
        driver.journal.close()
        promise = driver.promise()
        before = files.content()
        files.count = 0
        files.fail_at = fail_at
        try:
            fold(files, DIRECTORY, number)
        except (OSError, StorageError):
            pass
        else:
            break
        files.fail_at = 0
        if "unlink" not in files.failed[:1]:
            assert before.items() <= files.content().items(), "something went too early"
        check(reopen(MemoryFiles(files.content())), promise, model)
        fail_at += 1
    assert fail_at > 15
