"""The benchmark against peers, very small, on servers that are installed here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.peers import bursts, load, loads, sides
from benchmarks.peers.servers import processes
from benchmarks.peers.wires.redis import command
from benchmarks.peers.works import kept
from benchmarks.peers.works.base import Stage

SIDES = [
    f"{peer} {mode}"
    for peer in sides.SERVERS
    if peer != "rabbitmq"  # takes too long to start
    for mode in sides.SERVERS[peer].modes
]
SMALL = {"queue": "bench", "body_bytes": 100}
TASKS = {
    "round trips": {"seconds": 0.01},
    "pushes": {"seconds": 0.01},
    "bursts": {"connections": 3, "count": 60, "batch": 1},
    "bursts of batches": {"connections": 1, "count": 640, "batch": 64},
    "batches": {"count": 640, "batch": 64},
    "lease bursts": {"count": 640, "batch": 64},
    "lease bursts of kept entries": {"count": 640, "batch": 64},
    "consumer": {"count": 70, "batch": 1},
    "consumer of batches": {"count": 70, "batch": 64},
    "closed loops": {"connections": 5, "seconds": 0.01},
    "wake-ups": {"pullers": 7, "count": 3},
    "pipelines": {"count": 60, "batch": 20},
    "tail": {"seconds": 0.01},
    "snapshots": {"seconds": 0.01},
    "growth": {"kind": "blocking", "queues": 3, "waiting": 3000, "seconds": 0.01},
    "growth of batches": {"kind": "batches", "queues": 3, "waiting": 3000, "seconds": 0.01},
    "growth of leases": {"kind": "leases", "queues": 3, "waiting": 3000, "seconds": 0.01},
}
"""Options by the task's name, or by it and what is special."""

NO_BATCHES = (
    *("bursts of batches", "batches", "pipelines", "snapshots"),
    *("growth", "growth of batches", "growth of leases"),
)
CANNOT = {
    "redis": ("growth of leases",),
    "beanstalkd": (*NO_BATCHES, "lease bursts", "lease bursts of kept entries"),
    "nats": NO_BATCHES,
}
"""Tasks that a peer's protocol, or its library, has no way to do."""

COMMAND = [sys.executable, "-m", "benchmarks", "peers", "--rounds", "1", "--scale", "0.01"]


needs_redis = pytest.mark.skipif(
    sides.missing("redis") is not None, reason=str(sides.missing("redis"))
)


@pytest.fixture(scope="module", params=SIDES)
def served(request, tmp_path_factory):
    """A side, and its server, which runs."""
    side = sides.side(request.param)
    if sides.missing(side.peer):
        pytest.skip(sides.missing(side.peer))
    server = side.server(tmp_path_factory.mktemp("peer"))
    server.start()
    yield side, server
    server.stop()


