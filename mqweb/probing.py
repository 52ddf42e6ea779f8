"""Asks whether there is an mqd, without credentials: PING is open to anyone. Floor 2."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mqclient.errors import ConnectFailed
from mqwire.frames import FrameReader, FrameWriter, prefix

if TYPE_CHECKING:
    from mqclient.url import Endpoint

_MOST_BYTES: Final = 4096


async def probe(endpoint: Endpoint) -> None:
    """Return if an mqd answers there.

    Raises:
        ConnectFailed: nothing does, or something else.
    """
    try:
        if endpoint.path:
            reader, writer = await asyncio.open_unix_connection(endpoint.path)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError as error:
        raise ConnectFailed(f"cannot connect to {endpoint}") from error
    try:
        body = FrameWriter().pack(("PING", 1))
        writer.write(prefix(len(body)) + body)
        frames = FrameReader(_MOST_BYTES).feed(await reader.read(_MOST_BYTES))
        if not any(frame[:2] == (1, "OK") for frame in frames):
            raise ConnectFailed(f"there is no mqd at {endpoint}")
    except OSError as error:
        raise ConnectFailed(f"{endpoint} does not answer") from error
    finally:
        writer.close()
