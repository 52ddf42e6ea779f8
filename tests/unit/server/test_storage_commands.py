"""The commands `mqd check` and `mqd restore` on real directories."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from crash.crash_files import MemoryFiles
from crash.history import Driver, Model
from mqd import __main__, storage_commands, storage_progress
from mqd.core import job_records, records
from mqd.core.access import Role
from mqd.core.standings import Change, Issue, Standing
from mqd.store.dirlock import LOCK_NAME, DirectoryLock
from mqd.store.files import OsFiles
from mqd.store.recordlog import SEGMENT_MAGIC, Header, encode_header
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name

ROOT = Path(__file__).resolve().parents[3]


def make_content() -> dict[str, bytes]:
    files = MemoryFiles()
    driver = Driver(files, Model(), marker_seconds=3600.0)  # where batches lie is counted on
    driver.do(driver.broker.plan_create("jobs", {}, 1))
    driver.do(driver.push("jobs", "one", "two"))
    driver.fold()
    driver.do(driver.push("jobs", "three"))
    driver.seal()
    driver.do(driver.push("jobs", "four"))
    driver.do((records.PULL, 1, 1))
    driver.journal.close()
    return files.content()


CONTENT = make_content()
SEGMENTS = sorted(name for name in CONTENT if name.endswith(".mqj"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("MQD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    for name, content in CONTENT.items():
        (directory / name).write_bytes(content)
    (directory / LOCK_NAME).write_bytes(b"4711\n")
    return directory


def run(*arguments):
    return CliRunner().invoke(__main__.main, list(map(str, arguments)), prog_name="mqd")


def checked(directory, *options):
    """Run a check that must not change anything, not even a time of a file's last change."""
    before = fingerprint(directory)
    result = run("check", "--data-dir", directory, *options)
    assert fingerprint(directory) == before
    return result


def fingerprint(directory) -> list[Any]:
    if not Path(directory).is_dir():
        return []
    paths = [Path(directory), *sorted(Path(directory).rglob("*"))]
    return [
        (
            str(path),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in paths
    ]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


# check


def test_a_sound_directory(data):
    result = checked(data)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{data}: sound"
    assert "start: would succeed: everything is there" in lines
    assert any(line.startswith("state: 1 queue, 3 messages, 15 bytes; ") for line in lines)
    for name in CONTENT:
        assert any(line.startswith(name) and "sound" in line for line in lines)
    assert "next:" not in lines


def test_as_json(data):
    result = checked(data, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["is_sound"]
    assert found["would_start"]
    assert (found["queues"], found["messages"], found["snapshot"]) == (1, 3, 1)
    assert (found["in_use"], found["problem"], found["lost"], found["torn_bytes"]) == (
        None,
        None,
        [],
        0,
    )
    assert [each["name"] for each in found["files"]] == [snapshot_name(1), *SEGMENTS]
    assert found["files"][1]["first_lsn"] <= found["files"][1]["last_lsn"] < found["last_lsn"]


def test_a_new_directory(tmp_path):
    result = checked(tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{tmp_path}: empty",
        "start: would succeed: the directory is new",
    ]


def test_a_torn_tail_is_sound_and_told(data):
    path = data / SEGMENTS[-1]
    path.write_bytes(path.read_bytes() + b"torn")
    result = checked(data)
    assert result.exit_code == 0
    assert "torn tail: 4 bytes at the end were never promised" in result.stdout
    assert json.loads(checked(data, "--json").stdout)["torn_bytes"] == 4


def test_a_flipped_bit(data):
    flip(data / SEGMENTS[0], 100)
    result = checked(data)
    assert result.exit_code == 4
    assert result.stdout.startswith(f"{data}: damaged\n")
    assert f"{SEGMENTS[0]} at byte 56 should hold records that were promised\n" in result.stdout
    assert f"lost, at least:\n  {SEGMENTS[0]}: bytes 56 to " in result.stdout
    assert f"mqd check --data-dir {data} --salvage NEW_DIRECTORY" in result.stdout
    found = json.loads(checked(data, "--json").stdout)
    assert (found["is_sound"], found["would_start"]) == (False, False)
    assert (found["problem"]["path"], found["problem"]["offset"]) == (str(data / SEGMENTS[0]), 56)
    assert found["lost"][0]["first_lsn"] == found["lost"][0]["last_lsn"]


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        (lambda d: (d / SEGMENTS[0]).write_bytes(b""), "damaged", "its header is damaged"),
        (
            lambda d: (d / SEGMENTS[0]).write_bytes(b"text text"),
            "cannot be used",
            "none of our files",
        ),
        (lambda d: (d / SEGMENTS[0]).unlink(), "damaged", "not there"),
        (
            lambda d: [(d / name).unlink() for name in SEGMENTS],
            "damaged",
            "and all after it, if there",
        ),
        (
            lambda d: (d / snapshot_name(1)).unlink(),
            "damaged",
            "the snapshot that took their place",
        ),
        (
            lambda d: (d / SEGMENTS[0]).rename(d / "old.mqj"),
            "cannot be used",
            f"it was written as {SEGMENTS[0]}",
        ),
        (lambda d: os.truncate(d / SEGMENTS[0], 60), "damaged", "4 bytes behind that are no batch"),
        (
            lambda d: os.truncate(d / SEGMENTS[0], 56),
            "damaged",
            "ends at byte 56, and more was there",
        ),
        (
            lambda d: flip(d / snapshot_name(1), 90),
            "damaged",
            f"{snapshot_name(1)} is damaged at byte 56",
        ),
    ],
)
def test_damage_and_foreign_files(data, change, verdict, words):
    change(data)
    result = checked(data)
    assert result.exit_code == 4
    assert result.stdout.startswith(f"{data}: {verdict}")
    assert words in result.stdout


