from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from mqclient.models import LeaseId
from mqweb.answers import ANSWER, Answer
from mqweb.gateway import Buffers
from mqweb.handing import CONNECTION_KEY, Hold, hand_on, hand_over, hold_seconds
from mqweb.problems import Problem
from mqweb.requests import Disconnected

LEASE = LeaseId(1, 2)

ONE = Answer(200, b"1")


class FakeClient:
    """Remembers the verbs that it was to carry out."""

    def __init__(self):
        self.verbs = []

    async def call(self, call):
        self.verbs.append(call.verb)


class FakeConnection:
    """A connection of a client that takes the whole answer, or breaks."""

    def __init__(self, *, is_whole=True, is_free=True):
        self.is_whole = is_whole
        self.is_free = is_free
        self.is_aborted = False

    def push(self):
        return self.is_whole

    async def flushed(self, _seconds):
        return self.is_whole

    def abort(self):
        self.is_aborted = True


class FakeRequest:
    """A request whose client takes so many messages of ASGI and no more; None for all."""

    def __init__(self, *, takes=None, is_whole=True, send_seconds=0.01):
        self.client = FakeClient()
        self.config = SimpleNamespace(send_seconds=send_seconds)
        self.connection = FakeConnection(is_whole=is_whole, is_free=takes is None)
        self.scope = {CONNECTION_KEY: self.connection}
        self.acked = []
        settler = SimpleNamespace(
            ack=lambda _client, lease, _durability: self.acked.append(lease), handed_on=0
        )
        self.outgoing = Buffers(10, "answers")
        self.gateway = SimpleNamespace(settler=settler, answers=Counter(), outgoing=self.outgoing)
        self.sent = []
        self._takes = takes

    async def send(self, message):
        assert self.outgoing.taken or "more_body" not in message
        if len(self.sent) == self._takes:
            await asyncio.get_running_loop().create_future()
        self.sent.append(message)


async def handed_on(request):
    await hand_on(request, ONE, LEASE, 2, None)


async def handed_over(request):
    await hand_over(request, ONE, LEASE)


@pytest.mark.parametrize(("hand", "acked"), [(handed_on, [LEASE]), (handed_over, [])])
async def test_what_has_arrived_is_acknowledged_unless_the_lease_is_the_clients(hand, acked):
    request = FakeRequest()
    await hand(request)
    assert (request.acked, request.client.verbs) == (acked, [])
    assert request.sent[0] == {"type": ANSWER, "answer": ONE, "more_body": True}
    assert request.sent[1:] == [{"type": "http.response.body", "body": b""}]
    assert request.gateway.answers == {2: 1}
    assert request.gateway.settler.handed_on == 2 * len(acked)
    assert request.outgoing.taken == 0


@pytest.mark.parametrize("hand", [handed_on, handed_over])
async def test_what_waits_for_what_stands_before_it_goes_as_any_application_sends(hand):
    request = FakeRequest(takes=9)
    await hand(request)
    assert b"".join(each.get("body", b"") for each in request.sent) == b"1"


@pytest.mark.parametrize("hand", [handed_on, handed_over])
async def test_what_there_is_no_room_for_is_handed_back(hand):
    request = FakeRequest()
    request.outgoing.take(10)
    with pytest.raises(Problem, match="GATEWAY_FULL"):
        await hand(request)
    assert (request.sent, request.client.verbs, request.outgoing.taken) == ([], ["NACK"], 10)


@pytest.mark.parametrize("hand", [handed_on, handed_over])
async def test_what_has_not_arrived_is_handed_back(hand):
    request = FakeRequest(is_whole=False)
    with pytest.raises(Disconnected):
        await hand(request)
    assert (request.acked, request.client.verbs) == ([], ["NACK"])
    assert request.outgoing.taken == 0


@pytest.mark.parametrize("hand", [handed_on, handed_over])
@pytest.mark.parametrize("takes", [0, 1])
async def test_who_does_not_take_the_beginning_is_cut_off(hand, takes):
    """So it is where an answer before it on the same connection is not read."""
    request = FakeRequest(takes=takes)
    with pytest.raises(Disconnected):
        await hand(request)
    assert request.connection.is_aborted
    assert (request.acked, request.client.verbs) == ([], ["NACK"])


async def test_a_lease_goes_on_before_it_could_end_while_a_piece_is_sent():
    request = FakeRequest(send_seconds=20.0)
    hold = Hold(request, LEASE, 100.0)
    assert hold_seconds(20.0) > 40.0
    await hold.keep(120.0)
    assert request.client.verbs == []
    await hold.keep(121.0)
    assert request.client.verbs == ["EXTEND"]
    await hold.keep(141.0)
    assert request.client.verbs == ["EXTEND"]
