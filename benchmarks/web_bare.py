"""A bare endpoint of the framework that the gateway stands on: it reads, and does nothing."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request


async def nothing(request: Request) -> Response:
    """Read the body and answer."""
    await request.body()
    return Response(b'{"ok":true}', media_type="application/json")


def main() -> None:
    """Serve on a free port, which is printed."""
    app = Starlette(routes=[Route("/v1/queues/{queue}/messages", nothing, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201  for who has started it
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run([listener])


if __name__ == "__main__":
    sys.exit(main())
