from __future__ import annotations

import json

import pytest

from mqclient.messages import Message, Source
from mqweb.problems import Problem
from mqweb.routes.pulls import _as_bytes
from mqwire.codes import GatewayCode

SOURCE = Source("jobs", {}, None, 1)
LIMIT = 4096


def message(headers, raw=b"x"):
    return Message(7, raw, headers, SOURCE)


def fields_of(answer):
    return dict(answer.fields)


def test_headers_stand_in_a_field_up_to_its_bound():
    most = "x" * (LIMIT - len('{"a":""}'))
    field = fields_of(_as_bytes(message({"a": most})))[b"mq-headers"]
    assert len(field) == LIMIT
    assert json.loads(field) == {"a": most}
    with pytest.raises(Problem) as caught:
        _as_bytes(message({"a": most + "x"}))
    assert caught.value.code is GatewayCode.NOT_ACCEPTABLE
    assert caught.value.details == {"id": 7, "limit": LIMIT, "asked": LIMIT + 1}
    assert "as JSON" in caught.value.detail


def test_the_bound_is_that_of_the_field_not_of_the_headers():
    with pytest.raises(Problem):
        _as_bytes(message({"a": "\u00e9" * (LIMIT // 6)}))


@pytest.mark.parametrize("said", ["x" * 257, "", "a\r\nb: c", "\u00e9", 7, None])
def test_a_type_that_is_none_is_a_header_like_others(said):
    answer = _as_bytes(message({"content-type": said}))
    assert answer.content_type == b"application/octet-stream"
    assert json.loads(fields_of(answer)[b"mq-headers"]) == {"content-type": said}


def test_a_type_is_that_of_the_answer():
    answer = _as_bytes(message({"content-type": "image/png"}))
    assert answer.content_type == b"image/png"
    assert b"mq-headers" not in fields_of(answer)
    assert _as_bytes(message(None, "{}")).content_type == b"application/json"
