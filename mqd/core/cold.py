"""The part of a queue's packs that nobody will ask for soon, in chunks. Pure.

Once something of a queue was put aside, its packs lie in three places: those that come
next in its `Fifo`; behind them *chunks*, each some packs in a row, in memory or in a page;
and the last chunk is open and takes what is pushed. Chunks come back to the `Fifo` whole,
as the packs that went into them, so that nothing looks different for having been away. When
the last has come back, there is no `Cold` any more.

A page holds, in the machine's own order of bytes: how many packs, the size of each, the id
after the last message of each, and the packs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import islice
from operator import attrgetter
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from mqwire.packs import iter_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mqd.core.paging import Page, Pager

EXPECTED_CHUNKS: Final = 8
"""How many chunks are announced to be read soon: a MiB, where they are small packs."""

_COUNT: Final = Struct("=I")

Contents: TypeAlias = "tuple[list[bytes], list[int]]"
"""Packs, and the id after the last message of each."""


class Chunk:
    """Some packs in a row: those with the messages from `start` on, before `end`.

    Args:
        start: the id after the last message of the pack before.
        contents: some packs, or none yet.
        count: messages, those that were removed not among them.
        size_bytes: their bodies.
    """

    __slots__ = ("contents", "count", "end", "page", "size_bytes", "start")

    def __init__(self, start: int, contents: Contents, count: int = 0, size_bytes: int = 0) -> None:
        self.start = start
        self.end = contents[1][-1] if contents[1] else start
        self.count = count
        self.size_bytes = size_bytes
        self.contents: Contents | None = contents
        """None while it lies in a page."""
        self.page: Page | None = None

    def read(self) -> Contents:
        """Return what is in it, wherever that lies. BrokerError: it cannot be had."""
        if self.contents is not None:
            return self.contents
        assert self.page is not None
        return _decoded(self.page.read())

    def drop_page(self) -> None:
        """Free its page, if it has one."""
        page, self.page = self.page, None
        if page is not None:
            page.free()


class Known:
    """What was found out in pages about messages that are to be removed.

    It stays true for as long as the queue is there.
    """

    __slots__ = ("ends", "sizes")

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        """Of messages, by id."""
        self.ends: dict[Chunk, list[int]] = {}
        """Of chunks of which nothing will be left."""

    def tells_of(self, chunk: Chunk, ids: Sequence[int]) -> bool:
        """Tell whether these messages can be removed from a chunk without reading its page."""
        is_last = len(ids) == chunk.count
        return all(map(self.sizes.__contains__, ids)) and (not is_last or chunk in self.ends)


class Cold:
    """The chunks of a queue, those that come first on the left.

    Args:
        pager: where pages go.
    """

    __slots__ = (
        "_open",
        "_open_bytes",
        "_pager",
        "_resident",
        "chunks",
        "count",
        "known",
        "paged_bytes",
        "size_bytes",
    )

    def __init__(self, pager: Pager) -> None:
        self.chunks: deque[Chunk] = deque()
        self.count = 0
        """Messages in them."""
        self.size_bytes = 0
        """Their bodies."""
        self.paged_bytes = 0
        """Bodies that lie in pages."""
        self._pager = pager
        self._open: Chunk | None = None  # the last one, where packs still come to it
        self._open_bytes = 0  # what has come to it, whatever was removed since
        self._resident: deque[Chunk] = deque()  # those that are whole and lie in memory, in order
        self.known = Known()
        """Of what is about to be removed."""

    def append(self, first_id: int, pack: bytes, count: int) -> None:
        """Take a pack in behind all others."""
        chunk = self._open
        if chunk is None:
            chunk = self._open = Chunk(first_id, ([], []))
            self._open_bytes = 0
            self.chunks.append(chunk)
        assert chunk.contents is not None
        packs, ends = chunk.contents
        chunk.end = first_id + count
        packs.append(pack)
        ends.append(chunk.end)
        chunk.count += count
        chunk.size_bytes += len(pack)
        self.count += count
        self.size_bytes += len(pack)
        self._open_bytes += len(pack)
        if self._open_bytes >= self._pager.sizes.page_bytes:
            self._open = None
            self._resident.append(chunk)

    @property
    def has_whole(self) -> bool:
        """Whether there is a chunk in memory that may be put aside."""
        return bool(self._resident)

    def put_before(self, chunk: Chunk) -> None:
        """Take in a chunk that comes before all others."""
        self.chunks.appendleft(chunk)
        self._resident.appendleft(chunk)
        self.count += chunk.count
        self.size_bytes += chunk.size_bytes

    def page_out(self) -> int:
        """Put the last chunk aside that is whole; returns its size, 0 where none can go."""
        if not self._resident:
            return 0
        chunk = self._resident[-1]
        assert chunk.contents is not None
        page = self._pager.put(_encoded(*chunk.contents))
        if page is None:
            return 0
        self._resident.pop()
        chunk.page, chunk.contents = page, None
        self.paged_bytes += chunk.size_bytes
        return chunk.size_bytes

    def pop(self) -> tuple[Chunk, Contents]:
        """Give the first chunk up and return it, with what is in it.

        Raises:
            BrokerError: it cannot be had; nothing has changed.
        """
        chunk = self.chunks[0]
        contents = chunk.read()
        self._forget_first()
        for later in islice(self.chunks, EXPECTED_CHUNKS):
            if later.page is not None:
                later.page.expect()
        return chunk, contents

    def drop_before(self, message_id: int) -> None:
        """Drop the chunks of which nothing is left before a message."""
        while self.chunks and self.chunks[0].end <= message_id:
            self._forget_first()

    def free_pages(self) -> None:
        """Free all pages: nothing of the chunks will be asked for any more."""
        pages = [chunk.page for chunk in self.chunks if chunk.page is not None]
        for chunk in self.chunks:
            chunk.page = None
        self._pager.free_all(pages)

    def _forget_first(self) -> None:
        chunk = self.chunks.popleft()
        self.count -= chunk.count
        self.size_bytes -= chunk.size_bytes
        if chunk.page is not None:
            self.paged_bytes -= chunk.size_bytes
            chunk.drop_page()
        if self._resident and self._resident[0] is chunk:
            self._resident.popleft()
        if self._open is chunk:
            self._open = None

    def leap(self, message_id: int) -> int:
        """Tell how many chunks end before a message."""
        return bisect_right(self.chunks, message_id, key=attrgetter("end"))

    def pack_of(self, message_id: int) -> tuple[bytes, int] | None:
        """Return the pack that a message lies in, and the id after its last one."""
        place = self.leap(message_id)
        if place == len(self.chunks):
            return None
        packs, ends = self.chunks[place].read()
        index = bisect_right(ends, message_id)
        return packs[index], ends[index]

    def look_up(self, ids: Iterable[int], known: Known, most_bytes: int) -> bool:
        """Find out what `remove` needs to know of messages that lie in pages.

        Args:
            ids: ascending.
            known: takes what is found.
            most_bytes: once so much was read, other pages are announced alone.

        Returns:
            Whether all is known now.

        Raises:
            BrokerError: a page cannot be had.
        """
        self.known = known
        read_bytes = announced = 0
        for chunk, found in self._by_chunk(ids):
            if chunk.page is None or known.tells_of(chunk, found):
                continue
            if read_bytes >= most_bytes:
                chunk.page.expect()
                announced += 1
                if announced == EXPECTED_CHUNKS:
                    break
                continue
            packs, ends = chunk.read()
            read_bytes += sum(map(len, packs))
            known.sizes.update(zip(found, _sizes(packs, ends, found), strict=True))
            if len(found) == chunk.count:
                known.ends[chunk] = ends
        return not announced

    def remove(self, ids: Iterable[int]) -> int:
        """Account for messages that are not wanted any more; returns their size.

        Their bodies stay where they are until those before them have left, but for packs in
        memory that go whole, and for chunks of which nothing is left.
        """
        removed_bytes = 0
        known = self.known
        for chunk, found in self._by_chunk(ids):
            is_last = len(found) == chunk.count
            if chunk.page is None or not known.tells_of(chunk, found):
                packs, ends = chunk.read()
                size_bytes = sum(_sizes(packs, ends, found))
                if chunk.page is None:
                    _drop_whole(packs, ends, found)
            else:
                size_bytes = sum(map(known.sizes.__getitem__, found))
                ends = known.ends[chunk] if is_last else []
            removed_bytes += size_bytes
            chunk.count -= len(found)
            self.count -= len(found)
            if chunk.page is not None:
                self.paged_bytes -= size_bytes
            chunk.size_bytes -= size_bytes
            if is_last:
                self._empty(chunk, ends)
        self.known = Known()
        self.size_bytes -= removed_bytes
        return removed_bytes

    def _empty(self, chunk: Chunk, ends: list[int]) -> None:
        """Let go of the bodies of a chunk of which nothing is left; its place stays."""
        if chunk.page is None and chunk is not self._open:
            self._resident.remove(chunk)
        chunk.drop_page()
        chunk.contents = ([b""] * len(ends), ends)

    def _by_chunk(self, ids: Iterable[int]) -> Iterator[tuple[Chunk, list[int]]]:
        """Yield chunks with those of the ids, ascending, that lie in them."""
        found: list[int] = []
        chunk: Chunk | None = None
        for message_id in ids:
            if chunk is None or message_id >= chunk.end:
                if chunk is not None:
                    yield chunk, found
                chunk, found = self.chunks[self.leap(message_id)], []
            found.append(message_id)
        if chunk is not None:
            yield chunk, found


def _sizes(packs: list[bytes], ends: list[int], ids: Sequence[int]) -> Iterator[int]:
    """Yield the sizes of messages, ids ascending, that lie in these packs."""
    index = -1
    sizes: list[int] = []
    for message_id in ids:
        if index < 0 or message_id >= ends[index]:
            index = bisect_right(ends, message_id)
            sizes = list(iter_sizes(packs[index]))
        yield sizes[message_id - ends[index]]  # from behind: what the pack begins with is not known


def _drop_whole(packs: list[bytes], ends: list[int], ids: Sequence[int]) -> None:
    """Drop the bodies of packs of which all messages are among these ids, ascending."""
    at = 0
    while at < len(ids):
        index = bisect_right(ends, ids[at])
        stop = bisect_left(ids, ends[index], at)
        if stop - at == sum(1 for _ in iter_sizes(packs[index])):
            packs[index] = b""
        at = stop


def _encoded(packs: list[bytes], ends: list[int]) -> bytes:
    sizes = array("I", map(len, packs))
    return b"".join((_COUNT.pack(len(packs)), sizes.tobytes(), array("Q", ends).tobytes(), *packs))


def _decoded(data: bytes) -> Contents:
    (count,) = _COUNT.unpack_from(data)
    sizes, ends = array("I"), array("Q")
    offset = _COUNT.size
    for column in (sizes, ends):
        end = offset + count * column.itemsize
        column.frombytes(data[offset:end])
        offset = end
    packs = []
    for size_bytes in sizes:
        packs.append(data[offset : offset + size_bytes])
        offset += size_bytes
    return packs, ends.tolist()
