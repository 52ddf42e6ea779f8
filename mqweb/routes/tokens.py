"""Operations on tokens: how somebody comes in. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqweb import forms, shapes
from mqweb.answers import json_answer
from mqweb.connections import Credentials
from mqweb.operations import Operation
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqweb.answers import Answer
    from mqweb.requests import Request


async def new_token(request: Request) -> Answer:
    """Give a token for a user and password."""
    form = await request.json(forms.Login)
    gateway = request.gateway
    said = Credentials(form.user, form.password)
    link = await gateway.connections.take(said)
    try:
        who = link.client.server
        token, expires_at = gateway.sessions.begin(said, form.expires_seconds)
    finally:
        gateway.connections.give(link)
    return json_answer(
        {
            "token": token,
            "token_type": "Bearer",
            "user": who.user,
            "role": who.role,
            "expires_at": expires_at,
        }
    )


OPERATIONS = (
    Operation(
        "POST",
        "/token",
        new_token,
        "A token for a user and password",
        "Access",
        "It is sent with every other request, as `Authorization: Bearer TOKEN` or "
        "`X-API-Key: TOKEN`, and has the rights of its user.",
        ("AUTH",),
        body=forms.Login,
        result=shapes.Token,
        codes=(Code.AUTH_FAILED, Code.AUTH_BUSY),
        is_open=True,
    ),
)
