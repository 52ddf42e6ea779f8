"""Page files: what comes back, what space they take, and what a disk that fails does to them."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from mqd.core.errors import BrokerError
from mqd.store.pages import OsScratchFiles, PageFiles
from mqwire.codes import Code


class MemoryFiles:
    """See `mqd.store.pages.ScratchFiles`."""

    def __init__(self):
        self.handles = {}
        self.last = 0
        self.free = 1 << 40
        self.error = None
        self.expected = []

    def create(self):
        self.last += 1
        self.handles[self.last] = bytearray()
        return self.last

    def close(self, handle):
        del self.handles[handle]

    def read(self, handle, offset, size_bytes):
        if self.error is not None:
            raise self.error
        return bytes(self.handles[handle][offset : offset + size_bytes])

    def write(self, handle, offset, parts):
        if self.error is not None:
            raise self.error
        data = b"".join(parts)
        self.handles[handle][offset : offset + len(data)] = data

    def expect(self, handle, offset, size_bytes):
        self.expected.append((handle, offset, size_bytes))

    def free_bytes(self):
        return self.free


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def pages(files):
    return PageFiles(files, reserve_bytes=1000, file_bytes=100)


def test_what_is_put_aside_comes_back(pages):
    data = [bytes([number]) * (10 + number) for number in range(50)]
    put = [pages.put(each) for each in data]
    assert [page.read() for page in put] == data
    stats = pages.stats()
    assert (stats["pages"], stats["paged_bytes"]) == (50, sum(map(len, data)))
    assert stats["file_bytes"] == stats["written_bytes"] == stats["read_bytes"]


def test_a_page_may_be_larger_than_a_file(pages):
    page = pages.put(b"x" * 1000)
    assert page.read() == b"x" * 1000


def test_a_file_goes_with_the_last_that_lives_in_it(pages, files):
    put = [pages.put(b"x" * 50) for _ in range(6)]
    assert len(files.handles) == 3
    for page in put[:4]:
        page.free()
    assert len(files.handles) == 1
    for page in put[4:]:
        page.free()
    assert (files.handles, pages.stats()["file_bytes"]) == ({}, 0)
    assert pages.put(b"again").read() == b"again"


def test_what_lives_in_a_file_that_is_mostly_dead_is_moved(pages, files):
    keep = []
    for number in range(40):
        put = [pages.put(bytes([number]) * 20) for _ in range(5)]
        keep.append(put.pop(number % 5))
        for page in put:
            page.free()
    stats = pages.stats()
    assert stats["paged_bytes"] == 40 * 20
    assert stats["file_bytes"] <= 4 * 40 * 20 + 2 * 100
    assert stats["written_bytes"] > 40 * 5 * 20
    assert [page.read() for page in keep] == [bytes([number]) * 20 for number in range(40)]
    for page in keep:
        page.free()
    assert files.handles == {}


def test_the_more_there_is_the_larger_files_become_so_that_they_are_never_many(pages, files):
    put = [pages.put(bytes(50)) for _ in range(4000)]
    assert len(files.handles) < 130 < 4000 * 50 / 100
    for page in put:
        page.free()
    assert files.handles == {}


def test_pages_that_go_together_are_not_moved_before(pages, files):
    put = [pages.put(bytes(20)) for _ in range(500)]
    written_bytes = pages.stats()["written_bytes"]
    pages.free_all(put[100:])
    assert pages.stats()["written_bytes"] <= written_bytes + 100
    pages.free_all(put[:100])
    assert (files.handles, pages.stats()["pages"]) == ({}, 0)


def test_whatever_is_put_and_freed_the_files_hold_about_four_times_what_lives(pages, files):
    chooser = random.Random(3)
    live = {}
    for number in range(3000):
        if live and chooser.random() < 0.49:
            page = live.pop(chooser.choice(list(live)))
            page[0].free()
        else:
            data = number.to_bytes(4, "big") * chooser.randint(1, 20)
            live[number] = (pages.put(data), data)
        stats = pages.stats()
        assert stats["file_bytes"] <= 4 * stats["paged_bytes"] + 2 * 100 + 80
        assert stats["files"] == len(files.handles)
        assert stats["file_bytes"] == sum(map(len, files.handles.values()))
    for page, data in live.values():
        assert page.read() == data
        page.free()
    assert (files.handles, pages.stats()["pages"]) == ({}, 0)


def test_a_disk_that_takes_nothing_is_told_of_once_until_it_does_again(pages, files, caplog):
    files.error = OSError(errno.ENOSPC, "No space left on device")
    assert pages.put(b"a") is None
    assert pages.put(b"b") is None
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.messages[0]
    files.error = None
    assert pages.put(b"c").read() == b"c"
    assert "again" in caplog.messages[1]
    assert pages.stats()["write_failures"] == 2


def test_the_rest_of_the_disk_is_left_to_the_journal(pages, files, caplog):
    files.free = 1099
    assert pages.put(b"a") is None
    assert "the rest of the disk is the journal's" in caplog.text
    files.free = 1100
    assert pages.put(b"a") is not None


def test_a_page_that_cannot_be_read_is_told_of_and_refused(pages, files, caplog):
    page = pages.put(b"abc")
    files.error = OSError(errno.EIO, "Input/output error")
    for _ in range(2):
        with pytest.raises(BrokerError) as caught:
            page.read()
        assert caught.value.code is Code.INTERNAL
    assert len(caplog.messages) == 1
    files.error = None
    assert page.read() == b"abc"
    assert pages.stats()["read_failures"] == 2


@pytest.mark.parametrize("damage", [b"abx", b"ab", b""])
def test_bytes_that_are_not_those_that_were_put_aside_are_not_taken(pages, files, damage):
    page = pages.put(b"abc")
    files.handles[1][:] = damage
    with pytest.raises(BrokerError, match="the checksum is wrong"):
        page.read()


def test_bytes_of_another_page_are_not_taken(pages, files):
    first, second = pages.put(b"first page"), pages.put(b"other page")
    files.handles[1][0:10] = files.handles[1][10:20]
    assert second.read() == b"other page"
    with pytest.raises(BrokerError):
        first.read()


def test_what_is_wanted_in_the_order_in_which_it_was_put_aside_is_never_moved(pages):
    put = [pages.put(bytes([number]) * 10) for number in range(100)]
    for page in put:
        page.free()
    stats = pages.stats()
    assert (stats["written_bytes"], stats["files"]) == (1000, 0)


def test_a_damaged_page_stays_where_it_is_when_its_file_is_emptied(pages, files):
    put = [pages.put(bytes([number]) * 10) for number in range(60)]
    files.handles[1][0:10] = b"?" * 10
    for number, page in enumerate(put):
        if number % 10:
            page.free()
    assert pages.stats()["written_bytes"] > 600, "others were moved"
    with pytest.raises(BrokerError):
        put[0].read()
    assert [page.read()[0] for page in put[10::10]] == [10, 20, 30, 40, 50]


def test_a_disk_that_fails_while_files_are_emptied_loses_nothing_and_is_tried_again(pages, files):
    put = [pages.put(bytes([number]) * 10) for number in range(120)]
    files.error = OSError(errno.EIO, "Input/output error")
    for number, page in enumerate(put):
        if number % 10:
            page.free()
    files.error = None
    assert pages.stats()["file_bytes"] == 1200
    pages.put(b"x" * 10).free()
    assert pages.stats()["file_bytes"] <= 4 * 120 + 2 * 100
    assert [page.read()[0] for page in put[::10]] == list(range(0, 120, 10))


def test_a_file_that_cannot_be_emptied_is_tried_again_now_and_then(files):
    pages = PageFiles(files, file_bytes=3200)
    put = [pages.put(bytes([number]) * 10) for number in range(200)]
    put += [pages.put(b"x" * 10) for _ in range(1720)]
    files.error = OSError(errno.EIO, "Input/output error")
    tries = []
    read = files.read
    files.read = lambda *where: tries.append(where) or read(*where)
    for number, page in enumerate(put):
        if number % 20:
            page.free()
    assert 1 < len(tries) < 1824 // 10


def test_real_files_have_no_names_and_give_their_space_back(tmp_path):
    before = set(Path("/proc/self/fd").iterdir())
    pages = PageFiles(OsScratchFiles(str(tmp_path)))
    page = pages.put(b"x" * 1000)
    page.expect()
    assert page.read() == b"x" * 1000
    assert list(tmp_path.iterdir()) == []
    pages.close()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_file_system_that_needs_names_has_them_for_a_moment(tmp_path, monkeypatch):
    real = os.open

    def without(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", without)
    pages = PageFiles(OsScratchFiles(str(tmp_path)))
    assert pages.put(b"abc").read() == b"abc"
    assert list(tmp_path.iterdir()) == []
    pages.close()
    with pytest.raises(FileNotFoundError):
        OsScratchFiles(str(tmp_path / "missing")).create()
