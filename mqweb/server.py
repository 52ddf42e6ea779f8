"""The HTTP server: uvicorn with connections of ours, from its settings to its end. Floor 2."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from mqweb.app import make_app, make_gateway
from mqweb.protocol import BoundedProtocol

if TYPE_CHECKING:
    from mqweb.config import Config
    from mqweb.gateway import Gateway

_logger: Final = logging.getLogger("mqweb")
_GRACE_SECONDS: Final = 10
_BACKLOG: Final = 2048
_COLLECTOR_THRESHOLDS: Final = (10_000, 10, 10)


class Server(uvicorn.Server):
    """uvicorn that ends what waits before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def on_tick(self, counter: int) -> bool:
        """Look after connections, ten times a second."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new connections; what waits ends; what is under way is finished."""
        _logger.info("mqweb stops, and finishes what is under way")
        self._gateway.stop()
        await super().shutdown(sockets)


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: the address cannot be listened on.
        ConfigurationError: `mqd` in the settings is no URL of a server.
    """
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    gateway = make_gateway(config)
    listener = _listener(config)
    settings = uvicorn.Config(
        make_app(gateway),
        http=_protocol(config),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # That mqd is away is said once (mqweb.reach), and not by each of a thousand event streams.
    logging.getLogger("mqclient.watching").setLevel(logging.ERROR)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignored)  # uvicorn has its own, and raises the signal at its end
    _spare_collector()
    with listener, _address_file(config, listener):
        Server(settings, gateway).run(sockets=[listener])


def _spare_collector() -> None:
    """Let the garbage collector look at what requests leave behind, and less often.

    What is there by now stays: looking through it again and again is in vain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


def _ignored(_number: int, _frame: object) -> None:
    """Go on: the gateway has stopped as it was told to."""


def _protocol(config: Config) -> type[BoundedProtocol]:
    names = ("max_connections", "receive_seconds", "send_seconds")
    return type("Connection", (BoundedProtocol,), {each: getattr(config, each) for each in names})


def _listener(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _address_file:  # noqa: N801  used as a function
    """Says where the gateway listens: in the log, and in a file if one is wanted."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._path = Path(config.address_file) if config.address_file else None

    def __enter__(self) -> None:
        _logger.info("mqweb serves at %s", self._url)
        if self._path is not None:
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_text(json.dumps({"url": self._url, "pid": os.getpid()}) + "\n")
            temporary.replace(self._path)

    def __exit__(self, *_error: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
