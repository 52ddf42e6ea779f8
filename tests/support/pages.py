"""Pages in memory, that do what a test tells them."""

from __future__ import annotations

from mqd.core.errors import page_lost
from mqd.core.paging import Pager, PageSizes


class MemoryPage:
    def __init__(self, pages, data):
        self.pages, self.data = pages, data
        self.is_free = False

    def read(self):
        assert not self.is_free, "it was freed"
        self.pages.reads += 1
        if self.pages.is_broken:
            raise page_lost("Input/output error")
        return self.data

    def expect(self):
        assert not self.is_free, "it was freed"
        self.pages.expected += 1

    def free(self):
        assert not self.is_free, "it was freed before"
        self.is_free = True
        self.pages.live -= 1


class MemoryPages:
    """See `mqd.core.paging.PageStore`."""

    def __init__(self):
        self.live = self.put_aside = self.reads = self.expected = 0
        self.is_full = False
        """Whether none can be put aside."""
        self.is_broken = False
        """Whether none can be read."""

    def put(self, data):
        if self.is_full:
            return None
        self.live += 1
        self.put_aside += 1
        return MemoryPage(self, data)

    def free_all(self, pages):
        for page in pages:
            page.free()

    def stats(self):
        return {"pages": self.live}


def small_pager(limit_bytes=200, page_bytes=60, step_bytes=20, slice_bytes=120):
    """Return a pager that puts some bytes aside where a server's does it with many, and its pages."""
    pages = MemoryPages()
    return Pager(pages, limit_bytes, PageSizes(page_bytes, step_bytes, slice_bytes)), pages
