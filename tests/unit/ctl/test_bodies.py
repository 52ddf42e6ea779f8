from __future__ import annotations

import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqclient.codecs import JsonText
from mqclient.ctl import bodies
from mqclient.ctl.bodies import Style, to_body
from mqclient.ctl.exits import USAGE, Failure


@pytest.mark.parametrize(
    "document",
    ['{"x": 1}', " [1, 2.50, null] ", '"hello"', "5", "1" * 10_000, "1e999", '"grüße"'],
    ids=range(7),
)
def test_json_goes_as_the_document_that_it_is(document):
    body = to_body(document.encode(), Style.JSON)
    assert type(body) is JsonText
    assert body == document


@pytest.mark.parametrize("text", ["hello", "{x: 1}", "NaN", "-Infinity", "grüße"])
def test_other_text_goes_as_text(text):
    body = to_body(text.encode(), Style.JSON)
    assert type(body) is str
    assert body == text


def test_text_stays_text_and_bytes_stay_bytes():
    assert to_body(b'{"x": 1}', Style.TEXT) == '{"x": 1}'
    assert to_body(b"\x00\xff", Style.RAW) == b"\x00\xff"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_carried_is_said(data, reason):
    with pytest.raises(Failure, match=reason) as caught:
        to_body(data, Style.JSON)
    assert caught.value.code == USAGE
    assert "--raw" in caught.value.message


class Chunks(io.BytesIO):
    """A stream whose reads end where the chunks do."""

    def __init__(self, *chunks: bytes) -> None:
        super().__init__()
        self.chunks = list(chunks)

    def read1(self, _size=-1):
        return self.chunks.pop(0) if self.chunks else b""


@pytest.mark.parametrize(
    ("chunks", "batches"),
    [
        ([], []),
        ([b"a"], [[b"a"]]),
        ([b"a\nb\n"], [[b"a", b"b"]]),
        ([b"a\nb"], [[b"a"], [b"b"]]),
        ([b"a\n", b"b\n"], [[b"a"], [b"b"]]),
        ([b"a", b"b", b"c\nd", b"\n"], [[b"abc"], [b"d"]]),
        ([b"\n\n"], [[b"", b""]]),
    ],
)
def test_lines_are_handed_on_as_they_arrive(chunks, batches):
    assert list(bodies.read_lines(Chunks(*chunks))) == batches


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"\n")), st.data())
def test_any_cut_gives_the_same_lines(data, draw):
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    edges = [0, *cuts, len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
    lines = [line for batch in bodies.read_lines(Chunks(*chunks)) for line in batch]
    assert lines == data.split(b"\n")[: -1 if data.endswith(b"\n") or not data else None]


def test_a_line_that_no_server_takes_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_LINE_BYTES", 10)
    assert list(bodies.read_lines(Chunks(b"0123456789\n"))) == [[b"0123456789"]]
    with pytest.raises(Failure, match="longer than 10 bytes"):
        list(bodies.read_lines(Chunks(b"012345", b"67890")))
    assert bodies.read_whole(io.BytesIO(b"0123456789")) == b"0123456789"
    with pytest.raises(Failure, match="longer than 10 bytes"):
        bodies.read_whole(io.BytesIO(b"01234567890"))


@pytest.mark.parametrize(
    ("raw", "document"),
    [
        ('{"x": 1}', '{"x": 1}'),
        ('{\r\n "x": 1.10\n}\n', '{   "x": 1.10 }'),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("hello", '"hello"'),
        ("two\nlines", '"two\\nlines"'),
        ("NaN", '"NaN"'),
        ("[" * 100_000, json.dumps("[" * 100_000)),
        (b"\x00\xff", '{"base64": "AP8="}'),
        (5, "5"),
        ({"a": float("nan"), 5: b"\x01"}, '{"a": "nan", "5": {"base64": "AQ=="}}'),
        ((None, True, [1.5]), "[null, true, [1.5]]"),
    ],
)
def test_every_body_is_shown_as_one_document_on_one_line(raw, document):
    assert bodies.to_document(raw) == document
    json.loads(document, parse_int=str)


def test_a_body_without_end_is_shown_too():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert bodies.to_document(deep) == '"(nested too deeply)"'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_what_one_mqctl_writes_the_next_one_reads(value):
    raw = json.dumps(value, ensure_ascii=False)
    document = bodies.to_document(raw)
    assert "\n" not in document
    assert json.loads(to_body(document.encode(), Style.JSON)) == value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('"a\\nb"', "a\nb"),
        ('{"x": 1}', '{"x": 1}'),
        ("plain", "plain"),
        (b"\x01", '{"base64": "AQ=="}'),
    ],
)
def test_text_is_what_a_json_string_holds(raw, text):
    assert bodies.to_text(raw) == text


@pytest.mark.parametrize(("raw", "data"), [(b"\xff", b"\xff"), ("ü", "ü".encode()), (5, b"5")])
def test_bytes_are_those_of_the_wire(raw, data):
    assert bodies.to_bytes(raw) == data
