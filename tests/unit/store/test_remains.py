"""How files go together: the inventory of real files, and the plan that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Content, MemoryFiles
from crash.damage import cut, flip, without
from crash.history import DIRECTORY, Driver, Model
from mqd.store.fold import fold
from mqd.store.inventory import FileKind, FileState, Inventory, name_of, take
from mqd.store.recordlog import SEGMENT_MAGIC, SNAPSHOT_MAGIC, Header, encode_batch, encode_header
from mqd.store.remains import Loss, Plan, plan
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name, verify

if TYPE_CHECKING:
    from mqd.store.inventory import FileEntry

STORE = b"storestr"


def segment(
    number: int, first_lsn: int, *lsns: int, synced: int = 0, store: bytes = STORE
) -> bytes:
    """Return a segment with empty batches."""
    file_id = b"file%04d" % (number * 100 + first_lsn)
    head = encode_header(SEGMENT_MAGIC, Header(number, first_lsn, 1, store, file_id))
    batches = [b"".join(encode_batch(lsn, synced, file_id, [b"\x90"])) for lsn in lsns]
    return head + b"".join(batches)


def at(batches: int) -> int:
    """Tell where a segment's batch begins that comes after so many."""
    return 56 + 37 * batches


def planned(content: Content) -> Plan:
    return plan(take(MemoryFiles(content), DIRECTORY))


def taken(found: Plan) -> list[tuple[str, int, int | None]]:
    return [(part.entry.name, part.first_lsn, part.last_lsn) for part in found.parts]


def real() -> Content:
    """Return a directory with a snapshot and three segments behind it, closed well."""
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.do(driver.push("a", "folded"))
    driver.fold()
    for number in range(2):
        driver.do(driver.push("a", f"later {number}"))
        driver.seal()
    driver.do(driver.push("a", "last"))
    driver.journal.close()
    return files.content()


ONE, TWO, THREE = (segment_name(number) for number in (1, 2, 3))
SOUND = {
    ONE: segment(1, 1, 1, 2, 3, synced=3),
    TWO: segment(2, 4, 4, 5, 6, 7, synced=7),
    THREE: segment(3, 8, 8, 9, 10, synced=9),
}


def test_everything_is_there() -> None:
    found = planned(SOUND)
    assert taken(found) == [(ONE, 1, 3), (TWO, 4, 7), (THREE, 8, None)]
    assert (found.base, found.losses, found.last_lsn, found.torn_bytes) == (None, [], 10, 0)


def test_an_empty_directory() -> None:
    found = planned({"notes": b"x"})
    assert found.is_empty
    assert found.losses == []


@pytest.mark.parametrize(
    ("content", "losses"),
    [
        (flip(SOUND, TWO, at(1) + 36), [Loss(TWO, at(1), at(2), 5, 5)]),
        (flip(SOUND, TWO, at(0) + 36), [Loss(TWO, at(0), at(1), 4, 4)]),
        (flip(SOUND, TWO, at(3) + 36), [Loss(TWO, at(3), at(4), 7, 7)]),
        (cut(SOUND, TWO, at(2) + 5), [Loss(TWO, at(2), at(2) + 5, 6, 7)]),
        (cut(SOUND, TWO, at(2)), [Loss(TWO, at(2), at(2), 6, 7)]),
        (cut(SOUND, TWO, 0), [Loss(TWO, 0, 0, 4, 7)]),
        (without(SOUND, TWO), [Loss(TWO, None, None, 4, 7)]),
        (
            without(SOUND, ONE, TWO),
            [Loss(f"{ONE} to {TWO}, or the snapshot that took their place", None, None, 1, 7)],
        ),
        (flip(SOUND, TWO, 3), []),
        (flip(flip(SOUND, TWO, 3), TWO, at(0) + 36), [Loss(TWO, 0, at(1), 4, 4)]),
        (flip(SOUND, THREE, at(0) + 36), [Loss(THREE, at(0), at(1), 8, 8)]),
        (flip(SOUND, THREE, at(1) + 36), [Loss(THREE, at(1), at(2), 9, 9)]),
        (cut(SOUND, THREE, 9), [Loss(THREE, 0, 9, 8, 0)]),
        (flip(flip(SOUND, TWO, at(1) + 36), TWO, at(3) + 36),
         [Loss(TWO, at(1), at(2), 5, 5), Loss(TWO, at(3), at(4), 7, 7)]),
    ],
)  # fmt: skip
def test_what_is_lost(content: Content, losses: list[Loss]) -> None:
    found = planned(content)
    assert found.losses == losses
    assert found.torn_bytes == 0


def test_a_torn_tail_is_no_loss() -> None:
    for tail in (b"torn", bytes(90) + b"x", segment(9, 1, 1)[56:]):
        found = planned({**SOUND, THREE: SOUND[THREE] + tail})
        assert (found.losses, found.torn_bytes) == ([], len(tail))
    found = planned(flip(SOUND, THREE, at(2) + 36))
    assert (found.losses, found.torn_bytes, found.last_lsn) == ([], 37, 9)


