from __future__ import annotations

from contextlib import contextmanager

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire import packs as module
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.packs import (
    Cutter,
    PackChecker,
    decode_body,
    iter_sizes,
    join_bodies,
    size_of_each,
    split_pack,
)
from support.wire_values import (
    EDGE_LENGTHS,
    MIB,
    bodies,
    edge_bodies,
    mutated,
    packs,
    split_plainly,
    traced_memory,
)

garbage = st.binary(max_size=40) | mutated(packs.map(b"".join))
NOT_MSGPACK = [
    b"\xc1",
    b"\x01\xc1",
    b"\xa5four",
    b"\x92\x01",
    b"\x81\x01",
    b"\xc4",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xd4\x01",
    b"\x91" * 100_000,
]
DEEPEST = 1000
BODIES = [b"", "", b"bytes", "text", "\U0001f600", b"\x00\xff"]


def is_refused(checker, pack, count):
    try:
        checker.check(pack, count)
    except RequestError as error:
        assert error.code is Code.BAD_PACK
        assert error.details == {"count": count, "bytes": len(pack)}
        return True
    return False


even_packs = st.builds(
    lambda mark, size, count: [
        mark + bytes([size]) + bytes([each]) * size for each in range(count)
    ],
    st.sampled_from([b"\xc4", b"\xd9"]),
    st.integers(0, 90),
    st.integers(1, 40),
)


