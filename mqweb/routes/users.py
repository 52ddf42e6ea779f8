"""Operations on users, for who manages them. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mqclient import account_calls
from mqweb import forms, shapes
from mqweb.answers import NOTHING, json_answer
from mqweb.operations import FEW_BYTES, Operation
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqweb.answers import Answer
    from mqweb.requests import Request


async def list_users(request: Request) -> Answer:
    """Look at users."""
    query = request.query(forms.UsersQuery)
    found = await request.client.users(query.pattern)
    return json_answer({"users": msgspec.to_builtins(found)})


async def add_user(request: Request) -> Answer:
    """Add a user."""
    form = await request.json(forms.UserForm)
    user = await request.client.add_user(form.user, form.role, form.password)
    return json_answer(msgspec.to_builtins(user), 201)


async def change_user(request: Request) -> Answer:
    """Change a user."""
    form = await request.json(forms.ChangeForm)
    user = await request.client.change_user(
        request.path["user"], role=form.role, password=form.password, disabled=form.disabled
    )
    return json_answer(msgspec.to_builtins(user))


async def remove_user(request: Request) -> Answer:
    """Remove a user."""
    await request.client.remove_user(request.path["user"])
    return NOTHING


async def change_password(request: Request) -> Answer:
    """Change one's own password."""
    form = await request.json(forms.PasswordForm)
    call = account_calls.change_password(form.old, form.new)
    connections = request.gateway.connections
    # A connection that has shown both passwords outlives its token, so it is nobody else's.
    client = await connections.apart(request.token)
    try:
        await client.call(call)
    finally:
        await client.close()
    connections.forget_token(request.token)
    return NOTHING


_MANAGING = (Code.USER_NOT_FOUND, Code.USER_CONFIGURED, Code.LAST_ADMINISTRATOR)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/users",
        list_users,
        "Look at users",
        "Access",
        "Those of the configuration and those who are managed, by a pattern or all of them.",
        ("USERS",),
        query=forms.UsersQuery,
        result=shapes.Users,
    ),
    Operation(
        "POST",
        "/v1/users",
        add_user,
        "Add a user",
        "Access",
        "With a password, with which it has tokens made.",
        ("ADMIT",),
        body=forms.UserForm,
        most_bytes=FEW_BYTES,
        result=shapes.User,
        status=201,
        codes=(Code.USER_EXISTS, Code.USER_CONFIGURED, Code.TOO_MANY_USERS),
    ),
    Operation(
        "PATCH",
        "/v1/users/{user}",
        change_user,
        "Change a user",
        "Access",
        "A new password, a role that allows less, and `disabled` end the user's tokens.",
        ("ALTER",),
        body=forms.ChangeForm,
        most_bytes=FEW_BYTES,
        result=shapes.User,
        codes=_MANAGING,
    ),
    Operation(
        "DELETE",
        "/v1/users/{user}",
        remove_user,
        "Remove a user",
        "Access",
        "Its tokens end, and its connections within a second; leases that it holds are not cut.",
        ("EXPEL",),
        codes=_MANAGING,
    ),
    Operation(
        "POST",
        "/v1/me/password",
        change_password,
        "Change one's own password",
        "Access",
        "All tokens of the user end.",
        ("PASSWORD",),
        body=forms.PasswordForm,
        most_bytes=FEW_BYTES,
        codes=(Code.AUTH_FAILED, Code.USER_CONFIGURED),
    ),
)
