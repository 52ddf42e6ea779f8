"""How much of the waiting messages' bodies lies in memory, and what is put aside. Pure.

Bodies beyond `resident_bytes`, over all queues, lie in *pages*, of which somebody else
knows where they are (`PageStore`; in a server that is `mqd.store.pages`). They are an
extension of memory and nothing more: no promise rests on them.

Theory of operation. A queue's store tells when it has grown by a step. What all have told
is an upper bound of what is in memory; when it passes the limit, it is counted anew, and if
it is true, the largest stores put aside what they will hand out last, some pages with each
step that comes, until there is some slack. So the work goes with the growth, nothing is
looked through for it, and a server below the limit adds up a number now and then.

What it is not: choosing what of a store goes, and bringing it back. See `mqd.core.fifo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SLACKS: Final = 16
"""A round of putting aside goes on until this part of the limit is free."""


class Page(Protocol):
    """Some bytes that are put aside."""

    def read(self) -> bytes:
        """Return the bytes, whole and as they were.

        Raises:
            BrokerError: INTERNAL: they cannot be had.
        """

    def expect(self) -> None:
        """Take note that it will be read soon."""

    def free(self) -> None:
        """Take note that it is not wanted any more; called once."""


class PageStore(Protocol):
    """Where pages lie."""

    def put(self, data: bytes) -> Page | None:
        """Put bytes aside; None where that cannot be done now."""

    def free_all(self, pages: Sequence[Any]) -> None:
        """Take note that none of some of its pages is wanted any more."""

    def stats(self) -> dict[str, Any]:
        """Tell how many pages there are, where, and what has become of them."""


class Pageable(Protocol):
    """A store of messages that can put some aside."""

    @property
    def resident_bytes(self) -> int:
        """What of it is in memory."""

    def recount(self) -> int:
        """Begin anew to count growth, and return `resident_bytes`."""

    def page_out(self, most_bytes: int) -> int:
        """Put about so much aside, in whole pages; returns how much it was."""


@dataclass(frozen=True)
class PageSizes:
    """How much is done at a time.

    Args:
        page_bytes: small packs are joined until they are so large together.
        step_bytes: how much a store grows before it tells.
        slice_bytes: how much is put aside with a step, about.
    """

    page_bytes: int = 128 * 1024
    step_bytes: int = 32 * 1024
    slice_bytes: int = 1024 * 1024


class Pager:
    """Keeps what lies in memory near a limit.

    Args:
        store: where pages lie.
        limit_bytes: how much may be in memory; each store may have a page and a step more.
        sizes: see `PageSizes`.
    """

    def __init__(self, store: PageStore, limit_bytes: int, sizes: PageSizes | None = None) -> None:
        self.sizes = sizes or PageSizes()
        self.fifos: Callable[[], Iterable[Pageable]] = tuple
        """All stores that there are; the broker says."""
        self._store = store
        self._limit_bytes = limit_bytes
        self._slack_bytes = max(self.sizes.page_bytes, limit_bytes // _SLACKS)
        self._counted_bytes = 0  # at least what is in memory, but for a step of each store
        self._next_bytes = limit_bytes  # nothing is done before so much is counted
        self._large: list[Pageable] = []  # those that are to put something aside, the largest last

    def grew(self, size_bytes: int) -> None:
        """Take note that a store has grown. It, or another one, may put something aside."""
        self._counted_bytes += size_bytes
        if self._counted_bytes > self._next_bytes:
            self._relieve()

    def make_room(self) -> None:
        """Put something aside, if that is due, before a store brings something back."""
        if self._counted_bytes > self._next_bytes:
            self._relieve()

    def came_back(self, size_bytes: int) -> None:
        """Take note that a store has brought something back; nothing is put aside for it yet."""
        self._counted_bytes += size_bytes

    def put(self, data: bytes) -> Page | None:
        """Put bytes aside; None where that cannot be done now, and nothing else is tried then."""
        page = self._store.put(data)
        if page is None:
            self._large.clear()
        return page

    def free_all(self, pages: Sequence[Page]) -> None:
        """Take note that none of these is wanted any more."""
        self._store.free_all(pages)

    def stats(self) -> dict[str, Any]:
        """Return the part `pages` of STATS."""
        resident_bytes = sum(fifo.resident_bytes for fifo in self.fifos())
        return {
            "limit_bytes": self._limit_bytes,
            "resident_bytes": resident_bytes,
            **self._store.stats(),
        }

    def _relieve(self) -> None:
        """Put a slice aside, and find out when to go on."""
        enough_bytes = self._limit_bytes - self._slack_bytes
        if not self._large:
            fifos = list(self.fifos())
            self._counted_bytes = sum(fifo.recount() for fifo in fifos)
            if self._counted_bytes > self._limit_bytes:
                page_bytes = self.sizes.page_bytes
                self._large = [fifo for fifo in fifos if fifo.resident_bytes > page_bytes]
                self._large.sort(key=lambda fifo: fifo.resident_bytes)
        left_bytes = self.sizes.slice_bytes
        while self._large and left_bytes > 0 and self._counted_bytes > enough_bytes:
            freed_bytes = self._large[-1].page_out(left_bytes)
            self._counted_bytes -= freed_bytes
            left_bytes -= freed_bytes
            if not freed_bytes and self._large:
                self._large.pop()
        if self._counted_bytes <= enough_bytes:
            self._large.clear()
        if self._large:
            self._next_bytes = 0  # go on with the next step
        elif self._counted_bytes > self._limit_bytes:  # nothing more can go
            self._next_bytes = self._counted_bytes + self._slack_bytes
        else:
            self._next_bytes = self._limit_bytes
