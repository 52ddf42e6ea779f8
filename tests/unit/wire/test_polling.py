"""Gambles of `mqwire.polling`, and what the kernel says about cores."""

from __future__ import annotations

import math
import random

import pytest

from mqwire.polling import LONGEST_SECONDS, MAX_REST, ROUND, Gamble, usable_cores

MICROSECOND = 1e-6


class Ways:
    """Carries chances out: how long one takes if one looks, and if one sleeps."""

    def __init__(self, looking: float, sleeping: float, *, is_in_vain: bool = False) -> None:
        self.gamble = Gamble()
        self.set(looking, sleeping, is_in_vain=is_in_vain)

    def set(self, looking, sleeping, *, is_in_vain=False):
        self.looking, self.sleeping, self.is_in_vain = looking, sleeping, is_in_vain

    def go(self, chances, extra=lambda _: 0.0):
        """Take chances; return at which of them was looked."""
        looked = []
        for number in range(chances):
            looks = self.gamble.looks
            if looks:
                looked.append(number)
                (self.gamble.missed if self.is_in_vain else self.gamble.found)()
            seconds = self.looking if looks else self.sleeping
            self.gamble.took(seconds * MICROSECOND + extra(number))
        return looked


def test_one_looks_where_that_is_faster():
    ways = Ways(looking=45, sleeping=90)
    ways.go(10_000)
    assert len(ways.go(100_000)) > 0.97 * 100_000


@pytest.mark.parametrize("looking", [95, 100, 200])
def test_one_sleeps_where_looking_is_not_faster_by_a_tenth(looking):
    ways = Ways(looking=looking, sleeping=100)
    ways.go(10_000)
    assert len(ways.go(100_000)) < 0.03 * 100_000


def test_both_ways_are_tried_again_and_again():
    ways = Ways(looking=200, sleeping=100)
    ways.go(10_000)
    ways.set(looking=50, sleeping=100)
    most = (MAX_REST + 2) * ROUND
    ways.go(most)
    assert len(ways.go(10_000)) > 0.9 * 10_000
    ways.set(looking=200, sleeping=100)
    ways.go(most)
    assert len(ways.go(10_000)) < 0.1 * 10_000


def test_what_never_comes_in_time_is_looked_for_ever_more_rarely():
    ways = Ways(looking=10_000, sleeping=10_000, is_in_vain=True)
    looked = ways.go(100_000)
    assert looked[:4] == [0, 1, 2, 2 + 2 * ROUND]
    assert len([number for number in looked if number < 1000]) <= 20
    assert len([number for number in looked if number >= 50_000]) <= 3 * 50_000 / 2000


def test_looking_that_becomes_slower_than_sleep_was_ends_with_that_round():
    ways = Ways(looking=45, sleeping=90)
    ways.go(10_000)
    ways.set(looking=300, sleeping=90)
    looked = ways.go((MAX_REST + 2) * ROUND)
    assert len([number for number in looked if number < 2 * ROUND]) <= ROUND + 1
    assert len(looked) <= 7 * ROUND


def test_looking_that_only_seems_to_be_faster_is_doubted_ever_longer():
    draw = random.Random(6).random
    ways = Ways(looking=60, sleeping=60)

    def stall(_):
        return 0.004 if draw() < (0.02 if ways.gamble.looks else 0.005) else 0.0

    ways.go(10_000, stall)
    assert len(ways.go(100_000, stall)) < 0.1 * 100_000


def test_looking_that_has_been_right_for_a_while_is_not_doubted_any_more():
    ways = Ways(looking=200, sleeping=90)
    ways.go(100_000)
    ways.set(looking=45, sleeping=90)
    ways.go(10_000)
    ways.set(looking=200, sleeping=90)
    ways.go((MAX_REST + 2) * ROUND // 8)
    ways.set(looking=45, sleeping=90)
    assert len(ways.go(30 * ROUND)) > 10 * ROUND


def test_one_time_that_others_took_does_not_decide_a_lesson():
    draw = random.Random(4).random

    def stall(_):
        return 0.02 if draw() < 0.003 else 0.0

    ways = Ways(looking=45, sleeping=90)
    ways.go(10_000, stall)
    assert len(ways.go(100_000, stall)) > 0.8 * 100_000


def test_stalls_that_looking_brings_about_are_seen():
    draw = random.Random(5).random
    ways = Ways(looking=45, sleeping=60)

    def stall(_):
        return LONGEST_SECONDS if ways.gamble.looks and draw() < 0.2 else 0.0

    ways.go(10_000, stall)
    assert len(ways.go(100_000, stall)) < 0.2 * 100_000


class Files(dict):
    def read(self, path):
        try:
            return self[path]
        except KeyError:
            raise FileNotFoundError(path) from None


GROUP = "0::/system.slice/docker-1.scope\n"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"/proc/self/cgroup": "1:cpu:/x\n0::/\n"}, 8),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "none of this\n"}, 8),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "1 0\n"}, 8),
        (
            {
                "/proc/self/cgroup": GROUP,
                "/sys/fs/cgroup/system.slice/docker-1.scope/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
    ],
)
def test_cores_are_those_allowed_or_what_groups_leave(files, cores):
    assert math.isclose(usable_cores(8, Files(files).read), cores)
