from __future__ import annotations

import random

from mqd.core.deadlines import Deadlines


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
