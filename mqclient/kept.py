"""Messages that arrived after their pull had been given up. Floor 1: no I/O.

A message that the server has delivered is gone from it. When it arrives after
the caller's time-out, interrupt or cancelled task, it is kept here and handed
to the next pull of its queue by the same client. It is lost when the client is
closed or its process ends before that: delivery is at most once.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient.messages import Message, Source


class KeptMessages:
    """The kept messages of one client. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, deque[Message]] = {}
        self._expected: dict[str, int] = {}

    def keep(self, queue: str, messages: Sequence[Message]) -> None:
        """Keep messages of `queue` for its next pull, behind those already kept."""
        if not messages:
            return
        with self._lock:
            self._kept.setdefault(queue, deque()).extend(messages)

    def take(self, source: Source, count: int) -> list[Message]:
        """Return up to `count` of the kept messages of the source's queue, oldest first."""
        queue = source.queue
        if queue not in self._kept:
            return []
        with self._lock:
            kept = self._kept.get(queue, deque())
            taken = [kept.popleft().given_to(source) for _ in range(min(count, len(kept)))]
            if not kept:
                self._kept.pop(queue, None)
        return taken

    def expect(self, queue: str) -> None:
        """Note that a pull of `queue` has been given up and not been answered yet."""
        with self._lock:
            self._expected[queue] = self._expected.get(queue, 0) + 1

    def forget(self, queue: str) -> None:
        """Note that such a pull has been answered, or will never be."""
        with self._lock:
            left = self._expected.get(queue, 0) - 1
            if left > 0:
                self._expected[queue] = left
            else:
                self._expected.pop(queue, None)

    def expects(self, queue: str) -> bool:
        """Tell whether messages of `queue` may still arrive for a pull that was given up."""
        return queue in self._expected

    def concern(self, queue: str) -> bool:
        """Tell whether messages of `queue` are kept, or expected."""
        return queue in self._kept or queue in self._expected

    def counts(self) -> dict[str, int]:
        """Return how many messages are kept, by queue."""
        with self._lock:
            return {queue: len(kept) for queue, kept in self._kept.items() if kept}
