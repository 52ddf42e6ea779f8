"""A server with something going on, to take pictures of: a sweep, its workers, and what fails."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from mqwire.packs import join_bodies
from support.raw import Raw
from support.server import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import RunningServer
    from support.web import RunningGateway

QUEUES: Final[tuple[dict[str, Any], ...]] = (
    {"queue": "sweep.lr", "dead_letter": "sweep.dead", "max_attempts": 3, "max_leased": 64,
     "backoff": "exponential", "backoff_seconds": 20, "keep_results_seconds": 3600},
    {"queue": "results", "max_messages": 100_000},
    {"queue": "thumbnails", "max_messages": 50},
    {"queue": "etl.nightly", "max_attempts": 2},
    {"queue": "mail", "max_messages": 10_000},
)  # fmt: skip
HOSTS: Final = ("gpu-03", "gpu-07", "gpu-11")
TRACEBACKS: Final = (
    """Traceback (most recent call last):
  File "train.py", line 88, in <module>
    loss = step(model, batch)
  File "train.py", line 52, in step
    return criterion(model(batch.x), batch.y)
RuntimeError: CUDA out of memory: tried to allocate 2.50 GiB""",
    """Traceback (most recent call last):
  File "train.py", line 31, in load
    return np.load(path)
FileNotFoundError: /scratch/digits/fold-7.npz""",
)


class Worker:
    """Somebody who pulls from the sweep, holds a few jobs and says what came of them."""

    def __init__(self, server: RunningServer, host: str) -> None:
        self._raw = Raw(server, None)
        said = {"client": "mqclient/0.1.0 train.py", "instance": f"{host}.4711", "host": host}
        self._raw.ok("AUTH", {"user": "agent", "password": PASSWORD}, said)
        self._held: list[Any] = []

    def pull(self, count: int) -> None:
        ids, *_, lease = self._raw.ok("PULL", "sweep.lr", count, {"lease": 1800})
        if ids:
            self._held.append(lease)

    def settle(self, failing: str | None) -> None:
        if len(self._held) < 2:
            return
        lease = self._held.pop(0)
        if failing is not None:
            self._raw.ok("REJECT", lease, {"reason": failing})
            return
        result = json.dumps({"loss": 0.0427, "epochs": 30})
        self._raw.ok("ACK", lease, {"result": result})
        self._raw.ok("PUSH", "results", 1, join_bodies([result]))


def _play(gateway: RunningGateway, end: threading.Event) -> None:
    workers = [Worker(gateway.server, host) for host in HOSTS]
    with gateway.client() as web:
        number = 0
        while not end.wait(0.25):
            number += 1
            bodies = [
                {"lr": round(10 ** -(1 + (number + k) % 4), 5), "seed": number, "fold": k}
                for k in range(round(3 + 2.4 * math.sin(number / 9)))
            ]
            messages = [{"body": body, "headers": {"sweep": "b"}} for body in bodies]
            if messages:
                web.post("/v1/queues/sweep.lr/messages", json={"messages": messages})
            for place, worker in enumerate(workers):
                worker.pull(1 + (number + place) % 2)
                is_bad = number % 37 == 7 * place + 5
                worker.settle(TRACEBACKS[place % 2] if is_bad else None)
            if number % 3 == 0:
                web.post("/v1/queues/mail/messages", json={"body": {"to": "ada", "n": number}})
            if number % 4 == 0:
                web.post("/v1/queues/mail/pull")
            if number % 6 == 0:
                web.post("/v1/queues/results/pull", params={"max": 5})


def _prepare(web: Any) -> None:
    for form in QUEUES:
        assert web.post("/v1/queues", json=form).is_success
    images = [{"body": {"image": f"s3/shots/{n:04}.tiff", "width": 320}} for n in range(47)]
    web.post("/v1/queues/thumbnails/messages", json={"messages": images})
    web.post("/v1/queues/etl.nightly/messages", json={"body": {"table": "runs"}, "delay": 7200})
    web.post("/v1/queues/etl.nightly/messages", json={"body": {"table": "jobs"}})
    web.post("/v1/queues/etl.nightly/pause")
    for name, role in (("ada", "manager"), ("noor", "secretary"), ("dashboard", "basic")):
        form = {"user": name, "role": role, "password": "battery staple"}
        assert web.post("/v1/users", json=form).is_success
    said = {"user": "admin", "password": PASSWORD, "role": "user", "comment": "Grafana"}
    web.post("/token", json=said)


@contextlib.contextmanager
def playing(gateway: RunningGateway) -> Iterator[None]:
    """Have it going on until the block ends."""
    with gateway.client() as web:
        _prepare(web)
    end = threading.Event()
    play = threading.Thread(target=_play, args=(gateway, end))
    play.start()
    try:
        yield
    finally:
        end.set()
        play.join()


def wait(seconds: float) -> None:
    """Let it go on for a while."""
    time.sleep(seconds)
