"""The whole server under load: `python -m mqd` on a data directory, and clients over TCP.

Every client is a thread with a connection of its own that pushes or pulls without pause
and writes down what it asked for and what it was told. It ends when the server does not
answer any more; what is unanswered then is in doubt.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from crash.reports import Violation
from crash.script import make_body, tag_of
from mqclient import Client, MqError
from mqwire.address import Address
from mqwire.levels import Level
from support.ledger import Event, Pull, Push, judge
from support.server import PASSWORD, ROOT, write_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from crash.mounts import CuttableDisk

QUEUES = ("jobs", "results")
PRODUCERS = 3
CONSUMERS = 2
START_SECONDS = 30.0
_LAST_WORDS_SECONDS = 2.0
GONE_SECONDS = 10.0
"""How long a server may take to end on a noisy machine; it promises less than a second."""

ALL_LEVELS = (Level.SYNCED, Level.SYNCED, Level.WRITTEN, Level.WRITTEN, Level.ACCEPTED)
"""What clients ask for, as often as it stands here."""


class ServerProcess:
    """A server on one data directory, started again and again.

    Args:
        outside: a directory for its configuration and its output.
        data: its data directory.
        overrides: of its configuration, by section.
    """

    def __init__(
        self, outside: Path, data: Path, overrides: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        self._outside = outside
        self._process: subprocess.Popen[bytes] | None = None
        config: dict[str, dict[str, Any]] = {
            "storage": {
                "path": str(data),
                "segment_bytes": 2**18,
                "snapshot_interval_seconds": 0.1,
            },
            "frame_log": {"compress": False},
            "limits": {"max_frame_bytes": 2**16, "max_body_bytes": 2**13},
        }
        for section, values in (overrides or {}).items():
            config[section] = {**config.get(section, {}), **values}
        self._config = write_config(outside, config)

    @property
    def _stderr(self) -> Path:
        return self._outside / "stderr"

    @property
    def text(self) -> str:
        """What it has said."""
        return self._stderr.read_text(errors="replace")

    def start(self) -> None:
        """Start it; it does not serve at once."""
        self._address.unlink(missing_ok=True)  # of one that was killed
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mqd", "--config", str(self._config)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={k: v for k, v in os.environ.items() if not k.startswith(("MQD_", "MQ_"))},
            )

    @property
    def _address(self) -> Path:
        return self._outside / "address.json"

    def wait_until_it_serves(self) -> str:
        """Return its address, with an administrator's credentials.

        Raises:
            Violation: it does not start.
        """
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._address.exists():
                urls = Address.from_json(self._address.read_text()).urls
                place = next(url for url in urls if url.startswith("mq://"))
                return place.replace("mq://", f"mq://admin:{PASSWORD.replace(' ', '%20')}@")
            if self._process.poll() is not None:
                break
            time.sleep(0.005)
        raise Violation(f"the server does not start: {self.text}")

    def kill(self) -> None:
        """Kill it, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.check()

    def stop(self) -> None:
        """Have it end in good order."""
        assert self._process is not None
        self._process.terminate()
        self.wait_until_gone(0)

    def wait_until_gone(self, *codes: int) -> None:
        """Wait for its end.

        Raises:
            Violation: it does not end, or with another code.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            code = process.wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Violation(f"the server lives on: {self.text}") from None
        if (code not in codes) if codes else not code:
            raise Violation(f"the server has ended with {code}: {self.text}")
        self.check()

    def check(self) -> None:
        """Make sure that it has not stumbled.

        The process that makes a snapshot may outlive its server, and find nobody to tell.
        """
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while any("store/fold.py" not in each for each in self.text.split("Traceback")[1:]):
            if time.monotonic() > deadline:
                raise Violation(f"the server has stumbled: {self.text}")
            time.sleep(0.05)


class Worker(threading.Thread):
    """A client that works until the server is gone.

    Args:
        name: its name in the history.
        url: the server.
        run: which run of the server.
        chooser: what it draws from.
        levels: the levels that it asks for.
    """

    def __init__(
        self,
        name: str,
        url: str,
        run: int,
        chooser: random.Random,
        levels: Sequence[Level] = ALL_LEVELS,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._levels = levels
        self._url = url
        self._run_number = run
        self._chooser = chooser
        self.events: list[tuple[Event, float]] = []
        """What it did, and when it was told that it was done."""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with Client(
                self._url, connect_timeout=2.0, timeout=20.0, name=self.name, keys=False
            ) as client:
                while True:
                    self._work(client)
        except MqError:
            return  # the server is gone
        except BaseException as error:  # noqa: BLE001  told to the one who looks
            self.error = error

    def _work(self, client: Client) -> None:
        raise NotImplementedError

    def _try(self, event: Any, level: Level, call: Any) -> None:
        """Ask for something; what it was told goes into the history."""
        index = len(self.events)
        self.events.append((event, time.monotonic()))
        try:
            told = call()
        except MqError as error:
            if not getattr(error, "in_doubt", False):
                del self.events[index]
            raise
        self.events[index] = (event._replace(level=level, **told), time.monotonic())


class Producer(Worker):
    """Pushes one or more messages at a time."""

    def _work(self, client: Client) -> None:
        chooser = self._chooser
        queue, level = chooser.choice(QUEUES), chooser.choice(self._levels)
        count = chooser.choice((1, 1, 2, 5))
        first = f"{self._run_number}.{self.name}.{len(self.events)}"
        tags = tuple(f"{first}.{number}" for number in range(count))
        bodies = [make_body(tag, chooser.randrange(400)) for tag in tags]
        event = Push(queue, self.name, tags, self._run_number)

        def call() -> dict[str, Any]:
            ids = client.push_many(queue, bodies, durability=level.word)
            return {"first_id": ids[0]}

        self._try(event, level, call)


class Consumer(Worker):
    """Pulls up to some messages at a time."""

    def _work(self, client: Client) -> None:
        chooser = self._chooser
        level = chooser.choice(self._levels)
        pull(self, client, chooser.choice(QUEUES), chooser.choice((1, 4, 16)), level, 0.02)


def pull(worker: Worker, client: Client, queue: str, most: int, level: Level, wait: float) -> int:
    """Pull, and write it down. Returns how many messages came."""
    got = 0

    def call() -> dict[str, Any]:
        nonlocal got
        messages = client.pull_many(queue, most, wait=wait, durability=level.word)
        got = len(messages)
        return {
            "ids": tuple(message.id for message in messages),
            "bodies": tuple(tag_of(message.body) for message in messages),
        }

    worker._try(Pull(queue, worker.name, most, worker._run_number), level, call)
    return got


class History:
    """What all clients have seen over all runs of a server.

    Args:
        promised: the lowest level that must survive what ends the runs.
    """

    def __init__(self, promised: Level) -> None:
        self._promised = promised
        self._events: list[Event] = []

    def take(self, workers: list[Worker], until: float) -> Counter[str]:
        """Take what workers have seen; nobody has heard of what was told after `until`."""
        counts: Counter[str] = Counter()
        for worker in workers:
            if worker.error is not None:
                raise worker.error
            for event, told_at in worker.events:
                if told_at < until:
                    self._events.append(event)
                    counts["operations"] += 1
                elif isinstance(event, Push):
                    self._events.append(event._replace(level=None, first_id=0))
                elif isinstance(event, Pull):
                    self._events.append(event._replace(level=None, ids=(), bodies=()))
        return counts

    def write(self, path: Path) -> None:
        """Write it down, for whoever has to look into it."""
        path.write_text("".join(f"{event}\n" for event in self._events))

    def judge(self) -> Counter[str]:
        """Have the ledger judge it."""
        verdict = judge(self._events, self._promised)
        if verdict.violations:
            raise Violation("; ".join(verdict.violations[:10]))
        return Counter({f"messages.{name}": count for name, count in verdict.counts.items()})


class ServerRuns:
    """Runs of a server on one directory, each under load and ended from outside.

    Args:
        outside: a directory for what is not the server's data.
        data: its data directory.
        seed: what clients do.
        promised: the lowest level that must survive what ends the runs.
        levels: those that clients ask for.
    """

    def __init__(
        self,
        outside: Path,
        data: Path,
        seed: str,
        promised: Level,
        levels: Sequence[Level] = ALL_LEVELS,
    ) -> None:
        self.server = ServerProcess(outside, data)
        self._outside = outside
        self._seed = seed
        self._levels = levels
        self._run = 0
        self._workers: list[Worker] = []
        self._history = History(promised)

    @property
    def is_busy(self) -> bool:
        """Whether clients are at work."""
        return bool(self._workers)

    def start(self) -> None:
        """Start the server, without waiting for it."""
        self._run += 1
        self.server.start()

    def let_clients_work(self) -> None:
        """Wait until it serves, and start the clients."""
        url = self.server.wait_until_it_serves()
        with Client(url, name="maker") as client:
            for queue in QUEUES:
                client.create(queue, if_missing=True)
        kinds = [Producer] * PRODUCERS + [Consumer] * CONSUMERS
        for number, kind in enumerate(kinds):
            name = f"{kind.__name__.lower()}-{number}"
            chooser = random.Random(f"{self._seed}.{self._run}.{name}")
            worker = kind(name, url, self._run, chooser, self._levels)
            self._workers.append(worker)
            worker.start()

    def end(self, until: float) -> Counter[str]:
        """Gather what the clients have seen; the server is gone."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.join(2 * GONE_SECONDS)
            if worker.is_alive():
                raise Violation(f"{worker.name} still waits for a server that is gone")
        return self._history.take(workers, until)

    def finish(self) -> Counter[str]:
        """Start once more, drain all queues, stop in good order, judge."""
        self.start()
        url = self.server.wait_until_it_serves()
        drain = Consumer("drain", url, self._run, random.Random(0))
        with Client(url, name="drain") as client:
            for queue in QUEUES:
                client.create(queue, if_missing=True)
                while pull(drain, client, queue, 1000, Level.SYNCED, 0.0):
                    pass
        counts = self._history.take([drain], float("inf"))
        self.server.stop()
        self._history.write(self._outside / "history")
        return counts + self._history.judge()


