"""The command work: which commands run, and what becomes of the jobs."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import time

import pytest

from mqclient import JsonText, errors
from mqclient.ctl import exits, output, work, working

OK = ["true"]


@pytest.fixture
def jobs(ctl, make_message):
    """A queue with two jobs."""
    return with_jobs(ctl, make_message, '{"x": 1}', '"two"')


def with_jobs(ctl, make_message, *raws, headers=None):
    ctl.with_queue()
    ctl.client.queues_by_name["jobs"].messages = [
        make_message(number, "jobs", raw, headers) for number, raw in enumerate(raws, 1)
    ]
    return ctl


@pytest.fixture
def job(ctl, make_message):
    """A queue with one job: what comes after a signal is no race for the next one."""
    return with_jobs(ctl, make_message, "1")


def run(ctl, *command, options=("--wait", "0")):
    return ctl("work", "jobs", *options, "--", *command)


def outcomes(result):
    return [
        (each["id"], each["result"], each["exit_code"])
        for each in map(json.loads, result.stdout.splitlines())
    ]


def lines(path):
    return path.read_text().splitlines()


def test_all_is_done(jobs):
    result = run(jobs, "true")
    assert (result.exit_code, result.output) == (exits.OK, "")
    assert jobs.client.settlements == [(1, "done"), (2, "done")]


def test_where_nothing_came_a_pause_is_told(ctl, make_message):
    with_jobs(ctl, make_message)
    ctl.client.more["jobs"] = {"ready": 2, "is_paused": True}
    result = run(ctl, "true")
    assert result.exit_code == exits.EMPTY
    assert "jobs is paused and delivers nothing (2 ready): mqctl resume jobs" in result.stderr


def test_bodies_on_standard_input(ctl, make_message, tmp_path):
    with_jobs(ctl, make_message, '{"x":\n1}', '"two\\nlines"', b"\xff", "plain")
    run(ctl, "sh", "-c", f"cat >> {tmp_path}/out")
    assert (tmp_path / "out").read_bytes() == b'{"x": 1}\ntwo\nlines\n\xffplain\n'


def test_bodies_as_they_are(ctl, make_message, tmp_path):
    with_jobs(ctl, make_message, '"two"', b"\xff")
    run(ctl, "sh", "-c", f"cat >> {tmp_path}/out", options=["--raw", "--wait", "0"])
    assert (tmp_path / "out").read_bytes() == b'"two"\xff'


def test_bodies_as_arguments(ctl, make_message, tmp_path):
    with_jobs(ctl, make_message, '{"x": 1}', '"two words; $(false) \'"', b"\xff")
    run(
        ctl,
        "sh",
        "-c",
        f'cat >> {tmp_path}/out; printf "%s\\n" "$@" >> {tmp_path}/out',
        "sh",
        "{}",
        "--in={}",
    )
    assert (tmp_path / "out").read_bytes().splitlines() == [
        b'{"x": 1}',
        b'--in={"x": 1}',
        b"two words; $(false) '",
        b"--in=two words; $(false) '",
        b"\xff",
        b"--in=\xff",
    ]


def test_variables(ctl, make_message, tmp_path):
    with_jobs(ctl, make_message, "1", headers={"sweep": "a"})
    run(ctl, "sh", "-c", f"env | grep ^MQ_JOB_ | sort > {tmp_path}/out")
    assert lines(tmp_path / "out") == [
        "MQ_JOB_ATTEMPTS=0",
        "MQ_JOB_DELIVERIES=1",
        'MQ_JOB_HEADERS={"sweep": "a"}',
        "MQ_JOB_ID=1",
        "MQ_JOB_QUEUE=jobs",
    ]


def test_a_command_that_fails(jobs):
    result = run(jobs, "sh", "-c", "echo oh >&2; exit 3")
    assert result.exit_code == exits.FAILED
    reason = "exit code 3: oh"
    assert jobs.client.settlements == [(1, "fail", reason), (2, "fail", reason)]
    told = r"mqctl: job 1 failed after \d+\.\d s: exit code 3: oh\n"
    assert re.search(told, result.stderr)


def test_a_command_that_is_killed(jobs):
    run(jobs, "sh", "-c", "kill -KILL $$", options=["--count", "1"])
    assert jobs.client.settlements == [(1, "fail", "killed by SIGKILL")]


def test_codes_that_mean_never_again(jobs):
    result = run(
        jobs,
        "sh",
        "-c",
        "exit 65",
        options=["--wait", "0", "--reject-code", "65", "--reject-code", "66"],
    )
    assert result.exit_code == exits.FAILED
    assert jobs.client.settlements[0] == (1, "reject", "exit code 65")


def test_for_machines(jobs):
    result = run(
        jobs, "sh", "-c", 'echo noise; read x; test "$x" = two', options=["--json", "--wait", "0"]
    )
    assert outcomes(result) == [(1, "failed", 1), (2, "done", 0)]
    first = json.loads(result.stdout.splitlines()[0])
    assert (first["queue"], first["reason"]) == ("jobs", "exit code 1")
    assert 0 <= first["seconds"] < 20


def test_for_a_person(jobs, terminal):
    result = run(jobs, "sh", "-c", 'read x; test "$x" = two')
    assert re.sub(r"\d+\.\d s", "N s", result.stderr).splitlines() == [
        "mqctl: job 1 failed after N s: exit code 1",
        "job 2 done after N s",
        "jobs of jobs: 1 failed, 1 done",
    ]


def test_no_message_came(ctl, terminal):
    result = run(ctl.with_queue(), "true")
    assert (result.exit_code, result.stderr) == (exits.EMPTY, "no message of jobs came\n")


@pytest.mark.parametrize("slots", ["1", "2"])
def test_a_count(ctl, make_message, slots):
    with_jobs(ctl, make_message, "1", "2", "3", "4")
    run(ctl, "true", options=["--count", "3", "--jobs", slots, "--wait", "0"])
    assert sorted(ctl.client.settlements) == [(1, "done"), (2, "done"), (3, "done")]


def test_several_at_a_time(ctl, make_message, tmp_path):
    """Each waits for the other: one after the other they would wait for ever."""
    os.mkfifo(tmp_path / "there")
    os.mkfifo(tmp_path / "back")
    with_jobs(ctl, make_message, '"there"', '"back"')
    script = f"""
        cd {tmp_path}; read x
        if test $x = there; then echo > there; read y < back; else read y < there; echo > back; fi
    """
    assert run(ctl, "sh", "-c", script, options=["--jobs", "2", "--wait", "0"]).exit_code == 0
    assert len(ctl.client.settlements) == 2


def test_results(ctl, make_message):
    with_jobs(ctl, make_message, '{"x": 1}', '"two"', '""', b"\xff")
    ctl.with_queue(queue="results")
    result = run(
        ctl,
        "sh",
        "-c",
        "read x; printf '%s\\n' \"$x\"",
        options=["--push-results", "results", "--json", "--wait", "0"],
    )
    assert [each[1] for each in outcomes(result)] == ["done"] * 4
    pushed = [how["results"] for _, _, how in ctl.client.settlements]
    assert pushed == [[JsonText('{"x": 1}')], ["two"], [""], [b"\xff\n"]]


def test_a_failure_has_no_result(job):
    job.with_queue(queue="results")
    run(job, "sh", "-c", "echo half; exit 1", options=["--push-results", "results", "--count", "1"])
    assert job.client.settlements == [(1, "fail", "exit code 1")]


def test_a_result_that_is_too_large(job, monkeypatch):
    job.with_queue(queue="results")

    def refuse(*_, **__):
        raise errors.BodyTooLarge("BODY_TOO_LARGE", "too much")

    monkeypatch.setattr(working.bodies, "to_body", refuse)
    run(job, "echo", "x", options=["--push-results", "results", "--count", "1"])
    reason = "its output is too large to be a result: BODY_TOO_LARGE: too much"
    assert job.client.settlements == [(1, "fail", reason)]


def test_a_queue_for_results_that_is_not_there(jobs):
    result = run(jobs, "true", options=["--push-results", "results"])
    assert (result.exit_code, jobs.client.settlements) == (exits.REFUSED, [])
    assert "QUEUE_NOT_FOUND" in result.stderr
    assert jobs.client.jobs == []


def test_the_terms(jobs):
    run(jobs, "true", options=["--lease", "7", "--wait", "3"])
    assert ("consume", "jobs", 7.0, 3.0) in jobs.client.calls


def test_a_slot_goes_on_waiting_while_others_work(ctl, make_message, monkeypatch):
    """What they work on may come back."""
    monkeypatch.setattr(working.Worker, "_is_anybody_busy", lambda _: len(waits(ctl)) < 3)
    run(ctl.with_queue(), "true")
    assert waits(ctl) == [0.0, 1.0, 1.0]


def waits(ctl):
    return [call[3] for call in ctl.client.calls if call[0] == "consume"]


# What is refused


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["no-such-program"], "there is no program no-such-program; no message was taken"),
        (["{}"], "the program itself cannot be {}"),
        (["sh", "-c", "echo {}"], 'write "$1" there'),
        (["/bin/bash", "-e", "-c", "echo {}"], 'write "$1" there'),
    ],
)
def test_commands_that_are_refused(jobs, command, sentence):
    result = run(jobs, *command)
    assert result.exit_code == exits.USAGE
    assert sentence in result.stderr
    assert jobs.client.calls == []


@pytest.mark.parametrize(
    "options",
    [
        ["--jobs", "0"],
        ["--jobs", "257"],
        ["--lease", "0.9"],
        ["--lease", "1e9"],
        ["--reject-code", "0"],
        ["--drain", "x"],
    ],
)
def test_options_that_are_refused(jobs, options):
    assert run(jobs, "true", options=options).exit_code == exits.USAGE


def test_a_command_is_needed(jobs):
    assert "Missing argument 'COMMAND...'" in jobs("work", "jobs").stderr


def test_a_body_that_cannot_be_an_argument(ctl, make_message):
    with_jobs(ctl, make_message, b"a\0b", "x" * 5_000_000)
    result = run(ctl, "true", "{}")
    assert result.exit_code == exits.FAILED
    [first, second] = ctl.client.settlements
    assert (first[:2], second[:2]) == ((1, "reject"), (2, "reject"))
    assert first[2].startswith("its body cannot be an argument of a command: ")


def test_a_program_that_cannot_be_started_stops_the_work(jobs, tmp_path):
    program = tmp_path / "script"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    result = run(jobs, str(program))
    assert result.exit_code == exits.USAGE
    assert "job 1 was handed back" in result.stderr
    assert jobs.client.settlements == [(1, "hand_back")]
    assert jobs.client.is_draining


# What the server says


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (errors.LeaseLost("LEASE_LOST", "over"), "lost", "not this worker's: LEASE_LOST: over"),
        (errors.NotLeased("NOT_LEASED", "gone"), "lost", "not this worker's: NOT_LEASED: gone"),
        (errors.ConnectionLost("it broke", in_doubt=True), "in doubt", "was not reached: it broke"),
        (errors.ConnectionLost("it broke"), "lost", "was not reached: it broke"),
        (errors.ConnectFailed("nobody is there"), "lost", "was not reached: nobody is there"),
        (errors.RequestTimeout("no reply", in_doubt=True), "in doubt", "was not reached: no reply"),
    ],
)
def test_settlements_that_do_not_get_through(jobs, error, outcome, words):
    jobs.client.refusal = error
    result = run(jobs, "true", options=["--json", "--wait", "0"])
    assert outcomes(result) == [(1, outcome, 0), (2, outcome, 0)]
    assert words in result.stderr


def test_an_error_stops_the_work(jobs):
    jobs.client.refusal = errors.AccessDenied("ACCESS_DENIED", "no")
    result = run(jobs, "true")
    assert result.exit_code == exits.REFUSED
    assert result.stderr == "mqctl: ACCESS_DENIED: no\n"
    assert jobs.client.settlements == [(1, "done")]


def test_what_was_done_before_an_error_is_told(jobs):
    def refuse(*_):
        if jobs.client.settlements:
            raise errors.QueueNotFound("QUEUE_NOT_FOUND", "deleted")

    jobs.client.before["next"] = refuse
    result = run(jobs, "true")
    assert result.exit_code == exits.REFUSED
    assert "QUEUE_NOT_FOUND: deleted; jobs of jobs: 1 done; " in result.stderr


def test_a_queue_that_is_not_there(ctl):
    result = run(ctl, "true", options=["--jobs", "3"])
    assert result.exit_code == exits.REFUSED
    assert "QUEUE_NOT_FOUND" in result.stderr


def test_output_that_cannot_be_written_stops_the_work(jobs, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left")

    monkeypatch.setattr(output, "write_json", broken)
    result = run(jobs, "true", options=["--json", "--wait", "0"])
    assert result.exit_code == exits.INTERNAL
    assert "No space left" in result.stderr


def test_a_job_that_is_lost_is_ended(ctl, make_message, monkeypatch, tmp_path):
    monkeypatch.setattr(working, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(working, "KILL_AFTER_SECONDS", 0.01)
    with_jobs(ctl, make_message, "1")
    os.mkfifo(tmp_path / "fifo")
    see_through = working.Worker._see_through

    def lose(self, started, job):
        job.is_lost = True
        see_through(self, started, job)

    monkeypatch.setattr(working.Worker, "_see_through", lose)
    # It does not end when it is told to.
    result = run(
        ctl, "sh", "-c", f"trap '' TERM; cat {tmp_path}/fifo", options=["--json", "--wait", "0"]
    )
    assert outcomes(result) == [(1, "lost", -signal.SIGKILL)]
    assert ctl.client.settlements == []


def test_warnings_of_the_library_are_this_programs(jobs):
    logger = logging.getLogger("mqclient")
    jobs.client.before["consume"] = lambda *_: (
        logger.warning("no jobs just now"),
        logger.info("hm"),
    )
    result = run(jobs, "true")
    assert "mqctl: no jobs just now\n" in result.stderr
    assert "hm" not in result.stderr
    assert logger.handlers == []


# Signals


@pytest.fixture
def shell(tmp_path):
    """A command that kills its parent, this process, with the signals in its body, and waits."""
    os.mkfifo(tmp_path / "fifo")

    def command(numbers, *, trap="", last=f"cat {tmp_path}/fifo"):
        kills = [f"kill -{number} {os.getpid()}" for number in numbers]
        return ["sh", "-c", "; ".join(filter(None, [trap, *kills, last]))]

    return command


@pytest.fixture(autouse=True)
def handlers():
    """A signal that nobody takes does not end the tests, and handlers are given back."""

    def nobody(*_):
        pass

    before = {number: signal.signal(number, nobody) for number in working._SIGNALS}
    yield
    assert {signal.signal(number, handler) for number, handler in before.items()} == {nobody}


def test_ctrl_c_hands_back(job, shell):
    result = run(job, *shell(["INT"]), options=["--json"])
    assert result.exit_code == exits.INTERRUPTED
    assert outcomes(result) == [(1, "handed back", -signal.SIGTERM)]
    assert job.client.settlements == [(1, "hand_back")]


def test_a_terminal_that_is_gone_stops_nothing(job, shell, monkeypatch):
    def gone(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(output, "warn", gone)
    monkeypatch.setattr(output, "note", gone)
    result = run(job, *shell(["HUP"]), options=["--drain", "0"])
    assert result.exit_code == exits.OK
    assert job.client.settlements == [(1, "hand_back")]


def test_an_error_is_told_while_commands_go_on(ctl, make_message, tmp_path):
    """One of two slots meets it; the other's command waits until that has been told."""
    with_jobs(ctl, make_message, "1")
    os.mkfifo(tmp_path / "fifo")
    told = []

    def note(text):
        told.append(text)
        (tmp_path / "fifo").write_text("go\n")

    turns = iter([1])

    def refuse(*_):
        if next(turns, None):  # the first one has the job
            return
        until(lambda: worker._busy)
        raise errors.AccessDenied("ACCESS_DENIED", "no")

    ctl.client.before["next"] = refuse
    plan = working.Plan("jobs", ("sh", "-c", f"read x < {tmp_path}/fifo"), 9.0, slots=2)
    worker = working.Worker(ctl.client, plan, lambda _: None, note)
    with pytest.raises(errors.AccessDenied):
        worker.run()
    assert told == ["no more jobs are taken, and what runs goes on to its end: ACCESS_DENIED: no"]
    assert ctl.client.settlements == [(1, "done")]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_sigterm_lets_the_command_end(job, shell, name):
    result = run(job, *shell([name], last="exit 0"), options=[])
    assert result.exit_code == exits.OK
    assert job.client.settlements == [(1, "done")]


