"""Requests that need several turns before they can be carried out."""

from __future__ import annotations

import asyncio

import pytest

from mqwire.packs import join_bodies
from support.bare_session import ENCODE, Bench
from support.pages import small_pager

COUNT = 60
FAR_APART = [each for number in range(11, COUNT, 6) for each in (number, 1)]
NUMBER = len(FAR_APART) // 2


@pytest.fixture
def pages():
    return small_pager()


async def started(pager):
    bench = await Bench().start(pager=pager)
    for number in range(COUNT):
        bench.engine.push("jobs", 1, join_bodies([f"job {number:5}"]), (), None)
    return bench


@pytest.fixture
async def bench(pages):
    bench = await started(pages[0])
    yield bench
    bench.close()


async def test_a_request_that_is_prepared_lets_others_have_their_turn(bench, pages):
    cancel = ("CANCEL", 2, "jobs", FAR_APART)
    before = pages[1].reads
    bench.session.data_received(ENCODE(cancel))
    reads = []
    while bench.engine.info("jobs")["cancelled"] == 0 and len(reads) < COUNT:
        reads.append(pages[1].reads - before)
        before = pages[1].reads
        await asyncio.sleep(0)
    assert len(reads) > 2
    assert max(reads) <= 2


async def test_what_comes_after_it_is_answered_after_it(bench):
    for requests in ([("CANCEL", 2, "jobs", FAR_APART)], [("INFO", 3, "jobs")]):
        assert len(await bench.ask(*requests)) == 1
    again = [each for number in range(12, COUNT, 6) for each in (number, 1)]
    replies = await bench.ask(
        ("INFO", 4, "jobs"), ("CANCEL", 5, "jobs", again), ("INFO", 6, "jobs"), ("PING", 7)
    )
    assert [reply[0] for reply in replies] == [4, 5, 6, 7]
    assert replies[1][2:4] == (len(again) // 2, 0)
    left = COUNT - NUMBER - len(again) // 2
    assert [reply[2]["ready"] for reply in (replies[0], replies[2])] == [COUNT - NUMBER, left]


async def test_one_that_fails_while_it_is_prepared_is_refused_and_the_next_is_not(bench, pages):
    pages[1].is_broken = True
    (refused, alive) = await bench.ask(("CANCEL", 2, "jobs", FAR_APART), ("PING", 3))
    assert (refused[1:3], alive[:2]) == (("ERR", "INTERNAL"), (3, "OK"))
    pages[1].is_broken = False
    before = pages[1].reads
    bench.session.data_received(ENCODE(("CANCEL", 4, "jobs", FAR_APART)))
    assert pages[1].reads <= before + 2
    (done, _) = await bench.ask(("PING", 5))
    assert done[2] == NUMBER


async def test_one_whose_client_goes_meanwhile_changes_nothing(pages):
    bench = await started(pages[0])
    bench.session.data_received(ENCODE(("CANCEL", 2, "jobs", FAR_APART)))
    bench.close()
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.engine.info("jobs")["cancelled"] == 0


async def test_of_one_that_is_refused_nothing_is_kept(bench):
    (reply,) = await bench.ask(("CANCEL", 2, "nothing", FAR_APART))
    assert reply[2] == "QUEUE_NOT_FOUND"
    assert bench.session._preparing is None
