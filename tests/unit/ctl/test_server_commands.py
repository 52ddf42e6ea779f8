"""The commands ping, version and completion."""

from __future__ import annotations

import json

import pytest
from click.shell_completion import ShellComplete

import mqwire
from mqclient import errors
from mqclient.ctl import exits
from mqclient.ctl.app import cli
from mqclient.ctl.session import Session


def test_ping(ctl):
    assert ctl("ping", "-n", "2").stdout == "1.250\n1.250\n"


def test_ping_for_a_person(ctl, terminal):
    assert ctl("ping").stdout == "1.250 ms\n"


def test_ping_for_machines(ctl):
    lines = [json.loads(line) for line in ctl("ping", "-n", "2", "--json").stdout.splitlines()]
    assert lines == [{"number": 1, "seconds": 0.00125}, {"number": 2, "seconds": 0.00125}]


def lost(*_):
    raise errors.ConnectFailed("cannot connect; start mqd")


def test_ping_without_a_server(ctl):
    ctl.client.before["connect"] = lost
    assert ctl("ping").exit_code == exits.CANNOT_CONNECT


def test_version(ctl):
    assert ctl("version").stdout == f"client {mqwire.__version__}\nprotocol 1\nserver 9.9\n"


def test_version_for_machines(ctl):
    versions = {"client": mqwire.__version__, "protocol": 1, "server": "9.9"}
    assert json.loads(ctl("version", "--json").stdout) == versions


def test_version_without_a_server(ctl):
    ctl.client.before["connect"] = lost
    result = ctl("version")
    assert result.exit_code == 0
    assert result.stdout.endswith("server -\n")
    assert result.stderr == "mqctl: no server was asked: cannot connect; start mqd\n"
    assert json.loads(ctl("version", "--json").stdout)["server"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(ctl, shell):
    result = ctl("completion", shell)
    assert result.exit_code == 0
    assert "_MQCTL_COMPLETE" in result.stdout
    assert "mqctl" in result.stdout


def test_completion_of_an_unknown_shell(ctl):
    assert ctl("completion", "csh").exit_code == exits.USAGE


def complete(ctl, arguments, incomplete) -> list[str]:
    session = Session(open_client=ctl._open)
    completer = ShellComplete(cli, {"obj": session}, "mqctl", "_MQCTL_COMPLETE")
    return [item.value for item in completer.get_completions(arguments, incomplete)]


def test_queues_are_completed(ctl):
    ctl.with_queue(queue="jobs.a").with_queue(queue="jobs.b").with_queue(queue="results")
    assert complete(ctl, ["pull"], "jobs") == ["jobs.a", "jobs.b"]


def test_commands_are_completed(ctl):
    assert complete(ctl, [], "pu") == ["purge", "push", "pull"]


def test_completion_is_silent_without_a_server(ctl, capfd):
    ctl.client.before["connect"] = lost
    assert complete(ctl, ["pull"], "jobs") == []
    assert capfd.readouterr() == ("", "")
