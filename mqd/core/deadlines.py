"""Deadlines: which thing is due next. An indexed heap with cheap removal.

Removal marks an entry and leaves it in the heap; when more than half of the
heap is such entries they are swept out, so each operation costs O(log n) on
average and the heap is never larger than twice what lives in it.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_SWEEP_LEAST: Final = 64


class Deadline(Generic[Item]):
    """One entry: when it is due and what for. Made by `Deadlines.add`."""

    __slots__ = ("item", "when_ms")

    def __init__(self, when_ms: int, item: Item) -> None:
        self.when_ms = when_ms
        self.item: Item | None = item

    def __lt__(self, other: Deadline[Item]) -> bool:
        return self.when_ms < other.when_ms


class Deadlines(Generic[Item]):
    """A set of things with deadlines."""

    def __init__(self) -> None:
        self._heap: list[Deadline[Item]] = []
        self._removed = 0

    def __len__(self) -> int:
        return len(self._heap) - self._removed

    def add(self, when_ms: int, item: Item) -> Deadline[Item]:
        """Remember that `item` is due at `when_ms`; the entry is the handle to remove it."""
        entry = Deadline(when_ms, item)
        heapq.heappush(self._heap, entry)
        return entry

    def remove(self, entry: Deadline[Item]) -> None:
        """Forget an entry; one that was removed or is past counts for nothing."""
        if entry.item is None:
            return
        entry.item = None
        self._removed += 1
        if self._removed > _SWEEP_LEAST and self._removed * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry.item is not None]
            heapq.heapify(self._heap)
            self._removed = 0

    def next_ms(self) -> int | None:
        """When the earliest entry is due; None if there is none."""
        heap = self._heap
        while heap and heap[0].item is None:
            heapq.heappop(heap)
            self._removed -= 1
        return heap[0].when_ms if heap else None

    def pop_due(self, now_ms: int) -> Item | None:
        """Remove the earliest entry and return its item if it is due by `now_ms`."""
        when_ms = self.next_ms()
        if when_ms is None or when_ms > now_ms:
            return None
        entry = heapq.heappop(self._heap)
        item, entry.item = entry.item, None
        return item
