"""The operations of the API, by what they are about. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqweb.routes import (
    dead,
    frames,
    leases,
    messages,
    metrics,
    pulls,
    queues,
    server,
    tasks,
    tokens,
    users,
)

if TYPE_CHECKING:
    from mqweb.operations import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *messages.OPERATIONS,
    *pulls.OPERATIONS,
    *leases.OPERATIONS,
    *tasks.OPERATIONS,
    *queues.OPERATIONS,
    *dead.OPERATIONS,
    *server.OPERATIONS,
    *frames.OPERATIONS,
    *metrics.OPERATIONS,
    *tokens.OPERATIONS,
    *users.OPERATIONS,
)
"""Every operation, in the order in which the OpenAPI document has them."""
