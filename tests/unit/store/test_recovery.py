from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Content, MemoryFiles
from crash.history import DIRECTORY, SEGMENT_BYTES, Driver, Model, new_broker, reopen, view
from mqd.core.errors import page_lost
from mqd.store.decisions import TABLE, Action, SegmentsState, SnapshotState, TailState, decide
from mqd.store.errors import (
    DirectoryUnusable,
    ForeignDirectory,
    JournalDamaged,
    RecordRefused,
    SnapshotDamaged,
    StorageError,
    UnsupportedFormat,
)
from mqd.store.files import OsFiles
from mqd.store.recordlog import SEGMENT_MAGIC, Header, encode_batch, encode_header
from mqd.store.recovery import recover
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name, verify
from mqd.store.survey import look
from mqwire.levels import Level

if TYPE_CHECKING:
    from pathlib import Path

COMBINATIONS = list(itertools.product(SnapshotState, SegmentsState, TailState))


@pytest.mark.parametrize(("snapshot", "segments", "tail"), COMBINATIONS)
def test_every_combination_has_one_decision(
    snapshot: SnapshotState, segments: SegmentsState, tail: TailState
) -> None:
    decision = decide(snapshot, segments, tail)
    assert decision.reason
    has_hole = segments in (SegmentsState.GAP, SegmentsState.NONE)
    is_new = (snapshot, segments) == (SnapshotState.NONE, SegmentsState.NONE)
    needs_all = snapshot in (SnapshotState.NONE, SnapshotState.DAMAGED)
    is_hopeless = has_hole or (needs_all and segments is SegmentsState.LEFT_OVER)
    if is_new:
        assert decision.action is Action.START_EMPTY
    elif is_hopeless or tail is TailState.DAMAGED:
        assert decision.action is Action.REFUSE
    elif tail is TailState.TORN:
        assert decision.action is Action.CUT
    else:
        assert decision.action is Action.GO_ON


def test_the_table_holds_every_combination_once() -> None:
    assert len(TABLE) == len(SnapshotState) * len(SegmentsState)
    assert all(set(row) == set(TailState) for row in TABLE.values())


def content(*, folds: int, segments: int) -> tuple[Content, Driver]:
    """A directory that was closed well: so many snapshots were made, so many segments follow."""
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    kept: Content = {}
    for number in range(folds):
        driver.do(driver.push("a", f"folded {number}"))
        driver.seal()
        kept |= files.content()
        driver.fold()
    for number in range(segments):
        driver.do(driver.push("a", f"later {number}"))
        driver.seal()
    driver.do(driver.push("a", "last"))
    driver.journal.close()
    return {**kept, **files.content()}, driver


def without(content: Content, *names: str) -> Content:
    return {name: data for name, data in content.items() if name not in names}


def spoil(content: Content, name: str, position: int = 80) -> Content:
    data = bytearray(content[name])
    data[position] ^= 4
    return {**content, name: bytes(data)}


def tear(content: Content) -> Content:
    name = max(name for name in content if name.startswith("segment"))
    return {**content, name: content[name] + b"\xb5mqB torn" + bytes(90)}


# What is on the disk for each pair of states; two snapshots lie there as after a crash
# between a rename and the removal of what it has taken the place of.
def arrange(snapshot: SnapshotState, segments: SegmentsState) -> tuple[Content, Driver] | None:
    if snapshot is SnapshotState.NONE:
        if segments is SegmentsState.LEFT_OVER:
            return None  # no number is below 1
        found, driver = content(folds=0, segments=3)
        needed = 1
    else:
        found, driver = content(folds=2, segments=1)
        found = without(found, "spare.mqj")
        firsts = [verify(MemoryFiles(found), DIRECTORY, number).first_segment for number in (1, 2)]
        assert 1 < firsts[0] < firsts[1]
        if snapshot is SnapshotState.GOOD:
            needed = firsts[1]
        elif snapshot is SnapshotState.FALLBACK:
            found, needed = spoil(found, snapshot_name(2)), firsts[0]
        else:
            found, needed = spoil(spoil(found, snapshot_name(1)), snapshot_name(2)), 1
    numbers = [number for number in range(1, 9) if segment_name(number) in found]
    gone = {
        SegmentsState.NONE: numbers,
        SegmentsState.WHOLE: [number for number in numbers if number < needed],
        SegmentsState.LEFT_OVER: [],
        SegmentsState.GAP: [needed],  # with what is left of older ones
    }[segments]
    if segments is SegmentsState.LEFT_OVER and needed == 1:
        return None
    return without(found, *map(segment_name, gone)), driver


@pytest.mark.parametrize(("snapshot", "segments", "tail"), COMBINATIONS)
def test_every_combination_on_a_disk(
    snapshot: SnapshotState, segments: SegmentsState, tail: TailState
) -> None:
    arranged = arrange(snapshot, segments)
    if arranged is None:
        pytest.skip("there are no such files")
    found, driver = arranged
    if segments is not SegmentsState.NONE:
        if tail is TailState.TORN:
            found = tear(found)
        if tail is TailState.DAMAGED:
            found = spoil(found, max(name for name in found if name.startswith("segment")), 60)
    files = MemoryFiles(found)
    seen = look(files, DIRECTORY)
    assert (seen.snapshot_state, seen.segments_state) == (snapshot, segments)
    decision = decide(snapshot, segments, tail)
    if decision.action is Action.REFUSE:
        with pytest.raises(StorageError, match="mqd check"):
            reopen(files)
        assert files.content() == found
        return
    outcome = reopen(files)
    assert outcome.recovered.decision == decision
    if decision.action is Action.START_EMPTY:
        assert outcome.state == view(new_broker())
    else:
        assert outcome.state == view(driver.broker)
    assert bool(outcome.recovered.cut_bytes) == (decision.action is Action.CUT)
    assert bool(outcome.recovered.warnings) == (
        decision.action is Action.CUT or snapshot in (SnapshotState.FALLBACK, SnapshotState.DAMAGED)
    )
    assert reopen(files).state == outcome.state


