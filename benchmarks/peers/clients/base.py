"""What every blocking client can do, as the library that people use does it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.sides import Place


class Client(ABC):
    """A client of one queue, through its peer's own library.

    Args:
        place: where to connect.
        queue: what it works on.
    """

    @abstractmethod
    def __init__(self, place: Place, queue: str) -> None: ...

    @abstractmethod
    def push(self, body: bytes) -> None:
        """Push a message, and wait for the answer."""

    @abstractmethod
    def pull(self) -> bytes:
        """Remove the oldest message, which is there."""

    def push_many(self, bodies: list[bytes]) -> None:
        """Push messages in one go, as the library does it best.

        Raises:
            NotImplementedError: it has no such way.
        """
        raise NotImplementedError

    def pull_many(self, count: int) -> int:
        """Remove up to so many messages in one go; return how many.

        Raises:
            NotImplementedError: it has no such way.
        """
        raise NotImplementedError

    def push_pipelined(self, bodies: list[bytes]) -> None:
        """Push each with a call of its own, in one pipeline of the library.

        Raises:
            NotImplementedError: it has none.
        """
        raise NotImplementedError

    def pull_pipelined(self, count: int) -> int:
        """Pull each with a call of its own, in one pipeline; return how many came.

        Raises:
            NotImplementedError: it has none.
        """
        raise NotImplementedError

    def round_trips(self, body: bytes, seconds: float) -> list[float]:
        """Push and pull for so long; return how long each pair took, in seconds."""

        def step() -> None:
            self.push(body)
            if self.pull() != body:
                raise RuntimeError("another body came back")

        return _times(step, seconds)

    def pushes(self, body: bytes, seconds: float) -> list[float]:
        """Push for so long; return how long each push took, in seconds."""
        return _times(partial(self.push, body), seconds)

    @abstractmethod
    def work_off(self, count: int, batch: int) -> None:
        """Take so many messages, up to `batch` at a time, and settle them."""

    def batches(self, bodies: list[bytes], count: int) -> tuple[float, float]:
        """Push so many batches and pull them; return how long each half took, in seconds."""
        return _halves(self.push_many, self.pull_many, bodies, count)

    def pipelines(self, bodies: list[bytes], count: int) -> tuple[float, float]:
        """As `batches`, with pipelines in their place."""
        return _halves(self.push_pipelined, self.pull_pipelined, bodies, count)

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


def _times(step: Callable[[], None], seconds: float) -> list[float]:
    """Do something for so long; return how long each time took, in seconds."""
    times = []
    clock = time.perf_counter
    now = clock()
    ends_at = now + seconds
    while now < ends_at:
        step()
        before, now = now, clock()
        times.append(now - before)
    return times


def _halves(
    push: Callable[[list[bytes]], None],
    pull: Callable[[int], int],
    bodies: list[bytes],
    count: int,
) -> tuple[float, float]:
    """Push `bodies` so many times and pull them; return how long each half took, in seconds."""
    started = time.perf_counter()
    for _ in range(count):
        push(bodies)
    middle = time.perf_counter()
    pulled = sum(pull(len(bodies)) for _ in range(count))
    ended = time.perf_counter()
    if pulled != count * len(bodies):
        raise RuntimeError(f"{pulled} messages came back")
    return middle - started, ended - middle
