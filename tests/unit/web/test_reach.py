from __future__ import annotations

import asyncio
import logging

from mqclient.errors import ConnectFailed
from mqweb.reach import Reach


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