def test_figures_of_a_recovery() -> None:
    found, _ = content(folds=1, segments=2)
    outcome = reopen(MemoryFiles(found))
    recovered = outcome.recovered
    assert recovered.snapshot_number == 1
    assert recovered.epoch == 2
    assert recovered.records >= 5
    assert recovered.read_bytes > 200
    assert recovered.seconds > 0


def test_files_of_others_are_left_alone() -> None:
    found, driver = content(folds=0, segments=1)
    found |= {"notes.txt": b"mine", "lock": b"1\n", "snapshot.tgz": b"x"}
    files = MemoryFiles(found)
    assert reopen(files).state == view(driver.broker)
    assert files.content()["notes.txt"] == b"mine"


@pytest.mark.parametrize("name", ["segment-1.mqj", "old.mqs", "segment-0000000001 (copy).mqj"])
def test_files_that_pretend_to_be_ours(name: str) -> None:
    with pytest.raises(ForeignDirectory, match="move it away"):
        reopen(MemoryFiles({name: b"x"}))


def test_leavings_are_removed() -> None:
    found, _ = content(folds=1, segments=0)
    found |= {"spare.mqj": bytes(90), "snapshot-0000000002.tmp": b"half"}
    files = MemoryFiles(found)
    reopen(files)
    assert not {"spare.mqj", "snapshot-0000000002.tmp"} & set(files.content())


def test_another_version() -> None:
    header = Header(1, 1, 1, b"storestr", b"12345678")
    data = encode_header(SEGMENT_MAGIC, header, version=2)
    with pytest.raises(
        UnsupportedFormat, match=r"it reads 1.*use the version that wrote it"
    ) as caught:
        reopen(MemoryFiles({segment_name(1): data}))
    assert caught.value.path == f"{DIRECTORY}/{segment_name(1)}"


def test_damage_names_file_and_byte() -> None:
    found, _ = content(folds=0, segments=3)
    with pytest.raises(JournalDamaged, match=r"segment-0000000002\.mqj at byte 56 ") as caught:
        reopen(MemoryFiles(spoil(found, segment_name(2))))
    assert (caught.value.path, caught.value.offset) == (f"{DIRECTORY}/{segment_name(2)}", 56)


def test_a_damaged_snapshot_names_itself() -> None:
    found, _ = content(folds=1, segments=0)
    found = {name: data for name, data in found.items() if name != segment_name(1)}
    with pytest.raises(SnapshotDamaged, match=r"snapshot-0000000001\.mqs is damaged at byte 56"):
        reopen(MemoryFiles(spoil(found, snapshot_name(1))))


@pytest.mark.parametrize(
    "payload", [b"\x92\x04\xcd\x03\xe7", b"\x91\x63", b"\xc1", b"\x07", b"\x90"]
)
def test_a_record_that_cannot_be_applied(payload: bytes) -> None:
    header = Header(1, 1, 1, b"storestr", b"12345678")
    parts = [encode_header(SEGMENT_MAGIC, header), *encode_batch(1, 0, header.file_id, [payload])]
    before = {segment_name(1): b"".join(parts)}
    files = MemoryFiles(before)
    with pytest.raises(RecordRefused, match="good checksum"):
        reopen(files)
    assert files.content() == before


def test_a_state_that_cannot_be_held_because_pages_are_lost_is_the_disks_fault() -> None:
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.journal.close()
    before = files.content()

    def losing(_: object) -> None:
        raise page_lost("Input/output error")

    with pytest.raises(DirectoryUnusable, match="Input/output error"):
        recover(files, DIRECTORY, losing)
    assert files.content() == before


def test_the_accepted_tail_is_written_again_before_it_is_promised() -> None:
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    for number in range(4):
        driver.do(driver.push("a", str(number)), level=Level.WRITTEN)
    driver.journal._writer.finish = lambda: None  # another server has the directory now
    outcome = reopen(files)
    assert outcome.state == view(driver.broker)
    writer = outcome.recovered.writer
    assert writer.synced_lsn == outcome.recovered.next_lsn - 1
    assert writer.first_lsn < outcome.recovered.next_lsn, "nothing was written again"
    driver.journal.close()


def test_a_torn_tail_and_reserved_space_are_given_back() -> None:
    files = MemoryFiles()
    driver = Driver(files, Model(), marker_seconds=3600.0)
    driver.do(driver.broker.plan_create("a", {}, 1))
    data = files.content()[segment_name(1)]
    sound_bytes = len(data.rstrip(b"\0"))
    torn = data[:sound_bytes] + b"torn" + data[sound_bytes + 4 :]
    for left, cut_bytes in ((data, 0), (torn, 4)):
        found = MemoryFiles({segment_name(1): left})
        assert reopen(found).recovered.cut_bytes == cut_bytes
        assert found.content()[segment_name(1)] == data[:sound_bytes]
    driver.journal.close()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DirectoryUnusable, match="mend that and start again"):
        recover(OsFiles(), str(tmp_path / "file" / "data"), lambda _: None)


def test_on_a_real_disk(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    epochs = []
    for _ in range(3):
        recovered = recover(OsFiles(), directory, lambda _: None, segment_bytes=SEGMENT_BYTES)
        epochs.append(recovered.epoch)
        recovered.writer.finish()
    assert epochs == [1, 2, 3]
