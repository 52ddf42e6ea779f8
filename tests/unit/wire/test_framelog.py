"""mqwire.framelog: what a server writes, readers get back; damage is told, never raised."""

from __future__ import annotations

import itertools

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire import framelog
from mqwire.framelog import (
    BINARY,
    GAP,
    IN,
    JSONL,
    MAX_FRAMES_BYTES,
    OUT,
    FileName,
    FrameSplitter,
    Gap,
    Header,
    LogReader,
    Record,
    RecordEncoder,
    encode_gap,
    encode_header,
    file_name,
    parse_file_name,
)
from mqwire.frames import FrameWriter, prefix
from mqwire.limits import MAX_CONTAINER_ENTRIES

STARTED_AT_NS = 1_800_000_000_123_456_789
CLIENT, SERVER = "127.0.0.1:40000", "127.0.0.1:7500"
encode = FrameWriter().encode


def a_record(frames: bytes, *, direction: str = IN, user: str = "ann", at: int = 7) -> bytes:
    head = RecordEncoder(3, direction, CLIENT, SERVER, user).head(at, len(frames))
    return head + frames


def a_log(*records: bytes) -> bytes:
    return encode_header(STARTED_AT_NS, "0.1.0") + b"".join(records)


def split(frames: bytes, direction: str = IN) -> list[framelog.LoggedFrame]:
    return list(FrameSplitter().split(Record(7, 3, direction, CLIENT, SERVER, "", frames)))


# Names


@pytest.mark.parametrize("number", [1, 42, 999_999, 1_000_000])
@pytest.mark.parametrize("form", [BINARY, JSONL])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_file_names_count(number, form, suffix):
    name = file_name(number, form) + suffix
    assert parse_file_name(name) == FileName(number, form, suffix == ".gz")


def test_the_form_of_a_file_name():
    assert file_name(1) == "frames-000001.mqlog"
    assert file_name(1, JSONL) == "frames-000001.jsonl"


@pytest.mark.parametrize(
    "name",
    [
        "frames-1.mqlog",
        "frames-000001.mqlog.gz.part",
        "frames-000001.mqlog.xz",
        "frames-000001.log",
        "frames--00001.mqlog",
        "xframes-000001.mqlog",
        "frames-000001.mqlog\n",
    ],
)
def test_other_names_are_no_logs(name):
    assert parse_file_name(name) is None


# Writing and reading


def test_what_was_written_is_read():
    push, reply = encode(["PUSH", 1, "jobs", 1, b"\xa1x"]), encode([1, "OK", 1, "accepted"])
    reader = LogReader()
    records = reader.feed(a_log(a_record(push), a_record(reply, direction=OUT, at=8)))
    assert reader.header == Header(1, STARTED_AT_NS, "0.1.0")
    assert records == [
        Record(7, 3, "in", CLIENT, SERVER, "ann", push),
        Record(8, 3, "out", CLIENT, SERVER, "ann", reply),
    ]
    assert reader.error is None
    assert reader.leftover_bytes == 0


def test_a_log_is_a_plain_stream_of_msgpack():
    frames = encode(["PING", 1])
    unpacker = msgpack.Unpacker()
    unpacker.feed(a_log(a_record(frames)))
    _, header, _, record = unpacker
    assert header == ["mqd-frame-log", 1, STARTED_AT_NS, "0.1.0"]
    assert record == [7, 3, "in", CLIENT, SERVER, "ann", frames]


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32),
    st.sampled_from([IN, OUT]),
    st.text(max_size=300),
    st.text(max_size=40),
    st.binary(min_size=1, max_size=2000),
)
def test_any_record_is_read_as_it_was(at, connection_id, direction, source, user, frames):
    encoder = RecordEncoder(connection_id, direction, source, SERVER, user)
    [record] = LogReader().feed(a_log(encoder.head(at, len(frames)), frames))
    assert record == Record(at, connection_id, direction, source, SERVER, user, frames)


def test_the_user_is_empty_before_auth():
    frames = encode(["PING", 1])
    head = RecordEncoder(3, IN, CLIENT, SERVER).head(7, len(frames))
    [record] = LogReader().feed(a_log(head, frames))
    assert record.user == ""


