from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from crash.crash_files import MemoryFiles
from crash.history import DIRECTORY, Driver, Model, new_broker, reopen, view
from mqd.core import records
from mqd.store import journal as journals
from mqd.store import sync_pace
from mqd.store.errors import JournalFailed
from mqd.store.journal import Journal
from mqd.store.reading import BatchReader
from mqd.store.recordlog import BATCH_BYTES, SEGMENT_MAGIC
from mqd.store.recovery import recover
from mqd.store.segments import segment_name
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mqd.core.broker import Broker
    from mqd.core.records import Record


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may be held up in a write or a sync; that is not to look like a slow disk here."""
    monkeypatch.setattr(journals, "INLINE_WRITE_SECONDS", 3600.0)
    monkeypatch.setattr(sync_pace, "QUICK_SECONDS", 3600.0)
    monkeypatch.setattr(sync_pace, "STALL_SECONDS", 3600.0)


class GatedFiles(MemoryFiles):
    """Syncs wait until they are let through; space may run out."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.syncs = 0
        self.writers: list[str] = []
        self.syncers: list[str] = []
        self.is_broken = False
        self.passes = 0  # syncs that get through the gate though it is shut
        self.is_full = False

    def sync_data(self, handle: int) -> None:  # noqa: ARG002  the interface's
        while not self.gate.wait(0.001):
            if self.passes:
                self.passes -= 1
                break
        self.syncs += 1
        self.syncers.append(threading.current_thread().name)
        if self.is_broken:
            raise OSError(errno.EIO, "broken")

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        self.writers.append(threading.current_thread().name)
        data = self.handles[handle].data
        size = sum(map(len, parts))
        assert not self.is_full or offset + size <= len(data), "written where nothing was reserved"
        super().write(handle, offset, parts)

    def allocate(self, handle: int, size_bytes: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "full")
        super().allocate(handle, size_bytes)


class OnceBroken(GatedFiles):
    """Takes nothing the next time that it is asked to write."""

    is_next = False

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        super().write(handle, offset, parts)
        if self.is_next:
            self.is_next = False
            raise OSError(errno.EIO, "broken")


def make(files: GatedFiles | None = None, **options: Any) -> tuple[GatedFiles, Driver]:
    files = GatedFiles() if files is None else files
    driver = Driver(files, Model(), **{"marker_seconds": 3600.0, **options})
    driver.do(driver.broker.plan_create("a", {}, 1))
    settle(driver)
    return files, driver


def settle(driver: Driver) -> None:
    journal = driver.journal
    driver.wait(lambda: journal._is_asleep and (journal._writer.has_spare or journal.is_full))


def batches(files: MemoryFiles, number: int) -> list[int]:
    reader = BatchReader(files, f"{DIRECTORY}/{segment_name(number)}", SEGMENT_MAGIC)
    found = [len(payload) for run in reader.runs() for payload in run.payloads]
    reader.close()
    return found


def test_a_small_commit_is_written_at_once_by_the_caller() -> None:
    files, driver = make()
    driver.journal.append((records.PURGE, 1))
    lsn = driver.journal.commit(Level.WRITTEN)
    assert driver.journal.written_lsn == lsn == 2
    assert driver.journal.synced_lsn == 1
    assert files.writers[-1] == threading.current_thread().name
    driver.journal.close()


def test_a_large_commit_is_left_to_the_writer() -> None:
    files, driver = make()
    driver.do(driver.push("a", bytes(100_000)), level=Level.WRITTEN)
    assert files.writers[-1] == "mqd-journal"
    driver.journal.close()


def commit_alone(driver: Driver) -> int:
    driver.journal.append((records.PURGE, 1))
    return driver.journal.commit(is_alone=True)


def test_who_is_alone_has_a_quick_disk_synced_at_once() -> None:
    files, driver = make()
    for _ in range(3):
        lsn = commit_alone(driver)
        assert driver.journal.synced_lsn == lsn
        assert files.syncers[-1] == threading.current_thread().name
    assert driver.journal.figures.syncs == len(files.syncers)
    driver.journal.close()
    assert reopen(files).state == view(driver.broker)


