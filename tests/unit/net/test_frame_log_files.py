"""The files of a frame log: whole loads or nothing, and only what is ours is looked at."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from mqd.config import FrameLogConfig
from mqd.net import disk_space
from mqd.net.frame_log_files import (
    RESERVE_BYTES,
    OpenFile,
    Stored,
    is_held,
    leftover_parts,
    stored_files,
    surplus,
)

SECOND = 10**9
DAY = 86_400 * SECOND


@pytest.fixture
def file(tmp_path):
    file = OpenFile(tmp_path, 1, "binary", b"start", 1)
    yield file
    file.close(1)


def test_a_file_begins_with_its_start_and_is_its_owners(file):
    assert file.path.name == "frames-000001.mqlog"
    assert file.path.read_bytes() == b"start"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.is_empty
    file.append([b"a", b"bc"])
    assert file.path.read_bytes() == b"startabc"
    assert (file.size_bytes, file.is_empty) == (8, False)


def test_space_is_reserved_beyond_the_end_and_given_back(tmp_path):
    file = OpenFile(tmp_path, 1, "binary", b"start", 1)
    file.reserve(100_000)
    file.append([bytes(100_000)])
    status = file.path.stat()
    assert (status.st_size, file.size_bytes) == (100_005, 100_005), "nobody reads what is not there"
    if status.st_blocks * 512 < RESERVE_BYTES:
        pytest.skip("this file system reserves nothing")
    file.reserve(100_000)
    assert file.path.stat().st_blocks == status.st_blocks, "there is enough"
    file.reserve(2 * RESERVE_BYTES)
    assert file.path.stat().st_blocks * 512 > 3 * RESERVE_BYTES
    file.close(1)
    status = file.path.stat()
    assert status.st_size == 100_005
    assert status.st_blocks * 512 < 200_000


def test_where_no_space_can_be_reserved_the_file_is_written_all_the_same(file, monkeypatch):
    monkeypatch.setattr(disk_space, "_fallocate", None)
    file.reserve(100_000)
    file.append([bytes(100_000)])
    assert file.path.stat().st_size == 100_005


def test_a_number_that_is_taken_is_left_alone(tmp_path):
    for number in (3, 4):
        (tmp_path / f"frames-{number:06d}.jsonl").write_text("somebody else's")
    file = OpenFile(tmp_path, 3, "jsonl", b"", 1)
    file.close(1)
    assert (file.number, file.path.name) == (5, "frames-000005.jsonl")
    assert (tmp_path / "frames-000003.jsonl").read_text() == "somebody else's"


def test_a_file_that_cannot_be_begun_is_not_there(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", refuse)
    with pytest.raises(OSError, match="No space"):
        OpenFile(tmp_path, 1, "binary", b"start", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken_bytes", [1, 2, 5])
def test_writes_that_take_a_part_are_gone_on_with(file, monkeypatch, taken_bytes):
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [bytes(parts[0])[:taken_bytes]]))
    file.append([b"abc", b"", b"defg"][::2] * 600)
    assert file.path.read_bytes() == b"start" + b"abcdefg" * 600
    assert file.size_bytes == 5 + 7 * 600


def fail_after(monkeypatch, calls):
    """Let `writev` work so many times and then write half of the first part and fail."""
    writev, left = os.writev, [calls]

    def write(fd, parts):
        left[0] -= 1
        if left[0] >= 0:
            return writev(fd, parts)
        writev(fd, [bytes(parts[0])[:1]])
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "writev", write)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_failed_write_leaves_nothing(file, monkeypatch, calls):
    file.append([b"good"])
    fail_after(monkeypatch, calls)
    with pytest.raises(OSError, match="Input/output"):
        file.append([b"bad"] * 1500)
    assert not file.is_torn
    assert file.path.read_bytes() == b"startgood"
    monkeypatch.undo()
    file.append([b"again"])
    assert file.path.read_bytes() == b"startgoodagain"


def test_a_file_that_cannot_be_cut_back_is_torn(file, monkeypatch):
    fail_after(monkeypatch, 0)
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(5, "no")))
    with pytest.raises(OSError, match="Input/output"):
        file.append([b"bad"])
    assert file.is_torn


def test_a_file_that_somebody_removes_is_gone(file):
    assert not file.is_gone
    file.path.unlink()
    assert file.is_gone


def test_a_closed_file_has_the_age_that_it_was_given(tmp_path):
    file = OpenFile(tmp_path, 1, "binary", b"", 1)
    file.close(5 * DAY)
    assert file.path.stat().st_mtime_ns == 5 * DAY


def test_a_file_is_held_while_it_is_written(tmp_path):
    file = OpenFile(tmp_path, 1, "binary", b"", 1)
    assert is_held(file.path)
    file.close(1)
    assert not is_held(file.path)


def test_what_cannot_be_opened_or_has_no_locks(tmp_path, monkeypatch):
    path = tmp_path / "frames-000001.mqlog"
    assert is_held(path)
    path.symlink_to(tmp_path / "other")
    (tmp_path / "other").touch()
    assert is_held(path)

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not is_held(tmp_path / "other")
    OpenFile(tmp_path, 2, "binary", b"", 1).close(1)


def test_only_files_of_the_log_are_stored_files(tmp_path):
    for name in ("frames-000010.mqlog", "frames-000002.mqlog.gz", "frames-000002.mqlog"):
        (tmp_path / name).write_bytes(b"xyz")
    for name in (
        "notes.txt",
        "frames-3.mqlog",
        "frames-000004.mqlog.bak",
        "frames-000005.mqlog.gz.part",
    ):
        (tmp_path / name).touch()
    (tmp_path / "frames-000006.mqlog").mkdir()
    (tmp_path / "frames-000007.mqlog").symlink_to(tmp_path / "notes.txt")
    found = stored_files(tmp_path)
    assert [(file.number, file.size_bytes, file.is_compressed) for file in found] == [
        (2, 3, False),
        (2, 3, True),
        (10, 3, False),
    ]


def test_a_file_that_goes_while_they_are_listed(tmp_path, monkeypatch):
    (tmp_path / "frames-000001.mqlog").touch()

    def vanish(_self):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.lstat", vanish)
    assert stored_files(tmp_path) == []


def test_leftover_parts(tmp_path):
    ours = tmp_path / "frames-000001.mqlog.gz.part"
    ours.touch()
    for name in ("frames-000001.mqlog.part", "notes.part", "frames-000001.mqlog.gz"):
        (tmp_path / name).touch()
    (tmp_path / "frames-000002.mqlog.gz.part").mkdir()
    (tmp_path / "frames-000003.mqlog.gz.part").symlink_to(ours)
    assert leftover_parts(tmp_path) == [ours]


# What has to go


def stored(tmp_path, *facts):
    """Return files made of (number, size, age in days)."""
    return [
        Stored(number, tmp_path / str(number), size, (1000 - age) * DAY, is_compressed=False)
        for number, size, age in facts
    ]


@pytest.mark.parametrize(
    ("files", "going"),
    [
        ([], []),
        ([(1, 30_000, 3), (2, 30_000, 2)], []),
        ([(1, 30_000, 3), (2, 30_000, 2), (3, 1, 1)], [1]),
        ([(1, 1, 3), (2, 60_001, 2), (3, 1, 1)], [1, 2]),
        ([(1, 60_001, 0)], [1]),
        ([(1, 1, 30), (2, 1, 31), (3, 1, 1)], [2]),
        ([(1, 30_000, 40), (2, 30_001, 2), (3, 1, 1)], [1]),
        ([(1, 1, -400)], []),
    ],
)
def test_the_oldest_go_until_the_rest_is_within_bounds(tmp_path, files, going):
    config = FrameLogConfig(
        max_file_bytes=4_096, max_total_bytes=64_096, max_age_seconds=30 * 86_400
    )
    found = surplus(stored(tmp_path, *files), config, 1000 * DAY)
    assert [file.number for file in found] == going


def test_a_file_that_is_kept_makes_others_go(tmp_path):
    config = FrameLogConfig(max_file_bytes=4_096, max_total_bytes=64_096)
    files = stored(tmp_path, (1, 40_000, 3), (2, 30_000, 2), (3, 30_000, 1))
    found = surplus(files, config, 1000 * DAY, frozenset([tmp_path / "1"]))
    assert [file.number for file in found] == [2, 3]
