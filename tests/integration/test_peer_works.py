"""Every row of every work, very small, with loads in this process instead of their own."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from benchmarks.peers import figures, load, loads, run, sides
from benchmarks.peers.works.table import WORKS

SIDES = tuple(name for name in ("redis memory", "redis always") if sides.missing("redis") is None)
OURS = ("mqd written", "mqd synced")
FRESH = {"memory": 1, "snapshot": 1, "idle": 1, "growth": 1}
"""Works whose rows start servers of their own: how many of their rows are enough here."""


class NearLoad:
    """A load that does its task where it is asked to."""

    def __init__(self, task, place, options):
        self._worker = load.Worker()
        self.end = self._worker.close
        self.order({"do": "prepare", "task": task, "place": asdict(place), "options": options})

    def order(self, order):
        self._answer = self._worker.obey(order)

    def answer(self, seconds=0):  # noqa: ARG002  as a load that is far has it
        assert "error" not in self._answer, self._answer
        return self._answer


@pytest.fixture(autouse=True)
def near(monkeypatch):
    monkeypatch.setattr(loads, "Load", NearLoad)
    monkeypatch.setattr(run.Wishes, "has", lambda _, side: side in OURS + SIDES)


@pytest.mark.parametrize("name", WORKS)
def test_every_row_is_measured(name):
    work = WORKS[name]
    rows = work.rows[: FRESH.get(name)]
    wishes = run.Wishes(rounds=1, scale=0.001)
    told = []
    found = list(run.measure(type(work)(work.name, "", rows), wishes, told.append))
    assert told == []
    assert [measured.row for measured in found] == [row.name for row in rows]
    for measured in found:
        assert measured.rounds
        assert any(figures.is_compared(figure) for figure in measured.figures())
