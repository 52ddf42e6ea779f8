"""scripts/crash: its figures, its exit codes, and its end by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from crash import pool

TESTS = Path(__file__).resolve().parents[1]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "crash", *arguments],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_short_run_and_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    process = start("states", "--states", "3000", "--jobs", "2", "--seed", "7",
                    "--json", str(figures))  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "states: 3,0" in out
    assert "to go on where this ends: --seed 9" in out
    told = json.loads(figures.read_text())
    assert told["seed"] == 7
    assert told["parts"]["states"]["is_complete"] is True
    assert told["parts"]["states"]["counts"]["states"] >= 3000


def test_ctrl_c_tells_what_there_is_so_far(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    process = start("states", "--states", "1000000000", "--json", str(figures))
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 30
    while not workers_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "(interrupted)" in out
    assert json.loads(figures.read_text())["parts"]["states"]["is_complete"] is False
    assert workers
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def workers_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_a_time_that_is_over_is_no_success(tmp_path: Path) -> None:
    process = start("states", "--states", "1000000000", "--minutes", "0.005")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "(interrupted)" in out


def test_a_worker_that_fails_or_dies_is_a_failure() -> None:
    failed = pool.run("states", [{"seed": 1}])
    assert "KeyError" in failed.failures[0]
    assert not failed.as_json()["is_complete"]
    died = pool.run("nothing of ours", [{}])
    assert "died with status 1" in died.failures[0]
    assert "AssertionError: nothing of ours" in died.failures[0]
