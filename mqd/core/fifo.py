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
- gaps `(first_id, count)`, always at the edge of a pack;
- holes: ids of messages that were removed from where they lay. Their bodies are dropped
  when those before them have left, or at once where that empties a pack.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mqd.core.errors import skips_too_much
from mqwire.limits import MAX_SKIPPED_ENTRIES
from mqwire.packs import Cutter, iter_sizes, split_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableSequence, Sequence

MARK_INTERVAL_MS: Final = 100
"""How exact ages are; coarser marks would save nothing worth having."""

PIECE_BYTES: Final = 5
"""What a pack costs in a reply beside its bodies: the head of a msgpack binary."""

_MANY: Final = 8
"""Messages to be removed for which all packs are copied, rather than looked up in a deque."""

ANY_SIZE: Final = 2**62
"""More room than any messages can need."""

HeaderRun: TypeAlias = tuple[int, int, dict[str, Any], int]
"""(offset or first id, count, headers, encoded bytes of the headers of one message)."""

Mark: TypeAlias = tuple[int, int]
"""(first id, when it and those after it were pushed)."""


def within(runs: Iterable[HeaderRun], low: int, high: int) -> tuple[HeaderRun, ...]:
    """Return what runs say of those from `low` on, before `high`, counted from `low`."""
    cuts = ((max(run[0], low), min(run[0] + run[1], high), *run[2:]) for run in runs)
    return tuple((begin - low, stop - begin, *rest) for begin, stop, *rest in cuts if begin < stop)  # type: ignore[misc]  # of the rest of a run


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
        "_cutter",
        "_ends",
        "_gaps",
        "_header_runs",
        "_holes",
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
        self._ends: deque[int] = deque()  # the id after the last in the pack of the same index
        self._cutter: Cutter | None = None  # stands in the first pack once that is begun
        self._header_runs: deque[HeaderRun] = deque()
        self._marks: deque[Mark] = deque()
        self._gaps: deque[tuple[int, int]] = deque()
        self._holes: list[int] = []  # negative ids, ascending: the next one is the last

    @property
    def has_gaps(self) -> bool:
        """Whether the ids do not all follow each other."""
        return bool(self._gaps or self._holes)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing beside the messages: no headers, no gaps between ids."""
        return not (self._header_runs or self._gaps or self._holes)

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
        self._ends.append(first_id + count)
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
        if self._holes:
            most = min(most, -self._holes[-1] - first_id)
        if self._header_runs:
            most, header_bytes = self._fit_headers(most, room_bytes, at_least)
            room_bytes -= header_bytes
        packs, ends = self._packs, self._ends
        taken: list[bytes] = []
        left, last = most, first_id + most
        while left and ends:
            count = ends[0] - last + left
            if count <= left and self._cutter is None and len(packs[0]) <= room_bytes - PIECE_BYTES:
                piece = packs.popleft()
                ends.popleft()
            else:
                at_least = 0 if taken else at_least
                count, piece = self._cut(last - left, left, room_bytes - PIECE_BYTES, at_least)
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
        if gaps or self._holes:
            self._pass_over()
        marks = self._marks
        while marks and (not self.count or (len(marks) > 1 and marks[1][0] <= self.first_id)):
            marks.popleft()
        return Batch(first_id, number, taken, headers)

    def peek(self, skip: int, most: int, room_bytes: int) -> Batch:
        """Return what `take` would after `skip` messages were taken; nothing changes.

        Complexity: O(log packs) and a copy of what is skipped where the ids all follow each
        other, linear in the packs that are skipped where they do not.

        Raises:
            BrokerError: OUT_OF_RANGE: these are more than `MAX_SKIPPED_ENTRIES`.
        """
        window = Fifo()
        gaps = deque(self._gaps)
        asked = skip
        start, first_id, skip = self._leap(skip)
        pairs = zip(islice(self._packs, start, None), islice(self._ends, start, None), strict=True)
        for index, (pack, end) in enumerate(pairs, start):
            if window.count >= skip + most:
                break
            if index - start > MAX_SKIPPED_ENTRIES and not window.count:
                raise skips_too_much(asked, MAX_SKIPPED_ENTRIES)
            count = end - first_id - self._count_holes(first_id, end)
            after = end + gaps.popleft()[1] if gaps and gaps[0][0] == end else end
            if skip >= count and not window.count:
                skip -= count
            else:
                if not window.count:
                    window.first_id = first_id
                is_begun = index == 0 and self._cutter is not None
                window._packs.append(self._cutter.rest if is_begun and self._cutter else pack)
                window._ends.append(end)
                window.count += count
                if after > end:
                    window._gaps.append((end, after - end))
            first_id = after
        if not window.count:
            return Batch(first_id, 0, [], None)
        runs = self._header_runs
        begin = bisect_right(runs, window.first_id, key=itemgetter(0))
        later = islice(runs, max(0, begin - 1), None)
        window._header_runs = deque(takewhile(lambda run: run[0] < first_id, later))
        if self._holes:
            window._holes = [-hole for hole in self._holes_in(window.first_id, first_id)[::-1]]
            window._pass_over()
        while skip:
            skip -= window.take(skip, ANY_SIZE).count if window.count else skip
        return window.take(most, room_bytes)

    def find(self, message_id: int) -> tuple[bytes, dict[str, Any] | None] | None:
        """Return the body, encoded, and the headers of a message; None if it is not here.

        Complexity: O(log packs), and the sizes of the bodies in its pack.
        """
        if not self.first_id <= message_id < self.next_id or self.is_hole(message_id):
            return None
        index = bisect_right(self._ends, message_id)
        if index == len(self._ends):
            return None
        is_begun = index == 0 and self._cutter is not None
        pieces = split_pack(self._cutter.rest if is_begun and self._cutter else self._packs[index])
        place = len(pieces) - (self._ends[index] - message_id)
        if place < 0:  # in the gap before the pack
            return None
        runs = self._header_runs
        at = bisect_right(runs, message_id, key=itemgetter(0)) - 1
        has_some = at >= 0 and message_id < runs[at][0] + runs[at][1]
        return pieces[place], runs[at][2] if has_some else None

    def _leap(self, skip: int) -> tuple[int, int, int]:
        """Pass over whole packs where the ids all follow each other.

        Returns:
            The index of the first pack that was not, its first id, and how many messages
            from there on are still to be passed over.
        """
        index = 0 if self.has_gaps else bisect_right(self._ends, self.first_id + skip)
        first_id = self._ends[index - 1] if index else self.first_id
        return index, first_id, skip - (first_id - self.first_id) if index else skip

    def beside(self, most: int) -> tuple[tuple[HeaderRun, ...], tuple[Mark, ...]]:
        """Return what lies beside the oldest `most` messages: headers and push times.

        Some of it may be about messages before or after these. There is a message at least.
        """
        marks, end = self._marks, self.first_id + most
        runs: tuple[HeaderRun, ...] = ()
        if self._header_runs:
            runs = tuple(takewhile(lambda run: run[0] < end, self._header_runs))
        if len(marks) == 1 or marks[1][0] >= end:
            return runs, (marks[0],)
        return runs, tuple(takewhile(lambda mark: mark[0] < end, marks))

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
        for index, (pack, end) in enumerate(zip(self._packs, self._ends, strict=True)):
            while len(marks) > 1 and marks[1][0] <= first_id:
                marks.popleft()
            is_begun = index == 0 and self._cutter is not None
            bodies = self._cutter.rest if is_begun and self._cutter else pack
            headers = []
            while runs and runs[0][0] < end:  # no run reaches over the edge of its pack
                start, number, values, bytes_each = runs.popleft()
                gone = max(first_id - start, 0)
                headers.append((start + gone - first_id, number - gone, values, bytes_each))
            if self._count_holes(first_id, end):
                for part in self._around_holes(first_id, end, bodies, headers):
                    yield (*part, marks[0][1])
            else:
                yield first_id, end - first_id, bodies, tuple(headers), marks[0][1]
            first_id = end + gaps.popleft()[1] if gaps and gaps[0][0] == end else end

    def _around_holes(
        self, first_id: int, end: int, bodies: bytes, headers: list[HeaderRun]
    ) -> Iterator[tuple[int, int, bytes, tuple[HeaderRun, ...]]]:
        """Yield what is left of a pack as `export` does, between its holes."""
        holes = self._holes_in(first_id, end)
        if len(holes) == end - first_id:
            return
        pieces = split_pack(bodies)
        start = first_id
        for hole in (*holes, end):
            if start < hole:
                low, high = start - first_id, hole - first_id
                yield start, hole - start, b"".join(pieces[low:high]), within(headers, low, high)
            start = hole + 1

    def remove(self, ids: Sequence[int]) -> None:
        """Remove messages wherever they lie.

        Args:
            ids: of messages that are here, ascending, at least one.

        Complexity: O(log packs) for each message where these are few, a copy of all packs
        where they are many; and the sizes of the bodies in each pack that is touched.
        """
        packs: MutableSequence[bytes] = self._packs
        ends: Sequence[int] = self._ends
        is_copied = len(ids) > _MANY
        if is_copied:
            packs, ends = list(packs), list(ends)
        at = 0
        while at < len(ids):
            index = bisect_right(ends, ids[at])
            stop = at + 1
            while stop < len(ids) and ids[stop] < ends[index]:
                stop += 1
            self._remove_from(packs, ends, index, ids[at:stop])
            at = stop
        if is_copied:
            self._packs = deque(packs)
        self._remove_headers(ids)
        self.count -= len(ids)
        self._holes += [-message_id for message_id in reversed(ids)]
        self._holes.sort()  # two runs that are sorted already: linear
        self._pass_over()
        marks = self._marks
        while marks and (not self.count or (len(marks) > 1 and marks[1][0] <= self.first_id)):
            marks.popleft()

    def _remove_from(
        self, packs: MutableSequence[bytes], ends: Sequence[int], index: int, ids: Sequence[int]
    ) -> None:
        """Account for bodies of one pack that are not wanted any more; an empty one goes."""
        end, pack = ends[index], packs[index]
        if index == 0 and self._cutter is not None:
            pack = self._cutter.rest
        if end - (ends[index - 1] if index else self.first_id) == 1:
            self.size_bytes -= len(pack)
        else:
            sizes = list(iter_sizes(pack))
            first_id = end - len(sizes)
            self.size_bytes -= sum(sizes[message_id - first_id] for message_id in ids)
            if len(ids) + self._count_holes(first_id, end) < len(sizes):
                return
        if index:
            packs[index] = b""

    def _remove_headers(self, ids: Sequence[int]) -> None:
        """Account for the headers of messages that are not wanted any more."""
        at = 0
        for first, count, _, bytes_each in self._header_runs:
            while at < len(ids) and ids[at] < first:
                at += 1
            start = at
            while at < len(ids) and ids[at] < first + count:
                at += 1
            self.size_bytes -= (at - start) * bytes_each

    def _pass_over(self) -> None:
        """Go on to the first message that is there, over gaps and holes before it."""
        holes, gaps = self._holes, self._gaps
        while True:
            if gaps and gaps[0][0] == self.first_id:
                self.first_id += gaps.popleft()[1]
            elif holes and -holes[-1] == self.first_id:
                self._drop_holes()
            else:
                break
        runs = self._header_runs
        while runs and runs[0][0] + runs[0][1] <= self.first_id:
            runs.popleft()

    def _drop_holes(self) -> None:
        """Go on over the holes that begin with the first id and follow each other."""
        holes, ends, first_id = self._holes, self._ends, self.first_id
        count, beyond = 1, 2  # so many do; so many may not
        while beyond <= len(holes) and holes[-beyond] == 1 - first_id - beyond:
            count, beyond = beyond, 2 * beyond
        beyond = min(beyond, len(holes) + 1)
        while beyond - count > 1:
            middle = (count + beyond) // 2
            if holes[-middle] == 1 - first_id - middle:
                count = middle
            else:
                beyond = middle
        del holes[-count:]
        start, self.first_id = first_id, first_id + count
        while ends and ends[0] <= self.first_id:
            start = ends[0]
            self._drop_pack()
        if start < self.first_id:
            self._cut(start, self.first_id - start, ANY_SIZE, self.first_id - start)

    def is_hole(self, message_id: int) -> bool:
        """Tell whether a message was removed from its place between others."""
        return self._count_holes(message_id, message_id + 1) > 0

    def holes_before(self, message_id: int) -> int:
        """Tell how many holes there are before a message."""
        return len(self._holes) - bisect_right(self._holes, -message_id)

    def _count_holes(self, first_id: int, end: int) -> int:
        """Tell how many holes there are from `first_id` on, before `end`."""
        if not self._holes:
            return 0
        return bisect_right(self._holes, -first_id) - bisect_right(self._holes, -end)

    def _holes_in(self, first_id: int, end: int) -> list[int]:
        """Return the holes from `first_id` on, before `end`, ascending."""
        holes = self._holes
        inside = holes[bisect_right(holes, -end) : bisect_right(holes, -first_id)]
        return [-hole for hole in reversed(inside)]

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

    def _cut(self, first_id: int, most: int, room_bytes: int, at_least: int) -> tuple[int, bytes]:
        """Take from the first pack, which stays, begun, unless all that is left in it goes.

        Args:
            first_id: of what is left in it.
            most: how many at most, as the others in `Cutter.take`.
            room_bytes: how large they may be together.
            at_least: how many are taken even where there is no room for them.
        """
        if self._cutter is None:
            self._cutter = Cutter(self._packs[0])
        present = self._ends[0] - first_id
        count, piece = self._cutter.take(min(most, present), room_bytes, at_least)
        if count == present:
            self._drop_pack()
        return count, piece

    def _drop_pack(self) -> None:
        self._packs.popleft()
        self._ends.popleft()
        self._cutter = None

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
