from __future__ import annotations

import random

import msgpack
import pytest

from mqd.core import records, step_records
from mqd.store.recordlog import (
    BATCH_BYTES,
    HEADER_BYTES,
    SEGMENT_MAGIC,
    SNAPSHOT_MAGIC,
    Header,
    HeaderFault,
    RecordEncoder,
    Stop,
    decode,
    encode,
    encode_batch,
    encode_header,
    find_later,
    read_header,
    scan,
    scan_batches,
)

ID = b"\x01\x02\x03\x04\x05\x06\x07\x08"
HEADER = Header(7, 3, 2, b"storestr", ID)

RECORDS = [
    (records.CREATE, 1, "jobs", {"max_messages": 10, "max_bytes": 2**40}, 1_700_000_000_000),
    (records.PUSH, 1, 1, 2, b"\x01\xa1x", (), 5),
    (records.PUSH, 1, 3, 1, b"\xc0", ((0, 1, {"a": 1, "b": None, "c": b"x", "d": 1.5}, 20),), 6),
    (records.PUSH, 1, 4, 1, b"\xc6" + bytes(70_000), ((0, 1, {"k": "v"}, 5),), 7),
    (records.PUSH, 1, 5, 1, bytes(16 * 1024), (), 7),
    (records.PULL, 1, 2),
    (records.PURGE, 1),
    (records.DELETE, 1),
]


def segment(payloads: list[bytes]) -> bytes:
    parts = [encode_header(SEGMENT_MAGIC, HEADER)]
    for lsn, payload in enumerate(payloads, HEADER.first_lsn):
        parts += encode_batch(lsn, lsn - 1, ID, [payload])
    return b"".join(parts)


def test_records_come_back_equal() -> None:
    assert decode([encode(RECORDS)]) == RECORDS


def test_records_of_several_payloads_come_in_order() -> None:
    assert decode([encode(RECORDS[:2]), b"", encode(RECORDS[2:])]) == RECORDS


def test_a_large_pack_is_not_copied_and_encodes_alike() -> None:
    encoder = RecordEncoder()
    assert encoder.is_empty
    for record in RECORDS:
        encoder.add(record)
    expected_bytes = encoder.size_bytes
    parts, size_bytes = encoder.take()
    assert size_bytes == expected_bytes == sum(map(len, parts))
    assert any(part is RECORDS[3][4] for part in parts)
    assert encoder.is_empty
    assert encoder.take() == ([], 0)


def test_a_large_pack_with_a_key_is_not_copied_either() -> None:
    pack = b"\xc6" + (20_000).to_bytes(4, "big") + bytes(20_000)
    push = (records.PUSH, 1, 5, 1, pack, (), 7)
    record = (step_records.KEYED_PUSH, 1, "k", b"d" * 16, 7, push)
    encoder = RecordEncoder()
    encoder.add(record)
    parts, size_bytes = encoder.take()
    assert any(part is pack for part in parts)
    assert size_bytes == sum(map(len, parts))
    assert decode(parts) == [record]


@pytest.mark.parametrize(
    "payload", [b"\xc1", b"\x05", b"\x92\x01", b"\x81\x90\x01", b"\x91" * 2000]
)
def test_a_payload_that_no_encoder_made(payload: bytes) -> None:
    with pytest.raises(ValueError, match="payload"):
        decode([payload])


def test_a_segment_is_read_whole() -> None:
    payloads = [encode(RECORDS[:3]), b"", encode(RECORDS[3:])]
    data = segment(payloads)
    found = scan(data)
    assert [bytes(payload) for payload in found.payloads] == payloads
    assert (found.first_lsn, found.next_lsn, found.synced_upto) == (3, 6, 4)
    assert found.end_offset == len(data)
    assert found.why_stopped is Stop.END
    assert scan(data + bytes(500)).why_stopped is Stop.BLANK
    assert scan(data + bytes(5)).why_stopped is Stop.BLANK
    assert scan(data + bytes(500)).end_offset == len(data)


