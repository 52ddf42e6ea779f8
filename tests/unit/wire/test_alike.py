"""Frames that are alike are decoded together, and nobody can tell."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mqwire import alike as module
from mqwire import frames, limits
from mqwire.alike import LEAST_ALIKE, Frames, decode_alike, is_like, joined
from mqwire.frames import FrameReader, FrameWriter
from support.wire_values import framed

ENCODE = FrameWriter().encode
MANY = 3 * LEAST_ALIKE


def reader():
    return FrameReader(limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES)


def pushes(*bodies, first=1000, name="jobs"):
    return [("PUSH", first + at, name, 1, body) for at, body in enumerate(bodies)]


def pulls(count, first=1000, name="jobs"):
    return [("PULL", first + at, name, 1) for at in range(count)]


def encoded(requests):
    return b"".join(map(ENCODE, requests))


def same(count, size=20):
    return [bytes([at % 256]) * size for at in range(count)]


@contextmanager
def one_by_one():
    """Have readers decode each frame by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "_LEAST_LOOK_BYTES", 2**40)
        yield


def typed(value):
    """Return a value with its types, so that 1 is not True."""
    if isinstance(value, tuple):
        return tuple(map(typed, value))
    return (type(value), value)


def read(pieces):
    """Read a stream; return the frames, and the error's words if it breaks."""
    stream, found, rows = reader(), [], 0
    for piece in pieces:
        read_now = stream.feed(piece)
        if isinstance(read_now, Frames):
            rows += len(read_now.rows)
            check_rows(read_now)
        found += read_now
    return typed(tuple(found)), str(stream.error), stream.leftover_bytes, rows


def check_rows(found):
    """Make sure that what is said to be alike is."""
    last = 0
    for first, end in found.rows:
        assert last <= first <= end - LEAST_ALIKE
        last = end
        assert all(is_like(frame, found[first]) for frame in found[first:end])


def agrees(*pieces):
    """Make sure that a stream is read as it is frame by frame; return how many rows it had."""
    *result, rows = read(pieces)
    with one_by_one():
        *plain, none = read(pieces)
    assert result == plain
    assert none == 0
    return rows


