"""The commands ls and info."""

from __future__ import annotations

import json

import pytest

from mqclient.ctl import exits


def test_a_queue_that_is_not_there(ctl):
    result = ctl("info", "jobs")
    assert result.exit_code == exits.REFUSED
    assert "QUEUE_NOT_FOUND" in result.stderr
    assert "mqctl ls" in result.stderr


def test_ls_in_a_pipe(ctl):
    ctl.with_queue("1", "2", queue="jobs").with_queue(queue="results")
    ctl.client.more["jobs"] = {"dead": 3}
    result = ctl("ls")
    assert result.stdout == (
        "jobs     2  0  0  3  4096  75.5  2  0  0  0  0  synced\n"
        "results  0  0  0  0     0     -  0  0  0  0  0  synced\n"
    )  # fmt: skip
    assert result.stderr == ""


def test_ls_for_machines(ctl):
    ctl.with_queue("1", queue="a.1").with_queue(queue="b.1")
    first, second = map(json.loads, ctl("ls", "--json").stdout.splitlines())
    assert (first["queue"], first["ready"], second["queue"]) == ("a.1", 1, "b.1")
    [only] = ctl("ls", "a.*", "--json").stdout.splitlines()
    assert json.loads(only) == first


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_queues_in_a_pipe(ctl, options):
    result = ctl("ls", *options)
    assert (result.exit_code, result.stdout) == (exits.OK, "")
    assert result.stderr == "mqctl: there are no queues\n"
    assert ctl("ls", "c*", *options).stderr == "mqctl: no queue fits c*\n"


def test_ls_for_a_person(ctl, terminal):
    ctl.with_queue("1", "2")
    shown = ctl("ls").stdout
    for text in ("queue", "waiting", "jobs", "4.0 KiB", "1 min 15 s"):
        assert text in shown


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (200, set()),
        (115, {"durability"}),
        (80, {"durability", "purged", "acked", "pulled", "pushed"}),
    ],
)
def test_ls_at_wide_and_narrow_terminals(ctl, terminal, monkeypatch, width, missing):
    ctl.with_queue("1", "2")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = set(ctl("ls").stdout.split())
    assert {"pushed", "pulled", "acked", "purged", "durability"} - shown == missing
    assert {"queue", "ready", "delayed", "leased", "dead", "size", "waiting"} <= shown


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


def test_info_has_every_state_and_option(ctl):
    ctl.with_queue("1")
    options = {"max_messages": 1000, "dead_letter": "jobs.dead", "backoff_seconds": 0.5}
    ctl.client.more["jobs"] = {
        "delayed": 2,
        "leased": 3,
        "dead": 4,
        "acked": 5,
        "moved": 6,
        "is_paused": True,
        "options": options,
    }
    lines = dict(line.split(maxsplit=1) for line in ctl("info", "jobs").stdout.splitlines())
    assert [
        lines[name] for name in ("ready", "delayed", "leased", "dead", "acked", "moved")
    ] == list("123456")
    assert (lines["paused"], lines["dead_letter"], lines["backoff_seconds"]) == (
        "yes",
        "jobs.dead",
        "0.5",
    )
    assert lines["max_messages"] == "1000"


def test_a_person_is_told_what_to_look_at_next(ctl, terminal):
    ctl.with_queue("1")
    assert ctl("info", "jobs").stderr == ""
    ctl.client.more["jobs"] = {
        "leased": 3,
        "dead": 1,
        "moved": 6,
        "options": {"dead_letter": "jobs.dead"},
    }
    assert ctl("info", "jobs").stderr.splitlines() == [
        "who works on what: mqctl holders jobs",
        "why 1 message died: mqctl dead list jobs",
        "why 6 messages went to jobs.dead: mqctl dead list jobs.dead",
    ]


def test_info_has_ages_of_each_state(ctl, terminal):
    ctl.with_queue("1")
    ctl.client.more["jobs"] = {
        "oldest_delayed_age_seconds": 75.5,
        "oldest_dead_age_seconds": 3700.0,
        "expired": 7,
        "cancelled": 8,
        "is_paused": True,
    }
    result = ctl("info", "jobs")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert [lines[f"oldest_{state}"].strip() for state in ("delayed", "leased", "dead")] == [
        "1 min 15 s",
        "-",
        "1 h 1 min",
    ]
    assert (lines["expired"].strip(), lines["cancelled"].strip()) == ("7", "8")
    assert "nothing is delivered: mqctl resume jobs" in result.stderr
