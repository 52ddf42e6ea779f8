"""What a pull has found, read as far as its answer needs it."""

from __future__ import annotations

import msgpack
import pytest

from mqclient.messages import Source
from mqweb.found import Found

SOURCE = Source("jobs", {}, None)
LEASE = (3, 17)


def found(runs, raws, columns=None):
    packs = [b"".join(msgpack.packb(each) for each in raws)]
    return Found((7, "OK", runs, packs, columns or {}, LEASE), SOURCE)


def shown(those):
    return [(each.id, each.raw) for each in those.messages]


def test_plain_ones_are_their_bodies():
    three = found((4, 2, 9, 1), ["1", b"two", "3"])
    assert (len(three), three.plain, three.raws) == (3, ["1", b"two", "3"], ["1", b"two", "3"])
    assert shown(three) == [(4, "1"), (5, b"two"), (9, "3")]
    assert three.shown_runs == "4,2,9,1"


def test_those_of_which_there_is_more_to_tell_are_messages():
    two = found((4, 2), ["1", "2"], {"deliveries": (None, 3)})
    assert two.plain is None
    assert two.raws == ["1", "2"]
    assert [each.deliveries for each in two.messages] == [1, 3]


def test_one_that_is_no_value_does_not_keep_the_others_back():
    packs = [msgpack.packb("1") + b"\xa1\xff"]
    two = Found((7, "OK", (4, 2), packs, {}, LEASE), SOURCE)
    assert two.plain is None
    assert two.raws == ["1", b"\xa1\xff"]


def test_a_reply_of_another_form():
    with pytest.raises(ValueError, match="3 messages cannot be in 2 bytes"):
        found((4, 3), [1, 2])
    with pytest.raises(ValueError, match="2 ids came with 3 bodies"):
        found((4, 2), [1, 2, 3])


@pytest.mark.parametrize("columns", [None, {"deliveries": (1, 2, 1, 1)}])
@pytest.mark.parametrize("looks_first", [True, False])
def test_no_more_than_have_runs_that_fit(columns, looks_first):
    four = found((4, 2, 9, 1, 12, 1), ["1", "2", "3", "4"], columns)
    if looks_first:
        assert len(four.messages) == 4
    assert four.cut(len("4,2,9,1,12,1")) == []
    assert four.cut(len("4,2,9,1,12")) == [12]
    assert (four.shown_runs, len(four), four.raws) == ("4,2,9,1", 3, ["1", "2", "3"])
    assert shown(four) == [(4, "1"), (5, "2"), (9, "3")]
    assert four.cut(len("4,2,9")) == [9]
    assert shown(four) == [(4, "1"), (5, "2")]
