"""Where mqd must stand, and where it would like to: ratios to its peers, in one run."""

from __future__ import annotations

from typing import NamedTuple


class Bound(NamedTuple):
    """What a ratio has to be at least, and what would be the best of it.

    Args:
        row: how the names of the rows begin that it is about.
        figure: of these rows.
        ours: side of mqd.
        theirs: side that it is held against.
        at_least: the ratio that has to be reached.
        dream: the ratio that is hoped for.
    """

    row: str
    figure: str
    ours: str
    theirs: str
    at_least: float
    dream: float


def _both(row: str, ours: str, theirs: str, at_least: float, dream: float) -> tuple[Bound, ...]:
    return tuple(
        Bound(row, figure, ours, theirs, at_least, dream)
        for figure in ("push_per_second", "pull_per_second")
    )


_BLOCKING = ("blocking push and pull", "pairs_per_second", "mqd written")

BOUNDS = (
    Bound(*_BLOCKING, "redis memory", 1.5, 2.0),
    Bound(*_BLOCKING, "beanstalkd memory", 1.5, 2.0),
    Bound(*_BLOCKING, "rabbitmq transient", 5.0, 10.0),
    Bound(*_BLOCKING, "nats file", 5.0, 10.0),
    *_both("pipelined,", "mqd written", "redis everysec", 0.8, 1.2),
    *_both("pipelined,", "mqd written", "beanstalkd binlog", 4.0, 6.0),
    Bound("batches of 64", "push_per_second", "mqd written", "redis memory", 1.3, 2.0),
    Bound("batches of 64", "pull_per_second", "mqd written", "redis memory", 1.0, 2.0),
    *_both("batches of 1,000", "mqd written", "redis memory", 1.5, 3.0),
    Bound(
        *("lease and ack, batches of 64", "messages_per_second", "mqd written", "redis memory"),
        *(1.5, 3.0),
    ),
    Bound("synced, 1 client", "push_per_second", "mqd synced", "redis always", 0.9, 1.1),
    Bound("synced, 50 clients", "push_per_second", "mqd synced", "redis always", 1.5, 4.0),
    Bound("synced,", "push_per_second", "mqd synced", "beanstalkd always", 5.0, 10.0),
    Bound("synced,", "push_per_second", "mqd synced", "rabbitmq durable", 5.0, 10.0),
    Bound(
        *("memory, a million messages, in batches", "memory_bytes", "mqd written", "redis memory"),
        *(1.0, 4.0),
    ),
)


def bound_for(row: str, figure: str, ours: str, theirs: str) -> Bound | None:
    """Return the bound of a ratio, or None where nothing is demanded of it."""
    for bound in BOUNDS:
        if row.startswith(bound.row) and (figure, ours, theirs) == bound[1:4]:
            return bound
    return None
