"""Operations on tokens: how somebody comes in, and what ends that. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mqweb import forms, shapes
from mqweb.answers import NOTHING, json_answer
from mqweb.operations import FEW_BYTES, Operation
from mqweb.problems import Problem
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqweb.answers import Answer
    from mqweb.requests import Request


_LOGIN = "login"
"""The comment of tokens for which none is said: so they make room for each other."""


async def new_token(request: Request) -> Answer:
    """Have mqd make a token for a user and password."""
    form = await request.json(forms.Login)
    connections = request.gateway.connections
    client = await connections.log_in(form.user, form.password, request.host)
    comment = _LOGIN if form.comment is None else form.comment
    try:
        token = await client.issue_token(role=form.role, lifetime=form.lifetime, comment=comment)
    finally:
        await client.close()
    connections.note(token.token)
    return json_answer({**msgspec.to_builtins(token), "token_type": "Bearer"})


async def list_tokens(request: Request) -> Answer:
    """Look at tokens."""
    query = request.query(forms.TokensQuery)
    found = await request.client.tokens(query.users)
    return json_answer({"tokens": msgspec.to_builtins(found)})


async def revoke_token(request: Request) -> Answer:
    """End a token."""
    text = request.path["token"]
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise Problem(Code.OUT_OF_RANGE, f"a token's id is a positive integer, not {text[:40]!r}")
    await request.client.revoke_token(int(text))
    return NOTHING


OPERATIONS = (
    Operation(
        "POST",
        "/token",
        new_token,
        "A token for a user and password",
        "Access",
        "It is sent with every other request, as `Authorization: Bearer TOKEN` or "
        "`X-API-Key: TOKEN`. It is mqd's own: a client of the wire protocol may use it too. Where "
        "the user has as many tokens as it may, the oldest with the same `comment` ends; so who "
        "signs in again and again is never shut out.",
        ("AUTH", "ISSUE"),
        body=forms.Login,
        most_bytes=FEW_BYTES,
        result=shapes.Token,
        codes=(Code.AUTH_FAILED, Code.AUTH_BUSY, Code.ACCESS_DENIED, Code.TOO_MANY_TOKENS),
        is_open=True,
    ),
    Operation(
        "GET",
        "/v1/tokens",
        list_tokens,
        "Look at tokens",
        "Access",
        "One's own; those of others for who manages users.",
        ("TOKENS",),
        query=forms.TokensQuery,
        result=shapes.Tokens,
    ),
    Operation(
        "DELETE",
        "/v1/tokens/{token}",
        revoke_token,
        "End a token",
        "Access",
        "What came with it ends within a second; leases that are held are not cut.",
        ("REVOKE",),
        codes=(Code.TOKEN_NOT_FOUND,),
    ),
)