def test_a_disk_that_has_been_slow_is_left_to_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    files, driver = make()
    monkeypatch.setattr(sync_pace, "QUICK_SECONDS", -1.0)  # slower than that is any disk
    lsn = commit_alone(driver)
    driver.wait(lambda: driver.journal.synced_lsn >= lsn)
    settle(driver)
    lsn = commit_alone(driver)
    driver.wait(lambda: driver.journal.synced_lsn >= lsn)
    assert files.syncers[-1] == "mqd-journal"
    driver.journal.close()


def test_much_is_left_to_the_writer_on_a_quick_disk_too(monkeypatch: pytest.MonkeyPatch) -> None:
    files, driver = make()
    for most, syncer in ((3, "mqd-journal"), (4, threading.current_thread().name)):
        monkeypatch.setattr(journals, "INLINE_SYNC_BYTES", most * (BATCH_BYTES + 3))
        for _ in range(3):
            driver.journal.append((records.PURGE, 1))
            driver.journal.commit(Level.WRITTEN)
        lsn = commit_alone(driver)
        driver.wait(lambda lsn=lsn: driver.journal.synced_lsn >= lsn)
        assert files.syncers[-1] == syncer
        settle(driver)
    driver.journal.close()


def test_a_stall_of_the_disk_leaves_the_next_syncs_to_the_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, driver = make()
    commit_alone(driver)
    monkeypatch.setattr(sync_pace, "STALL_SECONDS", -1.0)
    whose = []
    note = driver.journal._sync_pace.note
    monkeypatch.setattr(
        driver.journal._sync_pace,
        "note",
        lambda *times, is_loops: whose.append(is_loops) or note(*times, is_loops=is_loops),
    )
    for syncer in (threading.current_thread().name, "mqd-journal"):
        lsn = commit_alone(driver)
        driver.wait(lambda lsn=lsn: driver.journal.synced_lsn >= lsn)
        assert files.syncers[-1] == syncer
        settle(driver)
    assert whose == [True, False]
    driver.journal.close()


def test_who_is_alone_is_told_of_a_sync_that_fails() -> None:
    files, driver = make()
    files.is_broken = True
    with pytest.raises(JournalFailed):
        commit_alone(driver)
    assert driver.journal.failure is not None
    with pytest.raises(JournalFailed):
        driver.journal.close()
    assert files.syncers == ["mqd-journal", threading.current_thread().name], "never again"


def during_a_sync(files: GatedFiles, journal: Journal) -> int:
    """Commit something, and return its lsn while it is being synced; the gate opens that."""
    files.gate.clear()
    journal.append((records.PURGE, 1))
    lsn = journal.commit()
    _until(lambda: journal._is_syncing)
    return lsn


def test_what_comes_during_a_sync_is_written_at_once_and_shares_the_next() -> None:
    files, driver = make()
    journal = driver.journal
    first = during_a_sync(files, journal)
    for number in range(10):
        journal.append((records.PURGE, 1))
        assert journal.commit() == first + 1 + number == journal.written_lsn
        assert files.writers[-1] == threading.current_thread().name
    assert journal.synced_lsn == first - 1, "nothing is promised before the sync has returned"
    before = files.syncs
    files.passes = 1
    driver.wait(lambda: journal.synced_lsn > first - 1)
    assert journal.synced_lsn == first, "it may have come too late for that sync"
    files.gate.set()
    driver.wait(lambda: journal.synced_lsn == first + 10)
    assert files.syncs == before + 2
    journal.close()
    assert reopen(files).state == view(driver.broker)


