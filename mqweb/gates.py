"""Bounds on what is done at a time, and on who waits for it. Floor 2."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import TYPE_CHECKING, Final

from mqweb.problems import Problem
from mqwire.codes import GatewayCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LEAST_SECONDS: Final = 0.01


class SharedGate:
    """Lets a few through at a time, of whom no place from which they come has more than a share.

    Args:
        most: at a time.
        most_waiting: besides; whoever comes then is refused at once.
        share: of these that one place may have, a whole part: 4 for a quarter.
    """

    def __init__(self, most: int, most_waiting: int, share: int) -> None:
        self._all = Gate(most, most_waiting)
        self._one = most // share, most_waiting // share
        self._gates: dict[str, Gate] = {}

    @asynccontextmanager
    async def passed(self, place: str, seconds: float) -> AsyncIterator[float]:
        """As `Gate.passed`, for who comes from some place.

        Raises:
            Problem: GATEWAY_FULL: too many wait, or there was no place in time.
        """
        gate = self._gates.get(place)
        if gate is None:
            gate = self._gates[place] = Gate(*self._one)
        try:
            async with gate.passed(seconds) as left, self._all.passed(left) as rest:
                yield rest
        finally:
            if gate.is_empty:
                self._gates.pop(place, None)


def place_of(host: str) -> str:
    """Return from where somebody comes: of IPv6 the network, which is one household's."""
    try:
        address = ip_address(host)
    except ValueError:
        return host  # of another kind of socket
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return host


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

    @property
    def is_empty(self) -> bool:
        """Whether nobody is inside or waits."""
        return not self._count

    async def _entered(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._places.acquire(), seconds)
        except asyncio.TimeoutError as error:
            raise _full() from error


def _full() -> Problem:
    return Problem(GatewayCode.GATEWAY_FULL, "as many log in at the moment as may")
