"""The commands pull and peek."""

from __future__ import annotations

import errno
import json

import pytest

from mqclient import errors
from mqclient.ctl import exits, output, pull
from support.ctl import FakeMessage

BODIES = ('{"x": 1}', '"hello"', "two\nlines", b"\x00\xff", 5)


@pytest.fixture
def jobs(ctl):
    return ctl.with_queue(*BODIES)


def test_pull_writes_one_body_and_removes_it(jobs):
    result = jobs("pull", "jobs")
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"x": 1}\n', "")
    assert jobs.raws() == list(BODIES[1:])


def test_each_line_is_a_document(jobs):
    result = jobs("pull", "jobs", "--all")
    assert result.stdout.splitlines() == [
        '{"x": 1}',
        '"hello"',
        '"two\\nlines"',
        '{"base64": "AP8="}',
        "5",
    ]
    assert jobs.raws() == []


@pytest.mark.parametrize("options", [[], ["--all"], ["-n", "2"]])
def test_the_level_of_the_removal(jobs, options):
    assert jobs("pull", "jobs", *options, "--durability", "accepted").exit_code == 0
    assert set(jobs.client.levels) == {"accepted"}
    jobs.client.levels.clear()
    jobs("pull", "jobs", *options)
    assert set(jobs.client.levels) == {None}
    assert jobs("pull", "jobs", "--durability", "safe").exit_code == exits.USAGE


def test_text(jobs):
    assert jobs("pull", "jobs", "--all", "--text").stdout.splitlines() == [
        '{"x": 1}',
        "hello",
        "two",
        "lines",
        '{"base64": "AP8="}',
        "5",
    ]


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ([], b'{"x": 1}\n"hello"\ntwo\nlines\n\x00\xff\n5\n'),
        (["--whole"], b'{"x": 1}"hello"two\nlines\x00\xff5'),
    ],
)
def test_raw(jobs, options, data):
    assert jobs("pull", "jobs", "--all", "--raw", *options).stdout_bytes == data


def test_json(jobs):
    jobs.client.queues_by_name["jobs"].messages[1].headers = {"sweep": "a", "key": b"\x01"}
    lines = [json.loads(line) for line in jobs("pull", "jobs", "-a", "--json").stdout.splitlines()]
    assert lines[0] == {"id": 1, "queue": "jobs", "headers": {}, "body": {"x": 1}}
    assert lines[1]["headers"] == {"sweep": "a", "key": {"base64": "AQ=="}}
    assert [line["body"] for line in lines[1:]] == ["hello", "two\nlines", {"base64": "AP8="}, 5]


@pytest.mark.parametrize("style", [[], ["--text"], ["--raw"], ["--json"]])
def test_nothing_controls_the_terminal(ctl, terminal, style):
    ctl.with_queue('"\x9b31m\u202e"', "\x1b[2J", b"\x1b]0;evil\x07\xff", '{"\x7f": 1}')
    result = ctl("pull", "jobs", "--all", *style)
    assert result.exit_code == 0
    assert result.stdout.replace("\n", "").isprintable()


def test_raw_lines_stay_lines_on_a_terminal(ctl, terminal):
    ctl.with_queue(b"a\nb\t")
    assert ctl("pull", "jobs", "--raw").stdout == "a\nb\\t\n"


@pytest.mark.parametrize(("count", "left"), [("1", 4), ("3", 2), ("5", 0), ("9", 0)])
def test_count(jobs, count, left):
    assert jobs("pull", "jobs", "-n", count, "--json").stdout.count("\n") == 5 - left
    assert len(jobs.raws()) == left


@pytest.mark.parametrize("options", [[], ["--all"], ["-n", "5"], ["--wait", "2"]])
def test_an_empty_queue_has_an_exit_code(ctl, options):
    ctl.with_queue()
    result = ctl("pull", "jobs", *options)
    assert (result.exit_code, result.output) == (exits.EMPTY, "")


def test_all_and_follow_contradict_each_other(jobs):
    result = jobs("pull", "jobs", "--all", "--follow")
    assert result.exit_code == exits.USAGE
    assert "give one of them" in result.stderr
    assert jobs.raws() == list(BODIES)


