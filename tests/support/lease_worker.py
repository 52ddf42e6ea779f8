"""A worker process for tests: takes jobs, and says on its standard output what happens to it.

    python lease_worker.py KIND ADDRESS_FILE QUEUE LEASE_SECONDS WORK PREFETCH

KIND is `blocking` or `asyncio`. WORK is what a job does:

    hold     nothing, until a line comes on standard input; then it ends well
    lock     hold the interpreter lock in C for three seconds
    leave    end the process at once, with os._exit
    exit     sys.exit

It says `begun ID`, `done ID`, `lost ID`, `drained ID`, and `end` behind the loop; warnings of
the client go to standard error.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import sys
from typing import Any

import mqclient

LOCK_SECONDS = 3.0
LOOK_SECONDS = 0.02


def say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def is_told() -> bool:
    return bool(select.select([sys.stdin], [], [], LOOK_SECONDS)[0])


def start(job: Any, work: str) -> None:
    say("begun", job.id)
    if work == "lock":
        # PyDLL, other than CDLL, keeps the interpreter lock while the function runs.
        ctypes.PyDLL(None).usleep(int(LOCK_SECONDS * 1e6))
    elif work == "leave":
        os._exit(7)
    elif work == "exit":
        sys.exit(0)


def finish(job: Any) -> None:
    say("lost" if job.is_lost else "done", job.id)


def blocking(address_file: str, queue: str, how: dict[str, Any], work: str) -> None:
    with mqclient.Client(address_file=address_file) as client:
        for job in client.consume(queue, **how):
            with job:
                try:
                    start(job, work)
                    while work == "hold" and not is_told():
                        pass
                    if work == "hold":
                        sys.stdin.readline()
                except mqclient.Drained:
                    say("drained", job.id)
                    raise
                job.done()
                finish(job)
            if job.is_lost:
                say("lost", job.id)
    say("end")


async def asynchronous(address_file: str, queue: str, how: dict[str, Any], work: str) -> None:
    async with mqclient.AsyncClient(address_file=address_file) as client:
        async for job in client.consume(queue, **how):
            async with job:
                try:
                    start(job, work)
                    while work == "hold" and not is_told():
                        await asyncio.sleep(0)
                    if work == "hold":
                        sys.stdin.readline()
                except asyncio.CancelledError:
                    say("drained", job.id)
                    raise
                await job.done()
                finish(job)
            if job.is_lost:
                say("lost", job.id)
    say("end")


def main() -> None:
    kind, address_file, queue, seconds, work, prefetch = sys.argv[1:]
    how = {"lease": float(seconds), "prefetch": int(prefetch)}
    if kind == "blocking":
        blocking(address_file, queue, how, work)
    else:
        asyncio.run(asynchronous(address_file, queue, how, work))


if __name__ == "__main__":
    main()
