"""Where messages are, what became of them, and what happens: both clients, mqctl, a real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import mqclient
from mqclient.ctl import exits
from mqwire.verbs import VERBS
from support.both_clients import KINDS, ClientMaker
from support.both_jobs import begin, work
from support.server import ROOT, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(90)

COMMAND = [sys.executable, "-m", "mqclient.ctl"]
PATIENCE_SECONDS = 20.0


def needs(verb: str):
    return pytest.mark.skipif(verb not in VERBS, reason=f"the server has no {verb}")


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture
def client(server, queue: str, make_client) -> Any:
    client = make_client(server.url)
    client.create(queue, keep_results_seconds=3600)
    return client


@pytest.fixture
def other(server) -> Iterator[mqclient.Client]:
    with mqclient.Client(server.url) as client:
        yield client


def states(found) -> list[str]:
    return [each.state for each in found]


# STATUS


@needs("STATUS")
def test_a_message_is_followed_from_its_push_to_its_end(client, other, queue: str):
    ids = client.push_many(queue, ["a", "b", "c", "d"])
    assert states(client.status(queue, [*ids, 99])) == ["ready"] * 4 + ["unknown"]
    assert [each.position for each in client.status(queue, ids)] == [0, 1, 2, 3]
    lease = other.lease(queue, 3)
    first = client.status(queue, 1)[0]
    assert (first.state, first.lease, first.deliveries) == ("leased", lease.id, 1)
    assert first.holder.endswith(other.instance)
    lease.ack([1], result={"score": 0.5})
    lease.reject([2], reason="no such file")
    lease.nack([3], delay=600)
    done, dead, delayed, ready = client.status(queue, ids)
    assert (done.state, done.result, done.is_over) == ("done", {"score": 0.5}, True)
    assert (dead.state, dead.cause, dead.error) == ("dead", "reject", "no such file")
    assert (delayed.state, delayed.attempts, delayed.due_at > time.time()) == ("delayed", 1, True)
    assert ready.state == "ready"


@needs("STATUS")
def test_a_wait_ends_with_the_last_of_them(client, other, queue: str):
    ids = client.push_many(queue, ["a", "b"])

    def finish() -> None:
        for job in other.consume(queue, wait=0, handle_signals=False):
            job.done(result=job.body * 2)

    worker = threading.Timer(0.1, finish)
    worker.start()
    assert [each.result for each in client.wait(queue, ids)] == ["aa", "bb"]
    worker.join()
    assert states(client.wait(queue, ids, timeout=5)) == ["done", "done"]


@needs("STATUS")
def test_a_wait_whose_time_is_over_tells_how_things_are(client, queue: str):
    message_id = client.push(queue, "a")
    [status] = client.wait(queue, message_id, timeout=0.05)
    assert (status.state, status.is_over) == ("ready", False)


@needs("STATUS")
def test_a_queue_that_keeps_no_results(other, make_client, server, queue: str):
    client = make_client(server.url)
    client.create(queue)
    client.push(queue, "a")
    lease = other.lease(queue)
    lease.ack(result="lost")
    [status] = client.status(queue, 1)
    assert (status.state, status.result) == ("gone", None)
    client.delete(queue)
    with pytest.raises(mqclient.QueueNotFound):
        client.status(queue, 1)


@needs("STATUS")
def test_who_waits_for_a_job_that_was_redriven_is_told_of_its_end(
    make_client, other, server, queue: str
):
    client = make_client(server.url)
    letters = f"{queue}.dead"
    client.create(queue, dead_letter=letters, keep_results_seconds=60)
    message_id = client.push(queue, "a")
    other.lease(queue).reject(reason="no such file")
    assert client.wait(queue, message_id)[0].state == "dead"
    assert other.redrive(letters) == 1

    def finish() -> None:
        other.lease(queue).ack(result=42)

    worker = threading.Timer(0.1, finish)
    worker.start()
    [status] = client.wait(queue, message_id)
    assert (status.id, status.state, status.result) == (message_id, "done", 42)
    assert status.moved_to == (queue, message_id + 1)
    worker.join()


@needs("STATUS")
def test_a_result_may_come_with_a_push(client, queue: str):
    client.push(queue, 5)
    loop = begin(client, queue)
    job = loop.next()
    loop.wait(job.done(push={queue: ["more"]}, result=25))
    loop.close()
    [first, second] = client.status(queue, [1, 2])
    assert (first.result, second.state) == (25, "ready")


@needs("STATUS")
def test_a_result_has_a_bound(client, queue: str):
    client.push(queue, 5)
    loop = begin(client, queue)
    job = loop.next()
    with pytest.raises(mqclient.OutOfRange):
        loop.wait(job.done(result=b"x" * 65537))
    loop.wait(job.done(result=b"x" * 65536))
    loop.close()
    assert len(client.status(queue, 1)[0].result) == 65536


@needs("STATUS")
@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_goes_on_over_a_restart(kind: str):
    maker = ClientMaker(kind)
    with running_server() as first:
        socket_path = first.directory / "mqd.sock"
        client = maker(first.unix_url_for("admin"))
        client.create("q", keep_results_seconds=3600)
        assert client.push("q", "a") == 1
        found: list[Any] = []
        waiter = threading.Thread(target=lambda: found.extend(client.wait("q", 1, timeout=60)))
        waiter.start()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        socket_path.unlink()
        with running_server(directory=first.directory) as second:
            with mqclient.Client(second.url) as other:
                other.lease("q").ack(result=1)
            waiter.join(60)
            assert [(each.state, each.result) for each in found] == [("done", 1)]
            maker.close()


# CANCEL


@needs("CANCEL")
def test_what_waits_is_removed_and_what_is_at_work_is_told(client, other, queue: str):
    ids = client.push_many(queue, ["a", "b", "c"])
    seen: list[int] = []
    told: list[bool] = []

    async def until_told(job: Any) -> None:
        await asyncio.wait_for(job.cancelled.wait(), PATIENCE_SECONDS)
        told.append(job.cancelled.is_set())
        job.raise_if_cancelled()

    def handle(job: Any) -> Any:
        seen.append(job.id)
        assert other.cancel(queue, ids) == (2, 1)
        if hasattr(client, "loop"):
            return until_told(job)
        told.append(job.cancelled.wait(PATIENCE_SECONDS))
        return job.raise_if_cancelled()

    # A lease that outlasts a busy machine: one that runs out is told as lost, not as cancelled.
    work(client, handle, queue, lease=3.0, wait=0)
    assert (seen, told) == ([1], [True])
    assert states(client.wait(queue, ids, timeout=PATIENCE_SECONDS)) == ["cancelled"] * 3
    info = client.info(queue)
    assert (info.cancelled, info.ready, info.leased, info.acked) == (3, 0, 0, 0)
    assert client.cancel(queue, ids) == (0, 0)


# WATCH


class Seen:
    """What a watch tells, read by a thread of its own."""

    def __init__(self, server, queue: str, **options: Any) -> None:
        self.events: list[mqclient.Event] = []
        self._client = mqclient.Client(server.url)
        self._watch = self._client.watch(queue, **options)
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        self.events.extend(self._watch)

    def __enter__(self):
        self._watch.__enter__()
        self._thread.start()
        return self

    def until(self, kind: str) -> list[str]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while kind not in self.kinds():
            assert time.monotonic() < deadline, self.kinds()
        return self.kinds()

    def kinds(self) -> list[str]:
        return [each.kind for each in self.events]

    def __exit__(self, *_):
        self._watch.close()
        self._thread.join(PATIENCE_SECONDS)
        self._client.close()


@needs("WATCH")
def test_a_watch_tells_the_life_of_a_message(server, client, queue: str):
    with Seen(server, queue) as seen:
        client.push(queue, "a", headers={"h": 1})
        lease = client.lease(queue)
        loop = begin(client, queue)
        loop.wait(lease.nack(reason="no", delay=0))
        again = client.lease(queue, wait=PATIENCE_SECONDS)
        loop.wait(again.ack())
        client.delete(queue)
        kinds = seen.until("deleted")
    assert [kind for kind in kinds if kind != "ready"] == [
        "pushed",
        "leased",
        "nacked",
        "leased",
        "acked",
        "deleted",
    ]
    nacked = seen.events[2]
    assert (nacked.ids, nacked.lease, nacked.reason) == ([1], lease.id, "no")


@needs("WATCH")
def test_both_clients_watch(client, other, queue: str):
    async def watch() -> list[Any]:
        told = []
        async with client.client.watch(queue, events=["pushed"], credit=4) as watching:
            for number in range(3):
                other.push(queue, number)
            async for event in watching:
                told += event.ids
                if len(told) == 3:
                    break
        return told

    if hasattr(client, "loop"):
        assert client.loop.run_until_complete(watch()) == [1, 2, 3]
        return
    told = []
    with client.watch(queue, events=["pushed"], credit=4) as watching:
        for number in range(3):
            other.push(queue, number)
        for event in watching:
            told += event.ids
            if len(told) == 3:
                break
    assert told == [1, 2, 3]


@needs("WATCH")
def test_a_slow_watch_is_told_what_it_has_missed(server, queue: str, other):
    other.create(queue)
    with other.watch(queue, events=["pushed"], credit=2, wait=PATIENCE_SECONDS) as watching:
        for number in range(20):
            other.push(queue, number)
        told = missed = 0
        for event in watching:
            if event.kind == "missed":
                missed += event.count
            else:
                told += event.count
            if told + missed == 20:
                break
    assert missed


# mqctl


@pytest.fixture
def mqctl(server):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MQ")}
    environment = {**kept, "MQ_ADDRESS_FILE": str(server.address_file), "NO_COLOR": "1"}

    def run(*arguments: str, starts: bool = False):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment, **streams)
        if starts:
            return process
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out.decode(), err.decode()

    return run


@needs("STATUS")
def test_mqctl_status_and_wait(mqctl, other, queue: str):
    code, _, err = mqctl("create", queue, "--keep-results-seconds", "60")
    assert code == 0, err
    other.push_many(queue, ["a", "b"])
    assert mqctl("wait", queue, "1", "--for", "0.05")[0] == exits.TIMED_OUT
    lease = other.lease(queue, 2)
    lease.ack([1], result="well")
    code, out, _ = mqctl("wait", queue, "1", "--json")
    assert (code, json.loads(out)["result"]) == (0, "well")
    lease.reject([2], reason="no")
    code, out, _ = mqctl("wait", queue, "1-2")
    assert code == exits.FAILED
    assert [line.split()[:2] for line in out.splitlines()] == [["1", "done"], ["2", "dead"]]
    assert mqctl("status", queue, "2")[1].rstrip().endswith("rejected: no")
    assert mqctl("wait", queue, "77")[0] == exits.EMPTY


@needs("CANCEL")
def test_mqctl_cancel_ends_a_command(mqctl, other, queue: str, tmp_path):
    mqctl("create", queue)
    other.push_many(queue, ["a", "b"])
    started = tmp_path / "started"
    script = f"echo > {started}; exec sleep 60"
    with mqctl(
        "work",
        queue,
        "--count",
        "1",
        "--lease",
        "1",
        "--json",
        "--",
        "sh",
        "-c",
        script,
        starts=True,
    ) as worker:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not started.exists():
            assert time.monotonic() < deadline
        code, out, _ = mqctl("cancel", queue, "1-2", "--json")
        assert (code, json.loads(out)) == (0, {"queue": queue, "removed": 1, "marked": 1})
        assert json.loads(worker.stdout.readline())["result"] == "cancelled"
        assert worker.wait(PATIENCE_SECONDS) == 0
    assert mqctl("cancel", queue, "1-2")[0] == exits.EMPTY
    assert other.info(queue).cancelled == 2


@needs("WATCH")
def test_mqctl_watch_ends_well_by_ctrl_c(mqctl, other, queue: str):
    other.create(queue)
    with mqctl("watch", queue, "--event", "pushed", "--json", starts=True) as watcher:
        ended = threading.Event()

        def push() -> None:
            while not ended.wait(0.05):
                with suppress(mqclient.MqError):
                    other.push(queue, 1)

        pusher = threading.Thread(target=push)
        pusher.start()
        event = json.loads(watcher.stdout.readline())
        ended.set()
        pusher.join()
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(PATIENCE_SECONDS) == 130
        assert watcher.stderr.read().strip() == b""
    assert (event["event"], event["queue"], event["count"]) == ("pushed", queue, 1)