def test_a_script_is_told_of_a_pause_alone(ctl):
    ctl.with_queue()
    ctl.client.more["jobs"] = {"is_paused": True}
    result = ctl("pull", "jobs")
    assert result.exit_code == exits.EMPTY
    assert result.stderr == (
        "mqctl: jobs is paused and delivers nothing: mqctl resume jobs ends that\n"
    )


def test_what_is_told_of_an_empty_queue_changes_no_exit_code(ctl):
    ctl.with_queue()

    def refuse(*_call):
        raise errors.ConnectionLost("it is gone")

    ctl.client.before["info"] = refuse
    assert ctl("pull", "jobs").exit_code == exits.EMPTY


def test_a_person_is_told_that_it_is_empty(ctl, terminal):
    ctl.with_queue()
    assert ctl("pull", "jobs").stderr == "jobs has no ready messages\n"
    ctl.client.more["jobs"] = {"delayed": 3, "dead": 1}
    assert ctl("pull", "jobs").stderr == "jobs has no ready messages (3 delayed, 1 dead)\n"
    ctl.client.more["jobs"] = {"ready": 4, "is_paused": True}
    assert ctl("pull", "jobs").stderr == (
        "jobs is paused and delivers nothing (4 ready): mqctl resume jobs ends that\n"
    )


def test_only_the_first_message_is_waited_for(jobs):
    jobs("pull", "jobs", "-n", "9", "--wait", "2.5")
    first, second = (call[2:] for call in jobs.client.calls if call[0] == "pull_many")
    assert first[0] == 9
    assert 2.0 < first[1] <= 2.5  # what was spent on connecting counts
    assert second == (4, 0.0)


@pytest.fixture
def away(jobs, monkeypatch):
    """Let connections be lost: as many pulls as it has errors meet them."""
    told, pauses = [], []

    def meet(*_call):
        if told:
            raise told.pop(0)

    jobs.client.before["pull_many"] = meet
    monkeypatch.setattr(pull, "_pause", pauses.append)
    jobs.client.errors, jobs.client.pauses = told, pauses
    return jobs


def lost():
    return errors.ConnectionLost("the connection was lost during PULL")


@pytest.mark.parametrize("options", [["--wait", "60"], ["--follow", "-n", "1"]])
def test_a_server_that_restarts_is_waited_for_and_that_is_said_once(away, options):
    away.client.errors += [lost(), errors.ConnectFailed("cannot connect", may_pass=True), lost()]
    result = away("pull", "jobs", *options)
    assert (result.exit_code, result.stdout) == (0, '{"x": 1}\n')
    words = "the connection was lost during PULL; waiting for the server"
    assert result.stderr.splitlines() == [f"mqctl: {words}"]
    assert len(away.client.pauses) == 3


def test_who_does_not_wait_is_told_at_once(away):
    for options in ([], ["--all"]):
        away.client.errors[:] = [lost()]
        result = away("pull", "jobs", *options)
        assert (result.exit_code, result.stdout) == (exits.CANNOT_CONNECT, "")
        assert "waiting for the server" not in result.stderr
    away.client.errors[:] = []
    away.client.before["pull_many"] = lambda _queue, _most, wait: wait > 0 or _raise(lost())
    result = away("pull", "jobs", "--all", "--wait", "60")  # the second is not waited for
    assert (result.exit_code, len(result.stdout.splitlines())) == (exits.CANNOT_CONNECT, 5)


def _raise(error):
    raise error


def test_what_no_new_connection_would_mend_is_not_waited_for(away):
    away.client.errors += [errors.AccessDenied("ACCESS_DENIED", "no")]
    assert away("pull", "jobs", "--follow").exit_code == exits.REFUSED
    assert away.client.pauses == []


def test_a_server_that_stays_away_is_waited_for_no_longer_than_a_message(away, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pull.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pull, "_pause", lambda _seconds: now.__setitem__(0, now[0] + 20))
    away.client.errors += [lost() for _ in range(9)]
    assert away("pull", "jobs", "--wait", "60").exit_code == exits.CANNOT_CONNECT
    assert len(away.client.errors) == 9 - 4


def test_a_server_that_is_not_there_yet_is_waited_for_by_who_waits(jobs):
    for options in ([], ["--wait", "7"], ["--follow", "-n", "1"]):
        jobs("pull", "jobs", *options)
    jobs("pull", "jobs", "--follow", "-n", "1", "--server-wait", "3")
    assert [session.server_wait for session in jobs.sessions] == [None, 7.0, 300.0, 3.0]


