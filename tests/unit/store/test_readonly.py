from __future__ import annotations

import errno

import pytest

from crash.crash_files import MemoryFiles
from mqd.store.readonly import ReadOnlyFiles


class BadSectors(MemoryFiles):
    """A disk that cannot read what lies at some places."""

    bad: frozenset[int] = frozenset()
    error = errno.EIO

    def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        if any(offset <= place < offset + size_bytes for place in self.bad):
            raise OSError(self.error, "the disk fails")
        return super().read(handle, offset, size_bytes)


def test_nothing_is_written() -> None:
    files = MemoryFiles({"a": b"content"})
    reading = ReadOnlyFiles(files)
    handle = reading.open("d/a", writable=True)
    reading.write(handle, 0, [b"other"])
    reading.truncate(handle, 0)
    reading.allocate(handle, 100)
    reading.sync(handle)
    reading.sync_data(handle)
    assert reading.read(handle, 3, 99) == b"tent"
    assert reading.size_bytes(handle) == 7
    reading.close(handle)
    reading.rename("d/a", "d/b")
    reading.unlink("d/a")
    reading.sync_directory("d")
    reading.make_directory("e")
    assert reading.names("d") == ["a"]
    assert files.content() == {"a": b"content"}
    assert not files.handles


def test_what_is_made_takes_everything_and_keeps_nothing() -> None:
    reading = ReadOnlyFiles(MemoryFiles())
    one, other = reading.create("d/a"), reading.create("d/b")
    assert one != other
    reading.write(one, 0, [b"x"])
    assert (reading.read(one, 0, 5), reading.size_bytes(one)) == (b"", 0)
    reading.close(one)
    assert reading.names("d") == []


def test_an_alias() -> None:
    reading = ReadOnlyFiles(MemoryFiles({"a": b"content"}), aliases={"/x": "d/a"})
    assert reading.read(reading.open("/x"), 0, 9) == b"content"


@pytest.mark.parametrize("zeros", [0, 10, 2**20 - 4, 2**20, 3 * 2**20])
def test_a_file_that_is_written_reads_as_it_was(zeros: int) -> None:
    files = MemoryFiles({"a": b"ab\0cd" + bytes(zeros)})
    reading = ReadOnlyFiles(files, is_live=True)
    handle = reading.open("d/a")
    files.write(files.open("d/a"), 5, [b"later"])
    assert reading.size_bytes(handle) == 5 + zeros
    assert reading.read(handle, 2, 99) == (b"\0cd" + bytes(zeros))[:99]
    assert reading.read(handle, 7, 9) == bytes(min(9, max(0, zeros - 2)))
    reading.close(handle)


def test_a_file_of_zeros_that_is_written() -> None:
    files = MemoryFiles({"a": bytes(9)})
    reading = ReadOnlyFiles(files, is_live=True)
    handle = reading.open("d/a")
    files.write(files.open("d/a"), 0, [b"x"])
    assert (reading.size_bytes(handle), reading.read(handle, 0, 99)) == (9, bytes(9))


def test_a_live_file_that_cannot_be_read_is_closed() -> None:
    files = BadSectors({"a": bytes(9)})
    files.bad = frozenset({3})
    with pytest.raises(OSError, match="the disk fails"):
        ReadOnlyFiles(files, is_live=True).open("d/a")
    assert not files.handles


def test_bad_sectors_read_as_zeros_where_that_is_wanted() -> None:
    data = bytes(range(1, 251)) * 80
    files = BadSectors({"a": data})
    files.bad = frozenset({5000})
    with pytest.raises(OSError, match="the disk fails"):
        ReadOnlyFiles(files).read(files.open("d/a"), 100, 20000)
    reading = ReadOnlyFiles(files, is_patient=True)
    handle = reading.open("d/a")
    expected = data[100:4096] + bytes(4096) + data[8192:]
    for _ in range(2):
        assert reading.read(handle, 100, 99999) == expected
    assert reading.unreadable_bytes == 4096
    files.error = errno.EBADF
    with pytest.raises(OSError, match="the disk fails"):
        reading.read(handle, 0, 99999)


def test_an_error_of_another_kind_in_a_bad_place() -> None:
    files = BadSectors({"a": bytes(9000)})
    files.bad = frozenset({5000})
    reading = ReadOnlyFiles(files, is_patient=True)
    handle = reading.open("d/a")
    original = MemoryFiles.read

    def read(self: MemoryFiles, handle: int, offset: int, size_bytes: int) -> bytes:
        files.error = errno.EBADF
        return original(self, handle, offset, size_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFiles, "read", read)
        with pytest.raises(OSError, match="the disk fails") as caught:
            reading.read(handle, 0, 9000)
    assert caught.value.errno == errno.EBADF
