from __future__ import annotations

from crash.crash_files import MemoryFiles
from mqd.store.pieces import ByteRange, Pieces
from mqd.store.recordlog import (
    SEGMENT_MAGIC,
    SNAPSHOT_MAGIC,
    Header,
    HeaderFault,
    encode_batch,
    encode_header,
)

HEADER = Header(3, 7, 2, b"storestr", b"12345678")
HEAD = encode_header(SEGMENT_MAGIC, HEADER)


def batch(lsn: int, payload: bytes = b"\x90", file_id: bytes = HEADER.file_id) -> bytes:
    return b"".join(encode_batch(lsn, lsn - 1, file_id, [payload]))


class Found:
    def __init__(self, data: bytes, magic: bytes = SEGMENT_MAGIC) -> None:
        files = MemoryFiles({"f": data})
        pieces = Pieces(files, "d/f", magic)
        self.runs = list(pieces.runs())
        pieces.close()
        assert not files.handles
        self.bad, self.tail, self.fault = pieces.bad, pieces.tail, pieces.fault
        assert pieces.size_bytes == len(data)
        for run in self.runs:
            pieces_bytes = data[run.offset : run.end_offset]
            assert pieces_bytes.endswith(bytes(run.scan.payloads[-1]))

    @property
    def lsns(self) -> list[int]:
        return [lsn for run in self.runs for lsn in range(run.scan.first_lsn, run.scan.next_lsn)]


def test_a_sound_file() -> None:
    found = Found(HEAD + batch(7) + batch(8) + bytes(500))
    assert found.lsns == [7, 8]
    assert (found.bad, found.tail.start, found.tail.end) == ([], 130, 130)


def test_batches_behind_bad_bytes_are_found() -> None:
    middle = bytearray(batch(8, b"\x91\x01"))
    middle[40 - 4] ^= 1
    data = HEAD + batch(7) + middle + batch(9) + b"xyz" + batch(12) + b"tail" + bytes(9)
    found = Found(bytes(data))
    assert found.lsns == [7, 9, 12]
    at = len(HEAD) + 37
    assert found.bad == [ByteRange(at, at + 38), ByteRange(at + 38 + 37, at + 38 + 40)]
    assert data[found.tail.start : found.tail.end] == b"tail"


def test_lost_bytes_leave_no_gap_but_one_in_the_lsns() -> None:
    found = Found(HEAD + batch(7) + batch(9))
    assert found.lsns == [7, 9]
    assert found.bad == []


def test_batches_that_were_pushed_as_messages_are_none() -> None:
    own_older = batch(5)
    inside = bytearray(batch(8, own_older + batch(3, file_id=b"another.")))
    inside[-1] ^= 1
    assert Found(HEAD + batch(7) + bytes(inside) + batch(9)).lsns == [7, 9]
    assert Found(HEAD + batch(7, batch(8) + b"rest") + batch(8)).lsns == [7, 8]


def test_a_damaged_header() -> None:
    bad = bytes([HEAD[0] ^ 1]) + HEAD[1:]
    for head in (bad, HEAD[:20] + b"?" + HEAD[21:], bytes(56)):
        found = Found(head + batch(7) + batch(8) + b"x" + batch(9))
        assert found.lsns == [7, 8, 9]
        assert found.bad[0] == ByteRange(0, 56)
        assert found.fault is not None
    found = Found(bytes(30) + batch(7)[3:] + batch(8))
    assert found.lsns == [8]


def test_a_damaged_header_and_first_batch() -> None:
    first = bytearray(batch(7))
    first[36] ^= 1
    assert Found(bytes(56) + bytes(first) + batch(8)).lsns == [8]
    assert Found(bytes(56) + batch(7)[:20]).lsns == []


def test_nothing_of_ours() -> None:
    assert Found(b"").fault is HeaderFault.DAMAGED
    found = Found(b"some text that somebody has written")
    assert (found.fault, found.lsns) == (HeaderFault.FOREIGN, [])
    assert found.tail == ByteRange(0, 35)
    assert Found(HEAD).lsns == []


def test_a_snapshots_batches_are_numbered_from_1() -> None:
    head = encode_header(SNAPSHOT_MAGIC, HEADER)
    assert Found(head + batch(1) + batch(2), SNAPSHOT_MAGIC).lsns == [1, 2]
    assert Found(head + b"?" + batch(2), SNAPSHOT_MAGIC).lsns == [2]


def test_the_end_of_a_file_that_is_too_short_for_a_batch() -> None:
    assert Found(HEAD + batch(7) + b"\0" * 4 + HEADER.file_id + b"\0" * 9).lsns == [7]
