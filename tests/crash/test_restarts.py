"""kill -9 of the whole server under load, again and again: nothing that was written is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash import pool

if TYPE_CHECKING:
    from pathlib import Path

RESTARTS = 12

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_server_under_load(tmp_path: Path) -> None:
    jobs = pool.cores()
    options = {"seed": 1, "restarts": -(-RESTARTS // jobs), "scratch": str(tmp_path)}
    result = pool.run("restarts", [{**options, "index": index} for index in range(jobs)])
    print(f"\n{dict(result.counts)} in {result.seconds:.0f} s")  # noqa: T201  the figures
    assert not result.failures, result.failures[0]
    counts = result.counts
    assert counts["restarts"] >= RESTARTS
    assert counts["restarts.load"] > RESTARTS / 2
    assert counts["messages.acknowledged"] > 50 * RESTARTS, "there was hardly anything to lose"
    assert counts["messages.delivered"] > 0
