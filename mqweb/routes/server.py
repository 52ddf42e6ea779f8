"""Operations on the server: health, figures, who holds what, what happens. Floor 2."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from mqclient.errors import MqError
from mqweb import forms, shapes
from mqweb.answers import Answer, json_answer
from mqweb.media import Media
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqwire.codes import Code, GatewayCode

if TYPE_CHECKING:
    from mqweb.requests import Request

_EVENT_STREAM = Media("text/event-stream")


async def health(_request: Request) -> Answer:
    """Say that the process answers."""
    return json_answer({"status": "ok"})


async def ready(request: Request) -> Answer:
    """Say whether the gateway reaches mqd, and whether that can keep what it is given.

    Raises:
        Problem: it does not, or that cannot.
    """
    seconds = request.config.connect_seconds
    try:
        is_full = await asyncio.wait_for(_is_server_full(request), seconds)
    except (MqError, Problem, asyncio.TimeoutError, TimeoutError) as error:
        text = "the queue server is not reached"
        raise Problem(GatewayCode.SERVER_AWAY, text) from error
    if is_full:
        raise Problem(Code.STORAGE_FULL, "the queue server's disk is full")
    return json_answer({"status": "ok"})


async def _is_server_full(request: Request) -> bool:
    """Tell whether mqd's disk is full; of that it says nothing to those without credentials."""
    connections = request.gateway.connections
    client = await connections.own()
    if client is None:
        await connections.probe()
        return False
    journal = (await client.stats())["journal"]
    return journal is not None and bool(journal.get("is_full"))


async def figures(request: Request) -> Answer:
    """Tell the server's figures."""
    return json_answer(await request.client.stats())


async def who_am_i(request: Request) -> Answer:
    """Tell who asks."""
    await request.client.check()  # what is known of it may have outlived its credentials
    who = request.client.server
    return json_answer(
        {
            "user": who.user,
            "role": who.role,
            "is_managed": who.is_managed,
            "server": who.server,
            "version": who.version,
            "protocol": who.protocol,
            "durability": who.durability,
            "token_id": who.token_id,
            "expires_at": who.expires_at,
            "max_body_bytes": who.limits.max_body_bytes,
            "max_messages": who.limits.max_messages_per_frame,
        }
    )


async def list_holders(request: Request) -> Answer:
    """Tell who holds leases."""
    query = request.query(forms.HoldersQuery)
    found = await request.client.holders(query.pattern, count=query.max)
    return json_answer({"holders": [_shown_holder(each) for each in found]})


def _shown_holder(holder: Any) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(holder)
    members["lease"] = str(holder.lease)
    return members


async def make_snapshot(request: Request) -> Answer:
    """Have a snapshot made."""
    return json_answer(msgspec.to_builtins(await request.client.snapshot()))


async def events(request: Request) -> None:
    """Tell what happens, as it does."""
    query = request.query(forms.EventsQuery)
    await request.gateway.streams.serve(request, query)


OPERATIONS = (
    Operation(
        "GET",
        "/health",
        health,
        "Whether the gateway answers",
        "Server",
        "It says nothing of mqd: a gateway that is alone answers as well.",
        result=shapes.Health,
        is_open=True,
    ),
    Operation(
        "GET",
        "/ready",
        ready,
        "Whether the gateway reaches mqd, and mqd its disk",
        "Server",
        "503 where the gateway does not reach mqd, 507 where the disk of that is full. A gateway "
        "without credentials of its own is told nothing of the disk.",
        ("STATS",),
        result=shapes.Health,
        is_open=True,
        codes=(GatewayCode.SERVER_AWAY, Code.STORAGE_FULL),
    ),
    Operation(
        "GET",
        "/status",
        figures,
        "The server's figures",
        "Server",
        "As STATS tells them; a part that the server does not have is null.",
        ("STATS",),
        result=dict[str, Any],
    ),
    Operation(
        "GET",
        "/v1/me",
        who_am_i,
        "Who asks",
        "Access",
        "The user and role that a token stands for.",
        ("AUTH",),
        result=shapes.Who,
    ),
    Operation(
        "GET",
        "/v1/holders",
        list_holders,
        "Who holds leases",
        "Leases",
        "All leases on the messages of some queues, or of all of them.",
        ("HOLDERS",),
        query=forms.HoldersQuery,
        result=shapes.Holders,
    ),
    Operation(
        "POST",
        "/v1/snapshot",
        make_snapshot,
        "Make a snapshot",
        "Server",
        "The answer comes when it is on the disk, which takes as long as the state is large.",
        ("SNAPSHOT",),
        result=shapes.Snapshot,
    ),
    Operation(
        "GET",
        "/events",
        events,
        "What happens, as it does",
        "Server",
        "Server-sent events. Each has a kind as its name and a JSON object as its data: `queue`, "
        "`runs` of ids (first, count, ...), `count`, `at`, and what else there is to tell. "
        "`missed` tells that others were not told, and `away` and `back` that the queue server is "
        "not reached, and is again: whoever needs all asks for the state of things then. Nothing "
        "is told again: a stream that says Last-Event-ID begins with `missed`.",
        ("WATCH", "CREDIT"),
        query=forms.EventsQuery,
        gives=(_EVENT_STREAM,),
        codes=(GatewayCode.GATEWAY_FULL,),
    ),
)
