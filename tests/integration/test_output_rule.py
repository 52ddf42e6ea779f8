"""Nothing leaves before what it rests on has reached its level; nothing is promised in vain."""

from __future__ import annotations

import asyncio
import time

import pytest

from mqd.config import LimitsConfig
from mqd.net import server as servers
from mqd.net import session as sessions
from mqwire.levels import Level
from mqwire.packs import join_bodies
from support.gated_server import PATIENCE_SECONDS, gated_server

A = join_bodies("a")


@pytest.fixture
async def gated(tmp_path):
    async with gated_server(tmp_path) as running:
        admin = await running.connect()
        assert (await admin.call("CREATE", "jobs"))[1] == "OK"
        yield running


async def until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("PUSH", ("jobs", 1, A)),
        ("PULL", ("jobs", 1)),
        ("CREATE", ("more",)),
        ("PURGE", ("jobs",)),
        ("DELETE", ("jobs",)),
    ],
)
async def test_a_reply_waits_for_its_sync_and_others_do_not(gated, verb, arguments):
    one, other = await gated.connect(), await gated.connect()
    assert (await one.call("PUSH", "jobs", 1, A))[1:] == ("OK", 1, "synced")
    gated.files.sync_gate.clear()
    request_id = one.send(verb, *arguments)
    assert await one.hears_nothing()
    assert (await other.call("PING"))[1] == "OK"
    assert (await other.call("LIST"))[1] == "OK"
    gated.files.sync_gate.set()
    assert (await one.read())[:2] == (request_id, "OK")


@pytest.mark.parametrize("word", ["written", "accepted"])
async def test_a_weaker_level_does_not_wait_for_the_sync(gated, word):
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    options = {"durability": word}
    assert (await connection.call("PUSH", "jobs", 1, A, options))[1:] == ("OK", 1, word)
    assert (await connection.call("PULL", "jobs", 1, options))[2] == (1, 1)
    assert (await connection.call("CREATE", "own", options))[1] == "OK"
    assert (await connection.call("PUSH", "own", 1, A))[1:] == ("OK", 1, word)


async def test_a_connections_replies_keep_their_order(gated):
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    first = connection.send("PUSH", "jobs", 1, A)
    assert await connection.hears_nothing()
    second = connection.send("PUSH", "jobs", 1, A, {"durability": "accepted"})
    third = connection.send("PING")
    assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert [(await connection.read())[0] for _ in range(3)] == [first, second, third]


@pytest.mark.parametrize("verb", ["PULL", "PEEK"])
async def test_a_message_is_shown_when_its_push_is_durable(gated, verb):
    pusher, puller = await gated.connect(), await gated.connect()
    gated.files.sync_gate.clear()
    pusher.send("PUSH", "jobs", 1, A)
    assert await pusher.hears_nothing()
    options = ({"durability": "accepted"},) if verb == "PULL" else ()
    puller.send(verb, "jobs", 1, *options)
    assert await puller.hears_nothing()
    gated.files.sync_gate.set()
    assert (await puller.read())[2] == (1, 1)


async def test_who_waits_is_given_a_message_when_its_push_is_durable(gated):
    pusher, puller = await gated.connect(), await gated.connect()
    puller.send("PULL", "jobs", 1, {"wait": 60, "durability": "accepted"})
    assert await puller.hears_nothing()
    gated.files.sync_gate.clear()
    pusher.send("PUSH", "jobs", 1, A)
    assert await puller.hears_nothing()
    gated.files.sync_gate.set()
    assert (await puller.read())[2] == (1, 1)
    assert (await pusher.read())[1] == "OK"


async def test_a_goodbye_comes_after_what_waits_for_the_disk(gated):
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    connection.send("PUSH", "jobs", 1, A)
    connection.writer.write(b"GET / HTTP/1.1\r\n")
    assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert (await connection.read())[1:3] == ("OK", 1)
    assert (await connection.read())[:3] == (0, "ERR", "BAD_PREFIX")
    with pytest.raises(EOFError):
        await connection.read()


async def test_another_user_waits_for_the_replies_to_the_first(gated):
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    first = connection.send("PUSH", "jobs", 1, A)
    second = connection.send("AUTH", {"user": "user", "password": ""})
    third = connection.send("PUSH", "jobs", 1, A)
    assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert [(await connection.read())[:2] for _ in range(3)] == [
        (first, "OK"),
        (second, "OK"),
        (third, "ERR"),
    ]


