from __future__ import annotations

import errno
import secrets
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Content, MemoryFiles, RecordingFiles, crashes
from crash.damage import bodies_of, flip
from crash.history import DIRECTORY, Driver, Model, new_broker, reopen, view
from mqd.core import records
from mqd.store.checking import check
from mqd.store.decisions import Action
from mqd.store.errors import (
    DirectoryOccupied,
    DirectoryUnusable,
    ForeignDirectory,
    RecordRefused,
    SnapshotDamaged,
    StorageError,
    UnsupportedFormat,
)
from mqd.store.files import OsFiles
from mqd.store.inventory import take
from mqd.store.recordlog import SNAPSHOT_MAGIC, Header, encode_header
from mqd.store.restore import (
    FIRST_NUMBER,
    Backup,
    check_target,
    is_unfinished,
    read_backup,
    restore,
)
from mqd.store.segments import Identity, segment_name
from mqd.store.snapshot import Place, snapshot_name, write

if TYPE_CHECKING:
    from pathlib import Path

PATH = "away/backup"
NOW = 1_800_000_000.5


def make_backup() -> tuple[bytes, Driver]:
    driver = Driver(MemoryFiles(), Model())
    driver.do(driver.broker.plan_create("a", {"durability": "written"}, 1))
    driver.do(driver.broker.plan_create("b", {}, 2))
    for number in range(9):
        driver.do(driver.push("a", f"body {number}", headers=((0, 1, {"k": number}, 4),)))
    driver.do((records.PULL, 1, 3))
    driver.fold()
    driver.journal.close()
    return driver.files.content()[snapshot_name(1)], driver


BACKUP, DRIVER = make_backup()


def backup_of(data: bytes) -> Backup:
    return read_backup(MemoryFiles({"backup": data}), PATH)


def test_a_restored_directory_is_what_the_backup_was() -> None:
    backup = backup_of(BACKUP)
    assert backup.contents[:2] == (2, 6)
    files = MemoryFiles()
    restored = restore(files, backup, DIRECTORY, NOW)
    assert sorted(files.content()) == [
        segment_name(backup.info.first_segment),
        snapshot_name(1),
    ]
    found = check(files, DIRECTORY, lambda _: None)
    assert found.is_sound
    assert restored.removed == []
    outcome = reopen(files)
    assert outcome.state == view(DRIVER.broker)
    assert outcome.recovered.epoch == int(NOW) + 1
    again = Driver(files, Model())
    again.do(again.push("a", "goes on"))
    again.journal.close()
    assert len(bodies_of(again.broker)) == 7


def test_it_is_a_new_history() -> None:
    backup = backup_of(BACKUP)
    first, second = MemoryFiles(), MemoryFiles()
    ids = {
        restore(files, backup, DIRECTORY, NOW).snapshot.identity.store_id
        for files in (first, second)
    }
    assert len(ids | {backup.info.identity.store_id}) == 3
    segment = segment_name(backup.info.first_segment)
    mixed = {**first.content(), segment_name(9): second.content()[segment]}
    with pytest.raises(StorageError):
        reopen(MemoryFiles(mixed))
    clock_stood_still = restore(MemoryFiles(), backup, DIRECTORY, 0.0)
    assert clock_stood_still.snapshot.identity.epoch == backup.info.identity.epoch + 1


