"""The same seed is the same run: twice in a process, and in processes that hash otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from simulation.runs import minimized, traced
from simulation.scenario import draw

TESTS = Path(__file__).resolve().parents[1]
SEEDS = range(100, 120)
DIGESTS = """
from simulation.runs import traced
from simulation.scenario import draw
for seed in range({}, {}):
    print(traced(draw(seed)).digest)
"""


def digests_elsewhere(hash_seed: str) -> list[str]:
    code = DIGESTS.format(SEEDS.start, SEEDS.stop)
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_a_seed_gives_the_same_trace_again() -> None:
    first = [traced(draw(seed)).digest for seed in SEEDS]
    assert [traced(draw(seed)).digest for seed in SEEDS] == first
    assert len(set(first)) == len(first)


def test_a_seed_gives_the_same_trace_in_other_processes() -> None:
    here = [traced(draw(seed)).digest for seed in SEEDS]
    assert digests_elsewhere("1") == here
    assert digests_elsewhere("2") == here


def test_a_scenario_that_is_sound_has_nothing_to_leave_out() -> None:
    scenario = draw(SEEDS.start)
    assert minimized(scenario) == scenario
