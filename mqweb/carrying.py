"""Runs the bridge to Redis as a process. Floor 2."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from mqweb.bridge import Route, carry
from mqweb.connections import Place, client_of

if TYPE_CHECKING:
    from mqweb.config import Config


def run(config: Config, route: Route) -> None:
    """Carry events until SIGTERM or SIGINT.

    Raises:
        MqError: mqd refuses the watch, or the credentials.
        ValueError: a URL is none, or the gateway has no credentials of its own.
    """
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_run(config, route))


async def _run(config: Config, route: Route) -> None:
    url = Place(config.mqd).own_url
    if url is None:
        raise ValueError("`mqd` in the settings has no user or token to watch with")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await carry(client_of(config, url), route, stopping)
