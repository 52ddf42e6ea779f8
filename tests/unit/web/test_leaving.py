from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from mqweb.leaving import unless_gone
from mqweb.requests import Disconnected


class Client:
    """A client that leaves when it is told to, and a gateway that does not stop."""

    def __init__(self):
        self.leaves = asyncio.Event()
        stopping = asyncio.get_running_loop().create_future()
        self.gateway = SimpleNamespace(stopping=stopping)

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_result_that_comes_all_the_same_is_undone():
    client, undone = Client(), []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "result"

    async def undo(result):
        undone.append(result)

    waiting = asyncio.ensure_future(unless_gone(client, work(), undo))
    await turns()
    client.leaves.set()
    with pytest.raises(Disconnected):
        await waiting
    assert undone == ["result"]


async def test_a_cancellation_while_work_is_ended_is_not_lost():
    client, may_end, undone = Client(), asyncio.Event(), []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await may_end.wait()
            return "result"

    async def undo(result):
        undone.append(result)

    waiting = asyncio.ensure_future(unless_gone(client, work(), undo))
    await turns()
    client.leaves.set()
    await turns()
    waiting.cancel()
    await turns()
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert undone == ["result"]