def test_behind_what_was_never_promised_everything_is_doubtful() -> None:
    content = {ONE: flip({ONE: segment(1, 1, 1, 2, 3, 4, synced=1)}, ONE, at(2) + 36)[ONE]}
    found = planned(content)
    assert found.losses == [Loss(ONE, at(2), at(3), 3, 3, was_promised=False)]
    assert taken(found) == [(ONE, 1, 2), (ONE, 4, None)]
    assert [part.is_doubtful for part in found.parts] == [False, True]


def test_names_and_order() -> None:
    swapped = {**SOUND, ONE: SOUND[TWO], TWO: SOUND[ONE]}
    found = planned(swapped)
    assert taken(found) == [(TWO, 1, 3), (ONE, 4, 7), (THREE, 8, None)]
    assert found.losses == []
    entries = take(MemoryFiles(swapped), DIRECTORY).entries
    assert [entry.state for entry in entries[:2]] == [FileState.MISNAMED] * 2
    assert [name_of(entry) for entry in entries] == [ONE, TWO, THREE]
    copied = {**SOUND, "copy of 2.mqj": SOUND[TWO], segment_name(4): cut(SOUND, TWO, 99)[TWO]}
    assert taken(planned(copied)) == taken(planned(SOUND))


def test_a_new_start_takes_the_place_of_what_was_never_promised() -> None:
    content = {ONE: segment(1, 1, 1, 2, 3), TWO: segment(2, 2, 2, 3, 4, synced=4)}
    found = planned(content)
    assert taken(found) == [(ONE, 1, 1), (TWO, 2, None)]
    assert found.losses == []


def test_what_lies_behind_the_place_of_a_new_start_is_left_out() -> None:
    old = flip({ONE: segment(1, 1, 1, 2, 3, 4)}, ONE, at(2) + 36)[ONE]
    found = planned({ONE: old, TWO: segment(2, 3, 3, 4, synced=4)})
    assert taken(found) == [(ONE, 1, 2), (TWO, 3, None)]
    assert found.losses == []


def test_a_newer_snapshot_says_how_far_it_went() -> None:
    content = real()
    (first,) = firsts(content)
    newer = Header(2, 90, 1, segment_store(content), b"12345678")
    spoilt = encode_header(SNAPSHOT_MAGIC, newer) + bytes(90)
    found = planned({**content, snapshot_name(2): spoilt})
    assert found.base is not None
    assert found.base.name == snapshot_name(1)
    (loss,) = found.losses
    assert (loss.name, loss.last_lsn, found.last_lsn) == (segment_name(first + 2), 89, 89)


def segment_store(content: Content) -> bytes:
    return take(MemoryFiles(content), DIRECTORY).store_id


def test_files_of_another_directory_are_left_out() -> None:
    other = segment(2, 4, 4, 5, 6, 7, synced=7, store=b"anotherd")
    found = planned({**SOUND, TWO: other})
    assert found.losses == [Loss(TWO, 0, len(other), 4, 7)]
    assert len(found.parts) == 2


def test_a_file_in_the_place_of_the_next_segment_may_have_held_something() -> None:
    later = encode_header(SEGMENT_MAGIC, Header(4, 11, 1, STORE, b"12345678"), version=9)
    found = planned({**SOUND, segment_name(4): b"text", segment_name(5): later})
    assert found.losses == [Loss(segment_name(4), 0, 4, 11, 0), Loss(segment_name(5), 0, 56, 11, 0)]


# With snapshots


def firsts(content: Content) -> list[int]:
    names = [name for name in content if name.endswith(".mqs")]
    return [
        verify(MemoryFiles(content), DIRECTORY, int(name[9:19])).first_segment for name in names
    ]


def test_a_sound_snapshot_and_what_comes_after_it() -> None:
    content = real()
    found = planned(content)
    assert found.base is not None
    assert found.base.name == snapshot_name(1)
    assert [part.entry.number for part in found.parts] == [
        firsts(content)[0] + each for each in range(3)
    ]
    assert (found.losses, found.torn_bytes, found.is_place_lost) == ([], 0, False)


def test_a_snapshot_alone() -> None:
    content = {name: data for name, data in real().items() if name.endswith(".mqs")}
    found = planned(content)
    (first,) = firsts(content)
    (loss,) = found.losses
    assert (loss.name, loss.start, loss.last_lsn) == (segment_name(first), None, 0)


def test_segments_that_a_snapshot_speaks_of_and_that_are_gone() -> None:
    content = real()
    (first,) = firsts(content)
    gone = without(content, segment_name(first))
    found = planned(gone)
    assert [loss.name for loss in found.losses] == [segment_name(first)]
    only_old = {ONE: SOUND[ONE], snapshot_name(1): with_store(content[snapshot_name(1)])}
    assert segment_name(first) in [loss.name for loss in planned(only_old).losses]


