"""Pictures of results: benchmarks/peers/plot.py."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from benchmarks.peers import plot
from benchmarks.peers.run import Measured

HELD = (("mqd written", "redis memory"),)


def row(name, figures, body_bytes=100):
    rounds = {side: [figures, figures] for side in ("mqd written", "redis memory")}
    return Measured("w", name, body_bytes, HELD, rounds).as_json()


def test_there_is_a_picture_for_each_kind_of_figure_and_it_is_the_same_each_time(tmp_path):
    rows = [
        row("batches of 64", {"push_per_second": 3.0, "server_cpu_us": 2.0}),
        row(
            "growth with queues, blocking", {"at_1_cpu_us": 2.0, "at_10_cpu_us": 3.0, "grown": 1.5}
        ),
    ]
    written = plot.draw(rows, tmp_path / "p.svg")
    assert [path.name for path in written] == ["p.svg", "p-rates.svg", "p-growth.svg"]
    first = [path.read_bytes() for path in written]
    assert all(text.startswith(b"<?xml") for text in first)
    assert [path.read_bytes() for path in plot.draw(rows, tmp_path / "p.svg")] == first


def test_what_was_not_measured_is_not_drawn(tmp_path):
    assert plot.draw([], tmp_path / "p.svg") == []
    rows = [row("wake-up", {"p50_us": 3.0}), row("batches of 64", {"push_per_second": 3.0}, 1024)]
    assert plot.draw(rows, tmp_path / "p.svg") == []
    assert list(tmp_path.iterdir()) == []
