"""mqctl about the life of jobs: workers, holders and dead messages, against a real server."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from mqclient.ctl import exits
from mqwire.verbs import VERBS
from support.server import ROOT, running_server

COMMAND = [sys.executable, "-m", "mqclient.ctl"]
SECONDS = 30

needs_looks = pytest.mark.skipif(
    "state" not in VERBS["PEEK"].options, reason="the server does not show dead messages"
)


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


class Shell:
    """Runs mqctl as the user who started the server."""

    def __init__(self, server) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MQ")}
        self.environment = {**kept, "MQ_ADDRESS_FILE": str(server.address_file), "NO_COLOR": "1"}

    def __call__(self, *arguments: str):
        return subprocess.run(
            [*COMMAND, *arguments],
            input=b"",
            capture_output=True,
            cwd=ROOT,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )

    def json(self, *arguments: str):
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def info(self, queue):
        return self.json("info", queue)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=self.environment, **streams)


@pytest.fixture(scope="module")
def mqctl(server):
    return Shell(server)


@pytest.fixture
def jobs(mqctl, queue):
    """A queue whose messages die with their first failure, and stay."""
    assert mqctl("create", queue, "--max-attempts", "1").returncode == 0
    return queue


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


class Gate:
    """A command that tells when it runs, and goes on when it is let."""

    def __init__(self, directory) -> None:
        self.path = directory / "gate"
        self.started = directory / "started"
        os.mkfifo(self.path)
        self.command = ("sh", "-c", f"echo $MQ_JOB_ID >> {self.started}; read word < {self.path}")

    def wait(self):
        until(self.started.exists)

    def open(self):
        """Let those go on that wait."""
        with self.path.open("w") as file:
            file.write("go\n")


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


@contextmanager
def working(mqctl, gate, queue, *options):
    """Give a worker whose command is running."""
    with mqctl.start("work", queue, *options, "--", *gate.command) as worker:
        gate.wait()
        try:
            yield worker
        finally:
            if worker.poll() is None:
                worker.kill()


# Creation


def test_what_a_queue_was_created_with(mqctl, queue):
    dead = f"{queue}.dead"
    done = mqctl(
        "create", queue, "--dead-letter", dead, "--max-attempts", "3", "--max-worker-losses", "9",
        "--backoff", "exponential", "--backoff-seconds", "0.5", "--backoff-cap-seconds", "60",
        "--backoff-jitter", "0.5",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    options = mqctl.info(queue)["options"]
    assert (options["dead_letter"], options["max_attempts"], options["backoff"]) == (
        dead,
        3,
        "exponential",
    )
    assert mqctl.info(dead)["ready"] == 0
    assert b"max_worker_losses    9" in mqctl("info", queue).stdout
    refused = mqctl("create", f"{queue}.x", "--dead-letter", f"{queue}.x")
    assert refused.returncode == exits.REFUSED


# Workers


def test_all_jobs_are_done(mqctl, jobs, tmp_path):
    mqctl("push", jobs, *map(str, range(20)))
    script = f'echo "$1" >> {tmp_path}/out'
    done = mqctl(
        "work", jobs, "--jobs", "3", "--wait", "0", "--json", "--", "sh", "-c", script, "sh", "{}"
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["id"] for each in outcomes) == list(range(1, 21))
    assert {(each["result"], each["exit_code"]) for each in outcomes} == {("done", 0)}
    assert sorted(map(int, (tmp_path / "out").read_text().split())) == list(range(20))
    info = mqctl.info(jobs)
    assert (info["ready"], info["leased"], info["dead"], info["acked"]) == (0, 0, 0, 20)
    assert mqctl("work", jobs, "--wait", "0", "--", "true").returncode == exits.EMPTY


def test_results_come_with_the_end_of_their_jobs(mqctl, jobs):
    results = f"{jobs}.results"
    mqctl("create", results)
    mqctl("push", jobs, "one", "two", "three")
    script = 'test "$1" != two && echo "{\\"of\\": \\"$1\\"}"'
    options = ("--push-results", results, "--wait", "0")
    done = mqctl("work", jobs, *options, "--", "sh", "-c", script, "sh", "{}")
    assert (done.returncode, done.stdout) == (exits.FAILED, b"")
    pulled = mqctl("pull", results, "--all").stdout
    assert [json.loads(line) for line in pulled.splitlines()] == [{"of": "one"}, {"of": "three"}]
    info = mqctl.info(jobs)
    assert (info["acked"], info["dead"]) == (2, 1)


def test_a_job_is_held_and_extended_as_long_as_it_runs(mqctl, jobs, gate):
    mqctl("push", jobs, "1")
    with working(mqctl, gate, jobs, "--count", "1", "--lease", "3") as worker:
        first = mqctl.json("holders", jobs)
        assert (first["queue"], first["count"], first["is_connected"]) == (jobs, 1, True)
        assert first["host"]
        assert "mqctl/" in first["client"]
        until(lambda: mqctl.json("holders", jobs)["deadline_at"] > first["leased_at"] + 3.1)
        assert mqctl.json("holders", jobs)["lease"] == first["lease"]
        assert b"connected" in mqctl("holders", jobs).stdout
        gate.open()
        assert worker.wait(SECONDS) == 0
    assert mqctl("holders", jobs, "--json").stdout == b""
    assert mqctl.info(jobs)["acked"] == 1


def test_a_worker_that_is_killed_loses_nothing(mqctl, jobs, gate):
    mqctl("push", jobs, "1")
    with working(mqctl, gate, jobs, "--lease", "1000") as worker:
        worker.kill()
        until(lambda: mqctl.info(jobs)["ready"] == 1)
    gate.open()  # the command has outlived its worker
    assert mqctl("work", jobs, "--count", "1", "--", "true").returncode == 0
    assert mqctl.info(jobs)["acked"] == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, exits.OK), (signal.SIGINT, exits.INTERRUPTED)]
)
def test_a_worker_that_is_told_to_end_hands_back(mqctl, jobs, gate, number, code):
    mqctl("push", jobs, "1", "2")
    with working(mqctl, gate, jobs, "--drain", "0") as worker:
        worker.send_signal(number)
        assert worker.wait(SECONDS) == code
        stderr = worker.stderr.read()
        assert b"job 1 handed back after " in stderr
        assert b"Traceback" not in stderr
    # Had it spent an attempt it were dead.
    info = mqctl.info(jobs)
    assert (info["ready"], info["leased"], info["dead"]) == (2, 0, 0)


def test_sigterm_lets_the_job_end(mqctl, jobs, gate):
    mqctl("push", jobs, "1", "2")
    with working(mqctl, gate, jobs, "--drain", "1000") as worker:
        worker.send_signal(signal.SIGTERM)
        assert b"no more jobs are taken" in worker.stderr.readline()
        gate.open()
        assert worker.wait(SECONDS) == 0
    info = mqctl.info(jobs)
    assert (info["ready"], info["acked"]) == (1, 1)


def test_a_worker_that_waits_ends_at_once(mqctl, jobs):
    with mqctl.start("work", jobs, "--", "true") as worker:
        until(lambda: mqctl.info(jobs)["waiting"] == 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS) == 0
        assert (worker.stdout.read(), worker.stderr.read()) == (b"", b"")


def test_a_job_whose_queue_is_deleted_is_ended(mqctl, jobs, gate):
    mqctl("push", jobs, "1")
    with working(mqctl, gate, jobs, "--lease", "2", "--json") as worker:
        mqctl("delete", jobs, "--yes")
        assert worker.wait(SECONDS) == exits.REFUSED
        [outcome] = map(json.loads, worker.stdout.read().splitlines())
        assert (outcome["result"], outcome["exit_code"]) == ("lost", -signal.SIGTERM)
        assert b"QUEUE_NOT_FOUND" in worker.stderr.read()


def test_a_person_sees_what_becomes_of_jobs(mqctl, jobs):
    mqctl("push", jobs, "1", "2")
    leader, follower = pty.openpty()
    script = 'read n; test "$n" = 1 || { echo no luck >&2; exit 3; }'
    command = [*COMMAND, "work", jobs, "--wait", "0", "--", "sh", "-c", script]
    process = subprocess.Popen(
        command, cwd=ROOT, env=mqctl.environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # the other end has closed
        pass
    finally:
        os.close(leader)
    assert process.wait(SECONDS) == exits.FAILED
    assert b"job 1 done after " in shown
    assert b"job 2 failed after " in shown
    assert b"exit code 3: no luck" in shown
    assert b": 1 done, 1 failed" in shown


# The dead


@pytest.fixture
def dead(mqctl, jobs):
    """A queue with five dead messages."""
    mqctl("push", jobs, *map(str, range(5)))
    script = "echo first >&2; echo 'bad luck' >&2; exit 3"
    assert mqctl("work", jobs, "--wait", "0", "--", "sh", "-c", script).returncode == exits.FAILED
    assert mqctl.info(jobs)["dead"] == 5
    return jobs


def test_the_dead_are_tried_again(mqctl, dead):
    assert mqctl.json("dead", "redrive", dead, "--ids", "2,4")["moved"] == 2
    assert mqctl.json("dead", "redrive", dead, "--max", "1")["moved"] == 1
    assert mqctl.json("dead", "redrive", dead, "--all", "--rate", "100")["moved"] == 2
    assert mqctl("dead", "redrive", dead, "--all").returncode == exits.EMPTY
    assert mqctl("work", dead, "--wait", "0", "--", "true").returncode == 0
    assert mqctl.info(dead)["acked"] == 5


def test_the_dead_are_purged(mqctl, dead):
    mqctl("push", dead, "alive")
    assert mqctl.json("purge", dead)["removed"] == 1
    assert mqctl.json("dead", "purge", dead)["removed"] == 5
    assert mqctl.json("dead", "purge", dead)["removed"] == 0


@needs_looks
def test_the_dead_are_listed_and_explained(mqctl, dead):
    lines = mqctl("dead", "list", dead).stdout.decode().splitlines()
    assert [line.split()[:6] for line in lines] == [
        [str(number), "dead", "-", "-", "1", "0"] for number in range(1, 6)
    ]
    assert lines[0].endswith("failed  exit code 3: bad luck")
    story = mqctl("dead", "show", dead, "3").stdout.decode().splitlines()
    assert story[0] == f"message 3 of {dead}, dead in its own queue"
    assert story[-3:] == ["  | first", "  | bad luck", "  | exit code 3: bad luck"]
    [entry] = mqctl.json("dead", "show", dead, "3")["history"]
    assert (entry["cause"], entry["reason"].splitlines()[0]) == ("nack", "first")
    assert entry["owner"]["host"]
    assert mqctl("dead", "show", dead, "9").returncode == exits.EMPTY


@needs_looks
def test_letters_know_where_they_came_from(mqctl, queue):
    letters = f"{queue}.dead"
    mqctl("create", queue, "--dead-letter", letters, "--max-attempts", "2")
    mqctl("push", queue, "1", "2")
    mqctl("work", queue, "--wait", "0", "--", "false")
    found = [
        json.loads(line) for line in mqctl("dead", "list", letters, "--json").stdout.splitlines()
    ]
    assert [(each["origin"]["queue"], each["attempts"], each["body"]) for each in found] == [
        (queue, 2, 1),
        (queue, 2, 2),
    ]
    assert len(found[0]["history"]) == 2
    assert mqctl("dead", "list", queue).returncode == exits.EMPTY
    assert mqctl.json("dead", "redrive", letters, "--all")["moved"] == 2
    info = mqctl.info(queue)
    assert (info["ready"], info["moved"]) == (2, 2)


@needs_looks
def test_peek_in_every_state(mqctl, dead, gate):
    assert mqctl("peek", dead, "--state", "dead", "--count", "5").stdout.split() == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    assert mqctl("peek", dead).returncode == exits.EMPTY
    mqctl("push", dead, "alive")
    with working(mqctl, gate, dead, "--count", "1") as worker:
        assert mqctl("peek", dead, "--state", "leased").stdout == b'"alive"\n'
        gate.open()
        assert worker.wait(SECONDS) == 0
    assert mqctl("peek", dead, "--state", "leased").returncode == exits.EMPTY
