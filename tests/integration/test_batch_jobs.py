"""What supervisors and batch systems see: word to systemd, and the Slurm scripts as they are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import mqclient
from support.server import ROOT, running_server

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 20
SLURM = ROOT / "deploy" / "slurm"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.01)


@contextlib.contextmanager
def batch_job(script: str, *words: str, **variables: str):
    """Run a script as a job: what is signalled is the shell that Slurm has started."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MQ", "SLURM"))}
    process = subprocess.Popen(
        ["bash", str(SLURM / script), *words],
        env={**kept, "MQ_VENV": sys.prefix, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_systemd_is_told_when_clients_can_connect_and_when_it_stops(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running_server() as server:
            assert listening.recv(100) == b"READY=1"
            with mqclient.Client(address_file=server.address_file) as client:
                client.ping()
            assert server.stop() == 0
            assert listening.recv(100) == b"STOPPING=1"


def test_an_array_of_workers_ends_what_it_can_and_hands_back_the_rest(tmp_path):
    started, go_on = tmp_path / "started", tmp_path / "go on"
    script = 'touch "$1"; until [ -e "$2" ]; do sleep 0.05; done'
    work = ["work.q", "sh", "-c", script, "sh", str(started), str(go_on)]
    with running_server() as server, mqclient.Client(address_file=server.address_file) as client:
        client.create("work.q")
        client.push("work.q", 1)
        address = {"MQ_ADDRESS_FILE": str(server.address_file)}
        with batch_job("workers.sbatch", *work, **address) as job:
            wait_for(started)
            job.send_signal(signal.SIGTERM)
            go_on.touch()
            assert job.wait(PATIENCE_SECONDS) == 0, job.stdout.read()
        assert (client.info("work.q").ready, client.info("work.q").leased) == (0, 0)
        started.unlink()
        go_on.unlink()
        client.push("work.q", 2)
        with batch_job("workers.sbatch", *work, **address) as job:
            wait_for(started)
            job.send_signal(signal.SIGTERM)
            job.send_signal(signal.SIGHUP)  # a second signal: the drain is not waited for
            assert job.wait(PATIENCE_SECONDS) == 0, job.stdout.read()
        (left,) = client.peek("work.q")
        assert (left.body, left.attempts, left.losses) == (2, 0, 0)


@pytest.mark.parametrize("words", [[], ["jobs"]])
def test_an_array_of_workers_wants_a_queue_and_a_command(words):
    with batch_job("workers.sbatch", *words) as job:
        assert job.wait(PATIENCE_SECONDS) == 2
        assert "usage: sbatch workers.sbatch QUEUE COMMAND..." in job.stdout.read()


def test_a_server_as_a_job_stops_cleanly_when_its_time_is_up(tmp_path):
    address_file = tmp_path / "address.json"
    variables = {
        "MQD_LOCAL": str(tmp_path / "data"),
        "MQD_ADDRESS": str(address_file),
        "MQD_PORT": "0",
        "SLURMD_NODENAME": "127.0.0.1",
    }
    with batch_job("server.sbatch", **variables) as job:
        wait_for(address_file)
        with mqclient.Client(address_file=address_file) as client:
            client.create("jobs")
            client.push("jobs", 1)
        job.send_signal(signal.SIGTERM)
        assert job.wait(PATIENCE_SECONDS) == 0
        assert job.stdout.read().splitlines()[-1].endswith("stopped")
    assert not address_file.exists()
    with batch_job("server.sbatch", **variables):
        wait_for(address_file)
        with mqclient.Client(address_file=address_file) as client:
            assert client.info("jobs").ready == 1
