"""One text for the loops of both clients."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def work(client: Any, handle: Callable[[Any], Any], queue: str = "q", **options: Any) -> Any:
    """Work on jobs, each in its block, until `consume` ends; return the consumer.

    What `handle` returns is awaited in the block if it can be.
    """
    if not hasattr(client, "loop"):
        jobs = client.consume(queue, **options)
        for job in jobs:
            with job:
                handle(job)
        return jobs
    return client.loop.run_until_complete(_work(client.client, handle, queue, options))


async def _work(client: Any, handle: Callable[[Any], Any], queue: str, options: Any) -> Any:
    jobs = client.consume(queue, **options)
    async for job in jobs:
        async with job:
            result = handle(job)
            if inspect.isawaitable(result):
                await result
    return jobs


def begin(client: Any, queue: str = "q", **options: Any) -> Loop:
    """Begin a loop that is led by hand."""
    return Loop(client, client.consume(queue, **options))


class Loop:
    """A consumer whose jobs are asked for by hand."""

    def __init__(self, client: Any, jobs: Any) -> None:
        self._client = client
        self.jobs = jobs

    def next(self) -> Any:
        """Return the next job, or None at the end."""
        if not hasattr(self._client, "loop"):
            return next(self.jobs, None)
        try:
            return self.wait(self.jobs.__anext__())
        except StopAsyncIteration:
            return None

    def wait(self, result: Any) -> Any:
        """Return the result of a method of a job, awaited if need be."""
        if not inspect.isawaitable(result):
            return result

        async def awaited() -> Any:
            return await result

        return self._client.loop.run_until_complete(awaited())

    def close(self) -> None:
        self.wait(self.jobs.close())
