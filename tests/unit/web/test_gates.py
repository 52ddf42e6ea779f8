from __future__ import annotations

import asyncio

import pytest

from mqweb.app import make_gateway
from mqweb.config import Config
from mqweb.connections import GatewayClient, client_of
from mqweb.gates import Gate
from mqweb.problems import Problem
from mqwire.codes import GatewayCode


async def inside(gate, done, seconds=10.0):
    async with gate.passed(seconds) as left:
        await done.wait()
        return left


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_finds_too_many_waiting_is_refused_at_once():
    gate, done = Gate(1, 2), asyncio.Event()
    waiting = [asyncio.ensure_future(inside(gate, done)) for _ in range(3)]
    await turns()
    with pytest.raises(Problem) as raised:
        await inside(gate, done)
    assert raised.value.code is GatewayCode.GATEWAY_FULL
    done.set()
    assert all(0 < left <= 10 for left in await asyncio.gather(*waiting))
    await inside(gate, done)


async def test_who_waits_too_long_is_refused_and_takes_no_place():
    gate, done = Gate(1, 2), asyncio.Event()
    first = asyncio.ensure_future(inside(gate, done))
    await turns()
    with pytest.raises(Problem):
        await inside(gate, done, 0.0)
    done.set()
    await first
    await inside(gate, done)


async def test_passwords_that_are_tried_do_not_hold_tokens_up(monkeypatch):
    going_on = asyncio.Event()

    async def connect(client, timeout=None):
        if client not in tokens:
            await going_on.wait()

    monkeypatch.setattr(GatewayClient, "connect", connect)
    connections = make_gateway(Config(mqd="mq://127.0.0.1:1")).connections
    tokens = set()

    def noted(config, url, token=None):
        client = client_of(config, url, token)
        if token is not None:
            tokens.add(client)
        return client

    monkeypatch.setattr("mqweb.connections.client_of", noted)
    flood = [asyncio.ensure_future(connections.log_in("u", "p")) for _ in range(1000)]
    await turns()
    assert sum(each.done() for each in flood) > 800
    link = await asyncio.wait_for(connections.take("t"), 10)
    assert link.is_known
    connections.give(link)
    going_on.set()
    await asyncio.gather(*flood, return_exceptions=True)
    await connections.close()