def test_each_cut_gives_a_beginning() -> None:
    payloads = [b"\x91\x01" * 9, b"", b"\x91\x02" * 5]
    data = segment(payloads)
    for end in range(len(data)):
        found = scan(data[:end])
        assert [bytes(payload) for payload in found.payloads] == payloads[: len(found.payloads)]
        is_edge = end == found.end_offset and end >= HEADER_BYTES
        assert (found.why_stopped is Stop.END) == is_edge


def test_each_flipped_bit_shows() -> None:
    payloads = [b"\x91\x01" * 9, b"", b"\x91\x02" * 5]
    data = segment(payloads)
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        found = scan(bytes(flipped))
        assert len(found.payloads) < len(payloads)
        assert found.end_offset <= position // 8
        assert [bytes(payload) for payload in found.payloads] == payloads[: len(found.payloads)]


def test_a_scan_of_garbage_yields_nothing() -> None:
    chooser = random.Random(3)
    for _ in range(2000):
        data = chooser.randbytes(chooser.randrange(200))
        assert scan(data).payloads == []
        assert scan_batches(data, 0, ID, 1).payloads == []
        find_later(data, 0, ID)


def test_a_batch_out_of_its_place_is_none() -> None:
    batch = b"".join(encode_batch(5, 4, ID, [b"\x91\x01"]))
    assert len(scan_batches(batch, 0, ID, 5).payloads) == 1
    assert scan_batches(batch, 0, ID, 6).why_stopped is Stop.BAD
    assert scan_batches(batch, 0, b"otherone", 5).why_stopped is Stop.BAD


def test_what_comes_after_bad_bytes_is_found() -> None:
    batches = [b"".join(encode_batch(lsn, lsn - 2, ID, [b"x" * 20])) for lsn in range(5, 9)]
    data = bytearray(b"".join(batches))
    data[BATCH_BYTES + 3] ^= 1
    assert scan_batches(bytes(data), 0, ID, 5).end_offset == 0
    assert find_later(bytes(data), 0, ID) == (6, 8)
    assert find_later(bytes(data), 0, b"otherone") == (0, 0)
    assert find_later(bytes(data[:-1]), 0, ID) == (5, 7)
    assert find_later(bytes(data), len(data) - 30, ID) == (0, 0)


def test_headers() -> None:
    data = encode_header(SEGMENT_MAGIC, HEADER)
    assert len(data) == HEADER_BYTES
    assert read_header(SEGMENT_MAGIC, data + b"more") == HEADER
    assert read_header(SNAPSHOT_MAGIC, data) is HeaderFault.FOREIGN
    assert read_header(SEGMENT_MAGIC, b"#!/bin/sh\n" * 9) is HeaderFault.FOREIGN
    assert read_header(SEGMENT_MAGIC, b"") is HeaderFault.DAMAGED
    assert read_header(SEGMENT_MAGIC, bytes(99)) is HeaderFault.DAMAGED
    for end in range(HEADER_BYTES):
        assert read_header(SEGMENT_MAGIC, data[:end]) is HeaderFault.DAMAGED
    later = encode_header(SEGMENT_MAGIC, HEADER, version=2)
    assert read_header(SEGMENT_MAGIC, later) is HeaderFault.OTHER_VERSION


def test_the_form_on_disk_does_not_change_unnoticed() -> None:
    data = segment([encode([(4, 1, 2)])])
    header = "6d71646a726e6c0a 00000001 0000000000000007 0000000000000003 0000000000000002"
    ids_and_crc = "73746f7265737472 0102030405060708 33772092"
    batch = "b56d7142 46026c81 00000004 0102030405060708 0000000000000003 0000000000000002 93040102"
    assert data == bytes.fromhex(f"{header} {ids_and_crc} {batch}")
    assert msgpack.unpackb(data[-4:]) == [4, 1, 2]
