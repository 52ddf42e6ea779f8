from __future__ import annotations

import asyncio

import pytest

from mqclient.errors import ConnectFailed
from mqclient.models import LeaseId
from mqweb import connections
from mqweb.config import Config
from mqweb.connections import Connections, Place
from mqweb.handing import Settler
from mqweb.problems import Problem
from mqwire.codes import GatewayCode

LEASE = LeaseId(1, 2)


class FakeClient:
    """A client of which mqd takes the token, or not, when it is let."""

    uses = 0

    def __init__(self, token):
        self.token = token
        self.is_closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self, *, timeout):  # noqa: ARG002  as the real one has it
        await self.gate.wait()
        if self.token.startswith("bad"):
            raise ConnectFailed("refused")

    async def call_many(self, many):
        await self.gate.wait()
        assert not self.is_closed
        return [None] * len(many)

    async def close(self):
        self.is_closed = True


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(connections, "client_of", lambda _config, _url, token: FakeClient(token))
    return Connections(Config(max_users=1), Place("mq://127.0.0.1:7"))


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_token_that_mqd_takes_has_the_room_of_one_that_nobody_uses(kept):
    first = await kept.take("a")
    kept.give(first)
    second = await kept.take("b")
    await turns()
    assert first.client.is_closed
    assert not second.client.is_closed
    assert len(kept) == 1


async def test_no_room_is_made_for_a_token_that_mqd_does_not_take(kept):
    good = await kept.take("a")
    kept.give(good)
    for number in range(3):
        with pytest.raises(ConnectFailed):
            await kept.take(f"bad{number}")
    await turns()
    assert not good.client.is_closed
    assert await kept.take("a") is good


async def test_tokens_that_are_tried_leave_room_for_one_that_is_good(kept, monkeypatch):
    made = []

    def client_of(_config, _url, token):
        made.append(FakeClient(token))
        made[-1].gate.clear()
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(connections, "client_of", client_of)
        trying = [asyncio.create_task(kept.take(f"bad{number}")) for number in range(3)]
        await turns()
    link = await kept.take("a")
    assert link.is_known
    for client in made:
        client.gate.set()
    assert all(isinstance(each, ConnectFailed) for each in await _outcomes(trying))


async def _outcomes(tasks):
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_no_connection_is_closed_while_an_acknowledgement_is_on_its_way(kept):
    settler = Settler()
    link = await kept.take("a")
    link.client.gate.clear()
    settler.ack(link.client, LEASE, None)
    kept.give(link)
    with pytest.raises(Problem) as caught:
        await kept.take("b")
    assert caught.value.code is GatewayCode.GATEWAY_FULL
    kept.forget(link)
    await turns()
    assert not link.client.is_closed
    link.client.gate.set()
    await settler.close()
    kept.close_idle(0.0)
    await turns()
    assert link.client.is_closed
    assert settler.failed == 0


async def test_a_token_that_is_forgotten_while_it_is_tried_is_not_kept(kept):
    link = await kept.take("a")
    kept.give(link)
    kept.forget_token("a")
    assert len(kept) == 0
    again = await kept.take("a")
    assert again is not link
