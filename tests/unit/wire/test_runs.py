from __future__ import annotations

import pytest

from mqwire.runs import ids_of, runs_of


def test_ids_as_runs():
    assert runs_of([]) == ()
    assert runs_of([1, 2, 3, 7, 9, 10]) == (1, 3, 7, 1, 9, 2)
    assert runs_of([3, 2, 5]) == (3, 1, 2, 1, 5, 1), "in the order in which they come"
    assert list(ids_of((1, 3, 7, 1))) == [1, 2, 3, 7]
    assert list(ids_of(())) == []


def test_a_run_without_a_count_is_none():
    with pytest.raises(ValueError, match="zip"):
        list(ids_of((1, 3, 7)))
