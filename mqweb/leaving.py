"""Clients that leave while something is waited for. Floor 2."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mqweb.problems import Problem
from mqweb.requests import Disconnected
from mqwire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mqweb.requests import Receive, Request


async def unless_gone(
    request: Request,
    work: Coroutine[Any, Any, Any],
    undo: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
) -> Any:
    """Return what some work comes to, unless the client leaves before.

    Args:
        request: its body has been read.
        work: what is waited for; it is cancelled when the client leaves.
        undo: what is done with a result that comes all the same.

    Raises:
        Disconnected: the client has gone.
        Problem: the gateway is stopping.
    """
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)
    watching = loop.create_task(_gone(request.receive))
    try:
        stopping = request.gateway.stopping
        await asyncio.wait([working, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not watching.done():
            return working.result()
        try:
            await _stopped(working)
        finally:  # also when this is cancelled meanwhile
            if undo is not None and not working.cancelled() and working.exception() is None:
                result = working.result()
                if result is not None:
                    await undo(result)
        if not watching.done():
            raise Problem(Code.SHUTTING_DOWN, "the gateway is stopping")
        raise Disconnected
    finally:
        try:
            await _stopped(watching)
        finally:
            await _stopped(working)


async def _gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has ended.

    Cancellation: is for who waits here, and goes on when the task has ended.
    """
    cancelled: asyncio.CancelledError | None = None
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:  # noqa: PERF203  it happens once, if at all
            cancelled = error
    if cancelled is not None:
        raise cancelled
