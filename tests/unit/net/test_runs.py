"""Requests of one kind that come in a row are answered as they would be one by one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqd.core.held import BY_AGE_EVERY
from mqd.core.order_records import PULL_EACH, PUSH_EACH, PUSH_WITH
from mqd.core.step_records import STEP
from mqd.net import runs
from mqwire.codes import Code
from mqwire.packs import join_bodies
from support.bare_session import Bench


def pushes(*texts, name="jobs", first=1):
    return [("PUSH", first + at, name, 1, join_bodies([text])) for at, text in enumerate(texts)]


def pulls(count, name="jobs", first=1):
    return [("PULL", first + at, name, 1) for at in range(count)]


async def test_a_row_of_pushes_is_one_record():
    bench = await Bench().start()
    before = len(bench.kinds())
    replies = await bench.ask(*pushes(*"abcdef"))
    assert replies == [(at, "OK", at, "accepted") for at in range(1, 7)]
    [record] = bench.disk.records[before:]
    assert record[3:5] == (6, join_bodies("abcdef"))
    bench.close()


async def test_a_row_of_pulls_gets_a_message_each():
    bench = await Bench().start()
    await bench.ask(*pushes(*"abcdef"))
    before = len(bench.kinds())
    replies = await bench.ask(*pulls(8))
    found = [(at, "OK", (at, 1), (join_bodies([text]),)) for at, text in enumerate("abcdef", 1)]
    assert replies == [*found, (7, "OK", (), ()), (8, "OK", (), ())]
    assert len(bench.kinds()) == before + 1
    bench.close()


async def test_where_a_row_does_not_fit_each_is_told_what_it_would_be():
    bench = await Bench().start()
    await bench.ask(("CREATE", 1, "small", {"max_messages": 5}))
    replies = await bench.ask(*pushes(*"abcdefgh", name="small"))
    assert [reply[1] for reply in replies] == 5 * ["OK"] + 3 * ["ERR"]
    assert {reply[2] for reply in replies[5:]} == {Code.QUEUE_FULL.name}
    assert [reply[2] for reply in replies[:5]] == [1, 2, 3, 4, 5]
    bench.close()


async def test_a_body_that_is_too_large_is_refused_in_a_row_too():
    bench = await Bench().start(max_body_bytes=1024)
    replies = await bench.ask(*pushes("a", "b", "c", "d", 1025 * "x", *"efgh"))
    assert [reply[1] for reply in replies] == 4 * ["OK"] + ["ERR"] + 4 * ["OK"]
    assert replies[4][2] == Code.BODY_TOO_LARGE.name
    bench.close()


async def test_who_may_not_push_has_no_row():
    bench = await Bench().start("user")
    replies = await bench.ask(*pushes(*"abcdef"))
    assert {reply[2] for reply in replies} == {Code.ACCESS_DENIED.name}
    bench.close()


async def test_a_row_ends_where_others_have_their_turn():
    bench = await Bench().start(max_frames_per_turn=5)
    replies = await bench.ask(*pushes(*"abcdefgh"))
    assert [reply[:3] for reply in replies] == [(at, "OK", at) for at in range(1, 9)]
    assert [record[3] for record in bench.disk.records[-4:]] == [5, 1, 1, 1]
    bench.close()


def ordered(*priorities, first=1, **options):
    return [
        ("PUSH", first + at, "jobs", 1, join_bodies([str(at)]), {"priority": priority, **options})
        for at, priority in enumerate(priorities)
    ]


async def test_a_row_of_pushes_with_priorities_is_one_record():
    bench = await Bench().start()
    before = len(bench.kinds())
    replies = await bench.ask(*ordered(9, 200, 128, 9))
    assert replies == [(at, "OK", at, "accepted") for at in range(1, 5)]
    assert bench.kinds()[before:] == [PUSH_EACH]
    replies = await bench.ask(*pulls(5))
    assert [reply[2] for reply in replies] == [(2, 1), (3, 1), (1, 1), (4, 1), ()]
    bench.close()


async def test_a_row_of_pushes_with_one_delay_lies_together():
    bench = await Bench().start()
    before = len(bench.kinds())
    await bench.ask(*ordered(128, 128, 128, 128, delay=0.5))
    [record] = bench.disk.records[before:]
    assert record[0] == PUSH_WITH
    assert record[3] == 4
    assert [reply[2]["delayed"] for reply in await bench.ask(("INFO", 1, "jobs"))] == [4]
    bench.close()


async def test_a_row_of_pulls_goes_by_age_when_one_of_them_would():
    bench = await Bench().start()
    await bench.ask(*pushes("old"), *ordered(*[200] * 40, first=2))
    replies = await bench.ask(*pulls(40))
    ids = [reply[2][0] for reply in replies]
    assert ids == [*range(2, BY_AGE_EVERY + 1), 1, *range(BY_AGE_EVERY + 1, 41)]
    assert bench.kinds()[-1] == PULL_EACH
    bench.close()


async def test_who_waits_is_served_before_the_next_push_of_a_row():
    bench = await Bench().start()
    await bench.ask(("PULL", 99, "jobs", 1, {"wait": 60}))
    replies = await bench.ask(*ordered(1, 2, 3, 4))
    assert [reply[2] for reply in replies if reply[0] == 99] == [(1, 1)]
    bench.close()


async def test_what_a_lease_has_given_back_is_told_in_a_row_too():
    bench = await Bench().start()
    await bench.ask(*pushes(*"abcdef"), ("PULL", 9, "jobs", 3, {"lease": 60}))
    await bench.ask(("NACK", 1, (7, 1), {"delay": 0}))
    replies = await bench.ask(*pulls(6))
    assert [reply[2] for reply in replies] == [(at, 1) for at in range(1, 7)]
    told = {"deliveries": (2,), "attempts": (1,)}
    assert [reply[4:] for reply in replies] == 3 * [(told,)] + 3 * [()]
    bench.close()


async def test_what_has_waited_too_long_is_not_given_out_in_a_row():
    bench = await Bench().start()
    await bench.ask(("CREATE", 1, "brief", {"ttl_seconds": 1}))
    await bench.ask(*pushes(*"abcd", name="brief"))
    bench.clock.ms += 1000
    assert [reply[2] for reply in await bench.ask(*pulls(4, "brief"))] == 4 * [()]
    bench.close()


def leased(count, most=1, first=1, **options):
    return [("PULL", first + at, "jobs", most, {"lease": 60, **options}) for at in range(count)]


async def test_a_row_of_leases_gets_one_each_and_acks_in_a_row_end_them():
    bench = await Bench().start()
    await bench.ask(*pushes(*"abcdefgh"))
    replies = await bench.ask(*leased(5, 2))
    assert [reply[2] for reply in replies] == [(1, 2), (3, 2), (5, 2), (7, 2), ()]
    assert [reply[5] for reply in replies[:4]] == [(7, seq) for seq in range(1, 5)]
    assert bench.session.outbox.leases == []
    before = len(bench.kinds())
    replies = await bench.ask(*[("ACK", seq, (7, seq)) for seq in range(1, 5)])
    assert replies == [(seq, "OK", 2, "accepted") for seq in range(1, 5)]
    assert bench.kinds()[before:] == [STEP]
    [info] = await bench.ask(("INFO", 1, "jobs"))
    assert (info[2]["acked"], info[2]["leased"]) == (8, 0)
    bench.close()


async def test_a_row_of_acks_ends_before_a_lease_that_is_over():
    bench = await Bench().start()
    await bench.ask(*pushes(*"abcdefgh"), *leased(8))
    seqs = (1, 2, 3, 4, 2, 5, 6)
    replies = await bench.ask(*[("ACK", at, (7, seq)) for at, seq in enumerate(seqs, 1)])
    assert [reply[1] for reply in replies] == 4 * ["OK"] + ["ERR"] + 2 * ["OK"]
    assert replies[4][2] == Code.LEASE_LOST.name
    bench.close()


async def test_no_more_is_leased_in_a_row_than_the_cap_allows():
    bench = await Bench().start()
    await bench.ask(("CREATE", 1, "capped", {"max_leased": 3}))
    await bench.ask(*pushes(*"abcdefgh", name="capped"))
    asked = [("PULL", at, "capped", 2, {"lease": 60}) for at in range(1, 7)]
    assert [reply[2] for reply in await bench.ask(*asked)] == [(1, 2), (3, 1), (), (), (), ()]
    bench.close()


async def test_who_looks_on_is_told_of_each_lease_and_ack_of_a_row():
    bench = await Bench().start()
    await bench.ask(*pushes(*"abcdef"), ("WATCH", 99, "*", {"credit": 100}))
    replies = await bench.ask(*leased(4), *[("ACK", 9 + seq, (7, seq)) for seq in range(1, 5)])
    events = [each for reply in replies if reply[1] == "EVENT" for each in reply[2]]
    assert [(kind, ids) for kind, _, ids, *_ in events] == [
        *[("leased", (at, 1)) for at in range(1, 5)],
        *[("acked", (at, 1)) for at in range(1, 5)],
    ]
    bench.close()


texts = st.text("ab", max_size=3)
plain_pushes = st.builds(
    lambda texts, name: [("PUSH", name, 1, join_bodies([text])) for text in texts],
    st.lists(texts, min_size=1, max_size=9),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "other", "capped", "nowhere"]),
)
ordered_pushes = st.builds(
    lambda options, name: [("PUSH", name, 1, join_bodies(["o"]), each) for each in options],
    st.one_of(
        st.lists(
            st.fixed_dictionaries({"priority": st.sampled_from([0, 127, 128, 200, 255])}),
            min_size=1,
            max_size=9,
        ),
        st.builds(
            lambda each, count: count * [each],
            st.sampled_from([{"delay": 0.5}, {"delay": 0}, {"delay": 1, "priority": 9}]),
            st.integers(1, 9),
        ),
        st.lists(st.sampled_from([{"priority": 7}, {"delay": 2}, {}]), min_size=1, max_size=9),
    ),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "other", "brief", "nowhere"]),
)
plain_pulls = st.builds(
    lambda count, name: [("PULL", name, 1)] * count,
    st.integers(1, 9),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "other", "capped", "nowhere"]),
)
ODD = (
    ("PUSH", "jobs", 2, join_bodies("ab")),
    ("PUSH", "jobs", 1, join_bodies("ab")),
    ("PUSH", "jobs", 1, b""),
    ("PUSH", "jobs", 1, b"\xc4\x05a"),
    ("PUSH", "jobs", 1, join_bodies(["x" * 5000])),
    ("PUSH", "jobs", 1, "text"),
    ("PUSH", "jobs", True, join_bodies("a")),
    ("PUSH", "jobs", 1, join_bodies("a"), {"headers": {"n": 1}}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"priority": 200}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"priority": 200, "headers": {"n": 1}}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"priority": True}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"priority": 256}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"delay": float("inf")}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"delay": -1}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"delay": None}),
    ("PUSH", "jobs", 1, join_bodies("a"), {"priority": 9, "key": "k"}),
    ("PUSH", "jobs", 1, join_bodies("a"), {7: 9}),
    ("PUSH", "jobs", 1, join_bodies("a"), 9),
    ("PUSH", "jobs", 2, join_bodies("ab"), {"priority": 77}),
    ("PUSH", "jobs", 1),
    ("PUSH", 7, 1, join_bodies("a")),
    ("PULL", "jobs", 2),
    ("PULL", "jobs", True),
    ("PULL", "jobs", 1, {"lease": 60}),
    ("PULL", "jobs", 1, {"lease": True}),
    ("PULL", "jobs", 1, {"lease": 60, "wait": 0}),
    ("PULL", "jobs", 1, {"lease": 0}),
    ("ACK", (7, 1)),
    ("ACK", (7, True)),
    ("ACK", (6, 2)),
    ("ACK", (7, 1), {"ids": (1, 1)}),
    ("ACK", "x"),
    ("PULL", "jobs"),
    ("PULL", 7, 1),
    ("PAUSE", "jobs"),
    ("RESUME", "jobs"),
    ("PURGE", "jobs"),
    ("PING",),
)
leases = st.builds(
    lambda count, name, most: [("PULL", name, most, {"lease": 60})] * count,
    st.integers(1, 9),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "capped", "other", "nowhere"]),
    st.integers(1, 3),
)
acks = st.lists(st.integers(1, 12), min_size=1, max_size=9).map(
    lambda seqs: [("ACK", (7, seq)) for seq in seqs]
) | st.integers(1, 5).map(lambda first: [("ACK", (7, seq)) for seq in range(first, first + 9)])
odd = st.sampled_from(ODD).map(lambda request: [request])
requests = st.lists(
    plain_pushes | ordered_pushes | plain_pulls | leases | acks | odd, max_size=12
).map(lambda rows: [request for row in rows for request in row])


async def _answers(asked, *, at_once, first=1, **limits):
    """Return all replies to requests numbered from `first` on, and what is there in the end."""
    bench = await Bench().start(**limits)
    await bench.ask(
        ("CREATE", 1, "small", {"max_messages": 4}),
        ("CREATE", 2, "other", {"keep_results_seconds": 60}),
    )
    await bench.ask(
        ("CREATE", 3, "brief", {"ttl_seconds": 60}),
        ("CREATE", 4, "capped", {"max_leased": 3}),
    )
    frames = [(verb, number, *rest) for number, (verb, *rest) in enumerate(asked, first)]
    pieces = [frames] if at_once else [[frame] for frame in frames]
    replies = [reply for piece in pieces for reply in await bench.ask(*piece)]
    names = ("jobs", "small", "other", "brief", "capped")
    infos = await bench.ask(*[("INFO", at, name) for at, name in enumerate(names, 1)])
    left = await bench.ask(*[("PEEK", at, name, 999) for at, name in enumerate(names, 1)])
    late = await bench.ask(
        *[("PEEK", at, name, 999, {"state": "delayed"}) for at, name in enumerate(names, 1)]
    )
    held = await bench.ask(("HOLDERS", 1, "*"))
    turns = [bench.turn(name) for name in names]
    bench.close()
    return list(map(_joined, replies)), infos, list(map(_joined, left + late)), held, turns


def _joined(reply):
    """Return a reply with its packs as one: how messages lie in packs is nobody's business."""
    if len(reply) < 4 or type(reply[3]) is not tuple:
        return reply
    return (*reply[:3], b"".join(reply[3]), *reply[4:])