async def test_a_client_is_not_read_while_too_much_of_its_own_waits(tmp_path):
    limits = LimitsConfig(max_unsent_bytes=4096)
    async with gated_server(tmp_path, limits=limits) as gated:
        connection, other = await gated.connect(), await gated.connect()
        await other.call("CREATE", "jobs")
        gated.files.sync_gate.clear()
        count = 5000
        for _ in range(count):
            connection.send("PUSH", "jobs", 1, A)
        assert await connection.hears_nothing()
        ready = [0] * 20
        while ready[-20] != (now := (await other.call("INFO", "jobs"))[2]["ready"]):
            ready.append(now)
        assert 100 < now < count
        gated.files.sync_gate.set()
        replies = [await connection.read() for _ in range(count)]
        assert [reply[2] for reply in replies] == list(range(1, count + 1))


@pytest.mark.parametrize("word", ["synced", "written"])
async def test_a_failing_disk_ends_everything_without_a_word(gated, word):
    connection, other = await gated.connect(), await gated.connect()
    other.send("PULL", "jobs", 1, {"wait": 60})
    gated.files.is_broken = True
    connection.send("PUSH", "jobs", 1, A, {"durability": word})
    for each in (connection, other):
        with pytest.raises((EOFError, ConnectionResetError)):
            await each.read()
    await asyncio.wait_for(gated.server.failed.wait(), PATIENCE_SECONDS)
    assert "cannot be written" in str(gated.storage.failure)
    with pytest.raises(OSError):  # noqa: PT011  which one is the system's business
        await gated.connect()


async def test_a_full_disk_refuses_pushes_and_lets_the_rest_go_on(gated):
    connection = await gated.connect()
    body = join_bodies([b"x" * 1000])
    gated.files.is_full = True
    pushed = 0
    for pack in (body, A):
        while (reply := await connection.call("PUSH", "jobs", 1, pack))[1] == "OK":
            pushed += 1
        assert reply[2] == "STORAGE_FULL"
        assert reply[4] == {"queue": "jobs"}
    assert (await connection.call("CREATE", "more"))[2] == "STORAGE_FULL"
    figures = (await connection.call("STATS"))[2]
    assert figures["journal"]["is_full"] is True
    for _ in range(pushed):
        assert (await connection.call("PULL", "jobs", 1))[2] != ()
    assert (await connection.call("PULL", "jobs", 1))[2] == ()
    gated.files.is_full = False
    await until(lambda: not gated.storage.is_full)
    assert (await connection.call("PUSH", "jobs", 1, body))[1] == "OK"


async def test_what_was_answered_is_there_after_a_restart(tmp_path):
    async with gated_server(tmp_path, level=Level.ACCEPTED) as gated:
        connection = await gated.connect()
        await connection.call("CREATE", "jobs", {"max_messages": 10, "durability": "written"})
        await connection.call("CREATE", "gone")
        await connection.call("PUSH", "jobs", 2, join_bodies(["a", "b"]), {"headers": {"n": 1}})
        await connection.call("PULL", "jobs", 1)
        await connection.call("DELETE", "gone")
        before = (await connection.call("LIST"))[2]
    async with gated_server(tmp_path) as gated:
        connection = await gated.connect()
        (info,) = after = (await connection.call("LIST"))[2]
        age = info.pop("oldest_age_seconds")
        assert age >= before[0].pop("oldest_age_seconds")
        assert after == before
        assert (await connection.call("PUSH", "jobs", 1, A))[2:] == (3, "written")
        assert (await connection.call("PULL", "jobs", 9))[2:] == (
            (2, 2),
            (join_bodies(["b"]), A),
            {"headers": ({"n": 1}, None)},
        )


async def test_records_that_come_further_end_no_turn_that_is_under_way(gated, monkeypatch):
    connection = await gated.connect()
    server = gated.server
    gated.files.sync_gate.clear()
    first = connection.send("PUSH", "jobs", 1, A)
    assert await connection.hears_nothing()
    monkeypatch.setattr(server.crowd, "add", lambda _session, data: data)  # answered at once
    monkeypatch.setattr(server, "end_turn_soon", server.engine.on_progress)
    second = connection.send("PUSH", "jobs", 1, A)
    assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert (await connection.read())[0] == first
    assert await connection.hears_nothing()
    server.end_turn()
    assert (await connection.read())[0] == second


