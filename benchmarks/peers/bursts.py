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


class _Flow:
    """One connection's part of it."""

    def __init__(self, wire: Wire, burst: Burst) -> None:
        self.socket = wire.socket
        self.missing = burst.answers
        self._unsent = memoryview(burst.requests)
        self._later: deque[bytes] = deque()
        self._counter = burst.counter

    def send(self) -> None:
        """Send what the kernel takes now."""
        self._unsent = self._unsent[self.socket.send(self._unsent[:SEND_BYTES]) :]
        if not self._unsent and self._later:
            self._unsent = memoryview(b"".join(self._later))
            self._later.clear()

    def receive(self) -> None:
        """Count what has come."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise RuntimeError("the server has closed the connection")
        self.missing -= self._counter.feed(data)
        more = self._counter.more()
        if more and self._unsent:
            self._later.append(more)
        elif more:
            self._unsent = memoryview(more)

    def wanted(self) -> int:
        """Return the events that it waits for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)


def seconds_for(pairs: Sequence[tuple[Wire, Burst]], limit_seconds: float) -> float:
    """Send each burst over its connection, all at once; return how long the answers took.

    Raises:
        TimeoutError: not everything was answered in time.
        RuntimeError: a server has closed a connection, or answered more than was asked.
    """
    selector = selectors.DefaultSelector()
    flows = [_Flow(wire, burst) for wire, burst in pairs]
    for flow in flows:
        flow.socket.setblocking(False)
        selector.register(flow.socket, flow.wanted(), flow)
    started = time.perf_counter()
    try:
        _drive(selector, len(flows), started + limit_seconds)
        return time.perf_counter() - started
    finally:
        selector.close()
        for flow in flows:
            flow.socket.setblocking(True)


def _drive(selector: selectors.BaseSelector, unfinished: int, ends_at: float) -> None:
    while unfinished:
        events = selector.select(1.0)
        for key, ready in events:
            flow: _Flow = key.data
            if ready & selectors.EVENT_WRITE:
                flow.send()
            if ready & selectors.EVENT_READ:
                flow.receive()
            if flow.missing <= 0:
                if flow.missing < 0:
                    raise RuntimeError("there are more answers than questions")
                selector.unregister(flow.socket)
                unfinished -= 1
            elif key.events != flow.wanted():
                selector.modify(flow.socket, flow.wanted(), flow)
        if time.perf_counter() > ends_at:
            missing = sum(key.data.missing for key in selector.get_map().values())
            raise TimeoutError(f"{missing} answers have not come")
