from __future__ import annotations

import itertools
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

import pytest

from crash import history
from crash.crash_files import Content, MemoryFiles
from crash.damage import flip, without
from crash.history import DIRECTORY, Driver, Model
from mqd.store import checking
from mqd.store.checking import Holder, check, hold_still, holder_of
from mqd.store.dirlock import FOLD_LOCK_NAME, LOCK_NAME, DirectoryLock
from mqd.store.errors import (
    DirectoryLocked,
    DirectoryUnusable,
    ForeignDirectory,
    JournalDamaged,
    SnapshotDamaged,
)
from mqd.store.files import OsFiles
from mqd.store.fold import fold
from mqd.store.inventory import FileState
from mqd.store.recordlog import HEADER_BYTES
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from pathlib import Path

SERVED = Holder(7, "serves")


def make(files: Any = None) -> Driver:
    driver = Driver(files or MemoryFiles(), Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.do(driver.push("a", "one", "two"))
    driver.fold()
    driver.do(driver.push("a", "three"))
    return driver


def closed() -> Content:
    driver = make()
    driver.journal.close()
    content: Content = driver.files.content()
    return content


def checked(content: Content, holder: Holder | None = None) -> checking.Checked:
    files = MemoryFiles(content)
    found = check(files, DIRECTORY, lambda _: holder)
    assert files.content() == content
    assert not files.handles
    return found


def test_a_sound_directory() -> None:
    found = checked(closed())
    assert found.is_sound
    assert not found.is_empty
    assert found.recovered is not None
    assert found.contents[:3] == (1, 3, 14)
    assert (found.recovered.records, found.recovered.snapshot_number) == (4, 1)
    assert found.damaged == []


def test_an_empty_directory() -> None:
    found = checked({"notes": b"x"})
    assert (found.is_empty, found.is_sound) == (True, True)


def test_damage() -> None:
    content = closed()
    last = max(name for name in content if name.endswith(".mqj"))
    found = checked(flip(content, last, 90))
    assert isinstance(found.problem, JournalDamaged)
    assert (found.is_sound, found.recovered) == (False, None)
    assert [entry.name for entry in found.damaged] == [last]
    assert found.plan.losses
    assert found.contents == checking.NOTHING
    found = checked(flip(content, snapshot_name(1), 90))
    assert isinstance(found.problem, SnapshotDamaged)
    found = checked({**content, "x.mqj": b"text"})
    assert isinstance(found.problem, ForeignDirectory)


def test_a_torn_tail_is_sound() -> None:
    content = closed()
    last = max(name for name in content if name.endswith(".mqj"))
    found = checked({**content, last: content[last] + b"torn"})
    assert found.is_sound
    assert found.recovered is not None
    assert found.recovered.cut_bytes == 4


def test_damage_that_a_start_can_do_without() -> None:
    driver = make()
    number = driver.seal()
    older = driver.files.content()
    fold(driver.files, DIRECTORY, number)
    driver.journal.close()
    both = {**older, **driver.files.content()}
    both = without(both, "spare.mqj")
    found = checked(both)
    assert found.is_sound
    found = checked(flip(both, snapshot_name(2), 90))
    assert found.problem is None
    assert [entry.name for entry in found.damaged] == [snapshot_name(2)]
    assert not found.is_sound
    assert checked(flip(both, snapshot_name(1), 90)).is_sound, "nothing needs it any more"


# While it is served


@pytest.fixture
def large_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SEGMENT_BYTES", 100_000)


class Growing(MemoryFiles):
    """A directory in which somebody writes while it is read: some batches before each read."""

    def __init__(self, driver: Driver) -> None:
        self.inodes, self.handles, self.last = driver.files.inodes, {}, 10**6
        self.driver = driver
        self.count = 0

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        for _ in range(3 if self.count < 60 else 0):
            self.count += 1
            self.driver.do(self.driver.push("a", f"while {self.count}"))
        return super().read(handle, offset, size_bytes)


@pytest.mark.usefixtures("large_segments")
def test_a_directory_that_is_written_meanwhile_is_sound() -> None:
    driver = make()
    for _ in range(10):
        before = driver.broker.queue("a").fifo.count
        found = check(Growing(driver), DIRECTORY, lambda _: SERVED)
        assert found.is_sound
        assert found.holder == SERVED
        assert before < found.contents.messages <= driver.broker.queue("a").fifo.count
    driver.journal.close()


@pytest.mark.usefixtures("large_segments")
def test_without_the_care_for_what_is_written_it_looks_damaged() -> None:
    """The negative control of the test before."""
    driver = make()
    found = [check(Growing(driver), DIRECTORY, lambda _: None) for _ in range(10)]
    assert not all(each.is_sound for each in found)
    driver.journal.close()


def test_files_that_go_while_they_are_looked_at() -> None:
    driver = make()

    class Folding(MemoryFiles):
        def __init__(self) -> None:
            self.inodes, self.handles, self.last = driver.files.inodes, {}, 10**6
            self.folds = 0

        def names(self, path: str) -> list[str]:
            names = super().names(path)
            if self.folds < 2:
                self.folds += 1
                driver.fold()
            return names

    found = check(Folding(), DIRECTORY, lambda _: SERVED)
    assert found.is_sound
    driver.journal.close()


def test_a_sealed_segment_that_ends_in_zeros_is_sound_while_it_is_served() -> None:
    """A record ends with the time, which ends in a zero every 256 ms."""
    driver = make()
    driver.do(driver.broker.plan_push("a", 1, join_bodies(["x"]), (), 5 * 256))
    number = driver.seal()
    sealed = driver.files.content()[segment_name(number - 1)]
    assert sealed.endswith(b"\0")
    assert check(driver.files, DIRECTORY, lambda _: SERVED).is_sound
    driver.journal.close()


def test_a_header_that_ends_in_zeros_is_sound_while_it_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checksum ends in a zero every 256th time."""
    ids = itertools.count()
    monkeypatch.setattr(secrets, "token_bytes", lambda size: next(ids).to_bytes(size, "big"))
    driver = make()
    for _ in range(2000):
        newest = driver.files.inodes[segment_name(driver.seal())]
        if newest.data[HEADER_BYTES - 1] == 0:
            break
    assert not any(newest.data[HEADER_BYTES - 1 :])
    assert check(driver.files, DIRECTORY, lambda _: SERVED).is_sound
    driver.journal.close()


def test_what_changes_all_the_time_is_told() -> None:
    driver = make()

    class Restless(MemoryFiles):
        def __init__(self) -> None:
            self.inodes, self.handles, self.last = driver.files.inodes, {}, 10**6

        def names(self, path: str) -> list[str]:
            names = super().names(path)
            driver.do(driver.push("a", "more"))
            driver.fold()
            return names

    with pytest.raises(DirectoryLocked, match="changes faster than it can be looked at"):
        check(Restless(), DIRECTORY, lambda _: SERVED)
    driver.journal.close()


def test_damage_is_damage_also_while_it_is_served() -> None:
    content = closed()
    last = max(name for name in content if name.endswith(".mqj"))
    found = checked(flip(content, last, 90), SERVED)
    assert isinstance(found.problem, JournalDamaged)


def test_one_who_comes_in_the_meantime() -> None:
    content = closed()
    last = max(name for name in content if name.endswith(".mqj"))
    holders = iter([None, SERVED, SERVED])
    files = MemoryFiles(flip(content, last, 90))
    found = check(files, DIRECTORY, lambda _: next(holders))
    assert found.holder == SERVED


def test_a_file_that_may_not_be_read() -> None:
    class Closed(MemoryFiles):
        def open(self, path: str, *, writable: bool = False) -> int:
            if path.endswith(".mqs"):
                raise PermissionError(13, "Permission denied", path)
            return super().open(path, writable=writable)

    found = check(Closed(closed()), DIRECTORY, lambda _: None)
    assert isinstance(found.problem, DirectoryUnusable)
    assert found.inventory.entries[0].state is FileState.UNREADABLE


# On a real disk


def test_directories_that_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, words in (("missing", "there is no directory"), ("file", "is no directory")):
        with pytest.raises(DirectoryUnusable, match=words):
            check(OsFiles(), str(tmp_path / name))
    for error, words in ((PermissionError(13, "no"), "may not be read"), (OSError(5, "io"), "io")):
        assert words in checking.unusable("d", error).message


def test_who_holds_a_directory(tmp_path: Path) -> None:
    directory = str(tmp_path)
    assert holder_of(directory) is None
    assert list(tmp_path.iterdir()) == [], "a lock file was made"
    with DirectoryLock(directory):
        assert holder_of(directory) == Holder(os.getpid(), "serves")
        with pytest.raises(DirectoryLocked, match=rf"process {os.getpid()} serves in"):
            with hold_still(directory):
                pass
    assert holder_of(directory) is None
    with DirectoryLock(directory, FOLD_LOCK_NAME):
        assert holder_of(directory) == Holder(os.getpid(), "makes a snapshot")
        (tmp_path / FOLD_LOCK_NAME).write_bytes(b"?")
        found = holder_of(directory)
        assert found is not None
        assert found.who == "another process"
    before = (tmp_path / LOCK_NAME).read_bytes()
    with hold_still(directory):
        with pytest.raises(DirectoryLocked):
            DirectoryLock(directory)
        assert holder_of(directory) is None
    assert (tmp_path / LOCK_NAME).read_bytes() == before
    DirectoryLock(directory).release()


def test_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK_NAME).write_bytes(b"")

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(checking.fcntl, "flock", refuse)
    assert holder_of(str(tmp_path)) is None


def test_a_real_directory_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DIRECTORY).mkdir()
    driver = make(OsFiles())
    is_over = threading.Event()

    def serve() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            driver.do(driver.push("a", f"{number}"))
            if number % 50 == 0:
                driver.fold()

    server = threading.Thread(target=serve)
    server.start()
    try:
        for _ in range(5):
            found = check(OsFiles(), str(tmp_path / DIRECTORY), lambda _: SERVED)
            assert found.is_sound, found.problem
    finally:
        is_over.set()
        server.join()
    driver.journal.close()
    assert not (tmp_path / DIRECTORY / segment_name(1)).exists()
