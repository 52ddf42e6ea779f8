"""A bare connection to mqd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import process
from benchmarks.peers.wires.base import Burst, Marks, Wire
from mqwire.address import Address
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

OK = b"\xa2OK"
"""How `OK` stands in a reply, once in each. Bodies do not hold it, and neither do the numbers
around it below ten million."""


class MqdWire(Wire):
    """A connection that has authenticated."""

    def __init__(self, place: Place) -> None:
        url = f"mq://{place.host}:{place.port}"
        address = Address((url,), place.secret, place.host, 0, 0.0, "")
        self._wire = process.Wire(process.ServerProcess(0, address))
        self.socket = self._wire.socket

    def make_queue(self, queue: str) -> None:
        """See to it that a queue is there."""
        self._wire.call("CREATE", queue, {"if_missing": True})

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        ready: int = self._wire.call("INFO", queue)[2]["ready"]
        return ready

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return pushes of a pack each."""
        return _burst(count, "PUSH", queue, batch, join_bodies([body] * batch))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return pulls without a lease."""
        return _burst(count, "PULL", queue, batch)


def _burst(count: int, verb: str, *arguments: Any) -> Burst:
    encode = FrameWriter().encode
    requests = b"".join(encode((verb, number, *arguments)) for number in range(1, count + 1))
    return Burst(requests, count, Marks(OK))


connect = MqdWire
