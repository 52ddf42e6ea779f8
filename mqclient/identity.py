"""Who a client says it is. Floor 1.

The instance is what the server knows a worker by: leases are those of a user and an
instance, so they go on when the client connects again, and its keeper process speaks for
them over a connection of its own. It is random, so nobody else has it; a forked child is
another worker and gets another one.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import Final

from mqwire.limits import MAX_HOST_CHARS

KEEPALIVE_SECONDS: Final = 15
"""What a keeper promises, and no client: it is heard from at least so often, whatever holds the
worker's interpreter lock. The server cuts the connection after twice that."""


@dataclass(frozen=True)
class Identity:
    """What AUTH says beside the credentials.

    Args:
        client: name and version, for the server's logs.
        instance: the worker's id; empty for a connection that holds no leases.
        host: name of its machine.
        keepalive: seconds after which the server may take silence for death; 0 promises
            nothing.
        detached: whether its leases end at their time alone, be it connected or not.
    """

    client: str
    instance: str = ""
    host: str = ""
    keepalive: int = 0
    detached: bool = False


def new_instance() -> str:
    """Return an id that nobody has had: 16 hexadecimal characters and the process id."""
    return f"{secrets.token_hex(8)}-{os.getpid()}"


def host_name() -> str:
    """Return the name of this machine, as far as the protocol takes it."""
    return socket.gethostname()[:MAX_HOST_CHARS]
