"""Page files: bodies of waiting messages that are put aside, and come back. Floor 2.

An extension of memory and not a part of the state: nothing that is promised rests on it.
The files have no names, so that the kernel gives their space back when the process ends,
in whatever way, and no start has anything to tidy. `ls` and `du` do not show them, `df` and
the part `pages` of STATS do.

Theory of operation. Pages are written one after the other into files of some tens of MB,
and never over each other. A file goes when no page in it is wanted any more. When the files
together take more than four times what lives in them, and two files more, those that are
mostly dead are emptied by moving what lives to the end of the newest, a slice at a time; a
queue that is pulled from its front to its end needs none of that. A page's checksum is kept in
memory, where its place is: bytes of another page, old ones, or none are not taken for it.

What runs where: everything here runs in the caller's thread, the event loop's. Writes are
of pages, which the caller bounds, and end in the kernel's cache; nothing is ever synced.
Reads mostly come from there: those that will be wanted soon are announced, and the kernel
reads them ahead by itself.

What it is not: choosing what is put aside. See `mqd.core.paging`.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqd.core.checksum import crc32
from mqd.core.errors import page_lost
from mqd.store.files import OsFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger("mqd.storage")

FILE_BYTES: Final = 32 * 1024 * 1024
"""How large a file becomes, but for the page that makes it so, and while there are few."""

_LARGEST: Final = 16
"""A file may become as large as this part of all that lives: each is a file that the process has
open, of which connections and journal need some too."""

MOVE_BYTES: Final = 1024 * 1024
"""About how much is moved at a time."""

_SPARSE: Final = 4
"""A file is emptied when less than this part of it lives."""


_RESTS: Final = 32
"""When a file could not be emptied, this part of one is put aside or freed before the next try."""


class ScratchFiles(Protocol):
    """The operations that pages need, on files without names."""

    def create(self) -> int:
        """Make a file that goes when it is closed."""

    def close(self, handle: int) -> None:
        """Close a file; its space is free."""

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        """Read up to `size_bytes`; fewer only at the end of the file."""

    def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write all parts, one after the other, from `offset` on."""

    def expect(self, handle: int, offset: int, size_bytes: int) -> None:
        """Announce that this will be read soon; nothing waits for it."""

    def free_bytes(self) -> int:
        """Tell how much space the disk has left for us."""


class OsScratchFiles:
    """The operating system's files.

    Args:
        directory: on whose disk they are; it is there when the first is made.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        files = OsFiles()
        self.close, self.read, self.write = files.close, files.read, files.write

    def create(self) -> int:
        """See `ScratchFiles`. On file systems that need a name it has one for a moment."""
        try:
            return os.open(self._directory, os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        handle, path = mkstemp(".tmp", "pages-", self._directory)
        os.unlink(path)  # noqa: PTH108  a system call by its own name, as in `mqd.store.files`
        return handle

    def expect(self, handle: int, offset: int, size_bytes: int) -> None:
        """See `ScratchFiles`."""
        os.posix_fadvise(handle, offset, size_bytes, os.POSIX_FADV_WILLNEED)

    def free_bytes(self) -> int:
        """See `ScratchFiles`."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize


class _File:
    """A file, and what lives in it."""

    __slots__ = ("end", "handle", "live_bytes", "pages")

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.end = 0
        """Where the next page goes."""
        self.live_bytes = 0
        self.pages: dict[FilePage, None] = {}
        """Those that live, in the order in which they are moved."""

    @property
    def is_sparse(self) -> bool:
        """Whether it is to be emptied once it is not the newest."""
        return self.live_bytes * _SPARSE < self.end


class FilePage:
    """A page in a file. See `mqd.core.paging.Page`."""

    __slots__ = ("_owner", "checksum", "file", "is_bad", "offset", "size_bytes")

    def __init__(self, owner: PageFiles, file: _File, size_bytes: int, checksum: int) -> None:
        self._owner = owner
        self.file = file
        self.offset = file.end
        self.size_bytes = size_bytes
        self.checksum = checksum
        self.is_bad = False
        """Whether it was said that it cannot be read."""

    def read(self) -> bytes:
        """Return the bytes. BrokerError: INTERNAL: they cannot be had."""
        return self._owner.read(self)

    def expect(self) -> None:
        """Take note that it will be read soon."""
        self._owner.expect(self)

    def free(self) -> None:
        """Take note that it is not wanted any more."""
        self._owner.free(self)


