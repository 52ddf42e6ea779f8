from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from mqclient.errors import ConnectFailed
from mqweb.problems import Problem
from mqweb.routes.server import ready
from mqwire.codes import Code, GatewayCode


class Connections:
    """Has credentials of the gateway's own, or none, and an mqd that is there or is not."""

    def __init__(self, journal=None, *, has_own=True, is_there=True):
        self.journal, self.has_own, self.is_there = journal, has_own, is_there

    async def own(self):
        if not self.has_own:
            return None
        if self.is_there == "late":
            await asyncio.Event().wait()
        await self.probe()
        return self

    async def probe(self):
        if not self.is_there:
            raise ConnectFailed("no")

    async def stats(self):
        return {"journal": self.journal}


async def answer(connections, connect_seconds=5.0):
    gateway = SimpleNamespace(connections=connections)
    config = SimpleNamespace(connect_seconds=connect_seconds)
    return await ready(SimpleNamespace(gateway=gateway, config=config))


@pytest.mark.parametrize(
    "connections",
    [
        Connections(),
        Connections({"is_full": False}),
        Connections({"is_full": True}, has_own=False),  # whom mqd tells nothing of its disk
    ],
)
async def test_one_that_reaches_mqd_is_ready(connections):
    assert (await answer(connections)).status == 200


@pytest.mark.parametrize(
    ("connections", "code", "status"),
    [
        (Connections({"is_full": True}), Code.STORAGE_FULL, 507),
        (Connections(is_there=False), GatewayCode.SERVER_AWAY, 503),
        (Connections(is_there=False, has_own=False), GatewayCode.SERVER_AWAY, 503),
    ],
)
async def test_one_that_is_not_ready_says_why_in_a_problem(connections, code, status):
    with pytest.raises(Problem) as raised:
        await answer(connections)
    assert (raised.value.code, raised.value.status) == (code, status)
    assert (b"retry-after", b"1") in raised.value.fields()


async def test_an_mqd_that_says_nothing_is_away():
    with pytest.raises(Problem) as raised:
        await answer(Connections(is_there="late"), connect_seconds=0)
    assert raised.value.code is GatewayCode.SERVER_AWAY
