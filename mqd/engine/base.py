"""What the floor above may ask of an engine.

Theory of operation. The server handles what a connection has sent in *turns*.
`begin_turn` reads the clock once for all requests of the turn. A command is
carried out and its result returned at once, or refused with a `CodedError`; only
a pull on an empty queue may wait, and then its `Wait` is told later. Nothing in
an engine awaits between judging a command and carrying it out, so there are no
locks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from mqwire.errors import CodedError

Results: TypeAlias = tuple[Any, ...]
"""What stands behind "OK" in a reply, in the form of PROTOCOL.md."""

NO_MESSAGES: Results = ((), ())
"""The results of a PULL or PEEK that found nothing."""

HeaderRuns: TypeAlias = tuple[tuple[int, int, dict[str, Any], int], ...]
"""Runs `(offset, count, headers, encoded bytes of one message's headers)`, by offset."""

OnEnd: TypeAlias = Callable[[Results | CodedError], None]


class Wait(Protocol):
    """A pull that waits. It ends once: by messages, by time, by `wake`, or by an error."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was forgotten."""


class Engine(Protocol):
    """Carries commands out. Names have been checked; numbers are within their bounds."""

    durability: str
    """The level that a reply has reached when it is returned, see `mqwire.levels`."""

    def begin_turn(self) -> None:
        """Read the clock for the requests that follow."""

    def create(
        self, name: str, max_messages: int | None, max_bytes: int | None, *, if_missing: bool
    ) -> dict[str, Any]:
        """Create a queue and return its info. QUEUE_EXISTS, TOO_MANY_QUEUES, OUT_OF_RANGE."""

    def delete(self, name: str) -> int:
        """Delete a queue; those who wait get QUEUE_NOT_FOUND. Returns messages removed."""

    def purge(self, name: str) -> int:
        """Remove the messages of a queue. Returns how many."""

    def info(self, name: str) -> dict[str, Any]:
        """Describe a queue."""

    def infos(self, pattern: str) -> list[dict[str, Any]]:
        """Describe the queues whose names fit, sorted by name."""

    def push(self, name: str, count: int, pack: bytes, headers: HeaderRuns) -> int:
        """Append messages and serve those who wait. Returns the first id. QUEUE_FULL."""

    def pull(self, name: str, most: int) -> Results:
        """Remove the oldest messages and return them, or `NO_MESSAGES`."""

    def wait(self, name: str, most: int, seconds: float, on_end: OnEnd) -> Wait:
        """Wait for messages of a queue that is empty now; `on_end` is called once."""

    def wake(self, wait: Wait) -> bool:
        """End a wait now, as if its time had run out. False if it was over already."""

    def forget(self, wait: Wait) -> None:
        """Drop a wait whose client has gone: nothing is delivered to it any more."""

    def peek(self, name: str, skip: int, most: int) -> Results:
        """Return messages without removing them."""

    def next_deadline_ms(self) -> int | None:
        """When `expire` has to be called next, on the engine's clock; None for never."""

    def expire(self) -> None:
        """End the waits whose time has run out, by the present turn's clock."""