class PageFiles:
    """All page files of a process. See `mqd.core.paging.PageStore`.

    Args:
        files: the file operations.
        reserve_bytes: no file is begun that would leave the disk with less than this.
        file_bytes: how large a file becomes.
    """

    def __init__(
        self, files: ScratchFiles, reserve_bytes: int = 0, file_bytes: int = FILE_BYTES
    ) -> None:
        self._files = files
        self._reserve_bytes = reserve_bytes
        self._file_bytes = file_bytes
        self._all: dict[_File, None] = {}
        self._newest: _File | None = None
        self._sparse: deque[_File] = deque()  # those to be emptied
        self._rest_bytes = 0  # so much is put aside or freed before the next try
        self._has_failed = False  # the last time
        self._pages = self._live_bytes = 0
        self._file_bytes_now = 0  # what all files take
        self._written_bytes = self._read_bytes = 0
        self._write_failures = self._read_failures = 0

    def put(self, data: bytes) -> FilePage | None:
        """Put bytes aside; None where the disk does not take them, which is logged."""
        page = self._write(data, crc32(data))
        if page is not None:
            self._pages += 1
            self._live_bytes += len(data)
            self._tidy(len(data))
        return page

    def read(self, page: FilePage) -> bytes:
        """Return a page's bytes.

        Raises:
            BrokerError: INTERNAL: they cannot be had, which is logged.
        """
        try:
            data = self._files.read(page.file.handle, page.offset, page.size_bytes)
        except OSError as error:
            raise self._lost(page, error.strerror or str(error)) from error
        if len(data) != page.size_bytes or crc32(data) != page.checksum:
            raise self._lost(page, "the checksum is wrong")
        self._read_bytes += len(data)
        return data

    def expect(self, page: FilePage) -> None:
        """Let the kernel read a page ahead."""
        self._files.expect(page.file.handle, page.offset, page.size_bytes)

    def free(self, page: FilePage) -> None:
        """Let a page go, and its file when it was the last there."""
        self._pages -= 1
        self._live_bytes -= page.size_bytes
        self._leave(page)
        self._tidy(page.size_bytes)

    def free_all(self, pages: Sequence[FilePage]) -> None:
        """Let pages go together: none is moved out of the way of the others before."""
        before_bytes = self._live_bytes
        for page in pages:
            self._pages -= 1
            self._live_bytes -= page.size_bytes
            self._leave(page)
        self._tidy(before_bytes - self._live_bytes)

    def stats(self) -> dict[str, Any]:
        """Return what STATS tells of them; `file_bytes` is about what `df` misses."""
        return {
            "paged_bytes": self._live_bytes,
            "pages": self._pages,
            "files": len(self._all),
            "file_bytes": self._file_bytes_now,
            "written_bytes": self._written_bytes,
            "read_bytes": self._read_bytes,
            "write_failures": self._write_failures,
            "read_failures": self._read_failures,
        }

    def close(self) -> None:
        """Let all go."""
        for file in self._all:
            self._files.close(file.handle)
        self._all.clear()
        self._newest = None
        self._file_bytes_now = 0

    def _write(self, data: bytes, checksum: int) -> FilePage | None:
        """Write a page behind all others."""
        try:
            file = self._place(len(data))
            self._files.write(file.handle, file.end, (data,))
        except OSError as error:
            self._note_failure(error)
            return None
        if self._has_failed:
            self._has_failed = False
            _logger.warning("bodies of waiting messages are put aside on the disk again")
        page = FilePage(self, file, len(data), checksum)
        file.end += len(data)
        self._file_bytes_now += len(data)
        file.live_bytes += len(data)
        file.pages[page] = None
        self._written_bytes += len(data)
        return page

    def _place(self, size_bytes: int) -> _File:
        """Return the file that a page of this size goes to."""
        file = self._newest
        file_bytes = max(self._file_bytes, self._live_bytes // _LARGEST)
        if file is not None and (not file.end or file.end + size_bytes <= file_bytes):
            return file
        if self._files.free_bytes() < self._reserve_bytes + max(size_bytes, file_bytes):
            raise OSError(errno.ENOSPC, "the rest of the disk is the journal's")
        before, self._newest = file, _File(self._files.create())
        self._all[self._newest] = None
        if before is not None:
            self._look_at(before)
        return self._newest

    def _note_failure(self, error: OSError) -> None:
        self._write_failures += 1
        if not self._has_failed:
            self._has_failed = True
            _logger.error(
                "bodies of waiting messages cannot be put aside on the disk (%s): they stay in "
                "memory, which may grow past storage.resident_bytes",
                error.strerror or error,
            )

    def _lost(self, page: FilePage, reason: str) -> Exception:
        self._read_failures += 1
        if not page.is_bad:
            page.is_bad = True
            _logger.error(
                "%d bytes of waiting messages that were put aside on the disk cannot be read back "
                "(%s): pulls that need them are refused; the journal has them, so look after the "
                "disk and start the server again",
                page.size_bytes,
                reason,
            )
        return page_lost(reason)

    def _leave(self, page: FilePage) -> None:
        """Take a page off its file."""
        file = page.file
        del file.pages[page]
        file.live_bytes -= page.size_bytes
        self._look_at(file)

    def _look_at(self, file: _File) -> None:
        """Let a file go in which nothing lives, or note that little does."""
        if not file.pages:
            del self._all[file]
            self._file_bytes_now -= file.end
            self._files.close(file.handle)
            if file in self._sparse:
                self._sparse.remove(file)
            if file is self._newest:
                self._newest = None
        elif file is not self._newest and file.is_sparse and file not in self._sparse:
            self._sparse.append(file)

    def _tidy(self, changed_bytes: int) -> None:
        """Move some pages out of a file in which little lives, if all take too much.

        Args:
            changed_bytes: how much was put aside or freed just before.
        """
        self._rest_bytes = max(0, self._rest_bytes - changed_bytes)
        if self._rest_bytes:
            return
        moved_bytes = 0
        while self._sparse and moved_bytes < MOVE_BYTES and self._takes_too_much():
            file = self._sparse[0]
            page = next(iter(file.pages))
            if not self._move(page):  # others come first when it is tried again
                file.pages[page] = file.pages.pop(page)
                self._sparse.rotate(-1)
                self._rest_bytes = self._file_bytes // _RESTS
                return
            moved_bytes += page.size_bytes

    def _takes_too_much(self) -> bool:
        return self._file_bytes_now > _SPARSE * self._live_bytes + 2 * self._file_bytes

    def _move(self, page: FilePage) -> bool:
        """Let a page lie in the newest file; False where it cannot be read or written."""
        try:
            data = self._files.read(page.file.handle, page.offset, page.size_bytes)
        except OSError:
            return False
        if crc32(data) != page.checksum:
            return False
        copy = self._write(data, page.checksum)
        if copy is None:
            return False
        self._leave(page)
        page.file, page.offset = copy.file, copy.offset
        del copy.file.pages[copy]
        copy.file.pages[page] = None
        return True
