"""What priorities and delays cost, with very many messages waiting, beside plain ones.

The same messages are pushed and pulled one by one, pipelined: plain, with priorities drawn for
each, and delayed for a moment. In turn within each round, on one server.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.process import Wire, server_process
from benchmarks.rates import BODY, QUEUE
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = {"STORAGE__DURABILITY": "written", "QUEUES__MAX_MESSAGES": "100000000"}

DELAY_SECONDS = 0.5
"""How long the messages of the last work are kept back."""


def measure(rounds: int, waiting: int, messages: int) -> Iterator[str]:
    """Yield lines.

    Args:
        rounds: how often each work is done.
        waiting: how many messages wait in the queue all the time.
        messages: how many are pushed and pulled in each round.
    """
    chooser = random.Random(1)  # noqa: S311  no secret
    works: dict[str, Callable[[], dict[str, Any]]] = {
        "plain": dict,
        "priorities": lambda: {"priority": chooser.randrange(256)},
        "delays": lambda: {"delay": DELAY_SECONDS},
    }
    with server_process(**SETTINGS) as server:
        wire = Wire(server)
        for name, options in works.items():
            queue = f"{QUEUE}-{name}"
            wire.call("CREATE", queue)
            wire.seconds_for(_pushes(queue, waiting, options))
        time.sleep(2 * DELAY_SECONDS)
        micros: dict[str, list[float]] = {name: [] for name in works}
        cpu_micros: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, options in works.items():
                queue = f"{QUEUE}-{name}"
                cpu_seconds = server.cpu_seconds()
                seconds = wire.seconds_for(_pushes(queue, messages, options))
                seconds += wire.seconds_for(_frames(messages, "PULL", queue, 1))
                micros[name].append(1e6 * seconds / messages)
                time.sleep(2 * DELAY_SECONDS)
                cpu_micros[name].append(1e6 * (server.cpu_seconds() - cpu_seconds) / messages)
        yield f"push and pull of one message, {waiting:,} waiting:"
        for name in works:
            wall, cpu = (
                _beside(micros[name], micros["plain"]),
                _beside(cpu_micros[name], cpu_micros["plain"]),
            )
            yield f"  {name:12} {wall}; processor time of the server {cpu}"


def _beside(micros: list[float], plain_micros: list[float]) -> str:
    """Say what the median is, and how it stands to the plain one of the same round."""
    ratios = [a / b for a, b in zip(micros, plain_micros, strict=True)]
    spread = (max(ratios) - min(ratios)) / 2
    median, ratio = statistics.median(micros), statistics.median(ratios)
    return f"{median:5.1f} us, {ratio:.2f} ±{spread:.2f} of plain"


def _pushes(queue: str, count: int, options: Callable[[], dict[str, Any]]) -> list[bytes]:
    writer, pack = FrameWriter(), join_bodies([BODY])
    frames = []
    for number in range(1, count + 1):
        chosen = options()
        request = ("PUSH", number, queue, 1, pack)
        frames.append(writer.encode((*request, chosen) if chosen else request))
    return frames


def _frames(count: int, *request: Any) -> list[bytes]:
    writer = FrameWriter()
    return [writer.encode((request[0], i, *request[1:])) for i in range(1, count + 1)]
