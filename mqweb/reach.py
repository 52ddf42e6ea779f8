"""Says in the log when mqd goes away, and when it is back. Floor 2.

Requests find out by themselves, each for itself. This is for whoever reads the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mqclient.errors import MqError
from mqweb.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_logger: Final = logging.getLogger("mqweb")
PROBE_SECONDS: Final = 2.0
"""How often it is asked whether mqd answers."""

PATIENT_LOOKS: Final = 3
"""A server that is started together with the gateway has that many looks to come up."""


class Reach:
    """Whether mqd answers, as the log has it.

    Args:
        probe: asks; it raises where nothing answers.
        seconds: for which an answer is waited for.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]], seconds: float) -> None:
        self._probe = probe
        self._seconds = seconds
        self._is_away = False  # and that is in the log
        self._looks_before: int | None = 0  # in vain; None once it has answered

    async def watch(self) -> None:
        """Look every now and then, until cancelled."""
        while True:
            # In a task of its own: `wait_for` may hide a cancellation that comes with an answer,
            # before Python 3.12, and this would go on.
            looking = asyncio.ensure_future(self.look())
            try:
                await asyncio.wait({looking})
                looking.result()
            finally:
                looking.cancel()
            await asyncio.sleep(PROBE_SECONDS)

    async def look(self) -> None:
        """Look once, and log what is different from last time."""
        try:
            await asyncio.wait_for(self._probe(), self._seconds)
        except (MqError, Problem, asyncio.TimeoutError, TimeoutError) as error:
            self._missed(error)
        else:
            if self._is_away:
                _logger.info("mqd is back")
            elif self._looks_before:
                _logger.info("mqd is there")
            self._is_away, self._looks_before = False, None

    def _missed(self, error: BaseException) -> None:
        why = getattr(error, "detail", "") or str(error) or "it does not answer in time"
        if self._looks_before is not None and self._looks_before < PATIENT_LOOKS:
            if not self._looks_before:
                _logger.info("mqd is waited for: requests are refused until it is there")
            self._looks_before += 1
        elif not self._is_away:
            _logger.warning("mqd is away: %s; requests are refused until it is back", why)
            self._is_away = True
