"""Runs by seeds: no promise is broken, and what is needed for that to mean something happens.

A seed that fails is shown by `scripts/simulate --seed SEED --trace`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from simulation.runs import run_seeds
from simulation.scenario import MISHAPS

SEEDS = 2000
CHUNK = 400


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    counts: Counter[str] = Counter()
    for outcome in run_seeds(range(first, first + CHUNK)):
        assert not outcome.violations, str(outcome)
        counts.update(outcome.counts)
    for _, what in MISHAPS:
        assert counts[what], f"no {what} in {CHUNK} runs"
    for what in ("PUSH", "ACK", "NACK", "EXTEND", "REJECT", "STEP", "CANCEL"):
        assert counts[f"{what} accepted"] > CHUNK / 20, what
    assert counts["PAUSE accepted"]
    assert counts["STEP refused"]
    assert counts["PUSH repeated"]
    assert counts["STEP repeated"]
    assert counts["claims refused"] > CHUNK / 2
    assert counts["requests in doubt"] > CHUNK / 2
