"""The commands dead list, show, redrive and purge."""

from __future__ import annotations

import json

import pytest

from mqclient import errors
from mqclient.ctl import dead, exits, letters

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
ValueError: \x1b[31mbad\x1b[0m luck
"""
OWNER = {
    "instance": "ann/3fa9",
    "user": "ann",
    "peer": "10.0.0.5:9",
    "host": "node17",
    "client": "c/1",
}
FAILED = {
    "owner": OWNER,
    "leased_at": 1_800_000_000.0,
    "ended_at": 1_800_000_090.0,
    "cause": "nack",
    "reason": TRACEBACK,
}
LOST = {**FAILED, "owner": "ann#3.4", "cause": "gone", "reason": ""}
ORIGIN = {"queue": "jobs", "id": 1204, "pushed_at": 1_799_999_000.0, "attempts": 3, "losses": 1}


@pytest.fixture
def jobs(ctl, make_message):
    """A queue whose dead messages have stayed."""
    ctl.with_queue()
    ctl.client.dead["jobs"] = [
        make_message(
            7, "jobs", '{"x": 1}', {"sweep": "a"}, attempts=2, deliveries=2, history=[LOST, FAILED]
        ),
        make_message(9, "jobs", "hello", deliveries=1, attempts=1),
    ]
    return ctl


@pytest.fixture
def letterbox(ctl, make_message):
    """A dead-letter queue with two letters, and a message that is none between them."""
    ctl.with_queue(queue="jobs").with_queue(queue="jobs.dead")
    ctl.client.more["jobs"] = {"moved": 2, "options": {"dead_letter": "jobs.dead"}}
    letter = {"origin": ORIGIN, "deliveries": 4, "history": [FAILED]}
    ctl.client.queues_by_name["jobs.dead"].messages = [
        make_message(1, "jobs.dead", "1", **letter),
        make_message(2, "jobs.dead", "2"),
        make_message(3, "jobs.dead", "3", **letter),
    ]
    return ctl


# list


def test_list_in_a_pipe(jobs):
    result = jobs("dead", "list", "jobs")
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["7", "dead", "-", "-", "2", "0", "1800000090.000", "failed", "ValueError:", "\x1b[31mbad\x1b[0m", "luck"],
        ["9", "dead", "-", "-", "1", "0", "-", "-", "-"],
    ]  # fmt: skip


def test_list_of_letters(letterbox):
    lines = letterbox("dead", "list", "jobs.dead").stdout.splitlines()
    assert [line.split()[:6] for line in lines] == [
        ["1", "ready", "jobs", "1204", "3", "1"],
        ["3", "ready", "jobs", "1204", "3", "1"],
    ]


def test_list_for_machines(letterbox):
    lines = letterbox("dead", "list", "jobs.dead", "--json").stdout.splitlines()
    first = json.loads(lines[0])
    assert (first["id"], first["queue"], first["state"], first["body"]) == (
        1,
        "jobs.dead",
        "ready",
        1,
    )
    assert (first["origin"], first["history"]) == (ORIGIN, [FAILED])
    assert (first["attempts"], first["losses"], first["deliveries"]) == (3, 1, 4)
    assert first["died_at"] == 1_800_000_090.0


def test_list_for_a_person(jobs, terminal, monkeypatch):
    monkeypatch.setattr(dead.time, "time", lambda: 1_800_000_150.0)
    monkeypatch.setenv("COLUMNS", "150")
    result = jobs("dead", "list", "jobs")
    for text in ("died ago", "1 min 0 s", "failed", r"ValueError: \x1b[31mbad\x1b[0m luck"):
        assert text in result.stdout
    assert "\x1b[31m" not in result.stdout
    assert result.stderr == "all about one of them: mqctl dead show jobs 7\n"


def test_long_reasons_are_cut_for_a_person(jobs, terminal, make_message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    entry = {**FAILED, "reason": "x" * 61}
    jobs.client.dead["jobs"] = [make_message(7, "jobs", history=[entry])]
    assert f" {'x' * 57}... " in jobs("dead", "list", "jobs").stdout


def test_no_more_than_was_asked_for(jobs, terminal):
    result = jobs("dead", "list", "jobs", "--count", "1")
    assert "there are more: --count shows more than 1" in result.stderr
    assert "hello" not in result.stdout


def test_nothing_is_dead(ctl, terminal):
    result = ctl.with_queue()("dead", "list", "jobs")
    assert (result.exit_code, result.stdout) == (exits.EMPTY, "")
    assert result.stderr == "jobs has no dead messages\n"


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["list"], "mqctl dead list jobs.dead"),
        (["redrive", "--all"], "mqctl dead redrive jobs.dead"),
    ],
)
def test_they_are_elsewhere(letterbox, terminal, command, advice):
    result = letterbox("dead", command[0], "jobs", *command[1:])
    assert result.exit_code == exits.EMPTY
    assert (
        result.stderr == f"jobs has no dead messages: 2 messages went to jobs.dead; see {advice}\n"
    )


def test_a_queue_without_letters_is_not_read_to_its_end(ctl, make_message):
    ctl.with_queue()
    messages = [make_message(number, "jobs") for number in range(1, 101)]
    ctl.client.queues_by_name["jobs"].messages = messages
    assert ctl("dead", "list", "jobs").exit_code == exits.EMPTY
    assert [call[0] for call in ctl.client.calls].count("peek") == 1
    ctl.client.more["jobs"] = {"options": {"dead_letter": "jobs"}}
    assert ctl("dead", "list", "jobs").exit_code == exits.EMPTY
    assert [call[0] for call in ctl.client.calls].count("peek") > 2


@pytest.mark.parametrize(
    ("reason", "line"),
    [("", ""), ("\n \n", ""), ("one", "one"), (TRACEBACK, TRACEBACK.splitlines()[-1])],
)
def test_the_gist_of_a_reason(reason, line):
    assert letters.gist(reason) == line


# show


def test_the_whole_story(jobs):
    result = jobs("dead", "show", "jobs", "7")
    lines = result.stdout.splitlines()
    assert lines[0] == "message 7 of jobs, dead in its own queue"
    facts = {line[:14].strip(): line[14:] for line in lines[1 : lines.index("")]}
    assert facts["died"].startswith("2027-01-15 ")
    assert (facts["failed"], facts["workers lost"], facts["delivered"]) == (
        "2 times",
        "0",
        "2 times",
    )
    assert (facts["header"], facts["body"]) == ("sweep=a", '{"x": 1}')
    first, second = (
        lines.index("  by ann#3.4"),
        lines.index("  by ann/3fa9, on host node17, from 10.0.0.5:9, client c/1"),
    )
    assert lines[first - 1].startswith(
        "delivery 1: worker lost after 1 min 30 s, begun 2027-01-15 "
    )
    assert lines[second - 1].startswith("delivery 2: failed after 1 min 30 s, begun ")
    assert lines[second + 1 :] == [f"  | {line}" for line in TRACEBACK.splitlines()]


def test_a_traceback_does_not_control_the_terminal(jobs, terminal):
    result = jobs("dead", "show", "jobs", "7")
    assert r"  | ValueError: \x1b[31mbad\x1b[0m luck" in result.stdout.splitlines()
    assert "\x1b" not in result.stdout
    assert result.stderr == "to have it tried again: mqctl dead redrive jobs --ids 7\n"


def test_the_story_of_a_letter(letterbox):
    lines = letterbox("dead", "show", "jobs.dead", "3").stdout.splitlines()
    assert lines[0] == "message 3 of jobs.dead, a dead letter: it was message 1204 of jobs"
    assert any(line.startswith("pushed        2027-01-15 ") for line in lines)
    assert "of the first 3 deliveries nothing is known any more" in lines
    assert any(line.startswith("delivery 4: failed") for line in lines)


def test_little_is_known(jobs):
    lines = jobs("dead", "show", "jobs", "9").stdout.splitlines()
    assert lines[-1] == "of the first 1 delivery nothing is known any more"
    assert any(line.startswith('body          "hello"') for line in lines)


def test_a_message_that_waited_too_long(jobs, make_message):
    entry = {**FAILED, "owner": "", "cause": "ttl", "reason": ""}
    jobs.client.dead["jobs"] = [make_message(7, "jobs", history=[entry])]
    lines = jobs("dead", "show", "jobs", "7").stdout.splitlines()
    assert lines[-2].startswith("delivery 1: waited too long after 1 min 30 s")
    assert lines[-1] == "  by nobody"


def test_long_bodies_are_cut_but_not_for_machines(jobs, make_message):
    jobs.client.dead["jobs"] = [make_message(7, "jobs", "x" * 5000)]
    shown = jobs("dead", "show", "jobs", "7").stdout
    assert "xxx..." in shown
    assert len(shown) < 2500
    assert json.loads(jobs("dead", "show", "jobs", "7", "--json").stdout)["body"] == "x" * 5000


@pytest.mark.parametrize("message_id", ["8", "2"])
def test_no_such_letter(letterbox, message_id):
    result = letterbox("dead", "show", "jobs.dead", message_id)
    assert (result.exit_code, result.stdout) == (exits.EMPTY, "")
    assert (
        f"jobs.dead has no dead message {message_id}; `mqctl dead list jobs.dead`" in result.stderr
    )
    assert letterbox("dead", "show", "jobs", "x").exit_code == exits.USAGE


# redrive


def redrives(ctl):
    return [call[2:] for call in ctl.client.calls if call[0] == "redrive"]


def test_all(jobs):
    result = jobs("dead", "redrive", "jobs", "--all", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"queue": "jobs", "moved": 2})
    assert redrives(jobs) == [(None, 2)]


def test_no_more_than_were_dead_at_the_beginning(jobs, make_message):
    """Those that die again meanwhile are not redriven for ever."""
    jobs.client.before["redrive"] = lambda *_: jobs.client.dead["jobs"].append(
        make_message(99, "jobs")
    )
    jobs.client.more["jobs"] = {"ready": 100}
    assert json.loads(jobs("dead", "redrive", "jobs", "--all", "--json").stdout)["moved"] == 2


def test_letters_count_among_those_that_may_be_dead(letterbox):
    assert letterbox("dead", "redrive", "jobs.dead", "--all").exit_code == exits.EMPTY
    assert redrives(letterbox) == [(None, 3)]


def test_the_oldest(jobs, terminal):
    result = jobs("dead", "redrive", "jobs", "--max", "1", "--yes")
    assert result.stderr == "1 message of jobs will be tried again\n"
    assert redrives(jobs) == [(None, 1)]


def test_by_ids(jobs, terminal):
    result = jobs("dead", "redrive", "jobs", "--ids", "9,20-21")
    assert result.exit_code == 0
    assert redrives(jobs) == [([9, 20, 21], None)]
    assert "mqctl: 2 of the 3 ids are of no dead message" in result.stderr


@pytest.mark.parametrize("options", [[], ["--all", "--max", "1"], ["--ids", "1", "--all"]])
def test_which_is_to_be_said(jobs, options):
    result = jobs("dead", "redrive", "jobs", *options)
    assert result.exit_code == exits.USAGE
    assert "say which: --ids IDS, --max COUNT or --all" in result.stderr


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", exits.INTERRUPTED)])
@pytest.mark.parametrize("options", [["--all"], ["--max", "2"]])
def test_a_person_is_asked(jobs, person, answer, code, options):
    result = jobs("dead", "redrive", "jobs", *options, stdin=answer)
    assert result.exit_code == code
    assert "Redrive the dead messages of jobs, 2 at most?" in result.stderr
    assert len(redrives(jobs)) == (code == 0)


def test_a_rate(jobs, make_message, monkeypatch):
    now = [100.0]
    pauses = []

    def pause(seconds):
        pauses.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr(dead.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(dead, "_pause", pause)
    jobs.client.dead["jobs"] = [make_message(number, "jobs") for number in range(1, 11)]
    assert jobs("dead", "redrive", "jobs", "--ids", "1-5", "--rate", "4").exit_code == 0
    assert [ids for ids, _ in redrives(jobs)] == [[1, 2], [3, 4], [5]]
    assert pauses == [0.5, 0.5]
    pauses.clear()
    assert jobs("dead", "redrive", "jobs", "--max", "2", "--rate", "0.1").exit_code == 0
    assert pauses == [10.0]


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_rates_that_are_none(jobs, rate):
    assert jobs("dead", "redrive", "jobs", "--all", "--rate", rate).exit_code == exits.USAGE


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (errors.QueueFull("QUEUE_FULL", "no room"), exits.REFUSED, "QUEUE_FULL: no room; 1 message of jobs had been redriven before"),
        (KeyboardInterrupt(), exits.INTERRUPTED, "interrupted: 1 message of jobs had been redriven before, and a request may"),
    ],
)  # fmt: skip
def test_it_breaks_off(jobs, monkeypatch, error, code, sentence):
    def fail_later(*_):
        if len(redrives(jobs)) == 2:
            raise error

    monkeypatch.setattr(dead, "LARGEST_BATCH", 1)
    jobs.client.before["redrive"] = fail_later
    result = jobs("dead", "redrive", "jobs", "--all")
    assert result.exit_code == code
    assert sentence in result.stderr


# purge


def test_purge(jobs):
    result = jobs("dead", "purge", "jobs", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"queue": "jobs", "removed": 2})
    assert ("purge", "jobs", "dead") in jobs.client.calls


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", exits.INTERRUPTED)])
def test_a_person_is_asked_before_a_purge(jobs, person, answer, code):
    result = jobs("dead", "purge", "jobs", stdin=answer)
    assert result.exit_code == code
    assert "Remove 2 dead messages of jobs for good?" in result.stderr
    assert (("purge", "jobs", "dead") in jobs.client.calls) is (code == 0)


def test_letters_are_purged_elsewhere(letterbox, terminal):
    assert letterbox("dead", "purge", "jobs.dead").stderr == (
        "jobs.dead has dead letters of jobs, which are ready messages: mqctl purge jobs.dead "
        "removes them\n"
    )
    assert "see mqctl dead list jobs.dead" in letterbox("dead", "purge", "jobs").stderr


def test_redrive_of_some_kind(jobs):
    result = jobs("dead", "redrive", "jobs", "--all", "--cause", "nack", "--origin", "there")
    assert result.exit_code == 0, result.stderr
    assert redrives(jobs) == [(None, 2, {"cause": "nack", "origin": "there"})]
    assert jobs("dead", "redrive", "jobs", "--ids", "9", "--cause", "ttl").exit_code == exits.EMPTY
    assert redrives(jobs)[1] == ([9], None, {"cause": "ttl"})
    assert jobs("dead", "redrive", "jobs", "--all", "--cause", "hand_back").exit_code == exits.USAGE


def test_a_redrive_that_fits_nothing_says_so(jobs, terminal):
    jobs.client.before["redrive"] = lambda *_: jobs.client.dead.clear()
    result = jobs("dead", "redrive", "jobs", "--all", "--cause", "gone", "--yes")
    assert result.exit_code == exits.EMPTY
    assert "no dead message of jobs fits --cause gone" in result.stderr


def test_show_leaves_out_the_frames_of_the_library(jobs, make_message):
    frame = '  File "/opt/mqclient/jobs.py", line 1, in done\n    self._do()\n'
    head, own, last = TRACEBACK.splitlines(keepends=True)
    entry = {**FAILED, "reason": head + own + frame + last}
    jobs.client.dead["jobs"] = [make_message(7, "jobs", deliveries=1, history=[entry])]
    shown = jobs("dead", "show", "jobs", "7").stdout
    assert "jobs.py" not in shown
    assert "  | (1 frame of Python and of mqclient left out; --full shows all)\n" in shown
    assert "jobs.py" in jobs("dead", "show", "jobs", "7", "--full").stdout
    assert "jobs.py" in jobs("dead", "show", "jobs", "7", "--json").stdout


def test_nothing_is_dead_in_a_pipe(ctl):
    result = ctl.with_queue()("dead", "list", "jobs", "--json")
    assert (result.exit_code, result.stdout) == (exits.EMPTY, "")
    assert result.stderr == "mqctl: jobs has no dead messages\n"


def test_ids_that_are_of_no_dead_message(jobs, letterbox):
    for queue in ("jobs", "jobs.dead"):
        result = jobs("dead", "redrive", queue, "--ids", "77")
        assert result.exit_code == exits.EMPTY
        assert f"no dead message of {queue}; `mqctl dead list {queue}` shows" in result.stderr