def test_sigterm_says_how_long(job, shell, tmp_path):
    result = run(job, *shell(["TERM"]), options=["--drain", "0.02"])
    assert result.exit_code == exits.OK
    assert "mqctl: SIGTERM: no more jobs are taken; what runs has 0.02 s to end\n" in result.stderr
    assert "job 1 handed back" in result.stderr


def test_a_second_sigterm_is_for_the_impatient(job, shell):
    result = run(job, *shell(["TERM", "HUP"]), options=["--drain", "1000"])
    assert result.exit_code == exits.OK
    assert job.client.settlements == [(1, "hand_back")]


def test_a_command_that_does_not_end_is_killed(job, shell, monkeypatch):
    monkeypatch.setattr(working, "KILL_AFTER_SECONDS", 0.01)
    result = run(job, *shell(["INT"], trap="trap '' TERM"), options=["--json"])
    assert outcomes(result) == [(1, "handed back", -signal.SIGKILL)]


def test_a_failure_while_draining_is_a_failure(job, shell):
    result = run(job, *shell(["TERM"], last="exit 3"), options=[])
    assert result.exit_code == exits.FAILED
    assert job.client.settlements == [(1, "fail", "exit code 3")]


def test_a_command_that_was_told_to_end_with_us_is_handed_back(job, shell):
    """The batch system's signal may reach the command first."""
    result = run(job, *shell([], last=f"(kill -TERM {os.getpid()}) & kill -TERM $$"), options=[])
    assert result.exit_code == exits.OK
    assert job.client.settlements == [(1, "hand_back")]


