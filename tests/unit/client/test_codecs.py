from __future__ import annotations

import pickle
from dataclasses import dataclass
from enum import Enum

import pytest

from mqclient.codecs import Codec, Encoder, JsonText, decode_plain, decoders
from mqclient.errors import ConfigurationError, InterfaceError

PICKLE = Codec("pickle", pickle.dumps, pickle.loads)


class Color(Enum):
    RED = "red"


@dataclass
class Job:
    lr: float
    color: Color = Color.RED


@pytest.mark.parametrize("codec", ["json", "msgpack", "raw"])
@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes_go_as_they_are(codec: str, body: object):
    encoder = Encoder(codec)
    assert encoder.encode(body) == b"x"
    assert type(encoder.encode(body)) is bytes
    assert encoder.headers_of(body, None) is None


@pytest.mark.parametrize("body", [{"x": [1, 2.5, None, True]}, "text", 'a "quote"', 1, None, "ß€"])
def test_json_and_msgpack_give_back_what_they_got(body: object):
    assert decode_plain(Encoder("json").encode(body)) == body
    msgpack = Encoder("msgpack")
    assert decoders("json")["msgpack"](msgpack.encode(body)) == body
    assert msgpack.headers_of(body, {"a": 1}) == {"a": 1, "codec": "msgpack"}


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_dataclasses_enums_and_sets_become_plain(codec: str):
    raw = Encoder(codec).encode([Job(0.1), {3}])
    plain = decode_plain(raw) if codec == "json" else decoders("json")["msgpack"](raw)
    assert plain == [{"lr": 0.1, "color": "red"}, [3]]


@pytest.mark.parametrize("body", [object(), {"x": object()}, float("nan"), {(1, 2): 3}])
def test_what_json_cannot_hold_is_refused(body: object):
    with pytest.raises(InterfaceError, match="JSON cannot hold"):
        Encoder("json").encode(body)


def test_a_body_that_is_nested_too_deeply_is_refused():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InterfaceError):
        Encoder("json").encode(deep)
    with pytest.raises(InterfaceError):
        Encoder("msgpack").encode(deep)


def test_msgpack_refuses_what_it_cannot_hold():
    with pytest.raises(InterfaceError, match="msgpack cannot hold"):
        Encoder("msgpack").encode(2**70)


def test_raw_takes_bytes_alone():
    with pytest.raises(InterfaceError, match="takes bytes, not str"):
        Encoder("raw").encode("text")
    assert decoders("json")["raw"](b"x") == b"x"


def test_a_codec_of_ones_own_takes_every_body():
    encoder = Encoder(PICKLE)
    assert decoders(PICKLE)["pickle"](encoder.encode(b"x")) == b"x"
    assert encoder.headers_of(b"x", None) == {"codec": "pickle"}
    assert encoder.headers_of(1, {"a": 1}) == {"a": 1, "codec": "pickle"}


def test_a_codec_of_ones_own_must_make_bytes_or_text():
    with pytest.raises(InterfaceError, match="made int of a body"):
        Encoder(Codec("odd", lambda body: body, lambda raw: raw)).encode(1)
    with pytest.raises(InterfaceError, match="codec pickle cannot hold") as caught:
        Encoder(PICKLE).encode(lambda: 0)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "codec", ["yaml", "", None, Codec("", bytes, bytes), Codec("json", bytes, bytes)]
)
def test_a_codec_that_does_not_exist_or_has_a_taken_name_is_refused(codec: object):
    with pytest.raises(ConfigurationError, match="codec"):
        Encoder(codec)


def test_the_reserved_header_may_be_given_with_bytes_alone():
    assert Encoder("json").headers_of(b"x", {"codec": "avro"}) == {"codec": "avro"}
    for encoder, body in ((Encoder("json"), 1), (Encoder("msgpack"), 1), (Encoder(PICKLE), b"x")):
        with pytest.raises(InterfaceError, match="codec"):
            encoder.headers_of(body, {"codec": "avro"})


@pytest.mark.parametrize("text", ['{"a": 1.10}', "12345678901234567890123456789", "[ ]", '"x"'])
def test_json_text_is_sent_as_it_is(text):
    assert Encoder("json").encode(JsonText(text)) == text
    assert type(Encoder("json").encode(JsonText(text))) is str
    assert Encoder("json").headers_of(JsonText(text), None) is None
