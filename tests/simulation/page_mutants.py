"""Bugs to plant in what puts bodies aside, as in `simulation.mutants`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core.cold import Chunk, Cold
from support.pages import MemoryPages

if TYPE_CHECKING:
    from collections.abc import Callable


def pages_are_of_others(patch: Any) -> None:
    """What comes back was put aside for something else."""
    put = MemoryPages.put

    def mixing(self: MemoryPages, data: bytes) -> Any:
        page: Any = put(self, data)
        before = self.__dict__.get("before")
        self.__dict__["before"] = page
        if before is not None and len(before.data) == len(data):
            before.data, page.data = page.data, before.data
        return page

    patch(MemoryPages, "put", mixing)


def a_page_is_lost(patch: Any) -> None:
    """A chunk comes back with one of its packs in the place of all."""
    read = Chunk.read

    def losing(self: Chunk) -> Any:
        packs, ends = read(self)
        if self.page is not None and len(packs) > 1:
            packs = [packs[0]] * len(packs)
        return packs, ends

    patch(Chunk, "read", losing)


def pages_are_freed_too_early(patch: Any) -> None:
    """A page is freed as soon as it is written."""
    page_out = Cold.page_out

    def hasty(self: Cold) -> int:
        size_bytes = page_out(self)
        for chunk in self.chunks:
            if size_bytes and chunk.page is not None and not getattr(chunk.page, "is_free", True):
                chunk.page.free()
        return size_bytes

    patch(Cold, "page_out", hasty)


MUTANTS: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (pages_are_of_others, a_page_is_lost, pages_are_freed_too_early)
}
