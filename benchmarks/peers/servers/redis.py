"""Redis: a queue is a list, pushed on the left and popped on the right; leases are streams."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers.servers.base import HOST, Mode, PeerServer, printed_by

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON = ("maxclients 20000",)


class RedisServer(PeerServer):
    """A Redis of this machine."""

    program = "redis-server"
    package = "redis-server"
    modes: ClassVar[Mapping[str, Mode]] = {
        "memory": Mode(
            "memory",
            "an answer means nothing for a crash: no persistence",
            ('save ""', "appendonly no", *COMMON),
        ),
        "everysec": Mode(
            "kernel",
            "the append-only file is written before the answer, and synced every second",
            ('save ""', "appendonly yes", "appendfsync everysec", *COMMON),
        ),
        "always": Mode(
            "disk",
            "the append-only file is synced before the answer",
            ('save ""', "appendonly yes", "appendfsync always", *COMMON),
        ),
    }

    @classmethod
    def version(cls) -> str:
        """Return the version of what is installed."""
        found = re.search(r"v=(\S+)", printed_by(cls.program, "--version"))
        return f"Redis {found[1]}" if found else "Redis"

    def is_ready(self) -> bool:
        """Tell whether it serves: it accepts connections while it still loads."""
        try:
            with socket.create_connection((HOST, self.port), 1) as connection:
                connection.settimeout(1)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def command(self) -> list[str]:
        """Return what is run, for the port that was chosen."""
        command = [self.program, "--port", str(self.port), "--bind", HOST]
        command += ["--dir", str(self.directory), "--daemonize", "no"]
        for setting in self.mode.settings:
            key, _, value = setting.partition(" ")
            command += [f"--{key}", value.strip('"')]
        return command
