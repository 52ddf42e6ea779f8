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
        self.connects = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self, *, timeout):  # noqa: ARG002  as the real one has it
        self.connects += 1
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


@pytest.fixture
def made(monkeypatch, kept):
    """The clients that are made, none of which connects before it is let."""
    clients = []

    def client_of(_config, _url, token):
        clients.append(FakeClient(token))
        clients[-1].gate.clear()
        return clients[-1]

    monkeypatch.setattr(connections, "client_of", client_of)
    return clients


async def taking(kept, token, count, host=""):
    tasks = [asyncio.create_task(kept.take(token, host)) for _ in range(count)]
    await turns()
    return tasks


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


async def test_tokens_that_are_tried_leave_room_for_one_that_is_good(kept, made):
    trying = [asyncio.create_task(kept.take(f"bad{number}")) for number in range(3)]
    good = asyncio.create_task(kept.take("a"))
    await turns()
    made[3].gate.set()
    assert (await good).is_known
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


# Those who bring one token wait for one login


async def test_many_who_bring_one_good_token_at_first_all_have_one_connection(kept, made):
    fleet = await taking(kept, "a", 1000, "10.0.0.1")
    [client] = made
    client.gate.set()
    links = await asyncio.gather(*fleet)
    assert client.connects == 1
    assert client.uses == 1000
    assert all(link is links[0] for link in links)
    assert links[0].is_known
    assert await kept.take("a") is links[0]


async def test_a_token_that_mqd_refuses_is_refused_for_all_who_wait_and_asked_for_again(kept, made):
    fleet = await taking(kept, "bad", 3)
    made[0].gate.set()
    assert all(isinstance(each, ConnectFailed) for each in await _outcomes(fleet))
    kept.close_idle(0.0)
    await turns()
    assert made[0].is_closed
    again = await taking(kept, "bad", 1)
    assert len(made) == 2
    made[1].gate.set()
    await _outcomes(again)


async def test_who_is_cancelled_leaves_the_login_to_those_who_wait_too(kept, made):
    first, second = await taking(kept, "a", 2)
    first.cancel()
    await turns()
    third = asyncio.create_task(kept.take("a"))
    await turns()
    [client] = made
    client.gate.set()
    link = await second
    assert await third is link
    assert client.connects == 1
    assert client.uses == 2
    assert link.is_known
    await _outcomes([first])


async def test_nothing_is_left_of_a_login_of_which_all_are_cancelled(kept, made):
    fleet = await taking(kept, "a", 3, "10.0.0.1")
    for task in fleet:
        task.cancel()
    await _outcomes(fleet)
    await turns()
    assert made[0].is_closed
    assert made[0].uses == 0
    assert kept._coming == kept._tries._gates == {}
    [again] = await taking(kept, "a", 1)
    made[1].gate.set()
    assert (await again).client is made[1]


async def test_who_is_refused_where_too_many_try_takes_nothing_from_who_tries_elsewhere(kept, made):
    flood = [asyncio.create_task(kept.take(f"bad{n}", "10.0.0.1")) for n in range(260)]
    await turns()
    [here] = await taking(kept, "a", 1, "10.0.0.2")
    for _ in range(3):
        with pytest.raises(Problem):
            await kept.take("a", "10.0.0.1")
    await turns()
    assert made[260:] == [made[-1]]
    made[-1].gate.set()
    link = await here
    assert link.is_known
    assert await kept.take("a", "10.0.0.1") is link
    for client in made:
        client.gate.set()
    await _outcomes(flood)


async def test_who_waits_behind_others_goes_on_when_the_token_is_taken_elsewhere(kept, made):
    flood = [asyncio.create_task(kept.take(f"bad{n}", "10.0.0.1")) for n in range(100)]
    await turns()
    [behind] = await taking(kept, "a", 1, "10.0.0.1")
    [here] = await taking(kept, "a", 1, "10.0.0.2")
    made[-1].gate.set()
    assert await behind is await here
    for client in made:
        client.gate.set()
    await _outcomes(flood)


async def test_a_login_that_is_over_while_its_last_is_cancelled_keeps_what_it_has(kept, made):
    [task] = await taking(kept, "a", 1)
    made[0].gate.set()
    while not len(kept):
        await asyncio.sleep(0)
    task.cancel()
    await _outcomes([task])
    assert made[0].uses == 0
    assert not made[0].is_closed
    assert (await kept.take("a")).client is made[0]
