"""The command behind `scripts/hold`: a job that no thread of its process can interrupt.

A worker takes a job and holds the interpreter lock in C, so that its process runs no Python at
all; a thread of its own that would tick meanwhile proves it. A second worker asks for jobs of
the queue all the time. The lease must be extended from outside, the second worker must get
nothing, and the job must be done by the first, delivered once.

Exit codes: 0 it held, 1 it did not.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import threading
import time
from typing import Any

import click

import mqclient
from support.server import ROOT, running_server

QUEUE = "jobs"
_TICK_SECONDS = 0.01
_KINDS = ("blocking", "asyncio")


def _longest_silence(stop: threading.Event, silence: list[float]) -> None:
    """Tick, and keep the longest time between two ticks."""
    last = time.monotonic()
    while not stop.wait(_TICK_SECONDS):
        now = time.monotonic()
        silence[0] = max(silence[0], now - last)
        last = now
    silence[0] = max(silence[0], time.monotonic() - last)


def _hold(job: Any, seconds: float) -> None:
    """Hold the lock, and say how long nothing else could run."""
    stop, silence = threading.Event(), [0.0]
    ticker = threading.Thread(target=_longest_silence, args=(stop, silence))
    ticker.start()
    sys.stdout.write(f"begun {job.id}\n")
    sys.stdout.flush()
    # PyDLL, other than CDLL, keeps the interpreter lock while the function runs.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    stop.set()
    ticker.join()
    sys.stdout.write(json.dumps({"silence": silence[0], "is_lost": job.is_lost}) + "\n")
    sys.stdout.flush()


def _work(url: str, lease: float, seconds: float) -> None:
    with mqclient.Client(url) as client:
        for job in client.consume(QUEUE, lease=lease, wait=1):
            with job:
                _hold(job, seconds)


async def _work_async(url: str, lease: float, seconds: float) -> None:
    async with mqclient.AsyncClient(url) as client:
        async for job in client.consume(QUEUE, lease=lease, wait=1):
            async with job:
                _hold(job, seconds)


def _watch(client: mqclient.Client, worker: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask for the job until the worker has ended; count what comes, and the extensions."""
    assert worker.stdout is not None
    begun = worker.stdout.readline()
    assert begun.startswith("begun"), begun
    stolen = extensions = 0
    deadline, shortest = 0.0, float("inf")
    while worker.poll() is None:
        if client.lease(QUEUE, seconds=5, wait=0.2) is not None:
            stolen += 1
        for holder in client.holders(QUEUE):
            extensions += holder.deadline_at > deadline
            deadline = holder.deadline_at
            shortest = min(shortest, deadline - time.time())
    told = json.loads(worker.stdout.readline())
    return {
        "silence_seconds": round(told["silence"], 3),
        "is_lost": told["is_lost"],
        "extensions": extensions - 1,
        "shortest_left_seconds": round(shortest, 3),
        "stolen": stolen,
    }


def _run(kind: str, lease: float, seconds: float) -> dict[str, Any]:
    with running_server() as server, mqclient.Client(server.url) as client:
        client.create(QUEUE)
        client.push(QUEUE, {"hold": seconds})
        command = [sys.executable, "-m", "support.holding", "--worker", server.url]
        command += ["--kind", kind, "--lease", str(lease), "--seconds", str(seconds)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            found = _watch(client, worker)
        finally:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()
        info = client.info(QUEUE)
        left = info.ready + info.leased + info.dead + info.delayed
        return {"kind": kind, **found, "acked": info.acked, "left": left}


def _holds(found: dict[str, Any], seconds: float) -> bool:
    return (
        found["silence_seconds"] >= seconds * 0.99
        and (found["stolen"], found["acked"], found["left"]) == (0, 1, 0)
        and not found["is_lost"]
    )


@click.command()
@click.option("--seconds", default=120.0, show_default=True, help="How long the lock is held.")
@click.option("--lease", default=10.0, show_default=True, help="Time of the lease.")
@click.option("--kind", type=click.Choice(_KINDS), help="One kind of client alone.")
@click.option("--worker", hidden=True, help="Be the worker, of the server at this URL.")
def main(seconds: float, lease: float, kind: str | None, worker: str | None) -> None:
    """Have a job hold the interpreter lock, and look whether it stays its worker's."""
    if worker is not None:
        if kind == "asyncio":
            import asyncio

            asyncio.run(_work_async(worker, lease, seconds))
        else:
            _work(worker, lease, seconds)
        return
    is_well = True
    for each in _KINDS if kind is None else (kind,):
        found = _run(each, lease, seconds)
        click.echo(json.dumps(found))
        is_well = _holds(found, seconds) and is_well
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
