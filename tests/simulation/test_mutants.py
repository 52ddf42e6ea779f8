"""The simulation can fail: bugs that are planted are found, and soon."""

from __future__ import annotations

import pytest

from simulation.mutants import MUTANTS, RARE
from simulation.runs import minimized, run_seeds
from simulation.scenario import draw

SEEDS = range(200)


def first_found(seeds: range) -> int | None:
    for outcome in run_seeds(seeds):
        if outcome.violations:
            return outcome.seed
    return None


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - RARE.keys()))
def test_a_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch.setattr)
    assert first_found(SEEDS) is not None, MUTANTS[name].__doc__


@pytest.mark.parametrize("name", sorted(RARE))
def test_a_bug_that_needs_luck_is_found_where_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS[name](monkeypatch.setattr)
    assert first_found(RARE[name]) is not None, MUTANTS[name].__doc__


def test_a_run_that_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS["ack_forgets_its_record"](monkeypatch.setattr)
    seed = first_found(SEEDS)
    assert seed is not None
    scenario = draw(seed)
    less = minimized(scenario, most_runs=60)
    assert (less.seconds, len(less.crew), len(less.mishaps)) < (
        scenario.seconds,
        len(scenario.crew),
        len(scenario.mishaps),
    )
