"""What queues may be created and messages pushed with, by name. Floor 1: data only.

The names and their bounds are the protocol's (PROTOCOL.md, CREATE and PUSH); the server judges
the values. A name that is not known here is refused before anything is sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from mqclient.checks import check_seconds
from mqclient.errors import ArgumentError, InterfaceError

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
    keep_results_seconds: float
    """How long it is remembered what has become of messages that have left the queue, with
    what their workers attached."""


class PushOptions(TypedDict, total=False):
    """The options of `Client.push` and `push_many` beside headers and durability."""

    priority: int
    """From 0 to 255; higher ones are delivered first. 128 where nothing is said."""
    delay: float
    """Seconds for which the message is kept back."""
    not_before: datetime | float
    """Until when it is kept back: a time, or seconds since 1970-01-01 UTC. A time without a
    zone is one of this machine's. It and `delay` exclude each other."""
    ttl: float
    """Seconds that it may wait, `delay` included, before it expires."""
    max_attempts: int
    """Failures after which it is dead, in place of its queue's bound."""
    max_worker_losses: int
    """Lost workers after which it is dead, in place of its queue's bound."""
    key: str
    """What this push is known by: while the queue remembers the key, a push that comes with it
    again changes nothing, and its result is that of the first. Of 1 to 128 characters (118 with
    `push_many`). Without one the client makes one up."""


_OF_QUEUES = frozenset(QueueOptions.__annotations__)
_OF_PUSHES = frozenset(PushOptions.__annotations__)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that are not None.

    Raises:
        InterfaceError: there is no such option.
    """
    return _checked(options, _OF_QUEUES, "a queue")


def checked_push_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a push that are not None, as they are sent.

    Raises:
        InterfaceError: there is no such option.
    """
    checked = _checked(options, _OF_PUSHES, "a push")
    moment = checked.get("not_before")
    if isinstance(moment, datetime):
        checked["not_before"] = moment.timestamp()
    elif isinstance(moment, str):
        raise ArgumentError(
            "not_before is a datetime or a number of seconds since 1970, not text: write "
            f"datetime.fromisoformat({moment!r})"
        )
    for name in ("delay", "ttl"):
        check_seconds(checked.get(name), name)
    return checked


def _checked(options: Mapping[str, Any], names: frozenset[str], what: str) -> dict[str, Any]:
    for name in options:
        if name not in names:
            known = ", ".join(sorted(names))
            raise InterfaceError(f"{what} has no option {name!r}; it has {known}")
        if name.endswith("_seconds"):
            check_seconds(options[name], name)
    return {name: value for name, value in options.items() if value is not None}
