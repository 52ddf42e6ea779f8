"""NATS JetStream: a queue is a stream that keeps what nobody has acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers.servers.base import HOST, Mode, PeerServer, printed_by

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATION = """\
listen: "{host}:{port}"
max_connections: 20000
jetstream {{ store_dir: "{directory}/store", max_memory_store: 16GB, max_file_store: 64GB }}
"""
COMMON = ("retention=workqueue", "ack_policy=explicit", "max_ack_pending=-1")


class NatsServer(PeerServer):
    """A nats-server with JetStream."""

    program = "nats-server"
    package = "nats-server"
    modes: ClassVar[Mapping[str, Mode]] = {
        "memory": Mode(
            "memory",
            "an answer means nothing for a crash: the stream is in memory",
            ("storage=memory", *COMMON),
        ),
        "file": Mode(
            "kernel",
            "the stream's file is written before the answer, and synced every two minutes",
            ("storage=file", *COMMON),
        ),
    }

    @classmethod
    def version(cls) -> str:
        """Return the version of what is installed."""
        return printed_by(cls.program, "--version").strip()

    def command(self) -> list[str]:
        """Return what is run, for the port that was chosen."""
        path = self.directory / "nats.conf"
        path.write_text(CONFIGURATION.format(host=HOST, port=self.port, directory=self.directory))
        return [self.program, "--config", str(path)]