def test_batches_are_neither_small_nor_large(ctl):
    ctl.with_queue(*map(str, range(3000)))
    result = ctl("pull", "jobs", "--all")
    assert result.stdout.splitlines() == list(map(str, range(3000)))
    asked = [call[2] for call in ctl.client.calls if call[0] == "pull_many"]
    assert asked == [16, 1000, 1000, 1000, 1000]


@pytest.mark.parametrize(
    ("size", "count"), [(10, 1000), (1024 * 1024, 1), (10 * 1024 * 1024, 1), (10_240, 102)]
)
def test_the_size_of_messages_sets_that_of_batches(size, count):
    messages = [FakeMessage(1, "jobs", b"x" * size), FakeMessage(2, "jobs", "x" * size)]
    assert pull.next_size(messages) == count


def test_follow_waits_until_it_is_interrupted(jobs):
    waits = []

    def stop(_queue, _count, wait):
        waits.append(wait)
        if len(waits) == 4:
            raise KeyboardInterrupt

    jobs.client.before["pull_many"] = stop
    result = jobs("pull", "jobs", "--follow")
    assert result.exit_code == exits.INTERRUPTED
    assert result.stdout.count("\n") == 5
    assert waits == [3600] * 4


def test_follow_may_have_an_end(jobs):
    assert jobs("pull", "jobs", "--follow", "-n", "2").exit_code == 0
    assert len(jobs.raws()) == 3


@pytest.mark.parametrize(
    "options",
    [
        ["--all", "-n", "2"],
        ["--raw", "--text"],
        ["--raw", "--json"],
        ["--text", "--json"],
        ["--whole"],
        ["-n", "0"],
        ["--wait", "-1"],
    ],
)
def test_options_that_make_no_sense_pull_nothing(jobs, options):
    assert jobs("pull", "jobs", *options).exit_code == exits.USAGE
    assert jobs.client.calls == []


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), exits.INTERNAL, "cannot write"),
        (OSError(errno.ENOSPC, "No space left"), exits.INTERNAL, "No space left"),
        (KeyboardInterrupt(), exits.INTERRUPTED, "interrupted"),
    ],
)
def test_messages_that_cannot_be_written_are_named(jobs, monkeypatch, error, code, word):
    def fail(_data):
        raise error

    monkeypatch.setattr(output, "write_bytes", fail)
    result = jobs("pull", "jobs", "-n", "3")
    assert result.exit_code == code
    assert word in result.stderr
    assert "messages 1 to 3 were pulled" in result.stderr


def test_what_came_before_an_error_has_been_written(ctl):
    ctl.with_queue(*map(str, range(20)))

    def fail(_queue, count, _wait):
        if count != pull.FIRST_BATCH:
            raise errors.ConnectionLost("it broke")

    ctl.client.before["pull_many"] = fail
    result = ctl("pull", "jobs", "--all")
    assert result.exit_code == exits.CANNOT_CONNECT
    assert result.stdout.splitlines() == list(map(str, range(16)))


# peek


def test_peek_removes_nothing(jobs):
    result = jobs("peek", "jobs")
    assert (result.exit_code, result.stdout) == (0, '{"x": 1}\n')
    assert len(jobs.raws()) == 5
    assert not any(call[0] == "pull_many" for call in jobs.client.calls)


