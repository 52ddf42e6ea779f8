from __future__ import annotations

import msgpack
import pytest

from mqclient.codecs import Codec, Encoder
from mqclient.cutting import cut_portions
from mqclient.errors import InterfaceError
from mqclient.models import Limits
from mqwire.limits import FRAME_OVERHEAD_BYTES, MAX_CONTAINER_BYTES, MIN_FRAME_BYTES
from mqwire.packs import decode_body, split_pack

JSON = Encoder("json")


def cut(bodies, headers=None, encoder=JSON, **limits):
    return list(cut_portions(encoder, Limits(**limits), bodies, headers))


def bodies_of(portions):
    return [decode_body(piece) for portion in portions for piece in split_pack(portion.pack)]


def test_nothing_makes_no_push():
    assert cut([]) == []


@pytest.mark.parametrize("count", [1, 15, 16, 63, 64, 65, 576, 577, 16_384])
def test_what_fits_is_one_frame(count: int):
    [portion] = cut(range(count))
    assert portion.count == count
    assert bodies_of([portion]) == [str(number) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "counts"), [(99, [99]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_frames_are_cut_at_the_count(count: int, counts: list[int]):
    portions = cut(iter(range(count)), max_messages_per_frame=100)
    assert [portion.count for portion in portions] == counts
    assert bodies_of(portions) == [str(number) for number in range(count)]


def test_frames_are_filled_to_the_last_byte_and_not_one_more():
    room = MIN_FRAME_BYTES - FRAME_OVERHEAD_BYTES
    size = room // 8
    bodies = [b"x" * (size - 3)] * 8  # bin 16 has a header of 3 bytes
    limits = {"max_frame_bytes": MIN_FRAME_BYTES, "max_body_bytes": size}
    [portion] = cut(bodies, **limits)
    assert len(portion.pack) == room
    first, second = cut([*bodies, b""], **limits)
    assert (first.count, second.count) == (8, 1)


def test_sizes_that_change_suddenly_are_cut_all_the_same():
    bodies = [b""] * 1000 + [b"x" * 20_000] * 50 + [b""] * 1000
    portions = cut(iter(bodies), max_frame_bytes=MIN_FRAME_BYTES, max_body_bytes=25_000)
    assert bodies_of(portions) == bodies
    assert all(len(portion.pack) <= MIN_FRAME_BYTES - FRAME_OVERHEAD_BYTES for portion in portions)


def test_a_body_over_the_bound_stands_alone_with_its_size():
    portions = cut([b"a", b"x" * 100, b"b"], max_body_bytes=50)
    assert max(portion.largest_body_bytes for portion in portions) == 102


def test_one_map_of_headers_is_sent_once():
    assert [portion.headers for portion in cut([1, 2], {"a": 1})] == [{"a": 1}]
    assert [portion.headers for portion in cut([1, 2], {})] == [None]


def test_a_list_of_headers_goes_with_its_bodies():
    headers = [{"n": number} if number % 2 else None for number in range(250)]
    portions = cut(range(250), headers, max_messages_per_frame=100)
    assert [each for portion in portions for each in portion.headers] == headers
    portions = cut(iter(range(250)), iter(headers))
    assert [each for portion in portions for each in portion.headers] == headers


def test_the_array_of_headers_has_its_bound_too():
    headers = [{"k": "x" * 1000} for _ in range(1000)]
    portions = cut([b""] * 1000, headers)
    assert sum(portion.count for portion in portions) == 1000
    sizes = [len(msgpack.packb({"headers": portion.headers})) for portion in portions]
    assert max(sizes) <= MAX_CONTAINER_BYTES
    assert sizes[0] > MAX_CONTAINER_BYTES - 4096


@pytest.mark.parametrize("headers", [[None], [None] * 3, iter([None]), iter([None] * 3)])
def test_as_many_headers_as_bodies(headers):
    with pytest.raises(InterfaceError, match="as many"):
        cut([1, 2], headers)


def test_a_codec_marks_what_it_has_encoded():
    msgpack_encoder = Encoder("msgpack")
    mark = {"codec": "msgpack"}
    assert [p.headers for p in cut([1, 2], encoder=msgpack_encoder)] == [mark]
    assert [p.headers for p in cut([b"x", b"y"], encoder=msgpack_encoder)] == [None]
    assert [p.headers for p in cut([1, b"x"], encoder=msgpack_encoder)] == [[mark, None]]
    assert [p.headers for p in cut([1, b"x"], {"a": 1}, msgpack_encoder)] == [
        [{"a": 1, **mark}, {"a": 1}]
    ]
    assert [p.headers for p in cut([1, 2], [{"a": 1}, None], msgpack_encoder)] == [
        [{"a": 1, **mark}, mark]
    ]
    own = Encoder(Codec("own", repr, eval))
    assert [p.headers for p in cut([1, b"x"], {"a": 1}, own)] == [{"a": 1, "codec": "own"}]


def test_the_reserved_header_is_refused_where_the_client_encodes():
    [portion] = cut([b"x"], {"codec": "avro"})
    assert portion.headers == {"codec": "avro"}
    for bodies in ([1], [b"x", 1]):
        with pytest.raises(InterfaceError, match="codec"):
            cut(bodies, {"codec": "avro"})
    with pytest.raises(InterfaceError, match="codec"):
        cut([1], {"codec": "avro"}, Encoder("msgpack"))


def test_text_that_is_no_text_is_refused():
    with pytest.raises(InterfaceError, match="cannot be sent"):
        cut(["\ud800"])


def test_bodies_are_taken_as_they_are_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"x" * 1000

    portions = cut_portions(JSON, Limits(max_frame_bytes=MIN_FRAME_BYTES), endless(), None)
    assert next(portions).count > 20
    assert len(taken) < 500
