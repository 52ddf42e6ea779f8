"""SIGKILL before every file system call of a thousand operations, and what is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash import kills, pool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_file_system_call(tmp_path: Path) -> None:
    """The calls of one run of the script; those of longer ones are for scripts/crash --full."""
    reason = kills.why_not()
    if reason is not None:
        pytest.skip(reason)
    jobs = pool.cores()
    options = {"seed": 1, "script": kills.SHORT_SCRIPT, "jobs": jobs, "scratch": str(tmp_path)}
    result = pool.run("kills", [{**options, "index": index} for index in range(jobs)])
    print(f"\n{dict(result.counts)} in {result.seconds:.0f} s")  # noqa: T201  the figures are the result
    assert not result.failures, result.failures[0]
    counts = result.counts
    kinds = {name.removeprefix("calls.") for name in counts if name.startswith("calls.")}
    assert len(kinds) >= 8, "strace has seen too few kinds of calls"
    assert not [kind for kind in sorted(kinds) if not counts[f"kills.{kind}"]]
    assert counts["kills"] > 300
    assert counts["run_through"] >= len(kinds)
