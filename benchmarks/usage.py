"""How much of the disk a server takes, beside what its messages take.

Pushes and pulls in changing proportions, with a purge now and then: the queue grows,
shrinks and is emptied. The bound is three times the bytes of live messages and three
segments; what was live a moment ago counts, since files go when the next snapshot is there.
"""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.process import Wire, server_process
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT_BYTES = 64 << 20
SETTINGS = {
    "QUEUES__MAX_MESSAGES": 100_000_000,
    "STORAGE__SEGMENT_BYTES": SEGMENT_BYTES,
    "STORAGE__DURABILITY": "written",
    "FRAME_LOG__LEVEL": "off",
}
PHASE_SECONDS = 4.0
MEMORY_SECONDS = 10.0
"""How long what was live counts."""

BATCH = 64
FRAMES = 200


def measure(seconds: float, seed: int) -> Iterator[str]:
    """Yield lines that tell what was found."""
    chance = random.Random(seed)  # noqa: S311  a load, not a secret
    encode = FrameWriter().encode
    pack = join_bodies([b"x" * 100] * BATCH)
    frames = {
        "push": [encode(("PUSH", n + 1, "jobs", BATCH, pack)) for n in range(FRAMES)],
        "pull": [encode(("PULL", n + 1, "jobs", BATCH)) for n in range(FRAMES)],
    }
    live: deque[tuple[float, int]] = deque()
    worst, over_seconds, samples, written = 0.0, 0.0, 0, 0
    with server_process(**SETTINGS) as server:
        wire = Wire(server)
        wire.call("CREATE", "jobs")
        started = before = time.monotonic()
        share, changes_at = 0.5, started
        while (now := time.monotonic()) < started + seconds:
            if now >= changes_at:
                share, changes_at = chance.random(), now + PHASE_SECONDS
                if chance.random() < 0.1:
                    wire.call("PURGE", "jobs")
            wire.seconds_for(frames["push" if chance.random() < share else "pull"])
            figures = wire.call("STATS")[2]
            live.append((now, figures["queues"]["bytes"]))
            while live[0][0] < now - MEMORY_SECONDS:
                live.popleft()
            bound = 3 * max(size for _, size in live) + 3 * SEGMENT_BYTES
            ratio = figures["journal"]["bytes"] / bound
            worst = max(worst, ratio)
            over_seconds += now - before if ratio > 1 else 0
            before, samples, written = now, samples + 1, figures["journal"]["written_bytes"]
        made = figures["snapshot"]["made"]
    yield (
        f"{seconds:.0f} s, {written >> 20:,} MiB journaled, {made} snapshots, {samples} samples: "
        f"at most {worst:.2f} of the bound, over it for {over_seconds:.1f} s"
    )
