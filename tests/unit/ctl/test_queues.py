"""The commands create, delete, ls, info and purge."""

from __future__ import annotations

import json

import pytest

from mqclient.ctl import exits


def test_create(ctl):
    result = ctl("create", "jobs", "--max-messages", "5", "--max-bytes", "10M")
    assert (result.exit_code, result.output) == (exits.OK, "")
    assert ("create", "jobs", 5, 10 * 1024**2, False) in ctl.client.calls


def test_create_for_machines(ctl):
    info = json.loads(ctl("create", "jobs", "--json").stdout)
    assert (info["queue"], info["durability"]) == ("jobs", "accepted")


def test_create_with_a_level_of_its_own(ctl):
    result = ctl("create", "jobs", "--durability", "written", "--json")
    assert json.loads(result.stdout)["durability"] == "written"
    assert ctl("create", "more", "--durability", "Synced").exit_code == exits.USAGE


def test_create_for_a_person(ctl, terminal):
    assert ctl("create", "jobs").stderr == "jobs is there\n"


def test_create_a_queue_that_exists(ctl):
    ctl.with_queue("1")
    result = ctl("create", "jobs")
    assert result.exit_code == exits.REFUSED
    assert result.stderr == "mqctl: QUEUE_EXISTS: queue 'jobs' exists\n"
    assert ctl("create", "jobs", "--if-missing").exit_code == exits.OK


@pytest.mark.parametrize("option", [["--max-messages", "0"], ["--max-bytes", "ten"]])
def test_bounds_are_checked_here(ctl, option):
    assert ctl("create", "jobs", *option).exit_code == exits.USAGE
    assert ctl.client.calls == []


@pytest.mark.parametrize("command", ["delete", "purge"])
def test_scripts_are_not_asked(ctl, command):
    ctl.with_queue("1", "2")
    result = ctl(command, "jobs", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"queue": "jobs", "removed": 2})
    assert ("jobs" in ctl.client.queues_by_name) is (command == "purge")


@pytest.mark.parametrize("command", ["delete", "purge"])
@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("n\n", exits.INTERRUPTED), ("", exits.INTERRUPTED)]
)
def test_a_person_is_asked(ctl, person, command, answer, code):
    ctl.with_queue("1", "2")
    result = ctl(command, "jobs", stdin=answer)
    assert result.exit_code == code
    assert f"{command.capitalize()} jobs with 2 messages?" in result.stderr
    assert result.stdout == ""
    assert ((command, "jobs") in ctl.client.calls) is (code == 0)


@pytest.mark.parametrize("command", ["delete", "purge"])
def test_unless_she_is_sure(ctl, person, command):
    ctl.with_queue("1")
    result = ctl(command, "jobs", "-y")
    assert result.exit_code == 0
    assert result.stderr == f"{command}d jobs: 1 message went\n"


@pytest.mark.parametrize("command", ["delete", "purge", "info"])
def test_a_queue_that_is_not_there(ctl, command):
    result = ctl(command, "jobs")
    assert result.exit_code == exits.REFUSED
    assert "QUEUE_NOT_FOUND" in result.stderr
    assert "mqctl ls" in result.stderr


def test_ls_in_a_pipe(ctl):
    ctl.with_queue("1", "2", queue="jobs").with_queue(queue="results")
    result = ctl("ls")
    assert result.stdout == (
        "jobs     2  4096  75.5  2  0  0  0  synced\n"
        "results  0     0     -  0  0  0  0  synced\n"
    )  # fmt: skip
    assert result.stderr == ""


def test_ls_for_machines(ctl):
    ctl.with_queue("1", queue="a.1").with_queue(queue="b.1")
    assert [info["queue"] for info in json.loads(ctl("ls", "--json").stdout)] == ["a.1", "b.1"]
    assert [info["ready"] for info in json.loads(ctl("ls", "a.*", "--json").stdout)] == [1]
    assert json.loads(ctl("ls", "c*", "--json").stdout) == []


def test_ls_for_a_person(ctl, terminal):
    ctl.with_queue("1", "2")
    shown = ctl("ls").stdout
    for text in ("queue", "waiting", "jobs", "4.0 KiB", "1 min 15 s"):
        assert text in shown


def test_ls_at_a_wide_and_at_a_narrow_terminal(ctl, terminal, monkeypatch):
    ctl.with_queue("1", "2")
    monkeypatch.setenv("COLUMNS", "100")
    shown = ctl("ls").stdout
    assert "durability" in shown
    assert "synced" in shown
    monkeypatch.setenv("COLUMNS", "80")
    shown = ctl("ls").stdout
    assert "durability" not in shown
    assert "waiting" in shown


def test_no_queues(ctl, terminal):
    result = ctl("ls")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there are no queues\n")
    assert ctl("ls", "x*").stderr == "no queue fits x*\n"


def test_info(ctl):
    ctl.with_queue("1")
    lines = dict(line.split(maxsplit=1) for line in ctl("info", "jobs").stdout.splitlines())
    assert lines["queue"] == "jobs"
    assert lines["ready"] == "1"
    assert lines["size"] == "2048"
    assert lines["oldest"] == "75.5"
    assert lines["created"].startswith("2027-01-1")
    assert lines["durability"] == "synced"


def test_info_for_machines_and_persons(ctl, monkeypatch):
    ctl.with_queue("1")
    assert json.loads(ctl("info", "jobs", "--json").stdout)["max_bytes"] == 2048
    monkeypatch.setattr("mqclient.ctl.output.stdout_is_terminal", lambda: True)
    shown = ctl("info", "jobs").stdout
    assert "2.0 KiB" in shown
    assert "queue" in shown
