"""The sides of a comparison: a peer in one of its modes, by the name that it has in tables."""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import interrupts
from benchmarks.peers.servers.base import HOST, PeerServer
from benchmarks.peers.servers.beanstalkd import BeanstalkdServer
from benchmarks.peers.servers.mqd import MqdServer
from benchmarks.peers.servers.nats import NatsServer
from benchmarks.peers.servers.rabbitmq import RabbitmqServer
from benchmarks.peers.servers.redis import RedisServer

if TYPE_CHECKING:
    from contextlib import ExitStack

    from benchmarks.peers.clients.base import Client
    from benchmarks.peers.wires.base import Wire

OURS = "mqd"

SERVERS: dict[str, type[PeerServer]] = {
    OURS: MqdServer,
    "redis": RedisServer,
    "beanstalkd": BeanstalkdServer,
    "rabbitmq": RabbitmqServer,
    "nats": NatsServer,
}

SHARES = {OURS: 1.0, "redis": 1.0, "beanstalkd": 0.25, "rabbitmq": 0.1, "nats": 0.1}
"""What part of a counted work each peer is given, so that a round takes all about as long.
Rates are per message, and a shorter queue is a help, if anything."""


@dataclass(frozen=True)
class Place:
    """Where a server is to be found, for a client in another process, and as what it is used.

    Args:
        peer: the kind of server.
        mode: how it runs.
        port: of `host`.
        secret: what lets clients in, where there is one.
        variant: what its queues are, where it has several: of Redis, nothing for lists, `delete`
            for streams whose entries are deleted when they are settled, `keep` for others.
        host: where it listens.
    """

    peer: str
    mode: str
    port: int
    secret: str
    variant: str = ""
    host: str = HOST


@dataclass(frozen=True)
class Side:
    """A peer in one of its modes."""

    peer: str
    mode: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.peer} {self.mode}"

    @property
    def kind(self) -> type[PeerServer]:
        """The class of its server."""
        return SERVERS[self.peer]

    @property
    def is_ours(self) -> bool:
        """Tell whether it is the one that is held against the others."""
        return self.peer == OURS

    @property
    def share(self) -> float:
        """What part of a counted work it is given."""
        return SHARES[self.peer]

    def server(self, directory: Path) -> PeerServer:
        """Return a server of it that is not started yet."""
        return self.kind(self.mode, directory)

    def started(self, stack: ExitStack) -> PeerServer:
        """Start a server of it on an empty directory; the stack stops it, and removes that."""
        with interrupts.whole():
            directory = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mqd-peers-", ignore_cleanup_errors=True)
            )
        server = self.server(Path(directory))
        stack.callback(server.stop)
        server.start()
        return server

    def place(self, server: PeerServer, variant: str = "") -> Place:
        """Return where a started server of it is found."""
        return Place(self.peer, self.mode, server.port, server.secret, variant)

    def described(self) -> dict[str, Any]:
        """Return version, durability and settings, as results tell them."""
        return {"version": self.kind.version(), **asdict(self.kind.modes[self.mode])}


def side(name: str) -> Side:
    """Return the side of a name such as `redis memory`.

    Raises:
        KeyError: there is no such peer, or it has no such mode.
    """
    peer, _, mode = name.partition(" ")
    if mode not in SERVERS[peer].modes:
        raise KeyError(mode)
    return Side(peer, mode)


def is_chosen(name: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether a side is asked for, by its own name or its peer's; ours always is."""
    peer = name.partition(" ")[0]
    return peer == OURS or not wanted or peer in wanted or name in wanted


def missing(peer: str) -> str | None:
    """Return the line that says why a peer is left out, or None where it is installed."""
    kind = SERVERS[peer]
    if kind.is_installed():
        return None
    return f"{peer} is left out: there is no {kind.program} here; apt install {kind.package}"


def client(place: Place, queue: str) -> Client:
    """Return a client of a peer's library; only its module imports the library."""
    module: Any = importlib.import_module(f"benchmarks.peers.clients.{place.peer}")
    made: Client = module.connect(place, queue)
    return made


def wire(place: Place) -> Wire:
    """Return a bare connection."""
    module: Any = importlib.import_module(f"benchmarks.peers.wires.{place.peer}")
    made: Wire = module.connect(place)
    return made
