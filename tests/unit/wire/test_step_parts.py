"""The parts of a STEP are checked as requests are."""

from __future__ import annotations

import pytest

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.requests import check_step_part

LEASE = (3, 17)


@pytest.mark.parametrize(
    ("part", "arguments", "options"),
    [
        (("ACK", LEASE), [LEASE], {}),
        (("NACK", LEASE, {"ids": (1, 2), "delay": 0.5}), [LEASE], {"ids": (1, 2), "delay": 0.5}),
        (("REJECT", LEASE, {"reason": "no"}), [LEASE], {"reason": "no"}),
        (("PUSH", "jobs", 2, {"priority": 9}), ["jobs", 2], {"priority": 9}),
    ],
)
def test_sound_parts(part, arguments, options):
    assert check_step_part(part) == (part[0], arguments, options)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ((), Code.WRONG_TYPE),
        ((5, LEASE), Code.WRONG_TYPE),
        ("ACK", Code.WRONG_TYPE),
        (None, Code.WRONG_TYPE),
        (("PULL", "jobs", 1), Code.UNKNOWN_VERB),
        (("ACK",), Code.WRONG_ARITY),
        (("ACK", LEASE, {}, {}), Code.WRONG_ARITY),
        (("ACK", LEASE, {"durability": "synced"}), Code.UNKNOWN_OPTION),
        (("PUSH", "jobs", 0), Code.OUT_OF_RANGE),
        (("PUSH", "no such name", 1), Code.BAD_NAME),
    ],
)
def test_parts_that_are_refused(part, code):
    with pytest.raises(RequestError) as caught:
        check_step_part(part)
    assert caught.value.code is code
