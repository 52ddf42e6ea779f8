"""What a snapshot of much costs those who are served, and how long a restart takes.

Many messages are queued. One client pushes and pulls, waiting for each reply, and each
round trip is timed: first with nothing else, then while snapshots are made one after the
other. Then the server is killed and started again, and the time until it answers is told.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.process import KeptServer, ServerProcess, Wire, kept_server
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b"x" * 100
BATCH = 1000
SETTINGS = {
    "QUEUES__MAX_MESSAGES": 100_000_000,
    "QUEUES__MAX_BYTES": 1 << 40,
    "STORAGE__SNAPSHOT_INTERVAL_SECONDS": 86_400,
}
ROUNDS = 3


def measure(messages: int, seconds: float) -> Iterator[str]:
    """Yield lines that tell what was found."""
    with kept_server(**SETTINGS) as keeper:
        server = keeper.start()
        wire = Wire(server)
        wire.call("CREATE", "many")
        wire.call("CREATE", "few")
        pack = join_bodies([BODY] * BATCH)
        frames = [
            FrameWriter().encode(("PUSH", n + 1, "many", BATCH, pack, {"durability": "accepted"}))
            for n in range(messages // BATCH)
        ]
        wire.seconds_for(frames)
        ratios = []
        for _ in range(ROUNDS):
            quiet = _tail(wire, seconds)
            with _snapshots(server) as made:
                busy = _tail(wire, seconds)
            ratios.append(busy[1] / quiet[1])
            yield (
                f"round trip, p50 and p99.9: {quiet[0] * 1e6:.0f} and {quiet[1] * 1e6:.0f} us; "
                f"during {made[0]} snapshots {busy[0] * 1e6:.0f} and {busy[1] * 1e6:.0f} us"
            )
        yield f"p99.9 during a snapshot, median ratio: {statistics.median(ratios):.2f}"
        memory = server.memory_bytes() >> 20
        yield f"memory with {messages:,} messages: {memory} MiB"
        for what in ("from the snapshot", "from the journal alone"):
            if what == "from the journal alone":
                keeper.forget()
                wire = Wire(keeper.start())
                wire.call("CREATE", "many")
                wire.seconds_for(frames)
                wire.call("PUSH", "many", BATCH, pack)  # synced, and so all before it
            yield _restart(keeper, what)


def _restart(keeper: KeptServer, what: str) -> str:
    keeper.kill()
    start = time.perf_counter()
    wire = Wire(keeper.start())
    ready = wire.call("INFO", "many")[2]["ready"]
    seconds = time.perf_counter() - start
    recovery = wire.call("STATS")[2]["recovery"]["seconds"]
    return (
        f"restart {what}: answers after {seconds:.2f} s, of which recovery {recovery:.2f} s: "
        f"{ready:,} messages, {ready / recovery:,.0f} a second"
    )


@contextlib.contextmanager
def _snapshots(server: ServerProcess) -> Iterator[list[int]]:
    """Have snapshots made, one after the other, and count them."""
    made, is_over = [0], threading.Event()
    wire = Wire(server)

    def run() -> None:
        while not is_over.is_set():
            wire.call("SNAPSHOT")
            made[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made
    finally:
        is_over.set()
        thread.join()


def _tail(wire: Wire, seconds: float) -> tuple[float, float]:
    """Return the median and the 99.9th percentile of blocking round trips, in seconds."""
    encode = FrameWriter().encode
    level = {"durability": "written"}
    requests = [
        encode(("PUSH", 1, "few", 1, join_bodies([BODY]), level)),
        encode(("PULL", 2, "few", 1, level)),
    ]
    times = []
    ends_at = time.perf_counter() + seconds
    while (now := time.perf_counter()) < ends_at:
        wire.exchange(requests[len(times) & 1])
        times.append(time.perf_counter() - now)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.999)]
