from __future__ import annotations

import random
from collections import deque

import pytest

from mqd.core.lanes import _MOST_LOWS, _SWEPT_TOGETHER, Lanes


class Things(dict):
    """What is there by number; counts how often that is asked."""

    looks = 0

    def __contains__(self, number):
        self.looks += 1
        return super().__contains__(number)


@pytest.fixture
def things():
    return Things()


@pytest.fixture
def lanes(things):
    return Lanes(things, {})


def put(lanes, things, *numbers, priority=128):
    for number in numbers:
        things[number] = priority
        lanes.add(priority, number)


def lose(lanes, things, *numbers):
    """Let things go otherwise than from the front."""
    for number in numbers:
        lanes.note_gone(things.pop(number), number)


def told(lanes):
    return [number for _, number in lanes.in_order()]


def test_an_older_number_comes_to_its_place(lanes, things):
    put(lanes, things, 5, 9, 3, 7, 4)
    assert told(lanes) == [3, 4, 5, 7, 9]
    assert lanes.first()[1] == lanes.oldest() == 3
    lose(lanes, things, 4, 3)
    assert lanes.oldest() == 5


def test_a_thing_that_comes_back_is_told_once(lanes, things):
    put(lanes, things, 1, 2, 3)
    for _ in range(500):
        lose(lanes, things, 2)
        put(lanes, things, 2)
        for number in range(10, 30):  # so that a sweep finds it there
            put(lanes, things, number)
            lose(lanes, things, number)
    assert told(lanes) == [1, 2, 3]
    assert len(lanes) < 200


def test_what_has_gone_behind_an_old_thing_is_dropped(lanes, things):
    put(lanes, things, 1, priority=3)
    for number in range(2, 20_000):
        put(lanes, things, number, priority=9)
        del things[number]
        lanes.forget(9, number)
        assert lanes.oldest() == 1
    assert len(lanes) < 300
    assert told(lanes) == [1]


def test_no_call_looks_at_more_than_a_few(lanes, things):
    put(lanes, things, *range(1, 5001), priority=9)
    put(lanes, things, *range(7000, 6000, -1), priority=9)
    worst = 0
    for number in [*range(4500, 10, -1), *range(6001, 6900)]:
        before = things.looks
        lose(lanes, things, number)
        worst = max(worst, things.looks - before)
    assert worst <= 2 * _SWEPT_TOGETHER
    assert told(lanes) == [*range(1, 11), *range(4501, 5001), *range(6900, 7001)]


def test_numbers_come_and_go_while_a_sweep_is_under_way(lanes, things):
    put(lanes, things, *range(10, 1000), priority=7)
    gone = list(range(200, 700))
    while not lanes._lanes[7].kept:  # a sweep is under way then
        lose(lanes, things, gone.pop())
    lose(lanes, things, 205, 300)
    put(lanes, things, 5, 205, 1001, 300, priority=7)
    assert told(lanes)[:2] == [5, 10]
    assert told(lanes) == sorted(things)
    assert lanes.oldest() == 5
    assert lanes.next_in(7) == 5
    lose(lanes, things, *range(10, 100))
    for number in (5, *range(100, 200)):
        del things[number]
    lanes.forget(7, 199)
    assert told(lanes) == sorted(things)
    assert lanes.first()[1] == 200


def test_against_a_plain_set(things, lanes):
    dice = random.Random(5)
    number, gone = 0, []
    for _ in range(6000):
        if dice.random() < 0.5 or not things:
            if gone and dice.random() < 0.4:
                back = gone.pop(dice.randrange(len(gone)))
                put(lanes, things, back, priority=128 + back % 3)
            else:
                number += 1
                put(lanes, things, number, priority=128 + number % 3)
            continue
        rank = min((-priority, each) for each, priority in things.items())
        if dice.random() < 0.5:
            chosen = dice.choice(list(things))
            lose(lanes, things, chosen)
        else:
            chosen = lanes.first()[1]
            assert chosen == rank[1]
            del things[chosen]
            lanes.forget(128 + chosen % 3, chosen)
        gone.append(chosen)
        assert lanes.oldest() == min(things, default=None)
    assert told(lanes) == sorted(things, key=lambda each: (-things[each], each))
    assert len(lanes) < 3 * len(things) + 300


def test_the_oldest_is_found_among_many_lanes_that_come_and_go(things, lanes):
    dice = random.Random(6)
    for number in range(1, 9000):
        put(lanes, things, number, priority=dice.randrange(256))
        if dice.random() < 0.9:
            _, chosen = lanes.first()
            lanes.forget(things.pop(chosen), chosen)
        if number % 7 == 0:
            assert lanes.oldest() == min(things, default=None)


def test_numbers_that_come_ever_older_leave_little_behind(things, lanes):
    put(lanes, things, 1, priority=200)
    for number in range(20_000, 2, -1):
        put(lanes, things, number, priority=7)
        lose(lanes, things, number)
    assert len(lanes._lows_heap) <= _MOST_LOWS
    assert lanes.oldest() == 1


def test_many_numbers_at_once_come_to_their_lanes(things, lanes):
    put(lanes, things, 1, 2, priority=7)
    things.update(zip(range(3, 9), [7, 9, 7, 128, 9, 255], strict=True))
    lanes.add_each(bytes([7, 9, 7, 128, 9, 255]), range(3, 9))
    assert told(lanes) == [8, 6, 4, 7, 1, 2, 3, 5]
    assert lanes.oldest() == 1


def test_the_front_is_told_where_that_is_quick(things, lanes):
    put(lanes, things, 5, 6, priority=200)
    put(lanes, things, 7, priority=100)
    priority, line = lanes.front(0)
    assert (priority, list(line)) == (200, [5, 6])
    assert lanes.front(201) is None
    put(lanes, things, 9, 3, 8, priority=210)  # 8 lies between others
    assert lanes.front(0) is None


def test_a_line_from_which_all_was_taken_gives_way_to_the_next(lanes, things):
    put(lanes, things, 1, priority=200)
    put(lanes, things, 2)
    priority, line = lanes.front(0)
    assert (priority, line.popleft()) == (200, 1)
    assert lanes.front(0) == (128, deque([2]))
    assert lanes.front(129) is None
    assert lanes.front(128)[1].popleft() == 2
    assert lanes.front(0) is None