@given(st.lists(st.integers(1, 400), max_size=8))
def test_any_cut_gives_the_same_records(cuts):
    log = a_log(*(a_record(encode(["PING", number]), at=number) for number in range(1, 6)))
    whole = LogReader().feed(log)
    reader = LogReader()
    records = []
    places = sorted({0, *(cut for cut in cuts if cut < len(log)), len(log)})
    for start, end in itertools.pairwise(places):
        records += reader.feed(log[start:end])
    assert records == whole
    assert len(records) == 5


def test_every_end_is_a_prefix_of_the_records():
    first, second = a_record(encode(["PING", 1])), a_record(encode(["PING", 2]))
    log = a_log(first, second)
    edges = [len(log) - len(first) - len(second), len(log) - len(second), len(log)]
    for end in range(len(log) + 1):
        reader = LogReader()
        records = reader.feed(log[:end])
        assert reader.error is None
        assert len(records) == sum(end >= edge for edge in edges[1:])
        assert reader.offset == max((edge for edge in edges if edge <= end), default=0)
        assert reader.leftover_bytes == end - reader.offset


@pytest.mark.parametrize("size_bytes", [0, MAX_FRAMES_BYTES])
def test_a_record_holds_this_much(size_bytes):
    head = RecordEncoder(3, IN, CLIENT, SERVER).head(7, size_bytes)
    length = int.from_bytes(head[1:5], "big")
    assert length == len(head) - 5 + size_bytes
    assert length <= framelog.MAX_RECORD_BYTES


def test_and_no_more():
    with pytest.raises(AssertionError):
        RecordEncoder(3, IN, CLIENT, SERVER).head(7, MAX_FRAMES_BYTES + 1)


def test_there_are_two_directions():
    with pytest.raises(AssertionError):
        RecordEncoder(3, "up", CLIENT, SERVER)


def test_a_gap_is_a_record_as_every_other():
    gap = Gap(17, 1234, 5, "No space left on device")
    reader = LogReader()
    [record] = reader.feed(a_log(encode_gap(9, gap)))
    assert record[:6] == (9, 0, GAP, "", "", "")
    [logged] = FrameSplitter().split(record)
    facts = {"records": 17, "bytes": 1234, "since_ns": 5, "reason": "No space left on device"}
    assert logged.frame == (0, "GAP", facts)


def test_half_a_record_may_be_written_over():
    first, second, third = (a_record(encode(["PING", number])) for number in (1, 2, 3))
    reader = LogReader()
    assert len(reader.feed(a_log(first) + second[:20])) == 1
    offset = reader.offset
    reader.forget_leftover()
    assert (reader.offset, reader.leftover_bytes) == (offset, 0)
    [record] = reader.feed(third)
    assert record.frames == encode(["PING", 3])
    assert reader.offset == offset + len(third)
    reader.forget_leftover()
    assert len(reader.feed(second)) == 1
    assert reader.error is None


# Damage


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "not a frame log"),
        (encode(["PING", 1]), "not a frame log"),
        (encode(["mqd-frame-log"]), "not a frame log"),
        (encode([]), "not a frame log"),
        (encode(["mqd-frame-log", 2, 1, "9.0"]), "its format is 2, understood is 1"),
        (encode(["mqd-frame-log", 1, "then", "0.1.0"]), "not a frame log's header"),
        (encode(["mqd-frame-log", 1]), "not a frame log's header"),
    ],
)
def test_files_that_are_no_log(first, reason):
    reader = LogReader()
    assert reader.feed(first + a_record(encode(["PING", 1]))) == []
    assert reason in reader.error
    assert reader.header is None
    assert reader.feed(encode_header(1, "0.1.0")) == []


def test_what_stands_before_damage_is_read():
    record = a_record(encode(["PING", 1]))
    reader = LogReader()
    good = a_log(record)
    assert len(reader.feed(good + bytes(100))) == 1
    assert reader.error == (
        f"the record at byte {len(good)} is damaged: a frame starts with the byte 0xCE, not 0x00; "
        "is this client made for mqd?"
    )
    assert reader.offset == len(good)


