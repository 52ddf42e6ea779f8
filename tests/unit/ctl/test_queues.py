"""The commands create, delete and purge."""

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
    assert result.stderr == "mqctl: QUEUE_EXISTS: queue 'jobs' exists; here that is --if-missing\n"
    assert ctl("create", "jobs", "--if-missing").exit_code == exits.OK


def test_create_with_retries(ctl):
    result = ctl(
        "create", "jobs", "--dead-letter", "jobs.dead", "--max-attempts", "3",
        "--max-worker-losses", "9", "--backoff", "linear", "--backoff-seconds", "0.5",
        "--backoff-cap-seconds", "60", "--backoff-jitter", "1", "--json",
    )  # fmt: skip
    assert result.exit_code == exits.OK
    assert json.loads(result.stdout)["options"] == {
        "dead_letter": "jobs.dead",
        "max_attempts": 3,
        "max_worker_losses": 9,
        "backoff": "linear",
        "backoff_seconds": 0.5,
        "backoff_cap_seconds": 60.0,
        "backoff_jitter": 1.0,
    }


def test_create_with_an_order_of_its_own(ctl):
    result = ctl(
        "create", "jobs", "--ttl-seconds", "0.5", "--on-expiry", "dead_letter", "--max-leased", "3",
        "--expires-seconds", "60", "--dedupe-seconds", "0", "--json",
    )  # fmt: skip
    assert json.loads(result.stdout)["options"] == {
        "ttl_seconds": 0.5,
        "on_expiry": "dead_letter",
        "max_leased": 3,
        "expires_seconds": 60.0,
        "dedupe_seconds": 0.0,
    }
    assert "goes with --ttl-seconds" in ctl("create", "more", "--on-expiry", "drop").stderr


def test_a_person_is_told_where_dead_letters_go(ctl, terminal):
    result = ctl("create", "jobs", "--dead-letter", "jobs.dead")
    assert result.stderr == "jobs is there; its dead letters go to jobs.dead\n"


@pytest.mark.parametrize(
    "option", ["--backoff-seconds", "--backoff-cap-seconds", "--backoff-jitter"]
)
def test_how_long_goes_with_how(ctl, option):
    result = ctl("create", "jobs", option, "1")
    assert result.exit_code == exits.USAGE
    assert f"{option} needs --backoff beside it (fixed or linear or exponential)" in result.stderr
    assert ctl.client.calls == []


@pytest.mark.parametrize(
    "option",
    [
        ["--max-messages", "0"],
        ["--max-bytes", "ten"],
        ["--max-attempts", "0"],
        ["--max-worker-losses", "x"],
        ["--backoff", "slow"],
        ["--backoff", "fixed", "--backoff-seconds", "-1"],
        ["--backoff", "fixed", "--backoff-cap-seconds", "1e9"],
        ["--backoff", "fixed", "--backoff-jitter", "1.1"],
        ["--ttl-seconds", "0"],
        ["--ttl-seconds", "1", "--on-expiry", "keep"],
        ["--max-leased", "0"],
        ["--expires-seconds", "0.5"],
        ["--dedupe-seconds", "1e9"],
    ],
)
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


@pytest.mark.parametrize("command", ["delete", "purge"])
def test_a_queue_that_is_not_there(ctl, command):
    result = ctl(command, "jobs")
    assert result.exit_code == exits.REFUSED
    assert "QUEUE_NOT_FOUND" in result.stderr
    assert "mqctl ls" in result.stderr


def test_a_person_is_told_what_is_at_stake(ctl, person):
    ctl.with_queue("1", "2")
    ctl.client.more["jobs"] = {"delayed": 3, "leased": 4, "dead": 5}
    assert "Delete jobs with 14 messages (4 leased, 5 dead)?" in ctl("delete", "jobs").stderr
    assert "Purge jobs with 5 messages?" in ctl("purge", "jobs").stderr


def test_pause_and_resume(ctl, terminal):
    ctl.with_queue("1")
    result = ctl("pause", "jobs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "jobs is paused; mqctl resume jobs ends that\n"
    assert json.loads(ctl("resume", "jobs", "--json").stdout) == {
        "queue": "jobs",
        "is_paused": False,
    }
    assert json.loads(ctl("pause", "jobs", "--json").stdout)["is_paused"] is True
    assert ctl("pause", "nope").exit_code == exits.REFUSED
    called = [call for call in ctl.client.calls if call[0] in ("pause", "resume")]
    assert called[:2] == [("pause", "jobs"), ("resume", "jobs")]
