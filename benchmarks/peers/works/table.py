"""All works, by name, in the order in which they are done."""

from __future__ import annotations

from benchmarks.peers.works import leases, rates, waiting

WORKS = {
    work.name: work
    for work in (
        rates.BLOCKING,
        rates.PIPELINED,
        rates.BATCHED_WORK,
        leases.LEASES,
        waiting.SYNCED_WORK,
        waiting.WAKE_UP,
    )
}
