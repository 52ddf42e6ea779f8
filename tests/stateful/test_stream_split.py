"""Any cut of any stream of bytes gives the same frames and the same error.

A stream is whole frames, damaged frames, hostile frames and garbage in a row. Each is
read whole, byte by byte and in random pieces, by readers with bounds of every
kind; a plain model says what should come out.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mqwire import limits
from mqwire.codes import Code
from mqwire.frames import FrameReader, FrameWriter
from support.wire_values import cut_at, framed, frames, mutated, read_all, read_plainly

WRITER = FrameWriter()

encoded = frames.map(WRITER.encode)
hostile = st.sampled_from(
    [
        framed(body)
        for body in (
            b"",
            b"\xc1",
            b"\x90",
            b"\x91\x01\x01",
            b"\x92\x01",
            b"\x91\xdd\xff\xff\xff\xff",
            b"\x91\xdf\x7f\xff\xff\xff",
            b"\x91\xc7\x00\x05",
            b"\x91\xd6\xff\x00\x00\x00\x01",
            b"\x91\xa1\xff",
            b"\x91\x82\xa1a\x01\xa1a\x02",
            b"\x91\x81\x01\x02",
            b"\x91" + b"\x80" * 40,
            b"\xdc\x00\x50" + b"\xc0" * 80,
            b"\x93" + b"\xc4\x50" + b"x" * 80 + b"\x90\x90",
            b"\x93" + b"\xc4\x50" + b"x" * 80 + b"\x98" + b"\x80" * 8 + b"\x98" + b"\x80" * 8,
            b"\x91\xc5\x10\x00" + b"x" * 4096,
        )
    ]
    + [b"\xce\xff\xff\xff\xff", b"\xce\x00\x00\x00\x00", b"\xce\x00\x00\x10\x01", b"GET / HTTP/1.1"]
)
segments = encoded | encoded | encoded | mutated(encoded) | hostile | st.binary(max_size=12)
streams = st.lists(segments, max_size=6).map(b"".join)
places = st.lists(st.integers(0, 2**16), max_size=12)

# (largest frame, largest containers): small bounds, so that short streams reach them.
BOUNDS = st.sampled_from(
    [
        (limits.MAX_FRAME_BYTES, None),
        (256, None),
        (limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES),
        (limits.MAX_FRAME_BYTES, 16),
        (limits.MAX_FRAME_BYTES, 64),
        (limits.MAX_FRAME_BYTES_BEFORE_AUTH, limits.MAX_CONTAINER_BYTES),
        (limits.MAX_FRAME_BYTES_BEFORE_AUTH, 16),
        (64, 16),
    ]
)


def shown(outcome):
    """Make frames comparable: NaN equals itself, and 1 differs from 1.0 and true."""
    return repr(outcome)


@settings(max_examples=300, deadline=None)
@given(streams, places, BOUNDS)
@example(framed(b"\x91\x01") * 3 + b"\x00", [1, 8, 9, 15], (256, None))
@example(framed(b"\x92\x01") + framed(b"\x90"), [7], (64, 16))
def test_every_cut_gives_the_same_frames_and_the_same_error(stream, cuts, bounds):
    whole = read_all(FrameReader(*bounds), [stream])
    single_bytes = [stream[at : at + 1] for at in range(len(stream))]
    assert shown(read_all(FrameReader(*bounds), single_bytes)) == shown(whole)
    assert shown(read_all(FrameReader(*bounds), cut_at(stream, cuts))) == shown(whole)


@settings(max_examples=300, deadline=None)
@given(streams, places, st.sampled_from([64, 256, limits.MAX_FRAME_BYTES]))
def test_a_reader_gives_what_a_plain_one_gives(stream, cuts, max_frame_bytes):
    expected = read_plainly(stream, max_frame_bytes)
    trusting = FrameReader(max_frame_bytes)
    assert shown(read_all(trusting, cut_at(stream, cuts))) == shown(expected)
    wary = FrameReader(max_frame_bytes, limits.MAX_CONTAINER_BYTES)
    assert shown(read_all(wary, cut_at(stream, cuts))) == shown(expected)


@settings(deadline=None)
@given(st.lists(frames, max_size=8), places)
def test_what_is_written_is_read_in_any_pieces(given_frames, cuts):
    stream = b"".join(WRITER.encode(frame) for frame in given_frames)
    reader = FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)
    assert read_all(reader, cut_at(stream, cuts)) == (given_frames, None)
    assert reader.leftover_bytes == 0


@settings(deadline=None)
@given(st.lists(encoded, max_size=4), encoded, st.data())
def test_a_stream_that_ends_in_a_frame_gives_those_before_it(before, last, data):
    part = last[: data.draw(st.integers(0, len(last) - 1))]
    reader = FrameReader(limits.MAX_FRAME_BYTES)
    frames_read = reader.feed(b"".join(before) + part)
    assert frames_read == [frame for whole in before for frame in FrameReader(2**24).feed(whole)]
    assert reader.error is None
    assert reader.leftover_bytes == len(part)


@settings(deadline=None)
@given(st.lists(encoded, max_size=4), hostile, st.binary(min_size=1, max_size=30), places)
def test_nothing_is_read_after_the_place_that_broke_the_stream(before, bad, after, cuts):
    sound = b"".join(before)
    expected = read_all(FrameReader(2**24), [sound + bad])
    if expected[1] is not None:
        # What follows may take the place of what a frame lacks, and must change nothing.
        stream = sound + bad + after
        frames_read, code = read_all(FrameReader(2**24), cut_at(stream, cuts))
        assert shown(frames_read) == shown(expected[0])
        assert code is expected[1]


@settings(deadline=None)
@given(st.lists(st.tuples(streams, places, BOUNDS), min_size=2, max_size=4), st.randoms())
def test_readers_that_take_turns_do_not_disturb_each_other(given_streams, random):
    alone = [read_all(FrameReader(*bounds), [stream]) for stream, _, bounds in given_streams]
    readers = [FrameReader(*bounds) for _, _, bounds in given_streams]
    frames_read = [[] for _ in readers]
    pieces = [cut_at(stream, cuts) for stream, cuts, _ in given_streams]
    turns = [index for index, row in enumerate(pieces) for _ in row]
    random.shuffle(turns)
    for index in turns:
        frames_read[index] += readers[index].feed(pieces[index].pop(0))
    together = [
        (read, reader.error and reader.error.code)
        for read, reader in zip(frames_read, readers, strict=True)
    ]
    assert shown(together) == shown(alone)


LARGE_BODY = bytes(range(256)) * 5000
LARGE = WRITER.encode(["PUSH", 1, "jobs", 1, LARGE_BODY, {"headers": {"a": "b"}}])
SMALL = WRITER.encode(["PING", 2])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2**22), max_size=8), st.booleans())
def test_frames_over_a_mebibyte_in_any_pieces(cuts, is_broken):
    stream = LARGE + SMALL + LARGE + SMALL * 3 + (b"\x00" if is_broken else b"")
    large = ("PUSH", 1, "jobs", 1, LARGE_BODY, {"headers": {"a": "b"}})
    small = ("PING", 2)
    reader = FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)
    frames_read, code = read_all(reader, cut_at(stream, cuts))
    assert frames_read == [large, small, large, small, small, small]
    assert code is (Code.BAD_PREFIX if is_broken else None)


@pytest.mark.parametrize("at", range(1, len(LARGE), 99_991))
def test_a_broken_large_frame_breaks_wherever_it_is_cut(at):
    damaged = bytearray(LARGE)
    damaged[-1] = 0xC1
    reader = FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)
    pieces = [SMALL + damaged[:at], bytes(damaged[at:]) + SMALL]
    assert read_all(reader, pieces) == ([("PING", 2)], Code.MALFORMED_FRAME)
