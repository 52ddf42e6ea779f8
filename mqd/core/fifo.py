"""The ready messages of one queue, oldest first.

Theory of operation. There is no object for a message. Messages lie in the packs
that they were pushed in, and leave in them where a pull takes a pack whole; a
pack is cut only where a pull ends inside it, by a cutter that stays at the cut,
so a pack of a thousand bodies that is pulled one by one is never copied more
than once. Ids follow from position, since they are consecutive but for the gaps
that messages leave which never come by here. What only some messages have lies
beside the packs:

- headers as *runs* `(first_id, count, headers, bytes_each)`: one for all the
  messages of a push that share their headers;
- push times as *marks* `(first_id, now_ms)`, one for each tenth of a second in
  which something was pushed;
- gaps `(first_id, count)`, always at the edge of a pack.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqwire.packs import Cutter

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK_INTERVAL_MS: Final = 100
"""How exact ages are; coarser marks would save nothing worth having."""

PIECE_BYTES: Final = 5
"""What a pack costs in a reply beside its bodies: the head of a msgpack binary."""

ANY_SIZE: Final = 2**62
"""More room than any messages can need."""

HeaderRun: TypeAlias = tuple[int, int, dict[str, Any], int]
"""(offset or first id, count, headers, encoded bytes of the headers of one message)."""

Mark: TypeAlias = tuple[int, int]
"""(first id, when it and those after it were pushed)."""


@dataclass(slots=True)
class Batch:
    """Messages on their way out, ids `first_id` ... `first_id + count - 1`, as columns."""

    first_id: int
    count: int
    packs: list[bytes]
    headers: list[dict[str, Any] | None] | None


class Fifo:
    """An ordered store of messages with rising ids, starting with id 1."""

    __slots__ = (
        "_counts",
        "_cutter",
        "_gaps",
        "_header_runs",
        "_marks",
        "_packs",
        "count",
        "first_id",
        "next_id",
        "size_bytes",
    )

    def __init__(self) -> None:
        self.first_id = 1
        """Id of the oldest message, or of the next one if there is none."""
        self.next_id = 1
        """Id of the next message that is put in."""
        self.count = 0
        self.size_bytes = 0
        """Encoded bodies and headers of all messages."""
        self._packs: deque[bytes] = deque()
        self._counts: deque[int] = deque()  # bodies left in the pack of the same index
        self._cutter: Cutter | None = None  # stands in the first pack once that is begun
        self._header_runs: deque[HeaderRun] = deque()
        self._marks: deque[Mark] = deque()
        self._gaps: deque[tuple[int, int]] = deque()

    @property
    def has_gaps(self) -> bool:
        """Whether the ids do not all follow each other."""
        return bool(self._gaps)

    def append(self, pack: bytes, count: int, headers: tuple[HeaderRun, ...], now_ms: int) -> int:
        """Put `count` messages at the end.

        Args:
            pack: a checked pack of exactly `count` bodies.
            count: at least 1.
            headers: runs whose first element is an offset into this pack, ascending.
            now_ms: when.

        Returns:
            The id of the first of them.
        """
        first_id = self.next_id
        self.next_id = first_id + count
        self._packs.append(pack)
        self._counts.append(count)
        self.count += count
        self.size_bytes += len(pack)
        marks = self._marks
        if not marks or now_ms - marks[-1][1] >= MARK_INTERVAL_MS:
            marks.append((first_id, now_ms))
        for offset, run_count, values, bytes_each in headers:
            self._header_runs.append((first_id + offset, run_count, values, bytes_each))
            self.size_bytes += run_count * bytes_each
        return first_id

    def skip(self, count: int) -> int:
        """Give `count` ids to messages that are kept elsewhere; returns the first of them."""
        first_id = self.next_id
        self.next_id = first_id + count
        if not self.count:
            self.first_id = self.next_id
        elif self._gaps and sum(self._gaps[-1]) == first_id:
            start, before = self._gaps[-1]
            self._gaps[-1] = (start, before + count)
        else:
            self._gaps.append((first_id, count))
        return first_id

    def take(self, most: int, room_bytes: int, at_least: int = 1) -> Batch:
        """Remove the oldest messages and return them.

        Args:
            most: how many at most, at least 1; ids of a batch are consecutive, so it ends
                at a gap.
            room_bytes: how large packs and headers may be together.
            at_least: 1 to take the first message in any case, 0 to take none without room.
        """
        first_id = self.first_id
        headers = None
        gaps = self._gaps
        if gaps:
            most = min(most, gaps[0][0] - first_id)
        if self._header_runs:
            most, header_bytes = self._fit_headers(most, room_bytes, at_least)
            room_bytes -= header_bytes
        packs, counts = self._packs, self._counts
        taken: list[bytes] = []
        left = most
        while left and counts:
            count = counts[0]
            if count <= left and self._cutter is None and len(packs[0]) <= room_bytes - PIECE_BYTES:
                piece = packs.popleft()
                counts.popleft()
            else:
                count, piece = self._cut(left, room_bytes - PIECE_BYTES, 0 if taken else at_least)
                if not count:
                    break
            taken.append(piece)
            left -= count
            room_bytes -= len(piece) + PIECE_BYTES
            self.size_bytes -= len(piece)
        number = most - left
        if self._header_runs:
            headers = self._take_headers(first_id, number)
        self.first_id = first_id + number
        self.count -= number
        if gaps and gaps[0][0] == self.first_id:
            self.first_id += gaps.popleft()[1]
        marks = self._marks
        while marks and (not self.count or (len(marks) > 1 and marks[1][0] <= self.first_id)):
            marks.popleft()
        return Batch(first_id, number, taken, headers)

    def peek(self, skip: int, most: int, room_bytes: int) -> Batch:
        """Return what `take` would after `skip` messages were taken; nothing changes.

        Complexity: linear in the packs that are skipped.
        """
        window = Fifo()
        gaps = deque(self._gaps)
        window.first_id = first_id = self.first_id
        for index, (pack, count) in enumerate(zip(self._packs, self._counts, strict=True)):
            if window.count >= skip + most:
                break
            end = first_id + count
            after = end + gaps.popleft()[1] if gaps and gaps[0][0] == end else end
            if skip >= count and not window.count:
                skip -= count
                window.first_id = after
            else:
                is_begun = index == 0 and self._cutter is not None
                window._packs.append(self._cutter.rest if is_begun and self._cutter else pack)
                window._counts.append(count)
                window.count += count
                if after > end:
                    window._gaps.append((end, after - end))
            first_id = after
        window._header_runs = deque(self._runs_before(first_id))
        while skip:
            skip -= window.take(skip, ANY_SIZE).count if window.count else skip
        return window.take(most, room_bytes)

    def beside(self, most: int) -> tuple[tuple[HeaderRun, ...], tuple[Mark, ...]]:
        """Return what lies beside the oldest `most` messages: headers and push times.

        Some of it may be about messages before or after these. There is a message at least.
        """
        marks, end = self._marks, self.first_id + most
        runs = tuple(self._runs_before(end)) if self._header_runs else ()
        if len(marks) == 1 or marks[1][0] >= end:
            return runs, (marks[0],)
        return runs, tuple(takewhile(lambda mark: mark[0] < end, marks))

    def _runs_before(self, end: int) -> Iterator[HeaderRun]:
        """Yield the header runs that begin with a message before `end`."""
        return takewhile(lambda run: run[0] < end, self._header_runs)

    def restart(self, first_id: int) -> None:
        """Let the ids of a store that has never held a message begin with `first_id`."""
        assert not self.count
        self.first_id = self.next_id = first_id

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield the runs `(first id, count)` of ids between these that are not here."""
        yield from self._gaps

    def export(self) -> Iterator[tuple[int, int, bytes, tuple[HeaderRun, ...], int]]:
        """Yield `(first_id, count, pack, headers, now_ms)` for the `append`s that rebuild this.

        The store must not change meanwhile. Complexity: linear in packs, runs and marks.
        """
        first_id = self.first_id
        marks, runs, gaps = deque(self._marks), deque(self._header_runs), deque(self._gaps)
        for index, (pack, count) in enumerate(zip(self._packs, self._counts, strict=True)):
            while len(marks) > 1 and marks[1][0] <= first_id:
                marks.popleft()
            is_begun = index == 0 and self._cutter is not None
            bodies = self._cutter.rest if is_begun and self._cutter else pack
            end = first_id + count
            headers = []
            while runs and runs[0][0] < end:  # no run reaches over the edge of its pack
                start, number, values, bytes_each = runs.popleft()
                gone = max(first_id - start, 0)
                headers.append((start + gone - first_id, number - gone, values, bytes_each))
            yield first_id, count, bodies, tuple(headers), marks[0][1]
            first_id = end + gaps.popleft()[1] if gaps and gaps[0][0] == end else end

    def clear(self) -> int:
        """Remove every message and return how many there were; ids go on from there."""
        removed, next_id = self.count, self.next_id
        self.__init__()  # type: ignore[misc]
        self.first_id = self.next_id = next_id
        return removed

    def oldest_ms(self) -> int | None:
        """When the oldest message was put in, to `MARK_INTERVAL_MS`; None if there is none."""
        if not self.count:
            return None
        return self._marks[0][1]

    def _cut(self, most: int, room_bytes: int, at_least: int) -> tuple[int, bytes]:
        """Take from the first pack, which stays, begun, unless all that is left in it goes."""
        if self._cutter is None:
            self._cutter = Cutter(self._packs[0])
        count, piece = self._cutter.take(min(most, self._counts[0]), room_bytes, at_least)
        self._counts[0] -= count
        if not self._counts[0]:
            self._packs.popleft()
            self._counts.popleft()
            self._cutter = None
        return count, piece

    def _fit_headers(self, most: int, room_bytes: int, at_least: int) -> tuple[int, int]:
        """Tell how many messages may go so that their headers fill half the room at most.

        Returns:
            How many, `at_least` at least; and the size of their headers in bytes.
        """
        end = self.first_id + min(most, self.count)
        budget = room_bytes // 2
        for first, count, _values, bytes_each in self._header_runs:
            if first >= end:
                break
            start = max(first, self.first_id)
            inside = min(first + count, end) - start
            if inside <= 0:  # before the window of a peek
                continue
            fitting = min(inside, budget // bytes_each)
            budget -= fitting * bytes_each
            if fitting < inside:
                end = start + fitting
                break
        return max(end - self.first_id, at_least), room_bytes // 2 - budget

    def _take_headers(self, first_id: int, number: int) -> list[dict[str, Any] | None] | None:
        """Remove the headers of `number` messages; None if not one of them has any."""
        end = first_id + number
        column: list[dict[str, Any] | None] = [None] * number
        runs = self._header_runs
        is_empty = True
        while runs and runs[0][0] < end:
            first, count, values, bytes_each = runs[0]
            start, stop = max(first, first_id), min(first + count, end)
            if start < stop:
                column[start - first_id : stop - first_id] = [values] * (stop - start)
                self.size_bytes -= (stop - start) * bytes_each
                is_empty = False
            if first + count > end:
                break
            runs.popleft()
        return None if is_empty else column
