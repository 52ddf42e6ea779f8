"""Tells a supervisor that asks for it when the server serves, and when it stops. Floor 4.

What it is: one datagram to the socket that `NOTIFY_SOCKET` names, as systemd wants it of a
service with `Type=notify`.
What it is not: a watchdog. A supervisor that does not listen any more stops nothing.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"

_logger = logging.getLogger("mqd")


def notify_supervisor(state: str) -> bool:
    """Tell the supervisor, if there is one that asks, a state: `READY` or `STOPPING`.

    Never blocks and never fails: what cannot be told is logged.

    Returns:
        Whether it was told.
    """
    name = os.environ.get(VARIABLE, "")
    if not name:
        return False
    # An @ stands for the NUL byte that begins the name of an abstract socket.
    address = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.connect(address)
            channel.send(state.encode("ascii"))
    except (OSError, ValueError) as error:
        _logger.warning("%s cannot be told %s (%s)", name, state, error)
        return False
    return True
