from __future__ import annotations

import pytest

from mqd.net.meters import SAMPLE_SECONDS, SAMPLES, Meters


class Work:
    """Time and messages as a test sets them."""

    def __init__(self):
        self.seconds = 100.0
        self.pushed = self.pulled = 0
        self.meters = Meters(lambda: (self.pushed, self.pulled), lambda: self.seconds)

    def go_on(self, seconds, frames=0, pushed=0, pulled=0):
        self.seconds += seconds
        self.meters.frames += frames
        self.pushed += pushed
        self.pulled += pulled


@pytest.fixture
def work():
    return Work()


def test_a_rate_is_taken_over_what_there_is(work):
    assert work.meters.rates() == {"seconds": 0, "frames": 0, "pushed": 0, "pulled": 0}
    work.go_on(2, frames=10, pushed=640, pulled=4)
    assert work.meters.rates() == {"seconds": 2, "frames": 5, "pushed": 320, "pulled": 2}
    assert work.meters.uptime_seconds == 2


def test_what_is_older_than_a_minute_counts_no_more(work):
    work.go_on(1, frames=10**6)
    for _ in range(SAMPLES):
        work.go_on(SAMPLE_SECONDS, pushed=10)
        work.meters.sample()
    rates = work.meters.rates()
    assert rates == {"seconds": 60, "frames": 0, "pushed": 2, "pulled": 0}
    assert work.meters.totals() == (10**6, 130, 0)