def test_a_command_that_was_told_to_end_alone_has_failed(job, shell, monkeypatch):
    monkeypatch.setattr(working, "_SIGNAL_SECONDS", 0.01)
    run(job, *shell([], last="kill -TERM $$"), options=["--count", "1"])
    assert job.client.settlements == [(1, "fail", "killed by SIGTERM")]


def test_a_server_that_does_not_answer_is_left(job, shell, monkeypatch):
    """Three times Ctrl-C: the job's settlement is not waited for."""
    is_over = threading.Event()
    take = working.Worker._take_signal

    def again(self, number):
        take(self, number)
        if not self._is_left:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(working.Worker, "_take_signal", again)
    monkeypatch.setattr(type(job.client), "refusal", property(lambda _: is_over.wait()))
    assert run(job, *shell(["INT"]), options=[]).exit_code == exits.INTERRUPTED
    assert job.client.settlements in ([(1, "hand_back")], [])
    is_over.set()


def test_a_command_that_starts_too_late_is_ended_too(job, shell, monkeypatch):
    monkeypatch.setattr(working, "KILL_AFTER_SECONDS", 1000)
    start = working.Run.__init__

    def late(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        job.client.drained.wait()
        start(self, *arguments)

    monkeypatch.setattr(working.Run, "__init__", late)
    result = run(job, *shell([]), options=[])
    assert result.exit_code == exits.INTERRUPTED
    assert job.client.settlements == [(1, "hand_back")]


def test_nothing_was_begun_when_it_was_told_to_end(ctl):
    ctl.with_queue()
    ctl.client.before["next"] = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    result = run(ctl, "true", options=[])
    assert (result.exit_code, result.stderr) == (exits.OK, "")


def test_this_program_is_what_runs(job):
    assert work.DEFAULT_DRAIN_SECONDS + working.KILL_AFTER_SECONDS < 30
    assert run(job, sys.executable, "-c", "pass").exit_code == 0


def test_the_command_of_a_cancelled_job_is_ended(ctl, make_message, monkeypatch):
    monkeypatch.setattr(working, "_LOOK_SECONDS", 0.01)
    with_jobs(ctl, make_message, "1")
    see_through = working.Worker._see_through

    def cancel(self, started, job):
        job.is_cancelled = True
        see_through(self, started, job)

    monkeypatch.setattr(working.Worker, "_see_through", cancel)
    result = run(ctl, "sleep", "60", options=["--json", "--wait", "0"])
    assert result.exit_code == exits.OK
    assert json.loads(result.stdout)["result"] == "cancelled"
    assert ctl.client.settlements == [(1, "hand_back")]


@pytest.mark.parametrize(("options", "seconds"), [([], 300), (["--server-wait", "0"], 0)])
def test_a_server_that_is_not_there_yet_is_waited_for(ctl, options, seconds):
    ctl.with_queue("1")
    run(ctl, "true", options=["--wait", "0", *options])
    assert [session.server_wait for session in ctl.sessions] == [seconds]
    ctl("info", "jobs")  # somebody waits for that
    assert ctl.sessions[-1].server_wait is None