def test_a_snapshot_that_names_the_first_segment() -> None:
    files = MemoryFiles()
    identity = Identity(secrets.token_bytes(8), 3)
    write(files, DIRECTORY, new_broker().export(), Place(4, 0, 1), identity)
    backup = backup_of(files.content()[snapshot_name(4)])
    target = MemoryFiles()
    restore(target, backup, DIRECTORY, NOW)
    assert sorted(target.content()) == [segment_name(FIRST_NUMBER), snapshot_name(4)]
    assert reopen(target).state == view(new_broker())


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", SnapshotDamaged, "damaged at byte 0; nothing was restored"),
        (b"mqx", ForeignDirectory, "is no backup"),
        (b"some text", ForeignDirectory, "`mqctl backup`"),
        (BACKUP[:30], SnapshotDamaged, "damaged at byte 0"),
        (BACKUP[:-1], SnapshotDamaged, "take another backup"),
        (BACKUP + b"x", SnapshotDamaged, f"damaged at byte {len(BACKUP)}"),
        (
            encode_header(SNAPSHOT_MAGIC, Header(1, 1, 1, b"storestr", b"12345678"), version=2),
            UnsupportedFormat,
            r"it reads 1\): restore it with the version that wrote it",
        ),
    ],
)
def test_backups_that_are_refused(data: bytes, kind: type[StorageError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        backup_of(data)
    assert caught.value.path == PATH


def test_every_bit_of_a_backup_counts() -> None:
    for position in range(len(BACKUP)):
        content = flip({"backup": BACKUP}, "backup", position, position % 8)
        with pytest.raises(StorageError):
            backup_of(content["backup"])


def test_a_record_that_cannot_be_applied() -> None:
    files = MemoryFiles()
    place, identity = Place(1, 5, 3), Identity(b"storestr", 1)
    write(files, DIRECTORY, [(records.PULL, 9, 1)], place, identity)
    with pytest.raises(RecordRefused, match="with the version that wrote it"):
        backup_of(files.content()[snapshot_name(1)])


def test_a_backup_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match=r"No such file.*check the path"):
        read_backup(OsFiles(), str(tmp_path / "missing"))


def test_directories_that_hold_something() -> None:
    backup = backup_of(BACKUP)
    driver = Driver(MemoryFiles(), Model())
    used = driver.files.content()
    driver.journal.close()
    header_only = driver.files.content()
    whole = MemoryFiles()
    restore(whole, backup, DIRECTORY, NOW)
    for content in (used, header_only, whole.content(), {"x.mqj": b""}, {snapshot_name(3): b""}):
        files = MemoryFiles(content)
        with pytest.raises(DirectoryOccupied, match="nothing was changed: restore to a new"):
            restore(files, backup, DIRECTORY, NOW)
        assert files.content() == content
    with pytest.raises(DirectoryOccupied, match=r"0001\.mqs and 1 more\)"):
        check_target(whole_with_data(whole.content()), DIRECTORY)


def whole_with_data(content: Content) -> MemoryFiles:
    files = MemoryFiles(content)
    driver = Driver(files, Model())
    driver.do(driver.push("a", "x"))
    driver.journal.close()
    names = [name for name in files.content() if name.endswith(".mqj")]
    return MemoryFiles(
        {
            max(names): files.content()[max(names)],
            snapshot_name(1): b"",
        }
    )


def test_what_is_not_ours_may_lie_there() -> None:
    files = MemoryFiles({"notes": b"mine", "lock": b"1\n"})
    restore(files, backup_of(BACKUP), DIRECTORY, NOW)
    assert files.content()["notes"] == b"mine"


def test_leavings_of_a_restore_are_removed_and_told() -> None:
    files = MemoryFiles()
    restore(files, backup_of(BACKUP), DIRECTORY, NOW)
    left = {
        **{name: data for name, data in files.content().items() if name.endswith(".mqj")},
        "spare.mqj": bytes(90),
        "snapshot-0000000001.tmp": b"half",
    }
    assert is_unfinished(take(MemoryFiles(left), DIRECTORY))
    assert not is_unfinished(take(MemoryFiles({"spare.mqj": b""}), DIRECTORY))
    files = MemoryFiles(left)
    with pytest.raises(StorageError, match="is not there"):
        reopen(files)
    restored = restore(files, backup_of(BACKUP), DIRECTORY, NOW)
    assert sorted(restored.removed) == sorted(left)
    assert restored.removed[-1].startswith("segment"), "a start could take it for an empty one"
    assert reopen(files).state == view(DRIVER.broker)


def test_a_target_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert check_target(OsFiles(), str(tmp_path / "missing")) == []
    with pytest.raises(DirectoryUnusable, match="Not a directory; give a directory of your own"):
        check_target(OsFiles(), str(tmp_path / "file"))


def test_a_crash_at_any_point_leaves_nothing_or_everything() -> None:
    backup = backup_of(BACKUP)
    files = RecordingFiles(lambda: None)
    restore(files, backup, DIRECTORY, NOW)
    seen = {"new": 0, "refused": 0, "whole": 0}
    for crash in crashes(files.ops, files.begins_at, True):
        found = MemoryFiles(crash.content)
        try:
            outcome = reopen(found)
        except StorageError as error:
            assert crash.promise is None
            assert "mqd check" in error.message
            again = MemoryFiles(crash.content)
            assert is_unfinished(take(again, DIRECTORY))
            restore(again, backup, DIRECTORY, NOW)
            assert reopen(again).state == view(DRIVER.broker)
            seen["refused"] += 1
            continue
        if outcome.recovered.decision.action is Action.START_EMPTY:
            assert crash.promise is None
            assert not any(
                name.startswith(("segment", "snapshot-")) and not name.endswith(".tmp")
                for name in crash.content
            )
            seen["new"] += 1
        else:
            assert outcome.state == view(DRIVER.broker)
            seen["whole"] += 1
    assert min(seen.values()) > 0, seen


class Failing(MemoryFiles):
    """A disk that refuses its n-th change."""

    def __init__(self, fail_at: int) -> None:
        super().__init__()
        self.left = fail_at

    def meet(self) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(errno.EIO, "the disk fails", "file")

    def create(self, path: str) -> int:
        self.meet()
        return super().create(path)

    def write(self, handle: int, offset: int, parts: list[bytes]) -> None:
        self.meet()
        super().write(handle, offset, parts)

    def sync(self, handle: int) -> None:
        self.meet()
        super().sync(handle)

    def rename(self, source: str, target: str) -> None:
        self.meet()
        super().rename(source, target)

    def sync_directory(self, path: str) -> None:
        self.meet()
        super().sync_directory(path)


def test_a_disk_that_refuses_something_is_left_tidy() -> None:
    backup = backup_of(BACKUP)
    for fail_at in range(1, 99):
        files = Failing(fail_at)
        try:
            restore(files, backup, DIRECTORY, NOW)
        except OSError:
            assert files.content() == {}
            assert not files.handles
        else:
            assert fail_at > 8
            return
    pytest.fail("it never ends well")


def test_what_does_not_read_back_is_not_there() -> None:
    class Forgetful(MemoryFiles):
        def rename(self, source: str, target: str) -> None:
            super().rename(source, target)
            if target.endswith(".mqs"):
                name = target.rpartition("/")[2]
                self.inodes[name].data[70] ^= 1

    files = Forgetful()
    with pytest.raises(SnapshotDamaged):
        restore(files, backup_of(BACKUP), DIRECTORY, NOW)
    assert files.content() == {}
