from __future__ import annotations

import pytest

from mqd.core.retries import DEFAULT_BACKOFF_CAP_SECONDS, Retries


def delays(options, chance=0.0, attempts=(1, 2, 3, 4)):
    return [Retries(options).delay_ms(number, chance) for number in attempts]


def test_without_options_nothing_is_ever_spent_and_nothing_waits():
    retries = Retries({})
    assert not retries.is_spent(10**6, 10**6)
    assert delays({}) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "attempts", "losses", "is_spent"),
    [
        ({"max_attempts": 2}, 1, 99, False),
        ({"max_attempts": 2}, 2, 0, True),
        ({"max_worker_losses": 2}, 99, 1, False),
        ({"max_worker_losses": 2}, 0, 2, True),
        ({"max_attempts": 2, "max_worker_losses": 2}, 1, 1, False),
    ],
)
def test_a_budget_is_spent_when_it_is_reached(options, attempts, losses, is_spent):
    assert Retries(options).is_spent(attempts, losses) is is_spent


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fixed", [1500, 1500, 1500, 1500]),
        ("linear", [1500, 3000, 4500, 6000]),
        ("exponential", [1500, 3000, 6000, 7000]),
    ],
)
def test_delays_grow_as_the_word_says_up_to_the_cap(word, expected):
    options = {"backoff": word, "backoff_seconds": 1.5, "backoff_cap_seconds": 7}
    assert delays(options) == expected


def test_the_defaults_have_a_cap_too():
    assert delays({"backoff": "exponential"}) == [1000, 2000, 4000, 8000]
    (last,) = delays({"backoff": "exponential"}, attempts=[10**6])
    assert last == DEFAULT_BACKOFF_CAP_SECONDS * 1000


def test_chance_takes_off_the_part_that_jitter_allows():
    options = {"backoff": "fixed", "backoff_seconds": 10, "backoff_jitter": 0.5}
    assert [delays(options, chance, [1])[0] for chance in (0.0, 0.5, 0.8)] == [10000, 7500, 6000]
