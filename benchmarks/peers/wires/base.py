"""A bare connection to any peer, and what is sent over it."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks.peers import bursts

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place


CLEAR_SECONDS = 60.0


def connected(place: Place) -> socket.socket:
    """Connect to a peer that was started; small requests leave at once."""
    connection = socket.create_connection((place.host, place.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Counter(Protocol):
    """Counts what has been answered, in a stream of bytes that arrives in any pieces."""

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many answers, or parts of answers, ended in them."""
        ...

    def more(self) -> bytes:
        """Return what is to be sent because of what has come, if anything."""
        ...


class Marks:
    """Counts a mark that each answer has the same number of times."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._rest = b""  # what a mark may have begun in

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many marks ended in them."""
        kept = len(self._mark) - 1
        whole = self._rest + data if kept else data
        self._rest = whole[-kept:] if kept else b""
        return whole.count(self._mark)

    def more(self) -> bytes:
        """Return nothing: what is sent was known beforehand."""
        return b""


@dataclass(frozen=True)
class Burst:
    """Requests that are sent without waiting, and how their answers are known.

    Args:
        requests: all of them, one after the other.
        answers: how often the counter has to count until all are answered.
        counter: a fresh one.
    """

    requests: bytes
    answers: int
    counter: Counter


class Wire(ABC):
    """A bare connection.

    Args:
        place: where to connect.
    """

    socket: socket.socket

    @abstractmethod
    def __init__(self, place: Place) -> None: ...

    @abstractmethod
    def make_queue(self, queue: str) -> None:
        """See to it that a queue is there, and ready for the use of this connection."""

    @abstractmethod
    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""

    @abstractmethod
    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return `count` requests that push `batch` messages each.

        Raises:
            NotImplementedError: the protocol has no batches.
        """

    @abstractmethod
    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return `count` requests that remove `batch` messages each, all being there.

        Raises:
            NotImplementedError: the protocol has no batches.
        """

    def lease_and_ack(self, queue: str, body: bytes, count: int, batch: int) -> Burst:
        """Return requests that take `batch` messages and settle them, `count` times.

        Raises:
            NotImplementedError: what is taken can be settled only when it has come.
        """
        raise NotImplementedError

    def work_off(self, queue: str, batch: int) -> None:
        """Take messages under a lease, and settle them, waiting for each answer.

        Raises:
            NotImplementedError: growth is not measured with leases of this peer.
        """
        raise NotImplementedError

    @abstractmethod
    def wait(self, queue: str) -> Burst:
        """Return a request that waits for one message, for a minute at most, and removes it."""

    @abstractmethod
    def blocked(self, queue: str) -> int:
        """Return how many requests wait for messages of a queue."""

    def snapshot(self) -> None:
        """Have a snapshot made, and wait until it is there.

        Raises:
            NotImplementedError: the server makes none.
        """
        raise NotImplementedError

    def settle(self) -> None:  # noqa: B027  most protocols have nothing to do
        """Do what has to be done after a burst was answered."""

    def clear(self, queue: str) -> None:
        """Remove all messages of a queue."""
        waiting = self.waiting(queue)
        if waiting:
            bursts.seconds_for([(self, self.pull(queue, b"", waiting))], CLEAR_SECONDS)
            self.settle()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
