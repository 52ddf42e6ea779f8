"""Runs by seeds: no promise is broken, and what is needed for that to mean something happens.

A seed that fails is shown by `scripts/simulate --seed SEED --trace`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from simulation.runs import run_seeds

SEEDS = 2000
CHUNK = 100


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    counts: Counter[str] = Counter()
    for outcome in run_seeds(range(first, first + CHUNK)):
        assert not outcome.violations, str(outcome)
        counts.update(outcome.counts)
    for what in ("kill", "power", "stop", "cut", "vanish", "stall", "full_disk", "slow_disk"):
        assert counts[what], f"no {what} in a hundred runs"
    for what in ("PUSH", "ACK", "NACK", "EXTEND", "REJECT"):
        assert counts[f"{what} accepted"] > CHUNK / 10
    assert counts["claims refused"] > CHUNK
    assert counts["requests in doubt"] > CHUNK / 2