async def test_another_user_on_a_busy_disk_is_heard_again(gated):
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    gated.storage._max_backlog_bytes = -1  # as if too much waited
    first = connection.send("PUSH", "jobs", 1, A)
    second = connection.send("AUTH", {"user": "user", "password": ""})
    assert await connection.hears_nothing()
    gated.storage._max_backlog_bytes = 2**20
    gated.files.sync_gate.set()
    assert [(await connection.read())[0] for _ in range(2)] == [first, second]
    assert (await connection.call("PING"))[1] == "OK"


async def test_a_goodbye_waits_for_a_disk_that_is_slow(gated, monkeypatch):
    monkeypatch.setattr(sessions, "CLOSE_SECONDS", 0.05)
    connection = await gated.connect()
    gated.files.sync_gate.clear()
    connection.send("PUSH", "jobs", 1, A)
    connection.writer.write(b"GET / HTTP/1.1\r\n")
    for _ in range(4):
        assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert (await connection.read())[1:3] == ("OK", 1)
    assert (await connection.read())[2] == "BAD_PREFIX"


async def test_a_stop_waits_for_a_disk_that_is_slow(gated, monkeypatch):
    monkeypatch.setattr(servers, "CLOSE_SECONDS", 0.05)
    connection, idle = await gated.connect(), await gated.connect()
    gated.files.sync_gate.clear()
    connection.send("PUSH", "jobs", 1, A)
    assert await connection.hears_nothing()
    stopping = asyncio.ensure_future(gated.server.stop())
    assert (await idle.read())[2] == "SHUTTING_DOWN"
    for _ in range(3):
        assert await connection.hears_nothing()
    gated.files.sync_gate.set()
    assert (await connection.read())[1:3] == ("OK", 1)
    assert (await connection.read())[2] == "SHUTTING_DOWN"
    connection.writer.close()
    idle.writer.close()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_a_bug_in_one_connection_holds_up_no_other(gated, monkeypatch):
    one, other = await gated.connect(), await gated.connect()
    gated.files.sync_gate.clear()
    one.send("PUSH", "jobs", 1, A)
    other.send("PUSH", "jobs", 1, A)
    assert await other.hears_nothing()
    victim = min(gated.server.waiting, key=lambda session: session.number)

    def fail():
        raise KeyError("a bug")

    monkeypatch.setattr(victim, "look_again", fail)
    gated.files.sync_gate.set()
    assert (await other.read())[1] == "OK"
    with pytest.raises((EOFError, ConnectionResetError)):
        await one.read()


@pytest.mark.parametrize("waits", [False, True])
async def test_messages_that_have_not_left_when_their_connection_breaks_are_handed_back(
    gated, waits
):
    one, other = await gated.connect(), await gated.connect()
    for each in (one, other):  # two connections of one worker: it is not gone with the first
        await each.call("AUTH", {"user": "agent", "password": ""}, {"instance": "w"})
    push = ("PUSH", "jobs", 1, A, {"durability": "accepted"})
    if not waits:
        await other.call(*push)
    gated.files.sync_gate.clear()
    one.send("PULL", "jobs", 1, {"lease": 60, "durability": "synced", "wait": 60})
    assert await one.hears_nothing()
    if waits:
        await other.call(*push)
    one.writer.close()
    await one.writer.wait_closed()
    gated.files.sync_gate.set()
    reply = await other.call("PULL", "jobs", 1, {"lease": 60, "wait": PATIENCE_SECONDS})
    assert reply[2] == (1, 1)
    assert reply[4] == {"deliveries": (2,)}, "neither an attempt nor a worker loss"
    assert (await other.call("ACK", reply[5]))[1] == "OK"


async def test_a_delivery_that_has_left_is_the_workers(gated):
    one, other = await gated.connect(), await gated.connect()
    for each in (one, other):
        await each.call("AUTH", {"user": "agent", "password": ""}, {"instance": "w"})
    await other.call("PUSH", "jobs", 1, A)
    reply = await one.call("PULL", "jobs", 1, {"lease": 60})
    one.writer.close()
    await one.writer.wait_closed()
    assert (await other.call("ACK", reply[5]))[1] == "OK"
