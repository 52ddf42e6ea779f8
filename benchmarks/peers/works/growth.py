"""Work 10: the cost of a message with more queues, and with more messages waiting.

What is told is the processor time of the server for each message, which has to stay flat, and
how many times the cost at the smallest size the dearest size has.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.figures import growth
from benchmarks.peers.works.base import Figures, Row, Stage, Work, against, sides_of

SECONDS = 1.5
MAX_BODY_BYTES = 1 << 10
QUEUES = (1, 10, 100, 1000)
WAITING = (10**3, 10**4, 10**5, 10**6, 10**7)
BESIDE_REDIS = against("mqd written", "redis everysec")
ALONE = ("mqd written",)
"""Leases are taken and settled as mqd has them; Redis streams are another matter."""


def _measure(kind: str, dimension: str, sizes: tuple[int, ...]) -> Any:
    def measure(empty: Stage) -> Figures:
        figures: Figures = {}
        points = []
        with empty.fresh() as stage:
            for size in sizes:
                if size > sizes[0] and size > sizes[-1] * stage.scale:
                    continue
                options = {"kind": kind, "queues": 1, "waiting": 0, dimension: size}
                options |= {"seconds": stage.seconds(SECONDS), "queue": dimension}
                stage.prepare("growth", options)
                stage.rest()
                told = stage.done("growth")[0]
                stage.end()
                figures[f"at_{size}_cpu_us"] = told["server_cpu_us"]
                figures[f"at_{size}_per_second"] = told["messages_per_second"]
                points.append((size, told["server_cpu_us"]))
        figures["grown"] = growth(points)
        return figures

    return measure


def _rows() -> tuple[Row, ...]:
    rows = []
    for dimension, sizes in (("queues", QUEUES), ("waiting", WAITING)):
        for kind in ("blocking", "batches", "leases"):
            held = () if kind == "leases" else BESIDE_REDIS
            chosen = sides_of(held) if held else ALONE
            name = f"growth with {dimension}, {kind}"
            measure = _measure(kind, dimension, sizes)
            rows.append(
                Row(name, chosen, held, measure, MAX_BODY_BYTES, most_rounds=2, is_alone=True)
            )
    return tuple(rows)


GROWTH = Work("growth", "what a message costs with more queues, and with more waiting", _rows())
