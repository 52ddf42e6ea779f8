"""What is written by a salvage. What it keeps of damaged files: tests/crash/test_salvage_damage.py."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import pytest

from crash.crash_files import Content, MemoryFiles
from crash.damage import bodies_of, flip, without
from crash.history import Driver, Model, new_broker
from mqd.core import records
from mqd.core.broker import Bounds
from mqd.store import snapshot as snapshots
from mqd.store.errors import DirectoryUnusable, JournalDamaged
from mqd.store.files import OsFiles
from mqd.store.recordlog import SEGMENT_MAGIC, Header, encode, encode_batch, encode_header
from mqd.store.recovery import Recovered, recover
from mqd.store.salvage import QUARANTINE_NAME, REPORT_NAME, Salvaged, plan_salvage, salvage
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from pathlib import Path

    from mqd.core.broker import Broker
    from mqd.core.records import Record

BOUNDS = Bounds(1000, 10**6, 10**6)
CREATE = (records.CREATE, 1, "a", {"max_messages": 9, "max_bytes": 99}, 5)


def push(first_id: int, *bodies: Any, uid: int = 1) -> Record:
    return (records.PUSH, uid, first_id, len(bodies), join_bodies(bodies), (), 9)


class Case:
    """A salvage from a real directory to another."""

    def __init__(self, tmp_path: Path, content: Content) -> None:
        self.source, self.target = tmp_path / "old", tmp_path / "new"
        for path in (self.source, self.target):
            path.mkdir()
        for name, data in content.items():
            (self.source / name).write_bytes(data)
        self.broker: Broker = new_broker()
        self.recovered: Recovered | None = None

    def run(self, files: Any = None) -> Salvaged:
        files = files or OsFiles()
        inventory, chosen = plan_salvage(files, str(self.source))
        done = salvage(
            files,
            inventory,
            chosen,
            str(self.target),
            BOUNDS,
            5.0,
            lambda done: f"{done.contents.messages}!",
        )
        self.recovered = recover(
            OsFiles(), str(self.target), self.broker.apply_all, segment_bytes=1000
        )
        self.recovered.writer.finish()
        return done

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        text = (self.target / QUARANTINE_NAME).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def journal(*found: Record | bytes) -> Content:
    """Return a directory with one segment, a batch for each record or payload."""
    header = Header(1, 1, 3, b"storestr", b"12345678")
    payloads = [each if isinstance(each, bytes) else encode([each]) for each in found]
    batches = [
        b"".join(encode_batch(lsn, lsn - 1, header.file_id, [payload]))
        for lsn, payload in enumerate([*payloads, b""], 1)
    ]
    return {segment_name(1): encode_header(SEGMENT_MAGIC, header) + b"".join(batches)}


def test_a_sound_directory_is_copied(tmp_path: Path) -> None:
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.do(driver.push("a", "x", "y", headers=((0, 2, {"k": 1}, 4),)))
    driver.fold()
    driver.do(driver.push("a", "z"), (records.PULL, 1, 1))
    driver.journal.close()
    case = Case(tmp_path, files.content())
    done = case.run()
    assert list(case.broker.export()) == list(driver.broker.export())
    assert done.contents[:2] == (1, 2)
    assert (done.known, done.quarantined) == (0, 0)
    assert (done.touched, done.unreadable_bytes) == ([], 0)
    assert (case.target / REPORT_NAME).read_text(encoding="utf-8") == "2!"
    assert not (case.target / QUARANTINE_NAME).exists()
    assert case.recovered is not None
    assert case.recovered.epoch == 6, "a new history goes on from the clock"
    assert {name.name for name in case.source.iterdir()} == set(files.content())


def test_numbers_go_on_and_the_store_is_a_new_one(tmp_path: Path) -> None:
    case = Case(tmp_path, journal(CREATE, push(1, "x")))
    done = case.run()
    assert done.snapshot is not None
    assert (done.snapshot.number, done.snapshot.covered_lsn) == (2, 3)
    assert done.snapshot.identity.store_id != b"storestr"
    assert (case.target / snapshot_name(2)).exists()
    assert (case.target / segment_name(2)).exists()


def test_what_fits_nowhere_is_in_the_quarantine_for_people_to_read(tmp_path: Path) -> None:
    found = (
        CREATE,
        push(1, "x"),
        (records.DELETE, 8),
        push(5, "later"),
        push(3, "text", b"\xff\x00"),
        (99, 1, "new"),
        (records.PUSH, 1, 9, 2, b"\xc1", (), 1),
        b"\xc1",
        (records.PULL, 8, 1),
        push(6, "last"),
    )
    case = Case(tmp_path, journal(*found))
    done = case.run()
    assert done.quarantined == 6
    assert bodies_of(case.broker) == [b"\xa1x", b"\xa5later", b"\xa4last"]
    lines = case.quarantine
    assert [line["lsn"] for line in lines] == [3, 5, 6, 7, 8, 9]
    lines = lines[1:]
    assert {line["file"] for line in lines} == {segment_name(1)}
    assert [line.get("kind") for line in lines] == ["PUSH", "other", "PUSH", None, "PULL"]
    assert lines[0]["bodies"] == ["text", {"base64": "/wA="}]
    assert lines[0]["record"] == [3, 1, 3, 2, [], 9]
    assert lines[2]["record"][4] == {"base64": "wQ=="}
    assert lines[3]["bytes"] == {"base64": "wQ=="}
    assert "not msgpack" in lines[3]["reason"]
    assert [(queue.name, queue.missing) for queue in done.touched] == [("a", 3)]


def test_an_empty_record_is_quarantined(tmp_path: Path) -> None:
    case = Case(tmp_path, journal(CREATE, b"\x90", (True, 1)))
    assert case.run().quarantined == 2
    assert [line["kind"] for line in case.quarantine] == ["other", "other"]


def test_where_the_place_is_lost_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_BATCH_RECORDS", 1)
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.do(driver.push("a", "x", "y"))
    driver.fold()
    driver.do((records.PULL, 1, 1))
    driver.do(driver.push("a", "z"))
    driver.journal.close()
    data = files.content()[snapshot_name(1)]
    case = Case(tmp_path, {**files.content(), snapshot_name(1): bytes(95) + data[95:]})
    done = case.run()
    assert done.plan.is_place_lost
    assert bodies_of(case.broker) == [b"\xa1x", b"\xa1y", b"\xa1z"]
    assert [line["kind"] for line in case.quarantine] == ["PULL"]
    assert "may be in the snapshot already" in case.quarantine[0]["reason"]


def test_what_was_never_promised_removes_nothing(tmp_path: Path) -> None:
    header = Header(1, 1, 3, b"storestr", b"12345678")
    found = (CREATE, push(1, "x"), push(2, "y"), (records.PULL, 1, 2), push(3, "z"))
    batches = [
        encode_batch(lsn, 1, header.file_id, [encode([each])]) for lsn, each in enumerate(found, 1)
    ]
    data = encode_header(SEGMENT_MAGIC, header) + b"".join(map(b"".join, batches))
    content = flip({segment_name(1): data}, segment_name(1), data.index(b"\xa1y"))
    case = Case(tmp_path, content)
    done = case.run()
    assert bodies_of(case.broker) == [b"\xa1x", b"\xa1z"]
    assert "never promised" in case.quarantine[0]["reason"]
    assert not done.plan.losses[0].was_promised
    assert done.known == 0, "something was taken twice"


def test_a_disk_with_bad_sectors(tmp_path: Path) -> None:
    bodies = ["x" * 50, "y" * 9000, "z" * 50]
    content = journal(CREATE, *[push(number, body) for number, body in enumerate(bodies, 1)])
    bad = content[segment_name(1)].index(b"yyy") + 5000

    class Failing(OsFiles):
        def open(self, path: str, *, writable: bool = False) -> int:
            handle = super().open(path, writable=writable)
            self.is_old = path.startswith(str(case.source))
            return handle

        def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
            if self.is_old and offset <= bad < offset + size_bytes:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(handle, offset, size_bytes)

    case = Case(tmp_path, content)
    done = case.run(Failing())
    assert done.unreadable_bytes == 4096
    assert [body[-1:] for body in bodies_of(case.broker)] == [b"x", b"z"]


def test_all_is_on_the_disk_before_the_snapshot_has_its_name(tmp_path: Path) -> None:
    class Watching(OsFiles):
        def __init__(self) -> None:
            self.unsynced: dict[int, str] = {}
            self.at_rename: list[str] = []

        def create(self, path: str) -> int:
            handle = super().create(path)
            self.unsynced[handle] = path
            return handle

        def sync(self, handle: int) -> None:
            super().sync(handle)
            self.unsynced.pop(handle, None)

        def rename(self, source: str, target: str) -> None:
            super().rename(source, target)
            if target.endswith(".mqs"):
                self.at_rename += self.unsynced.values()

    files = Watching()
    case = Case(tmp_path, journal(CREATE, (99, 1)))
    assert case.run(files).quarantined == 1
    assert files.at_rename == []


def test_directories_without_anything_to_salvage(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="there is no directory"):
        plan_salvage(OsFiles(), str(tmp_path / "missing"))
    with pytest.raises(DirectoryUnusable, match="nothing of mqd"):
        plan_salvage(MemoryFiles({"notes": b""}), "d")
    with pytest.raises(JournalDamaged, match="restore a backup"):
        plan_salvage(MemoryFiles({segment_name(1): b"text", snapshot_name(1): bytes(90)}), "d")

    class Closed(MemoryFiles):
        def open(self, path: str, *, writable: bool = False) -> int:  # noqa: ARG002  as Files
            raise PermissionError(13, "Permission denied", path)

    with pytest.raises(DirectoryUnusable, match="do it as the user that the server runs as"):
        plan_salvage(Closed({segment_name(1): b""}), "d")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    class Full(OsFiles):
        left = 0

        def write(self, handle: int, offset: int, parts: Any) -> None:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= 1
            super().write(handle, offset, parts)

    case = Case(tmp_path, journal(CREATE, (99, 1), push(1, "x")))
    full = Full()
    for count in range(99):
        full.left = count
        try:
            case.run(full)
        except OSError:
            assert list(case.target.iterdir()) == [], count
        else:
            assert count > 4
            break
    assert without({"a": b""}, "a") == {}
