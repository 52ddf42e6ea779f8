"""scripts/simulate: its figures and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-m", "simulation", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_some_seeds_and_their_figures() -> None:
    run = simulate("--seeds", "30", "--from", "7", "--workers", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "30 of 30 seeds" in run.stdout
    assert "from seed 7" in run.stdout
    assert "ACK accepted" in run.stdout


def test_time_that_is_over_is_no_success() -> None:
    run = simulate("--seeds", "100000", "--minutes", "0", "--workers", "1")
    assert run.returncode == 130, run.stdout + run.stderr


def test_one_seed_is_shown() -> None:
    run = simulate("--seed", "7", "--trace")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "AUTH" in run.stdout
    assert "nothing is wrong" in run.stdout


def test_a_trace_is_of_one_seed() -> None:
    assert simulate("--trace").returncode == 2