@settings(max_examples=40, deadline=None)
@given(requests)
def test_requests_in_one_piece_are_answered_as_one_by_one(asked):
    together = asyncio.run(_answers(asked, at_once=True))
    assert together == asyncio.run(_answers(asked, at_once=False))


@pytest.mark.parametrize("request_", ODD, ids=repr)
def test_what_is_not_plain_is_answered_for_itself_in_the_middle_of_a_row(request_):
    for plain in (("PUSH", "jobs", 1, join_bodies("x")), ("PULL", "jobs", 1)):
        asked = [("PUSH", "jobs", 1, join_bodies("y"))] * 9 + [plain] * 4
        asked = [*asked, request_, *[plain] * 4]
        together = asyncio.run(_answers(asked, at_once=True))
        assert together == asyncio.run(_answers(asked, at_once=False))


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (("PUSH", "jobs", 1, join_bodies("x"), {"priority": 1}), {"priority": True}),
        (("PUSH", "jobs", 1, join_bodies("x"), {"priority": 1}), {"priority": 1.0}),
        (("PUSH", "jobs", 1, join_bodies("x"), {"delay": 1}), {"delay": True}),
        (("PULL", "jobs", 1, {"lease": 1}), {"lease": True}),
    ],
    ids=repr,
)
def test_what_is_alike_but_not_sound_is_refused_in_the_middle_of_a_row(usual, other):
    asked = [("PUSH", "jobs", 1, join_bodies("y"))] * 9
    asked += [*[usual] * 5, (*usual[:-1], other), *[usual] * 5]
    together = asyncio.run(_answers(asked, at_once=True))
    assert together == asyncio.run(_answers(asked, at_once=False))
    assert together[0][14][1] == "ERR"


