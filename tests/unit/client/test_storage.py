"""Durability, figures, snapshots and backups: what both clients send and read."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import TYPE_CHECKING

import pytest

import mqclient
from mqclient import base
from mqclient.calls import STATS_PARTS
from mqclient.models import SnapshotInfo
from support.fake_server import INFO, SNAPSHOT, FakeBackup, FakeQueues, FakeServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)

DATA = bytes(range(256)) * 10


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# Durability


@pytest.mark.parametrize("level", ["accepted", "written", "synced"])
def test_the_level_goes_with_the_request(server: FakeServer, make_client, level):
    FakeQueues(server)
    server.answers["CREATE"] = lambda peer, frame: peer.ok(frame, INFO)
    client = make_client(server.url, keys=False)
    option = {"durability": level}
    client.create("q", max_messages=1, durability=level, if_missing=True)
    assert client.push("q", b"x", durability=level) == 1
    assert client.push_many("q", [1, 2], headers={"n": 1}, durability=level) == [2, 3]
    assert client.pull("q", durability=level).id == 1
    assert len(client.pull_many("q", 2, wait=5, durability=level)) == 2
    assert server.frames("CREATE")[0][3] == {"max_messages": 1, **option, "if_missing": True}
    assert [frame[5] for frame in server.frames("PUSH")] == [
        option,
        {"headers": {"n": 1}, **option},
    ]
    pulls = [frame[4] for frame in server.frames("PULL")]
    assert pulls == [option, {"wait": pytest.approx(5, abs=1), **option}]


def test_nothing_is_sent_where_nothing_was_said(server: FakeServer, make_client):
    FakeQueues(server)
    client = make_client(server.url, keys=False)
    client.push("q", 1)
    client.push_many("q", [1])
    client.pull("q")
    assert [len(frame) for verb in ("PUSH", "PULL") for frame in server.frames(verb)] == [5, 5, 4]


def test_in_pipelines_too(server: FakeServer, make_client):
    FakeQueues(server)
    server.answers["CREATE"] = lambda peer, frame: peer.ok(frame, INFO)
    server.answers["STATS"] = lambda peer, frame: peer.ok(frame, {"queues": {"count": 1}})
    with make_client(server.url).pipeline() as pipeline:
        pipeline.create("q", durability="written")
        pipeline.push("q", 1, durability="synced")
        pipeline.push_many("q", [2, 3], durability="written")
        pipeline.pull("q", durability="accepted")
        pipeline.pull_many("q", 9, durability="accepted")
        pipeline.stats()
    info, first, ids, message, messages, stats = pipeline.results
    assert (info.durability, first, ids, message.id) == ("written", 1, [2, 3], 1)
    assert (len(messages), stats["queues"]) == (2, {"count": 1})
    sent = [server.frames(verb) for verb in ("CREATE", "PUSH", "PULL")]
    levels = [frame[-1]["durability"] for frames in sent for frame in frames]
    assert levels == ["written", "synced", "written", "accepted", "accepted"]


@pytest.mark.parametrize("level", ["safe", "SYNCED", "", 2, True, b"synced", ["synced"]])
def test_a_level_that_is_none_is_refused_before_anything_is_sent(
    server: FakeServer, make_client, level
):
    client = make_client(server.url)
    for misuse in (
        lambda: client.create("q", durability=level),
        lambda: client.push("q", 1, durability=level),
        lambda: client.push_many("q", [1], durability=level),
        lambda: client.pull("q", durability=level),
        lambda: client.pull_many("q", 2, durability=level),
        lambda: client.pipeline().create("q", durability=level),
        lambda: client.pipeline().push("q", 1, durability=level),
        lambda: client.pipeline().push_many("q", [1], durability=level),
        lambda: client.pipeline().pull("q", durability=level),
        lambda: client.pipeline().pull_many("q", 2, durability=level),
    ):
        with pytest.raises(mqclient.InterfaceError, match="accepted, written, synced"):
            misuse()
    assert not any(server.frames(verb) for verb in ("CREATE", "PUSH", "PULL"))


@pytest.mark.parametrize(
    ("asked", "reached", "is_enough"),
    [
        ("accepted", "accepted", True),
        ("accepted", "synced", True),
        ("written", "synced", True),
        ("synced", "synced", True),
        ("written", "accepted", False),
        ("synced", "written", False),
        ("synced", "accepted", False),
        (None, "accepted", True),
    ],
)
def test_less_than_was_asked_for_is_no_success(
    server: FakeServer, make_client, asked, reached, is_enough
):
    server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, 7, reached)
    client = make_client(server.url)
    pushes = (
        lambda: client.push("q", 1, durability=asked),
        lambda: client.push_many("q", [1], durability=asked),
    )
    for push in pushes:
        if is_enough:
            assert push() in (7, [7])
        else:
            with pytest.raises(mqclient.ProtocolError, match=f"reached {reached} alone"):
                push()
    pipeline = client.pipeline(raise_errors=False)
    pipeline.push("q", 1, durability=asked)
    assert isinstance(pipeline.run()[0], int) is is_enough


@pytest.mark.parametrize("results", [(7,), (7, "very"), (7, None), (7, ()), ("7", "synced")])
def test_a_reply_without_the_level_is_none(server: FakeServer, make_client, results):
    server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, *results)
    client = make_client(server.url)
    with pytest.raises(mqclient.ProtocolError, match="PUSH"):
        client.push("q", 1, durability="synced")
    if results[0] == 7:
        assert client.push("q", 1) == 7


@pytest.mark.parametrize(
    ("code", "kind"),
    [("STORAGE_FULL", mqclient.StorageFull), ("NO_JOURNAL", mqclient.NoJournal)],
)
def test_refusals_of_the_disk(server: FakeServer, make_client, code, kind):
    server.answers["PUSH"] = lambda peer, frame: peer.error(frame, code)
    with pytest.raises(kind) as caught:
        make_client(server.url).push("q", 1, durability="synced")
    assert caught.value.is_retryable is (code == "STORAGE_FULL")


# Figures


def test_stats_have_every_part(server: FakeServer, make_client):
    told = {"queues": {"count": 2}, "journal": None, "news": {"x": 1}}
    server.answers["STATS"] = lambda peer, frame: peer.ok(frame, told)
    stats = make_client(server.url).stats()
    assert list(stats)[: len(STATS_PARTS)] == list(STATS_PARTS)
    assert (stats["queues"], stats["journal"], stats["rates"]) == ({"count": 2}, None, None)
    assert stats["news"] == {"x": 1}
    assert server.frames("STATS")[0][2:] == ()


def test_stats_of_another_form(server: FakeServer, make_client):
    server.answers["STATS"] = lambda peer, frame: peer.ok(frame, [1])
    with pytest.raises(mqclient.ProtocolError, match="STATS"):
        make_client(server.url).stats()


# Snapshots


def test_a_snapshot(server: FakeServer, make_client):
    server.answers["SNAPSHOT"] = lambda peer, frame: peer.ok(frame, {**SNAPSHOT, "more": 1})
    assert make_client(server.url).snapshot() == SnapshotInfo(3, 20, 0, 0.25)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("SNAPSHOT_FAILED", mqclient.SnapshotFailed), ("NO_JOURNAL", mqclient.NoJournal)],
)
def test_a_snapshot_that_fails(server: FakeServer, make_client, code, kind, tmp_path):
    client = make_client(server.url)
    for verb in ("SNAPSHOT", "BACKUP"):
        server.answers[verb] = lambda peer, frame: peer.error(frame, code)
    with pytest.raises(kind):
        client.snapshot()
    with pytest.raises(kind):
        client.backup(tmp_path / "b")
    assert names(tmp_path) == []


def test_a_snapshot_has_ten_minutes(make_client):
    """Unless it is told otherwise, or the client's own time-out is longer."""
    client = make_client("mq://:t@h", timeout=5)
    inner = getattr(client, "client", client)
    assert inner._snapshot_seconds(None) == 600
    assert inner._snapshot_seconds(7) == 7
    patient = make_client("mq://:t@h", timeout=5000)
    assert getattr(patient, "client", patient)._snapshot_seconds(None) == 5000