def test_what_only_the_writer_may_write_gathers_in_one_batch_during_a_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, driver = make()
    journal = driver.journal
    first = during_a_sync(files, journal)
    monkeypatch.setattr(journals, "INLINE_BYTES", 0)
    lsns = set()
    for _ in range(50):
        journal.append((records.PURGE, 1))
        lsns.add(journal.commit())
    assert lsns == {first + 1}
    assert journal.backlog_bytes == BATCH_BYTES + 50 * 3
    before = files.syncs
    files.gate.set()
    driver.wait(lambda: journal.synced_lsn >= first + 1)
    assert files.syncs == before + 2
    journal.close()
    assert batches(files, 1)[1:3] == [3, 150]


def test_what_was_written_during_a_sync_is_synced_within_the_interval() -> None:
    files, driver = make(sync_interval_seconds=0.01)
    journal = driver.journal
    first = during_a_sync(files, journal)
    journal.append((records.PURGE, 1))
    lsn = journal.commit(Level.WRITTEN)
    assert lsn == first + 1
    files.gate.set()
    driver.wait(lambda: journal.synced_lsn == lsn)
    journal.close()


def test_after_a_write_that_fails_beside_a_sync_nothing_is_written_or_synced() -> None:
    broken = OnceBroken()
    files, driver = make(broken, marker_seconds=-1.0)
    journal = driver.journal
    during_a_sync(files, journal)
    journal.append((records.PURGE, 1))
    broken.is_next = True
    with pytest.raises(JournalFailed, match="broken"):
        journal.commit()
    before = len(files.writers), files.syncs
    files.gate.set()
    with pytest.raises(JournalFailed, match="broken"):
        journal.close()
    assert (len(files.writers), files.syncs) == (before[0], before[1] + 1)


def test_a_disk_that_takes_its_time_is_left_to_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    files, driver = make()
    monkeypatch.setattr(journals, "INLINE_WRITE_SECONDS", -1.0)  # slower than that is any disk
    for writer in (threading.current_thread().name, "mqd-journal"):
        driver.journal.append((records.PURGE, 1))
        lsn = driver.journal.commit(Level.WRITTEN)
        driver.wait(lambda lsn=lsn: driver.journal.written_lsn >= lsn)
        assert files.writers[-1] == writer
        settle(driver)
    driver.journal.close()


def test_much_that_was_written_is_synced_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    files, driver = make(sync_interval_seconds=3600.0)
    journal = driver.journal
    monkeypatch.setattr(journals, "SYNC_BYTES", 3 * (BATCH_BYTES + 3))
    before, syncs = journal.synced_lsn, files.syncs
    for _ in range(2):
        journal.append((records.PURGE, 1))
        journal.commit(Level.WRITTEN)
    settle(driver)
    journal._synced_bytes = journal.figures.written_bytes - 2 * (BATCH_BYTES + 3)
    assert journal.synced_lsn == before
    journal.append((records.PURGE, 1))
    lsn = journal.commit(Level.WRITTEN)
    driver.wait(lambda: journal.synced_lsn == lsn)
    assert files.syncs == syncs + 1
    journal.close()


def test_progress_is_told() -> None:
    files = GatedFiles()
    told = threading.Event()
    driver = Driver(files, Model())
    driver.journal._on_progress = told.set
    driver.journal.append((records.PURGE, 1))
    driver.journal.commit()
    assert told.wait(30)
    driver.journal.close()


def test_a_commit_without_records_waits_for_those_before() -> None:
    _, driver = make()
    journal = driver.journal
    lsn = driver.do(driver.push("a", "x"), level=Level.WRITTEN)
    assert journal.synced_lsn < lsn
    assert journal.commit(Level.WRITTEN) == lsn
    assert journal.commit() == lsn
    driver.wait(lambda: journal.synced_lsn == lsn)
    assert journal.commit() == lsn
    journal.close()


