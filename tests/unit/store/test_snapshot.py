from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash.crash_files import MemoryFiles
from mqd.core import records
from mqd.store import snapshot
from mqd.store.errors import ForeignDirectory, SnapshotDamaged, UnsupportedFormat
from mqd.store.recordlog import SNAPSHOT_MAGIC, Header, encode_header
from mqd.store.segments import Identity
from mqd.store.snapshot import (
    Place,
    SnapshotInfo,
    load,
    snapshot_name,
    snapshot_number,
    verify,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IDENTITY = Identity(b"storestr", 3)
PLACE = Place(number=5, covered_lsn=41, first_segment=9)
RECORDS = [(records.PUSH, 1, number, 1, b"\x01", (), 5) for number in range(1, 2501)]
NAME = snapshot_name(5)


def written(found: list[records.Record] | None = None) -> tuple[MemoryFiles, SnapshotInfo]:
    files = MemoryFiles()
    info = write(files, "d", iter(RECORDS if found is None else found), PLACE, IDENTITY)
    return files, info


def test_names() -> None:
    assert NAME == "snapshot-0000000005.mqs"
    assert snapshot_number(NAME) == 5
    assert snapshot_number("snapshot-5.mqs") is None
    assert snapshot.is_temporary("snapshot-0000000005.tmp")
    assert not snapshot.is_temporary(NAME)


@pytest.mark.parametrize(
    "found", [RECORDS, [], RECORDS[:1024], [(records.PUSH, 1, 1, 1, bytes(3 * 2**20), (), 5)] * 2]
)
def test_what_is_written_is_loaded(found: list[records.Record]) -> None:
    files, info = written(found)
    assert info == verify(files, "d", 5)
    assert (info.number, info.covered_lsn, info.first_segment) == (5, 41, 9)
    assert (info.identity, info.records) == (IDENTITY, len(found))
    assert info.size_bytes == len(files.content()[NAME])
    assert [record for some in load(files, "d", info) for record in some] == found
    assert files.names("d") == [NAME]
    assert files.handles == {}


@pytest.mark.parametrize("wrong", [b"\xc1", b"\x92\x01", b"\x01"])
def test_what_was_written_wrong_is_found_though_its_checksums_are_right(
    monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    usual = snapshot._payloads

    def payloads(
        found: Iterable[records.Record], first_segment: int
    ) -> Iterator[tuple[list[bytes], int]]:
        made = list(usual(found, first_segment))
        yield from (made[0], ([wrong], made[1][1]), *made[2:])

    files, _ = written()
    monkeypatch.setattr(snapshot, "_payloads", payloads)
    with pytest.raises(SnapshotDamaged):
        write(files, "d", iter(RECORDS), PLACE._replace(number=6), IDENTITY)
    assert files.names("d") == [NAME], "it is not kept"
    monkeypatch.setattr(snapshot, "verify", lambda *_, **__: None)
    write(files, "d", iter(RECORDS), PLACE._replace(number=6), IDENTITY)
    assert verify(files, "d", 6).records == len(RECORDS), "its form is that of a snapshot"
    with pytest.raises(SnapshotDamaged):
        verify(files, "d", 6, decodes_all=True)
    assert verify(files, "d", 5, decodes_all=True).number == 5


@pytest.mark.parametrize("kind", [records.PUSH, 15, 16, 30, 41])
def test_a_batch_is_of_a_bounded_size_whatever_is_in_it(kind: int) -> None:
    large = [(kind, 1, number, 1, bytes(300_000), (), 5) for number in range(20)]
    payloads = list(snapshot._payloads(large, 9))
    assert [count for _, count in payloads] == [0, 4, 4, 4, 4, 4]
    files, info = written(large)
    assert [record for some in load(files, "d", info) for record in some] == large


def test_every_truncation_shows() -> None:
    files, _ = written(RECORDS[:20])
    data = files.content()[NAME]
    for end in range(len(data)):
        with pytest.raises(SnapshotDamaged, match="damaged at byte"):
            verify(MemoryFiles({NAME: data[:end]}), "d", 5)
    for more in (b"\0", b"\0" * 100, b"x", data):
        with pytest.raises(SnapshotDamaged):
            verify(MemoryFiles({NAME: data + more}), "d", 5)


def test_a_missing_batch_shows() -> None:
    files, _ = written()
    data = files.content()[NAME]
    edges = [place for place in range(len(data)) if data.startswith(b"\xb5mqB", place)]
    assert len(edges) == 5
    for index, start in enumerate(edges):
        end = [*edges, len(data)][index + 1]
        with pytest.raises(SnapshotDamaged):
            verify(MemoryFiles({NAME: data[:start] + data[end:]}), "d", 5)


def test_other_files() -> None:
    with pytest.raises(ForeignDirectory, match="look at it with `mqd check`"):
        verify(MemoryFiles({NAME: b"#!/bin/sh\n" * 10}), "d", 5)
    header = Header(5, 1, 1, b"storestr", b"12345678")
    later = encode_header(SNAPSHOT_MAGIC, header, version=9)
    with pytest.raises(UnsupportedFormat, match="use the version that wrote it"):
        verify(MemoryFiles({NAME: later + bytes(50)}), "d", 5)
    files, _ = written()
    with pytest.raises(ForeignDirectory, match="written as number 5"):
        verify(MemoryFiles({snapshot_name(6): files.content()[NAME]}), "d", 6)


def test_a_file_that_changes_between_two_readings() -> None:
    files, info = written()
    data = files.content()[NAME]
    with pytest.raises(SnapshotDamaged):
        list(load(MemoryFiles({NAME: data[:-60]}), "d", info._replace(records=info.records + 1)))


def test_what_does_not_read_back_goes_again() -> None:
    class Lying(MemoryFiles):
        def sync(self, handle: int) -> None:
            self.handles[handle].data[100] ^= 1

    files = Lying()
    with pytest.raises(SnapshotDamaged):
        write(files, "d", RECORDS, PLACE, IDENTITY)
    assert files.names("d") == []


def test_the_order_of_what_is_done() -> None:
    done: list[str] = []

    class Watched(MemoryFiles):
        def sync(self, handle: int) -> None:  # noqa: ARG002  the interface's
            done.append("sync")

        def rename(self, source: str, target: str) -> None:
            done.append("rename")
            super().rename(source, target)

        def sync_directory(self, path: str) -> None:  # noqa: ARG002  the interface's
            done.append("sync_directory")

        def open(self, path: str, *, writable: bool = False) -> int:
            done.append("read back")
            return super().open(path, writable=writable)

    write(Watched(), "d", RECORDS, PLACE, IDENTITY)
    assert done == ["sync", "rename", "sync_directory", "read back"]