@pytest.mark.parametrize("verb", ["STATS", "SNAPSHOT"])
def test_what_changes_no_queue_is_tried_once_more(server: FakeServer, make_client, verb):
    def answer(peer, frame):
        if len(server.frames(verb)) == 1:
            peer.close()
        else:
            peer.ok(frame, SNAPSHOT)

    server.answers[verb] = answer
    client = make_client(server.url)
    client.stats() if verb == "STATS" else client.snapshot()
    assert len(server.frames(verb)) == 2


def test_a_snapshot_that_times_out_is_not_in_doubt(server: FakeServer, make_client):
    with pytest.raises(mqclient.RequestTimeout) as caught:
        make_client(server.url).snapshot(timeout=0.1)
    assert not caught.value.in_doubt


# Backups


def test_a_backup(server: FakeServer, make_client, tmp_path: Path):
    FakeBackup(server, DATA)
    told: list[tuple[int, int]] = []
    client = make_client(server.url)
    info = client.backup(tmp_path / "b", on_progress=lambda *counts: told.append(counts))
    assert info == SnapshotInfo(3, 20, 2560, 0.25)
    assert (tmp_path / "b").read_bytes() == DATA
    assert told == [(0, 2560), (1000, 2560), (2000, 2560), (2560, 2560), (2560, 2560)]
    assert client.server.user == "admin"
    file = io.BytesIO()
    client.backup(file)
    assert file.getvalue() == DATA


