from __future__ import annotations

import json
import logging
import re

import pytest
from click.testing import CliRunner

from mqclient.ctl import exits, watch
from mqclient.ctl.app import cli
from mqclient.view_models import Event
from mqwire import verbs

EVENTS = [
    Event("created", "jobs", (), 1.5, {}),
    Event("pushed", "jobs", (1, 3, 9, 1), 2.5, {}),
    Event("leased", "jobs", (1, 1), 3.5, {"lease": (3, 17), "holder": "ada/w1"}),
    Event("nacked", "jobs", (1, 1), 4.5, {"cause": "nack", "reason": "a\nb", "holder": "ada/w1"}),
    Event("deleted", "jobs", (), 5.5, {"count": 4}),
    Event.missed(7),
    Event.missed(None),
]


class FakeWatch:
    def __init__(self, events) -> None:
        self.events = events
        self.is_closed = False

    def __enter__(self):
        return iter(self)

    def __exit__(self, *_):
        self.is_closed = True

    def __iter__(self):
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            yield event


@pytest.fixture
def watching(ctl):
    client = ctl.client
    client.watch = lambda pattern, **options: (
        (client._called("watch", pattern, options) or client.watches.append(FakeWatch(client.told)))
        or client.watches[-1]
    )
    client.told, client.watches = EVENTS, []
    return ctl


def test_a_line_for_each(watching):
    result = watching("watch")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "1.500 created jobs -",
        "2.500 pushed jobs 1-3,9",
        "3.500 leased jobs 1 ada/w1",
        "4.500 nacked jobs 1 ada/w1 nack b",
        "5.500 deleted jobs (4)",
        "0.000 missed - (7)",
        "0.000 missed - -",
    ]
    assert watching.client.watches[0].is_closed


def test_what_machines_get(watching):
    lines = [json.loads(line) for line in watching("watch", "--json").stdout.splitlines()]
    assert lines[1] == {
        "event": "pushed",
        "queue": "jobs",
        "runs": [[1, 3], [9, 1]],
        "count": 4,
        "at": 2.5,
    }
    assert (lines[2]["lease"], lines[2]["holder"]) == ("3-17", "ada/w1")
    assert [line["count"] for line in lines[4:]] == [4, 7, None]


def test_what_is_watched(watching):
    assert watching("watch", "j*", "-e", "acked", "-e", "dead", "--wait", "5").exit_code == 0
    assert watching("watch").exit_code == 0
    called = [call[1:] for call in watching.client.calls if call[0] == "watch"]
    assert called == [
        ("j*", {"events": ["acked", "dead"], "wait": 5.0}),
        (None, {"events": None, "wait": None}),
    ]
    assert watching("watch", "--event", "exploded").exit_code == exits.USAGE


def test_a_server_is_waited_for(watching):
    for options in ([], ["--wait", "5"], ["--server-wait", "7"]):
        watching("watch", *options)
    assert [session.server_wait for session in watching.sessions] == [300.0, 5.0, 7.0]
    log = logging.getLogger("mqclient.watching")
    watching.client.before["watch"] = lambda *_: log.warning("a watch has lost its connection")
    assert watching("watch").stderr == "mqctl: a watch has lost its connection\n"


def test_it_ends_after_so_many(watching):
    assert len(watching("watch", "-n", "2").stdout.splitlines()) == 2
    assert watching.client.watches[0].is_closed


def test_ctrl_c_ends_it_as_every_command(watching):
    watching.client.told = [EVENTS[0], KeyboardInterrupt()]
    result = watching("watch")
    assert (result.exit_code, result.stderr) == (exits.INTERRUPTED, "\n")
    assert result.stdout == "1.500 created jobs -\n"
    assert watching.client.watches[0].is_closed


def test_many_runs_are_cut_for_a_line(watching):
    runs = tuple(number for each in range(1, 41, 2) for number in (each, 1))
    event = Event("pushed", "jobs", runs, 1.0, {})
    assert watch.line(event) == "1.000 pushed jobs 1,3,5,7,9,11,13,15,..."


def test_a_person_gets_times(watching, terminal):
    result = watching("watch")
    assert result.stdout.startswith("1970-01-")
    assert result.stdout.splitlines()[-1] == "- missed - -"
    assert result.stderr == "watching; Ctrl-C ends it\n"


@pytest.mark.skipif(not hasattr(verbs, "EVENTS"), reason="the registry has no events")
def test_the_words_are_those_of_the_protocol():
    assert sorted(watch.KINDS) == sorted(verbs.EVENTS)


def test_the_help_names_every_kind():
    text = CliRunner().invoke(cli, ["watch", "--help"]).output.partition("--event")[0]
    assert [kind for kind in verbs.EVENTS if not re.search(rf"\b{kind}\b", text)] == []
