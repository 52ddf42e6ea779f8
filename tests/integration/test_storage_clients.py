"""What clients and mqctl see of a real server's storage: levels, figures, snapshots, backups.

And what mqctl tells about a server that it finds by itself, or of a push that is interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import mqclient
from mqclient.calls import STATS_PARTS
from mqclient.ctl import exits
from support.both_clients import KINDS, ClientMaker
from support.server import ROOT, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.server import RunningServer

pytestmark = pytest.mark.timeout(60)

SECONDS = 30


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def in_memory() -> Iterator[RunningServer]:
    with running_server(overrides={"storage": {"journal": False}}) as running:
        yield running


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def environment(server: RunningServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MQ")}
    return {**kept, "MQ_ADDRESS_FILE": str(server.address_file)}


def run(module: str, *arguments: str, **extra):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        cwd=ROOT,
        timeout=SECONDS,
        check=False,
        **extra,
    )


def mqctl(server: RunningServer, *arguments: str, stdin: bytes = b""):
    return run("mqclient.ctl", *arguments, input=stdin, env=environment(server))


# Levels


@pytest.mark.parametrize("level", ["accepted", "written", "synced"])
def test_every_level_of_a_queue_and_of_a_request(server, queue, make_client, level):
    client = make_client(server.url)
    assert client.create(queue, durability=level).durability == level
    assert client.info(queue).durability == level
    assert client.push(queue, 1) == 1
    for asked in ("accepted", "written", "synced"):
        client.push(queue, asked, durability=asked)
        assert len(client.push_many(queue, range(3), durability=asked)) == 3
        assert client.pull(queue, durability=asked) is not None
        assert len(client.pull_many(queue, 2, durability=asked)) == 2
    with client.pipeline() as pipeline:
        pipeline.push(queue, 1, durability="synced")
        pipeline.pull(queue, durability="written")
    assert pipeline.results[1] is not None


def test_a_queue_without_a_level_has_the_servers(server, queue, make_client):
    client = make_client(server.url)
    assert client.create(queue).durability == client.server.durability == "synced"


def test_a_server_without_a_journal_promises_nothing_more(in_memory, queue, make_client, tmp_path):
    client = make_client(in_memory.url)
    client.create(queue)
    assert client.server.durability == client.info(queue).durability == "accepted"
    assert client.push(queue, 1, durability="accepted") == 1
    for refused in (
        lambda: client.push(queue, 1, durability="written"),
        lambda: client.create(f"{queue}-2", durability="synced"),
        client.snapshot,
        lambda: client.backup(tmp_path / "b"),
    ):
        with pytest.raises(mqclient.NoJournal):
            refused()
    assert names(tmp_path) == []
    assert client.stats()["journal"] is None
    assert client.info(queue).pushed == 1


# Figures


def test_stats_tell_every_part(server, queue, make_client):
    client = make_client(server.url)
    client.create(queue)
    before = client.stats()
    assert list(before) == list(STATS_PARTS)
    assert all(isinstance(part, dict) for part in before.values())
    client.push_many(queue, range(5))
    after = client.stats()
    assert after["requests"]["pushed"] == before["requests"]["pushed"] + 5
    assert after["queues"]["ready"] == before["queues"]["ready"] + 5
    assert after["journal"]["syncs"] > before["journal"]["syncs"]
    assert after["journal"]["durability"] == "synced"


def test_mqctl_stats(server):
    done = mqctl(server, "stats")
    assert (done.returncode, done.stderr) == (0, b"")
    figures = dict(line.split(maxsplit=1) for line in done.stdout.decode().splitlines())
    assert figures["journal.durability"] == "synced"
    assert {name.split(".")[0] for name in figures} == set(STATS_PARTS)
    assert list(json.loads(mqctl(server, "stats", "--json").stdout)) == list(STATS_PARTS)


def test_watching_ends_with_an_interrupt(server):
    command = [sys.executable, "-m", "mqclient.ctl", "stats", "--watch", "0.1", "--json"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(server), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["requests"]["frames"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == exits.INTERRUPTED
    assert seen == sorted(seen)


# Snapshots and backups


def test_snapshots_count_up(server, queue, make_client):
    client = make_client(server.url)
    client.create(queue)
    first = client.snapshot()
    client.push(queue, "more")
    second = client.snapshot()
    assert second.number > first.number
    assert second.records > first.records
    assert second.bytes > 0
    assert client.stats()["snapshot"]["number"] >= second.number


def test_a_backup_is_restored_with_what_was_there(make_client, queue, tmp_path):
    path, told = tmp_path / "b", []
    body = os.urandom(200_000)
    with running_server() as running:
        client = make_client(running.url)
        client.create(queue, max_messages=77, durability="written")
        client.push_many(queue, [{"n": 1}, "two", body, body, body], headers={"h": 1})
        client.pull(queue)
        info = client.backup(path, on_progress=lambda *counts: told.append(counts))
        client.purge(queue)
    assert path.stat().st_size == info.bytes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told[0] == (0, info.bytes)
    assert told[-1] == (info.bytes, info.bytes)
    assert len(told) > 3  # it came in pieces
    data_dir = tmp_path / "restored"
    done = run("mqd", "restore", str(path), "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    with running_server(overrides={"storage": {"path": str(data_dir)}}) as running:
        client = make_client(running.url)
        restored = client.info(queue)
        assert (restored.max_messages, restored.durability) == (77, "written")
        messages = client.pull_many(queue, 9)
        assert [message.id for message in messages] == [2, 3, 4, 5]
        assert [message.body for message in messages] == ["two", body, body, body]
        assert messages[0].headers == {"h": 1}
        assert client.push(queue, "next") == 6


def test_mqctl_backup_and_snapshot(server, queue, tmp_path):
    assert mqctl(server, "create", queue, "--durability", "written").returncode == 0
    assert mqctl(server, "push", queue, "x", "--durability", "synced").returncode == 0
    number = json.loads(mqctl(server, "snapshot", "--json").stdout)["number"]
    path = tmp_path / "b"
    told = json.loads(mqctl(server, "backup", str(path), "--json").stdout)
    assert told["file"] == str(path)
    assert told["number"] >= number  # nothing has changed since, so it may be the same one
    assert told["bytes"] == path.stat().st_size
    done = mqctl(server, "backup", str(path))
    assert done.returncode == exits.USAGE
    assert b"--overwrite" in done.stderr
    assert mqctl(server, "backup", str(path), "--overwrite").returncode == 0
    assert names(tmp_path) == ["b"]
    done = run("mqd", "restore", str(path), "--data-dir", str(tmp_path / "restored"))
    assert done.returncode == 0, done.stderr


def test_mqctl_says_what_to_do_without_a_journal(in_memory, tmp_path):
    for arguments in (["snapshot"], ["backup", str(tmp_path / "b")]):
        done = mqctl(in_memory, *arguments)
        assert done.returncode == exits.REFUSED
        assert b"NO_JOURNAL" in done.stderr
        assert b"storage.journal: true" in done.stderr
    assert names(tmp_path) == []


def test_users_may_look_and_not_back_up(server, make_client, tmp_path):
    client = make_client(server.url_for("user"))
    assert client.stats()["journal"] is not None
    for refused in (client.snapshot, lambda: client.backup(tmp_path / "b")):
        with pytest.raises(mqclient.AccessDenied):
            refused()
    assert names(tmp_path) == []


# mqctl by itself


def test_an_interrupted_push_says_what_was_acknowledged(server, queue):
    assert mqctl(server, "create", queue).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "mqclient.ctl", "push", queue],
        cwd=ROOT,
        env=environment(server),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    deadline = time.monotonic() + SECONDS
    with mqclient.Client(server.url) as client:
        # It reads on when it knows of the first three, so of the fourth alone it may not.
        for lines, ready in ((b"1\n2\n3\n", 3), (b"4\n", 4)):
            process.stdin.write(lines)
            process.stdin.flush()
            while client.info(queue).ready < ready:
                assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == exits.INTERRUPTED
    known, doubt = b"mqctl: interrupted; the first %d messages have been pushed", b"; 1 was"
    assert said == known % 4 + b"\n" or said.startswith(known % 3 + doubt)


def test_the_frame_log_of_the_server_that_is_meant_is_found():
    with running_server() as server:  # of its own: the log of all other tests is long
        assert mqctl(server, "create", "jobs").returncode == 0
        done = mqctl(server, "log", "--queue", "jobs", "--json")
    assert done.returncode == 0, done.stderr
    frames = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(frame["direction"], frame["verb"]) for frame in frames] == [
        ("in", "CREATE"),
        ("out", "CREATE"),
    ]
