from __future__ import annotations

import asyncio

import pytest

from mqweb.app import make_gateway
from mqweb.config import Config
from mqweb.connections import GatewayClient, client_of
from mqweb.gates import Gate, SharedGate, place_of
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


@pytest.fixture
def held(monkeypatch):
    """Connections of which those with a token that begins with `bad` are under way for ever."""
    going_on = asyncio.Event()

    async def connect(client, timeout=None):
        if client.token.startswith("bad"):
            await going_on.wait()

    def noted(config, url, token=None, **more):
        client = client_of(config, url, token, **more)
        client.token = token
        return client

    monkeypatch.setattr(GatewayClient, "connect", connect)
    monkeypatch.setattr("mqweb.connections.client_of", noted)
    connections = make_gateway(Config(mqd="mq://127.0.0.1:1")).connections
    connections.going_on = going_on
    return connections


async def flooded(connections, host):
    flood = [asyncio.ensure_future(connections.take(f"bad{n}", host)) for n in range(2000)]
    await turns()
    return flood


async def at_once(connections, token, host):
    link = await asyncio.wait_for(connections.take(token, host), 1)
    connections.give(link)


async def test_tokens_that_are_tried_hold_nobody_up_who_comes_from_elsewhere(held):
    flood = await flooded(held, "10.0.0.1")
    await at_once(held, "good", "10.0.0.2")
    await at_once(held, "better", "2001:db8::1")
    with pytest.raises(Problem):
        await held.take("other", "10.0.0.1")
    await ended(held, flood)
    await at_once(held, "other", "10.0.0.1")


async def test_tokens_that_are_tried_hold_up_none_that_mqd_has_taken_or_made(held):
    await at_once(held, "good", "10.0.0.1")
    held.forget_token("good")
    held.note("new")
    flood = await flooded(held, "10.0.0.1")
    await at_once(held, "good", "10.0.0.1")
    await at_once(held, "new", "10.0.0.1")
    await ended(held, flood)


async def ended(connections, flood):
    connections.going_on.set()
    await asyncio.gather(*flood, return_exceptions=True)
    await connections.close()


async def test_one_place_has_a_share_and_all_together_have_a_bound():
    gate, done = SharedGate(4, 4, 2), asyncio.Event()

    async def come(place):
        async with gate.passed(place, 10.0):
            await done.wait()

    inside = []
    for place in ("a", "b"):
        inside += [asyncio.ensure_future(come(place)) for _ in range(4)]
    await turns()
    for place in ("a", "b"):
        with pytest.raises(Problem):
            await come(place)
    waiting = asyncio.ensure_future(come("c"))
    await turns()
    assert not waiting.done()
    done.set()
    await asyncio.gather(*inside, waiting)
    await come("a")
    assert gate._gates == {}


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("", ""),
        ("somebody", "somebody"),
    ],
)
def test_a_place_is_an_address_or_a_network_of_one_household(host, place):
    assert place_of(host) == place


async def test_passwords_that_are_tried_do_not_hold_tokens_up(monkeypatch):
    going_on = asyncio.Event()

    async def connect(client, timeout=None):
        if client not in tokens:
            await going_on.wait()

    monkeypatch.setattr(GatewayClient, "connect", connect)
    connections = make_gateway(Config(mqd="mq://127.0.0.1:1")).connections
    tokens = set()

    def noted(config, url, token=None, **more):
        client = client_of(config, url, token, **more)
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