def test_swapped_files_are_told_their_names(data):
    one, other = data / SEGMENTS[0], data / SEGMENTS[1]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    result = checked(data)
    assert result.exit_code == 4
    assert f"it was written as {SEGMENTS[1]}" in result.stdout
    assert "give it its name back" in result.stdout
    assert "lost" not in result.stdout


def test_a_file_of_another_directory(data):
    header = Header(int(SEGMENTS[-1][8:18]) + 1, 90, 1, b"another.", b"12345678")
    (data / segment_name(header.number)).write_bytes(encode_header(SEGMENT_MAGIC, header))
    result = checked(data)
    assert result.exit_code == 4
    assert "of another data directory" in result.stdout


def test_another_version(data):
    header = Header(int(SEGMENTS[-1][8:18]) + 1, 90, 1, b"another.", b"12345678")
    path = data / segment_name(header.number)
    path.write_bytes(encode_header(SEGMENT_MAGIC, header, version=2))
    result = checked(data)
    assert result.exit_code == 4
    assert "use the version that wrote it" in result.stdout
    assert "of another format version" in result.stdout


def test_damage_that_a_start_can_do_without(data):
    (data / snapshot_name(2)).write_bytes((data / snapshot_name(1)).read_bytes()[:90])
    result = checked(data)
    assert result.exit_code == 4
    assert result.stdout.startswith(
        f"{data}: damaged, and a start succeeds without what is damaged\n"
    )
    assert "make a backup soon" in result.stdout


def test_while_it_is_served(data):
    with DirectoryLock(str(data)):
        result = checked(data)
        assert result.exit_code == 0
        assert (
            f"in use: process {os.getpid()} serves there; looked at as it stands" in result.stdout
        )
        assert f"start: would be refused now, as process {os.getpid()} is there" in result.stdout
        assert json.loads(checked(data, "--json").stdout)["in_use"] == {
            "pid": os.getpid(),
            "does": "serves",
        }
        result = run("check", "--data-dir", data, "--salvage", data.parent / "new")
        assert result.exit_code == 3
        assert f"process {os.getpid()} serves in {data}: stop it first" in result.stderr
        assert not (data.parent / "new").exists()


def test_no_lock_file_is_made(data):
    (data / LOCK_NAME).unlink()
    assert checked(data).exit_code == 0


