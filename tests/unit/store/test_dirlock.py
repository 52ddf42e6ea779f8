from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mqd.store import dirlock
from mqd.store.dirlock import FOLD_LOCK_NAME, DirectoryLock
from mqd.store.errors import DirectoryLocked, DirectoryUnusable

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from mqd.store.dirlock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_one_at_a_time_and_it_says_who(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        before = (tmp_path / "lock").read_bytes()
        with pytest.raises(DirectoryLocked, match=f"process {holder.pid} holds") as caught:
            DirectoryLock(str(tmp_path))
        assert caught.value.path == f"{tmp_path}/lock"
        assert (tmp_path / "lock").read_bytes() == before
        holder.kill()
        holder.stdin.close()
        holder.wait()
    with DirectoryLock(str(tmp_path)):
        assert (tmp_path / "lock").read_bytes() == b"%d\n" % os.getpid()
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_an_unrelated_close_does_not_drop_it(tmp_path: Path) -> None:
    lock = DirectoryLock(str(tmp_path))
    (tmp_path / "lock").read_bytes()
    with pytest.raises(DirectoryLocked):
        DirectoryLock(str(tmp_path))
    other = DirectoryLock(str(tmp_path), FOLD_LOCK_NAME)
    other.release()
    lock.release()
    lock.release()
    DirectoryLock(str(tmp_path)).release()


def test_what_became_of_a_directory_that_is_not_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, aside = tmp_path / "data", tmp_path / "aside"
    directory.mkdir()
    with DirectoryLock(str(directory)) as lock:
        directory.rename(aside)
        fate, advice = lock.fate()
        assert fate == f"was moved to {aside}"
        assert f"--data-dir {aside}" in advice
        directory.mkdir()
        assert lock.fate()[0] == f"was moved to {aside}, and there is another one in its place"
        with monkeypatch.context() as patched:
            patched.setattr(dirlock, "DESCRIPTORS", tmp_path / "none")  # not every system has it
            assert lock.fate()[0] == "was moved or replaced"
        (aside / "lock").unlink()
        fate, advice = lock.fate()
        assert fate == "was removed or emptied"
        assert "mqd restore" in advice


def test_whether_the_directory_is_where_it_was(tmp_path: Path) -> None:
    directory, aside = tmp_path / "data", tmp_path / "aside"
    directory.mkdir()
    with DirectoryLock(str(directory)) as lock:
        assert lock.is_in_place
        directory.rename(aside)
        assert not lock.is_in_place
        directory.mkdir()
        assert not lock.is_in_place, "one without a lock stands there"
        DirectoryLock(str(directory)).release()
        assert not lock.is_in_place, "another one stands there"
        (directory / "lock").unlink()
        directory.rmdir()
        directory.write_text("a file")
        assert not lock.is_in_place
        directory.unlink()
        aside.rename(directory)
        assert lock.is_in_place


def test_what_cannot_be_judged_counts_as_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with DirectoryLock(str(tmp_path)) as lock:
        monkeypatch.setattr("mqd.store.dirlock.Path.stat", refuse)
        assert lock.is_in_place
        monkeypatch.undo()


def test_it_does_not_follow_links_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DirectoryUnusable, match="cannot be opened"):
        DirectoryLock(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(DirectoryUnusable, match="cannot be opened"):
        DirectoryLock(str(tmp_path / "missing"))
