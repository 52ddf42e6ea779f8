"""What only the asyncio client can do: tasks, cancellation, several loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
import uvloop

import mqclient
from support.fake_server import PATIENCE_SECONDS, FakeQueues, FakeServer

pytestmark = pytest.mark.timeout(30)


async def wait_for(server: FakeServer, verb: str, count: int = 1):
    return await asyncio.get_running_loop().run_in_executor(None, server.wait_for, verb, count)


async def test_tasks_share_a_connection(server: FakeServer):
    numbers = iter(range(1, 10_000))
    server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, next(numbers), "accepted")
    async with mqclient.AsyncClient(server.url) as client:
        waiting = asyncio.create_task(client.pull("q", wait=60))
        peer, pull = await wait_for(server, "PULL")
        pushed = await asyncio.gather(*(client.push("q", n) for n in range(500)))
        assert sorted(pushed) == list(range(1, 501))
        peer.messages(pull, 7, "1")
        assert (await waiting).id == 7
    assert len(server.peers) == 1


async def test_tasks_connect_once_and_share_a_failure(server: FakeServer):
    async with mqclient.AsyncClient(server.url) as client:
        await asyncio.gather(*(client.ping() for _ in range(20)))
    assert len(server.frames("AUTH")) == 1
    server.answers["AUTH"] = lambda peer, frame: peer.error(frame, "AUTH_FAILED")
    client = mqclient.AsyncClient(server.url)
    errors = await asyncio.gather(*(client.ping() for _ in range(5)), return_exceptions=True)
    assert {type(error) for error in errors} == {mqclient.AuthFailed}
    await client.close()


async def test_a_cancelled_pull_is_given_up_and_loses_nothing(server: FakeServer):
    async with mqclient.AsyncClient(server.url) as client:
        task = asyncio.create_task(client.pull("q", wait=60))
        peer, pull = await wait_for(server, "PULL")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        _, wake = await wait_for(server, "WAKE")
        assert wake[2] == pull[1]
        peer.messages(pull, 7, "1")
        peer.ok(wake, False)
        await client.ping()
        assert (await client.pull("q")).id == 7


async def test_an_answer_that_meets_the_cancellation_is_kept(server: FakeServer):
    async with mqclient.AsyncClient(server.url) as client:
        task = asyncio.create_task(client.pull("q", wait=60))
        _, pull = await wait_for(server, "PULL")
        from mqwire.frames import FrameWriter
        from mqwire.packs import join_bodies

        reply = FrameWriter().encode((pull[1], "OK", [7, 1], [join_bodies(["1"])]))
        client._connection.data_received(reply)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.pull("q")).id == 7


async def test_messages_of_a_pull_that_is_cancelled_between_frames_are_kept():
    with FakeServer(max_messages_per_frame=1) as server:
        async with mqclient.AsyncClient(server.url) as client:
            server.answers["PULL"] = lambda peer, frame: (
                peer.messages(frame, 1, "1") if len(server.frames("PULL")) == 1 else None
            )
            task = asyncio.create_task(client.pull_many("q", 5))
            await wait_for(server, "PULL", 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.pull("q")).id == 1


async def test_cancelling_one_that_waits_for_the_connect_leaves_the_others(server: FakeServer):
    auth = server.answers["AUTH"]
    go = threading.Event()
    server.answers["AUTH"] = lambda peer, frame: (go.wait(PATIENCE_SECONDS), auth(peer, frame))
    async with contextlib.AsyncExitStack() as stack:
        client = mqclient.AsyncClient(server.url)
        stack.push_async_callback(client.close)
        first, second = (asyncio.create_task(client.ping()) for _ in range(2))
        await wait_for(server, "AUTH")
        first.cancel()
        go.set()
        assert await second > 0
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_closing_ends_the_calls_of_other_tasks(server: FakeServer):
    client = mqclient.AsyncClient(server.url)
    task = asyncio.create_task(client.pull("q", wait=60))
    await wait_for(server, "PULL")
    await client.close()
    with pytest.raises((mqclient.ConnectionLost, mqclient.InterfaceError)):
        await task


async def test_closing_while_it_connects(server: FakeServer):
    server.answers["AUTH"] = lambda _peer, _frame: None
    client = mqclient.AsyncClient(server.url)
    task = asyncio.create_task(client.ping())
    await wait_for(server, "AUTH")
    await client.close()
    with pytest.raises(mqclient.InterfaceError, match="closed"):
        await task


async def test_a_server_that_does_not_read_costs_the_time_out(server: FakeServer):
    stuck = threading.Event()
    server.answers["PURGE"] = lambda _peer, _frame: stuck.wait(PATIENCE_SECONDS)
    client = mqclient.AsyncClient(server.url)
    with pytest.raises(mqclient.RequestTimeout):
        await client.purge("q", timeout=0.1)
    large = b"x" * (8 << 20 >> 1)
    pushes = [client.push("q", large, timeout=0.3) for _ in range(8)]
    errors = await asyncio.gather(*pushes, return_exceptions=True)
    assert {type(error) for error in errors} == {mqclient.RequestTimeout}
    # The last ones waited for room and were never sent: that is known, not doubted.
    assert {error.in_doubt for error in errors} == {True, False}
    stuck.set()
    await client.close()


async def test_one_that_waits_for_room_is_sent_when_there_is(server: FakeServer):
    FakeQueues(server)
    stuck = threading.Event()
    server.answers["PURGE"] = lambda peer, frame: (stuck.wait(PATIENCE_SECONDS), peer.ok(frame, 1))
    async with mqclient.AsyncClient(server.url) as client:
        purge = asyncio.create_task(client.purge("q"))
        await wait_for(server, "PURGE")
        large = b"x" * (8 << 20 >> 1)
        pushes = [asyncio.create_task(client.push("q", large)) for _ in range(8)]
        await asyncio.sleep(0)
        stuck.set()
        assert sorted(await asyncio.gather(*pushes)) == list(range(1, 9))
        assert await purge == 1


def test_another_loop_gets_a_connection_of_its_own(server: FakeServer):
    client = mqclient.AsyncClient(server.url)

    async def use():
        await client.ping()
        connection = client._connection
        connection.close()
        await connection.wait_closed()

    asyncio.run(use())
    asyncio.run(use())

    async def end():
        await client.ping()
        await client.close()

    asyncio.run(end())
    assert len(server.frames("AUTH")) == 3


def test_uvloop(server: FakeServer):
    FakeQueues(server)

    async def use():
        async with mqclient.AsyncClient(server.url) as client:
            ids = await client.push_many("q", range(1000))
            assert [m.body for m in await client.pull_many("q", 1000)] == list(range(1000))
            server.peers[-1].close()
            with contextlib.suppress(mqclient.ConnectionLost):
                await client.push("q", 1)
            await client.ping()
            return ids

    loop = uvloop.new_event_loop()
    try:
        assert len(loop.run_until_complete(use())) == 1000
    finally:
        loop.close()


async def test_an_idle_connection_is_heard_of_though_nothing_is_promised(
    server: FakeServer, monkeypatch
):
    monkeypatch.setattr("mqclient.probing.QUIET_SECONDS", 0.05)
    async with mqclient.AsyncClient(server.url):
        await wait_for(server, "PING", 3)
    # A job that holds the interpreter lock would break a promise, and lose what it has leased.
    assert "keepalive" not in server.frames("AUTH")[0][3]


async def test_an_idle_connection_that_is_dead_is_replaced_before_it_is_used(
    server: FakeServer, monkeypatch
):
    monkeypatch.setattr("mqclient.probing.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("mqclient.probing.LOST_SECONDS", 0.05)
    FakeQueues(server)
    answer = server.answers.pop("PING")
    async with mqclient.AsyncClient(server.url) as client:
        await client._connection.wait_closed()
        server.answers["PING"] = answer
        assert await client.push("q", 1) == 1
    assert len(server.frames("AUTH")) == 2