def test_an_empty_backup(server: FakeServer, make_client):
    FakeBackup(server, b"")
    assert make_client(server.url).backup(io.BytesIO()).bytes == 0


def test_a_backup_has_a_connection_of_its_own_which_ends_with_it(
    server: FakeServer, make_client, tmp_path: Path
):
    FakeBackup(server, DATA)
    client = make_client(server.url)
    client.ping()
    client.backup(tmp_path / "b")
    client.ping()
    own, other = server.peers
    peer, _ = server.wait_for("BACKUP")
    assert peer is other
    server.wait_for("PING", 2)
    assert {peer for peer, _ in server._seen["PING"]} == {own}
    assert other.ended.wait(10)
    assert not own.ended.is_set()
    assert len(server.frames("AUTH")) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_existing_file(server: FakeServer, make_client, tmp_path: Path, overwrite):
    FakeBackup(server, DATA)
    path = tmp_path / "b"
    path.write_bytes(b"old")
    client = make_client(server.url)
    if overwrite:
        client.backup(path, overwrite=True)
        assert path.read_bytes() == DATA
        return
    with pytest.raises(FileExistsError):
        client.backup(path)
    assert path.read_bytes() == b"old"
    assert not server.peers


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_connection_lost_in_the_middle_leaves_nothing_and_is_not_gone_on_with(
    server: FakeServer, make_client, tmp_path: Path, at
):
    fake = FakeBackup(server, DATA)

    def answer(peer, frame):
        if len(server.frames("BACKUP")) == at:
            peer.close()
        else:
            fake.answer(peer, frame)

    server.answers["BACKUP"] = answer
    client = make_client(server.url)
    with pytest.raises(mqclient.ConnectionLost, match="begin it again") as caught:
        client.backup(tmp_path / "b")
    assert not caught.value.in_doubt
    assert names(tmp_path) == []
    assert len(server.peers) == 1
    assert len(server.frames("BACKUP")) == at
    client.ping()


def test_a_backup_that_times_out(server: FakeServer, make_client, tmp_path: Path):
    fake = FakeBackup(server, DATA)
    server.answers["BACKUP"] = lambda peer, frame: (
        fake.answer(peer, frame) if len(frame) == 2 else None
    )
    with pytest.raises(mqclient.RequestTimeout, match="after 0 of 2560") as caught:
        make_client(server.url, timeout=0.1).backup(tmp_path / "b")
    assert not caught.value.in_doubt
    assert names(tmp_path) == []


def test_a_held_backup_that_is_gone(server: FakeServer, make_client, tmp_path: Path):
    fake = FakeBackup(server, DATA)
    server.answers["BACKUP"] = lambda peer, frame: (
        fake.answer(peer, frame) if len(frame) == 2 else peer.error(frame, "NO_BACKUP")
    )
    with pytest.raises(mqclient.NoBackup):
        make_client(server.url).backup(tmp_path / "b")
    assert names(tmp_path) == []


