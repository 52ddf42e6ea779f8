from __future__ import annotations

import asyncio
import logging

import pytest

from mqclient.errors import ConnectFailed
from mqweb.reach import Reach


@pytest.mark.parametrize("turns", range(5))
async def test_a_watch_that_is_cancelled_as_an_answer_comes_ends(turns):
    answer = asyncio.Event()
    watching = asyncio.ensure_future(Reach(answer.wait, 5).watch())
    for _ in range(5):
        await asyncio.sleep(0)
    answer.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait({watching}, timeout=20)
    assert watching.cancelled()


async def test_the_log_has_a_line_when_mqd_goes_away_and_one_when_it_is_back(caplog):
    caplog.set_level(logging.INFO, "mqweb")
    errors: list[Exception | None] = []

    async def probe():
        error = errors.pop(0)
        if error is not None:
            raise error

    reach = Reach(probe, 5)
    gone = ConnectFailed("cannot connect to mq://h:1")
    errors += [None, gone, asyncio.TimeoutError(), None, None, asyncio.TimeoutError()]
    while errors:
        await reach.look()
    lines = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert [level for level, _ in lines] == ["WARNING", "INFO", "WARNING"]
    assert lines[0][1].startswith("mqd is away: cannot connect to mq://h:1;")
    assert lines[1][1] == "mqd is back"
    assert "does not answer in time" in lines[2][1]
