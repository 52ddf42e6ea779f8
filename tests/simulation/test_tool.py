"""scripts/simulate: its figures and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from simulation.many import Failure, Found
from simulation.reports import Report, told

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


def test_some_seeds_and_their_figures(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    run = simulate(
        "--seeds", "30", "--first-seed", "7", "--workers", "1", "--summary", str(summary)
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "30 of 30 seeds from 7" in run.stdout
    assert "next is 37" in run.stdout
    assert "ACK accepted" in run.stdout
    told = json.loads(summary.read_text(encoding="utf-8"))
    assert (told["first_seed"], told["done"], told["next_seed"]) == (7, 30, 37)
    assert (told["failed"], told["findings"]) == (0, {})
    assert told["counts"]["runs"] == 30


def test_findings_are_told_by_kind(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    report = Report(0, 200, summary)
    failure = Failure(3, ["lost", "stale"], "seed 3:\n    lost: a\n    stale: b")
    report.add(Found(Counter(runs=100), [failure]))
    report.add(Found(Counter(runs=50), [failure._replace(seed=120, kinds=["lost"])]))
    report.write(10.0)
    told_there = json.loads(summary.read_text(encoding="utf-8"))
    assert told_there["findings"] == {
        "lost": {"count": 2, "seeds": [3, 120]},
        "stale": {"count": 1, "seeds": [3]},
    }
    assert (told_there["failed"], told_there["next_seed"]) == (2, 150)
    assert "150 of 200 seeds from 0" in report.line(10.0)
    assert "scripts/simulate --seed 3 --trace" in told(failure)


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
