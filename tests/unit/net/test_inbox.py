"""Large reads are decoded a piece at a time, and nothing of them is lost."""

from __future__ import annotations

import asyncio
from itertools import chain

import pytest

from mqd.net.inbox import PIECE_BYTES, SMALL_FRAMES, Inbox
from mqwire.codes import Code
from mqwire.errors import StreamError
from mqwire.frames import FrameReader, FrameWriter
from mqwire.limits import MIB
from support.bare_session import Bench

ENCODE = FrameWriter().encode
PINGS = [("PING", number) for number in range(1, 40_001)]


class Told:
    """What is decoded and told, as the tap of a connection."""

    def __init__(self):
        self.data, self.frames, self.leftovers, self.user = b"", [], [], None

    def received(self, data, frames, leftover_bytes):
        self.data += data
        self.frames += frames
        self.leftovers.append(leftover_bytes)

    def identify(self, user):
        self.user = user


@pytest.fixture
def inbox():
    inbox = Inbox()
    inbox.tap = Told()
    inbox.let_in("ada", 16 * MIB)
    return inbox


def test_small_frames_are_decoded_in_pieces(inbox):
    data = b"".join(map(ENCODE, PINGS))
    found = [inbox.take(data)]
    while inbox.rest:
        found.append(inbox.take_more())
    assert list(chain(*found)) == PINGS == inbox.tap.frames
    assert inbox.tap.data == data
    assert len(found) == -(-len(data) // PIECE_BYTES) > 5
    assert inbox.tap.leftovers[-1] == 0
    assert inbox.tap.user == "ada"


def test_large_frames_are_decoded_together(inbox):
    frames = [("PUSH", number, "jobs", 1, bytes(20_000)) for number in range(1, 13)]
    assert inbox.take(b"".join(map(ENCODE, frames))) == frames
    assert not inbox.rest
    assert SMALL_FRAMES > 12


def test_a_piece_is_decoded_whole(inbox):
    data = b"".join(map(ENCODE, PINGS))[:PIECE_BYTES]
    assert len(inbox.take(data)) > SMALL_FRAMES
    assert not inbox.rest


def test_what_comes_unasked_waits_behind_the_rest(inbox):
    data = b"".join(map(ENCODE, PINGS))
    edge = len(data) - 7
    found = inbox.take(data[:edge])
    assert inbox.take(data[edge:]) == []
    while inbox.rest:
        found += inbox.take_more()
    assert found == PINGS


def test_what_is_forgotten_is_not_decoded(inbox):
    found = inbox.take(b"".join(map(ENCODE, PINGS)))
    inbox.forget()
    assert not inbox.rest
    assert inbox.tap.frames == found


def test_a_broken_stream_says_why(inbox):
    inbox.take(b"".join(map(ENCODE, PINGS[:20_000])) + b"GET / HTTP/1.1")
    assert inbox.error is None
    while inbox.rest:
        inbox.take_more()
    assert inbox.error.code is Code.BAD_PREFIX


async def all_replies(bench):
    """Let the session take its turns until it answers no more."""
    data, turns = b"", 0
    while bench.transport.written:
        data += b"".join(bench.transport.written)
        bench.transport.written.clear()
        turns += 1
        for _ in range(3):
            await asyncio.sleep(0)
    return FrameReader(2**31).feed(data), turns


async def test_others_have_their_turn_while_a_session_answers_a_large_read():
    bench = await Bench().start()
    bench.transport.written.clear()
    bench.session.data_received(b"".join(map(ENCODE, PINGS)))
    replies, turns = await all_replies(bench)
    assert replies == [(number, "OK") for _, number in PINGS]
    assert turns > 3
    bench.close()


async def test_a_session_answers_what_came_before_the_stream_broke():
    bench = await Bench().start()
    bench.transport.written.clear()
    bench.session.data_received(b"".join(map(ENCODE, PINGS)) + b"garbage")
    replies, _ = await all_replies(bench)
    assert len(replies) == len(PINGS) + 1
    assert replies[-1][:3] == (0, "ERR", Code.BAD_PREFIX.name)
    bench.close()


async def test_who_is_gone_is_answered_no_more():
    bench = await Bench().start()
    bench.session.data_received(b"".join(map(ENCODE, PINGS)))
    frames = bench.server.meters.frames
    bench.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.server.meters.frames == frames < len(PINGS)


async def test_who_was_told_goodbye_is_heard_no_more():
    bench = await Bench().start()
    bench.session.break_off(StreamError(Code.SHUTTING_DOWN, "the server stops", {}))
    frames = bench.server.meters.frames
    for _ in range(3):
        bench.session.data_received(b"".join(map(ENCODE, PINGS)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.server.meters.frames == frames
    assert not bench.session._inbox.rest
    bench.close()


def test_a_frame_may_be_decoded_elsewhere_between_frames_of_one_who_is_known():
    inbox = Inbox()
    assert not inbox.takes_whole()  # a stranger's is walked first
    inbox.let_in("ada", 16 * MIB)
    assert inbox.takes_whole()
    data = ENCODE(("PING", 1))
    inbox.take(data[:7])
    assert not inbox.takes_whole()
    inbox.take(data[7:])
    assert inbox.takes_whole()
    inbox.take(b"GET /")
    assert not inbox.takes_whole()
