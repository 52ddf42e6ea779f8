from __future__ import annotations

import asyncio
import logging

import pytest

from mqclient.errors import ConnectFailed
from mqweb.reach import PATIENT_LOOKS, Reach


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


class Probe:
    """Answers, or raises, as it is told."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    async def __call__(self) -> None:
        error = self.errors.pop(0)
        if error is not None:
            raise error


async def lines_after(probe: Probe, caplog) -> list[tuple[str, str]]:
    """Return what is logged while there is something to ask."""
    caplog.set_level(logging.INFO, "mqweb")
    reach = Reach(probe, 5)
    while probe.errors:
        await reach.look()
    return [(each.levelname, each.getMessage()) for each in caplog.records]


GONE = ConnectFailed("cannot connect to mq://h:1")
WAITED_FOR = ("INFO", "mqd is waited for: requests are refused until it is there")


async def test_a_server_that_starts_with_the_gateway_is_nothing_to_warn_of(caplog):
    probe = Probe(*[GONE] * PATIENT_LOOKS, None, None)
    assert await lines_after(probe, caplog) == [WAITED_FOR, ("INFO", "mqd is there")]


async def test_one_that_does_not_come_is(caplog):
    lines = await lines_after(Probe(*[GONE] * (PATIENT_LOOKS + 3), None), caplog)
    assert lines[0] == WAITED_FOR
    assert [level for level, _ in lines] == ["INFO", "WARNING", "INFO"]
    assert lines[1][1].startswith("mqd is away: cannot connect to mq://h:1;")


async def test_one_that_has_been_there_is_waited_for_without_patience(caplog):
    lines = await lines_after(Probe(None, GONE, GONE), caplog)
    assert [level for level, _ in lines] == ["WARNING"]


async def test_the_log_has_a_line_when_mqd_goes_away_and_one_when_it_is_back(caplog):
    late = asyncio.TimeoutError()
    lines = await lines_after(Probe(None, GONE, late, None, None, late), caplog)
    assert [level for level, _ in lines] == ["WARNING", "INFO", "WARNING"]
    assert lines[0][1].startswith("mqd is away: cannot connect to mq://h:1;")
    assert lines[1][1] == "mqd is back"
    assert "does not answer in time" in lines[2][1]
