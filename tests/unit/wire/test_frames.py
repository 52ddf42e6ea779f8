"""Frames written and read. That the cuts of a stream do not matter is shown in tests/stateful."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire import frames as module
from mqwire import limits
from mqwire.codes import Code
from mqwire.frames import FrameReader, FrameWriter, prefix
from support.wire_values import MIB, framed, frames, read_all, traced_memory

KIB = 1024
PING = framed(b"\x92\xa4PING\x01")
PING_READ = ("PING", 1)


def servers_reader(max_frame_bytes=limits.MAX_FRAME_BYTES):
    return FrameReader(max_frame_bytes, limits.MAX_CONTAINER_BYTES)


def strangers_reader():
    return servers_reader(limits.MAX_FRAME_BYTES_BEFORE_AUTH)


def clients_reader():
    return FrameReader(limits.MAX_FRAME_BYTES)


READERS = [
    pytest.param(servers_reader, id="server"),
    pytest.param(strangers_reader, id="stranger"),
    pytest.param(clients_reader, id="client"),
]


def broken(reader, data):
    """Feed `data`, which breaks the stream before a frame is whole; return the error."""
    assert reader.feed(data) == []
    assert reader.error is not None
    assert reader.error.code.is_fatal
    return reader.error


def array_of(count, entry=b"\xc0"):
    return b"\xdd" + count.to_bytes(4, "big") + entry * count


class TestPrefix:
    @pytest.mark.parametrize("length", [0, 1, 255, 1023, 1024, 65_536, 2**24, 2**32 - 1])
    def test_a_byte_and_the_length(self, length):
        assert prefix(length) == b"\xce" + length.to_bytes(4, "big")

    @given(st.integers(0, 2**32 - 1))
    def test_it_is_itself_a_msgpack_integer(self, length):
        assert msgpack.unpackb(prefix(length)) == length


class TestWriter:
    def test_a_frame_is_a_prefix_and_a_body(self):
        assert FrameWriter().encode(["PING", 1]) == PING
        assert FrameWriter().encode(("PING", 1)) == PING

    def test_the_packer_alone_makes_the_body(self):
        assert FrameWriter().pack(["PING", 1]) == PING[5:]

    @given(st.lists(frames, max_size=5))
    def test_one_writer_writes_what_readers_read(self, given_frames):
        writer = FrameWriter()
        stream = b"".join(writer.encode(frame) for frame in given_frames)
        for make_reader in (servers_reader, clients_reader):
            assert make_reader().feed(stream) == given_frames

    @given(frames)
    def test_a_stream_is_also_a_plain_row_of_msgpack_values(self, frame):
        unpacker = msgpack.Unpacker(use_list=False)
        unpacker.feed(FrameWriter().encode(frame))
        length, decoded = unpacker
        assert length == len(FrameWriter().pack(frame))
        assert decoded == frame

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (object(), TypeError),
            ({1, 2}, TypeError),
            (2**64, OverflowError),
            (-(2**63) - 1, OverflowError),
            ("\udc80", ValueError),
        ],
    )
    def test_it_is_sound_after_a_value_that_msgpack_cannot_hold(self, value, error):
        writer = FrameWriter()
        with pytest.raises(error):
            writer.encode(["PUSH", 1, "jobs", value])
        assert writer.encode(["PING", 1]) == PING

    def test_a_body_longer_than_any_short_prefix(self):
        for length in range(1015, 1030):
            frame = (b"x" * length,)
            assert clients_reader().feed(FrameWriter().encode(frame)) == [frame]


@pytest.mark.parametrize("make_reader", READERS)
class TestReading:
    def test_a_frame_is_a_tuple_of_tuples(self, make_reader):
        reader = make_reader()
        assert reader.feed(framed(b"\x92\x91\x01\x81\xa1k\x92\x02\xc4\x01b")) == [
            ((1,), {"k": (2, b"b")})
        ]
        assert reader.error is None

    def test_many_frames_at_once(self, make_reader):
        assert make_reader().feed(PING * 1000) == [PING_READ] * 1000

    def test_nothing_comes_of_nothing(self, make_reader):
        reader = make_reader()
        assert reader.feed(b"") == []
        assert reader.feed(PING[:3]) == []
        assert reader.feed(b"") == []
        assert reader.feed(PING[3:]) == [PING_READ]
        assert reader.error is None

    def test_a_frame_is_given_when_its_last_byte_is_there(self, make_reader):
        reader = make_reader()
        for byte in PING[:-1]:
            assert reader.feed(bytes([byte])) == []
        assert reader.feed(PING[-1:]) == [PING_READ]

    def test_an_empty_array_is_a_frame(self, make_reader):
        assert make_reader().feed(framed(b"\x90")) == [()]

    def test_what_is_left_over(self, make_reader):
        reader = make_reader()
        assert reader.leftover_bytes == 0
        for count in range(1, len(PING)):
            reader.feed(PING[count - 1 : count])
            assert reader.leftover_bytes == count
        reader.feed(PING[-1:] + PING[:4])
        assert reader.leftover_bytes == 4
        reader.feed(PING[4:])
        assert reader.leftover_bytes == 0

    def test_what_is_missing(self, make_reader):
        reader = make_reader()
        reader.feed(PING[:4])
        assert reader.missing_bytes == 0, "nobody knows yet"
        for count in range(5, len(PING)):
            reader.feed(PING[4:5] if count == 5 else PING[count - 1 : count])
            assert reader.missing_bytes == len(PING) - count
        reader.feed(PING[-1:])
        assert reader.missing_bytes == 0
        reader.feed(PING + PING[:5])
        assert reader.missing_bytes == len(PING) - 5

    def test_integers_of_any_form(self, make_reader):
        forms = [
            b"\x01",
            b"\xcc\x01",
            b"\xcd\x00\x01",
            b"\xce\0\0\0\x01",
            b"\xcf" + b"\0" * 7 + b"\x01",
        ]
        forms += [b"\xd0\x01", b"\xd1\x00\x01", b"\xd2\0\0\0\x01", b"\xd3" + b"\0" * 7 + b"\x01"]
        for form in forms:
            assert make_reader().feed(framed(b"\x91" + form)) == [(1,)]

    def test_keys_that_differ_are_no_duplicates(self, make_reader):
        assert make_reader().feed(framed(b"\x91\x82\xa1a\x01\xa1b\x01")) == [({"a": 1, "b": 1},)]


@pytest.mark.parametrize("make_reader", READERS)
class TestBrokenStream:
    @pytest.mark.parametrize("byte", [0x00, 0x0A, 0x47, 0x92, 0xCD, 0xCF, 0xFF])
    def test_the_first_byte_is_judged_alone(self, make_reader, byte):
        error = broken(make_reader(), bytes([byte]))
        assert error.code is Code.BAD_PREFIX
        assert error.details == {"got": byte}
        assert f"0x{byte:02X}" in error.message

    def test_frames_before_the_broken_place_are_given(self, make_reader):
        reader = make_reader()
        assert reader.feed(PING * 3 + b"GET /") == [PING_READ] * 3
        assert reader.error.code is Code.BAD_PREFIX
        assert reader.error.details == {"got": ord("G")}

    def test_nothing_is_read_after_it(self, make_reader):
        reader = make_reader()
        error = broken(reader, b"\x00")
        assert reader.feed(PING) == []
        assert reader.feed(b"\x01") == []
        assert reader.error is error

    def test_an_empty_body(self, make_reader):
        error = broken(make_reader(), framed(b"") + PING)
        assert error.code is Code.MALFORMED_FRAME
        assert "empty" in error.message

    @pytest.mark.parametrize(
        "body", [b"\x01", b"\xc0", b"\x80", b"\x81\xa1a\x01", b"\xa4PING", b"\xc4\x01x", b"\xc3"]
    )
    def test_a_body_that_is_no_array(self, make_reader, body):
        error = broken(make_reader(), framed(body))
        assert error.code is Code.MALFORMED_FRAME
        assert "not an array" in error.message

    @pytest.mark.parametrize("after", [b"", PING, b"\x01" * 100], ids=["nothing", "frame", "bytes"])
    @pytest.mark.parametrize(
        "body",
        [b"\x92\x01", b"\x91", b"\x91\xa5four", b"\xdd\x00\x00\x00\x05\x01", b"\x91\xcd\x01"],
    )
    def test_a_body_that_is_longer_than_declared(self, make_reader, body, after):
        assert broken(make_reader(), framed(body) + after).code is Code.MALFORMED_FRAME

    @pytest.mark.parametrize("rest", [b"\x01", b"\xc1", PING, b"\x90"])
    def test_a_body_that_is_shorter_than_declared(self, make_reader, rest):
        error = broken(make_reader(), framed(b"\x91\x01" + rest))
        assert error.code is Code.MALFORMED_FRAME

    @pytest.mark.parametrize("place", [b"\x91%b", b"\x91\x91%b", b"\x91\x81\xa1k%b", b"%b"])
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (b"\xc1", "not msgpack"),
            (b"\xa1\xff", "not UTF-8"),
            (b"\xa2\xc0\x80", "not UTF-8"),
            (b"\xa3\xed\xa0\x80", "not UTF-8"),
            (b"\x82\xa1a\x01\xa1a\x02", "same key twice"),
            (b"\x83\xa1a\x01\xa1b\x01\xa1a\x01", "same key twice"),
            (b"\x81\x01\x02", ""),
            (b"\x81\xc0\x02", ""),
            (b"\x81\x90\x02", ""),
            (b"\xc7\x00\x05", "extension"),
            (b"\xc7\x00\xff", ""),
            (b"\xc8\x00\x00\x05", "extension"),
            (b"\xc9\x00\x00\x00\x00\x05", "extension"),
            (b"\xc7\x01\x05x", ""),
            (b"\xd4\x05x", ""),
            (b"\xd5\x05xx", ""),
            (b"\xd6\x05xxxx", ""),
            (b"\xd7\x05" + b"x" * 8, ""),
            (b"\xd8\x05" + b"x" * 16, ""),
            (b"\xd6\xff\x00\x00\x00\x01", ""),
            (b"\xd7\xff" + b"\x00" * 8, ""),
            (b"\xc7\x0c\xff" + b"\x00" * 12, ""),
        ],
        ids=lambda given: given.hex() if isinstance(given, bytes) else "",
    )
    def test_what_is_not_strict_msgpack(self, make_reader, place, value, says):
        error = broken(make_reader(), framed(place % value))
        assert error.code is Code.MALFORMED_FRAME
        if place != b"%b":
            assert says in error.message

    def test_a_value_that_ends_too_early_is_said_to(self, make_reader):
        assert "in the middle" in broken(make_reader(), framed(b"\x91\xa5four")).message

    @pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1k", b"\xdc\x00\x01"])
    def test_depth_is_bounded(self, make_reader, opening):
        deep = opening * (4000 // len(opening)) + b"\xc0"
        error = broken(make_reader(), framed(deep))
        assert error.code is Code.MALFORMED_FRAME
        assert "nested too deeply" in error.message


class TestLength:
    @pytest.mark.parametrize("bound", [64, 4096, 4097, MIB])
    def test_at_the_bound_and_one_past_it(self, bound):
        header = b"\x91\xc6" + (bound - 6).to_bytes(4, "big")
        reader = servers_reader(bound)
        assert reader.feed(framed(header + bytes(bound - 6))) == [(bytes(bound - 6),)]
        error = broken(reader, prefix(bound + 1))
        assert error.code is Code.FRAME_TOO_LARGE
        assert error.details == {"limit": bound, "asked": bound + 1}
        assert str(bound + 1) in error.message

    def test_it_is_judged_before_the_body_arrives(self):
        reader = strangers_reader()
        for byte in prefix(2**32 - 1)[:-1]:
            assert reader.feed(bytes([byte])) == []
            assert reader.error is None
        assert broken(reader, b"\xff").details == {"limit": 4096, "asked": 2**32 - 1}

    def test_a_body_that_may_come_takes_no_memory_before_it_does(self):
        with traced_memory() as used:
            reader = servers_reader()
            reader.feed(prefix(limits.MAX_FRAME_BYTES))
            assert used()[1] < 64 * KIB

    def test_a_bound_that_is_set_later_holds_from_the_next_prefix_on(self):
        large = framed(b"\x91\xc5\x20\x00" + bytes(8192))
        reader = strangers_reader()
        assert reader.max_frame_bytes == 4096
        assert reader.feed(PING + large[:4]) == [PING_READ]
        reader.max_frame_bytes = 10_000
        assert reader.max_frame_bytes == 10_000
        assert reader.feed(large[4:]) == [(bytes(8192),)]
        reader.feed(large[:100])
        reader.max_frame_bytes = 4096
        assert reader.feed(large[100:]) == [(bytes(8192),)]
        assert broken(reader, large).code is Code.FRAME_TOO_LARGE


class CountingUnpacker:
    """Stands for a reader's parser and counts how often it is asked for a value."""

    def __init__(self, unpacker):
        self.feed, self.tell = unpacker.feed, unpacker.tell
        self._unpack = unpacker.unpack
        self.asked = 0

    def unpack(self):
        self.asked += 1
        return self._unpack()


