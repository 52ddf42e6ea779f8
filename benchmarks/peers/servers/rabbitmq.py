"""RabbitMQ: a node of its own, with a port mapper of its own, that knows of no other.

A queue is a classic queue. What is durable survives a restart; a publisher that waits for its
confirm waits for the disk then.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers import interrupts
from benchmarks.peers.servers import processes
from benchmarks.peers.servers.base import (
    HOST,
    START_SECONDS,
    Mode,
    PeerServer,
    can_connect,
    free_port,
    printed_by,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBIAN_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""What Debian's command runs as another user, and for root alone."""


class RabbitmqServer(PeerServer):
    """A RabbitMQ node."""

    program = "rabbitmq-server"
    package = "rabbitmq-server"
    modes: ClassVar[Mapping[str, Mode]] = {
        "transient": Mode(
            "memory",
            "a confirm means nothing for a crash: transient queue and messages",
            ("durable=false", "delivery_mode=1", "publisher confirms"),
        ),
        "durable": Mode(
            "disk",
            "a confirm means that the message is on the disk: durable queue, persistent messages",
            ("durable=true", "delivery_mode=2", "publisher confirms"),
        ),
    }

    def __init__(self, mode: str, directory: Path) -> None:
        super().__init__(mode, directory)
        self._mapper: subprocess.Popen[bytes] | None = None
        self._mapper_port = 0
        self._node_port = 0

    @classmethod
    def version(cls) -> str:
        """Return the version of what is installed, which tells it by its files alone."""
        for path in Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"):
            return f"RabbitMQ {path.name.partition('-')[2]}"
        found = re.search(r"\d+\.\d+\.\d+", printed_by("rabbitmqctl", "version"))
        return f"RabbitMQ {found[0]}" if found else "RabbitMQ"

    def command(self) -> list[str]:
        """Return what is run."""
        is_debian = Path(DEBIAN_PROGRAM).exists()
        return [DEBIAN_PROGRAM if is_debian else shutil.which(self.program) or self.program]

    def environment(self) -> dict[str, str]:
        """Return the variables that it runs with: everything of it is in its directory."""
        here = str(self.directory)
        own = {name: v for name, v in os.environ.items() if not name.startswith("RABBITMQ_")}
        return own | {
            "HOME": here,
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_CONF_ENV_FILE": f"{here}/env.conf",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_NODENAME": "mqd-bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def start(self) -> None:
        """Start the port mapper and the node on free ports, and wait until it serves."""
        for name, text in (("env.conf", ""), ("rabbitmq.conf", ""), ("enabled_plugins", "[].")):
            (self.directory / name).write_text(text)
        self._mapper_port, self._node_port = free_port(), free_port()
        mapper = shutil.which("epmd")
        assert mapper is not None, "RabbitMQ without Erlang's port mapper"
        with interrupts.whole():
            self._mapper = subprocess.Popen(  # noqa: S603  a program of this machine, by its name
                [mapper, "-port", str(self._mapper_port), "-address", HOST],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not can_connect(self._mapper_port) and time.monotonic() < deadline:
            time.sleep(0.005)
        super().start()

    def kill(self) -> None:
        """End it as a crash does."""
        super().kill()
        if self._mapper is not None:
            processes.end(self._mapper)

    def stop(self) -> None:
        """End it, in order if it can; nothing of it runs afterwards."""
        super().stop()
        if self._mapper is not None:
            processes.end(self._mapper)
