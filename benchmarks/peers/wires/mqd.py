"""A bare connection to mqd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import process
from benchmarks.peers.wires.base import Burst, Wire
from mqwire.address import Address
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

OK = b"\xa2OK"
"""How `OK` stands in a reply, once in each. Bodies do not hold it, and neither do the numbers
around it below ten million."""

PREFIX_BYTES = 5
ID_BYTES = {0xCC: 2, 0xCD: 3, 0xCE: 5}
"""How long an id is, by its first byte; one byte where that is itself."""

LEASE_SECONDS = 600


class Replies:
    """Counts replies that are whole, of which it looks at the last one of each piece alone.

    Each has one `OK`, a few bytes behind the prefix that tells its length; so the prefix of
    the last reply is found from there, and whether all of it has come.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many replies ended in them."""
        whole = self._rest + data
        last = whole.rfind(OK)
        if last < 0:
            self._rest = whole
            return 0
        start = _start_of_reply(whole, last)
        length = int.from_bytes(whole[start + 1 : start + PREFIX_BYTES], "big")
        end = start + PREFIX_BYTES + length
        if end > len(whole):
            self._rest = whole[start:]
            return whole.count(OK, 0, start)
        self._rest = whole[end:]
        return whole.count(OK, 0, end)

    def more(self) -> bytes:
        """Return nothing: what is sent was known beforehand."""
        return b""


def _start_of_reply(whole: bytes, ok: int) -> int:
    """Return where the reply begins whose `OK` stands there."""
    for size in (1, 2, 3, 5):
        first = ok - size
        start = first - 1 - PREFIX_BYTES
        is_id = whole[first] < 0x80 if size == 1 else ID_BYTES.get(whole[first]) == size
        if is_id and start >= 0 and whole[start] == 0xCE:
            return start
    raise RuntimeError(f"no reply: {whole[max(0, ok - 20) : ok + 3]!r}")


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

    def lease_and_ack(self, queue: str, body: bytes, count: int, batch: int) -> Burst:
        """Return leased PULLs, each followed by its ACK.

        Numbers of leases go up by one: a first lease tells what they will be.
        """
        pack = join_bodies([body])
        self._wire.call("PUSH", queue, 1, pack)
        epoch, number = self._wire.call("PULL", queue, 1, {"lease": LEASE_SECONDS})[5]
        self._wire.call("ACK", [epoch, number])
        # The probe has taken the oldest message, and left its own.
        encode = FrameWriter().encode
        requests = b"".join(
            encode(("PULL", 2 * each, queue, batch, {"lease": LEASE_SECONDS}))
            + encode(("ACK", 2 * each + 1, [epoch, number + each]))
            for each in range(1, count + 1)
        )
        return Burst(requests, 2 * count, Replies())

    def wait(self, queue: str) -> Burst:
        """Return a PULL that waits."""
        return _burst(1, "PULL", queue, 1, {"wait": 60})

    def blocked(self, queue: str) -> int:
        """Return how many PULLs wait."""
        waiting: int = self._wire.call("INFO", queue)[2]["waiting"]
        return waiting

    def work_off(self, queue: str, batch: int) -> None:
        """Take messages under a lease, and settle them, waiting for each answer."""
        lease = self._wire.call("PULL", queue, batch, {"lease": LEASE_SECONDS})[5]
        self._wire.call("ACK", lease)

    def snapshot(self) -> None:
        """SNAPSHOT."""
        self._wire.call("SNAPSHOT")

    def clear(self, queue: str) -> None:
        """Purge a queue."""
        self._wire.call("PURGE", queue)


def _burst(count: int, verb: str, *arguments: Any) -> Burst:
    encode = FrameWriter().encode
    requests = b"".join(encode((verb, number, *arguments)) for number in range(1, count + 1))
    return Burst(requests, count, Replies())


connect = MqdWire
