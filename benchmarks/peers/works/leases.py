"""Work 4: messages are taken under a lease, and settled."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.works.base import Figures, Row, Stage, Work, against, sides_of

BURSTS = 128_000
LIBRARY = {1: 12_000, 64: 120_000}
"""Messages that consumers of the libraries work off together, by how many they take at a time:
so many that what both ends need to learn or to warm up in the beginning counts for little."""

REDIS = ("redis memory", "redis everysec")
STREAMS = against("mqd memory", "redis memory", "nats memory") + against(
    "mqd written", *REDIS, "nats file"
)
CONSUMERS = {
    1: against(
        "mqd written",
        *REDIS,
        *("beanstalkd memory", "beanstalkd binlog", "rabbitmq transient", "nats file"),
    ),
    64: against("mqd written", *REDIS, "rabbitmq transient", "nats file"),
}
"""beanstalkd gives one at a time, and takes back one at a time."""


def _variant(stage: Stage, variant: str) -> str:
    return variant if stage.side.peer == "redis" else ""


def _bursts(variant: str) -> Any:
    def measure(stage: Stage) -> Figures:
        stage.variant = _variant(stage, variant)
        return stage.go("lease bursts", {"count": stage.count(BURSTS), "batch": 64})[0]

    return measure


def _consumers(consumers: int, batch: int) -> Any:
    def measure(stage: Stage) -> Figures:
        stage.variant = _variant(stage, "delete")
        each = max(batch, stage.count(LIBRARY[batch]) // consumers)
        stage.prepare("consumer", {"count": each, "batch": batch}, consumers)
        stage.fill(each * consumers)
        figures = stage.done("consumer")
        longest = max(each.pop("work_seconds") for each in figures)
        return {"messages_per_second": each * consumers / longest, **figures[0]}

    return measure


def _row(name: str, held: tuple[tuple[str, str], ...], measure: Any) -> Row:
    return Row(name, sides_of(held), held, measure)


LEASES = Work(
    "leases",
    "messages are taken under leases and settled; Redis has streams with groups for that",
    (
        _row("lease and ack, batches of 64", STREAMS, _bursts("delete")),
        _row(
            "lease and ack, batches of 64, Redis keeps the entries",
            against("mqd written", *REDIS),
            _bursts("keep"),
        ),
        *(
            _row(
                f"lease and ack, {sizes}, libraries, {many}", CONSUMERS[batch], _consumers(n, batch)
            )
            for sizes, batch in (("one at a time", 1), ("batches of 64", 64))
            for many, n in (("one consumer", 1), ("eight consumers", 8))
        ),
    ),
)
