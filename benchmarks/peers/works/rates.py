"""Works 1 to 3: blocking round trips; one message a frame, pipelined; batches."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.works.base import Figures, Row, Stage, Work, against, sides_of

SECONDS = 1.0
MAX_FRAME_BYTES = 15 << 20
"""What the bodies of one request may have together; mqd takes frames of 16 MiB."""

MESSAGES = 150_000
BATCHED = 600_000
LIBRARY_BATCHED = 200_000
LIBRARY_PIPELINED = 20_000

MEMORY = against(
    "mqd memory", "redis memory", "beanstalkd memory", "rabbitmq transient", "nats memory"
)
WRITTEN = against(
    "mqd written",
    *("redis memory", "redis everysec"),
    *("beanstalkd memory", "beanstalkd binlog"),
    *("rabbitmq transient", "nats file"),
)
BATCHES = against("mqd memory", "redis memory") + against(
    "mqd written", "redis memory", "redis everysec"
)


def _round_trips(stage: Stage) -> Figures:
    return stage.go("round trips", {"seconds": stage.seconds(SECONDS)})[0]


def _bursts(usual: int, connections: int, batch: int) -> Any:
    def measure(stage: Stage) -> Figures:
        options = {"connections": connections, "count": stage.count(usual), "batch": batch}
        return stage.go("bursts", options)[0]

    return measure


def _batches(batch: int) -> Any:
    def measure(stage: Stage) -> Figures:
        options = {"count": stage.count(LIBRARY_BATCHED), "batch": batch}
        return stage.go("batches", options)[0]

    return measure


def _pipelines(stage: Stage) -> Figures:
    options = {"count": stage.count(LIBRARY_PIPELINED), "batch": 1000}
    return stage.go("pipelines", options)[0]


def _row(name: str, held: tuple[tuple[str, str], ...], measure: Any, batch: int = 1) -> Row:
    return Row(name, sides_of(held), held, measure, MAX_FRAME_BYTES // batch)


BLOCKING = Work(
    "blocking",
    "one client of each peer's own library pushes a message, pulls it, and waits for each answer",
    (_row("blocking push and pull, one client", MEMORY + WRITTEN, _round_trips),),
)

PIPELINED = Work(
    "pipelined",
    "one message a request, sent without waiting for answers, as prepared bytes",
    (
        *(
            _row(f"pipelined, {name}", MEMORY + WRITTEN, _bursts(MESSAGES, connections, 1))
            for name, connections in (("one connection", 1), ("eight connections", 8))
        ),
        _row("pipelines of the libraries, 1,000 calls each", BATCHES, _pipelines),
    ),
)

BATCHED_WORK = Work(
    "batches",
    "many messages a request: as prepared bytes without waiting, and through the libraries",
    tuple(
        _row(f"batches of {batch:,}", BATCHES, _bursts(BATCHED, 1, batch), batch)
        for batch in (64, 1000)
    )
    + tuple(
        _row(f"batches of {batch:,}, libraries, blocking", BATCHES, _batches(batch), batch)
        for batch in (64, 1000)
    ),
)
