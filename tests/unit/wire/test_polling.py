from __future__ import annotations

import math
from itertools import pairwise

import pytest

from mqwire.polling import MAX_PAUSE, Gamble, usable_cores


def taken(gamble, chances, outcome):
    """Return which of so many chances are taken, where all of them end in the same way."""
    numbers = []
    for number in range(chances):
        if gamble.is_due():
            numbers.append(number)
            outcome()
    return numbers


def test_what_pays_is_done_each_time():
    gamble = Gamble()
    assert taken(gamble, 100, gamble.won) == list(range(100))


def test_what_never_pays_is_tried_ever_more_rarely():
    gamble = Gamble()
    numbers = taken(gamble, 5 * (MAX_PAUSE + 1), gamble.lost)
    assert numbers[:5] == [0, 2, 5, 10, 19]
    assert len([number for number in numbers if number < 1000]) <= 10
    later = [number for number in numbers if number > 2 * MAX_PAUSE]
    assert {b - a for a, b in pairwise(later)} == {MAX_PAUSE + 1}


def test_what_pays_again_is_soon_done_each_time_again():
    gamble = Gamble()
    taken(gamble, 3000, gamble.lost)
    numbers = taken(gamble, 3000, gamble.won)
    assert numbers[-900:] == list(range(2100, 3000))


@pytest.mark.parametrize(("one_in", "least", "most"), [(2, 0.2, 1.0), (5, 0.0, 0.1)])
def test_what_pays_half_the_time_goes_on_and_what_pays_less_does_not(one_in, least, most):
    gamble = Gamble()
    outcomes = []
    for number in range(10_000):
        if gamble.is_due():
            outcomes.append(number % one_in == 0)
            (gamble.won if outcomes[-1] else gamble.lost)()
    assert least < sum(outcomes) / (10_000 / one_in) <= most


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
