"""A backup into a file: what stands there, when, and what a failure leaves behind."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from mqclient.backups import Backup
from mqclient.errors import ConnectionLost, InterfaceError, ProtocolError, RequestTimeout
from mqclient.models import SnapshotInfo

if TYPE_CHECKING:
    from pathlib import Path

INFO = SnapshotInfo(3, 20, 10, 0.25)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def fill(copy: Backup, *pieces: bytes) -> None:
    copy.take(INFO)
    for piece in pieces:
        copy.take(piece)


def test_what_is_asked_for(tmp_path: Path):
    copy = Backup(tmp_path / "b", overwrite=False)
    asked = []
    for result in (INFO, b"012345", b"6789", b""):
        assert not copy.is_done
        call = copy.next_call()
        asked.append((call.verb, *call.arguments))
        copy.take(result)
    assert copy.is_done
    assert copy.info is INFO
    assert asked == [("BACKUP",), ("BACKUP", 0), ("BACKUP", 6), ("BACKUP", 10)]


def test_the_file_gets_its_name_when_all_is_there(tmp_path: Path):
    path = tmp_path / "b"
    copy = Backup(str(path), overwrite=False)
    fill(copy, b"01234", b"56789")
    [temporary] = tmp_path.iterdir()
    assert temporary.name.startswith(".mqd-backup-")
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert temporary.read_bytes() == b"0123456789"
    copy.take(b"")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"0123456789"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    copy.discard()
    assert path.exists()


def test_file_and_directory_are_synced_in_this_order(tmp_path: Path, monkeypatch):
    done: list[object] = []
    sync = os.fsync

    def fsync(handle: int) -> None:
        status = os.fstat(handle)
        done.append((stat.S_ISDIR(status.st_mode), path.exists() and path.stat().st_size))
        sync(handle)

    path = tmp_path / "b"
    monkeypatch.setattr(os, "fsync", fsync)
    fill(Backup(path, overwrite=False), b"0123456789", b"")
    assert done == [(False, False), (True, 10)]


def test_an_existing_file_is_refused_before_anything_is_asked(tmp_path: Path):
    path = tmp_path / "b"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError) as caught:
        Backup(path, overwrite=False)
    assert str(path) in str(caught.value)
    assert names(tmp_path) == ["b"]


def test_a_file_that_somebody_else_has_made_meanwhile_stays(tmp_path: Path):
    path = tmp_path / "b"
    copy = Backup(path, overwrite=False)
    fill(copy, b"0123456789")
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        copy.take(b"")
    copy.discard()
    assert names(tmp_path) == ["b"]
    assert path.read_bytes() == b"theirs"


def test_a_rename_that_fails_takes_the_name_back(tmp_path: Path, monkeypatch):
    copy = Backup(tmp_path / "b", overwrite=False)
    fill(copy, b"0123456789")

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="no"):
        copy.take(b"")
    copy.discard()
    assert names(tmp_path) == []


def test_overwriting_happens_at_the_end(tmp_path: Path):
    path = tmp_path / "b"
    path.write_bytes(b"old")
    copy = Backup(path, overwrite=True)
    fill(copy, b"0123456789")
    assert path.read_bytes() == b"old"
    copy.take(b"")
    assert path.read_bytes() == b"0123456789"
    assert names(tmp_path) == ["b"]
    again = Backup(path, overwrite=True)
    fill(again, b"01")
    again.discard()
    assert path.read_bytes() == b"0123456789"
    assert names(tmp_path) == ["b"]


def test_a_link_stays_a_link(tmp_path: Path):
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    fill(Backup(link, overwrite=False), b"0123456789", b"")
    assert link.is_symlink()
    assert real.read_bytes() == b"0123456789"
    with pytest.raises(FileExistsError):
        Backup(link, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, overwrite: bool):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError):
        Backup(tmp_path / "pipe", overwrite=overwrite)
    with pytest.raises(FileExistsError):
        Backup("/dev/null", overwrite=overwrite)
    with pytest.raises(IsADirectoryError):
        Backup(tmp_path, overwrite=overwrite)
    with pytest.raises(FileNotFoundError):
        Backup(tmp_path / "none" / "b", overwrite=overwrite)


def test_discarding_leaves_nothing(tmp_path: Path):
    for pieces in ((), (b"01",), (b"01", b"23")):
        copy = Backup(tmp_path / "b", overwrite=False)
        fill(copy, *pieces)
        copy.discard()
        copy.discard()
        assert names(tmp_path) == []


@pytest.mark.parametrize(
    "pieces", [(b"",), (b"012345678", b""), (b"0123456789a",), (b"0123456789", b"a")], ids=repr
)
def test_pieces_are_as_long_as_the_snapshot(tmp_path: Path, pieces):
    copy = Backup(tmp_path / "b", overwrite=False)
    with pytest.raises(ProtocolError, match="of a backup of 10"):
        fill(copy, *pieces)
    copy.discard()
    assert names(tmp_path) == []


def test_progress(tmp_path: Path):
    told: list[tuple[int, int]] = []
    copy = Backup(tmp_path / "b", overwrite=False)
    for result in (INFO, b"012345", b"6789", b""):
        copy.take(result)
        copy.tell(lambda *counts: told.append(counts))
        copy.tell(None)
    assert told == [(0, 10), (6, 10), (10, 10), (10, 10)]


@pytest.mark.parametrize("kind", [ConnectionLost, RequestTimeout])
def test_a_loss_says_how_far_it_came_and_is_not_in_doubt(tmp_path: Path, kind):
    copy = Backup(tmp_path / "b", overwrite=False)
    early = copy.unfinished(kind("gone", in_doubt=True))
    assert type(early) is kind
    assert not early.in_doubt
    assert "while the server made the snapshot: gone; nothing of it was kept" in str(early)
    fill(copy, b"0123")
    assert "after 4 of 10 bytes: gone" in str(copy.unfinished(kind("gone")))
    copy.discard()
    loose = Backup(io.BytesIO(), overwrite=False)
    assert "what is in the file is no backup; begin it again" in str(loose.unfinished(kind("x")))


# File objects


class Slow(io.RawIOBase):
    """Takes three bytes at a time, and at its end nothing."""

    def __init__(self, room: int) -> None:
        self.taken = b""
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data) -> int | None:
        part = bytes(data[: min(3, self.room)])
        self.taken += part
        self.room -= len(part)
        return len(part) or None


class Silent:
    """Says nothing about what it has taken."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data) -> None:
        self.taken += data

    def flush(self) -> None:
        self.taken += b"."


def test_a_file_object_is_written_to_and_stays_open():
    file = io.BytesIO()
    fill(Backup(file, overwrite=False), b"01234", b"56789", b"")
    assert file.getvalue() == b"0123456789"
    silent = Silent()
    fill(Backup(silent, overwrite=False), b"01234", b"56789", b"")
    assert silent.taken == b"0123456789."


def test_a_file_object_that_takes_little_at_a_time():
    file = Slow(100)
    fill(Backup(file, overwrite=False), b"0123456789", b"")
    assert file.taken == b"0123456789"
    with pytest.raises(BlockingIOError):
        fill(Backup(Slow(5), overwrite=False), b"0123456789")


def test_what_was_written_to_a_file_object_stays():
    file = io.BytesIO()
    copy = Backup(file, overwrite=False)
    fill(copy, b"01")
    copy.discard()
    assert file.getvalue() == b"01"


@pytest.mark.parametrize("file", [io.StringIO(), 5, None, b"path"], ids=repr)
def test_what_is_no_file(file):
    with pytest.raises(InterfaceError, match="open for bytes"):
        Backup(file, overwrite=False)
