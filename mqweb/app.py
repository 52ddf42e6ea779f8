"""Puts the application together. Floor 2."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from mqweb.connections import Connections, Place
from mqweb.gateway import Gateway
from mqweb.pages import add_pages
from mqweb.reach import Reach
from mqweb.routes import OPERATIONS
from mqweb.routing import Application, table_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mqweb.config import Config


def make_gateway(config: Config) -> Gateway:
    """Return what the requests of one application share.

    Raises:
        ConfigurationError: `mqd` in the settings is no URL of a server.
    """
    return Gateway(config, Connections(config, Place(config.mqd)))


def make_app(gateway: Gateway) -> Application:
    """Return the ASGI application; its lifespan is the gateway's."""

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        reach = Reach(gateway.connections.probe, gateway.config.connect_seconds)
        upkeep = [loop.create_task(each) for each in (gateway.look_after(), reach.watch())]
        try:
            yield
        finally:
            for each in upkeep:
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each
            await gateway.close()

    table = table_of(gateway, OPERATIONS)
    add_pages(table, OPERATIONS)
    return Application(table, lifespan)
