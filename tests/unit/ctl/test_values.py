from __future__ import annotations

import time

import click
import pytest

from mqclient.ctl import values
from mqwire.limits import MAX_MESSAGES_PER_FRAME, MAX_QUEUE_BYTES


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500", 500),
        ("500B", 500),
        ("10k", 10 * 1024),
        ("10M", 10 * 1024**2),
        ("10 MiB", 10 * 1024**2),
        ("10MB", 10 * 1000**2),
        ("1GiB", 1024**3),
        ("1.5g", 3 * 1024**3 // 2),
        ("1024T", MAX_QUEUE_BYTES),
    ],
)
def test_sizes(text, size):
    assert values.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "ten", "1X", "1e3", "1025T", "nan", "1 0"])
def test_what_is_no_size(text):
    with pytest.raises(click.BadParameter):
        values.size_bytes(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("5", 5)])
def test_numbers(text, number):
    assert values.number(1, 5)(text) == number


@pytest.mark.parametrize("text", ["0", "6", "x", "1.5", ""])
def test_numbers_out_of_range(text):
    with pytest.raises(click.BadParameter, match="from 1 to 5"):
        values.number(1, 5)(text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1.5", 1.5), ("1e3", 1000)])
def test_seconds(text, seconds):
    assert values.seconds(text) == seconds


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "soon", ""])
def test_what_are_no_seconds(text):
    with pytest.raises(click.BadParameter):
        values.seconds(text)


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("60", 60.0)])
def test_seconds_within_bounds(text, seconds):
    assert values.seconds_up_to(60, 0.5)(text) == seconds


@pytest.mark.parametrize("text", ["0.4", "60.1", "x"])
def test_seconds_out_of_bounds(text):
    with pytest.raises(click.BadParameter):
        values.seconds_up_to(60, 0.5)(text)


@pytest.mark.parametrize(("text", "part"), [("0", 0), ("0.5", 0.5), ("1", 1)])
def test_fractions(text, part):
    assert values.fraction(text) == part


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "half", ""])
def test_what_are_no_fractions(text):
    with pytest.raises(click.BadParameter, match="from 0 to 1"):
        values.fraction(text)


@pytest.mark.parametrize(
    ("text", "ids"),
    [("7", [7]), ("9,7", [7, 9]), ("10-12,11, 20", [10, 11, 12, 20]), ("5-5", [5])],
)
def test_ids(text, ids):
    assert values.id_ranges(text) == ids


@pytest.mark.parametrize(
    "text", ["", "0", "x", "3-2", "1,", "1-", "-1", "1--2", "9007199254740992"]
)
def test_what_are_no_ids(text):
    with pytest.raises(click.BadParameter, match="neither an id nor a range"):
        values.id_ranges(text)


def test_no_more_ids_than_a_frame_takes():
    assert len(values.id_ranges(f"1-{MAX_MESSAGES_PER_FRAME}")) == MAX_MESSAGES_PER_FRAME
    for text in (f"1-{MAX_MESSAGES_PER_FRAME + 1}", "1-10,100-9007199254740991"):
        with pytest.raises(click.BadParameter, match="name fewer"):
            values.id_ranges(text)


@pytest.mark.parametrize(("text", "rate"), [("0.001", 0.001), ("50", 50.0), ("1e6", 1e6)])
def test_rates(text, rate):
    assert values.per_second(text) == rate


def test_a_timeout_is_not_zero():
    assert values.timeout("0.5") == 0.5
    with pytest.raises(click.BadParameter):
        values.timeout("0")


@pytest.mark.parametrize(("text", "seconds"), [("0.1", 0.1), ("5", 5.0), ("86400", 86400.0)])
def test_intervals(text, seconds):
    assert values.interval(text) == seconds


@pytest.mark.parametrize("text", ["0", "0.09", "86401", "-1", "inf", "soon"])
def test_what_are_no_intervals(text):
    with pytest.raises(click.BadParameter):
        values.interval(text)


@pytest.mark.parametrize(
    ("text", "pair"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c"))]
)
def test_headers(text, pair):
    assert values.header(text) == pair


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_are_no_headers(text):
    with pytest.raises(click.BadParameter):
        values.header(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2030-01-31T12:00:00Z", 1896091200),
        ("2030-01-31T12:00:00+00:00", 1896091200),
        ("2030-01-31 13:00:00.5+01:00", 1896091200.5),
    ],
)
def test_moments(text, seconds):
    assert values.moment(text) == int(seconds * 1e9)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_ages(text, seconds):
    before = time.time_ns()
    assert before <= values.moment(text) + seconds * 10**9 <= time.time_ns()


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10y", "2030-13-01"])
def test_what_are_no_moments(text):
    with pytest.raises(click.BadParameter):
        values.moment(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("abc", "'abc' is neither an id nor a range as 10-20"),
        ("7,x", "'x' in '7,x' is neither an id nor a range as 10-20"),
        ("9-7", "'9-7' is neither an id nor a range as 10-20; write 7-9"),
    ],
)
def test_what_is_wrong_with_ids(text, sentence):
    with pytest.raises(click.BadParameter) as caught:
        values.id_ranges(text)
    assert caught.value.message == sentence


def test_what_is_wrong_with_seconds():
    with pytest.raises(click.BadParameter, match="'-1' is not a number of seconds from 0 on"):
        values.seconds("-1")
