from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import MemoryFiles
from mqd.store.recordlog import BATCH_BYTES, HEADER_BYTES, scan
from mqd.store.segments import (
    SPARE_NAME,
    Identity,
    Load,
    SegmentWriter,
    segment_name,
    segment_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class Full(MemoryFiles):
    error = 0

    def allocate(self, handle: int, size_bytes: int) -> None:
        super().allocate(handle, size_bytes // 2)
        if self.error:
            raise OSError(self.error, "no")
        super().allocate(handle, size_bytes)


def make(files: MemoryFiles, segment_bytes: int = 500) -> SegmentWriter:
    writer = SegmentWriter(files, "d", Identity(b"storestr", 3), segment_bytes)
    writer.begin(1, 1)
    return writer


def load(lsn: int, size: int = 10) -> Load:
    return Load(lsn, [b"\x91\x01" * (size // 2)], size)


def test_names() -> None:
    assert segment_name(12) == "segment-0000000012.mqj"
    assert segment_number(segment_name(12)) == 12
    assert segment_number(segment_name(10**11)) == 10**11
    for name in ("segment-12.mqj", "segment-0000000012.mqj.gz", "x", SPARE_NAME):
        assert segment_number(name) is None


def test_a_segment_is_reserved_and_named_whole() -> None:
    files = MemoryFiles()
    writer = make(files)
    assert files.names("d") == [segment_name(1)]
    assert len(files.content()[segment_name(1)]) == 500
    assert (writer.number, writer.written_lsn, writer.synced_lsn) == (1, 0, 0)
    assert writer.room_bytes == 500 - HEADER_BYTES
    writer.abandon()


def test_loads_to_begin_with_are_synced() -> None:
    files = MemoryFiles()
    writer = SegmentWriter(files, "d", Identity(b"storestr", 3), 500)
    writer.begin(4, 7, [load(7), load(8)])
    assert (writer.number, writer.written_lsn, writer.synced_lsn) == (4, 8, 8)
    found = scan(files.content()[segment_name(4)])
    assert (found.first_lsn, found.next_lsn, found.synced_upto) == (7, 9, 6)
    writer.abandon()


def test_a_batch_that_is_written_beside_a_sync_says_what_was_synced_before() -> None:
    said = []

    class Beside(MemoryFiles):
        def sync_data(self, handle: int) -> None:
            if not said:
                said.append(writer.write_one(load(2)))
            super().sync_data(handle)

        def write(self, handle: int, offset: int, parts: Sequence[bytes]) -> None:
            super().write(handle, offset, parts)
            if len(said) == 1:
                writer.sync()  # it ends while the batch is written

    files = Beside()
    writer = make(files)
    assert writer.write_one(load(1)) == 0
    writer.sync()
    assert (said, writer.written_lsn, writer.synced_lsn) == ([0], 2, 1)
    assert writer.write_one(load(3)) == 1, "what it says, and not what is true by now"
    assert writer.synced_lsn == 2
    assert scan(files.content()[segment_name(1)]).synced_upto == 1
    writer.abandon()


def test_writing_goes_on_in_the_next_segment() -> None:
    files = MemoryFiles()
    writer = make(files)
    size = BATCH_BYTES + 10
    fitting = (500 - HEADER_BYTES) // size
    assert writer.write([load(lsn) for lsn in range(1, fitting + 2)]) == fitting + 1
    assert writer.number == 2
    assert writer.synced_lsn == fitting, "a segment that is full is synced"
    assert len(files.content()[segment_name(1)]) == HEADER_BYTES + fitting * size
    assert scan(files.content()[segment_name(2)]).first_lsn == fitting + 1
    writer.finish()
    assert files.names("d") == [segment_name(1), segment_name(2)]
    assert files.handles == {}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_no_space_for_the_next(error: int) -> None:
    files = Full()
    writer = make(files)
    files.error = error
    assert not writer.prepare_spare()
    assert writer.is_full
    assert SPARE_NAME not in files.content()
    assert len(files.handles) == 1
    assert not writer.rotate()
    assert writer.number == 1
    assert writer.write([load(1, 300), load(2, 300)]) == 1
    files.error = 0
    assert writer.write([load(2, 300)]) == 1
    assert not writer.is_full
    assert (writer.number, writer.written_lsn) == (2, 2)
    writer.abandon()


def test_any_other_error_is_the_end() -> None:
    files = Full()
    writer = make(files)
    files.error = errno.EIO
    with pytest.raises(OSError, match="no"):
        writer.prepare_spare()
    writer.abandon()


def test_a_spare_that_is_too_small_grows() -> None:
    files = Full()
    writer = make(files)
    assert writer.prepare_spare()
    files.error = errno.ENOSPC
    assert writer.write([load(1, 2000)]) == 0
    assert writer.has_spare
    files.error = 0
    assert writer.write([load(1, 2000)]) == 1
    assert writer.number == 2
    writer.abandon()


def test_the_last_start_before_the_disk_is_full_takes_what_it_needs() -> None:
    class Little(MemoryFiles):
        def allocate(self, handle: int, size_bytes: int) -> None:
            if size_bytes > 3000:
                raise OSError(errno.ENOSPC, "full")
            super().allocate(handle, size_bytes)

    writer = make(Little(), segment_bytes=20_000)
    assert writer.is_full
    assert writer.room_bytes < writer.reserve_bytes, "nothing but what frees space"
    assert writer.room_bytes > writer.entry_reserve_bytes, "and who is to free it"
    assert writer.write([load(1)]) == 1
    writer.abandon()
