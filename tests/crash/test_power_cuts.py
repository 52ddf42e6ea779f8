"""Real cuts of the power on ext4 and XFS: nothing that was synced is lost."""

from __future__ import annotations

import pytest

from crash import mounts, pool

CUTS = 300
SERVER_CUTS = 24
CONTROL_CUTS = 3
SERVER_CONTROL_CUTS = 1
"""By each process on each file system, of something that promises too early."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def cut(cuts: int, *, is_server: bool) -> tuple[list[str], pool.Result]:
    """Cut so many times. Returns on which file systems, and what came of it."""
    refused = {kind: mounts.why_not(kind) for kind in mounts.KINDS}
    kinds = [kind for kind, reason in refused.items() if reason is None]
    if not kinds:
        pytest.skip("; ".join(reason for reason in refused.values() if reason))
    jobs = pool.cores()
    with mounts.scratch_directory() as scratch:
        each = [
            {
                "kinds": kinds,
                "seed": 1,
                "index": index,
                "cuts": -(-cuts // jobs),
                "control_cuts": SERVER_CONTROL_CUTS if is_server else CONTROL_CUTS,
                "is_server": is_server,
                "scratch": str(scratch),
            }
            for index in range(jobs)
        ]
        result = pool.run("cuts", each, prefix=mounts.PREFIX)
    print(f"\n{dict(result.counts)} in {result.seconds:.0f} s; {refused}")  # noqa: T201  the figures
    assert not result.failures, result.failures[0]
    assert result.counts["cuts"] >= cuts
    return kinds, result


def test_a_journal_under_load() -> None:
    kinds, result = cut(CUTS, is_server=False)
    counts = result.counts
    for kind in kinds:
        assert counts[f"cuts.{kind}"] > 0
        assert counts[f"control_losses.{kind}"] > 0, "a journal that never syncs lost nothing"
    assert counts["cuts.snapshot"] > CUTS / 10
    assert counts["promised_commits"] > 10 * CUTS, "there was hardly anything to lose"


def test_a_server_under_load() -> None:
    kinds, result = cut(SERVER_CUTS, is_server=True)
    counts = result.counts
    losses = sum(counts[f"control_losses.{kind}"] for kind in kinds)
    assert losses > 0, "what was only written was never lost"
    assert counts["cuts.server_load"] > SERVER_CUTS / 2
    assert counts["messages.acknowledged"] > 100 * SERVER_CUTS
