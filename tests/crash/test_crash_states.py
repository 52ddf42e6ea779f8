"""Every state that a crash may leave: what was promised is there, and nothing is half there.

MQD_CRASH_STATES sets how many states are tried, and MQD_CRASH_SEED the first history;
`scripts/crash` tries far more of them, in several processes.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from crash.crash_files import Crash, crashes
from crash.states import (
    Recorded,
    StateFailed,
    enumerate_states,
    record_history,
    replay,
)

if TYPE_CHECKING:
    from pathlib import Path

STATES = int(os.environ.get("MQD_CRASH_STATES", "100000"))
SEED = int(os.environ.get("MQD_CRASH_SEED", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(300, STATES // 400))]


def test_every_state_recovers_to_what_was_promised() -> None:
    counts: Counter[str] = Counter()
    for done in enumerate_states(SEED, 1, STATES):
        counts.update(done)
    print(f"\n{dict(counts)}")  # noqa: T201  the figures are the result
    assert counts["states"] >= STATES
    assert counts["nested"] > 0


def test_a_broken_promise_is_found_kept_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    recorded = record_history(SEED)
    # Whatever the disk has, more than there ever was is promised at the end.
    last = max(recorded.model.states)
    too_much = recorded.promise._replace(synced_lsn=last + 1000)
    forgetful = Recorded(recorded.ops[:150], too_much, recorded.model)
    with pytest.raises(StateFailed, match="something that was promised is gone") as failed:
        for _ in enumerate_states(SEED, 1, STATES, lambda _seed: forgetful):
            pass
    (place,) = tmp_path.iterdir()
    assert str(place) in str(failed.value)
    with pytest.raises(AssertionError, match="something that was promised is gone"):
        replay(place)


def test_a_state_that_is_sound_is_sound_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crash.states import keep

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    recorded = record_history(SEED)
    crash: Crash = next(crashes(recorded.ops, len(recorded.ops), recorded.promise))
    assert replay(keep(crash, recorded.model, SEED)) > 10
