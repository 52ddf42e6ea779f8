"""The order of a run, what it makes of failures and signals, and what it tells."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from benchmarks.peers import interrupts, report, run, sides
from benchmarks.peers.command import peers_report
from benchmarks.peers.works.base import Row, Work, against, sides_of

HELD = against("mqd written", "redis memory", "redis everysec")
BATCHES = "batches of 64"


@pytest.fixture
def servers(monkeypatch):
    """Servers that are said to run; returns the names of those that were measured, in order."""
    measured = []

    class FakeArena:
        def __init__(self, stack):
            pass

        @contextmanager
        def only(self, side):
            measured.append(side.name)
            yield None

    monkeypatch.setattr(run, "Arena", FakeArena)
    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    return measured


def rows_of(measure, rounds=3, against=(), bodies=(100,)):
    """Run a work of one row; returns what was measured and what was told."""
    told = []
    row = Row(BATCHES, sides_of(HELD), HELD, measure, max_body_bytes=1000)
    wishes = run.Wishes(rounds, 1.0, bodies, against)
    return list(run.measure(Work("w", "", (row,)), wishes, told.append)), told


def test_each_round_begins_with_another_side(servers):
    rows_of(lambda _: {"push_per_second": 1.0})
    ours, memory, everysec = sides_of(HELD)
    assert servers == [
        *(ours, memory, everysec),
        *(memory, everysec, ours),
        *(everysec, ours, memory),
    ]


def test_ratios_are_of_one_round_and_have_their_bounds(servers):
    rates = {"mqd written": [3.0, 8.0, 1.0], "redis memory": [2.0, 4.0, 4.0]}
    rows, told = rows_of(
        lambda stage: {"push_per_second": rates[stage.side.name].pop(0)}, against=("redis memory",)
    )
    assert list(rows[0].ratios()) == [
        {
            "row": BATCHES,
            "figure": "push_per_second",
            "ours": "mqd written",
            "theirs": "redis memory",
            "body_bytes": 100,
            "ratio": {"median": 1.5, "half_range": 0.875},
            "bound": {"at_least": 1.3, "dream": 2.0, "is_met": True, "is_dreamt": False},
        }
    ]
    assert not told
    assert list(report.text(rows[0])) == [
        "batches of 64, bodies of 100 B",
        "  mqd written          push 3.00/s ±3.50",
        "  redis memory         push 4.00/s ±1.00",
        "    mqd written to redis memory, push: 1.50 ±0.88 (at least 1.3, dream 2: met)",
    ]
    lines = list(report.markdown([rows[0].as_json()]))
    assert lines[2] == (
        "| batches of 64: push | mqd written | redis memory | 1.50 ±0.88 | 1.3 | 2 | met |"
    )
    assert lines[-2:] == ["| mqd written | 3.00/s ±3.50 |", "| redis memory | 4.00/s ±1.00 |"]


def test_bounds_are_about_the_usual_body_and_rows_have_a_largest_one(servers):
    rows, _ = rows_of(lambda _: {"push_per_second": 1.0}, bodies=(100, 1000, 1001))
    assert [row.body_bytes for row in rows] == [100, 1000]
    assert [any("bound" in ratio for ratio in row.ratios()) for row in rows] == [True, False]


def test_a_side_that_fails_is_given_up_and_told_and_the_others_go_on(servers):
    def measure(stage):
        if stage.side.name == "redis memory" and len(servers) > 3:
            raise RuntimeError("the server has closed the connection")
        return {"push_per_second": 1.0}

    (row,), told = rows_of(measure)
    assert [len(row.rounds[name]) for name in ("mqd written", "redis everysec")] == [3, 3]
    assert "redis memory" not in row.rounds
    assert servers.count("redis memory") == 2
    assert told == [
        "redis memory is given up in 'batches of 64': the server has closed the connection"
    ]
    assert any("given up: RuntimeError" in line for line in report.text(row))
    assert any("given up: RuntimeError" in line for line in report.markdown([row.as_json()]))


def test_a_peer_that_is_not_installed_is_left_out_with_a_line(servers, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None if "redis" in program else program)
    assert sides.missing("redis") == (
        "redis is left out: there is no redis-server here; apt install redis-server"
    )
    assert sides.missing("mqd") is None
    (row,), _ = rows_of(lambda _: {"push_per_second": 1.0})
    assert list(row.rounds) == ["mqd written"]
    assert not list(row.ratios())


def test_sides_are_chosen_by_their_name_or_their_peers():
    assert sides.is_chosen("redis memory", ())
    assert sides.is_chosen("redis memory", ("redis",))
    assert sides.is_chosen("redis memory", ("beanstalkd", "redis memory"))
    assert not sides.is_chosen("redis memory", ("redis always",))
    assert sides.is_chosen("mqd written", ("redis always",))


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_ends_a_run_once(number):
    before = signal.getsignal(number)
    cleaned_up = False
    with pytest.raises(interrupts.Interrupted, match=number.name), interrupts.orderly_end():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # somebody is impatient
            cleaned_up = True
    assert cleaned_up
    assert signal.getsignal(number) == before


def test_a_signal_waits_until_what_was_started_is_known():
    started = []
    with pytest.raises(interrupts.Interrupted), interrupts.orderly_end():
        with interrupts.whole(), interrupts.whole():
            os.kill(os.getpid(), signal.SIGTERM)
            started.append("a process")
        started.append("more")
    assert started == ["a process"]


def test_a_report_of_several_runs_has_each_row_once_from_the_last_of_them(tmp_path, servers):
    files = []
    for number, rate in enumerate((1.0, 2.0)):
        rows, _ = rows_of(lambda _, rate=rate: {"push_per_second": rate})
        rows[0].work = "batches"
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"rows": [row.as_json() for row in rows]}))
        files.append(str(path))
    done = CliRunner().invoke(peers_report, files)
    assert done.exit_code == 0, done.output
    assert done.output.count("batches of 64, bodies of 100 B:") == 1
    assert "| mqd written | 2.00/s ±0.00 |" in done.output