def test_nothing_is_synced_unless_asked_but_within_the_interval() -> None:
    files, driver = make()
    before = files.syncs
    driver.do(driver.push("a", "x"), level=Level.WRITTEN)
    settle(driver)
    assert files.syncs == before
    driver.journal.close()
    files, driver = make(sync_interval_seconds=0.01)
    lsn = driver.do(driver.push("a", "x"), level=Level.WRITTEN)
    driver.wait(lambda: driver.journal.synced_lsn >= lsn)
    driver.journal.close()


def test_an_idle_journal_says_on_the_disk_what_it_has_promised() -> None:
    files, driver = make(marker_seconds=0.001)
    journal = driver.journal
    lsn = driver.do(driver.push("a", "x"))
    driver.wait(lambda: journal.written_lsn == lsn + 1)
    reader = BatchReader(files, f"{DIRECTORY}/{segment_name(1)}", SEGMENT_MAGIC)
    runs = list(reader.runs())
    reader.close()
    assert runs[-1].synced_upto == lsn
    assert runs[-1].payloads[-1] == b""
    settle(driver)
    assert journal.written_lsn == lsn + 1, "one empty batch is enough"
    journal.close()


def test_segments_follow_each_other() -> None:
    files, driver = make()
    for _ in range(30):
        driver.do(driver.push("a", bytes(90)), level=Level.WRITTEN)
    assert driver.journal.segment_number >= 4
    driver.journal.close()
    names = [name for name in files.content() if name.startswith("segment")]
    assert len(names) == driver.journal.segment_number
    assert "spare.mqj" not in files.content()
    assert all(len(files.content()[name]) <= 1000 for name in names)
    assert reopen(files).state == view(driver.broker)


def test_a_batch_larger_than_a_segment() -> None:
    files, driver = make()
    driver.do(driver.push("a", bytes(5000)))
    driver.do(driver.push("a", bytes(200_000)), (records.PULL, 1, 1))
    driver.journal.close()
    assert reopen(files).state == view(driver.broker)


def test_sealing() -> None:
    files, driver = make()
    journal = driver.journal
    number = journal.seal()
    assert number == 2
    driver.wait(lambda: journal.segment_number >= number)
    settle(driver)
    assert journal.synced_lsn == journal.written_lsn
    assert journal.seal() == 3, "also where nothing has come since"
    driver.wait(lambda: journal.segment_number >= 3)
    driver.do(driver.push("a", "x"))
    assert driver.seal() == 4
    assert len(files.content()[segment_name(1)]) < 1000, "unused space is given back"
    journal.close()


def test_a_full_disk_refuses_what_takes_space_and_nothing_else() -> None:
    files, driver = make(retry_seconds=0.001)
    journal = driver.journal
    assert journal.has_room(10**9)
    files.is_full = True
    driver.do(driver.push("a", bytes(600)))
    driver.do(driver.push("a", bytes(300)))
    driver.wait(lambda: journal.is_full)
    assert journal.segment_number == 2
    pushed = 0
    while journal.has_room(BATCH_BYTES + 100):
        driver.do(driver.push("a", bytes(60)))
        pushed += 1
    assert pushed >= 1
    entered = 0
    while journal.has_room(BATCH_BYTES + 4, is_entry=True):
        driver.do((records.PULL, 1, 1) if entered == 0 else (records.PURGE, 1))
        entered += 1
    assert entered >= 1, "who lets go of something has to come in first"
    freed = 0
    while journal.has_room(BATCH_BYTES + 4, is_freeing=True):
        driver.do((records.PURGE, 1))
        freed += 1
    assert freed >= 2
    assert journal.failure is None
    files.is_full = False
    driver.wait(lambda: not journal.is_full)
    assert journal.has_room(10**6)
    driver.do(driver.push("a", bytes(600)))
    journal.close()
    assert reopen(files).state == view(driver.broker)


