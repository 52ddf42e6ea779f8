from __future__ import annotations

import asyncio

import pytest

from mqweb.answers import Answer
from mqweb.app import make_gateway
from mqweb.config import Config
from mqweb.forms import BodyForm
from mqweb.operations import Endpoint, Operation
from mqweb.problems import Problem
from mqweb.requests import Request, decoded
from mqweb.routes import OPERATIONS
from mqwire.codes import Code, GatewayCode

PIECE_BYTES = 1024


class Sender:
    """A client that sends a body piece by piece, and looks at what is counted of it."""

    def __init__(self, gateway, pieces):
        self.gateway = gateway
        self.left = pieces
        self.most_taken = 0
        self.answer = b""
        self.status = 0

    async def receive(self):
        self.most_taken = max(self.most_taken, self.gateway.buffers.taken)
        self.left -= 1
        return {
            "type": "http.request",
            "body": b" " * PIECE_BYTES,
            "more_body": self.left > 0,
        }

    async def send(self, message):
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")


def gateway_of():
    return make_gateway(Config(mqd="mq://127.0.0.1:1"))


def scope_of(operation):
    return {
        "type": "http",
        "method": operation.method,
        "path": operation.path,
        "query_string": b"",
        "headers": [],
        "path_params": {},
    }


OPEN = [each for each in OPERATIONS if each.is_open and each.body is not None]


@pytest.mark.parametrize("operation", OPEN, ids=lambda each: each.path)
async def test_who_is_not_known_sends_little_and_takes_nothing_from_others(operation):
    gateway = gateway_of()
    sender = Sender(gateway, 1000)
    await Endpoint(gateway, operation)(scope_of(operation), sender.receive, sender.send)
    assert sender.status == Code.BODY_TOO_LARGE.http_status
    assert 1000 - sender.left <= 17
    assert sender.most_taken == 0


async def test_what_is_sent_by_who_is_known_is_counted_and_given_back():
    gateway = gateway_of()
    sender = Sender(gateway, 4)
    request = Request(gateway, {"headers": []}, sender.receive, sender.send)
    request.client = object()
    assert len(await request.body()) == 4 * PIECE_BYTES
    assert gateway.buffers.taken == 4 * PIECE_BYTES
    request.close()
    assert gateway.buffers.taken == 0


async def test_an_operation_has_a_bound_of_its_own_below_that_of_the_settings():
    gateway = gateway_of()
    sender = Sender(gateway, 9)
    request = Request(gateway, {"headers": []}, sender.receive, sender.send, PIECE_BYTES * 8)
    with pytest.raises(Problem) as raised:
        await request.body()
    assert raised.value.details["limit"] == PIECE_BYTES * 8


async def test_answers_that_are_not_taken_have_a_bound_together():
    gateway = make_gateway(Config(mqd="mq://127.0.0.1:1", max_buffered_bytes=10 * PIECE_BYTES))

    async def handler(_request):
        return Answer(body=b"x" * 4 * PIECE_BYTES)

    operation = Operation("GET", "/x", handler, "", "", is_open=True)
    endpoint, taking = Endpoint(gateway, operation), asyncio.Event()
    statuses = []

    async def send(message):
        if "status" in message:
            statuses.append(message["status"])
        if statuses[-1] == 200:
            await taking.wait()

    slow = [asyncio.ensure_future(endpoint(scope_of(operation), None, send)) for _ in range(2)]
    await asyncio.sleep(0)
    await endpoint(scope_of(operation), None, send)
    assert statuses == [200, 200, GatewayCode.GATEWAY_FULL.http_status]
    taking.set()
    await asyncio.gather(*slow)
    assert gateway.outgoing.taken == 0


@pytest.mark.parametrize(
    ("document", "has_half"),
    [
        (b'{"body": ', False),
        (b'{"body": "\\ud83d\\ude00', False),
        (b'{"body": "\\ud83d"}', True),
        (b'{"body": "\\uDBFFx"}', True),
    ],
)
def test_half_a_character_is_not_taken_for_a_missing_end_alone(document, has_half):
    with pytest.raises(Problem, match="it ends too early") as raised:
        decoded(document, BodyForm)
    assert raised.value.code is GatewayCode.MALFORMED_BODY
    assert ("without its second half" in raised.value.detail) is has_half
