"""A table by numbers, of which no step takes long however many entries there are.

A dictionary that has grown full is copied to one twice as large: at a million entries that
stops the server for tens of milliseconds, and a lease stands in three of them. Here the
numbers are divided: 4,096 that follow each other share a shelf, which is a dictionary, and
only shelves are ever copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")
Default = TypeVar("Default")

_BITS: Final = 12


class Shelves(Generic[Value]):
    """A mapping from numbers, as `dict` is one.

    It is iterated shelf by shelf, and in each in the order in which its entries came: numbers
    that come in ascending order are seen so. Adding, finding and removing takes O(1), and O(4096)
    at worst.
    """

    __slots__ = ("_shelves",)

    def __init__(self) -> None:
        self._shelves: dict[int, dict[int, Value]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    def __bool__(self) -> bool:
        return bool(self._shelves)

    def __contains__(self, number: object) -> bool:
        return type(number) is int and number in self._shelves.get(number >> _BITS, ())

    def __getitem__(self, number: int) -> Value:
        try:
            return self._shelves[number >> _BITS][number]
        except KeyError:
            raise KeyError(number) from None

    def __setitem__(self, number: int, value: Value) -> None:
        shelf = self._shelves.get(number >> _BITS)
        if shelf is None:
            self._shelves[number >> _BITS] = {number: value}
        else:
            shelf[number] = value

    def __delitem__(self, number: int) -> None:
        shelves, place = self._shelves, number >> _BITS
        try:
            shelf = shelves[place]
            del shelf[number]
        except KeyError:
            raise KeyError(number) from None
        if not shelf:
            del shelves[place]

    def __iter__(self) -> Iterator[int]:
        for shelf in self._shelves.values():
            yield from shelf

    def __reversed__(self) -> Iterator[int]:
        for shelf in reversed(self._shelves.values()):
            yield from reversed(shelf)

    @overload
    def get(self, number: int) -> Value | None: ...
    @overload
    def get(self, number: int, default: Default) -> Value | Default: ...
    def get(self, number: int, default: Default | None = None) -> Value | Default | None:
        """Return the value of a number; `default` if there is none."""
        shelf = self._shelves.get(number >> _BITS)
        return default if shelf is None else shelf.get(number, default)

    def pop(self, number: int) -> Value:
        """Remove a number and return its value.

        Raises:
            KeyError: it is not there.
        """
        value = self[number]
        del self[number]
        return value

    def discard(self, number: int) -> None:
        """Remove a number, if it is there."""
        place = number >> _BITS
        shelf = self._shelves.get(place)
        if shelf is not None and number in shelf:
            del shelf[number]
            if not shelf:
                del self._shelves[place]

    def last_before(self, number: int, most: int) -> Value | None:
        """Return the value of the highest number below one, and at most `most` below it."""
        low = number - most
        while number > low:
            place = (number - 1) >> _BITS
            start = max(low, place << _BITS)
            shelf = self._shelves.get(place)
            if shelf is not None:
                for each in range(number - 1, start - 1, -1):
                    if each in shelf:
                        return shelf[each]
            number = start
        return None

    def values(self) -> Iterator[Value]:
        """Yield all values, in the order of iteration."""
        for shelf in self._shelves.values():
            yield from shelf.values()

    def items(self) -> Iterator[tuple[int, Value]]:
        """Yield all numbers with their values, in the order of iteration."""
        for shelf in self._shelves.values():
            yield from shelf.items()
