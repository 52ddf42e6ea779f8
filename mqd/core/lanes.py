"""The order of what is ready in a queue and does not lie in its `fifo`: a lane for each priority.

A lane holds numbers alone: ids of messages and keys of parcels, which are ids too (see
`mqd.core.parcels`). What they stand for lies elsewhere, and a number whose thing has gone
is passed over when it comes to the front. Most things come in the order of their ids and
go to the end of a deque; those that come to an older place go to a heap beside it. Which
lanes hold anything is one integer with a bit for each priority, so the highest is found in
one step, however many there are.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator

PRIORITY: Final = 128
"""Of messages whose push names none."""

_RANK_BITS: Final = 64
_SWEEP_LEAST: Final = 64


class _Lane:
    __slots__ = ("in_order", "others")

    def __init__(self) -> None:
        self.in_order: deque[int] = deque()
        self.others: list[int] = []

    def add(self, number: int) -> None:
        in_order = self.in_order
        if not in_order or number > in_order[-1]:
            in_order.append(number)
        elif number < in_order[0]:
            in_order.appendleft(number)
        else:
            heapq.heappush(self.others, number)

    def first(self, messages: Container[int], parcels: Container[int]) -> int | None:
        """Return the lowest number of a thing that is there; None if none is."""
        in_order, others = self.in_order, self.others
        while in_order:
            number = in_order[0]
            if number in parcels or number in messages:
                break
            in_order.popleft()
        if not others:
            return in_order[0] if in_order else None
        while others and not (others[0] in parcels or others[0] in messages):
            heapq.heappop(others)
        if others and not (in_order and in_order[0] <= others[0]):
            return others[0]
        return in_order[0] if in_order else None

    def forget(self, number: int) -> None:
        """Drop a number and all before it."""
        in_order, others = self.in_order, self.others
        while in_order and in_order[0] <= number:
            in_order.popleft()
        while others and others[0] <= number:
            heapq.heappop(others)

    def walk(self, messages: Container[int], parcels: Container[int]) -> Iterator[int]:
        """Yield the numbers of things that are there, ascending.

        Complexity: O(log n) for each, and for each that has gone and was not dropped yet.
        """
        last = None
        for number in heapq.merge(self.in_order, _ascending(self.others)):
            if number != last and (number in parcels or number in messages):
                yield number
            last = number

    def sweep(self, messages: Container[int], parcels: Container[int]) -> None:
        """Drop the numbers of things that have gone."""
        kept = [number for number in self.in_order if number in parcels or number in messages]
        self.in_order = deque(kept)
        kept = [number for number in self.others if number in parcels or number in messages]
        self.others = sorted(set(kept))


def rank_of(priority: int, number: int) -> int:
    """Return the rank of a number in its lane: the lower, the sooner."""
    return ((PRIORITY - priority) << _RANK_BITS) + number


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

    __slots__ = ("_all", "_gone", "_lanes", "_mask", "_messages", "_parcels")

    def __init__(self, messages: Collection[int], parcels: Collection[int]) -> None:
        self._messages = messages
        self._parcels = parcels
        self._all = _Lane()
        self._lanes: dict[int, _Lane] = {}
        self._mask = 0  # a bit for each lane that is not known to be empty
        self._gone = 0  # things that went otherwise than from the front

    def add(self, priority: int, number: int) -> None:
        """Put the number of a thing that is there in its place."""
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = _Lane()
            self._mask |= 1 << priority
        in_order = lane.in_order
        if not in_order or number > in_order[-1]:
            in_order.append(number)
        else:
            lane.add(number)
        in_order = self._all.in_order
        if not in_order or number > in_order[-1]:
            in_order.append(number)
        else:
            self._all.add(number)
            if len(self._all.others) > 2 * self._size + _SWEEP_LEAST:
                self._sweep()

    @property
    def _size(self) -> int:
        return len(self._messages) + len(self._parcels)

    def forget(self, priority: int, number: int, *, is_oldest: bool) -> None:
        """Drop the number of a thing that has gone, which was the first of its lane.

        Args:
            priority: its lane.
            number: of the thing; those before it in its lane have gone too.
            is_oldest: whether nothing is left over all priorities that was before it.
        """
        self._lanes[priority].forget(number)
        if is_oldest:
            self._all.forget(number)

    def note_gone(self, number: int) -> None:
        """Take note of a thing that has gone otherwise than as the first of its lane.

        Complexity: a step, and now and then one for each thing that is there.
        """
        in_order = self._all.in_order
        if in_order and in_order[0] == number:  # so it is the first of its lane after all
            in_order.popleft()
            return
        self._gone += 1
        if self._gone > self._size + _SWEEP_LEAST:
            self._sweep()

    def _sweep(self) -> None:
        """Drop the numbers of all that has gone."""
        for lane in (self._all, *self._lanes.values()):
            lane.sweep(self._messages, self._parcels)
        self._gone = 0

    def oldest(self) -> int | None:
        """Return the lowest number over all priorities; None if nothing is there."""
        return self._all.first(self._messages, self._parcels)

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
            del self._lanes[priority]
            self._mask ^= 1 << priority
        return None

    def in_order(self) -> Iterator[tuple[int, int]]:
        """Yield ranks and numbers as `first` would return them, one after the other."""
        for priority in sorted(self._lanes, reverse=True):
            for number in self._lanes[priority].walk(self._messages, self._parcels):
                yield rank_of(priority, number), number

    def next_in(self, priority: int) -> int | None:
        """Return the lowest number of a lane that has held something; None if nothing is."""
        return self._lanes[priority].first(self._messages, self._parcels)
