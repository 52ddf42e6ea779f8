"""How many frames, messages and round trips a second.

The same work is done against two servers, one with the full frame log and one without,
in turn within each round, so that a noisy machine is as noisy to both. Medians of the
rounds are told. 100-byte bodies.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.process import ServerProcess, Wire, server_process
from mqclient import Client
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = b"x" * 100
LEVELS = ("full", "off")
QUEUE = "bench"

Work = dict[str, float]


def measure(rounds: int, scale: float) -> dict[str, dict[str, list[float]]]:
    """Return rates by work and frame log level, one for each round, in messages a second."""
    results: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        servers = {
            level: stack.enter_context(server_process(FRAME_LOG__LEVEL=level)) for level in LEVELS
        }
        works = {level: _works(server, scale) for level, server in servers.items()}
        for number in range(rounds):
            for name in works["full"]:
                # In turn, so that neither level is always the one that comes first.
                for level in LEVELS[:: 1 if number % 2 else -1]:
                    rate = works[level][name]()
                    results.setdefault(name, {}).setdefault(level, []).append(rate)
    return results


def _works(server: ServerProcess, scale: float) -> dict[str, Callable[[], float]]:
    """Return the works on one server: each does its work once and returns the rate."""
    wire = Wire(server)
    wire.call("CREATE", QUEUE)
    client = Client(server.url)

    def pipelined(count: int, batch: int, *request: Any) -> Callable[[], float]:
        count = max(1, int(count * scale))
        writer = FrameWriter()
        frames = [writer.encode((request[0], i, *request[1:])) for i in range(1, count + 1)]
        return lambda: count * batch / wire.seconds_for(frames)

    def blocking(count: int, step: Callable[[], object]) -> Callable[[], float]:
        count = max(1, int(count * scale))

        def run() -> float:
            start = time.perf_counter()
            for _ in range(count):
                step()
            return count / (time.perf_counter() - start)

        return run

    def push_and_pull() -> None:
        client.push(QUEUE, BODY)
        client.pull(QUEUE)

    one, many = join_bodies([BODY]), join_bodies([BODY] * 64)
    thousand = join_bodies([BODY] * 1000)
    return {
        "push, pipelined": pipelined(150_000, 1, "PUSH", QUEUE, 1, one),
        "pull, pipelined": pipelined(150_000, 1, "PULL", QUEUE, 1),
        "push, batches of 64": pipelined(15_000, 64, "PUSH", QUEUE, 64, many),
        "pull, batches of 64": pipelined(15_000, 64, "PULL", QUEUE, 64),
        "push, batches of 1000": pipelined(900, 1000, "PUSH", QUEUE, 1000, thousand),
        "pull, batches of 1000": pipelined(900, 1000, "PULL", QUEUE, 1000),
        "push and pull, one blocking client": blocking(3000, push_and_pull),
    }


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Return the medians as text."""
    lines = [f"{'work':36} {'log full':>12} {'log off':>12} {'full/off':>9} {'spread':>7}"]
    for name, by_level in results.items():
        full, off = (statistics.median(by_level[level]) for level in LEVELS)
        ratios = [a / b for a, b in zip(by_level["full"], by_level["off"], strict=True)]
        spread = (max(ratios) - min(ratios)) / 2
        ratio = statistics.median(ratios)
        lines.append(f"{name:36} {full:12,.0f} {off:12,.0f} {ratio:9.2f} {spread:7.2f}")
    lines.append("messages a second (the last: pairs of round trips); medians of the rounds")
    return "\n".join(lines)
