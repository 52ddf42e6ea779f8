"""The commands snapshot and backup."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mqclient import errors
from mqclient.ctl import exits, progress
from mqclient.ctl.progress import Bar

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"x" * 1024 + b"y" * 1024


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_snapshot(ctl):
    result = ctl("snapshot")
    assert (result.exit_code, result.output) == (0, "")
    assert ("snapshot", None) in ctl.client.calls


def test_snapshot_for_machines_and_persons(ctl, monkeypatch):
    info = {"number": 3, "records": 1200, "bytes": 2048, "seconds": 0.25}
    assert json.loads(ctl("snapshot", "--json").stdout) == info
    monkeypatch.setattr("mqclient.ctl.output.stderr_is_terminal", lambda: True)
    result = ctl("snapshot")
    assert result.stderr == "snapshot 3: 1,200 records, 2.0 KiB, made in 0.2 s\n"
    assert result.stdout == ""


@pytest.mark.parametrize("command", [["snapshot"], ["backup", "b"]])
def test_a_time_that_was_given_is_the_snapshots_too(ctl, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    ctl(*command, "--timeout", "7")
    assert (command[0], 7.0) in ctl.client.calls
    assert [session.timeout_seconds for session in ctl.sessions] == [7.0]


def test_without_one_other_calls_have_half_a_minute(ctl):
    ctl("snapshot")
    assert [session.timeout_seconds for session in ctl.sessions] == [30.0]


@pytest.mark.parametrize("command", ["snapshot", "backup"])
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.SnapshotFailed("SNAPSHOT_FAILED", "no"), exits.REFUSED, "try again"),
        (errors.NoJournal("NO_JOURNAL", "no"), exits.REFUSED, "storage.journal: true"),
        (errors.AccessDenied("ACCESS_DENIED", "no"), exits.REFUSED, "ACCESS_DENIED"),
        (errors.RequestTimeout("late"), exits.TIMED_OUT, "--timeout SECONDS"),
        (errors.ConnectionLost("it broke"), exits.CANNOT_CONNECT, "it broke"),
        (KeyboardInterrupt(), exits.INTERRUPTED, ""),
    ],
)
def test_what_fails_says_what_to_do_and_leaves_nothing(ctl, tmp_path, command, error, code, said):
    def fail(*_):
        raise error

    ctl.client.before[command] = fail
    result = ctl(command, *([str(tmp_path / "b")] if command == "backup" else []))
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") <= 1
    assert names(tmp_path) == []


def test_backup(ctl, tmp_path):
    result = ctl("backup", str(tmp_path / "b"))
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "b").read_bytes() == DATA
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


def test_backup_for_machines(ctl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(ctl("backup", "b", "--json").stdout) == {
        "file": str(tmp_path / "b"),
        "number": 3,
        "records": 1200,
        "bytes": 2048,
        "seconds": 0.25,
    }


def test_a_person_is_told_how_to_restore_it_from_anywhere(ctl, tmp_path, monkeypatch, terminal):
    monkeypatch.chdir(tmp_path)
    result = ctl("backup", "my backup")
    assert result.stdout == ""
    first, last = result.stderr.splitlines()
    assert first == "the server makes a snapshot"
    assert last == (
        "my backup: 1,200 records, 2.0 KiB; restore it with "
        f"`mqd restore '{tmp_path}/my backup' --data-dir DIR`"
    )


def test_an_existing_file_is_named_and_kept(ctl, tmp_path):
    path = tmp_path / "b"
    path.write_bytes(b"old")
    result = ctl("backup", str(path))
    assert result.exit_code == exits.USAGE
    assert f"{path} is there already" in result.stderr
    assert "--overwrite" in result.stderr
    assert path.read_bytes() == b"old"
    assert ctl("backup", str(path), "--overwrite").exit_code == 0
    assert path.read_bytes() == DATA


def test_what_is_no_file_is_never_overwritten(ctl, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (["pipe"], ["pipe", "--overwrite"]):
        result = ctl("backup", str(tmp_path / arguments[0]), *arguments[1:])
        assert result.exit_code == exits.USAGE
        assert "is no plain file" in result.stderr
    result = ctl("backup", str(tmp_path))
    assert result.exit_code == exits.INTERNAL
    assert "this is a directory" in result.stderr
    result = ctl("backup", str(tmp_path / "none" / "b"))
    assert result.exit_code == exits.INTERNAL
    assert re.search(r"cannot write .*/none/b: No such file or directory", result.stderr)


def test_a_full_disk_leaves_nothing(ctl, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mqclient.backups._write_all", fail)
    result = ctl("backup", str(tmp_path / "b"))
    assert result.exit_code == exits.INTERNAL
    assert "No space left on device; nothing of it was kept" in result.stderr
    assert names(tmp_path) == []


def test_a_backup_that_breaks_off_leaves_nothing(ctl, tmp_path):
    def fail(*_):
        if len([call for call in ctl.client.calls if call[0] == "backup"]) == 3:
            raise errors.ConnectionLost("it broke")

    ctl.client.before["backup"] = fail
    assert ctl("backup", str(tmp_path / "b")).exit_code == exits.CANNOT_CONNECT
    assert names(tmp_path) == []


def test_a_bar_that_learns_how_much_there_is(terminal, monkeypatch, capfd):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "_monotonic", lambda: clock.now)
    with Bar(None) as bar:
        bar.show(0, "0 B of 10 B", total=10)
        assert bar._bar is None
        clock.now += 1
        bar.show(5, "5 B of 10 B", total=10)
        bar.show(6, "6 B of 10 B")
        assert bar._bar.tasks[0].percentage == 60
    assert capfd.readouterr().out == ""


def test_one_record_is_one(ctl, monkeypatch, terminal):
    from dataclasses import replace

    from support import ctl as support_ctl

    monkeypatch.setattr(support_ctl, "SNAPSHOT", replace(support_ctl.SNAPSHOT, records=1))
    assert "1 record," in ctl("snapshot").stderr
