"""A bare connection to Redis: LPUSH and RPOP, both with counts for batches."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from benchmarks.peers.wires.base import Burst, Marks, Wire

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

LINE_END = b"\r\n"


class RedisWire(Wire):
    """A connection."""

    def __init__(self, place: Place) -> None:
        self.socket = socket.create_connection((place.host, place.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def make_queue(self, queue: str) -> None:
        """Do nothing: a list is there when something is in it."""

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return self.number("LLEN", queue)

    def number(self, *words: str) -> int:
        """Send a command and return its answer, a number.

        Raises:
            RuntimeError: the answer is another one.
        """
        self.socket.sendall(command(*(word.encode() for word in words)))
        answer = b""
        while not answer.endswith(LINE_END):
            answer += self.socket.recv(65536)
        if not answer.startswith(b":"):
            raise RuntimeError(repr(answer))
        return int(answer[1:])

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return LPUSHes of one value or more."""
        request = command(b"LPUSH", queue.encode(), *([body] * batch))
        return Burst(request * count, count, Marks(LINE_END))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return RPOPs, with a count where that is not one."""
        name = queue.encode()
        if batch == 1:
            return Burst(command(b"RPOP", name) * count, 2 * count, Marks(LINE_END))
        request = command(b"RPOP", name, b"%d" % batch)
        return Burst(request * count, (1 + 2 * batch) * count, Marks(LINE_END))


def command(*words: bytes) -> bytes:
    """Return a command as Redis reads it."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


connect = RedisWire
