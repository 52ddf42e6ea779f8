"""What the server counts, and how fast it goes: the figures of STATS that are its own."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

SAMPLE_SECONDS: Final = 5.0
SAMPLES: Final = 13
"""Of these the first and the last are a minute apart."""


class Totals(NamedTuple):
    """What is counted from the start on: frames answered, messages pushed and pulled."""

    frames: int
    pushed: int
    pulled: int


class Meters:
    """Counters, and samples of them.

    Args:
        messages: tells how many messages were pushed and pulled so far.
        now: the time in seconds, on a clock that nobody sets.
    """

    def __init__(
        self,
        messages: Callable[[], tuple[int, int]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frames = 0
        """Requests that were answered, or will be."""
        self.errors = 0
        """Those of them that were refused."""
        self.opened = 0
        """Connections that came."""
        self.refused = 0
        """Those of them for which there was no room."""
        self.started_at = time.time()
        self._messages = messages
        self._now = now
        self._begun = now()
        self._samples: deque[tuple[float, Totals]] = deque(maxlen=SAMPLES)
        self._timer: asyncio.TimerHandle | None = None
        self.sample()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a sample now and every `SAMPLE_SECONDS`."""
        self.sample()
        self._timer = loop.call_later(SAMPLE_SECONDS, self.start, loop)

    def stop(self) -> None:
        """Take no more."""
        if self._timer is not None:
            self._timer.cancel()

    def sample(self) -> None:
        """Take a sample."""
        self._samples.append((self._now(), self.totals()))

    def totals(self) -> Totals:
        """Return the counts so far."""
        return Totals(self.frames, *self._messages())

    @property
    def uptime_seconds(self) -> float:
        """How long it has been counted."""
        return self._now() - self._begun

    def rates(self) -> dict[str, Any]:
        """Return the part `rates` of STATS: from the oldest sample until now."""
        since, before = self._samples[0]
        seconds = self._now() - since
        gains = (new - old for new, old in zip(self.totals(), before, strict=True))
        per_second = (gain / seconds if seconds > 0 else 0.0 for gain in gains)
        return {"seconds": seconds, **dict(zip(Totals._fields, per_second, strict=True))}
