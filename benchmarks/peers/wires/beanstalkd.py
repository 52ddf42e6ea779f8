"""A bare connection to beanstalkd: put, reserve and delete; it has no batches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.peers.wires.base import Burst, Marks, Wire, connected

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

LINE_END = b"\r\n"
RESERVED = re.compile(rb"RESERVED (\d+) \d+\r\n")
RESERVE = b"reserve-with-timeout 0\r\n"
WINDOW = 64
"""How many reservations are under way at a time."""


class Reservations:
    """Counts messages that are gone: those that are reserved are deleted at once.

    The ids are in the answers, so that these have to be looked at; with one expression
    for each piece that comes, which costs less than the server's own work. With each deletion
    another reservation is sent, if one is left: beanstalkd looks through all that a
    connection has reserved, so that very many at a time would make it slow.

    Args:
        left: how many reservations are to be sent beside those that were.
    """

    def __init__(self, left: int = 0) -> None:
        self._left = left
        self._rest = b""
        self._deletions = b""

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many deletions they confirm."""
        whole = self._rest + data
        # A line that is not whole yet is looked at again, with what follows.
        cut = whole.rfind(LINE_END) + len(LINE_END) if LINE_END in whole else 0
        self._rest = whole[cut:]
        ids = RESERVED.findall(whole, 0, cut)
        self._deletions = b"".join(b"delete %b\r\n" % each for each in ids)
        again = min(self._left, len(ids))
        self._left -= again
        self._deletions += RESERVE * again
        return whole.count(b"DELETED\r\n", 0, cut)

    def more(self) -> bytes:
        """Return the deletions of what has come, and reservations for as many."""
        return self._deletions


class BeanstalkdWire(Wire):
    """A connection that uses one tube at a time."""

    def __init__(self, place: Place) -> None:
        self.socket = connected(place)

    def make_queue(self, queue: str) -> None:
        """Put into this tube, and reserve from it alone."""
        self._ask(b"use %b\r\n" % queue.encode(), b"USING")
        self._ask(b"watch %b\r\n" % queue.encode(), b"WATCHING")
        self._ask(b"ignore default\r\n", b"")

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return self._figure(queue, b"current-jobs-ready")

    def blocked(self, queue: str) -> int:
        """Return how many reserves wait."""
        return self._figure(queue, b"current-waiting")

    def _figure(self, queue: str, name: bytes) -> int:
        answer = self._ask(b"stats-tube %b\r\n" % queue.encode(), b"OK")
        size = int(answer.split()[1])
        while len(answer) < answer.index(LINE_END) + 2 + size + 2:
            answer += self.socket.recv(65536)
        found = re.search(rb"%b: (\d+)" % name, answer)
        assert found is not None
        return int(found[1])

    def _ask(self, request: bytes, beginning: bytes) -> bytes:
        self.socket.sendall(request)
        answer = b""
        while LINE_END not in answer:
            answer += self.socket.recv(65536)
        if not answer.startswith(beginning):
            raise RuntimeError(repr(answer))
        return answer

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return puts."""
        if batch > 1:
            raise NotImplementedError("beanstalkd has no batches")
        request = b"put 0 0 60 %d\r\n%b\r\n" % (len(body), body)
        return Burst(request * count, count, Marks(LINE_END))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return reserves, a window of them at a time, each followed by its delete."""
        if batch > 1:
            raise NotImplementedError("beanstalkd has no batches")
        first = min(count, WINDOW)
        return Burst(RESERVE * first, count, Reservations(count - first))

    def wait(self, queue: str) -> Burst:  # noqa: ARG002  it is the tube that is watched
        """Return a reserve that waits, followed by its delete."""
        return Burst(b"reserve-with-timeout 60\r\n", 1, Reservations())


connect = BeanstalkdWire
