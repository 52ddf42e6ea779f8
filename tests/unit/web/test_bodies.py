from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from mqclient.cutting import pack_bodies
from mqclient.models import Limits
from mqweb import bodies, forms, pushing
from mqweb.problems import Problem
from mqweb.requests import decoded
from mqwire.codes import Code, GatewayCode
from mqwire.limits import MAX_HEADERS

HOLLOW = b"[" + b"[]," * 100_000 + b"[]]"
"""Few bytes, of which many objects would be made."""


def most_bytes(work, *given):
    """Return the memory that some work has at most; what it raises counts as well."""
    tracemalloc.start()
    try:
        work(*given)
    except Problem:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def push_of(document):
    form = decoded(document, forms.PushForm)
    return pushing.load_of_form(form, Limits())


@pytest.mark.parametrize(
    "work",
    [
        lambda: bodies.check_json(HOLLOW),
        lambda: bodies.shown(HOLLOW.decode()),
        lambda: bodies.raw_of(msgspec.Raw(HOLLOW), bodies.TEXT),
        lambda: bodies.headers_of(b'{"a":' + HOLLOW + b"}"),
        lambda: push_of(b'{"body":1,"headers":{"a":' + HOLLOW + b"}}"),
        lambda: push_of(b'{"body":1,"headers":{"a":{"base64":' + HOLLOW + b"}}}"),
        lambda: push_of(b'{"messages":[{"body":1,"headers":{"a":' + HOLLOW + b"}}]}"),
        lambda: pushing.load_of_lines(b"1\n" * 150_000, None, Limits()),
    ],
    ids=["check", "shown", "text", "headers", "form", "base64", "messages", "lines"],
)
def test_of_what_is_only_passed_on_nothing_is_made(work):
    assert most_bytes(work) < 8 * len(HOLLOW)


@pytest.mark.parametrize(
    ("document", "headers"),
    [
        (b"{}", None),
        (b"null", None),
        (
            b'{"a": 1, "b": 1.5, "c": "x", "d": null, "e": true}',
            {"a": 1, "b": 1.5, "c": "x", "d": None, "e": True},
        ),
        (b'{"a": {"base64": "AAE="}}', {"a": b"\x00\x01"}),
    ],
)
def test_headers_are_scalars_and_bytes(document, headers):
    assert bodies.headers_of(msgspec.Raw(document)) == headers


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"1",
        b"{",
        b'{"a": [1]}',
        b'{"a": {}}',
        b'{"a": {"base64": 1}}',
        b'{"a": {"base64": "", "b": 1}}',
        b"{" + b",".join(b'"%d":1' % n for n in range(MAX_HEADERS + 1)) + b"}",
    ],
)
def test_other_headers_are_refused(document):
    with pytest.raises(Problem) as raised:
        bodies.headers_of(document)
    assert raised.value.code is Code.BAD_HEADERS


def test_lines_are_counted_as_they_stand():
    limits = Limits(max_messages_per_frame=2)
    assert pushing.load_of_lines(b"1\n2", None, limits).count == 2
    assert pushing.load_of_lines(b"1\n2\n", None, limits).count == 2
    with pytest.raises(Problem) as raised:
        pushing.load_of_lines(b"1\n2\n3", None, limits)
    assert raised.value.details == {"limit": 2, "asked": 3}
    with pytest.raises(Problem) as raised:
        pushing.load_of_lines(b"", None, limits)
    assert raised.value.code is GatewayCode.MALFORMED_BODY


@pytest.mark.parametrize("count", [1, 15, 16, 300, 65536])
@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_are_packed_as_the_client_packs_bodies(count, end):
    limits = Limits(max_messages_per_frame=65536)
    raws = ['{"é": 1}', "2 ", "[3]", '"' + "x" * 300 + '"'] * count
    load = pushing.load_of_lines(("\n".join(raws[:count]) + end).encode(), None, limits)
    assert (load.count, load.pack) == (count, pack_bodies(raws[:count]))


def test_one_line_more_than_there_may_be_is_refused_with_their_number():
    limits = Limits(max_messages_per_frame=3)
    for end in (b"", b"\n"):
        assert pushing.load_of_lines(b"1\n2\n3" + end, None, limits).count == 3
        for count in (4, 5, 9):
            with pytest.raises(Problem) as raised:
                pushing.load_of_lines(b"\n".join([b"1"] * count) + end, None, limits)
            assert raised.value.details == {"limit": 3, "asked": count}


def test_a_line_is_a_document_by_itself():
    assert bodies.lines_of(["1", " {} "]) == b"1\n {} \n"
    for texts in (
        ["1\n", "2"],
        ["[1,", "2]"],
        ["1 2"],
        [""],
        ["1", b"2"],
        ["1", [2]],
        ["1\n2", ""],
    ):
        assert bodies.lines_of(texts) is None
