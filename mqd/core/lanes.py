"""The order of what is ready in a queue and does not lie in its `fifo`: a lane for each priority.

A lane holds numbers alone: ids of messages and keys of parcels, which are ids too (see
`mqd.core.parcels`). What they stand for lies elsewhere, and a number whose thing has gone
is passed over when it comes to the front. Most things come in the order of their ids and
go to the end of a deque; those that come to an older place go to a heap beside it. Which
lanes hold anything is one integer with a bit for each priority, so the highest is found in
one step, however many there are. The oldest of all lanes is found by a heap that has one
number of each, which is looked up again only when it comes to the top and has gone.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Sequence

PRIORITY: Final = 128
"""Of messages whose push names none."""

_RANK_BITS: Final = 64
_PRIORITY_BITS: Final = 8
_PRIORITY_MASK: Final = 2**_PRIORITY_BITS - 1

_MOST_LOWS: Final = 8 * 2**_PRIORITY_BITS
"""Entries after which those are dropped that are out of date; each lane has one that is not."""

_SWEEP_LEAST: Final = 64

_SWEPT_TOGETHER: Final = 8
"""Numbers: more than come in meanwhile, so a sweep comes to its end."""


class _Lane:
    """Numbers of one priority.

    They lie in two deques, each ascending, one behind the other, and two heaps. One deque and
    one heap are empty but while a sweep is under way, which brings over what is there.
    """

    __slots__ = ("in_order", "kept", "others", "unswept")

    def __init__(self) -> None:
        self.kept: deque[int] = deque()  # in front of the next
        self.in_order: deque[int] = deque()
        self.others: list[int] = []
        self.unswept: list[int] = []

    def add(self, number: int) -> None:
        kept, in_order = self.kept, self.in_order
        if not kept or number > kept[-1]:
            if not in_order or number > in_order[-1]:
                in_order.append(number)
                return
            if number < in_order[0]:
                in_order.appendleft(number)
                return
        elif number < kept[0]:
            kept.appendleft(number)
            return
        heapq.heappush(self.others, number)

    def first(self, messages: Container[int], parcels: Container[int]) -> int | None:
        """Return the lowest number of a thing that is there; None if none is."""
        lowest = None
        for line in (self.kept, self.in_order):
            while line and not (line[0] in parcels or line[0] in messages):
                line.popleft()
            if line:
                lowest = line[0]
                break
        for heap in (self.others, self.unswept):
            while heap and not (heap[0] in parcels or heap[0] in messages):
                heapq.heappop(heap)
            if heap and (lowest is None or heap[0] < lowest):
                lowest = heap[0]
        return lowest

    def forget(self, number: int) -> int:
        """Drop a number and all before it; returns how many these were."""
        count = 0
        for line in (self.kept, self.in_order):
            while line and line[0] <= number:
                line.popleft()
                count += 1
        for heap in (self.others, self.unswept):
            while heap and heap[0] <= number:
                heapq.heappop(heap)
                count += 1
        return count

    def walk(self, messages: Container[int], parcels: Container[int]) -> Iterator[int]:
        """Yield the numbers of things that are there, ascending.

        Complexity: O(log n) for each, and for each that has gone and was not dropped yet.
        """
        last = None
        numbers: Iterator[int] = iter(self.in_order)
        if self.kept or self.others or self.unswept:
            heaps = map(_ascending, (self.others, self.unswept))
            numbers = heapq.merge(self.kept, numbers, *heaps)
        for number in numbers:
            if number != last and (number in parcels or number in messages):
                yield number
            last = number

    def sweep(self, messages: Container[int], parcels: Container[int]) -> Iterator[None]:
        """Drop the numbers of things that have gone, a few steps between one `yield` and the next.

        Meanwhile the lane may be used. It must not be swept a second time.
        """
        steps = 0
        while self.in_order:
            number = self.in_order.popleft()
            if number in parcels or number in messages:
                self.kept.append(number)
            steps += 1
            if steps % _SWEPT_TOGETHER == 0:
                yield
        self.in_order, self.kept = self.kept, self.in_order
        self.unswept, self.others = self.others, []
        seen: set[int] = set()
        while self.unswept:
            number = self.unswept.pop()  # from its end, so it stays a heap
            if (number in parcels or number in messages) and number not in seen:
                seen.add(number)
                heapq.heappush(self.others, number)
            steps += 1
            if steps % _SWEPT_TOGETHER == 0:
                yield


def rank_of(priority: int, number: int) -> int:
    """Return the rank of a number in its lane: the lower, the sooner."""
    return ((PRIORITY - priority) << _RANK_BITS) + number


_OVER: Final = object()


def _ascending(heap: list[int]) -> Iterator[int]:
    """Yield what is in a heap in order, from its top down: what is not asked for is not sorted."""
    edge = [(heap[0], 0)] if heap else []
    while edge:
        number, place = heapq.heappop(edge)
        for below in (2 * place + 1, 2 * place + 2):
            if below < len(heap):
                heapq.heappush(edge, (heap[below], below))
        yield number


class Lanes:
    """Numbers by priority, then by size.

    Args:
        messages: the messages that are there, by id; whoever owns them changes them.
        parcels: the parcels, by key.
    """

    __slots__ = (
        "_lanes",
        "_lows",
        "_lows_heap",
        "_mask",
        "_messages",
        "_parcels",
        "_strays",
        "_sweep",
    )

    def __init__(self, messages: Collection[int], parcels: Collection[int]) -> None:
        self._messages = messages
        self._parcels = parcels
        self._lanes: dict[int, _Lane] = {}
        self._mask = 0  # a bit for each lane that is not known to be empty
        self._lows: dict[int, int] = {}  # by priority: none that is there is lower in its lane
        self._lows_heap: list[int] = []  # these, and some that were, with their priorities
        self._strays = 0  # numbers that may still be in a lane though their things have gone
        self._sweep: Iterator[None] | None = None  # what is under way

    def add(self, priority: int, number: int) -> None:
        """Put the number of a thing that is there in its place."""
        lane = self._lanes.get(priority) or self._begin(priority)
        in_order = lane.in_order
        if in_order and number > in_order[-1]:
            in_order.append(number)
        else:
            lane.add(number)
            self._note_low(priority, number)
        if self._sweep is not None:
            self._go_on()

    def add_each(self, priorities: bytes, numbers: Sequence[int]) -> None:
        """Put numbers of things that are there in their places.

        Args:
            priorities: a byte for each number.
            numbers: ascending, and higher than all that there were.
        """
        lanes = self._lanes
        for number, priority in zip(numbers, priorities, strict=True):
            in_order = (lanes.get(priority) or self._begin(priority)).in_order
            if not in_order:
                self._note_low(priority, number)
            in_order.append(number)
        self._go_on_for(len(priorities))

    def _begin(self, priority: int) -> _Lane:
        lane = self._lanes[priority] = _Lane()
        self._mask |= 1 << priority
        return lane

    def _note_low(self, priority: int, number: int) -> None:
        """Note a number that may be the lowest of its lane."""
        low = self._lows.get(priority)
        if low is not None and low <= number:
            return
        self._lows[priority] = number
        heap = self._lows_heap
        heapq.heappush(heap, number << _PRIORITY_BITS | priority)
        if len(heap) > _MOST_LOWS:
            heap[:] = [low << _PRIORITY_BITS | priority for priority, low in self._lows.items()]
            heapq.heapify(heap)

    def front(self, least: int) -> tuple[int, deque[int]] | None:
        """Return the line whose first number is the first of all, and its priority.

        None where that is not quickly told. What is first there may have gone. Whoever drops
        numbers from it tells how many, by `note_taken`.

        Args:
            least: a priority; None is returned where what is first has a lower one.
        """
        while self._mask:
            priority = self._mask.bit_length() - 1
            lane = self._lanes[priority]
            if priority < least or lane.kept or lane.others or lane.unswept:
                return None
            if lane.in_order:
                return priority, lane.in_order
            self._end(priority)
        return None

    def _end(self, priority: int) -> None:
        del self._lanes[priority]
        self._mask ^= 1 << priority

    def __len__(self) -> int:
        """Tell how many numbers are kept, of things that have gone too."""
        return sum(
            len(each.kept) + len(each.in_order) + len(each.others) + len(each.unswept)
            for each in self._lanes.values()
        )

    def forget(self, priority: int, number: int) -> None:
        """Drop the number of a thing that has gone, which was the first of its lane.

        Those before it in its lane have gone, too.
        """
        self.note_taken(self._lanes[priority].forget(number))

    def note_taken(self, count: int) -> None:
        """Take note of numbers that were dropped from their lane."""
        if self._sweep is not None:
            self._go_on_for(count)

    def note_gone(self, priority: int, number: int) -> None:
        """Take note of a thing that has gone otherwise than as the first of its lane.

        Its number stays there; where such are many, some are dropped.
        """
        in_order = self._lanes[priority].in_order
        if in_order and in_order[0] == number:
            in_order.popleft()  # it was the first after all
        else:
            self._strays += 1
        if self._sweep is None:
            living = len(self._messages) + len(self._parcels)
            if self._strays <= living // 2 + _SWEEP_LEAST:
                return
            self._strays = 0
            self._sweep = self._sweep_all()
        self._go_on()

    def _go_on(self) -> None:
        assert self._sweep is not None, "as whoever calls knows"
        if next(self._sweep, _OVER) is _OVER:
            self._sweep = None

    def _go_on_for(self, steps: int) -> None:
        """Go on with the sweep that is under way, if one is, for what has come or gone."""
        while steps > 0 and self._sweep is not None:
            self._go_on()
            steps -= 1

    def _sweep_all(self) -> Iterator[None]:
        """Drop the numbers of all that has gone, a few at a time."""
        for lane in list(self._lanes.values()):
            yield from lane.sweep(self._messages, self._parcels)

    def oldest(self) -> int | None:
        """Return the lowest number over all priorities; None if nothing is there."""
        lows, heap = self._lows, self._lows_heap
        while heap:
            low, priority = heap[0] >> _PRIORITY_BITS, heap[0] & _PRIORITY_MASK
            if lows.get(priority) != low:  # another was noted since
                heapq.heappop(heap)
                continue
            lane = self._lanes.get(priority)
            number = None if lane is None else lane.first(self._messages, self._parcels)
            if number == low:
                return number
            if number is None:
                heapq.heappop(heap)
                del lows[priority]
            else:
                heapq.heapreplace(heap, number << _PRIORITY_BITS | priority)
                lows[priority] = number
        return None

    def first(self) -> tuple[int, int] | None:
        """Return what is first: its rank and its number; None if nothing is there.

        The lower the rank, the sooner. That of things of the usual priority is their number.
        """
        messages, parcels = self._messages, self._parcels
        while self._mask:
            priority = self._mask.bit_length() - 1
            lane = self._lanes[priority]
            number = lane.first(messages, parcels)
            if number is not None:
                return rank_of(priority, number), number
            self._end(priority)
        return None

    def in_order(self) -> Iterator[tuple[int, int]]:
        """Yield ranks and numbers as `first` would return them, one after the other."""
        for priority in sorted(self._lanes, reverse=True):
            for number in self._lanes[priority].walk(self._messages, self._parcels):
                yield rank_of(priority, number), number

    def next_in(self, priority: int) -> int | None:
        """Return the lowest number of a lane that has held something; None if nothing is."""
        return self._lanes[priority].first(self._messages, self._parcels)