def test_what_was_committed_on_a_full_disk_waits_for_space() -> None:
    files, driver = make(retry_seconds=0.001)
    journal = driver.journal
    files.is_full = True
    driver.do(driver.push("a", bytes(800)))
    record = driver.push("a", bytes(900))
    driver.broker.apply(record)
    journal.append(record)
    second = driver.push("a", bytes(700))
    driver.broker.apply(second)
    journal.append(second)
    lsn = journal.commit()
    driver.wait(lambda: journal.is_full)
    assert journal.synced_lsn < lsn
    number = journal.seal()
    files.is_full = False
    driver.wait(lambda: journal.synced_lsn >= lsn and journal.segment_number >= number)
    journal.close()
    assert reopen(files).state == view(driver.broker)


def test_closing_on_a_full_disk_says_what_was_not_written() -> None:
    files, driver = make(retry_seconds=3600.0)
    files.is_full = True
    driver.do(driver.push("a", bytes(800)))
    driver.journal.append(driver.push("a", bytes(2000)))
    driver.journal.commit()
    with pytest.raises(JournalFailed, match="not written"):
        driver.journal.close()


def test_closing_writes_and_syncs_what_is_pending() -> None:
    files, driver = make()
    record = driver.push("a", "last")
    driver.journal.append(record)
    driver.broker.apply(record)
    driver.journal.close()
    driver.journal.close()
    assert files.handles == {}, "a file was left open"
    assert reopen(files).state == view(driver.broker)


def test_commits_from_a_busy_thread_arrive_in_order() -> None:
    files, driver = make(sync_interval_seconds=0.001, marker_seconds=0.0001)
    levels = (Level.WRITTEN, Level.SYNCED, Level.ACCEPTED)
    for number in range(3000):
        record = driver.push("a", str(number))
        driver.broker.apply(record)
        driver.journal.append(record)
        driver.journal.commit(levels[number % 3])
        if number % 500 == 0:
            driver.journal.seal()
    driver.journal.close()
    assert driver.journal.failure is None
    broker = new_broker()
    assert reopen(files).state == view(driver.broker) != view(broker)


def test_figures() -> None:
    _, driver = make()
    driver.do(driver.push("a", "x"))
    driver.journal.close()
    figures = driver.journal.figures
    assert figures.batches >= 2
    assert figures.syncs >= 2
    assert figures.written_bytes > 2 * BATCH_BYTES
    assert figures.sync_seconds_max <= figures.sync_seconds


