from __future__ import annotations

import pytest

from mqd.net.refusals import Refusals


class Loop:
    """A loop that has one timer at most, and no time of its own."""

    def __init__(self):
        self.callback = None

    def call_later(self, _seconds, callback):
        assert self.callback is None
        self.callback = callback
        return self

    def cancel(self):
        self.callback = None

    def pass_a_second(self):
        callback, self.callback = self.callback, None
        callback()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def refusals(loop):
    return Refusals(loop)


def test_the_first_is_told_at_once_and_the_others_together(loop, refusals, caplog):
    for number in range(1, 1001):
        refusals.note(number, "1.2.3.4:5")
    assert caplog.messages == ["AUTH refused in connection 1 from 1.2.3.4:5"]
    loop.pass_a_second()
    assert caplog.messages[1:] == [
        "AUTH refused 999 times more, the last in connection 1000 from 1.2.3.4:5"
    ]
    refusals.note(7, "5.6.7.8:9")
    assert len(caplog.messages) == 2
    loop.pass_a_second()
    assert "1 times more, the last in connection 7" in caplog.messages[2]
    loop.pass_a_second()
    assert loop.callback is None
    assert len(caplog.messages) == 3


def test_what_it_says_to_be_is_told_as_that_alone(loop, refusals, caplog):
    refusals.note(1, "1.2.3.4:5", "mqweb for 10.0.0.7")
    refusals.note(2, "1.2.3.4:5", "x\nAUTH accepted" + "y" * 1000)
    loop.pass_a_second()
    assert caplog.messages[0] == (
        "AUTH refused in connection 1 from 1.2.3.4:5, as it says 'mqweb for 10.0.0.7'"
    )
    assert "says 'x\\nAUTH accepted" in caplog.messages[1]
    assert len(caplog.messages[1]) < 250


def test_the_user_who_was_claimed_is_told_cut_and_quoted(loop, refusals, caplog):
    refusals.note(1, "a", "", "ada")
    refusals.note(2, "b", "mqweb", "x\nAUTH accepted" + "y" * 1000)
    loop.pass_a_second()
    assert caplog.messages[0] == "AUTH refused in connection 1 from a, as the user 'ada'"
    assert "from b, as it says 'mqweb', as the user 'x\\nAUTH accepted" in caplog.messages[1]
    assert len(caplog.messages[1]) < 300


def test_what_has_not_been_told_is_told_at_the_end(loop, refusals, caplog):
    refusals.stop()
    assert caplog.messages == []
    refusals.note(1, "a")
    refusals.note(2, "b")
    refusals.stop()
    assert loop.callback is None
    assert caplog.messages[1:] == ["AUTH refused 1 times more, the last in connection 2 from b"]
