"""The table of roles by verb is PROTOCOL.md's, cell for cell, and denies what it does not name."""

from __future__ import annotations

import pytest

from mqd.core.access import (
    ALLOWED,
    MANAGES,
    PUBLIC_VERBS,
    ROLE_ALIASES,
    ROLE_WORDS,
    Role,
    covers,
    role_named,
)
from mqwire import roles
from mqwire.verbs import VERBS
from support.protocol_tables import first_table, section

WHO = {row["verb"]: row["who"] for row in first_table(section(5))}
ROLES = first_table(section(5).partition("<!-- roles:")[2])
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
    assert ALLOWED[Role.USER] < ALLOWED[Role.SECRETARY] < ALLOWED[Role.ADMIN]


@pytest.mark.parametrize(
    ("role", "covered"),
    [
        (Role.ADMIN, set(Role)),
        (Role.SECRETARY, {Role.SECRETARY, Role.USER}),
        (Role.AGENT, {Role.AGENT, Role.USER}),
        (Role.USER, {Role.USER}),
    ],
)
def test_which_role_allows_all_that_another_does(role, covered):
    assert {other for other in Role if covers(role, other)} == covered


def test_the_protocols_table_of_roles_is_the_registry():
    assert [row["role"].strip("`") for row in ROLES] == [role.word for role in Role]
    named = {row["other name"].strip("`"): row["role"].strip("`") for row in ROLES}
    named.pop("")
    assert named == roles.ROLE_ALIASES
    assert tuple(roles.ROLES) == tuple(role.word for role in Role)


@pytest.mark.parametrize("row", ROLES, ids=lambda row: row["role"].strip("`"))
def test_the_protocol_says_whom_a_role_manages(row):
    managed = {word for word in row["manages users who are"].split(", ") if word}
    assert managed == {role.word for role in MANAGES[Role(row["role"].strip("`"))]}


def test_nobody_makes_anybody_more_than_himself():
    for role, managed in MANAGES.items():
        others = {each for each in managed if MANAGES[each]}
        assert not others or role is Role.ADMIN
        assert all("ADMIT" in ALLOWED[role] for _ in managed)


def test_roles_by_name_and_alias():
    assert [role_named(role.word) for role in Role] == list(Role)
    assert role_named("manager") is Role.AGENT
    assert role_named("administrator") is Role.ADMIN
    assert role_named("basic") is Role.USER
    assert set(ROLE_WORDS) == {"admin", "secretary", "agent", "user", *ROLE_ALIASES}


@pytest.mark.parametrize("word", ["", "Admin", "root", "ADMIN", "admin "])
def test_other_words_are_no_roles(word):
    with pytest.raises(
        ValueError, match="there are admin, secretary, agent, user, administrator, manager, basic"
    ):
        role_named(word)
