"""PROTOCOL.md's tables of errors, verbs and levels are the registries in mqwire."""

from __future__ import annotations

import json
import re

import pytest

from mqwire.codes import Code
from mqwire.levels import LEVELS
from mqwire.limits import PREFIX_BYTES
from mqwire.verbs import VERBS
from support.protocol_tables import first_table, protocol_text, section

ERRORS = first_table(section(7))
VERB_ROWS = {row["verb"]: row for row in first_table(section(5))}


def listed(cell):
    return [word.strip() for word in cell.split(",") if word.strip()]


def test_the_errors_are_the_same_in_the_same_order():
    assert [row["code"] for row in ERRORS] == [f"`{code.name}`" for code in Code]


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row["code"].strip("`"))
def test_an_error_means_the_same(row):
    code = Code[row["code"].strip("`")]
    assert row == {
        "code": f"`{code.name}`",
        "meaning": code.summary,
        "fatal": "yes" if code.is_fatal else "",
        "retry": "yes" if code.is_retryable else "",
        "HTTP": str(code.http_status),
    }


def test_every_error_in_a_transcript_is_registered():
    told = set(re.findall(r'"ERR", "([A-Z_]+)"', protocol_text()))
    assert len(told) > 10
    assert told <= set(Code.__members__)


def test_every_error_that_the_text_names_is_registered():
    words = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", protocol_text()))
    environment = {word for word in words if word.startswith("MQ")}
    assert words - environment <= set(Code.__members__)


def test_an_error_of_id_0_is_fatal():
    told = set(re.findall(r'\[0, "ERR", "([A-Z_]+)"', protocol_text()))
    assert told
    assert all(Code[name].is_fatal for name in told)
    closing = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", section(9)))
    assert closing == {code.name for code in Code if code.is_fatal}


def test_the_verbs_are_the_same():
    assert sorted(VERB_ROWS) == sorted(VERBS)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_verb_takes_the_same(name):
    verb, row = VERBS[name], VERB_ROWS[name]
    arguments = [
        argument.name if argument.is_required else f"[{argument.name}]"
        for argument in verb.arguments
    ]
    assert listed(row["arguments"]) == arguments
    assert listed(row["options"]) == list(verb.options)


@pytest.mark.parametrize("name", sorted(set(VERBS) - {"PING"}))
def test_the_form_in_a_verbs_own_section_is_the_registered_one(name):
    verb = VERBS[name]
    (form,) = set(re.findall(rf'`(\["{name}", id.*?\])`', section(5)))
    words = [
        argument.name if argument.is_required else f"{argument.name}?"
        for argument in verb.arguments
    ]
    options = ["options?"] if verb.options else []
    assert form == f'["{", ".join([name + chr(34), "id", *words, *options])}]'


def test_every_verb_in_a_transcript_is_registered_but_the_misspelt_one():
    told = set(re.findall(r'(?m)^C: \["([A-Z]+)"', protocol_text()))
    assert told - set(VERBS) == {"PLUSH"}
    assert set(VERBS) - told == set()


def test_an_options_refusal_in_the_text_is_the_registered_form():
    (form,) = re.findall(r'"form": ("(?:[^"\\]|\\.)*")', protocol_text())
    verb = VERBS["PUSH"]
    words = ", ".join(argument.name for argument in verb.arguments)
    assert json.loads(form) == f'"PUSH", id, {words}, [options]'


def test_the_levels_are_registered_words():
    reached = [row["level"].strip("`") for row in first_table(section(6))]
    assert reached
    assert set(reached) <= set(LEVELS)
    assert all(f"`{word}`" in section(6) for word in LEVELS)


def test_the_prefix_is_drawn_as_it_is():
    first, length = re.search(r"\| (\d) B\s+\| [^|]*, (\d) B", section(1)).groups()
    assert int(first) + int(length) == PREFIX_BYTES
