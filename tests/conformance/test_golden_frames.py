"""The golden files of the wire format: written byte for byte, read value for value."""

from __future__ import annotations

import json

import pytest

from mqwire import PROTOCOL_VERSION, limits
from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import PackChecker, iter_sizes, join_bodies
from mqwire.requests import check_envelope, check_request
from mqwire.verbs import VERBS
from support.protocol_tables import ROOT

GOLDEN = ROOT / "tests" / "conformance" / "golden"


def frames_of(name):
    """Return the entries of a golden file as test parameters."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="ascii"))
    assert golden["protocol"] == PROTOCOL_VERSION
    return [pytest.param(entry, id=entry["name"].replace(" ", "-")) for entry in golden["frames"]]


def restored(value):
    """Turn a golden value into what a reader gives: tuples, and bytes for `$hex`."""
    if isinstance(value, list):
        return tuple(restored(entry) for entry in value)
    if isinstance(value, dict):
        if value.keys() == {"$hex"}:
            return bytes.fromhex(value["$hex"])
        return {key: restored(entry) for key, entry in value.items()}
    return value


REQUESTS = frames_of("requests")
REPLIES = frames_of("replies")
OTHER_FORMS = frames_of("other_forms")
BROKEN_STREAMS = frames_of("broken_streams")
READERS = [
    pytest.param((limits.MAX_FRAME_BYTES, limits.MAX_CONTAINER_BYTES), id="server"),
    pytest.param((limits.MAX_FRAME_BYTES_BEFORE_AUTH, limits.MAX_CONTAINER_BYTES), id="stranger"),
    pytest.param((limits.MAX_FRAME_BYTES, None), id="client"),
]


@pytest.mark.parametrize("entry", REQUESTS + REPLIES)
def test_a_frame_is_written_byte_for_byte(entry):
    assert FrameWriter().encode(restored(entry["decoded"])).hex() == entry["hex"]


@pytest.mark.parametrize("bounds", READERS)
@pytest.mark.parametrize("entry", REQUESTS + REPLIES + OTHER_FORMS)
def test_a_frame_is_read_value_for_value(entry, bounds):
    reader = FrameReader(*bounds)
    # Through repr: 1 is not true, and 0.0 is not 0.
    assert repr(reader.feed(bytes.fromhex(entry["hex"]))) == repr([restored(entry["decoded"])])
    assert reader.error is None


@pytest.mark.parametrize("bounds", READERS)
@pytest.mark.parametrize("entry", BROKEN_STREAMS)
def test_a_broken_stream_is_refused_with_its_code(entry, bounds):
    reader = FrameReader(*bounds)
    assert reader.feed(bytes.fromhex(entry["hex"])) == list(restored(entry["decoded"]))
    assert (reader.error and reader.error.code.name) == entry["code"]


def test_all_requests_in_one_stream():
    entries = [param.values[0] for param in REQUESTS]
    stream = bytes.fromhex("".join(entry["hex"] for entry in entries))
    expected = [restored(entry["decoded"]) for entry in entries]
    assert FrameReader(limits.MAX_FRAME_BYTES).feed(stream) == expected


@pytest.mark.parametrize("entry", REQUESTS)
def test_a_request_keeps_to_the_registry(entry):
    frame = restored(entry["decoded"])
    assert check_envelope(frame) == frame[:2]
    arguments, options = check_request(frame)
    assert [argument for argument in arguments if argument is not None] == [
        value for value in frame[2:] if value is not options
    ]


@pytest.mark.parametrize(
    "entry", [param for param in REQUESTS if param.values[0]["decoded"][0] == "PUSH"]
)
def test_a_pushed_pack_holds_what_is_declared(entry):
    _verb, _id, _queue, count, pack, *_options = restored(entry["decoded"])
    PackChecker().check(pack, count)
    assert len(list(iter_sizes(pack))) == count
    with pytest.raises(RequestError):
        PackChecker().check(pack, count + 1)


def test_a_pack_is_written_byte_for_byte():
    (entry,) = [
        param.values[0] for param in REQUESTS if param.id == "push-of-JSON-text,-text-and-bytes"
    ]
    assert join_bodies(['{"x": 1}', "two", b"\x03"]) == restored(entry["decoded"])[4]


@pytest.mark.parametrize("entry", REPLIES)
def test_a_refusal_is_a_registered_code(entry):
    request_id, word, *rest = restored(entry["decoded"])
    assert word in ("OK", "ERR", "EVENT")
    if word == "ERR":
        code, message, details = rest
        assert Code[code].is_fatal is (request_id == 0)
        assert isinstance(message, str)
        assert isinstance(details, dict)


def test_every_verb_has_a_golden_request():
    assert {param.values[0]["decoded"][0] for param in REQUESTS} == set(VERBS)


def test_every_refusal_of_a_stream_has_a_golden_stream():
    codes = {param.values[0]["code"] for param in BROKEN_STREAMS}
    assert codes == {"BAD_PREFIX", "FRAME_TOO_LARGE", "MALFORMED_FRAME", None}
