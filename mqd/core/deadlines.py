"""Which thing is due next.

`Deadlines` is an indexed heap with cheap removal, for things that are few: removal
marks an entry and leaves it in the heap; when more than half of the heap is such
entries they are swept out, so each operation costs O(log n) on average and the heap
is never larger than twice what lives in it.

`Timetable` is for keys that may be millions. Keys of the same millisecond share an
entry of the heap, which is an integer, so adding and removing are a few steps of
hash tables, and the sweep, which looks at no key, is done a few steps at a time.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")

_SWEEP_LEAST: Final = 64

_MOVED_TOGETHER: Final = 4  # more than come in or go meanwhile, so a sweep comes to its end

MOST_PASSED: Final = 4096
"""Entries for nothing that one call passes over: that takes some 3 ms."""


def earlier(one_ms: int | None, other_ms: int | None) -> int | None:
    """Return the earlier of two times, where None is never."""
    if one_ms is None:
        return other_ms
    return one_ms if other_ms is None or one_ms < other_ms else other_ms


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


class Timetable(Generic[Item]):
    """Keys by the time when they are due; whoever removes one knows its time.

    No call takes long, however many keys there are: of entries that stand for nothing any
    more a call passes over `MOST_PASSED`, and where more than half are such, each change
    moves a few of the others to a new heap.
    """

    __slots__ = ("_heap", "_keys_by_ms", "_old")

    def __init__(self) -> None:
        self._keys_by_ms: dict[int, dict[Item, None]] = {}
        self._heap: list[int] = []  # each time of `_keys_by_ms`, and some that are past
        self._old: list[int] = []  # a heap too: the rest of one that is moved into the other

    def add(self, when_ms: int, key: Item) -> None:
        """Remember a key that is not in the table."""
        keys = self._keys_by_ms.get(when_ms)
        if keys is None:
            self._keys_by_ms[when_ms] = {key: None}
            heapq.heappush(self._heap, when_ms)
            if self._old:
                self._move()
        else:
            keys[key] = None

    def remove(self, when_ms: int, key: Item) -> None:
        """Forget a key that was added for `when_ms`."""
        by_ms = self._keys_by_ms
        keys = by_ms[when_ms]
        del keys[key]
        if not keys:
            del by_ms[when_ms]
            if self._old:
                self._move()
            elif len(self._heap) > 2 * len(by_ms) + _SWEEP_LEAST:
                self._old, self._heap = self._heap, []

    def _move(self) -> None:
        """Move a few of the old heap's entries that are needed: from its end it stays a heap."""
        old, by_ms = self._old, self._keys_by_ms
        for _ in range(min(_MOVED_TOGETHER, len(old))):
            when_ms = old.pop()
            if when_ms in by_ms:
                heapq.heappush(self._heap, when_ms)

    def next_ms(self) -> int | None:
        """When the earliest key is due, or a time before that; None if there is none.

        It is earlier only where many keys were removed; then every call comes nearer to it.
        """
        by_ms = self._keys_by_ms
        if not by_ms:
            self._heap.clear()
            self._old.clear()
            return None
        most, tops = MOST_PASSED, []
        for heap in (self._heap, self._old):
            while heap and heap[0] not in by_ms and most:
                heapq.heappop(heap)
                most -= 1
            if heap:
                tops.append(heap[0])
        return min(tops)

    def due(self, now_ms: int) -> Iterator[Item]:
        """Yield the keys of the earliest time if that is `now_ms` or before."""
        when_ms = self.next_ms()
        if when_ms is not None and when_ms <= now_ms:
            yield from self._keys_by_ms.get(when_ms, ())

    def all_due(self, now_ms: int) -> Iterator[Item]:
        """Yield the keys of all times up to `now_ms`, the earliest first.

        Some of them, where many were removed: as long as `next_ms` is not past `now_ms`,
        there may be more. The table must not change meanwhile. Complexity: O(log n) for each
        time, for as many as are asked for.
        """
        by_ms = self._keys_by_ms
        if self.next_ms() is None:
            return
        heaps = (self._heap, self._old)
        # What may be next, in which heap it is, and where.
        reach = [(heap[0], number, 0) for number, heap in enumerate(heaps) if heap]
        heapq.heapify(reach)
        last_ms, passed = -1, 0
        while reach and passed <= MOST_PASSED:
            when_ms, number, index = heapq.heappop(reach)
            if when_ms > now_ms:
                return
            heap = heaps[number]
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heapq.heappush(reach, (heap[child], number, child))
            if when_ms != last_ms and when_ms in by_ms:
                last_ms = when_ms
                yield from by_ms[when_ms]
            else:
                passed += 1