@contextmanager
def one_by_one():
    """Have each body looked at by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "size_of_each", lambda _pack: 0)
        yield


class TestJoinAndSplit:
    def test_bytes_become_bin_and_text_becomes_str(self):
        assert join_bodies([b"\x03", "hi"]) == b"\xc4\x01\x03\xa2hi"

    def test_no_bodies_make_an_empty_pack(self):
        assert join_bodies([]) == b""
        assert split_pack(b"") == []

    @given(st.lists(st.binary() | st.text() | edge_bodies, max_size=10))
    def test_a_pack_is_the_encodings_of_its_bodies_in_order(self, given_bodies):
        pieces = [msgpack.packb(body) for body in given_bodies]
        assert join_bodies(iter(given_bodies)) == b"".join(pieces)
        assert split_pack(join_bodies(given_bodies)) == pieces
        assert [decode_body(piece) for piece in pieces] == given_bodies

    @given(packs)
    def test_any_values_are_split(self, pieces):
        assert split_pack(b"".join(pieces)) == pieces

    @given(garbage)
    def test_any_bytes_are_split_or_refused(self, pack):
        expected = split_plainly(pack)
        if expected is not None:
            assert split_pack(pack) == expected
        else:
            with pytest.raises(RequestError) as caught:
                split_pack(pack)
            assert caught.value.code is Code.BAD_PACK
            assert caught.value.details == {}

    @pytest.mark.parametrize("pack", NOT_MSGPACK, ids=lambda pack: pack[:5].hex())
    def test_a_damaged_pack_is_refused(self, pack):
        with pytest.raises(RequestError, match="not msgpack"):
            split_pack(pack)

    def test_a_large_pack_is_split(self):
        pieces = [msgpack.packb(b"x" * 50_000)] * 100
        assert split_pack(b"".join(pieces)) == pieces

    def test_what_cannot_be_packed_is_refused(self):
        with pytest.raises(TypeError):
            join_bodies([object()])


class TestDecodeBody:
    @given(bodies)
    def test_a_body_comes_back(self, body):
        decoded = decode_body(msgpack.packb(body))
        assert decoded == msgpack.unpackb(msgpack.packb(body))

    @pytest.mark.parametrize("body", BODIES)
    def test_bytes_and_text_keep_their_type(self, body):
        decoded = decode_body(join_bodies([body]))
        assert decoded == body
        assert type(decoded) is type(body)

    def test_keys_need_not_be_text(self):
        assert decode_body(b"\x82\x01\x02\xc0\x03") == {1: 2, None: 3}

    @pytest.mark.parametrize(
        "piece",
        [
            b"",
            b"\x01\x02",
            b"\xa1\xff",
            b"\xa3\xed\xa0\x80",
            b"\x81\x90\x01",
            b"\x81\x80\x01",
            b"\xc7\x00\xff",
            b"\xd7\xff" + b"\xff" * 8,
            *NOT_MSGPACK,
        ],
        ids=lambda piece: piece[:5].hex(),
    )
    def test_what_cannot_be_decoded_is_a_value_error(self, piece):
        with pytest.raises(ValueError):  # noqa: PT011  the parser's texts are its own
            decode_body(piece)

    @given(garbage)
    def test_any_bytes_give_a_value_or_a_value_error(self, piece):
        try:
            decode_body(piece)
        except ValueError:
            return
        assert len(split_plainly(piece)) == 1


class TestPackChecker:
    @given(packs)
    def test_a_pack_holds_what_it_holds(self, pieces):
        checker = PackChecker()
        pack = b"".join(pieces)
        checker.check(pack, len(pieces))
        assert is_refused(checker, pack, len(pieces) + 1)
        if pieces:
            assert is_refused(checker, pack, len(pieces) - 1)
        checker.check(pack, len(pieces))

    @given(st.lists(st.tuples(garbage, st.integers(0, 8)), max_size=12))
    def test_one_checker_judges_any_row_of_packs_as_a_plain_reader_does(self, claims):
        checker = PackChecker()
        for pack, count in claims:
            pieces = split_plainly(pack)
            is_sound = pieces is not None and len(pieces) == count
            assert is_refused(checker, pack, count) is not is_sound

    @pytest.mark.parametrize("count", [1, 2, 16_384])
    @pytest.mark.parametrize("pack", [b"", *NOT_MSGPACK], ids=lambda pack: pack[:5].hex())
    def test_it_is_sound_after_every_refusal(self, pack, count):
        checker = PackChecker()
        checker.check(b"\x01\x02\x03", 3)
        assert is_refused(checker, pack, count)
        checker.check(b"\x05", 1)
        assert is_refused(checker, b"\x05", 2)
        checker.check(b"\x05\x06", 2)
        assert is_refused(checker, b"\x05\x06", 1)
        checker.check(b"\xa1a", 1)

    def test_a_refusal_says_what_was_declared(self):
        checker = PackChecker()
        with pytest.raises(RequestError, match="does not hold 2 well-formed bodies"):
            checker.check(b"\x01", 2)
        with pytest.raises(RequestError, match="holds more than the declared 2 bodies"):
            checker.check(b"\x01\x02\x03", 2)

    @pytest.mark.parametrize("count", [15, 16, 16_383, 16_384, 65_535, 65_536])
    def test_counts_on_both_sides_of_each_form_of_header(self, count):
        checker = PackChecker()
        checker.check(b"\xa1a" * count, count)
        assert is_refused(checker, b"\xa1a" * count, count - 1)
        assert is_refused(checker, b"\xa1a" * count, count + 1)

    @pytest.mark.parametrize("length", EDGE_LENGTHS)
    def test_a_body_of_each_form(self, length):
        checker = PackChecker()
        for body in (b"x" * length, "x" * length, [None] * length):
            checker.check(msgpack.packb(body), 1)
            checker.check(msgpack.packb(body) * 3, 3)

    def test_a_nested_body_is_one_body(self):
        deep = b"\x91" * DEEPEST + b"\xc0"
        checker = PackChecker()
        checker.check(deep, 1)
        checker.check(deep * 4, 4)

    def test_a_body_that_holds_another_packs_header_is_not_taken_apart(self):
        checker = PackChecker()
        checker.check(b"\x92\x01\x02", 1)
        assert is_refused(checker, b"\x92\x01\x02", 2)

    def test_what_a_header_only_announces_takes_no_memory(self):
        checker = PackChecker()
        with traced_memory() as used:
            for pack in (
                b"\xdd\xff\xff\xff\xff",
                b"\xdc\xff\xff" * 1000,
                b"\x91\xdf\x7f\xff\xff\xff",
            ):
                assert is_refused(checker, pack, 1)
            assert used()[1] < MIB

    def test_containers_are_not_decoded(self):
        bomb = b"\xdd" + MIB.to_bytes(4, "big") + b"\x80" * MIB
        checker = PackChecker()
        with traced_memory() as used:
            checker.check(bomb, 1)
            assert used()[1] < 8 * MIB

    @pytest.mark.parametrize("count", [1, 2])
    def test_a_large_pack_leaves_nothing_behind(self, count):
        checker = PackChecker()
        large = msgpack.packb(b"x" * 8 * MIB) * count
        with traced_memory() as used:
            checker.check(large, count)
            now, peak = used()
        assert peak > 8 * MIB
        assert now < MIB
        checker.check(b"\x01", 1)


@st.composite
def packs_and_takes(draw):
    pieces = draw(packs)
    rooms = st.integers(0, 60) | st.just(10**9)
    takes = draw(
        st.lists(st.tuples(st.integers(0, 6), rooms, st.integers(0, 2)), min_size=1, max_size=8)
    )
    return pieces, takes


class TestCutter:
    @given(packs_and_takes())
    def test_it_takes_bodies_as_a_list_would(self, case):
        pieces, takes = case
        cutter = Cutter(b"".join(pieces))
        left = list(pieces)
        for wanted, room_bytes, at_least in takes:
            most = min(wanted, len(left))
            count = 0
            while count < most and (
                count < at_least or sum(map(len, left[: count + 1])) <= room_bytes
            ):
                count += 1
            assert cutter.take(most, room_bytes, at_least) == (count, b"".join(left[:count]))
            left = left[count:]
            assert cutter.rest == b"".join(left)

    def test_room_at_the_bound_and_one_below_it(self):
        pack = join_bodies([b"abc", b"def"])
        assert Cutter(pack).take(2, 10) == (2, pack)
        assert Cutter(pack).take(2, 9) == (1, pack[:5])
        assert Cutter(pack).take(2, 5) == (1, pack[:5])
        assert Cutter(pack).take(2, 4) == (0, b"")

    def test_at_least_one_is_taken_where_that_is_asked_for(self):
        pack = join_bodies([b"abc", b"def"])
        cutter = Cutter(pack)
        assert cutter.take(2, 0, at_least=1) == (1, pack[:5])
        assert cutter.take(1, 0, at_least=1) == (1, pack[5:])
        assert cutter.rest == b""

    def test_what_was_looked_at_and_left_is_still_there(self):
        pack = join_bodies(["first", "second", "third"])
        cutter = Cutter(pack)
        for _ in range(3):
            assert cutter.take(3, 5) == (0, b"")
        assert cutter.rest == pack
        assert cutter.take(3, len(pack)) == (3, pack)

    @given(even_packs, st.lists(st.tuples(*[st.integers(0, 40)] * 3), max_size=9))
    def test_bodies_of_one_size_are_taken_as_others_are(self, pieces, takes):
        even = Cutter(b"".join(pieces))
        with one_by_one():
            plain = Cutter(b"".join(pieces))
        left = len(pieces)
        for wanted, room_bytes, at_least in takes:
            most = min(wanted, left)
            taken = even.take(most, room_bytes, min(at_least, most))
            assert taken == plain.take(most, room_bytes, min(at_least, most))
            assert even.rest == plain.rest
            left -= taken[0]

    def test_one_by_one_through_a_large_pack(self):
        pieces = [msgpack.packb(b"x" * (index % 300)) for index in range(16_384)]
        cutter = Cutter(b"".join(pieces))
        assert [cutter.take(1, 0, 1) for _ in pieces] == [(1, piece) for piece in pieces]


class TestSizeOfEach:
    @given(even_packs)
    def test_bodies_of_one_size(self, pieces):
        pack = b"".join(pieces)
        assert size_of_each(pack) == len(pieces[0])
        assert split_pack(pack) == pieces
        assert list(iter_sizes(pack)) == list(map(len, pieces))

    def test_large_bodies_of_one_size(self):
        for body in (b"a" * 300, "a" * 300, b"a" * 65535):
            pack = join_bodies([body] * 9)
            assert size_of_each(pack) == len(pack) // 9
            assert split_pack(pack) == [pack[: len(pack) // 9]] * 9

    @given(st.one_of(st.binary(max_size=40), packs.map(b"".join)))
    def test_whatever_it_says_is_so(self, pack):
        each_bytes = size_of_each(pack)
        with one_by_one():
            if each_bytes:
                assert set(map(len, split_pack(pack))) == {each_bytes}

    @pytest.mark.parametrize(
        "pack",
        [
            b"",
            b"\xc4",
            b"\x01\x01",
            b"\xa1",
            b"\xa1a\xa2bc",
            join_bodies(["a", "bc", "d"]),
            join_bodies([b"a", b"bc"]),
            join_bodies([b"ab", b"c"]),
            join_bodies([b"ab", "c" * 40]),
            join_bodies([b"a" * 300, b"a" * 301]),
            b"\xc5\x01",
            b"\xc6\x00\x00\x00\x01a",
            join_bodies([b"a" * 40, "a" * 40]),
            join_bodies([b"abc", b"abc"])[:-1],
            b"\xc4\x02ab\xc4\x03ab",
        ],
    )
    def test_others(self, pack):
        assert size_of_each(pack) == 0


class TestIterSizes:
    @given(packs)
    def test_the_size_of_each_body(self, pieces):
        assert list(iter_sizes(b"".join(pieces))) == [len(piece) for piece in pieces]

    def test_an_empty_pack_has_no_sizes(self):
        assert list(iter_sizes(b"")) == []

    def test_a_large_pack(self):
        assert list(iter_sizes(msgpack.packb(b"x" * MIB) * 9)) == [MIB + 5] * 9


@given(
    st.one_of(
        st.binary(max_size=300).map(msgpack.packb),
        st.text(max_size=300).map(msgpack.packb),
        st.binary(max_size=6),
        st.builds(bytes.__add__, st.sampled_from((b"\xc4", b"\xd9")), st.binary(max_size=300)),
    )
)
def test_one_short_body_is_judged_as_others_are(pack):
    unpacker = msgpack.Unpacker()
    unpacker.feed(pack)
    try:
        unpacker.skip()
        is_sound = unpacker.tell() == len(pack)
    except (ValueError, msgpack.OutOfData):
        is_sound = False
    if is_sound:
        PackChecker().check(pack, 1)
    else:
        with pytest.raises(RequestError):
            PackChecker().check(pack, 1)
