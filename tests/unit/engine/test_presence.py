from __future__ import annotations

import pytest

from mqd.engine.presence import Presence


@pytest.fixture
def presence():
    return Presence()


def test_who_has_a_connection_is_there(presence):
    assert not presence.is_there("a")
    presence.arrive("a")
    presence.arrive("a")
    presence.leave("a", 50)
    assert presence.is_there("a")
    assert presence.next_ms() is None
    presence.leave("a", 60)
    assert not presence.is_there("a")
    assert presence.next_ms() == 60


def test_who_is_away_is_due_until_it_is_closed(presence):
    presence.miss("a", 60)
    assert presence.due(59) is None
    assert presence.due(60) == "a"
    assert presence.due(99) == "a"
    presence.close("a")
    presence.close("a")
    assert presence.due(99) is None
    assert presence.next_ms() is None


def test_who_comes_back_is_not_due(presence):
    presence.miss("a", 60)
    presence.arrive("a")
    assert presence.due(99) is None
    presence.leave("a", 200)
    assert presence.due(199) is None
    assert presence.due(200) == "a"


def test_who_is_missed_again_has_the_later_time(presence):
    presence.miss("a", 60)
    presence.miss("a", 80)
    assert presence.next_ms() == 80


def test_the_earliest_comes_first_and_those_of_one_moment_one_after_the_other(presence):
    for who, gone_ms in (("a", 70), ("b", 60), ("c", 60)):
        presence.miss(who, gone_ms)
    found = []
    while (who := presence.due(100)) is not None:
        found.append(who)
        presence.close(who)
    assert found == ["b", "c", "a"]


def test_who_is_not_missed_is_never_due(presence):
    presence.arrive("a")
    presence.leave("a", None)
    assert not presence.is_there("a")
    assert presence.next_ms() is None
    assert presence.due(10**15) is None


def test_a_connection_that_never_came_cannot_leave(presence):
    with pytest.raises(KeyError):
        presence.leave("a", 60)
