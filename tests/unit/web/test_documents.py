"""The OpenAPI document explains everything that stands in it, to somebody who is new here."""

from __future__ import annotations

import pytest

from mqweb.documents import openapi
from mqweb.routes import OPERATIONS
from mqweb.words import MEANINGS, meaning_of

DOCUMENT = openapi(OPERATIONS)
SCHEMAS = DOCUMENT["components"]["schemas"]
CALLS = [call for path in DOCUMENT["paths"].values() for call in path.values()]
BOUNDS = {"minimum", "maximum", "minLength", "maxLength", "pattern", "enum", "const"}


def is_sentence(text):
    return text[:1] in "`0123456789" or text[:1].isupper()


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_field_is_explained(name):
    schema = SCHEMAS[name]
    assert schema.get("description"), name
    for field, about in schema.get("properties", {}).items():
        text = about.get("description", "")
        assert is_sentence(text), f"{name}.{field}: {text!r}"
        assert text.endswith("."), f"{name}.{field}: {text!r}"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["operationId"])
def test_each_operation_its_parameters_and_answers_are_explained(call):
    first = call["description"].partition("\n")[0]
    assert is_sentence(first), call["description"]
    assert not first.startswith("Verbs of the protocol"), "it says nothing of its own"
    for parameter in call["parameters"]:
        assert is_sentence(parameter["description"]), parameter
        assert parameter["schema"], parameter
    for status, response in call["responses"].items():
        assert len(response["description"]) > 10, (status, response)
    for form in call.get("requestBody", {}).get("content", {}).values():
        assert form["schema"]


def test_what_is_explained_is_there():
    used = set()
    for name, schema in SCHEMAS.items():
        for field in schema.get("properties", {}):
            used.add(f"{name}.{field}" if f"{name}.{field}" in MEANINGS else field)
    assert used == set(MEANINGS)


def test_what_a_class_says_goes_before_what_all_say():
    assert meaning_of("QueueForm", "max_attempts") != meaning_of("PushForm", "max_attempts")
    assert meaning_of("PushForm", "max_attempts") == MEANINGS["max_attempts"]
    assert meaning_of("PushForm", "no_such_field") == ""


def test_numbers_of_forms_have_bounds():
    forms = [each.body or each.query for each in OPERATIONS if each.body or each.query]
    for form in {each.__name__ for each in forms}:
        for field, about in SCHEMAS[form].get("properties", {}).items():
            for each in about.get("anyOf", [about]):
                if each.get("type") in ("integer", "number"):
                    assert BOUNDS & set(each), f"{form}.{field}"
