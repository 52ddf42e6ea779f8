"""A table by numbers that is never copied whole."""

from __future__ import annotations

import random

import pytest

from mqd.core.shelves import Shelves

MANY = 30_000


def test_it_is_what_a_dictionary_is():
    chooser = random.Random(7)
    table, model = Shelves(), {}
    for step in range(20_000):
        number = chooser.randrange(3 * step + 1)
        if number in model and chooser.random() < 0.5:
            if chooser.random() < 0.5:
                assert table.pop(number) == model.pop(number)
            else:
                del table[number], model[number]
        else:
            table[number] = model[number] = step
        assert (number in table) is (number in model)
        assert table.get(number) == model.get(number)
        assert table.get(number, "none") == model.get(number, "none")
    assert len(table) == len(model) > 1000
    assert {number: table[number] for number in table} == dict(table.items()) == model
    assert sorted(table.values()) == sorted(model.values())


def test_ascending_numbers_are_seen_in_their_order():
    table = Shelves()
    for number in range(1, MANY):
        table[number] = -number
    for number in range(1, MANY, 3):
        del table[number]
    left = [number for number in range(1, MANY) if number % 3 != 1]
    assert list(table) == left
    assert list(reversed(table)) == left[::-1]
    assert list(table.values()) == [-number for number in left]


def test_no_shelf_is_large_and_none_is_kept_empty():
    table = Shelves()
    assert not table
    for number in range(MANY):
        table[number] = None
    assert table
    assert max(map(len, table._shelves.values())) == 4096
    for number in range(MANY):
        table.pop(number)
    assert not table
    assert not table._shelves


@pytest.mark.parametrize("number", [5, 5000])
def test_what_is_not_there_is_named(number):
    table = Shelves()
    table[6] = "six"
    for miss in (table.__getitem__, table.pop, table.__delitem__):
        with pytest.raises(KeyError, match=str(number)):
            miss(number)
    assert number not in table
    assert "six" not in table
    assert list(table) == [6]


def test_what_is_near_is_found_from_above_over_the_edges_of_shelves():
    table = Shelves()
    for number in (5, 4090, 4096, 12_300):
        table[number] = -number
    assert table.last_before(5, 9) is None
    assert table.last_before(6, 1) == -5
    assert table.last_before(4096, 6) == -4090
    assert table.last_before(4096, 5) is None
    assert table.last_before(4097, 9) == -4096
    assert table.last_before(12_300, 8300) == -4096
    assert table.last_before(12_300, 4000) is None


def test_what_may_not_be_there_is_discarded():
    table = Shelves()
    table[5] = table[6] = table[5000] = 1
    for number in (5, 5, 5000, 5000, 90_000):
        table.discard(number)
    assert list(table) == [6]
    table.discard(6)
    assert not table
