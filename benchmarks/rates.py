"""How many frames, messages and round trips a second.

The same work is done against several servers that differ in one thing, in turn within each
round, so that a noisy machine is as noisy to all. Medians of the rounds are told, and how
they stand to the first server. 100-byte bodies.
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
QUEUE = "bench"

MEMORY = {"STORAGE__JOURNAL": "false"}
NO_LOG = {"FRAME_LOG__LEVEL": "off"}

SIDES: dict[str, dict[str, dict[str, str]]] = {
    "log": {"log off": MEMORY | NO_LOG, "log full": MEMORY},
    "durability": {
        "memory, log off": MEMORY | NO_LOG,
        "accepted": {"STORAGE__DURABILITY": "accepted"},
        "written": {"STORAGE__DURABILITY": "written"},
        "synced": {"STORAGE__DURABILITY": "synced"},
    },
}
"""What is compared: the servers' settings by their names, the first being what others are
held against. The frame log is full where nothing else is said."""

Results = dict[str, dict[str, list[float]]]


def measure(sides: dict[str, dict[str, str]], rounds: int, scale: float) -> Results:
    """Return rates by work and side, one for each round, in messages a second."""
    results: Results = {}
    with ExitStack() as stack:
        works = {
            side: _works(stack.enter_context(server_process(**settings)), scale)
            for side, settings in sides.items()
        }
        names = list(sides)
        for number in range(rounds):
            for work in works[names[0]]:
                # In turn, so that no side is always the one that comes first.
                for side in names[number % len(names) :] + names[: number % len(names)]:
                    rate = works[side][work]()
                    results.setdefault(work, {}).setdefault(side, []).append(rate)
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


def table(results: Results) -> str:
    """Return medians, and ratios to the first side with their spread, as text."""
    first, *others = next(iter(results.values()))
    lines = [f"{'work':36} {first:>16}" + "".join(f"{side:>28}" for side in others)]
    for work, by_side in results.items():
        line = f"{work:36} {statistics.median(by_side[first]):16,.0f}"
        for side in others:
            ratios = [a / b for a, b in zip(by_side[side], by_side[first], strict=True)]
            spread = (max(ratios) - min(ratios)) / 2
            rate = statistics.median(by_side[side])
            line += f"{rate:14,.0f} {statistics.median(ratios):6.2f} ±{spread:.2f} "
        lines.append(line)
    lines.append("messages a second (blocking: pairs of round trips); medians of the rounds,")
    lines.append(f"the median ratio to '{first}' in one round, and half its range")
    return "\n".join(lines)
