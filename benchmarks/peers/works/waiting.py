"""Works 5 and 6: many clients that wait, for the disk or for a message."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.works.base import Figures, Row, Stage, Work, against, sides_of

SECONDS = 1.0
PROCESSES = 2
"""How many load processes share many connections."""

PULLERS = 1000
WAKE_UPS = 400

SYNCED = against("mqd synced", "redis always", "beanstalkd always", "rabbitmq durable")
WAKING = against(
    "mqd memory", "redis memory", "beanstalkd memory", "rabbitmq transient", "nats memory"
) + against("mqd written", "redis everysec", "beanstalkd binlog", "nats file")


def _pushes(stage: Stage) -> Figures:
    return stage.go("pushes", {"seconds": stage.seconds(SECONDS)})[0]


def _clients(clients: int) -> Any:
    def measure(stage: Stage) -> Figures:
        processes = min(PROCESSES, clients)
        options = {"connections": clients // processes, "seconds": stage.seconds(SECONDS)}
        figures = stage.go("closed loops", options, processes)
        together = dict(figures[0])
        together["push_per_second"] = sum(each["push_per_second"] for each in figures)
        for tail in ("p50_us", "p99_us", "p999_us"):
            together[tail] = max(each[tail] for each in figures)
        return together

    return measure


def _wake_ups(stage: Stage) -> Figures:
    count = max(10, int(WAKE_UPS * min(1.0, stage.scale)))
    pullers = max(10, int(PULLERS * min(1.0, stage.scale)))
    return stage.go("wake-ups", {"pullers": pullers, "count": count})[0]


def _row(name: str, held: tuple[tuple[str, str], ...], measure: Any) -> Row:
    return Row(name, sides_of(held), held, measure)


SYNCED_WORK = Work(
    "synced",
    "clients push and wait until the message is on the disk",
    (
        _row("synced, 1 client, libraries", SYNCED, _pushes),
        _row("synced, 1 client", SYNCED, _clients(1)),
        _row("synced, 50 clients", SYNCED, _clients(50)),
        _row("synced, 500 clients", SYNCED, _clients(500)),
    ),
)

WAKE_UP = Work(
    "wake-up",
    "1,000 connections wait for a message: from the push to its delivery, and all woken at once",
    (_row("wake-up of one of 1,000", WAKING, _wake_ups),),
)
