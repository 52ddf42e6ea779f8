"""What becomes of a message whose delivery has failed: when it is tried again, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.core.parcels import NO_TERMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mqd.core.parcels import Terms

DEFAULT_BACKOFF_SECONDS: Final = 1.0
DEFAULT_BACKOFF_CAP_SECONDS: Final = 3600.0
_MAX_DOUBLINGS: Final = 60


class Retries:
    """A queue's budgets and back-off, as its options say.

    Args:
        options: `max_attempts` (failures after which a message is dead), the same for lost
            workers in `max_worker_losses`; each without end if it is not there. `backoff` (a
            word of `mqwire.verbs.BACKOFFS`; without it a message is ready again at once), with
            `backoff_seconds`, `backoff_cap_seconds`, and `backoff_jitter` (0 to 1: the part
            of the delay that chance may take off).
    """

    __slots__ = ("_backoff", "_cap_ms", "_jitter", "_step_ms", "max_attempts", "max_losses")

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.max_attempts: int | None = options.get("max_attempts")
        self.max_losses: int | None = options.get("max_worker_losses")
        self._backoff: str | None = options.get("backoff")
        self._step_ms = 1000 * options.get("backoff_seconds", DEFAULT_BACKOFF_SECONDS)
        self._cap_ms = 1000 * options.get("backoff_cap_seconds", DEFAULT_BACKOFF_CAP_SECONDS)
        self._jitter: float = options.get("backoff_jitter", 0.0)

    def is_spent(self, attempts: int, losses: int, terms: Terms = NO_TERMS) -> bool:
        """Tell whether a message has used up a budget; its own come before the queue's."""
        _, own_attempts, own_losses = terms
        max_attempts = own_attempts or self.max_attempts
        max_losses = own_losses or self.max_losses
        return (max_attempts is not None and attempts >= max_attempts) or (
            max_losses is not None and losses >= max_losses
        )

    def delay_ms(self, attempts: int, chance: float) -> int:
        """Return how long to wait after the failure number `attempts`.

        Args:
            attempts: at least 1.
            chance: from 0 up to 1, drawn by the caller.
        """
        if self._backoff is None or self._backoff == "none":
            return 0
        factor = 1
        if self._backoff == "linear":
            factor = attempts
        elif self._backoff == "exponential":
            factor = 1 << min(attempts - 1, _MAX_DOUBLINGS)
        whole = min(self._step_ms * factor, self._cap_ms)
        return int(whole * (1 - self._jitter * chance))