class SmallDisk(MemoryFiles):
    """A disk of so many bytes; a file takes what is reserved for it."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.free_bytes = size_bytes
        self.others_take = False

    def allocate(self, handle: int, size_bytes: int) -> None:
        data = self.handles[handle].data
        growth = max(0, size_bytes - len(data))
        if growth > self.free_bytes:
            raise OSError(errno.ENOSPC, "full")
        self.free_bytes -= growth
        super().allocate(handle, size_bytes)

    def truncate(self, handle: int, size_bytes: int) -> None:
        freed = len(self.handles[handle].data) - size_bytes
        self.free_bytes += 0 if self.others_take else freed
        super().truncate(handle, size_bytes)


def fill(files: SmallDisk) -> tuple[Broker, Journal]:
    """Return a journal on a disk that is full, with a part of the present segment left."""
    broker = new_broker()
    recovered = recover(files, DIRECTORY, broker.apply_all, segment_bytes=2**20)
    journal = Journal(recovered.writer, lambda: None, retry_seconds=0.001)
    _do(broker, journal, broker.plan_create("a", {}, 1))
    _do(broker, journal, broker.plan_push("a", 1, b"\xa1x", (), 1))
    journal.commit()
    _until(lambda: journal.is_full)
    return broker, journal


def _do(broker: Broker, journal: Journal, record: Record) -> None:
    journal.append(record)
    broker.apply(record)


def _until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0)


def test_on_a_full_disk_a_segment_is_sealed_within_its_own_space() -> None:
    files = SmallDisk(2**20 + 2**19)
    broker, journal = fill(files)
    assert journal.seal() == 2
    lsn = journal.commit()
    assert journal.synced_lsn <= lsn
    assert journal.segment_number == 1, "there is no space for a whole one"
    assert journal.seal(within=True) == 2
    _until(lambda: journal.segment_number == 2)
    assert journal.has_room(2**18, is_freeing=True)
    _do(broker, journal, broker.plan_purge("a"))
    journal.commit()
    journal.close()
    assert reopen(files).state == view(broker)


def test_where_the_space_is_gone_at_once_nothing_is_sealed_and_nothing_lost() -> None:
    files = SmallDisk(2**20)
    broker, journal = fill(files)
    files.others_take = True
    for _ in range(9):
        journal.seal(within=True)
        _until(lambda: not journal._may_seal_within)
    assert journal.segment_number == 1
    assert journal.has_room(2**15, is_freeing=True), "what is left is not taken to pieces"
    _do(broker, journal, broker.plan_purge("a"))
    journal.commit()
    files.free_bytes = 2**30
    _until(lambda: journal.segment_number == 2)
    journal.close()
    assert reopen(files).state == view(broker)


@pytest.mark.parametrize("is_alone", [False, True])
def test_whatever_goes_wrong_in_a_commit_is_the_end(
    monkeypatch: pytest.MonkeyPatch, *, is_alone: bool
) -> None:
    files, driver = make()
    journal = driver.journal

    def fail(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", fail)
        journal.append((records.PURGE, 1))
        with pytest.raises(JournalFailed):
            journal.commit(is_alone=is_alone)
    journal.append((records.PURGE, 1))
    with pytest.raises(JournalFailed):
        journal.commit(is_alone=is_alone)
    with pytest.raises(JournalFailed):
        journal.close()
    assert reopen(files).state == view(driver.broker)


def test_a_record_that_cannot_be_taken_is_the_end_too() -> None:
    files, driver = make()
    journal = driver.journal
    journal.append((records.PURGE, 1))
    with pytest.raises(TypeError):
        journal.append((records.PURGE, object()))
    with pytest.raises(JournalFailed):
        journal.commit()
    with pytest.raises(JournalFailed):
        journal.close()
    assert reopen(files).state == view(driver.broker)


def test_a_seal_takes_in_what_was_committed_before_it() -> None:
    files, driver = make()
    journal = driver.journal
    entered, go_on = threading.Event(), threading.Event()
    write = files.write

    def slow_write(*arguments: Any) -> None:
        entered.set()
        assert go_on.wait(30)
        write(*arguments)

    files.write = slow_write  # type: ignore[method-assign]
    driver.journal.append(driver.push("a", bytes(100_000)))  # too large to be written in place
    journal.commit(Level.WRITTEN)
    assert entered.wait(30)
    files.write = write  # type: ignore[method-assign]
    journal.append((records.PURGE, 1))
    lsn = journal.commit(Level.WRITTEN)
    journal.seal()
    go_on.set()
    driver.wait(lambda: not journal.is_sealing)
    assert journal._writer.first_lsn == lsn + 1
    journal.close()


def test_who_waits_for_the_writing_alone_is_told_before_the_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journals, "INLINE_BYTES", 0)
    files = GatedFiles()
    told: list[tuple[int, int]] = []
    driver = Driver(files, Model(), marker_seconds=3600.0)
    journal = driver.journal
    driver.do(driver.broker.plan_create("a", {}, 1))
    settle(driver)
    journal._on_progress = lambda: told.append((journal.written_lsn, journal.synced_lsn))
    files.gate.clear()
    journal.append((records.PURGE, 1))
    first = journal.commit()
    driver.wait(lambda: journal._is_busy)
    journal.append((records.PURGE, 1))
    second = journal.commit(Level.WRITTEN)
    journal.append((records.PURGE, 1))
    assert journal.commit() == second, "they go together"
    files.passes = 1
    driver.wait(lambda: (second, first) in told)
    assert journal.synced_lsn == first
    files.gate.set()
    driver.wait(lambda: journal.synced_lsn == second)
    journal.close()