def test_peek_further(jobs):
    result = jobs("peek", "jobs", "-n", "9", "--skip", "3", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [4, 5]


def test_peek_at_one_message(jobs, terminal):
    result = jobs("peek", "jobs", "--id", "2", "--text")
    assert (result.exit_code, result.stdout) == (0, "hello\n")
    assert json.loads(jobs("peek", "jobs", "--id", "2", "--json").stdout)["state"] == "leased"
    assert "message 2 of jobs, leased" in jobs("peek", "jobs", "--id", "2", "--history").stdout
    result = jobs("peek", "jobs", "--id", "99")
    assert (result.exit_code, result.stdout) == (exits.EMPTY, "")
    assert "message 99 of jobs is not there (any more)" in result.stderr
    for options in (["--skip", "1"], ["-n", "2"], ["--state", "dead"]):
        assert jobs("peek", "jobs", "--id", "2", *options).exit_code == exits.USAGE


def test_peek_at_many(ctl):
    ctl.with_queue(*map(str, range(40)))
    result = ctl("peek", "jobs", "-n", "30", "--skip", "5")
    assert result.stdout.splitlines() == list(map(str, range(5, 35)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--skip", "7"], "jobs has no more than 7 ready messages\n"),
        ([], "jobs has no ready messages\n"),
    ],
)
def test_peek_at_nothing(ctl, terminal, options, said):
    result = ctl.with_queue()("peek", "jobs", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (exits.EMPTY, "", said)


def test_peek_at_messages_in_a_state(ctl, terminal, make_message):
    ctl.with_queue("ready")
    ctl.client.dead["jobs"] = [make_message(7, "jobs", "gone")]
    assert ctl("peek", "jobs", "--state", "dead").stdout == '"gone"\n'
    assert (
        ctl("peek", "jobs", "--state", "dead", "--skip", "1").stderr
        == "jobs has no more than 1 dead messages\n"
    )
    ctl.client.dead.clear()
    result = ctl("peek", "jobs", "--state", "dead")
    assert (result.exit_code, result.stderr) == (
        exits.EMPTY,
        "jobs has no dead messages (1 ready)\n",
    )
    assert ctl("peek", "jobs", "--state", "lost").exit_code == exits.USAGE


def test_peek_at_nothing_in_a_pipe(ctl):
    result = ctl.with_queue()("peek", "jobs", "--json")
    assert (result.exit_code, result.stdout) == (exits.EMPTY, "")
    assert result.stderr == "mqctl: jobs has no ready messages\n"


# What a message has been through


FAILED = {
    "owner": "ann#3.4",
    "leased_at": 1_800_000_000.0,
    "ended_at": 1_800_000_090.0,
    "cause": "nack",
    "reason": "no GPU",
}


@pytest.fixture
def tried(ctl, make_message):
    """A queue with a message that has failed once, and another one."""
    ctl.with_queue()
    ctl.client.queues_by_name["jobs"].messages = [
        make_message(
            7, "jobs", "1", {"n": 1}, deliveries=1, attempts=1, history=[FAILED], priority=200
        ),
        make_message(9, "jobs", "2"),
    ]
    return ctl


def test_peek_tells_machines_what_a_message_has_been_through(tried):
    first, second = map(json.loads, tried("peek", "jobs", "-n", "2", "--json").stdout.splitlines())
    assert first == {
        "id": 7,
        "queue": "jobs",
        "headers": {"n": 1},
        "deliveries": 1,
        "attempts": 1,
        "losses": 0,
        "priority": 200,
        "history": [FAILED],
        "body": 1,
    }
    assert (second["deliveries"], second["history"]) == (0, [])


def test_peek_tells_persons_what_messages_have_been_through(tried):
    lines = tried("peek", "jobs", "-n", "2", "--history").stdout.splitlines()
    assert lines[0] == "message 7 of jobs, ready"
    assert "priority      200" in lines
    at = lines.index("  | no GPU")
    assert lines[at - 2].startswith("delivery 1: failed after 1 min 30 s")
    assert lines[at + 1 : at + 3] == ["", "message 9 of jobs, ready"]
    assert lines[-1].split() == ["body", "2"]


def test_peek_at_a_message_that_somebody_works_on(ctl, make_message):
    ctl.with_queue()
    ctl.client.queues_by_name["jobs"].messages = [
        make_message(
            7,
            "jobs",
            deliveries=2,
            lease=[3, 17],
            holder="ann/3f",
            deadline_at=1e9,
            history=[FAILED],
        )
    ]
    shown = ctl("peek", "jobs", "--history").stdout
    assert "ann/3f" in shown
    assert "3-17" in shown
    assert "nothing is known" not in shown  # the second delivery goes on
    assert json.loads(ctl("peek", "jobs", "--json").stdout)["lease"] == "3-17"


@pytest.mark.parametrize(
    "options", [["--history", "--json"], ["--history", "--raw"], ["--full"], ["--full", "--json"]]
)
def test_options_of_peek_that_make_no_sense(tried, options):
    assert tried("peek", "jobs", *options).exit_code == exits.USAGE