class TestKeys:
    def test_a_key_that_is_no_string_is_refused(self):
        reader = servers_reader()
        error = broken(reader, framed(b"\x93\xa1P\x01\x81\xc4\x01k\x01"))
        assert "no string" in error.message


class TestPieces:
    @pytest.mark.parametrize("piece_bytes", [1, 7, 4096])
    def test_the_parser_is_not_asked_before_a_frame_is_whole(self, piece_bytes, monkeypatch):
        data = framed(b"\x91\xc5\x10\x00" + bytes(4096)) * 3
        reader = servers_reader()
        counting = CountingUnpacker(module._unpacker(4096))
        monkeypatch.setitem(module._SPARES, True, [counting])
        pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
        assert read_all(reader, pieces) == ([(bytes(4096),)] * 3, None)
        assert counting.asked == 6

    @pytest.mark.parametrize("make_reader", [servers_reader, clients_reader])
    @pytest.mark.parametrize("size", [MIB - 100, MIB, MIB + 1, 5 * MIB])
    def test_large_frames_in_pieces(self, make_reader, size):
        body = bytes(range(256)) * (size // 256)
        data = FrameWriter().encode(["PUSH", 1, "jobs", 1, body, {"headers": {"a": "b"}}])
        stream = data + PING + data
        pieces = [stream[at : at + 65_521] for at in range(0, len(stream), 65_521)]
        expected = ("PUSH", 1, "jobs", 1, body, {"headers": {"a": "b"}})
        assert read_all(make_reader(), pieces) == ([expected, PING_READ, expected], None)

    @pytest.mark.parametrize("make_reader", [servers_reader, clients_reader])
    def test_the_big_buffer_is_dropped_afterwards(self, make_reader):
        data = FrameWriter().encode([b"x" * (8 * MIB)])
        with traced_memory() as used:
            reader = make_reader()
            for at in range(0, len(data), MIB):
                reader.feed(data[at : at + MIB])
            now, peak = used()
            assert peak > 8 * MIB
            assert now < 64 * KIB
        assert reader.feed(PING) == [PING_READ]
        assert reader.error is None

    def test_a_long_stream_is_read_whole_across_new_parsers(self):
        count = 3 * MIB // len(PING)
        stream = PING * count
        reader = servers_reader()
        frames_read, code = read_all(
            reader, (stream[: MIB + 3], stream[MIB + 3 : 2 * MIB], stream[2 * MIB :])
        )
        assert frames_read == [PING_READ] * count
        assert code is None
        assert reader.leftover_bytes == 0

    def test_readers_share_parsers_and_hold_none_between_frames(self, monkeypatch):
        monkeypatch.setitem(module._SPARES, True, spares := [])
        readers = [servers_reader() for _ in range(100)]
        for reader in readers:
            assert reader.feed(PING) == [PING_READ]
            assert reader._unpacker is None
        assert len(spares) == 1
        for reader in readers:
            assert reader.feed(PING[:3]) == []
        for reader in readers:
            assert reader.feed(PING[3:]) == [PING_READ]
        assert len(spares) == module._MAX_SPARES

    def test_another_thread_may_take_the_last_spare_parser_first(self, monkeypatch):
        class TakenMeanwhile(list):
            def pop(self):
                self.clear()
                return super().pop()

        monkeypatch.setitem(module._SPARES, True, TakenMeanwhile(["a spare"]))
        assert servers_reader().feed(PING) == [PING_READ]

    def test_a_parser_without_bounds_is_not_lent_to_a_reader_with_them(self, monkeypatch):
        for is_wary in (True, False):
            monkeypatch.setitem(module._SPARES, is_wary, [])
        large = framed(b"\x91" + array_of(limits.MAX_CONTAINER_ENTRIES + 1))
        for _ in range(2):
            assert servers_reader().feed(PING) == [PING_READ]
            assert len(clients_reader().feed(large)) == 1
            assert broken(servers_reader(), large).code is Code.MALFORMED_FRAME
            assert len(clients_reader().feed(large)) == 1

    def test_a_broken_stream_leaves_nothing_for_other_readers(self, monkeypatch):
        monkeypatch.setitem(module._SPARES, True, spares := [])
        servers_reader().feed(PING)
        for bad in (
            framed(b"\x92\x01"),
            framed(b"\x91\x01\x01") + PING,
            PING + b"GET",
            b"\xce\xff",
        ):
            servers_reader().feed(bad)
            assert servers_reader().feed(PING) == [PING_READ]
        assert all(spare.tell() % len(PING) == 0 for spare in spares)

    def test_an_idle_reader_is_small(self):
        with traced_memory() as used:
            readers = [servers_reader() for _ in range(100)]
            for reader in readers:
                reader.feed(PING)
            # Nearly all of it is the parser's own stack of 1,024 levels.
            assert used()[0] < 100 * 64 * KIB


class TestContainers:
    """What a server's reader lets a request make of itself."""

    def test_one_array_at_the_bound_and_one_past_it(self):
        most = limits.MAX_CONTAINER_BYTES
        fits = b"\x91\xc6" + (most - 6).to_bytes(4, "big") + bytes(most - 6)
        over = b"\x91\xc6" + (most - 5).to_bytes(4, "big") + bytes(most - 5)
        assert (len(fits), len(over)) == (most, most + 1)
        assert servers_reader().feed(framed(b"\x91" + fits)) == [((bytes(most - 6),),)]
        assert "arrays and maps" in broken(servers_reader(), framed(b"\x91" + over)).message

    @pytest.mark.parametrize(
        "head",
        [
            b"\x81\xa1k",
            b"\xde\x00\x01\xa1k",
            b"\xdf\x00\x00\x00\x01\xa1k",
            b"\x91",
            b"\xdc\x00\x01",
            b"\xdd\x00\x00\x00\x01",
        ],
        ids=bytes.hex,
    )
    def test_every_form_of_container_counts(self, head):
        most = limits.MAX_CONTAINER_BYTES
        size = most + 1 - len(head) - 5
        over = head + b"\xc6" + size.to_bytes(4, "big") + bytes(size)
        assert len(over) == most + 1
        assert broken(servers_reader(), framed(b"\x91" + over)).code is Code.MALFORMED_FRAME
        at_most = head + b"\xc6" + (size - 1).to_bytes(4, "big") + bytes(size - 1)
        assert len(servers_reader().feed(framed(b"\x91" + at_most))) == 1

    def test_all_of_them_count_together(self):
        half = limits.MAX_CONTAINER_BYTES // 2
        array = b"\x91\xc6" + (half - 6).to_bytes(4, "big") + bytes(half - 6)
        assert len(array) == half
        two = servers_reader().feed(framed(b"\x93\xa4PUSH" + array * 2))
        assert [type(element) for element in two[0]] == [str, tuple, tuple]
        error = broken(servers_reader(), framed(b"\x94\xa4PUSH\x80" + array * 2))
        assert error.code is Code.MALFORMED_FRAME

    @pytest.mark.parametrize("form", [b"\xc6", b"\xdb"], ids=["binary", "text"])
    def test_text_and_binary_do_not_count(self, form):
        frame = b"\x92" + (form + MIB.to_bytes(4, "big") + b"x" * MIB) + array_of(1000)
        (read,) = servers_reader().feed(framed(frame))
        assert len(read[0]) == MIB
        assert len(read[1]) == 1000

    @pytest.mark.parametrize("elements", [64, 65])
    def test_elements_of_a_large_frame_at_the_bound_and_one_past_it(self, elements):
        filling = b"\xc6" + MIB.to_bytes(4, "big") + bytes(MIB)
        body = b"\xdc" + elements.to_bytes(2, "big") + filling + b"\xc0" * (elements - 1)
        if elements <= limits.MAX_REQUEST_ELEMENTS:
            (frame,) = servers_reader().feed(framed(body))
            assert len(frame) == elements
        else:
            assert f"has {elements} elements" in broken(servers_reader(), framed(body)).message

    @pytest.mark.parametrize("padding", [0, MIB], ids=["small", "large"])
    def test_entries_of_a_container_at_the_bound_and_one_past_it(self, padding):
        last = b"\xc6" + padding.to_bytes(4, "big") + bytes(padding)
        most = limits.MAX_CONTAINER_ENTRIES
        (frame,) = servers_reader().feed(framed(b"\x92" + array_of(most) + last))
        assert frame[0] == (None,) * most
        over = framed(b"\x92" + array_of(most + 1) + last)
        assert broken(servers_reader(), over).code is Code.MALFORMED_FRAME
        (frame,) = clients_reader().feed(over)
        assert frame[0] == (None,) * (most + 1)

    def test_entries_of_a_map_are_bounded_too(self):
        def map_of(count):
            keys = b"".join(msgpack.packb(f"{index:x}") + b"\xc0" for index in range(count))
            return b"\xdf" + count.to_bytes(4, "big") + keys

        most = limits.MAX_CONTAINER_ENTRIES
        (frame,) = servers_reader().feed(framed(b"\x91" + map_of(most)))
        assert len(frame[0]) == most
        over = framed(b"\x91" + map_of(most + 1))
        assert broken(servers_reader(), over).code is Code.MALFORMED_FRAME

    def test_a_large_body_that_is_no_array(self):
        large = b"\xc6" + MIB.to_bytes(4, "big") + bytes(MIB)
        assert broken(servers_reader(), framed(large)).code is Code.MALFORMED_FRAME
        assert "not an array" in broken(clients_reader(), framed(large)).message

    @pytest.mark.parametrize("rest", [b"", b"\x01", b"\xc1"])
    def test_a_large_frame_must_be_as_long_as_declared(self, rest):
        large = b"\xc6" + MIB.to_bytes(4, "big") + bytes(MIB)
        body = (b"\x92" if not rest else b"\x91") + large + rest
        error = broken(servers_reader(), framed(body) + PING)
        assert error.code is Code.MALFORMED_FRAME

    def test_a_client_trusts_its_server(self):
        answer = framed(b"\x91" + array_of(400_000))
        assert clients_reader().feed(answer) == [((None,) * 400_000,)]

    def test_a_bound_of_nothing_is_a_bound(self):
        assert FrameReader(MIB, 0).feed(PING) == [PING_READ]
        assert broken(FrameReader(MIB, 0), framed(b"\x91\x90")).code is Code.MALFORMED_FRAME


BOMBS = {
    "one array of empty maps": b"\x91" + array_of(256 * KIB - 6, b"\x80"),
    "empty maps as elements": array_of(256 * KIB - 5, b"\x80"),
    "large: empty maps as elements": array_of(4 * MIB, b"\x80"),
    "large: small texts as elements": array_of(2 * MIB, b"\xa2hi"),
    "large: many arrays": b"\x9f" + array_of(255 * KIB, b"\x80") * 15,
    "large: small arrays in arrays": b"\x91" + array_of(MIB, b"\x91\x90"),
    "array announces much": b"\xdd\x7f\xff\xff\xff",
    "array announces everything": b"\x91\xdd\xff\xff\xff\xff",
    "map announces much": b"\x91\xdf\x3f\xff\xff\xff",
    "text announces much": b"\x91\xdb\x7f\xff\xff\xff",
    "binary announces much": b"\x91\xc6\x7f\xff\xff\xff",
}
NESTED_BOMBS = {
    "arrays announce much": b"\xdc\x7f\xff" * 1020,
    "maps announce much": b"\x91" + b"\xde\x7f\xff\xa1k" * 800,
    "arrays announce as much as fits": b"\xdc\x0f\xff" * 1020 + b"\xc0" * 900,
}


class TestMemory:
    @pytest.mark.parametrize("name", BOMBS)
    def test_a_bomb_stays_small(self, name):
        data = framed(BOMBS[name])
        reader = servers_reader()
        with traced_memory() as used:
            reader.feed(data)
            # The frame itself is held up to four times over while it is walked and decoded.
            assert used()[1] < 32 * MIB + 4 * len(data)

    @pytest.mark.parametrize("name", NESTED_BOMBS)
    def test_nested_announcements_are_bounded(self, name):
        with traced_memory() as used:
            broken(servers_reader(), framed(NESTED_BOMBS[name]))
            assert used()[1] < 300 * MIB

    @pytest.mark.parametrize("name", [*BOMBS, *NESTED_BOMBS])
    def test_a_strangers_bomb_does_not_go_off(self, name):
        data = framed({**BOMBS, **NESTED_BOMBS}[name]) + b"\x80" * (200 * KIB)
        reader = strangers_reader()
        with traced_memory() as used:
            assert reader.feed(data) == []
            # Bytes that have arrived are held, in a buffer that grows by doubling.
            assert used()[1] < MIB + 2 * len(data)
        assert reader.error is not None

    def test_the_largest_frame_of_a_stranger_stays_small(self):
        body = array_of(4096 - 5, b"\x80")
        reader = strangers_reader()
        with traced_memory() as used:
            assert len(reader.feed(framed(body))) == 1
            assert used()[1] < MIB

    def test_what_follows_a_strangers_frame_is_not_decoded_with_it(self):
        data = framed(b"\xdc\x7f\xff") + b"\x80" * (256 * KIB)
        with traced_memory() as used:
            broken(strangers_reader(), data)
            assert used()[1] < MIB
