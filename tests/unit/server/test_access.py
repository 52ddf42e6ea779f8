"""The table of roles by verb is PROTOCOL.md's, cell for cell, and denies what it does not name."""

from __future__ import annotations

import pytest

from mqd.core.access import ALLOWED, PUBLIC_VERBS, ROLE_ALIASES, ROLE_WORDS, Role, role_named
from mqwire.verbs import VERBS
from support.protocol_tables import first_table, section

WHO = {row["verb"]: row["who"] for row in first_table(section(5))}
CELLS = [(verb, role) for verb in WHO for role in Role]


def test_the_protocol_lists_every_verb():
    assert set(WHO) == set(VERBS)


def test_public_verbs_are_those_open_to_anyone():
    assert {verb for verb, who in WHO.items() if who == "anyone"} == PUBLIC_VERBS


@pytest.mark.parametrize(("verb", "role"), CELLS)
def test_each_cell(verb, role):
    is_named = role.word in WHO[verb].split(", ")
    assert (verb in ALLOWED[role]) is is_named


@pytest.mark.parametrize("role", Role)
def test_nothing_beyond_the_registry_is_allowed(role):
    assert ALLOWED[role] <= set(VERBS) - PUBLIC_VERBS


def test_each_role_may_do_what_the_lesser_may():
    assert ALLOWED[Role.USER] < ALLOWED[Role.AGENT] < ALLOWED[Role.ADMIN]


def test_roles_by_name_and_alias():
    assert [role_named(role.word) for role in Role] == list(Role)
    assert role_named("manager") is Role.AGENT
    assert set(ROLE_WORDS) == {"admin", "agent", "user", *ROLE_ALIASES}


@pytest.mark.parametrize("word", ["", "Admin", "root", "ADMIN", "admin "])
def test_other_words_are_no_roles(word):
    with pytest.raises(ValueError, match="there are admin, agent, user, manager"):
        role_named(word)