def with_store(data: bytes) -> bytes:
    """Return a snapshot as one of the directory of these tests."""
    number, first_lsn = int.from_bytes(data[12:20], "big"), int.from_bytes(data[20:28], "big")
    return (
        encode_header(SNAPSHOT_MAGIC, Header(number, first_lsn, 1, STORE, data[44:52])) + data[56:]
    )


def test_the_header_of_a_snapshot_is_not_needed() -> None:
    content = real()
    found = planned(flip(content, snapshot_name(1), 30))
    assert found.base is not None
    assert found.base.state is FileState.NO_HEADER
    assert (found.losses, found.is_place_lost) == ([], False)
    assert [part.entry.number for part in found.parts] == [
        firsts(content)[0] + each for each in range(3)
    ]


def test_a_snapshot_whose_place_is_lost() -> None:
    content = real()
    data = bytes(100) + content[snapshot_name(1)][100:]
    found = planned({**content, snapshot_name(1): data})
    assert found.is_place_lost
    assert len(found.parts) == 3
    assert found.losses
    found = planned({snapshot_name(1): data})
    assert found.is_place_lost


def test_a_cut_snapshot() -> None:
    content = real()
    size = len(content[snapshot_name(1)])
    found = planned(cut(content, snapshot_name(1), size - 1))
    (loss,) = found.losses
    assert loss.name == snapshot_name(1)
    assert (loss.end, loss.first_lsn) == (size - 1, 0)
    found = planned(cut(content, snapshot_name(1), 60))
    assert found.base is None


def test_bytes_behind_a_whole_snapshot_are_no_loss() -> None:
    content = real()
    found = planned({**content, snapshot_name(1): content[snapshot_name(1)] + b"more"})
    assert found.base is not None
    assert found.base.info is None
    assert found.losses == []


def test_an_older_snapshot_where_it_is_whole() -> None:
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.fold()
    driver.do(driver.push("a", "x"))
    number = driver.seal()
    older = files.content()
    fold(files, DIRECTORY, number)
    driver.journal.close()
    both = {**older, **files.content()}
    spoilt = flip(both, snapshot_name(2), 70)
    found = planned(spoilt)
    assert found.base is not None
    assert found.base.name == snapshot_name(1)
    assert found.losses == []
    newest = planned(without(spoilt, *[name for name in older if name.endswith(".mqj")]))
    assert newest.base is not None
    assert newest.losses


def test_kinds_and_states() -> None:
    version = encode_header(SEGMENT_MAGIC, Header(8, 1, 1, STORE, b"12345678"), version=2)
    content = {
        **SOUND,
        "spare.mqj": bytes(8),
        "snapshot-0000000004.tmp": b"half",
        "old.mqs": b"",
        segment_name(8): version,
        "lock": b"1",
        "frames": b"",
    }
    inventory: Inventory = take(MemoryFiles(content), DIRECTORY)
    states: dict[str, FileEntry] = {entry.name: entry for entry in inventory.entries}
    assert set(states) == set(content) - {"lock", "frames"}
    assert states["spare.mqj"].kind is FileKind.LEAVING
    assert states["snapshot-0000000004.tmp"].state is FileState.UNFINISHED
    assert states["old.mqs"].state is FileState.NO_HEADER
    assert states[segment_name(8)].state is FileState.OTHER_VERSION
    assert not states[segment_name(8)].has_use
    assert (inventory.store_id, inventory.epoch) == (STORE, 1)


def test_a_file_that_cannot_be_read() -> None:
    class Closed(MemoryFiles):
        def open(self, path: str, *, writable: bool = False) -> int:
            if path.endswith(TWO):
                raise PermissionError(13, "Permission denied", path)
            return super().open(path, writable=writable)

    entries = take(Closed(SOUND), DIRECTORY).entries
    assert [entry.state for entry in entries] == [
        FileState.SOUND,
        FileState.UNREADABLE,
        FileState.SOUND,
    ]
    assert (entries[1].reason, entries[1].number) == ("Permission denied", 2)


def test_a_snapshot_with_odd_records_of_its_own() -> None:
    for payload in (b"\xc1", b"\x92\x00\xa1x", b"\x90\x90", b"\x93\x00\x07\x03"):
        head = encode_header(SNAPSHOT_MAGIC, Header(1, 5, 1, STORE, b"12345678"))
        data = head + b"".join(encode_batch(1, 0, b"12345678", [payload]))
        (entry,) = take(MemoryFiles({snapshot_name(1): data}), DIRECTORY).entries
        assert (entry.state, entry.first_segment, entry.is_ended) == (FileState.DAMAGED, 0, False)
        found = planned({snapshot_name(1): data, segment_name(4): segment(4, 5, 5)})
        assert len(found.parts) == 1
        assert (
            planned({snapshot_name(1): data}).losses[-1].name == "the segments after the snapshot"
        )
