"""What a queue may be created with beside its bounds, by name. Floor 1: data only.

The names and their bounds are the protocol's (PROTOCOL.md, CREATE); the server judges the
values. A name that is not known here is refused before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from mqclient.errors import InterfaceError

if TYPE_CHECKING:
    from collections.abc import Mapping


class QueueOptions(TypedDict, total=False):
    """The options of `Client.create` that say what becomes of jobs that fail."""

    dead_letter: str
    """The queue that dead messages move to. Without it they stay, counted as `dead`."""
    max_attempts: int
    """Failures after which a message is dead; without it there is no bound."""
    max_worker_losses: int
    """Lost workers after which a message is dead; without it there is no bound."""
    backoff: str
    """How the delay before another attempt grows: `fixed`, `linear` or `exponential`."""
    backoff_seconds: float
    """The first delay."""
    backoff_cap_seconds: float
    """The longest delay."""
    backoff_jitter: float
    """From 0 to 1: the part of the delay that chance may take off."""
    ttl_seconds: float
    """How long a message may wait before it expires."""
    on_expiry: str
    """What becomes of one that has: `drop` or `dead_letter`."""
    max_leased: int
    """Most messages that may be leased at a time."""
    expires_seconds: float
    """How long the queue may go unused before it deletes itself."""
    dedupe_seconds: float
    """How long the key of a push is remembered."""


_KNOWN = frozenset(QueueOptions.__annotations__)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that are not None.

    Raises:
        InterfaceError: there is no such option.
    """
    for name in options:
        if name not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            raise InterfaceError(f"a queue has no option {name!r}; it has {known}")
    return {name: value for name, value in options.items() if value is not None}
