from __future__ import annotations

import json

import pytest

from mqclient.account_models import NewToken
from mqweb.app import make_gateway
from mqweb.config import Config
from mqweb.requests import Request
from mqweb.routes.tokens import new_token


class FakeClient:
    """Somebody who has come in, and has a token made."""

    is_closed = False

    async def issue_token(self, *, role, lifetime, comment):  # noqa: ARG002  as the real one has it
        self.comment = comment
        return NewToken(1, "ada", "user", comment, 1.0, 2.0, "mqt_x")

    async def close(self):
        self.is_closed = True


@pytest.mark.parametrize(
    ("said", "comment"), [({}, "login"), ({"comment": "mine"}, "mine"), ({"comment": ""}, "")]
)
async def test_logins_for_which_nothing_is_said_make_room_for_each_other(said, comment):
    """The oldest token with the same comment ends; without one there would be a refusal."""
    gateway, client = make_gateway(Config(mqd="mq://127.0.0.1:1")), FakeClient()
    noted = []

    async def log_in(_user, _password, host):
        assert host == "10.0.0.7"
        return client

    async def receive():
        body = json.dumps({"user": "ada", "password": "p", **said}).encode()
        return {"type": "http.request", "body": body, "more_body": False}

    gateway.connections.log_in = log_in
    gateway.connections.note = noted.append
    scope = {"headers": [], "client": ("10.0.0.7", 5000)}
    answer = await new_token(Request(gateway, scope, receive, None))
    assert json.loads(answer.body)["token"] == "mqt_x"
    assert (client.comment, client.is_closed, noted) == (comment, True, ["mqt_x"])