def answers_to(place, task, options, goes=1):
    """Let a load in this process do a task; returns its answers."""
    place = asdict(place)
    orders = [{"do": "prepare", "task": task, "place": place, "options": SMALL | options}]
    orders += [{"do": "go"}] * goes
    answers = io.StringIO()
    code = load.serve([json.dumps(order) for order in orders], answers)
    return code, [json.loads(line) for line in answers.getvalue().splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_done_as_often_as_it_is_told(served, task):
    side, server = served
    if task in CANNOT.get(side.peer, ()):
        pytest.skip(f"{side.peer} cannot do that")
    if task == "snapshots" and side.name == "mqd memory":
        pytest.skip("there is nothing to make a snapshot of")
    name, options = task.partition(" of ")[0], TASKS[task]
    is_stream = side.peer == "redis" and name in ("lease bursts", "consumer")
    variant = ("keep" if "kept" in task else "delete") if is_stream else ""
    place = side.place(server, variant)
    options = {**options, "queue": f"bench-{task.replace(' ', '-')}"}
    if name == "consumer":
        fill(place, options["queue"], 2 * options["count"])
    code, answers = answers_to(place, name, options, goes=2)
    assert code == 0, answers
    assert answers[0] == {"ready": True}
    for answer in answers[1:]:
        figures = answer["figures"]
        assert figures["messages"] >= (name != "snapshots")
        assert all(value > 0 for key, value in figures.items() if key != "messages")


def fill(place, queue, count):
    wire = sides.wire(place)
    wire.make_queue(queue)
    bursts.seconds_for([(wire, wire.push(queue, b"x" * 100, count))], 10)
    wire.close()


def test_a_load_says_what_went_wrong(served):
    side, server = served
    task = CANNOT.get(side.peer, [None])[0]
    if task is None:
        pytest.skip("that one can do everything")
    code, answers = answers_to(side.place(server), task.partition(" of ")[0], TASKS[task])
    assert code == 1
    assert "NotImplementedError" in answers[-1]["error"]


def test_answers_without_work_are_found_out(served, monkeypatch):
    side, server = served
    place = side.place(server)
    wire = sides.wire(place)
    wire.close()
    honest = type(wire).waiting
    monkeypatch.setattr(type(wire), "waiting", lambda self, queue: honest(self, queue) + 1)
    code, answers = answers_to(place, "bursts", {**TASKS["bursts"], "queue": "found-out"})
    assert code == 1
    assert answers[-1] == {"error": "RuntimeError: 61 messages wait where 60 should"}


def test_a_server_of_ones_own_is_killed_and_has_everything_again(served):
    side, _ = served
    if side.mode not in ("written", "everysec", "binlog", "file"):
        pytest.skip("one that keeps what it has said is enough")
    row = kept.MEMORY_WORK.rows[0]
    figures = row.measure(Stage(side, side.server(Path()), 100, scale=0.001))
    assert figures.keys() == {"memory_bytes", "each_bytes", "restart_seconds"}
    assert figures["restart_seconds"] > 0


@needs_redis
def test_a_restart_that_has_lost_messages_is_no_restart(monkeypatch):
    monkeypatch.setattr(kept, "RESTART_SECONDS", 0)
    side = sides.side("redis memory")
    empty = Stage(side, side.server(Path()), 100, scale=0.001)
    with empty.fresh() as stage, pytest.raises(RuntimeError, match="0 of 1000 messages"):
        kept._fill(stage, 1000, 1)
        kept._restart(stage, 1000)


def test_a_load_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(loads, "END_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = sides.Place("redis", "memory", silent.getsockname()[1], "")
        stuck = loads.Load("tail", place, {**SMALL, "seconds": 1})
        stuck.answer()
        stuck.order({"do": "go"})
        with pytest.raises(loads.LoadFailed, match="no answer from a load process"):
            stuck.answer(0.1)
        stuck.end()
    assert stuck._process.returncode == -signal.SIGKILL


def test_settings_are_what_is_claimed(served):
    side, server = served
    wire = sides.wire(side.place(server))
    try:
        if side.peer == "redis":
            wire.socket.sendall(command(b"CONFIG", b"GET", b"append*") + command(b"PING"))
            told = b""
            while b"+PONG" not in told:
                told += wire.socket.recv(65536)
            words = told.split(b"\r\n")
            is_kept = words[words.index(b"appendonly") + 2] == b"yes"
            policy = words[words.index(b"appendfsync") + 2].decode()
            assert is_kept == (side.mode != "memory")
            assert policy == side.mode or not is_kept
        elif side.peer == "mqd":
            wire.make_queue("settings")
            reached = wire._wire.call("PUSH", "settings", 1, b"\xa1x")[3]
            assert reached == {"memory": "accepted"}.get(side.mode, side.mode)
        elif side.peer == "nats":
            wire.make_queue("settings")
            config = wire._ask("STREAM.INFO.settings", {})["config"]
            assert (config["storage"], config["retention"]) == (side.mode, "workqueue")
        else:
            assert any(server.directory.glob("binlog.*")) == (side.mode != "memory")
            arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
            assert ("-f" in arguments) == (side.mode != "memory")
            assert arguments[-2] == {"memory": "1048576", "binlog": "50", "always": "0"}[side.mode]
    finally:
        wire.close()


def test_a_server_holds_still_and_goes_on_and_is_told_about(served):
    _, server = served
    server.hold()
    assert comes_true(lambda: state_of(server.pid) == "T")
    server.release()
    assert comes_true(lambda: state_of(server.pid) != "T")
    assert server.memory_bytes() > 100_000
    assert server.processor_seconds() >= 0
    assert any(character.isdigit() for character in server.version())


def comes_true(is_so):
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)
    return is_so()


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_redis
def test_a_run_from_the_command_to_its_results(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    options = ["--work", "blocking", "--against", "redis memory"]
    options += ["--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")]
    done = subprocess.run(
        COMMAND + options,
        env={**os.environ, "TMPDIR": str(own)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mqd written to redis memory, pairs: " in done.stdout
    assert "(at least 1.5, dream 2: " in done.stdout
    results = json.loads((tmp_path / "r.json").read_text())
    assert set(results["sides"]) >= {"redis memory", "mqd written"}
    assert 'save ""' in results["sides"]["redis memory"]["settings"]
    assert results["machine"]["cores"] >= 1
    assert all(not row["failures"] for row in results["rows"])
    assert "blocking push and pull, one client: pairs" in (tmp_path / "r.md").read_text()
    assert left_in(own) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    process = subprocess.Popen(
        [*COMMAND, "--work", "blocking", "--scale", "100", "--against", "redis memory"],
        env={**os.environ, "TMPDIR": str(own)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not any(map(is_load, family := processes.tree(process.pid))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(family) >= 3  # itself, a server, a load
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"ended by SIGINT; all servers are stopped" in told
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert left_in(own) == []


def is_load(pid):
    with contextlib.suppress(OSError):
        return b"benchmarks.peers.load" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def left_in(directory):
    return sorted(path.name for path in directory.iterdir())