def test_directories_that_cannot_be_looked_at(tmp_path, data):
    (tmp_path / "file").write_bytes(b"x")
    for name, words in (("missing", "there is no directory"), ("file", "is no directory")):
        result = run("check", "--data-dir", tmp_path / name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("mqd: ")
        assert words in result.stderr
    result = run("check", "--data-dir", tmp_path / "missing", "--json")
    assert json.loads(result.stdout)["path"] == str(tmp_path / "missing")


def test_files_that_may_not_be_read(data, monkeypatch):
    original = OsFiles.open

    def refuse(self, path, *, writable=False):
        if path.endswith(SEGMENTS[0]):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return original(self, path, writable=writable)

    monkeypatch.setattr(OsFiles, "open", refuse)
    result = checked(data)
    assert result.exit_code == 1
    assert "cannot be read: Permission denied" in result.stdout
    assert "as the user that the server runs as" in result.stdout
    result = run("check", "--data-dir", data, "--salvage", data.parent / "new")
    assert result.exit_code == 1
    assert not (data.parent / "new").exists()


# Which directory


def test_the_directory_comes_from_where_the_servers_does(data, tmp_path, monkeypatch):
    config = tmp_path / "c.yaml"
    config.write_text(f"storage: {{path: {data}}}")
    nowhere = tmp_path / "nowhere"
    for arguments in (
        ["check", "-c", config],
        ["-c", config, "check"],
        ["--data-dir", data, "check"],
        ["--data-dir", nowhere, "check", "--data-dir", data],
        ["-c", nowhere, "check", "-c", config],
    ):
        assert run(*arguments).stdout.startswith(f"{data}: sound\n"), arguments
    monkeypatch.setenv("MQD_CONFIG", str(config))
    assert run("check").exit_code == 0
    monkeypatch.setenv("MQD_STORAGE__PATH", str(nowhere))
    assert run("check").exit_code == 1


def test_a_wrong_configuration(tmp_path):
    result = run("check", "-c", tmp_path / "missing.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("mqd: ")
    assert run("check", "--what").exit_code == 2
    assert run("restore").exit_code == 2


def test_the_exit_codes_are_those_of_mqd():
    own = {
        name: value for name, value in vars(storage_commands).items() if name.startswith("EXIT_")
    }
    assert own == {
        "EXIT_OK": 0,
        "EXIT_FAILED": __main__.EXIT_FAILED,
        "EXIT_USAGE": __main__.EXIT_USAGE,
        "EXIT_IN_USE": __main__.EXIT_CANNOT_LISTEN,
        "EXIT_DAMAGED": __main__.EXIT_DAMAGED,
    }


def test_help_needs_nothing_of_the_store():
    code = (
        "import sys; from mqd.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print([name for name in sys.modules if name.startswith(('mqd.store', 'msgpack'))])"
    )
    for arguments in (["--help"], ["check", "--help"], ["restore", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.endswith("[]\n")


# --salvage


def test_a_salvage_of_a_damaged_directory(data, tmp_path):
    flip(data / SEGMENTS[0], 100)
    new = tmp_path / "new"
    result = checked(data, "--salvage", new)
    assert result.exit_code == 4
    assert "kept: 1 queue, 2 messages" in result.stdout
    assert f"lost:\n  {SEGMENTS[0]}: bytes 56 to " in result.stdout
    assert "jobs: 2 messages kept, up to 1 missing" in result.stdout
    assert f"next: mqd --data-dir {new}; {data} is as it was" in result.stdout
    assert (new.stat().st_mode & 0o777, checked(new).exit_code) == (0o700, 0)
    report = (new / "salvage-report.txt").read_text()
    assert result.stdout.startswith(report)
    assert not (new / "quarantine.jsonl").exists()
    found = json.loads(
        run("check", "--data-dir", data, "--salvage", tmp_path / "two", "--json").stdout
    )
    assert (found["is_whole"], found["messages"], found["quarantined"]) == (False, 2, 0)
    touched = {"name": "jobs", "kept": 2, "missing": 1, "is_made_up": False, "again": 0}
    assert found["touched"] == [touched]


def test_an_empty_salvage_is_nothing_to_start_on(data, tmp_path):
    for name in CONTENT:
        flip(data / name, 100)
    result = checked(data, "--salvage", tmp_path / "new")
    assert result.exit_code == 4
    assert "kept: 0 queues, 0 messages" in result.stdout
    assert (
        "next: restore a backup (`mqd restore`): nothing of the state could be read"
        in result.stdout
    )
    assert f"keep {data}, which is as it was" in result.stdout
    assert "next: mqd --data-dir" not in result.stdout


def test_a_salvage_that_loses_nothing(data, tmp_path):
    flip(data / SEGMENTS[0], 20)
    result = checked(data, "--salvage", tmp_path / "new")
    assert result.exit_code == 0
    assert "lost: nothing that was promised" in result.stdout


@pytest.fixture
def accounts(tmp_path):
    """Give a directory with two users, one of them disabled, and a token of the other."""
    files = MemoryFiles()
    driver = Driver(files, Model(), marker_seconds=3600.0)
    driver.do(driver.broker.plan_create("jobs", {}, 1))
    driver.do(driver.push("jobs", "one", "two"))
    users = driver.broker.accounts
    for name in ("ada", "bob"):
        driver.do(users.plan_admit(Role.ADMIN, name, Role.AGENT, "hash", 5))
    standing = Standing("ada", Role.AGENT, users.user("ada").basis)
    driver.do(users.plan_issue(standing, Issue(Role.AGENT, bytes(32), "", 10**9), 6))
    driver.do(users.plan_alter(Role.ADMIN, "bob", Change(is_disabled=True), 7))
    driver.do((job_records.LEASE, 1, 1, 1, 1, 10**9, "ada", 8, (1, 1)))
    driver.journal.close()
    directory = tmp_path / "accounts"
    directory.mkdir(mode=0o700)
    for name, content in files.content().items():
        (directory / name).write_bytes(content)
    return directory


def test_users_and_tokens_are_counted(accounts, tmp_path):
    kept = "1 queue, 2 messages, 8 bytes, 2 users (1 disabled), 1 token"
    assert f"state: {kept}; " in checked(accounts).stdout
    found = json.loads(checked(accounts, "--json").stdout)
    assert (found["users"], found["disabled_users"], found["tokens"]) == (2, 1, 1)
    result = checked(accounts, "--salvage", tmp_path / "new")
    assert result.exit_code == 0
    assert f"kept: {kept}\n" in result.stdout
    assert "doubtful" not in result.stdout


def test_users_and_tokens_that_what_is_lost_may_have_ended(accounts, tmp_path):
    flip(accounts / "segment-0000000001.mqj", 100)
    result = checked(accounts, "--salvage", tmp_path / "new")
    assert result.exit_code == 4
    assert "2 users (2 disabled)\n" in result.stdout
    assert "for that reason ended: 1 token; disabled: 1 user (`mqctl user enable`)" in result.stdout
    text = checked(accounts, "--salvage", tmp_path / "two", "--json").stdout
    found = json.loads(text)
    assert (found["ended_tokens"], found["newly_disabled_users"]) == (1, 1)
    assert (found["users"], found["disabled_users"], found["tokens"]) == (2, 2, 0)


def test_words_of_a_salvage_with_more_to_say(data, tmp_path):
    path = data / snapshot_name(1)
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    last = data / SEGMENTS[-1]
    last.write_bytes(last.read_bytes() + b"torn")
    result = checked(data, "--salvage", tmp_path / "new")
    assert result.exit_code == 4
    for words in (
        "torn tail: 4 bytes, never promised",
        "where the snapshot stands in the journal is lost",
        "salvaged-1: 2 messages kept, its name and options lost",
        "quarantined: 1 record that fit nowhere",
        "bodies of pushes may be in the frame log",
    ):
        assert words in result.stdout


def test_where_a_salvage_may_go(data, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(data)
    for target, code, words in (
        (full, 2, "is not empty; nothing was changed"),
        (data, 2, "is only read"),
        (data / "inside", 2, "is only read"),
        (tmp_path / "link" / "inside", 2, "is only read"),
        (tmp_path / "file", 1, "cannot be salvaged to: Not a directory"),
        ("/proc/nothing/there", 1, "mend that and do it again"),
    ):
        result = checked(data, "--salvage", target)
        assert (result.exit_code, result.stdout) == (code, "")
        assert words in result.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    DirectoryLock(str(empty)).release()
    assert checked(data, "--salvage", empty).exit_code == 0


def test_a_salvage_of_nothing(tmp_path):
    (tmp_path / "old").mkdir()
    result = run("check", "--data-dir", tmp_path / "old", "--salvage", tmp_path / "new")
    assert result.exit_code == 1
    assert "there is nothing of mqd in" in result.stderr
    (tmp_path / "old" / segment_name(1)).write_bytes(b"")
    result = run("check", "--data-dir", tmp_path / "old", "--salvage", tmp_path / "new")
    assert result.exit_code == 4
    assert "nothing was made; restore a backup" in result.stderr
    assert not (tmp_path / "new").exists()


# restore


@pytest.fixture
def backup(tmp_path):
    path = tmp_path / "backup"
    path.write_bytes(CONTENT[snapshot_name(1)])
    return path


def test_a_restore(backup, tmp_path):
    new = tmp_path / "made" / "new"
    result = run("restore", backup, "--data-dir", new)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"restored: {backup} -> {new}: 1 queue, 2 messages, 8 bytes, up to lsn " in result.stdout
    assert f"next: mqd --data-dir {new}" in result.stdout
    assert checked(new).exit_code == 0
    found = json.loads(run("--data-dir", tmp_path / "two", "restore", backup, "--json").stdout)
    assert (found["queues"], found["messages"], found["removed"]) == (1, 2, [])
    result = run("restore", backup, "--data-dir", new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds a data directory already" in result.stderr


def test_a_restore_from_a_symbolic_link(backup, tmp_path):
    (tmp_path / "latest").symlink_to(backup)
    result = run("restore", tmp_path / "latest", "--data-dir", tmp_path / "new")
    assert result.exit_code == 0
    assert str(tmp_path / "latest") in result.stdout


def test_backups_that_cannot_be_taken(backup, data, tmp_path):
    flip(backup, 70)
    os.mkfifo(tmp_path / "pipe")
    for path, code, words in (
        (backup, 4, "is damaged at byte 56; nothing was restored"),
        (data / SEGMENTS[0], 4, "is no backup"),
        (tmp_path / "missing", 1, "No such file or directory; check the path"),
        (tmp_path, 1, "is no file"),
        (tmp_path / "pipe", 1, "is no file"),
    ):
        result = run("restore", path, "--data-dir", tmp_path / "new")
        assert (result.exit_code, result.stdout) == (code, "")
        assert str(path) in result.stderr
        assert words in result.stderr
        assert not (tmp_path / "new").exists()


def test_where_a_restore_may_go(backup, tmp_path, data):
    (tmp_path / "file").write_bytes(b"")
    for target, code, words in (
        (tmp_path / "file", 1, "cannot be restored to: Not a directory"),
        (data, 2, "nothing was changed: restore to a new directory"),
        ("/proc/nothing", 1, "mend that and do it again"),
    ):
        result = run("restore", backup, "--data-dir", target)
        assert (result.exit_code, result.stdout) == (code, "")
        assert words in result.stderr
    (tmp_path / "held").mkdir()
    with DirectoryLock(str(tmp_path / "held")):
        assert run("restore", backup, "--data-dir", tmp_path / "held").exit_code == 3


def test_an_interrupted_restore_is_recognised(backup, tmp_path):
    new = tmp_path / "new"
    run("restore", backup, "--data-dir", new)
    (new / snapshot_name(1)).unlink()
    result = checked(new)
    assert result.exit_code == 4
    assert "this is what a restore that was interrupted leaves" in result.stdout
    assert "lost" not in result.stdout
    result = run("restore", backup, "--data-dir", new)
    assert result.exit_code == 0
    assert "removed what an interrupted restore had left: segment-" in result.stdout


def test_a_full_disk(backup, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OsFiles, "write", fail)
    result = run("restore", backup, "--data-dir", tmp_path / "new", "--json")
    assert result.exit_code == 1
    assert "the disk has refused something: No space left on device; mend that" in result.stderr
    assert json.loads(result.stdout)["path"] is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [LOCK_NAME]


# On a terminal, and into a pipe


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_progress_on_a_terminal(data, monkeypatch):
    monkeypatch.setattr(storage_progress, "INTERVAL_SECONDS", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(
        storage_commands, "sys", SimpleNamespace(stderr=terminal, maxsize=sys.maxsize)
    )
    with storage_commands._progress() as files:
        handle = files.open(str(data / SEGMENTS[0]))
        files.read(handle, 0, 9)
        files.close(handle)
    assert terminal.text.startswith("\r0 MiB read")
    assert terminal.text.endswith("\r" + " " * 60 + "\r")


def test_progress_is_told_now_and_then(tmp_path):
    terminal = Terminal()
    times = iter([0.0, 0.1, 0.3, 0.4])
    files = storage_progress.TellingFiles(terminal, lambda: next(times))
    handle = files.create(str(tmp_path / "f"))
    files.write(handle, 0, [bytes(2**20)])
    assert terminal.text == ""
    files.read(handle, 0, 2**21)
    assert "1 MiB read, 1 MiB written" in terminal.text
    before = terminal.text
    files.read(handle, 0, 2**21)
    assert terminal.text == before
    files.close(handle)
    files.clear()
    after = terminal.text
    files.clear()
    assert terminal.text == after


def test_a_reader_that_goes_away_is_no_failure(data):
    command = f"{sys.executable} -m mqd check --data-dir {data} | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_another_directory_is_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    result = checked(tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{tmp_path} holds no data of mqd, and other files (thesis.txt)" in result.stderr
