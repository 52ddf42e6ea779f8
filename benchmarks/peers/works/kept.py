"""Works 7 to 9: what is kept costs memory and a restart, a snapshot disturbs, and so do the idle.

Each measurement has a server of its own, so that nothing of another one is in its memory.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from benchmarks.peers import bursts
from benchmarks.peers.works.base import Figures, Row, Stage, Work, against, sides_of

MESSAGES = 1_000_000
MOST_BYTES = 2 << 30
BATCH = 1000
MAX_BODY_BYTES = 8 << 10
"""So that a batch fits into a frame of mqd."""

FILL_SECONDS = 600.0
RESTART_SECONDS = 300.0
TAIL_SECONDS = 6.0
CONNECTIONS = 10_000
HOLDERS = 4
IDLE_SECONDS = 5.0

KEPT_SINGLY = against(
    "mqd memory", "redis memory", "beanstalkd memory", "rabbitmq transient", "nats memory"
) + against("mqd written", "redis everysec", "beanstalkd binlog", "rabbitmq durable", "nats file")
KEPT_IN_BATCHES = against("mqd memory", "redis memory") + against(
    "mqd written", "redis memory", "redis everysec"
)
TAILS = against("mqd written", "redis memory", "redis everysec")
IDLE_ONES = against(
    "mqd memory", "redis memory", "beanstalkd memory", "rabbitmq transient", "nats memory"
)


def _messages(stage: Stage) -> int:
    most = min(MESSAGES * stage.scale, MOST_BYTES / stage.body_bytes)
    return max(BATCH, int(most) // BATCH * BATCH)


def _fill(stage: Stage, messages: int, batch: int) -> None:
    with closing(stage.wire()) as wire:
        wire.make_queue("bench")
        burst = wire.push("bench", b"x" * stage.body_bytes, messages // batch, batch)
        bursts.seconds_for([(wire, burst)], FILL_SECONDS)


def _kept(batch: int) -> Any:
    def measure(empty: Stage) -> Figures:
        messages = _messages(empty)
        with empty.fresh() as stage:
            before = stage.server.memory_bytes()
            _fill(stage, messages, batch)
            whole = stage.server.memory_bytes()
            figures = {"memory_bytes": whole, "each_bytes": (whole - before) / messages}
            if stage.server.mode.durability != "memory":
                figures["restart_seconds"] = _restart(stage, messages)
            return figures

    return measure


def _restart(stage: Stage, messages: int) -> float:
    """Kill a server and start it; return how long it took until it had all messages again."""
    stage.server.kill()
    began = time.perf_counter()
    stage.server.start()
    with closing(stage.wire()) as wire:
        wire.make_queue("bench")
        while (waiting := wire.waiting("bench")) != messages:
            if time.perf_counter() > began + RESTART_SECONDS:
                raise RuntimeError(f"{waiting} of {messages} messages are there again")
            time.sleep(0.01)
    return time.perf_counter() - began


def _tail(empty: Stage) -> Figures:
    with empty.fresh() as stage:
        _fill(stage, _messages(stage), BATCH)
        seconds = {"seconds": stage.seconds(TAIL_SECONDS)}
        stage.prepare("tail", {**seconds, "queue": "few"})
        stage.prepare("snapshots", {**seconds, "queue": "few"})
        stage.rest()
        quiet = stage.done("tail")[0]
        busy, snapshots = stage.done("tail", "snapshots")
        return {
            **{f"quiet_{name}": quiet[name] for name in ("p50_us", "p999_us")},
            **{f"snapshot_{name}": busy[name] for name in ("p50_us", "p999_us")},
            **snapshots,
        }


def _idle(empty: Stage) -> Figures:
    connections = max(HOLDERS, int(CONNECTIONS * min(1.0, empty.scale)))
    with empty.fresh() as stage:
        before = stage.server.memory_bytes()
        stage.prepare("held connections", {"connections": connections // HOLDERS}, HOLDERS)
        stage.rest()
        held = stage.server.memory_bytes()
        spent = stage.server.processor_seconds()
        seconds = max(0.1, stage.seconds(IDLE_SECONDS))
        time.sleep(seconds)
        spent = stage.server.processor_seconds() - spent
        beside = stage.go("tail", {"seconds": stage.seconds(1.0)})[0]
        return {
            "each_bytes": (held - before) / connections,
            "cpu_in_a_second_us": spent / seconds * 1e6,
            "p50_us": beside["p50_us"],
            "p99_us": beside["p99_us"],
        }


def _row(name: str, held: tuple[tuple[str, str], ...], measure: Any) -> Row:
    return Row(name, sides_of(held), held, measure, MAX_BODY_BYTES, most_rounds=2, is_alone=True)


MEMORY_WORK = Work(
    "memory",
    "a million queued messages: memory of the server, and a restart after a kill",
    (
        _row("memory, a million messages, pushed singly", KEPT_SINGLY, _kept(1)),
        _row("memory, a million messages, in batches", KEPT_IN_BATCHES, _kept(BATCH)),
    ),
)

SNAPSHOT_WORK = Work(
    "snapshot",
    "round trips of one client while snapshots of a million messages are made",
    (_row("tail during a snapshot of a million messages", TAILS, _tail),),
)

IDLE_WORK = Work(
    "idle",
    "10,000 connections that have asked something once, and a client beside them",
    (_row("10,000 idle connections", IDLE_ONES, _idle),),
)
