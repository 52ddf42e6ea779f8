"""Where the packs of a queue's ready messages lie: behind each other, and some aside. Pure.

Packs lie in a row, the first one perhaps begun; between them are gaps, ids of messages that
were never here, and in them holes, ids of messages that were removed. See `mqd.core.fifo`,
of which this is the lower half.

Where a `Pager` keeps memory near a limit, the packs behind the first ones may be `cold`: in
chunks, of which some lie in pages, see `mqd.core.cold`. What goes first is what was pushed
last; it comes back a chunk at a time when those before it have been taken, and the next
chunks are announced to be read soon. Only bringing back and looking read pages. Whoever
must not fail in the middle asks for it before: with `warm` for what it will take, and with
`prepare_removal` for what it will remove: where that is much, after some calls of `look_up`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from mqd.core.cold import Chunk, Cold
from mqwire.packs import Cutter, iter_sizes, split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mqd.core.cold import Contents, Known
    from mqd.core.paging import Pager

_NEVER_BYTES: Final = 2**62
"""A size that nothing has."""


class Places:
    """The packs of a `Fifo`, and what is missing between and in them.

    Args:
        pager: keeps what is in memory near a limit; None to keep all of it there.
    """

    __slots__ = (
        "_counted_bytes",
        "_cutter",
        "_ends",
        "_gaps",
        "_header_bytes",
        "_holes",
        "_packs",
        "_pager",
        "_tell_bytes",
        "cold",
        "count",
        "first_id",
        "next_id",
        "size_bytes",
    )

    def __init__(self, pager: Pager | None = None) -> None:
        self.first_id = 1
        """Id of the oldest message, or of the next one if there is none."""
        self.next_id = 1
        """Id of the next message that is put in."""
        self.count = 0
        self.size_bytes = 0
        """Encoded bodies and headers of all messages."""
        self._header_bytes = 0  # the headers among that
        self.cold: Cold | None = None
        """The packs behind the first ones, where some were put aside; it holds one at least."""
        self._packs: deque[bytes] = deque()
        self._ends: deque[int] = deque()  # the id after the last in the pack of the same index
        self._cutter: Cutter | None = None  # stands in the first pack once that is begun
        self._gaps: deque[tuple[int, int]] = deque()
        self._holes: list[int] = []  # negative ids, ascending: the next one is the last
        self._pager = pager
        self._counted_bytes = 0  # what the pager knows of
        self._tell_bytes = _NEVER_BYTES if pager is None else pager.sizes.step_bytes

    @property
    def has_gaps(self) -> bool:
        """Whether the ids do not all follow each other."""
        return bool(self._gaps or self._holes)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Yield the runs `(first id, count)` of ids between these that are not here."""
        yield from self._gaps

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
        if self.cold is not None and not ends:
            self.cold.drop_before(self.first_id)
            self._set_tell_bytes()
            if not self.cold.chunks:
                self.cold = None
        elif start < self.first_id:
            self._cut(start, self.first_id - start, 0, self.first_id - start)

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

    def _pack_at(self, index: int) -> bytes:
        """Return what is left of one of the packs that come first."""
        if index == 0 and self._cutter is not None:
            return self._cutter.rest
        return self._packs[index]

    def _places(
        self, start: int, passes: Callable[[Chunk], bool]
    ) -> Iterator[tuple[Chunk | None, bytes, int]]:
        """Yield each pack, or what is left of it, and the id after its last message.

        Args:
            start: so many are passed over, packs that come first and then whole chunks.
            passes: tells of a chunk whether it may be passed over without being looked into;
                then it is yielded itself.
        """
        pairs = zip(islice(self._packs, start, None), islice(self._ends, start, None), strict=True)
        for index, (pack, end) in enumerate(pairs, start):
            yield None, pack if index else self._pack_at(0), end
        if self.cold is None:
            return
        for chunk in islice(self.cold.chunks, max(0, start - len(self._packs)), None):
            if passes(chunk):
                yield chunk, b"", chunk.end
                continue
            packs, ends = self._begun(chunk, chunk.read())
            for pack, end in zip(packs, ends, strict=True):
                yield None, pack, end

    def _begun(self, chunk: Chunk, contents: Contents) -> Contents:
        """Return the contents of a chunk without what is gone from the front of its packs."""
        packs, ends = contents
        if chunk.start >= self.first_id:
            return packs, ends
        index = bisect_right(ends, self.first_id)
        packs, ends = packs[index:], ends[index:]
        packs[0] = b"".join(split_pack(packs[0])[self.first_id - ends[0] :])
        return packs, ends

    def _leap(self, skip: int) -> tuple[int, int, int]:
        """Pass over whole packs where the ids all follow each other.

        Returns:
            The index of the first pack that was not, its first id, and how many messages
            from there on are still to be passed over.
        """
        if self.has_gaps:
            return 0, self.first_id, skip
        first_id = self.first_id
        index = inside = bisect_right(self._ends, first_id + skip)
        if index:
            first_id = self._ends[index - 1]
        if self.cold is not None and inside == len(self._ends):
            chunks = self.cold.leap(self.first_id + skip)
            if chunks:
                first_id = self.cold.chunks[chunks - 1].end
            index += chunks
        return index, first_id, skip - (first_id - self.first_id)

    def _cold_from(self) -> int:
        """Tell which id is the first that may be that of a message in a chunk."""
        return self._ends[-1] if self._ends else self.first_id

    def look_up(self, ids: Sequence[int], known: Known) -> bool:
        """Find a slice of what there is to know for a removal out; see `Cold.look_up`."""
        if self.cold is None:
            return True
        assert self._pager is not None
        inside = bisect_left(ids, self._cold_from())
        return self.cold.look_up(ids[inside:], known, self._pager.sizes.slice_bytes)

    def prepare_removal(self, ids: Sequence[int]) -> None:
        """See that removing messages cannot fail. BrokerError: a page cannot be had.

        What was looked up just before is not read again.
        """
        if self.cold is not None:
            inside = bisect_left(ids, self._cold_from())
            self.cold.look_up(ids[inside:], self.cold.known, _NEVER_BYTES)

    # What lies in memory, and what does not

    @property
    def resident_bytes(self) -> int:
        """Bodies and headers that lie in memory."""
        return self.size_bytes if self.cold is None else self.size_bytes - self.cold.paged_bytes

    def recount(self) -> int:
        """Begin anew to count growth, and return `resident_bytes`."""
        self._counted_bytes = self.resident_bytes
        self._set_tell_bytes()
        return self._counted_bytes

    def _tell_pager(self) -> None:
        assert self._pager is not None
        before_bytes = self._counted_bytes
        self._pager.grew(self.recount() - before_bytes)

    def _set_tell_bytes(self) -> None:
        """Set the size past which the pager is to be told of growth."""
        if self._pager is not None:
            paged_bytes = 0 if self.cold is None else self.cold.paged_bytes
            self._tell_bytes = self._counted_bytes + paged_bytes + self._pager.sizes.step_bytes

    def page_out(self, most_bytes: int) -> int:
        """Put about so much aside, in whole pages, what comes last first.

        Returns:
            How much it was: less where there is nothing more that can go, or no place for it.
        """
        freed_bytes = 0
        if self._pager is None:
            return 0
        while freed_bytes < most_bytes:
            if (self.cold is None or not self.cold.has_whole) and not self._chill():
                break
            assert self.cold is not None
            size_bytes = self.cold.page_out()
            if not size_bytes:
                break
            freed_bytes += size_bytes
        self._counted_bytes -= freed_bytes
        self._set_tell_bytes()
        return freed_bytes

    def _chill(self) -> bool:
        """Make a chunk of the last of the packs that come first; False if they are too few."""
        assert self._pager is not None
        page_bytes = self._pager.sizes.page_bytes
        size_bytes = number = 0
        for pack in islice(reversed(self._packs), max(0, len(self._packs) - 1)):
            size_bytes += len(pack)
            number += 1
            if size_bytes >= page_bytes:
                break
        if size_bytes < page_bytes:
            return False
        packs = [self._packs.pop() for _ in range(number)][::-1]
        ends = [self._ends.pop() for _ in range(number)][::-1]
        start = self._ends[-1]
        gaps = self._gaps
        inside = range(bisect_left(gaps, (start,)), bisect_left(gaps, (ends[-1],)))
        count = ends[-1] - start - self._count_holes(start, ends[-1])
        count -= sum(gaps[index][1] for index in inside)
        if self.cold is None:
            self.cold = Cold(self._pager)
        size_bytes -= self._dead_bytes(packs, ends, start)
        self.cold.put_before(Chunk(start, (packs, ends), count, size_bytes))
        return True

    def _dead_bytes(self, packs: list[bytes], ends: list[int], start: int) -> int:
        """Tell how much of packs is bodies of messages that were removed."""
        dead_bytes = 0
        for pack, end in zip(packs, ends, strict=True):
            holes = self._holes_in(start, end) if self._holes else []
            if holes and pack:
                sizes = list(iter_sizes(pack))
                dead_bytes += sum(sizes[hole - end] for hole in holes)
            start = end
        return dead_bytes

    def let_go(self) -> None:
        """Free all pages: of what was put aside nothing will be asked for but where it lay."""
        self._pager = None
        self._tell_bytes = _NEVER_BYTES
        if self.cold is not None:
            self.cold.free_pages()

    def warm(self, most: int, room_bytes: int, at_least: int = 1) -> None:
        """Bring into memory what a `take` of as much needs; nothing looks different for it.

        What is enough for that is enough for takes that come to the same together.

        Raises:
            BrokerError: a page cannot be had. What has come before it is there.
        """
        cold = self.cold
        if cold is None or self.count - cold.count >= most:
            return
        if self._packs or not at_least:
            here_bytes = self._here_bytes()
            if here_bytes >= room_bytes:
                return
        assert self._pager is not None
        self._pager.make_room()
        here_bytes = self._here_bytes()
        while cold.chunks and self.count - cold.count < most:
            here_bytes += self._bring_back(cold)
            if here_bytes >= room_bytes:
                break
        if not cold.chunks:
            self.cold = None

    def _here_bytes(self) -> int:
        """Tell how large the bodies are that come first: those that are in no chunk."""
        cold_bytes = 0 if self.cold is None else self.cold.size_bytes
        return self.size_bytes - self._header_bytes - cold_bytes

    def _bring_back(self, cold: Cold) -> int:
        """Let the first chunk be among the packs that come first.

        Returns:
            How large the messages are that are left in it.
        """
        assert self._pager is not None
        before_bytes = cold.paged_bytes
        chunk, contents = cold.pop()
        packs, ends = self._begun(chunk, contents)
        self._packs.extend(packs)
        self._ends.extend(ends)
        came_bytes = before_bytes - cold.paged_bytes
        self._counted_bytes += came_bytes
        self._pager.came_back(came_bytes)
        return chunk.size_bytes
