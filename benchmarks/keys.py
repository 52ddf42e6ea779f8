"""What the keys cost that the client gives to pushes by itself.

Ratios of pushes with keys to the same pushes without (`keys=False`), by one client on one
server, in turn within each round. Bodies of 100 bytes; the server with its full frame log, at
`written`.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.process import server_process
from benchmarks.rates import BODY, QUEUE
from mqclient import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE_BY_ONE = 5000
"""Blocking pushes of one message in one round."""

MANY = 200_000
"""Messages pushed by `push_many` in one round."""

SETTINGS = {"STORAGE__DURABILITY": "written", "QUEUES__MAX_MESSAGES": "10000000"}


def measure(rounds: int, scale: float) -> Iterator[str]:
    """Yield lines on pushes with keys beside pushes without."""
    singles, many = max(1, int(ONE_BY_ONE * scale)), max(1, int(MANY * scale))
    works: dict[str, Callable[[Client], float]] = {
        "push, one message, blocking": lambda client: _one_by_one(client, singles),
        "push_many": lambda client: _many(client, many),
    }
    with (
        server_process(**SETTINGS) as server,
        Client(server.url, keys=True) as keyed,
        Client(server.url, keys=False) as plain,
    ):
        plain.create(QUEUE)
        for name, work in works.items():
            work(plain)  # the first round is not like the others
            rates = [(work(plain), work(keyed)) for _ in range(rounds)]
            ratios = [with_keys / without for without, with_keys in rates]
            without, with_keys = (statistics.median(each) for each in zip(*rates, strict=True))
            spread = (max(ratios) - min(ratios)) / 2
            yield (
                f"{name}: {with_keys:,.0f} with keys to {without:,.0f} a second without, "
                f"{statistics.median(ratios):.2f} ±{spread:.2f}"
            )


def _one_by_one(client: Client, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        client.push(QUEUE, BODY)
    seconds = time.perf_counter() - began
    client.purge(QUEUE)
    return count / seconds


def _many(client: Client, count: int) -> float:
    bodies = [BODY] * count
    began = time.perf_counter()
    client.push_many(QUEUE, bodies)
    seconds = time.perf_counter() - began
    client.purge(QUEUE)
    return count / seconds
