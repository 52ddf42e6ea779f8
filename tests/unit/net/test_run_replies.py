"""Replies that are encoded together: byte for byte what each is by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqd.engine.base import Each
from mqd.net import run_replies
from mqd.net.run_replies import pull_replies, push_replies
from mqwire.frames import FrameWriter
from mqwire.levels import Level

EDGES = (1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 0x1_0000_0000, 2**63)
encode = FrameWriter().encode

near_edges = st.builds(
    lambda edge, by: max(1, edge + by), st.sampled_from(EDGES), st.integers(-3, 3)
)
ids = st.one_of(
    st.builds(
        lambda first, count: list(range(first, first + count)), near_edges, st.integers(1, 40)
    ),
    st.lists(near_edges, min_size=1, max_size=40),
)
bodies = st.builds(bytes, st.sampled_from((0, 1, 100, 254, 255, 256, 257, 0xFFFF, 0x1_0000)))


@given(ids, near_edges, st.sampled_from(("accepted", "written", "synced")))
def test_replies_to_pushes(ids, first_id, word):
    expected = [encode((each, "OK", first_id + at, word)) for at, each in enumerate(ids)]
    assert push_replies(ids, first_id, word) == b"".join(expected)


@given(ids, st.booleans(), st.data())
def test_replies_to_pulls(asked, has_columns, data):
    found = data.draw(st.lists(bodies, min_size=1, max_size=len(asked)))
    message_ids = data.draw(st.lists(near_edges, min_size=len(found), max_size=len(found)))
    if len(set(message_ids)) < len(found):
        message_ids = range(message_ids[0], message_ids[0] + len(found))
    columns = {len(found) - 1: {"deliveries": [2]}} if has_columns else {}
    expected = []
    for place, body in enumerate(found):
        reply = (asked[place], "OK", (message_ids[place], 1), (body,))
        expected.append(encode((*reply, columns[place]) if place in columns else reply))
    each = Each(message_ids, found, columns, Level.WRITTEN)
    assert pull_replies(asked, each) == b"".join(expected)


def test_numbers_of_one_length_are_not_encoded_one_by_one(monkeypatch):
    expected = b"".join(encode((each, "OK", each, "written")) for each in range(300, 556))

    def refuse(_reply):
        raise ArithmeticError

    monkeypatch.setattr(run_replies, "_encode", refuse)
    assert push_replies(range(300, 556), 300, "written") == expected
    assert push_replies(list(range(300, 556)), 300, "written") == expected
    each = Each(range(9, 265), [bytes(100)] * 256, {}, Level.WRITTEN)
    with pytest.raises(ArithmeticError):
        pull_replies(range(300, 556), each)  # ids of messages over an edge
    pull_replies(range(300, 556), each._replace(ids=range(256, 512)))
