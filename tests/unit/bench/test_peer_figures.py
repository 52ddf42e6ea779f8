"""What is made of the figures of rounds: benchmarks/peers/figures.py."""

from __future__ import annotations

import pytest

from benchmarks.peers import figures


def test_a_spread_is_the_median_and_half_the_range():
    assert figures.spread([3.0, 9.0, 1.0]) == figures.Spread(3.0, 4.0)
    assert figures.spread([2.0, 4.0]) == figures.Spread(3.0, 1.0)
    assert figures.spread([7.0]) == figures.Spread(7.0, 0.0)


def test_of_a_rate_more_is_better():
    assert figures.ratios("push_per_second", [30.0, 10.0], [10.0, 20.0]) == [3.0, 0.5]


@pytest.mark.parametrize("figure", ["p99_us", "restart_seconds", "message_bytes", "server_cpu_us"])
def test_of_everything_else_less_is_better(figure):
    assert figures.ratios(figure, [10.0, 40.0], [20.0, 20.0]) == [2.0, 0.5]


def test_rounds_that_one_side_lacks_or_that_have_nothing_are_left_out():
    assert figures.ratios("push_per_second", [30.0, 10.0], [10.0]) == [3.0]
    assert figures.ratios("push_per_second", [30.0, 10.0], [0.0, 5.0]) == [2.0]
    assert figures.ratios("server_cpu_us", [0.0, 10.0], [7.0, 5.0]) == [0.5]
    assert figures.ratios("push_per_second", [], []) == []


def test_a_bound_is_met_at_the_bound():
    assert figures.verdict(1.5, 1.5, 2.0) == figures.Verdict(1.5, 2.0, True, False)
    assert figures.verdict(1.499, 1.5, 2.0) == figures.Verdict(1.5, 2.0, False, False)
    assert figures.verdict(2.0, 1.5, 2.0) == figures.Verdict(1.5, 2.0, True, True)


def test_a_percentile_is_by_nearest_rank():
    row = [float(number) for number in range(1, 1001)]
    assert figures.percentile(row, 0.5) == 500
    assert figures.percentile(row, 0.99) == 990
    assert figures.percentile(row, 0.999) == 999
    assert figures.percentile(row, 1.0) == 1000
    assert figures.percentile([5.0], 0.5) == figures.percentile([5.0], 0.999) == 5


def test_latencies_are_told_in_microseconds_of_unsorted_times():
    assert figures.latencies([3e-6, 1e-6, 2e-6]) == pytest.approx(
        {"p50_us": 2.0, "p99_us": 3.0, "p999_us": 3.0}
    )


def test_growth_is_the_dearest_point_to_the_first():
    assert figures.growth([(1, 2.0), (10, 5.0), (100, 4.0)]) == 2.5
    assert figures.growth([(1, 2.0), (10, 1.0)]) == 1.0
