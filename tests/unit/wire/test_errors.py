from __future__ import annotations

import pytest

from mqwire.codes import Code
from mqwire.errors import CodedError, RequestError, StreamError


def test_an_error_carries_code_message_and_details():
    error = CodedError(Code.QUEUE_FULL, "the queue is full", {"limit": 2})
    assert error.code is Code.QUEUE_FULL
    assert error.message == "the queue is full"
    assert error.details == {"limit": 2}
    assert str(error) == "QUEUE_FULL: the queue is full"


def test_details_are_empty_when_there_are_none():
    assert CodedError(Code.INTERNAL, "it failed").details == {}
    assert CodedError(Code.INTERNAL, "it failed", None).details == {}


def test_details_are_a_copy():
    given = {"queue": "jobs"}
    error = CodedError(Code.QUEUE_NOT_FOUND, "no such queue", given)
    error.details["more"] = 1
    assert given == {"queue": "jobs"}


@pytest.mark.parametrize("kind", [StreamError, RequestError])
def test_both_kinds_are_coded_errors(kind):
    assert issubclass(kind, CodedError)


def test_a_refused_request_is_no_broken_stream():
    assert not issubclass(RequestError, StreamError)
    assert not issubclass(StreamError, RequestError)
