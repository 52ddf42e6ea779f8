"""The digits sweep as a person runs it: real processes, a real server, real data, small sizes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mqclient
from support.server import ROOT, running_server

MISSING = [name for name in ("sklearn", "matplotlib") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")

EXAMPLES = ROOT / "examples"
SECONDS = 90.0  # for a whole small sweep, on a busy machine
SMALL = ("--c-values", "3", "--gamma-values", "2", "--folds", "2")
SETTINGS = 6


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def client(server):
    with mqclient.Client(server.url) as client:
        yield client
        assert client.queues() == [], "a sweep leaves no queue behind"


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("digits_sweep")


def start(address_file, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MQ_")}
    environment |= {"PYTHONPATH": str(ROOT), "MQ_ADDRESS_FILE": str(address_file)}
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / "digits_sweep.py"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its workers can be told from everybody else's
    )


def finish(process):
    """Return exit code, output and errors; nothing of the process's session may be left."""
    try:
        output, errors = process.communicate(timeout=SECONDS)
        wait_until(lambda: is_gone(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    return process.returncode, output, errors


def is_gone(group):
    """Whether nobody of a session is left; a keeper ends just after its worker."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def begun(client):
    """Return how many jobs of the sweep have been begun so far."""
    return sum(info.acked + info.leased for info in client.queues("digits.jobs"))


def workers_of(process):
    """Return the ids of the worker processes of a sweep."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                group = os.getpgid(int(entry.name))
                if group == process.pid and b"worker" in words and b"-I" not in words:
                    found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_workers_get_the_scores_of_the_serial_sweep_twice_in_a_row(server, client, tmp_path):
    plot = tmp_path / "plot.png"
    for _ in range(2):
        arguments = (*SMALL, "--workers", "2", "--check", "--plot", str(plot))
        code, output, errors = finish(start(server.address_file, *arguments))
        assert code == 0, errors
        last_line = output.splitlines()[-1]
        assert last_line.startswith(f"Equal to the serial sweep: all {SETTINGS} scores")
        assert plot.read_bytes().startswith(b"\x89PNG")
        plot.unlink()


def test_workers_started_elsewhere_do_the_work_and_leave_at_the_end(server, client, tmp_path):
    arguments = (*SMALL, "--workers", "0", "--plot", str(tmp_path / "plot.png"))
    producer = start(server.address_file, *arguments)
    wait_until(lambda: client.queues("digits.jobs"))
    worker = start(server.address_file, "worker", "--idle-seconds", str(SECONDS))
    code, output, errors = finish(producer)
    assert code == 0, errors
    assert "by one process" in output
    code, output, errors = finish(worker)
    assert (code, output) == (0, "")
    assert f"Did {SETTINGS} jobs" in errors


def test_without_a_server_it_says_what_to_do(tmp_path):
    for role in ((), ("worker",)):
        code, output, errors = finish(start(tmp_path / "nowhere.json", *role))
        assert (code, output) == (1, "")
        assert "scripts/run" in errors
        assert len(errors.splitlines()) == 1


def test_bad_settings_are_reported_in_one_sentence(server, client, tmp_path):
    # No class of the digits has a thousand samples to spread over the folds.
    arguments = ("--c-values", "1", "--gamma-values", "1", "--folds", "1000", "--workers", "1")
    plot = tmp_path / "plot.png"
    code, output, errors = finish(start(server.address_file, *arguments, "--plot", str(plot)))
    assert (code, output) == (1, "")
    assert "1 of 1 settings failed" in errors
    assert not plot.exists()


def test_ctrl_c_stops_all_workers_and_removes_the_queues(server, client, tmp_path):
    arguments = ("--workers", "2", "--plot", str(tmp_path / "plot.png"))
    producer = start(server.address_file, *arguments)
    wait_until(lambda: begun(client) > 2)
    producer.send_signal(signal.SIGINT)
    code, output, _ = finish(producer)
    assert (code, output) == (130, "")


def test_a_second_sweep_of_the_same_name_is_refused(server, client, tmp_path):
    client.create("digits.jobs")
    code, _, errors = finish(start(server.address_file, "--plot", str(tmp_path / "plot.png")))
    assert client.delete("digits.jobs") == 0, "what is somebody else's is left alone"
    assert code == 1
    assert "A sweep named digits is under way" in errors


def test_no_result_within_the_patience_ends_the_sweep(server, client, tmp_path):
    arguments = ("--workers", "0", "--patience-seconds", "0.1", "--plot", str(tmp_path / "p.png"))
    code, _, errors = finish(start(server.address_file, *SMALL, *arguments))
    assert code == 1
    assert f"{SETTINGS} of {SETTINGS} settings have no result" in errors


def test_a_second_result_for_a_setting_is_an_error(sweep, client):
    client.create("digits.results")
    jobs = sweep.make_jobs(2, 1, 2)
    for _ in range(2):
        client.push("digits.results", sweep.Result(jobs[0], [0.5], 0.1, "somewhere"))
    with pytest.raises(sweep.SweepError, match="has two results"):
        sweep.collect(client, "digits.results", jobs, sweep.Workers(), SECONDS, lambda _: None)
    client.delete("digits.results")


def test_dead_workers_are_named_and_not_waited_for(sweep, client, capfd):
    client.create("digits.results")
    jobs = sweep.make_jobs(3, 1, 2)
    result = sweep.Result(jobs[0], [0.5, 1.0], 0.1, "somewhere")
    client.push("digits.results", result)
    dead = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    dead.wait(SECONDS)
    seen = []
    with pytest.raises(sweep.SweepError, match=r"2 of 3 settings have no result .* 1 died"):
        sweep.collect(client, "digits.results", jobs, sweep.Workers([dead]), SECONDS, seen.append)
    assert seen == [result], "what it had pushed before is not lost"
    assert f"Worker 1 (process {dead.pid}) has died: exit code 3." in capfd.readouterr().err
    client.delete("digits.results")


def test_a_worker_that_is_told_to_stop_hands_its_job_back(sweep, server, client, monkeypatch):
    class Interrupted:
        def evaluate(self, _job):
            raise KeyboardInterrupt

    monkeypatch.setenv("MQ_URL", server.url)
    monkeypatch.setattr(sweep, "Evaluator", Interrupted)
    client.create("digits.jobs")
    job = sweep.make_jobs(1, 1, 2)[0]
    client.push("digits.jobs", job)
    with pytest.raises(KeyboardInterrupt):
        sweep.work("digits", SECONDS)
    message = client.pull("digits.jobs", wait=SECONDS, into=sweep.Job)
    assert (message.body, message.attempts, message.losses) == (job, 0, 0)
    client.delete("digits.jobs")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_workers_that_are_killed_all_the_way_cost_no_result_and_double_none(
    server, client, tmp_path
):
    plot = tmp_path / "plot.png"
    arguments = ("--c-values", "5", "--gamma-values", "4", "--folds", "2", "--workers", "2")
    producer = start(server.address_file, *arguments, "--check", "--plot", str(plot))
    chooser = random.Random(4)
    kills, acked = 0, 0
    wait_until(lambda: client.queues("digits.jobs"))
    while producer.poll() is None and (infos := client.queues("digits.jobs")):
        [info] = infos
        if info.leased and info.acked >= acked:
            victims = workers_of(producer)
            if victims:
                os.kill(chooser.choice(victims), signal.SIGKILL)
                kills += 1
                acked = info.acked + 2  # some are done before the next one dies
        time.sleep(0.02)
    code, output, errors = finish(producer)
    assert code == 0, errors
    assert "Equal to the serial sweep: all 20 scores" in output
    assert errors.count("has died: signal 9") >= min(kills, 5) > 2


def test_comparison_sees_the_smallest_difference(sweep, capfd):
    jobs = sweep.make_jobs(1, 2, 2)
    results = [sweep.Result(job, [0.5, 0.75], 0.1, "here") for job in jobs]
    others = [sweep.Result(job, [0.5, 0.75], 9.9, "there") for job in jobs]
    assert sweep.compare(results, others)
    others[1] = sweep.Result(jobs[1], [0.5, 0.7500000000000001], 0.1, "there")
    assert not sweep.compare(results, others)
    assert "1 of 2 scores differ" in capfd.readouterr().out