class ServerLoad:
    """The whole server as a load for cuts of the power. See `crash.cuts.Load`.

    Args:
        disk: the disk.
        seed: what clients do, and when the power goes.
        is_control: whether what is only `written` is taken for promised: it must be lost.
    """

    def __init__(self, disk: CuttableDisk, seed: str, *, is_control: bool = False) -> None:
        levels = (Level.WRITTEN,) if is_control else ALL_LEVELS
        promised = Level.WRITTEN if is_control else Level.SYNCED
        self._runs = ServerRuns(disk.outside, disk.root / "data", seed, promised, levels)
        self._chooser = random.Random(seed)
        self._cut_at = 0.0

    def start(self) -> None:
        """See `Load`."""
        self._runs.start()

    def wait_for_moment(self) -> str:
        """See `Load`."""
        if self._chooser.random() < 0.15:
            time.sleep(self._chooser.uniform(0, 0.8))
            return "server_start"
        self._runs.let_clients_work()
        time.sleep(self._chooser.uniform(0, 0.4))
        return "server_load"

    def cut_begins(self) -> None:
        """See `Load`."""
        self._cut_at = time.monotonic()

    def stop(self) -> None:
        """See `Load`. A server with something to do and no disk has to end by itself."""
        try:
            if self._runs.is_busy:
                self._runs.server.wait_until_gone()
        finally:
            self._runs.server.kill()

    def judge(self) -> Counter[str]:
        """See `Load`. That the server starts again is seen when it does."""
        return self._runs.end(self._cut_at)

    def finish(self) -> Counter[str]:
        """See `Load`."""
        return self._runs.finish()
