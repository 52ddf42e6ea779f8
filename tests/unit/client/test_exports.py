from __future__ import annotations

import inspect

import pytest

import mqclient
from mqclient.pipelines import BasePipeline

NO_COROUTINES = {"pipeline", "consume", "drain", "watch", "lease_named"}


def methods_of(kind):
    return sorted(
        name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"
    )


METHODS = methods_of(mqclient.Client)


def parameters(function):
    return [
        (parameter.name, parameter.kind, parameter.default, parameter.annotation)
        for parameter in inspect.signature(function).parameters.values()
    ]


def test_everything_exported_is_there_and_sorted():
    assert sorted(mqclient.__all__) == mqclient.__all__
    for name in mqclient.__all__:
        assert hasattr(mqclient, name)


def test_the_methods_are_those_that_were_agreed():
    assert (
        sorted(
            [
                "connect",
                "close",
                "create",
                "delete",
                "queues",
                "info",
                "push",
                "push_many",
                "pull",
                "pull_many",
                "peek",
                "purge",
                "stats",
                "snapshot",
                "backup",
                "ping",
                "pipeline",
                "lease",
                "lease_named",
                "users",
                "add_user",
                "change_user",
                "remove_user",
                "change_password",
                "issue_token",
                "tokens",
                "revoke_token",
                "consume",
                "drain",
                "holders",
                "redrive",
                "pause",
                "resume",
                "status",
                "wait",
                "cancel",
                "watch",
                "frames",
                "peek_one",
            ]
        )
        == METHODS
    )
    assert methods_of(mqclient.AsyncClient) == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_both_clients_have_the_same_signatures(name: str):
    blocking = getattr(mqclient.Client, name)
    asynchronous = getattr(mqclient.AsyncClient, name)
    assert parameters(blocking) == parameters(asynchronous)
    assert inspect.iscoroutinefunction(asynchronous) == (name not in NO_COROUTINES)
    returned = inspect.signature(blocking).return_annotation
    assert inspect.signature(asynchronous).return_annotation in (returned, f"Async{returned}")
    assert asynchronous.__doc__.startswith("As `Client.")


@pytest.mark.parametrize("kind", ["Lease", "Job", "Consumer", "Watch"])
def test_what_clients_give_out_has_the_same_methods(kind: str):
    blocking, asynchronous = getattr(mqclient, kind), getattr(mqclient, f"Async{kind}")
    own = [name for name in methods_of(blocking) if name in vars(blocking) and name != "interrupt"]
    assert own
    for name in own:
        method = getattr(asynchronous, name)
        assert parameters(method) == parameters(getattr(blocking, name))
        assert inspect.iscoroutinefunction(method)
        assert method.__doc__.startswith(f"As `{kind}.")
    assert methods_of(blocking) == methods_of(asynchronous)


def test_both_clients_are_made_alike():
    assert mqclient.Client.__init__ is mqclient.AsyncClient.__init__


def test_a_pipelines_methods_take_what_the_clients_do():
    left_out = {"on_progress", "timeout"}
    names = [
        name
        for name, value in vars(BasePipeline).items()
        if inspect.isfunction(value) and name[0] != "_"
    ]
    left_out_names = {
        "connect",
        "close",
        "pipeline",
        "snapshot",
        "backup",
        "lease",
        "lease_named",
        "users",
        "add_user",
        "change_user",
        "remove_user",
        "change_password",
        "issue_token",
        "tokens",
        "revoke_token",
        "consume",
        "drain",
        "status",
        "wait",
        "cancel",
        "watch",
        "frames",
        "peek_one",
    }
    assert set(METHODS) - set(names) == left_out_names
    for name in names:
        of_client = [p for p in parameters(getattr(mqclient.Client, name)) if p[0] not in left_out]
        assert parameters(getattr(BasePipeline, name)) == of_client
