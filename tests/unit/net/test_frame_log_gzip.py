"""The program that compresses one file: one of the two is there whole at any moment."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import subprocess
import sys

import pytest

from mqd.net import frame_log_gzip
from mqd.net.frame_log_gzip import compress, main

DATA = os.urandom(2_000_000)


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "frames-000001.mqlog"
    source.write_bytes(DATA)
    source.chmod(0o640)
    os.utime(source, ns=(5, 7_000_000_001))
    return source


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_replaced_by_its_copy(source, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_log_gzip, "SYNC_BYTES", 1000)
    (tmp_path / "frames-000001.mqlog.gz.part").write_bytes(b"left by a crash" * 1_000_000)
    compress(source)
    assert names(tmp_path) == ["frames-000001.mqlog.gz"]
    target = tmp_path / "frames-000001.mqlog.gz"
    assert gzip.decompress(target.read_bytes()) == DATA
    assert target.stat().st_mtime_ns == 7_000_000_001
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["os.fsync", "os.fdatasync", "os.utime", "pathlib.Path.replace"])
def test_what_fails_leaves_the_original_alone(source, tmp_path, monkeypatch, call):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frame_log_gzip, "SYNC_BYTES", 1000)
    monkeypatch.setattr(call, refuse)
    with pytest.raises(OSError, match="No space"):
        compress(source)
    assert names(tmp_path) == ["frames-000001.mqlog"]
    assert source.read_bytes() == DATA


def test_a_file_that_is_held_is_not_touched(source, tmp_path):
    with source.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            compress(source)
    assert names(tmp_path) == ["frames-000001.mqlog"]


def test_a_crash_between_rename_and_removal_is_made_up_for(source, tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_: None)
    compress(source)
    assert len(names(tmp_path)) == 2
    monkeypatch.undo()
    compress(source)
    assert names(tmp_path) == ["frames-000001.mqlog.gz"]


def test_the_program_needs_nothing_but_the_standard_library(source, tmp_path):
    command = [sys.executable, "-I", "-S", frame_log_gzip.__file__, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(tmp_path) == ["frames-000001.mqlog.gz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_is_of_the_lowest_priority(source, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(os, "nice", asked.append)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *a: asked.append(a[1]), raising=False)
    monkeypatch.setattr(os, "SCHED_IDLE", 5, raising=False)
    assert main([str(source)]) == 0
    assert main([str(source)]) == 1
    assert asked == [19, 5, 19, 5]
    assert "No such file" in capsys.readouterr().err
