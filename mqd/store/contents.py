"""How much a state holds: what reports of data directories and backups count. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from mqd.core.broker import Broker


class Contents(NamedTuple):
    """What a state holds."""

    queues: int = 0
    messages: int = 0
    """In any state: ready, delayed, leased or dead."""
    size_bytes: int = 0
    """Bodies and headers of all messages."""
    users: int = 0
    """Managed ones: those of the configuration are not in a data directory."""
    disabled_users: int = 0
    tokens: int = 0
    """Those that were not over when the newest record was made."""


NOTHING: Final = Contents()


def contents_of(broker: Broker) -> Contents:
    """Count what a state holds."""
    messages = size_bytes = 0
    for queue in broker.queues():
        messages += queue.fifo.count + queue.outside
        size_bytes += queue.max_bytes - queue.room()[1]
    users = list(broker.accounts.users())
    return Contents(
        queues=len(broker),
        messages=messages,
        size_bytes=size_bytes,
        users=len(users),
        disabled_users=sum(user.is_disabled for user in users),
        tokens=broker.accounts.count_tokens(broker.clock_ms),
    )
