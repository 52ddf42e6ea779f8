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

Where packs lie, and which of them are put aside, is the matter of `mqd.core.places`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from mqd.core.errors import skips_too_much
from mqd.core.places import Places
from mqwire.limits import MAX_SKIPPED_ENTRIES
from mqwire.packs import iter_sizes, split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence

    from mqd.core.cold import Chunk
    from mqd.core.paging import Pager

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


class Row(NamedTuple):
    """A pack that a look shows something of."""

    first_id: int
    messages: int
    """Those that were removed are not among them."""
    pack: bytes
    end: int
    """The id after its last message."""
    after: int
    """The id of the message after it."""


class Fifo(Places):
    """An ordered store of messages with rising ids, starting with id 1.

    Args:
        pager: keeps what is in memory near a limit; None to keep all of it there.
    """

    __slots__ = ("_header_runs", "_marks")

    def __init__(self, pager: Pager | None = None) -> None:
        super().__init__(pager)
        self._header_runs: deque[HeaderRun] = deque()
        self._marks: deque[Mark] = deque()

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
        if self.cold is None:
            self._packs.append(pack)
            self._ends.append(first_id + count)
        else:
            self.cold.append(first_id, pack, count)
        self.count += count
        self.size_bytes += len(pack)
        marks = self._marks
        if not marks or now_ms - marks[-1][1] >= MARK_INTERVAL_MS:
            marks.append((first_id, now_ms))
        for offset, run_count, values, bytes_each in headers:
            self._header_runs.append((first_id + offset, run_count, values, bytes_each))
            self.size_bytes += run_count * bytes_each
            self._header_bytes += run_count * bytes_each
        if self.size_bytes > self._tell_bytes:
            self._tell_pager()
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
        if self.cold is not None:
            self.warm(most, room_bytes, at_least)
        first_id = self.first_id
        headers = None
        gaps = self._gaps
        if gaps or self._holes:
            most = min(most, self._in_a_row())
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
        rows, skip, end = self._find_packs(skip, most, room_bytes)
        if not rows:
            return Batch(end, 0, [], None)
        window = Fifo()
        window.first_id = rows[0].first_id
        for row in rows:
            window._packs.append(row.pack)
            window._ends.append(row.end)
            window.count += row.messages
            if row.after > row.end:
                window._gaps.append((row.end, row.after - row.end))
        runs = self._header_runs
        begin = bisect_right(runs, window.first_id, key=itemgetter(0))
        later = islice(runs, max(0, begin - 1), None)
        window._header_runs = deque(takewhile(lambda run: run[0] < end, later))
        if self._holes:
            window._holes = [-hole for hole in self._holes_in(window.first_id, end)[::-1]]
            window._pass_over()
        while skip:
            skip -= window.take(skip, ANY_SIZE).count if window.count else skip
        return window.take(most, room_bytes)

    def _find_packs(self, skip: int, most: int, room_bytes: int) -> tuple[list[Row], int, int]:
        """Find the packs that a look shows something of.

        Returns:
            The packs, how many messages of the first one are to be passed over, and the id
            of the message after the last one.
        """
        rows: list[Row] = []
        gaps, asked = deque(self._gaps), skip
        start, first_id, skip = self._leap(skip)
        count = size_bytes = 0  # `size_bytes` of what is left in packs behind the first one

        def passes(chunk: Chunk) -> bool:
            return not rows and skip >= chunk.count

        for index, (chunk, pack, end) in enumerate(self._places(start, passes)):
            if count >= skip + most or size_bytes >= room_bytes:
                break
            if index > MAX_SKIPPED_ENTRIES and not rows:
                raise skips_too_much(asked, MAX_SKIPPED_ENTRIES)
            holes = self._count_holes(first_id, end)
            number = end - first_id - holes if chunk is None else chunk.count
            after = end
            while gaps and gaps[0][0] <= end:
                after = max(after, sum(gaps.popleft()))
            if skip >= number and not rows:
                skip -= number
            else:
                if rows:
                    dead_bytes = self._dead_bytes([pack], [end], first_id) if holes else 0
                    size_bytes += len(pack) - dead_bytes
                rows.append(Row(first_id, number, pack, end, after))
                count += number
            first_id = after
        return rows, skip, first_id

    def find(self, message_id: int) -> tuple[bytes, dict[str, Any] | None] | None:
        """Return the body, encoded, and the headers of a message; None if it is not here.

        Complexity: O(log packs), and the sizes of the bodies in its pack.
        """
        if not self.first_id <= message_id < self.next_id or self.is_hole(message_id):
            return None
        index = bisect_right(self._ends, message_id)
        if index == len(self._ends):
            found = None if self.cold is None else self.cold.pack_of(message_id)
            if found is None:
                return None
            pack, end = found
        else:
            pack, end = self._pack_at(index), self._ends[index]
        pieces = split_pack(pack)
        place = len(pieces) - (end - message_id)
        if place < 0:  # in the gap before the pack
            return None
        runs = self._header_runs
        at = bisect_right(runs, message_id, key=itemgetter(0)) - 1
        has_some = at >= 0 and message_id < runs[at][0] + runs[at][1]
        return pieces[place], runs[at][2] if has_some else None

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

    def export(
        self, passes: Callable[[Chunk], bool] = lambda _: False
    ) -> Iterator[tuple[int, int, bytes, tuple[HeaderRun, ...], int]]:
        """Yield `(first_id, count, pack, headers, now_ms)` for the `append`s that rebuild this.

        The store must not change meanwhile. Complexity: linear in packs, runs and marks. What
        lies in pages is read a page at a time.

        Args:
            passes: tells of a chunk whether it is to be left out.

        Raises:
            BrokerError: a page cannot be had.
        """
        first_id = self.first_id
        marks, runs, gaps = deque(self._marks), deque(self._header_runs), deque(self._gaps)
        for chunk, bodies, end in self._places(0, passes):
            while len(marks) > 1 and marks[1][0] <= first_id:
                marks.popleft()
            headers = []
            while runs and runs[0][0] < end:  # no run reaches over the edge of its pack
                start, number, values, bytes_each = runs.popleft()
                gone = max(first_id - start, 0)
                headers.append((start + gone - first_id, number - gone, values, bytes_each))
            if chunk is not None:
                pass
            elif self._count_holes(first_id, end):
                for part in self._around_holes(first_id, end, bodies, headers):
                    yield (*part, marks[0][1])
            else:
                yield first_id, end - first_id, bodies, tuple(headers), marks[0][1]
            first_id = end
            while gaps and gaps[0][0] <= end:
                first_id = max(first_id, sum(gaps.popleft()))

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

        Raises:
            BrokerError: a page cannot be had, and nobody has asked by `prepare_removal`.
        """
        inside = bisect_left(ids, self._cold_from())
        if self.cold is not None and inside < len(ids):
            self.size_bytes -= self.cold.remove(ids[inside:])
            self._set_tell_bytes()
        if inside:
            self._remove_here(ids[:inside])
        self._remove_headers(ids)
        self.count -= len(ids)
        self._holes += [-message_id for message_id in reversed(ids)]
        self._holes.sort()  # two runs that are sorted already: linear
        self._pass_over()
        marks = self._marks
        while marks and (not self.count or (len(marks) > 1 and marks[1][0] <= self.first_id)):
            marks.popleft()

    def _remove_here(self, ids: Sequence[int]) -> None:
        """Account for bodies, in packs that come first, that are not wanted any more."""
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
            self._header_bytes -= (at - start) * bytes_each

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

    def clear(self) -> int:
        """Remove every message and return how many there were; ids go on from there."""
        removed, next_id = self.count, self.next_id
        if self.cold is not None:
            self.cold.free_pages()
        self.__init__(self._pager)  # type: ignore[misc]
        self.first_id = self.next_id = next_id
        return removed

    # What lies in memory, and what does not

    def oldest_ms(self) -> int | None:
        """When the oldest message was put in, to `MARK_INTERVAL_MS`; None if there is none."""
        if not self.count:
            return None
        return self._marks[0][1]

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

    def _in_a_row(self) -> int:
        """Tell how many messages there are up to the first gap or hole."""
        ends = [self._gaps[0][0]] if self._gaps else []
        if self._holes:
            ends.append(-self._holes[-1])
        return min(ends) - self.first_id

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
                self._header_bytes -= (stop - start) * bytes_each
                is_empty = False
            if first + count > end:
                break
            runs.popleft()
        return None if is_empty else column
