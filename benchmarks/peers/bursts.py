"""Sends bursts over bare connections, and waits until all of them are answered.

The same few lines of Python serve every peer, so that what they cost is the same for all.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.wires.base import Burst, Wire

SEND_BYTES = 256 * 1024
RECEIVE_BYTES = 1024 * 1024


class Flow:
    """A burst on its way over a connection.

    Args:
        wire: the connection.
        burst: what is sent, and how its answers are known.
    """

    def __init__(self, wire: Wire, burst: Burst) -> None:
        self.wire = wire
        self.socket = wire.socket
        self.restart(burst)

    def restart(self, burst: Burst) -> None:
        """Begin with another burst, the one before being answered."""
        self.missing = burst.answers
        self._unsent = memoryview(burst.requests)
        self._later: deque[bytes] = deque()
        self._counter = burst.counter

    def send(self) -> None:
        """Send what the kernel takes now."""
        if self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent[:SEND_BYTES]) :]
        if not self._unsent and self._later:
            self._unsent = memoryview(b"".join(self._later))
            self._later.clear()

    def receive(self) -> int:
        """Take what has come, at least a byte; return how many answers these are.

        Raises:
            RuntimeError: the server has closed the connection.
        """
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise RuntimeError("the server has closed the connection")
        count = self._counter.feed(data)
        self.missing -= count
        more = self._counter.more()
        if more and self._unsent:
            self._later.append(more)
        elif more:
            self._unsent = memoryview(more)
        return count

    def has_got_something(self) -> bool:
        """Take what has come, at least a byte; tell whether an answer is among it, or begins."""
        return self.receive() > 0 or bool(self._unsent)

    def finish(self) -> None:
        """Wait until all is answered, as one that blocks."""
        while self.missing > 0:
            self.send()
            self.receive()

    def wanted(self) -> int:
        """Return the events that it waits for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)


def seconds_for(pairs: Sequence[tuple[Wire, Burst]], limit_seconds: float) -> float:
    """Send each burst over its connection, all at once; return how long the answers took.

    Raises:
        TimeoutError: not everything was answered in time.
        RuntimeError: a server has closed a connection, or answered more than was asked.
    """
    return drive([Flow(wire, burst) for wire, burst in pairs], limit_seconds)


def drive(flows: Sequence[Flow], limit_seconds: float) -> float:
    """Send and receive until all is answered, as `seconds_for`."""
    with selectors.DefaultSelector() as selector:
        for flow in flows:
            flow.socket.setblocking(False)
            selector.register(flow.socket, flow.wanted(), flow)
        started = time.perf_counter()
        try:
            _drive(selector, sum(flow.missing for flow in flows), started + limit_seconds)
            return time.perf_counter() - started
        finally:
            for flow in flows:
                flow.socket.setblocking(True)


def _drive(selector: selectors.BaseSelector, missing: int, ends_at: float) -> None:
    """Go on until the answers have come, whoever has got them: some servers deal them out."""
    while missing > 0:
        for key, ready in selector.select(1.0):
            flow: Flow = key.data
            if ready & selectors.EVENT_WRITE:
                flow.send()
            if ready & selectors.EVENT_READ:
                missing -= flow.receive()
            if key.events != flow.wanted():
                selector.modify(flow.socket, flow.wanted(), flow)
        if time.perf_counter() > ends_at:
            raise TimeoutError(f"{missing} answers have not come")
    if missing < 0:
        raise RuntimeError("there are more answers than questions")
