from __future__ import annotations

import string
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.names import NAME_RULE, PATTERN_RULE, check_name, check_pattern, matches

NAME_CHARS = string.ascii_letters + string.digits + "._-"
# Every ASCII character, and some that other programs take for letters, digits or nothing.
ALL_CHARS = [chr(code) for code in range(128)] + list("äß٣５²ⅷ\u00a0\u200b\U0001f600")


def refusal(check, text):
    with pytest.raises(RequestError) as caught:
        check(text)
    assert caught.value.code is Code.BAD_NAME
    return caught.value


@pytest.mark.parametrize("char", ALL_CHARS, ids=ascii)
def test_each_character_inside_a_name(char):
    name = f"a{char}b"
    if char in NAME_CHARS:
        assert check_name(name) == name
    else:
        refusal(check_name, name)


@pytest.mark.parametrize("char", ALL_CHARS, ids=ascii)
def test_each_character_at_the_start_of_a_name(char):
    if char in NAME_CHARS and char not in ".-":
        assert check_name(char) == char
    else:
        refusal(check_name, char)


@pytest.mark.parametrize("char", ALL_CHARS, ids=ascii)
def test_each_character_inside_a_pattern(char):
    for pattern in (char, f"a{char}b"):
        if char in NAME_CHARS + "*?":
            assert check_pattern(pattern) == pattern
        else:
            refusal(check_pattern, pattern)


@pytest.mark.parametrize("check", [check_name, check_pattern])
def test_length_at_the_bounds(check):
    assert check("a") == "a"
    assert check("a" * 128) == "a" * 128
    refusal(check, "")
    refusal(check, "a" * 129)


@pytest.mark.parametrize("check", [check_name, check_pattern])
def test_a_newline_at_the_end_is_not_overlooked(check):
    refusal(check, "jobs\n")


def test_a_refused_name_is_told_with_the_rule():
    error = refusal(check_name, "../etc/passwd")
    assert error.details == {"name": "../etc/passwd", "rule": NAME_RULE}
    assert "queue name '../etc/passwd' is not" in error.message


def test_a_refused_pattern_is_told_with_the_rule():
    error = refusal(check_pattern, "a b")
    assert error.details == {"name": "a b", "rule": PATTERN_RULE}
    assert "pattern 'a b' is not" in error.message


def test_what_is_told_is_short_and_ascii():
    error = refusal(check_name, "ä" * 1_000_000)
    assert error.details["name"] == "\\xe4" * 128
    assert error.message.isascii()
    assert len(error.message) < 1000


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("jobs", "jobs", True),
        ("jobs", "jobs2", False),
        ("jobs", "job", False),
        ("Jobs", "jobs", False),
        ("*", "jobs", True),
        ("**", "j", True),
        ("sweep.*", "sweep.a", True),
        ("sweep.*", "sweep.", True),
        ("sweep.*", "sweep", False),
        ("*.a", "sweep.a", True),
        ("*.a", "sweep.a.b", False),
        ("a*b*c", "abbc", True),
        ("a*b*c", "acb", False),
        ("?", "a", True),
        ("?", "ab", False),
        ("a?", "a", False),
        ("?*", "a", True),
        ("*?", "a", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern, name, fits):
    assert matches(pattern, name) is fits


@given(st.text("ab.-*?", max_size=12), st.text("ab.-", max_size=12))
def test_patterns_mean_what_they_mean_in_a_shell(pattern, name):
    assert matches(pattern, name) is fnmatchcase(name, pattern)


@given(st.text("ab*?", max_size=8), st.data())
def test_a_name_made_after_a_pattern_fits(pattern, data):
    filling = {"*": st.text("ab.", max_size=4), "?": st.sampled_from("ab.")}
    name = "".join(data.draw(filling.get(char, st.just(char))) for char in pattern)
    assert matches(pattern, name)


class CountingText(str):
    """Text that counts how often it is looked into, and gives up past a bound."""

    __slots__ = ("looks",)

    def __new__(cls, text, looks):
        made = super().__new__(cls, text)
        made.looks = looks
        return made

    def __getitem__(self, at):
        next(self.looks)
        return CountingText(super().__getitem__(at), self.looks)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 64, "*" * 128, "a*" * 64, "*a?" * 42, "?*" * 64, "*" * 127 + "c", ("a" * 15 + "*") * 8],
)
@pytest.mark.parametrize("name", ["a" * 128, "a" * 127 + "b", "ab" * 64])
def test_a_hostile_pattern_takes_bounded_steps(pattern, name):
    # A step looks once at the name and twice at the pattern, at most.
    looks = iter(range(3 * len(pattern) * len(name)))
    matches(CountingText(pattern, looks), CountingText(name, looks))
