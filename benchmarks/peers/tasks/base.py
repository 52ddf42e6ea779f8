"""What a task is: prepared once, and done as often as the load process is told.

A task's `go` returns figures; their names end in their units, as `figures.py` says, and
`messages` among them is how many messages the work was about. A task
verifies what it did: a server that answers without doing its work is no fast server.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from benchmarks.peers import sides

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from benchmarks.peers.clients.base import Client
    from benchmarks.peers.sides import Place
    from benchmarks.peers.wires.base import Wire

LIMIT_SECONDS = 120.0
"""How long one go of a counted task may take."""


class Task(ABC):
    """Something to do.

    Args:
        place: the server that it is done to.
        options: as each task names them; all have `body_bytes` and `queue`.
        stack: what closes the task's connections when it is left.
    """

    def __init__(self, place: Place, options: dict[str, Any], stack: ExitStack) -> None:
        self.place = place
        self._stack = stack
        self.queue: str = options["queue"]
        self.body = b"x" * options["body_bytes"]

    @abstractmethod
    def go(self) -> dict[str, float]:
        """Do it once, and return the figures."""

    def wire(self, *, is_of_queue: bool = True) -> Wire:
        """Return a new bare connection, which uses the queue unless it is told not to."""
        wire = sides.wire(self.place)
        self._stack.callback(_quietly, wire.close)
        if is_of_queue:
            wire.make_queue(self.queue)
        return wire

    def client(self) -> Client:
        """Return a new client of the peer's library."""
        client = sides.client(self.place, self.queue)
        self._stack.callback(_quietly, client.close)
        return client


def _quietly(close: Callable[[], None]) -> None:
    """Close a connection, whose server may be gone: what was to be said has been said."""
    with contextlib.suppress(Exception):
        close()
