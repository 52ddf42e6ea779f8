"""The virtual event loop does what asyncio's does, without the time."""

from __future__ import annotations

import asyncio

import pytest

from support.virtual_loop import Timeline, VirtualLoop


def test_timers_run_in_the_order_of_their_time_and_of_asking() -> None:
    timeline = Timeline()
    loop = VirtualLoop(timeline)
    seen: list[str] = []
    loop.call_later(2, seen.append, "c")
    loop.call_later(1, seen.append, "a")
    loop.call_later(1, seen.append, "b")
    loop.call_later(1, seen.append, "never").cancel()
    loop.call_soon(seen.append, "soon")
    timeline.run(1.5)
    assert seen == ["soon", "a", "b"]
    assert loop.time() == 1.5
    timeline.run(3)
    assert seen == ["soon", "a", "b", "c"]


def test_tasks_events_and_time_outs_work() -> None:
    timeline = Timeline()
    loop = VirtualLoop(timeline)
    seen: list[object] = []

    async def waiter(event: asyncio.Event) -> None:
        assert asyncio.get_running_loop() is loop
        await event.wait()
        seen.append(loop.time())
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        except asyncio.TimeoutError:
            seen.append(loop.time())

    event = asyncio.Event()
    task = loop.create_task(waiter(event))
    loop.call_later(2, event.set)
    timeline.run(100)
    assert task.done()
    assert seen == [2, 7]


def test_nothing_of_a_loop_that_was_killed_happens() -> None:
    timeline = Timeline()
    one, other = VirtualLoop(timeline), VirtualLoop(timeline)
    seen: list[str] = []

    async def sleeper() -> None:
        await one.create_future()
        seen.append("woken")

    async def never() -> None:
        seen.append("begun")

    one.create_task(sleeper())
    timeline.run(1)
    one.create_task(never())
    one.call_later(1, seen.append, "dead")
    other.call_later(1, seen.append, "alive")
    one.kill()
    timeline.run(10)
    assert seen == ["alive"]


def test_a_stall_lets_everything_be_late() -> None:
    timeline = Timeline()
    seen: list[float] = []
    for seconds in (3, 1, 2):
        timeline.call_later(seconds, lambda: seen.append(timeline.now_seconds))
    timeline.at(None, 1.5, timeline.stall, (5.0,))
    timeline.run(10)
    assert seen == [1, 6.5, 6.5]


def test_a_loop_without_an_end_is_noticed() -> None:
    timeline = Timeline()
    loop = VirtualLoop(timeline)

    def again() -> None:
        loop.call_later(0, again)

    again()
    with pytest.raises(RuntimeError, match="time stands still"):
        timeline.run(1)
