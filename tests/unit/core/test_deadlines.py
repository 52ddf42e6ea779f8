from __future__ import annotations

import random

from mqd.core.deadlines import MOST_PASSED, Deadlines, Timetable


def test_things_come_due_in_order_and_not_before():
    deadlines = Deadlines()
    for when, item in ((30, "c"), (10, "a"), (20, "b")):
        deadlines.add(when, item)
    assert deadlines.next_ms() == 10
    assert deadlines.pop_due(9) is None
    assert [deadlines.pop_due(20), deadlines.pop_due(20), deadlines.pop_due(20)] == ["a", "b", None]
    assert len(deadlines) == 1


def test_a_removed_one_never_comes_due():
    deadlines = Deadlines()
    first = deadlines.add(10, "a")
    deadlines.add(20, "b")
    deadlines.remove(first)
    deadlines.remove(first)
    assert len(deadlines) == 1
    assert deadlines.next_ms() == 20
    assert deadlines.pop_due(99) == "b"
    assert deadlines.next_ms() is None


def test_removing_one_that_is_past_changes_nothing():
    deadlines = Deadlines()
    entry = deadlines.add(10, "a")
    assert deadlines.pop_due(10) == "a"
    deadlines.remove(entry)
    assert len(deadlines) == 0


def test_the_heap_is_swept_so_that_removed_ones_do_not_pile_up():
    deadlines = Deadlines()
    for number in range(10_000):
        deadlines.remove(deadlines.add(10_000 + number, number))
    assert len(deadlines._heap) < 200


def test_against_a_sorted_list():
    dice = random.Random(7)
    deadlines, model, entries = Deadlines(), {}, {}
    for number in range(3000):
        if dice.random() < 0.6:
            when = dice.randrange(1000)
            entries[number] = deadlines.add(when, number)
            model[number] = when
        elif model:
            gone = dice.choice(list(model))
            deadlines.remove(entries[gone])
            del model[gone]
        assert len(deadlines) == len(model)
        assert deadlines.next_ms() == min(model.values(), default=None)
    popped = []
    while (item := deadlines.pop_due(10_000)) is not None:
        popped.append(model[item])
    assert popped == sorted(model.values())


def test_keys_come_due_by_time_and_those_of_one_time_together():
    table = Timetable()
    for when, key in ((30, "c"), (10, "a"), (10, "b")):
        table.add(when, key)
    assert table.next_ms() == 10
    assert list(table.due(9)) == []
    assert list(table.due(40)) == ["a", "b"]
    table.remove(10, "a")
    assert list(table.due(40)) == ["b"]
    table.remove(10, "b")
    assert table.next_ms() == 30
    table.remove(30, "c")
    assert table.next_ms() is None
    assert list(table.due(40)) == []


def test_a_key_may_come_back_to_a_time_that_was_empty():
    table = Timetable()
    for _ in range(3):
        table.add(10, "a")
        table.remove(10, "a")
    table.add(10, "a")
    assert list(table.due(10)) == ["a"]


def test_times_that_are_empty_do_not_pile_up():
    table = Timetable()
    for number in range(10_000):
        table.add(number, number)
        if number % 10:
            table.remove(number, number)
    assert len(table._heap) + len(table._old) <= 2 * 1000 + 65
    assert table.next_ms() == 0


def test_a_timetable_against_a_dictionary():
    dice = random.Random(11)
    table, model = Timetable(), {}
    for number in range(5000):
        if dice.random() < 0.55 or not model:
            model[number] = dice.randrange(400)
            table.add(model[number], number)
        else:
            gone = dice.choice(list(model))
            table.remove(model.pop(gone), gone)
        earliest = min(model.values(), default=None)
        assert table.next_ms() == earliest
        assert sorted(table.due(10**6)) == sorted(
            k for k, when in model.items() if when == earliest
        )


def test_a_timetable_tells_all_that_is_due_in_order_and_changes_nothing():
    table = Timetable()
    times = [(7 * number) % 30 for number in range(60)]
    for key, when_ms in enumerate(times):
        table.add(when_ms, key)
    for key in (3, 33):
        table.remove(times[key], key)
    table.add(times[3], 99)
    for now_ms in (-1, 0, 11, 29, 90):
        found = list(table.all_due(now_ms))
        expected = [key for key in range(60) if times[key] <= now_ms and key not in (3, 33)]
        assert sorted(key for key in found if key != 99) == expected
        moments = [times[3] if key == 99 else times[key] for key in found]
        assert moments == sorted(moments)
    assert table.next_ms() == 0


class Counting(dict):
    """A dictionary that counts how often it is asked for something."""

    looks = 0

    def __contains__(self, key):
        self.looks += 1
        return super().__contains__(key)


def test_no_call_looks_at_more_than_a_part_of_what_was_removed():
    table, worst, number = Timetable(), 0, 6 * MOST_PASSED
    by_ms = table._keys_by_ms = Counting()
    for key in range(number):
        table.add(key, key)
    for key in range(1, number // 2 - 9):  # and the first stays before them
        table.remove(key, key)
    assert by_ms.looks == 0
    assert list(table.all_due(number)) == [0]
    assert by_ms.looks <= MOST_PASSED + 4
    table.remove(0, 0)
    by_ms.looks = calls = 0
    while (when_ms := table.next_ms()) < number // 2 - 9:
        assert list(table.due(when_ms)) == []
        assert list(table.all_due(when_ms)) == []
        calls += 1
        assert by_ms.looks <= calls * 4 * (MOST_PASSED + 4)
    assert calls in (1, 2)
    assert list(table.due(when_ms)) == [when_ms]
    for key in range(when_ms, number):  # by now half of what is there was removed
        before = by_ms.looks
        table.remove(key, key)
        worst = max(worst, by_ms.looks - before)
    assert 0 < worst <= 4


def test_what_is_due_is_told_while_a_heap_is_moved():
    table = Timetable()
    for key in range(300):
        table.add(key, key)
    gone = [*range(1, 40, 2), *range(0, 300, 2), *range(299, 46, -2)]
    while not table._old:  # a move is under way then
        table.remove(gone[0], gone.pop(0))
    assert 45 not in gone
    assert table.next_ms() == 41
    table.add(7, "new")
    assert table.next_ms() == 7
    assert list(table.all_due(45)) == ["new", 41, 43, 45]
    while table._old:
        table.add(-len(table._old), "more")
        table.add(1000 + len(table._old), "more")
    assert [key for key in table.all_due(45) if type(key) is int] == [41, 43, 45]


def test_an_empty_timetable_keeps_nothing():
    table = Timetable()
    for key in range(500):
        table.add(key, key)
    for key in reversed(range(500)):
        table.remove(key, key)
    assert table.next_ms() is None
    assert list(table.all_due(999)) == []
    assert (table._heap, table._old) == ([], [])
