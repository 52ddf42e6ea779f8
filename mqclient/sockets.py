"""Options of TCP sockets, for both clients. Floor 1.

A machine that is switched off says nothing. Without these options a client would
learn it after a quarter of an hour, and its calls would time out until then.
"""

from __future__ import annotations

import socket
from typing import Final

_SILENCE_SECONDS: Final = 30
"""A peer that has not acknowledged anything for so long is gone."""

_PROBES: Final = 3


def tune(sock: socket.socket) -> None:
    """Send small frames at once, and let the kernel notice a peer that is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": _SILENCE_SECONDS,
        "TCP_KEEPINTVL": _SILENCE_SECONDS // _PROBES,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": _SILENCE_SECONDS * 1000,
    }
    for name, value in options.items():
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
