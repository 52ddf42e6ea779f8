"""mqwire.framelog_bodies: no body passes, the rest does."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire.framelog_bodies import body_mark, without_bodies
from mqwire.packs import join_bodies

PACK = join_bodies([b"needle", "needle"])
MARK = {"bytes": len(PACK), "blake2b": blake2b(PACK, digest_size=16).hexdigest()}


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (("PUSH", 1, "q", 2, PACK), ("PUSH", 1, "q", 2, MARK)),
        (("PUSH", 1, "q", 2, PACK, {"headers": {"k": b"v"}}), ("PUSH", 1, "q", 2, MARK, {"headers": {"k": b"v"}})),
        ((1, "OK", (1, 2, 7, 1), (PACK, PACK)), (1, "OK", (1, 2, 7, 1), (MARK, MARK))),
        ((1, "OK", (1, 2), (PACK, 5), {"headers": (None, {"k": 1})}), (1, "OK", (1, 2), (MARK, 5), {"headers": (None, {"k": 1})})),
        (("push", 1, PACK), ("push", 1, MARK)),
        ((PACK, 1), (MARK, 1)),
        (("PUSH", 1, "q", 2, "needle"), ("PUSH", 1, "q", 2, body_mark(b"needle"))),
        (("PUSH", 1, "q", 2, "needle", "needle"), ("PUSH", 1, "q", 2, body_mark(b"needle"), body_mark(b"needle"))),
    ],
)  # fmt: skip
def test_marks_stand_where_packs_were(frame, shown):
    assert without_bodies(frame) == shown


@pytest.mark.parametrize(
    "frame",
    [
        (),
        ("PING", 1),
        ("PUSH", 1, "q"),
        ("PULL", 1, "q", 5, {"wait": 1.5}),
        (1, "OK", (), ()),
        (1, "OK", ({"queue": "q"},)),
        (1, "ERR", "QUEUE_FULL", "no room", {"queue": "q"}),
    ],
)
def test_what_has_no_body_is_left_alone(frame):
    assert without_bodies(frame) is frame


@given(st.binary(min_size=1))
def test_the_same_pack_has_the_same_mark_in_request_and_reply(pack):
    request = without_bodies(("PUSH", 1, "q", 1, pack))
    reply = without_bodies((1, "OK", (1, 1), (pack,)))
    assert request[4] == reply[3][0]
    assert request[4]["bytes"] == len(pack)
