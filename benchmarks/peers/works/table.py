"""All works, by name, in the order in which they are done."""

from __future__ import annotations

from benchmarks.peers.works import growth, kept, leases, rates, waiting

WORKS = {
    work.name: work
    for work in (
        rates.BLOCKING,
        rates.PIPELINED,
        rates.BATCHED_WORK,
        leases.LEASES,
        waiting.SYNCED_WORK,
        waiting.WAKE_UP,
        kept.MEMORY_WORK,
        kept.SNAPSHOT_WORK,
        kept.IDLE_WORK,
        growth.GROWTH,
    )
}
