"""A server's state outlives its process: stopped, killed, or with a disk that fails."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

import mqclient
from mqwire.framelog import OUT, FrameSplitter, LogReader
from support.raw import Raw
from support.server import ROOT, running_server, write_config


def fingerprint(directory):
    """Return what is in a directory, down to the last byte."""
    return {
        path.relative_to(directory): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_killed_server_goes_on_where_it_was(tmp_path):
    with running_server(directory=tmp_path) as server, mqclient.Client(server.url) as client:
        client.create("jobs", max_messages=100, durability="written")
        client.push_many("jobs", [{"n": n} for n in range(50)], headers={"run": 7})
        assert [m.body["n"] for m in client.pull_many("jobs", 10)] == list(range(10))
        before = client.info("jobs")
        server.stop(signal.SIGKILL)
    with running_server(directory=tmp_path) as server, mqclient.Client(server.url) as client:
        after = client.info("jobs")
        for name in ("ready", "bytes", "pushed", "pulled", "max_messages", "created_at"):
            assert getattr(after, name) == getattr(before, name)
        assert client.push("jobs", "next") == 51
        messages = client.pull_many("jobs", 100)
        assert [m.id for m in messages] == list(range(11, 52))
        assert messages[0].headers == {"run": 7}
        assert "40 messages in 1 queue" in server.stderr
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL


def test_a_stopped_server_leaves_a_snapshot_and_starts_from_it(tmp_path):
    with running_server(directory=tmp_path) as server, mqclient.Client(server.url) as client:
        client.create("jobs")
        client.push_many("jobs", range(1000))
    assert len(list(server.data_dir.glob("snapshot-*.mqs"))) == 1
    assert sum(path.stat().st_size for path in server.data_dir.glob("*.mqj")) < 1000
    with running_server(directory=tmp_path) as server, mqclient.Client(server.url) as client:
        assert client.info("jobs").ready == 1000
        recovery = client.stats()["recovery"]
        assert recovery["snapshot"] == 1
        assert recovery["cut_bytes"] == 0
    assert len(list(server.data_dir.glob("snapshot-*.mqs"))) == 1, "nothing has changed"


def test_a_second_server_on_one_directory_stops_at_once_and_touches_nothing(tmp_path):
    with running_server(directory=tmp_path) as server:
        other = tmp_path / "other"
        other.mkdir()
        config = write_config(other, {"storage": {"path": str(server.data_dir)}})
        before = fingerprint(server.data_dir)
        done = subprocess.run(
            [sys.executable, "-m", "mqd", "--config", str(config)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 3
        assert f"process {server.process.pid} holds {server.data_dir}" in done.stderr
        assert "Traceback" not in done.stderr
        assert fingerprint(server.data_dir) == before


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_snapshot_is_made_while_everybody_is_served(loop):
    with running_server(loop=loop) as server, Raw(server) as one, Raw(server) as other:
        one.ok("CREATE", "jobs")
        one.ok("PUSH", "jobs", 3, b"\xa1a\xa1b\xa1c")
        one.send(["SNAPSHOT", 7])
        assert other.ok("PULL", "jobs", 1)[0] == (1, 1)
        request_id, word, snapshot = one.read()
        assert (request_id, word) == (7, "OK")
        assert snapshot["number"] == 1
        (path,) = server.data_dir.glob("snapshot-*.mqs")
        assert path.stat().st_size == snapshot["bytes"]
        assert path.stat().st_mode & 0o777 == 0o600
        other.ok("PURGE", "jobs")
        again = other.ok("SNAPSHOT")[0]
        assert again["number"] == 2
        assert other.ok("SNAPSHOT")[0] == again, "nothing has changed"
        assert len(list(server.data_dir.glob("snapshot-*.mqs"))) == 1
        stats = one.ok("STATS")[0]
        assert stats["snapshot"]["number"] == 2
        assert stats["snapshot"]["made"] == 2


def test_snapshots_are_made_by_themselves():
    overrides = {"storage": {"snapshot_interval_seconds": 0.1}}
    with running_server(overrides=overrides) as server, Raw(server) as raw:
        raw.ok("CREATE", "jobs")
        deadline = time.monotonic() + 20
        while not raw.ok("STATS")[0]["snapshot"]["made"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        number = raw.ok("STATS")[0]["snapshot"]["number"]
        raw.ok("PUSH", "jobs", 1, b"\xa1a")
        while raw.ok("STATS")[0]["snapshot"]["number"] == number:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_backup_is_the_snapshot_and_stays_whatever_comes_after_it():
    with running_server() as server, Raw(server) as raw, Raw(server) as other:
        raw.ok("CREATE", "jobs")
        for _ in range(20):
            raw.ok("PUSH", "jobs", 1, b"\xc6\x00\x01\x00\x00" + bytes(0x10000))
        begun = raw.ok("BACKUP")[0]
        (path,) = server.data_dir.glob("snapshot-*.mqs")
        expected = path.read_bytes()
        other.ok("PURGE", "jobs")
        other.ok("SNAPSHOT")
        assert not path.exists()
        pieces = []
        while piece := raw.ok("BACKUP", sum(map(len, pieces)))[0]:
            pieces.append(piece)
        assert len(pieces) > 2
        assert b"".join(pieces) == expected
        assert begun["bytes"] == len(expected)
        assert other.call("BACKUP", 0)[2] == "NO_BACKUP"
        server.stop()
        logged = sum(path.stat().st_size for path in server.frame_log_dir.iterdir())
    assert logged < 1.5 * len(expected), "the pushes, and not the pieces once more"


def test_the_frame_log_has_a_mark_in_the_place_of_a_backups_pieces():
    with running_server() as server, Raw(server) as raw:
        raw.ok("CREATE", "jobs")
        raw.ok("BACKUP")
        piece = raw.ok("BACKUP", 0)[0]
        server.stop()
        splitter = FrameSplitter()
        replies = [
            logged.frame
            for path in server.frame_log_dir.iterdir()
            for record in LogReader().feed(path.read_bytes())
            if record.direction == OUT
            for logged in splitter.split(record)
        ]
    assert replies[-2][2]["bytes"] == len(piece)


def test_without_a_journal_everything_ends_with_the_process(tmp_path):
    overrides = {"storage": {"journal": False}}
    with running_server(directory=tmp_path, overrides=overrides) as server, Raw(server) as raw:
        assert raw.ok("CREATE", "jobs")[0]["options"]["durability"] == "accepted"
        assert raw.ok("PUSH", "jobs", 1, b"\xa1a") == (1, "accepted")
        for request in (
            ("PUSH", "jobs", 1, b"\xa1a", {"durability": "synced"}),
            ("PULL", "jobs", 1, {"durability": "written"}),
            ("CREATE", "own", {"durability": "written"}),
            ("SNAPSHOT",),
            ("BACKUP",),
        ):
            assert raw.call(*request)[2] == "NO_JOURNAL", request
        stats = raw.ok("STATS")[0]
        assert (stats["journal"], stats["snapshot"], stats["recovery"]) == (None, None, None)
        server.stop()
    assert "state is kept in memory alone" in server.stderr
    assert "storage.journal is false: 1 message in 1 queue" in server.stderr
    assert not list(server.data_dir.glob("*.mqj"))


def test_a_server_whose_directory_is_taken_away_ends(tmp_path):
    with running_server(directory=tmp_path) as server:
        with Raw(server) as raw:
            raw.ok("CREATE", "jobs")
            server.data_dir.rename(tmp_path / "aside")
            assert server.process.wait(20) == 1
        assert f"the data directory {server.data_dir} was moved to" in server.stderr
        assert f"--data-dir {tmp_path / 'aside'}, where all of it is" in server.stderr
        assert "mend the disk" not in server.stderr
    (tmp_path / "aside").rename(server.data_dir)
    with running_server(directory=tmp_path) as server, Raw(server) as raw:
        assert raw.ok("INFO", "jobs")[0]["ready"] == 0


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not there: apt-get install strace"
)


@needs_strace
@pytest.mark.parametrize("call", ["fdatasync", "pwritev,pwritev2"])
def test_a_server_whose_disk_fails_is_gone_within_a_second(tmp_path, call):
    path = tmp_path / "data" / "segment-0000000001.mqj"
    fault = f"inject={call}:error=EIO:when=8+"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path)]
    command += ["-e", f"trace={call}", "-e", fault]
    with running_server(directory=tmp_path, command=command) as server:
        answered = []
        with Raw(server) as raw:
            raw.ok("CREATE", "jobs")
            with pytest.raises((EOFError, ConnectionResetError)):
                while len(answered) < 20:
                    answered += raw.ok("PUSH", "jobs", 1, b"\xa1a")[:1]
            failed_at = time.monotonic()
            assert server.process.wait(10) == 1
            assert time.monotonic() - failed_at < 2, "a second, and what a busy machine adds"
        assert "the journal cannot be written" in server.stderr
        assert "Input/output error" in server.stderr
    with running_server(directory=tmp_path) as server, Raw(server) as raw:
        ready = raw.ok("INFO", "jobs")[0]["ready"]
        assert ready >= len(answered)
