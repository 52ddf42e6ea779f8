"""The simulation can fail: bugs that are planted are found, and soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulation import mutants, order_mutants, page_mutants
from simulation.runs import minimized, run_seeds
from simulation.scenario import draw
from simulation.seen import SEEN

if TYPE_CHECKING:
    from collections.abc import Iterable

MUTANTS = {**mutants.MUTANTS, **order_mutants.MUTANTS, **page_mutants.MUTANTS}
MOST = 3000


def first_found(seeds: Iterable[int]) -> int | None:
    for outcome in run_seeds(seeds):
        if outcome.violations:
            return outcome.seed
    return None


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch.setattr)
    # The seed that has seen it is tried first: others only when seeds have come to mean other runs.
    assert first_found([SEEN[name], *range(MOST)]) is not None, MUTANTS[name].__doc__


def test_what_is_seen_is_a_bug_that_is_planted() -> None:
    assert SEEN.keys() == MUTANTS.keys()
    assert first_found(sorted(set(SEEN.values()))) is None


def test_a_run_that_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS["ack_forgets_its_record"](monkeypatch.setattr)
    seed = first_found(range(200))
    assert seed is not None
    scenario = draw(seed)
    less = minimized(scenario, most_runs=40)
    assert (less.seconds, len(less.crew), len(less.mishaps)) < (
        scenario.seconds,
        len(scenario.crew),
        len(scenario.mishaps),
    )
