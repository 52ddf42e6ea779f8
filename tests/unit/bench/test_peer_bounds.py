"""The bounds are about rows that are measured, and about sides that are held against each other."""

from __future__ import annotations

import pytest

from benchmarks.peers import sides
from benchmarks.peers.bounds import BOUNDS, bound_for
from benchmarks.peers.works.table import WORKS

ROWS = [row for work in WORKS.values() for row in work.rows]


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound.row} {bound.theirs}")
def test_every_bound_has_rows_in_which_its_sides_are_held_against_each_other(bound):
    rows = [row for row in ROWS if row.name.startswith(bound.row)]
    assert rows
    assert all((bound.ours, bound.theirs) in row.held for row in rows)
    assert bound.at_least < bound.dream


def test_all_sides_of_rows_are_there_and_ours_are_held_against_theirs():
    for row in ROWS:
        assert all(sides.side(name).name == name for name in row.sides)
        for ours, theirs in row.held:
            assert sides.side(ours).is_ours
            assert not sides.side(theirs).is_ours
            assert {ours, theirs} <= set(row.sides)


def test_no_two_rows_have_the_same_name():
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_bound_is_found_by_row_figure_and_sides():
    found = bound_for("batches of 64", "push_per_second", "mqd written", "redis memory")
    assert found is not None
    assert (found.at_least, found.dream) == (1.3, 2.0)
    assert bound_for("batches of 64", "push_per_second", "mqd memory", "redis memory") is None
    assert bound_for("batches of 64", "server_cpu_us", "mqd written", "redis memory") is None
    assert bound_for("nothing", "push_per_second", "mqd written", "redis memory") is None
