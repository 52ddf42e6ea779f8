"""The keeper: closed files are compressed and removed, others are never touched."""

from __future__ import annotations

import fcntl
import gzip
import logging
import os
import subprocess
import sys

import pytest

from mqd.config import FrameLogConfig
from mqd.net import frame_log_keeper as module
from mqd.net.frame_log_keeper import Keeper

DAY = 86_400 * 10**9
NOW = 1000 * DAY


@pytest.fixture
def make(tmp_path):
    """Give what makes a keeper that believes in a time and a present file."""

    def make(current=100, now_ns=NOW, **settings):
        config = FrameLogConfig(**settings)
        return Keeper(tmp_path, config, lambda: now_ns, lambda: current)

    return make


def write(directory, number, size=10, age=1, suffix=".mqlog"):
    path = directory / f"frames-{number:06d}{suffix}"
    path.write_bytes(bytes(size))
    os.utime(path, ns=(NOW - age * DAY, NOW - age * DAY))
    return path


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_closed_files_are_compressed_the_present_one_is_not(make, tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2, suffix=".jsonl")
    write(tmp_path, 3)
    write(tmp_path, 4)  # another server's, in the same directory
    (tmp_path / "notes.txt").touch()
    make(current=3).tidy()
    assert names(tmp_path) == [
        "frames-000001.mqlog.gz",
        "frames-000002.jsonl.gz",
        "frames-000003.mqlog",
        "frames-000004.mqlog",
        "notes.txt",
    ]
    assert gzip.decompress((tmp_path / "frames-000001.mqlog.gz").read_bytes()) == bytes(10)


def test_compression_can_be_off(make, tmp_path):
    write(tmp_path, 1)
    make(compress=False).tidy()
    assert names(tmp_path) == ["frames-000001.mqlog"]


def test_old_files_are_removed_whatever_their_form(make, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mqd.frame_log")
    for number, suffix in enumerate((".mqlog", ".mqlog.gz", ".jsonl", ".jsonl.gz"), 1):
        write(tmp_path, number, age=31, suffix=suffix)
    write(tmp_path, 5, age=29, suffix=".mqlog.gz")
    write(tmp_path, 100, age=31)
    os.utime(write(tmp_path, 6).rename(tmp_path / "frames-000006.mqlog.bak"), ns=(0, 0))
    make().tidy()
    assert names(tmp_path) == [
        "frames-000005.mqlog.gz",
        "frames-000006.mqlog.bak",
        "frames-000100.mqlog",
    ]
    assert caplog.text.count("was removed") == 4


def test_the_oldest_are_removed_when_there_is_too_much(make, tmp_path):
    for number in range(1, 6):
        write(tmp_path, number, size=10_000, suffix=".mqlog.gz")
    make(max_file_bytes=4096, max_total_bytes=24_096).tidy()
    assert names(tmp_path) == ["frames-000004.mqlog.gz", "frames-000005.mqlog.gz"]


def test_a_file_that_another_server_writes_is_left_alone(make, tmp_path):
    path = write(tmp_path, 1, age=99)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        make().tidy()
        assert names(tmp_path) == [path.name]
    make().tidy()
    assert names(tmp_path) == []


def test_what_a_crash_has_left_is_dealt_with_at_the_start(make, tmp_path):
    write(tmp_path, 1)
    (tmp_path / "frames-000001.mqlog.gz.part").write_bytes(b"half")
    (tmp_path / "frames-000007.mqlog.gz.part").write_bytes(b"half")
    keeper = make()
    keeper._remove_parts()
    assert names(tmp_path) == ["frames-000001.mqlog"]
    keeper.tidy()
    assert names(tmp_path) == ["frames-000001.mqlog.gz"]


def test_a_file_that_cannot_be_compressed_keeps_nobody_else_waiting(
    make, tmp_path, monkeypatch, caplog
):
    for number in (1, 2):
        write(tmp_path, number)
    (tmp_path / "frames-000001.mqlog.gz.part").mkdir()
    keeper = make()
    for _ in range(2):
        keeper.tidy()
    assert "frames-000001.mqlog" in names(tmp_path)
    assert "frames-000002.mqlog.gz" in names(tmp_path)
    [warning] = [record.getMessage() for record in caplog.records]
    assert "frames-000001.mqlog cannot be compressed: " in warning
    assert "directory" in warning


@pytest.mark.parametrize("script", ["import os; os.abort()", "raise SystemExit(7)"])
def test_a_process_that_dies_without_a_word(make, tmp_path, monkeypatch, caplog, script):
    write(tmp_path, 1)
    program = tmp_path / "program.py"
    program.write_text(script)
    monkeypatch.setattr(module.frame_log_gzip, "__file__", str(program))
    make().tidy()
    assert "frames-000001.mqlog" in names(tmp_path)
    assert "it ended with" in caplog.text


def test_a_disk_that_is_nearly_full_is_left_to_those_who_write(make, tmp_path, monkeypatch, caplog):
    from types import SimpleNamespace

    write(tmp_path, 1, size=1000)
    free = SimpleNamespace(free=2000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: free)
    keeper = make()
    keeper.tidy()
    assert names(tmp_path) == ["frames-000001.mqlog"]
    assert "nearly full" in caplog.text
    free.free = 2001
    keeper.tidy()
    assert names(tmp_path) == ["frames-000001.mqlog.gz"]


def test_a_process_that_cannot_be_started(make, tmp_path, monkeypatch, caplog):
    write(tmp_path, 1)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    make().tidy()
    assert names(tmp_path) == ["frames-000001.mqlog"]
    assert "no process can be started" in caplog.text


@pytest.mark.parametrize("call", ["pathlib.Path.iterdir", "pathlib.Path.unlink"])
def test_a_directory_that_cannot_be_kept_in_order(make, tmp_path, monkeypatch, caplog, call):
    write(tmp_path, 1, age=99)
    (tmp_path / "frames-000007.mqlog.gz.part").touch()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(call, refuse)
    keeper = make(compress=False)
    for _ in range(2):
        keeper._remove_parts()
        keeper.tidy()
    assert 1 <= len(caplog.records) <= 2
    assert "Permission denied" in caplog.text


def test_closing_ends_the_process_and_leaves_the_file(make, tmp_path, monkeypatch):
    path = write(tmp_path, 1)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, pathlib\npathlib.Path(sys.argv[1] + '.seen').touch()\ninput()\nwhile True: pass"
    )
    monkeypatch.setattr(module.frame_log_gzip, "__file__", str(program))
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: popen(*a, **{**k, "stdin": subprocess.PIPE})
    )
    keeper = make()
    keeper.start()
    seen = tmp_path / "frames-000001.mqlog.seen"
    while not seen.exists():
        assert keeper._thread.is_alive()
    keeper.close()
    assert path.exists()
    assert not keeper._thread.is_alive()
    assert not keeper._compress(path)
