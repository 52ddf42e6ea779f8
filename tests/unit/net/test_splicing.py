"""Large replies in pieces are what they would be encoded as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqd.net import session
from mqd.net.splicing import (
    LEAST_BYTES,
    MOST_PIECES,
    joined,
    pieces_of,
    size_of,
    spliced,
)
from mqwire.frames import FrameReader, FrameWriter
from mqwire.packs import join_bodies
from support.bare_session import ENCODE, Bench

PACK = FrameWriter().pack
LARGE = bytes(range(256)) * (LEAST_BYTES // 256)


@pytest.mark.parametrize(
    "packs",
    [
        [LARGE],
        [LARGE, b"small", LARGE],
        [bytes(255), bytes(256), bytes(65_535), bytes(65_536)],
        [bytes(LEAST_BYTES // 15 + 1)] * 15,
        [bytes(LEAST_BYTES // 16 + 1)] * 16,
    ],
)
@pytest.mark.parametrize("more", [(), ({},), ({"headers": [None, {"a": 1}]}, (1, 2))])
def test_pieces_are_the_frame_and_packs_are_not_copied(packs, more):
    reply = (70_000, "OK", (1, 300), packs, *more)
    pieces = spliced(reply, PACK)
    assert b"".join(pieces) == ENCODE(reply)
    assert all(pieces)  # some loops never finish an empty one
    assert [piece for piece in pieces if any(piece is pack for pack in packs)] == packs


@pytest.mark.parametrize(
    "reply",
    [
        (1, "OK"),
        (1, "OK", (), ()),
        (1, "OK", (1, 1), []),
        (1, "OK", (1, 1), [LARGE[1:]]),
        (1, "OK", 7, LARGE),
        (1, "OK", 7, [{"queue": "jobs"}]),
        (1, "OK", 7, list(range(100_000))),
        (1, "OK", (1, 100), [LARGE] * (MOST_PIECES // 2)),
    ],
)
def test_what_is_small_or_has_no_packs_or_many_is_encoded_whole(reply):
    assert spliced(reply, PACK) == []


@given(st.lists(st.binary() | st.lists(st.binary(), min_size=1)))
def test_outputs_are_joined_in_order(outputs):
    whole = joined(outputs)
    expected = b"".join(each for output in outputs for each in pieces_of(output))
    assert b"".join(pieces_of(whole)) == expected
    assert size_of(whole) == len(expected)
    assert isinstance(whole, list) == any(isinstance(output, list) for output in outputs)


async def splicing_bench():
    bench = await Bench().start()
    bench.server.may_splice = True
    return bench


async def ask(bench, *requests):
    replies = await bench.ask(*requests)
    pieces, bench.transport.pieces = bench.transport.pieces, 0
    return replies, pieces


async def test_a_session_sends_large_packs_as_they_lie():
    bench = await splicing_bench()
    pack = join_bodies(["x" * 100] * 1000)
    await bench.ask(("PUSH", 1, "jobs", 1000, pack), ("PUSH", 2, "jobs", 1000, pack))
    [reply], pieces = await ask(bench, ("PULL", 3, "jobs", 1000))
    assert reply == (3, "OK", (1, 1000), (pack,))
    assert pieces == 3
    replies, pieces = await ask(bench, ("PING", 4), ("PULL", 5, "jobs", 1000), ("PING", 6))
    assert [reply[0] for reply in replies] == [4, 5, 6]
    assert replies[1][2:] == ((1001, 1000), (pack,))
    assert pieces > 3
    replies, pieces = await ask(bench, ("PING", 7), ("PING", 8))
    assert (len(replies), pieces) == (2, 0)
    assert bench.session.outbox.is_empty
    assert bench.session.outbox.size_bytes == 0
    bench.close()


async def test_large_and_small_replies_that_wait_for_the_disk_keep_their_order():
    bench = await splicing_bench()
    pack = join_bodies(["x" * 100] * 1000)
    await bench.ask(("CREATE", 1, "safe", {"durability": "synced"}))
    await bench.ask(("PUSH", 2, "safe", 1000, pack))
    for request_id in range(3, 6):
        assert await bench.ask(("PULL", request_id, "safe", 400), ("PING", 90 + request_id)) == []
    bench.disk.written_lsn = bench.disk.synced_lsn = len(bench.disk.records)
    bench.engine.on_progress()
    replies = FrameReader(2**31).feed(b"".join(bench.transport.written))
    assert [reply[0] for reply in replies] == [1, 2, 3, 93, 4, 94, 5, 95]
    assert [reply[2] for reply in replies if reply[0] in (3, 4, 5)] == [
        (1, 400),
        (401, 400),
        (801, 200),
    ]
    assert bench.session.outbox.size_bytes == 0
    bench.close()


async def test_a_loop_that_may_be_no_good_at_it_gets_one_piece():
    bench = await Bench().start()
    assert not bench.server.may_splice  # as the tests' own loop is asyncio's
    pack = join_bodies(["x" * 100] * 1000)
    await bench.ask(("PUSH", 1, "jobs", 1000, pack))
    [reply], pieces = await ask(bench, ("PULL", 2, "jobs", 1000))
    assert reply[3] == (pack,)
    assert pieces == 0
    bench.close()


async def test_among_many_replies_a_large_one_is_joined_to_them(monkeypatch):
    monkeypatch.setattr(session, "TURN_SECONDS", 60.0)  # all of them are of one turn
    bench = await splicing_bench()
    pack = join_bodies(["x" * 100] * 1000)
    await bench.ask(("PUSH", 1, "jobs", 1000, pack))
    pings = [("PING", number) for number in range(2, 2 + MOST_PIECES)]
    replies, pieces = await ask(bench, *pings, ("PULL", 99, "jobs", 1000))
    assert replies[-1] == (99, "OK", (1, 1000), (pack,))
    assert pieces == 0
    bench.close()
