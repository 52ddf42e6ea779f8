"""The operation that tells the figures for Prometheus. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqclient.errors import MqError, ServerError
from mqweb.answers import Answer
from mqweb.connections import ENDINGS, token_of
from mqweb.media import Media
from mqweb.metrics import CONTENT_TYPE
from mqweb.operations import Operation
from mqweb.problems import Problem
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqweb.connections import GatewayClient
    from mqweb.gateway import Gateway
    from mqweb.requests import Request


async def metrics(request: Request) -> Answer:
    """Tell the figures for Prometheus."""
    gateway = request.gateway
    authorization, key = request.field(b"authorization"), request.field(b"x-api-key")
    if request.config.open_metrics and authorization is None and key is None:
        return await _answered(gateway, await _own(gateway))
    token = token_of(authorization, key)
    try:
        link = await gateway.connections.take(token, request.host)
    except ServerError:
        raise
    except MqError:
        return await _answered(gateway, None)
    try:
        return await _answered(gateway, await _checked(link.client))
    except ServerError as error:
        if error.registered_code in ENDINGS:
            gateway.connections.forget(link)
        raise
    finally:
        gateway.connections.give(link)


async def _checked(client: GatewayClient) -> GatewayClient | None:
    """Return a connection if it is that of somebody still; None where mqd is not reached."""
    try:
        await client.check()  # since what is kept for a second would be told to anyone
    except ServerError:
        raise
    except MqError:
        return None
    return client


async def _own(gateway: Gateway) -> GatewayClient | None:
    try:
        client = await gateway.connections.own()
    except MqError:
        return None
    if client is None:
        raise Problem(
            Code.NOT_AUTHENTICATED, "the gateway has no credentials of its own for /metrics"
        )
    return client


async def _answered(gateway: Gateway, client: GatewayClient | None) -> Answer:
    return Answer(200, await gateway.metrics.text(gateway, client), CONTENT_TYPE)


OPERATIONS = (
    Operation(
        "GET",
        "/metrics",
        metrics,
        "Figures for Prometheus",
        "Server",
        "With a token, or open where the gateway is configured so. `mqd_up` is 0 while mqd is not "
        "reached.",
        ("STATS", "LIST"),
        gives=(Media("text/plain"),),
        is_open=True,
        codes=(Code.NOT_AUTHENTICATED,),
    ),
)
