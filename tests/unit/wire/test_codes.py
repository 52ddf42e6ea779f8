from __future__ import annotations

import re

import pytest

from mqwire.codes import Code

FATAL = {
    "BAD_PREFIX",
    "FRAME_TOO_LARGE",
    "MALFORMED_FRAME",
    "AUTH_ENDED",
    "AUTH_TIMEOUT",
    "TOO_MANY_CONNECTIONS",
    "SHUTTING_DOWN",
}
RETRYABLE = {
    "SNAPSHOT_FAILED",
    "STORAGE_FULL",
    "TOO_MANY_CONNECTIONS",
    "SHUTTING_DOWN",
    "TOO_MANY_WAITS",
    "AUTH_BUSY",
    "QUEUE_FULL",
    "TOO_MANY_QUEUES",
}


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_every_code_says_what_it_means(code):
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code.name)
    assert code.summary
    assert not code.summary.endswith(".")
    assert 400 <= code.http_status < 600


def test_the_codes_that_close_the_connection():
    assert {code.name for code in Code if code.is_fatal} == FATAL


def test_the_codes_after_which_the_same_request_may_succeed():
    assert {code.name for code in Code if code.is_retryable} == RETRYABLE


def test_retryable_is_never_the_fault_of_the_request():
    assert {code.http_status for code in Code if code.is_retryable} <= {429, 503, 507}


def test_no_code_is_an_alias_of_another():
    assert len(Code) == len(Code.__members__)