# Requests that are alike are looked at as one; their ids have to be of the same length for that.

ALIKE = 1000
alike_pushes = st.builds(
    lambda text, count, name: [("PUSH", name, 1, join_bodies([text]))] * count,
    st.sampled_from([b"", b"abc", "text", "y" * 200, b"x" * 255, b"x" * 300]),
    st.integers(1, 40),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "capped", "nowhere"]),
)
alike_pulls = st.builds(
    lambda count, name: [("PULL", name, 1)] * count,
    st.integers(1, 40),
    st.sampled_from(["jobs", "jobs", "jobs", "small", "other", "nowhere"]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(alike_pushes | alike_pulls | plain_pushes | odd, max_size=8).map(
        lambda rows: [request for row in rows for request in row]
    ),
    st.sampled_from([1000, 10, 250]),
)
def test_requests_that_are_alike_are_answered_as_one_by_one(asked, most):
    limits = {"first": ALIKE, "max_frames_per_turn": most, "max_body_bytes": 1024}
    together = asyncio.run(_answers(asked, at_once=True, **limits))
    assert together == asyncio.run(_answers(asked, at_once=False, **limits))


@pytest.mark.parametrize("request_", ODD, ids=repr)
def test_what_is_like_no_other_is_answered_for_itself_between_those_that_are(request_):
    for plain in (("PUSH", "jobs", 1, join_bodies("x")), ("PULL", "jobs", 1)):
        asked = [*[plain] * 30, request_, *[plain] * 30]
        together = asyncio.run(_answers(asked, at_once=True, first=ALIKE))
        assert together == asyncio.run(_answers(asked, at_once=False, first=ALIKE))


@pytest.mark.parametrize("request_", ODD, ids=repr)
def test_requests_that_are_alike_and_not_plain(request_):
    asked = [("PUSH", "jobs", 1, join_bodies("x")), *[request_] * 60]
    together = asyncio.run(_answers(asked, at_once=True, first=ALIKE))
    assert together == asyncio.run(_answers(asked, at_once=False, first=ALIKE))


@pytest.mark.parametrize("verb", ["PUSH", "PULL"])
async def test_a_row_of_those_that_are_alike_goes_on_in_the_next_turn(verb, monkeypatch):
    name = {"PUSH": "_push", "PULL": "_pull"}[verb]
    looked_at, look = [], getattr(runs, name)
    monkeypatch.setattr(runs, name, lambda *of: looked_at.append(of) or look(*of))
    monkeypatch.setitem(runs._OF_ALIKE, getattr(runs, name), runs._OF_ALIKE[look])
    alike, ids_of = [], runs._ids_of_alike
    monkeypatch.setattr(runs, "_ids_of_alike", lambda *of: alike.append(of[0]) or ids_of(*of))
    bench = await Bench().start(max_frames_per_turn=50)
    await bench.ask(*pushes(*"x" * 130))
    looked_at.clear()
    alike.clear()
    before = len(bench.kinds())
    requests = pulls(130, first=ALIKE)
    if verb == "PUSH":
        requests = pushes(*"x" * 130, first=ALIKE)
    replies = await bench.ask(*requests)
    assert [reply[:2] for reply in replies] == [(ALIKE + at, "OK") for at in range(130)]
    counts = [record[3 if verb == "PUSH" else 2] for record in bench.disk.records[before:]]
    assert counts == [50, 50, 30] == list(map(len, alike))
    assert looked_at == [], "each was looked at by itself"
    bench.close()


async def test_what_is_alike_in_a_large_read_is_known_throughout(monkeypatch):
    looked_at, look = [], runs._push
    monkeypatch.setattr(runs, "_push", lambda *of: looked_at.append(of) or look(*of))
    monkeypatch.setitem(runs._OF_ALIKE, runs._push, runs._OF_ALIKE[look])
    bench = await Bench().start()
    replies = await bench.ask(*pushes(*200 * [b"x" * 1000], first=ALIKE))
    assert [reply[0] for reply in replies] == list(range(ALIKE, ALIKE + 200))
    assert sum(len(frames) for _, frames in looked_at) < 3, "each was looked at by itself"
    bench.close()


async def test_bodies_that_are_too_large_in_a_row_of_those_that_are_alike():
    bench = await Bench().start(max_body_bytes=1024)
    bench.session.max_body_bytes = 100  # of a length that a short body may have
    replies = await bench.ask(*pushes(*20 * [b"x" * 100], first=ALIKE))
    assert {reply[2] for reply in replies} == {Code.BODY_TOO_LARGE.name}
    bench.close()


@pytest.mark.parametrize("number", [2**53 - 12, 2**64 - 30])
async def test_numbers_that_no_request_may_have(number):
    bench = await Bench().start()
    frames = pushes(*"x" * 20, first=number)
    replies = await bench.ask(*frames)
    sound = [each for each in range(number, number + 20) if each < 2**53]
    assert [reply[0] for reply in replies] == [*sound, 0]
    assert replies[-1][1:3] == ("ERR", Code.MALFORMED_FRAME.name)
    bench.close()