@pytest.mark.parametrize("result", [[], "text", None, 5])
def test_pieces_of_another_form(server: FakeServer, make_client, tmp_path: Path, result):
    fake = FakeBackup(server, DATA)
    server.answers["BACKUP"] = lambda peer, frame: (
        fake.answer(peer, frame) if len(frame) == 2 else peer.ok(frame, result)
    )
    with pytest.raises(mqclient.ProtocolError, match="BACKUP"):
        make_client(server.url).backup(tmp_path / "b")
    assert names(tmp_path) == []


def test_a_progress_that_fails_ends_it(server: FakeServer, make_client, tmp_path: Path):
    FakeBackup(server, DATA)
    with pytest.raises(ZeroDivisionError):
        make_client(server.url).backup(tmp_path / "b", on_progress=lambda *_: 1 // 0)
    assert names(tmp_path) == []


def test_nobody_there(server: FakeServer, make_client, tmp_path: Path):
    server.stop()
    with pytest.raises(mqclient.ConnectFailed):
        make_client(server.url, connect_timeout=0.2).backup(tmp_path / "b")
    assert names(tmp_path) == []


def test_a_closed_client_makes_none(server: FakeServer, make_client, tmp_path: Path):
    FakeBackup(server, DATA)
    client = make_client(server.url)
    inner = getattr(client, "client", client)

    def close(*_: object) -> None:
        inner._is_closed = True  # what another thread, or task, may do meanwhile

    with pytest.raises(mqclient.InterfaceError, match="closed"):
        client.backup(tmp_path / "b", on_progress=close)
    inner._is_closed = False
    client.close()
    with pytest.raises(mqclient.InterfaceError, match="closed"):
        client.backup(tmp_path / "b")
    assert names(tmp_path) == []


def test_closing_ends_a_backup_of_another_thread(server: FakeServer, tmp_path: Path):
    client = mqclient.Client(server.url)
    failed: list[Exception] = []

    def back_up() -> None:
        try:
            client.backup(tmp_path / "b")
        except mqclient.MqError as error:
            failed.append(error)

    thread = threading.Thread(target=back_up)
    thread.start()
    server.wait_for("BACKUP")
    client.close()
    thread.join(10)
    assert isinstance(failed[0], mqclient.ConnectionLost)
    assert names(tmp_path) == []


async def test_closing_ends_a_backup_of_another_task(server: FakeServer, tmp_path: Path):
    client = mqclient.AsyncClient(server.url)
    task = asyncio.create_task(client.backup(tmp_path / "b"))
    await asyncio.to_thread(server.wait_for, "BACKUP")
    await client.close()
    with pytest.raises(mqclient.ConnectionLost):
        await task
    assert names(tmp_path) == []


async def test_a_cancelled_backup_leaves_nothing(server: FakeServer, tmp_path: Path):
    fake = FakeBackup(server, DATA)
    server.answers["BACKUP"] = lambda peer, frame: (
        fake.answer(peer, frame) if len(frame) == 2 or not frame[2] else None
    )
    async with mqclient.AsyncClient(server.url) as client:
        task = asyncio.create_task(client.backup(tmp_path / "b"))
        await asyncio.to_thread(server.wait_for, "BACKUP", 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert names(tmp_path) == []
        await client.ping()


def test_the_child_of_a_fork_lets_go_of_its_parents_backups(server: FakeServer, tmp_path: Path):
    fake = FakeBackup(server, DATA)
    client = mqclient.Client(server.url)
    held = []

    def fork_in_the_middle(done: int, _total: int) -> None:
        if done == 0:
            [connection] = client._others
            held.append(connection)
            client._after_fork()  # what a fork calls in the child
            assert connection._socket.fileno() == -1

    with pytest.raises(mqclient.ConnectionLost):
        client.backup(tmp_path / "b", on_progress=fork_in_the_middle)
    assert held
    assert fake.data == DATA
    client.close()


def test_the_default_is_what_the_documentation_says():
    assert base.DEFAULT_SNAPSHOT_SECONDS == 600
    assert "ten minutes" in mqclient.Client.snapshot.__doc__
    assert "ten minutes" in mqclient.Client.backup.__doc__
