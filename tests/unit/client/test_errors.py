from __future__ import annotations

import pickle

import pytest

import mqclient
from mqclient.codecs import decoders
from mqclient.errors import ERRORS_BY_CODE, UnknownServerError, server_error
from mqclient.messages import Message, Source
from mqwire.codes import Code


def camel(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))


def test_there_is_one_exported_class_for_each_code():
    assert set(ERRORS_BY_CODE) == {code.name for code in Code}
    for code, kind in ERRORS_BY_CODE.items():
        assert kind.__name__ == camel(code)
        assert getattr(mqclient, kind.__name__) is kind
        assert kind.registered_code is Code[code]


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_a_server_error_has_the_code_and_what_it_means(code: Code):
    error = server_error(code.name, "no", {"queue": "jobs"})
    assert type(error) is ERRORS_BY_CODE[code.name]
    assert (error.code, error.message, error.details) == (code.name, "no", {"queue": "jobs"})
    assert error.is_retryable == code.is_retryable
    assert str(error) == f"{code.name}: no"


def test_an_unknown_code_is_an_unknown_server_error():
    error = server_error("FROM_THE_FUTURE", "no")
    assert type(error) is UnknownServerError
    assert error.code == "FROM_THE_FUTURE"
    assert error.details == {}
    assert not error.is_retryable


def test_the_tree():
    assert issubclass(mqclient.ConfigurationError, mqclient.InterfaceError)
    assert issubclass(mqclient.ConfigurationError, ValueError)
    assert issubclass(mqclient.RequestTimeout, TimeoutError)
    for name in mqclient.__all__:
        value = getattr(mqclient, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, mqclient.MqError)


def test_errors_survive_pickling():
    lost = mqclient.ConnectionLost("gone", in_doubt=True)
    lost.pushed = [1, 2]
    late = mqclient.RequestTimeout("late", in_doubt=True)
    full = server_error("QUEUE_FULL", "full", {"limit": 1})
    for error in (lost, late, full):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == {"pushed": (), **error.__dict__}


def test_a_body_error_survives_pickling_with_its_message():
    message = Message(7, "{", None, Source("jobs", decoders("json"), None))
    with pytest.raises(mqclient.BodyError) as caught:
        _ = message.body
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.message.id, again.message.raw, again.message.queue) == (7, "{", "jobs")
