from __future__ import annotations

import tracemalloc

import msgspec
import pytest

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
