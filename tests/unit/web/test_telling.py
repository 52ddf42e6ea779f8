from __future__ import annotations

import msgspec
import pytest

from mqweb import forms
from mqweb.telling import invalid
from mqwire.codes import Code, GatewayCode


def told(form, document=None, query=None):
    with pytest.raises(msgspec.ValidationError) as caught:
        if query is None:
            msgspec.json.decode(document, type=form)
        else:
            msgspec.convert(query, form, strict=False)
    return invalid(caught.value, form, query)


DOCUMENTS = [
    (forms.QueueForm, "{}", GatewayCode.MISSING_FIELD, "the body lacks the field `queue`"),
    (
        forms.PushForm,
        '{"messages": [{}]}',
        GatewayCode.MISSING_FIELD,
        "`messages[0]` lacks the field `body`",
    ),
    (
        forms.StatusForm,
        '{"ids": [1], "id": 1}',
        Code.UNKNOWN_OPTION,
        "the body has no field `id`; there are ids, wait",
    ),
    (
        forms.PurgeForm,
        '{"state": "x"}',
        Code.OUT_OF_RANGE,
        "`state` is one of dead, waiting, not 'x'",
    ),
    (
        forms.StepForm,
        '{"parts": [{"do": "x"}]}',
        Code.OUT_OF_RANGE,
        "`parts[0].do` is one of ack, nack, reject, push, not 'x'",
    ),
    (
        forms.StatusForm,
        '{"ids": [0]}',
        Code.OUT_OF_RANGE,
        "`ids[0]` is to be an integer, at least 1",
    ),
    (
        forms.StatusForm,
        '{"ids": []}',
        Code.OUT_OF_RANGE,
        "`ids` is to be a list of length at least 1",
    ),
    (
        forms.CancelForm,
        '{"ids": "x"}',
        Code.WRONG_TYPE,
        "`ids` is to be a list, not a string",
    ),
    (forms.CancelForm, "[]", Code.WRONG_TYPE, "the body is to be a JSON object, not a list"),
]


@pytest.mark.parametrize(("form", "document", "code", "sentence"), DOCUMENTS)
def test_what_is_wrong_with_a_document_is_a_sentence(form, document, code, sentence):
    problem = told(form, document)
    assert (problem.code, problem.detail) == (code, sentence)


def test_what_is_wrong_with_a_query_names_its_parameter():
    problem = told(forms.PullQuery, query={"max": "many"})
    assert problem.detail == "the parameter `max` of the query is to be an integer, not 'many'"
    assert (problem.code, problem.details) == (Code.WRONG_TYPE, {"parameter": "max"})
    problem = told(forms.PullQuery, query={"max": "0"})
    expected = "the parameter `max` of the query is to be an integer, at least 1, not '0'"
    assert (problem.code, problem.detail) == (Code.OUT_OF_RANGE, expected)
    problem = told(forms.PeekQuery, query={"state": "gone"})
    assert problem.details["expected"] == ["dead", "delayed", "leased", "ready"]
    problem = told(forms.PeekQuery, query={"most": "1"})
    assert problem.detail == "the query has no parameter `most`; there are state, max, skip, id"
    assert problem.details == {"parameter": "most"}