class TestStreams:
    @pytest.mark.parametrize(
        "requests",
        [
            pulls(MANY),
            pulls(MANY, first=200),  # the ids become a byte longer
            pulls(MANY, first=2**16),
            pulls(MANY, first=2**32),
            pushes(*same(MANY)),
            pushes(*same(MANY, 0)),
            pushes(*same(MANY, 300)),
            [("PING", 1000 + at) for at in range(MANY)],
            [("X", 1000 + at, None, True, "text", b"", -1, 2**64 - 1) for at in range(MANY)],
            [("X", 1000 + at, "y" * 245) for at in range(MANY)],
        ],
    )
    def test_a_row_is_decoded_together(self, requests):
        data = encoded(requests)
        assert agrees(data) > 0
        assert agrees(data[:31], data[31:]) > 0
        assert typed(tuple(reader().feed(data))) == typed(tuple(requests))

    @pytest.mark.parametrize(
        "requests",
        [
            pulls(LEAST_ALIKE),  # the first is the model
            pulls(MANY, first=1),  # ids of a byte
            [each for pair in zip(pulls(MANY), pushes(*same(MANY)), strict=True) for each in pair],
            pushes(*(bytes(size) for size in range(MANY))),
            [("PULL", 1000 + at, "jobs", 1, {"wait": 1}) for at in range(MANY)],
            [("PULL", 1000 + at, f"job{at // 30 % 2}", 1) for at in range(MANY)],
            [("PULL", 1000 + at, f"job{int(at == 9)}", 1) for at in range(LEAST_ALIKE + 2)],
            [("ACK", 1000 + at, (1, at % 128)) for at in range(MANY)],
            [(1000 + at, "OK") for at in range(MANY)],
            [("PULL", "id", "jobs", 1)] * MANY,
            [("ÄH", 1000 + at) for at in range(MANY)],
            [("P" * 16, 1000 + at) for at in range(MANY)],
            [("PULL", 1000 + at, *range(14)) for at in range(MANY)],
            [("X", 1000 + at, 0.5) for at in range(MANY)],
            [("X", 1000 + at, "y" * 246) for at in range(MANY)],
            [("PULL",)] * MANY,
            [()] * MANY,
        ],
    )
    def test_what_is_not_alike_is_decoded_one_by_one(self, requests):
        assert agrees(encoded(requests)) == 0

    @pytest.mark.parametrize("at", [1, 2, LEAST_ALIKE, MANY - 2, MANY - 1])
    @pytest.mark.parametrize(
        "other",
        [
            ("PULL", 1000, "jobz", 1),
            ("PUSH", 1000, "jobs", 1),
            ("PULL", 1000, "jobs", True),
            ("PULL", 1000, "jobs", 2),
            ("PULL", 1000, b"job.", 1),
            ("PULL", -300, "jobs", 1),
            ("PULL", 100, "jobs", 1),
        ],
    )
    def test_one_that_is_other_is_itself(self, at, other):
        requests = pulls(MANY)
        requests[at] = other
        agrees(encoded(requests))

    @pytest.mark.parametrize("count", [LEAST_ALIKE + 1, 34, 200, 512, 513, 1500])
    def test_a_row_ends_where_another_begins(self, count):
        requests = [*pulls(count), *pulls(200, name="bobs"), *pulls(MANY)]
        found = reader().feed(encoded(requests))
        assert agrees(encoded(requests)) == 3
        assert [found.alike_until(at) for at in (0, count, count + 200)] == [
            *(count, count + 200, count + 200 + MANY)
        ]

    def test_what_is_looked_at_in_vain_is_no_more_than_what_was_found(self, monkeypatch):
        """A client that has the last byte of its last frame differ is not looked at over and over."""
        looks = []  # how many frames were looked at, and found
        look = frames.decode_alike

        def spy(data, start, size_bytes, model, most):
            found = look(data, start, size_bytes, model, most)
            looks.append((min((len(data) - start) // size_bytes, most), len(found)))
            return found

        monkeypatch.setattr(frames, "decode_alike", spy)
        reader().feed(encoded([*pulls(9000), ("PULL", 30000, "jobz", 1)]))
        assert len(looks) < 10
        assert max(looks)[1] == module.LONGEST_LOOK
        assert sum(most for most, _ in looks) < 2 * 9000
        for other in (31, 34, 300, 800, 3000):
            looks.clear()
            names = ("jobs", "jobz")
            reader().feed(
                encoded([("PULL", 1000 + at, names[at // other % 2], 1) for at in range(9000)])
            )
            found = before = 0
            for most, count in looks:
                assert most <= max(module.FIRST_LOOK, 2 * before)
                before = count
                found += count
            assert found > 8000 or other < 300, other
        assert len(looks) <= 1 + 9000 / 32

    def test_an_encoding_that_nobody_would_choose(self):
        body = b"\xdc\x00\x02\xa4PULL\xcd\x10"
        data = b"".join(framed(body + bytes([at])) for at in range(MANY))
        assert agrees(data) == 0

    def test_bytes_that_are_wrong_in_the_middle(self):
        good = encoded(pulls(MANY))
        size = len(good) // MANY
        for place in range(size):
            for value in (0x00, 0xC1, 0xCE, 0xFF):
                data = bytearray(good)
                data[(2 * LEAST_ALIKE + 3) * size + place] = value
                agrees(bytes(data))

    def test_a_stranger_has_no_rows(self):
        stranger = FrameReader(limits.MAX_FRAME_BYTES_BEFORE_AUTH, limits.MAX_CONTAINER_BYTES)
        assert type(stranger.feed(encoded(pulls(MANY)))) is list

    @given(
        st.lists(
            st.one_of(
                st.builds(pulls, st.integers(0, MANY), st.sampled_from([1, 250, 65530, 2**32])),
                st.builds(
                    lambda count, size, first: pushes(*same(count, size), first=first),
                    st.integers(0, MANY),
                    st.integers(0, 40),
                    st.sampled_from([100, 1000, 70000]),
                ),
            ),
            max_size=5,
        ),
        st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=2),
        st.lists(st.integers(0, 2000), max_size=4),
    )
    @example([pulls(MANY)], [], [3])
    def test_any_stream_in_any_pieces(self, groups, wrong, cuts):
        data = bytearray(encoded([request for group in groups for request in group]))
        for place, value in wrong:
            if place < len(data):
                data[place] = value
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        agrees(*(bytes(data[a:b]) for a, b in pairwise(edges)))


class TestFrames:
    def test_a_frame_that_came_in_two_pieces_belongs_to_its_row(self):
        stream, data = reader(), encoded(pulls(MANY))
        assert stream.feed(data[:10]) == []
        assert stream.feed(data[10:]).alike_until(0) == MANY

    def test_one_that_is_other_does_not(self):
        stream, data = reader(), encoded([*pulls(1, name="a"), *pulls(MANY)])
        assert stream.feed(data[:10]) == []
        found = stream.feed(data[10:])
        assert [found.alike_until(at) for at in (0, 1, 5)] == [1, MANY + 1, MANY + 1]

    def test_the_rest_knows_what_is_left(self):
        found = Frames(pulls(20), [(2, 9), (11, 20)])
        assert [found.alike_until(at) for at in (0, 1, 2, 8, 9, 10, 11, 19)] == [
            *(1, 2, 9, 9, 10, 11, 20, 20)
        ]
        rest = found.rest(5)
        assert rest == found[5:]
        assert [rest.alike_until(at) for at in (0, 3, 4, 5, 6)] == [4, 4, 5, 6, 15]
        assert [found.rest(9).alike_until(at) for at in (0, 1, 2)] == [1, 2, 11]

    def test_frames_are_joined_with_what_is_known_of_either(self):
        alike, plain = Frames(pulls(20), [(2, 18)]), pulls(3)
        for first in (plain, alike):
            for second in (plain, alike):
                found = joined(first.copy() if first is plain else first.rest(0), second)
                assert found == [*first, *second]
                known = found.rows if isinstance(found, Frames) else []
                before = len(first)
                assert known == [
                    *([(2, 18)] if first is alike else []),
                    *([(2 + before, 18 + before)] if second is alike else []),
                ]

    def test_what_is_appended_is_not_known_of(self):
        found = Frames(pulls(9), [(0, 9)])
        found += pulls(2)
        assert (found.alike_until(8), found.alike_until(9)) == (9, 10)

    @pytest.mark.parametrize(
        ("other", "is_alike"),
        [
            (("PUSH", 7, "q", 1, b"xyz"), True),
            (("PUSH", 7, "q", 1, b"xy"), False),
            (("PUSH", 7, "r", 1, b"xyz"), False),
            (("PUSH", 7, "q", True, b"xyz"), False),
            (("PULL", 7, "q", 1, b"xyz"), False),
            (("PUSH", True, "q", 1, b"xyz"), False),
            (("PUSH", 7, "q", 1), False),
            ((), False),
        ],
    )
    def test_what_is_like_another(self, other, is_alike):
        assert is_like(other, ("PUSH", 1, "q", 1, b"abc")) is is_alike

    def test_the_shared_values_are_the_same_objects(self):
        requests = pushes(*same(MANY))
        data = encoded(requests)
        size = len(data) // MANY
        found = decode_alike(data, size, size, requests[0])
        assert found == requests[1:]
        assert len({id(frame[2]) for frame in found}) == 1
        assert module.LEAST_ALIKE > 1
        assert msgpack.unpackb(data[5:size], use_list=False) == requests[0]