@pytest.mark.parametrize(
    "record",
    [
        [],
        [7, 3, "in", CLIENT, SERVER, "ann"],
        [7, 3, "in", CLIENT, SERVER, "ann", "text"],
        [7, 3, "in", CLIENT, SERVER, "ann", b"", 1],
        [7.5, 3, "in", CLIENT, SERVER, "ann", b""],
    ],
)
def test_a_record_of_another_form_ends_the_reading(record):
    reader = LogReader()
    good = a_record(encode(["PING", 1]))
    assert len(reader.feed(a_log(good, encode(record), good))) == 1
    assert "is not a record" in reader.error


# Frames inside a record


def test_a_record_holds_several_frames():
    frames = [encode(["PING", 1]), encode(["PUSH", 2, "jobs", 1, b"\xa1x"]), encode(["LIST", 3])]
    logged = split(b"".join(frames))
    assert [each.raw for each in logged] == frames
    assert [each.frame for each in logged] == [
        ("PING", 1),
        ("PUSH", 2, "jobs", 1, b"\xa1x"),
        ("LIST", 3),
    ]
    assert {each.reason for each in logged} == {""}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xc1", "malformed"),
        (b"\x91" * 1100 + b"\xc0", "nested too deeply"),
        (b"\x92\xa4PING\xa1\xff", "not UTF-8"),
        (b"\x93\x01\x02", "ends in the middle"),
        (b"\x01", "not an array"),
        (b"", "empty"),
        (b"\x91\xd4\x01\x00", "extension type|max_ext_len|ext"),
    ],
)
@pytest.mark.parametrize("direction", [IN, OUT])
def test_a_frame_that_cannot_be_decoded_does_not_spoil_the_next(body, reason, direction):
    bad, good = prefix(len(body)) + body, encode(["PING", 1])
    first, second, third = split(bad + good + bad, direction)
    assert first.frame is None
    assert first.raw == third.raw == bad
    assert any(word in first.reason for word in reason.split("|"))
    assert second.frame == ("PING", 1)
    assert third.frame is None


@pytest.mark.parametrize("depth", [1, 500, 1000])
def test_deep_frames_are_decoded_as_on_the_server(depth):
    body = b"\x91" * depth + b"\xc0"
    [logged] = split(prefix(len(body)) + body)
    assert logged.frame is not None


@pytest.mark.parametrize(("excess", "is_decoded"), [(0, True), (1, False)])
def test_a_request_is_bounded_as_on_the_server(excess, is_decoded):
    frames = encode(["LIST", 1, [0] * (MAX_CONTAINER_ENTRIES + excess)])
    [request] = split(frames)
    [reply] = split(frames, OUT)
    assert (request.frame is not None) is is_decoded
    assert reply.frame is not None


@pytest.mark.parametrize(
    "rest", [b"\xce", b"\xce\x00\x00\x00", b"\xce\x00\x00\x00\x09\x91", b"GET "]
)
def test_what_is_no_whole_frame_is_shown_as_it_is(rest):
    good, bad = split(encode(["PING", 1]) + rest)
    assert good.frame == ("PING", 1)
    assert bad == framelog.LoggedFrame(rest, None, "it is not a whole frame")


def test_one_splitter_takes_all_records():
    splitter = FrameSplitter()
    for direction in (IN, OUT, IN):
        for frames in (encode([1, "OK"]), prefix(1) + b"\xc1", encode([1, "OK"])):
            record = Record(7, 3, direction, CLIENT, SERVER, "", frames)
            [logged] = splitter.split(record)
            assert (logged.frame is None) == (frames[5:] == b"\xc1")


@given(st.binary(max_size=300), st.sampled_from([IN, OUT]))
def test_nothing_makes_the_reader_raise(noise, direction):
    LogReader().feed(noise)
    LogReader().feed(a_log(noise))
    logged = split(noise, direction)
    assert b"".join(each.raw for each in logged) == noise
