"""A bound on what is done at a time, and on who waits for it. Floor 2."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LEAST_SECONDS: Final = 0.01


class Gate:
    """Lets a few through at a time, in their order.

    Args:
        most: at a time.
        most_waiting: besides; whoever comes then is refused at once.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self._places = asyncio.Semaphore(most)
        self._most = most + most_waiting
        self._count = 0  # who is inside or waits

    @asynccontextmanager
    async def passed(self, seconds: float) -> AsyncIterator[float]:
        """Wait for a place, and keep it inside the block; gives the seconds that are left.

        Raises:
            Problem: GATEWAY_FULL: too many wait, or there was no place in time.
        """
        if self._count >= self._most:
            raise _full()
        began_at = monotonic()
        self._count += 1
        try:
            await self._entered(seconds)
            try:
                yield max(_LEAST_SECONDS, seconds - (monotonic() - began_at))
            finally:
                self._places.release()
        finally:
            self._count -= 1

    async def _entered(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._places.acquire(), seconds)
        except asyncio.TimeoutError as error:
            raise _full() from error


def _full() -> Problem:
    return Problem(GatewayCode.GATEWAY_FULL, "as many log in at the moment as may")
