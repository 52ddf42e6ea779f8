"""Workers that die, stop, hold the interpreter lock or are told to end, and a real server."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mqclient
from mqclient.keeper import keeper
from support.both_clients import KINDS, ClientMaker
from support.both_jobs import begin, work
from support.server import running_server
from support.worker_process import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import RunningServer

pytestmark = pytest.mark.timeout(90)

PATIENCE_SECONDS = 20.0


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture
def watcher(server: RunningServer, queue: str) -> Iterator[mqclient.Client]:
    """Give a client of the test's own, and a queue with one job."""
    with mqclient.Client(server.url) as client:
        client.create(queue)
        client.push(queue, "job")
        yield client


def wait_until(is_true: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it has not come"


# Workers that die


@pytest.mark.parametrize("kind", KINDS)
def test_the_job_of_a_killed_worker_is_with_another_within_two_seconds(
    server: RunningServer, watcher: mqclient.Client, queue: str, kind: str
):
    with Worker(server, kind, queue, lease=600) as worker:
        worker.hears("begun 1")
        worker.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        lease = watcher.lease(queue, wait=PATIENCE_SECONDS)
        seconds = time.monotonic() - killed_at
    [message] = lease
    assert seconds < 2
    assert (message.deliveries, message.attempts, message.losses) == (2, 0, 1)
    lease.ack()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_worker_had_not_begun_has_spent_nothing(
    server: RunningServer, watcher: mqclient.Client, queue: str, kind: str
):
    watcher.push_many(queue, ["two", "three"])
    with Worker(server, kind, queue, lease=600, prefetch=3) as worker:
        worker.hears("begun 1")
        worker.tell()
        worker.hears("done 1")
        worker.hears("begun 2")
        worker.signal(signal.SIGKILL)
        wait_until(lambda: watcher.info(queue).ready == 2)
    two, three = watcher.lease(queue, 9)
    assert (two.id, two.losses) == (2, 1)
    assert (three.id, three.losses, three.attempts) == (3, 0, 0)


def test_a_process_that_ends_without_a_word_has_lost_its_job(server, watcher, queue: str):
    with Worker(server, "blocking", queue, lease=600, work="leave") as worker:
        worker.hears("begun 1")
        assert worker.ends() == 7
        [message] = watcher.lease(queue, wait=PATIENCE_SECONDS)
    assert message.losses == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_exits_hands_its_job_back(server, watcher, queue: str, kind: str):
    with Worker(server, kind, queue, lease=600, work="exit") as worker:
        worker.hears("begun 1")
        assert worker.ends() == 0
        [message] = watcher.lease(queue, wait=PATIENCE_SECONDS)
        assert worker.errors == []
    assert (message.deliveries, message.attempts, message.losses) == (2, 0, 0)


def keeper_of(worker: Worker) -> int:
    """Return the process of a worker's keeper, once it is the program that it is to be."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    pid = int(children.read_text())
    wait_until(lambda: b"mqclient.keeping" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended; whoever inherits it may take its time to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("kind", KINDS)
def test_the_keeper_ends_with_its_worker(server, watcher, queue: str, kind: str):
    with Worker(server, kind, queue, lease=600) as worker:
        worker.hears("begun 1")
        pid = keeper_of(worker)
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        address = server.address
        assert address.token.encode() not in command
        assert address.token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        worker.signal(signal.SIGKILL)
        wait_until(lambda: has_ended(pid))


# Workers that are stopped


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_worker_loses_its_lease_and_is_told(server, watcher, queue: str, kind: str):
    with Worker(server, kind, queue, lease=1) as worker:
        worker.hears("begun 1")
        worker.signal(signal.SIGSTOP)
        lease = watcher.lease(queue, wait=PATIENCE_SECONDS, seconds=600)
        [message] = lease
        assert (message.deliveries, message.losses) == (2, 1)
        [peeked] = watcher.peek(queue, state="leased")
        [ended] = peeked.history
        # Where the machine was too busy for the keeper to say so, the lease has run out.
        assert ended.cause == "expired" or "was stopped" in ended.reason
        worker.signal(signal.SIGCONT)
        worker.tell()
        worker.hears("lost 1")
        assert watcher.info(queue).acked == 0
        lease.ack()


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_was_stopped_for_less_goes_on(server, watcher, queue: str, kind: str):
    with Worker(server, kind, queue, lease=600) as worker:
        worker.hears("begun 1")
        worker.signal(signal.SIGSTOP)
        assert watcher.lease(queue, wait=0.3) is None
        worker.signal(signal.SIGCONT)
        worker.tell()
        worker.hears("done 1")
        assert watcher.info(queue).acked == 1


# Workers that hold the interpreter lock


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_holds_the_interpreter_lock_keeps_its_lease(
    server, watcher, queue: str, kind: str
):
    with Worker(server, kind, queue, lease=1, work="lock") as worker:
        worker.hears("begun 1")
        assert watcher.lease(queue, wait=2.5) is None
        worker.hears("done 1")
        info = watcher.info(queue)
        assert (info.acked, info.ready, info.leased) == (1, 0, 0)


# Workers that are told to end


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_hands_the_job_back_and_spends_nothing(server, watcher, queue: str, kind: str):
    with Worker(server, kind, queue, lease=600) as worker:
        worker.hears("begun 1")
        worker.signal(signal.SIGTERM)
        worker.hears("drained 1")
        worker.hears("end")
        assert worker.ends() == 0
        assert worker.errors == []
    [message] = watcher.lease(queue, wait=PATIENCE_SECONDS)
    assert (message.deliveries, message.attempts, message.losses) == (2, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_ends_a_worker_that_waits(server, watcher, queue: str, kind: str):
    watcher.purge(queue)
    with Worker(server, kind, queue, lease=600) as worker:
        wait_until(lambda: watcher.info(queue).waiting == 1)
        worker.signal(signal.SIGTERM)
        worker.hears("end")
        assert worker.ends() == 0
        wait_until(lambda: watcher.info(queue).waiting == 0)


# In this process


def test_one_loop_after_the_other(make_client, server, watcher, queue: str):
    client = make_client(server.url)
    watcher.push_many(queue, range(2, 40))
    seen: list[int] = []
    for _ in range(2):
        work(client, lambda job: seen.append(job.id), queue, wait=0.05, prefetch=7)
    assert seen == list(range(1, 40))
    info = watcher.info(queue)
    assert (info.acked, info.ready, info.leased) == (39, 0, 0)


def test_failures_are_counted_and_end_as_dead_letters(make_client, server, queue: str):
    client = make_client(server.url)
    client.create(f"{queue}-dead")
    client.create(queue, max_attempts=2, dead_letter=f"{queue}-dead")
    client.push(queue, "bad")
    seen = []

    def handle(job):
        seen.append((job.deliveries, job.attempts))
        raise ValueError("bad weather")

    work(client, handle, queue, wait=0.2)
    assert seen == [(1, 0), (2, 1)]
    assert client.info(queue).moved == 1
    assert client.info(f"{queue}-dead").ready == 1


def test_what_is_prefetched_goes_back_when_the_client_drains(make_client, server, queue: str):
    client = make_client(server.url)
    client.create(queue)
    client.push_many(queue, range(5))
    loop = begin(client, queue, prefetch=5)
    job = loop.next()
    client.drain()
    loop.wait(job.done())
    assert loop.next() is None
    with mqclient.Client(server.url) as watcher:
        wait_until(lambda: watcher.info(queue).ready == 4)
        lease = watcher.lease(queue, 9)
        assert [message.id for message in lease] == [2, 3, 4, 5]
        assert [message.attempts + message.losses for message in lease] == [0] * 4
        lease.ack()


def test_a_keeper_that_is_killed_is_replaced(make_client, server, watcher, queue: str, caplog):
    client = make_client(server.url)
    loop = begin(client, queue, lease=1.5)
    job = loop.next()
    pid = keeper().pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: keeper().pid != pid)
    assert watcher.lease(queue, wait=2.5) is None
    loop.wait(job.done())
    loop.close()
    assert watcher.info(queue).acked == 1
    assert "another one is started" in caplog.text


def test_where_no_process_can_be_started_a_thread_keeps_the_lease(
    make_client, server, watcher, queue: str, monkeypatch, caplog
):
    def refuse(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("mqclient.keeper.subprocess.Popen", refuse)
    monkeypatch.setattr("mqclient.keeper._keeper", type(keeper())())
    client = make_client(server.url)
    loop = begin(client, queue, lease=0.6)
    job = loop.next()
    assert keeper().pid is None
    assert "a thread does it" in caplog.text
    assert watcher.lease(queue, wait=1.5) is None
    loop.wait(job.done())
    loop.close()
    client.close()
    keeper().end()


def test_the_holders_of_leases_are_listed(make_client, server, watcher, queue: str):
    client = make_client(server.url, name="worker 7")
    loop = begin(client, queue, lease=30)
    job = loop.next()
    [holder] = watcher.holders(queue)
    assert (holder.lease, holder.queue, holder.count) == (job.lease, queue, 1)
    assert holder.holder == f"admin/{client.instance}"
    assert holder.client.endswith("worker 7")
    assert holder.host == os.uname().nodename
    assert holder.is_connected
    loop.wait(job.done())
    loop.close()
    assert watcher.holders(queue) == []


def test_dead_messages_are_looked_at_and_redriven(make_client, server, queue: str):
    client = make_client(server.url)
    client.create(queue, max_attempts=1)
    client.push_many(queue, [1, 2, 3])

    def handle(_job):
        raise ValueError("no")

    work(client, handle, queue, wait=0.05)
    assert client.info(queue).dead == 3
    assert client.redrive(queue, ids=[2]) == 1
    assert client.info(queue).ready == 1
    assert client.redrive(queue, count=1) == 1
    assert client.purge(queue, state="dead") == 1
    assert (client.info(queue).dead, client.info(queue).ready) == (0, 2)


# Servers that restart


@contextlib.contextmanager
def restarted(directory: Path, number: int) -> Iterator[None]:
    """Run a server, end it by a signal in the middle, and run another one there."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(directory=directory))

        def restart() -> None:
            server.stop(number)
            stack.enter_context(running_server(directory=directory))

        yield restart


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_outlives_the_server(make_client, tmp_path: Path, number: int):
    with restarted(tmp_path, number) as restart:
        client = make_client(address_file=tmp_path / "address.json")
        client.create("jobs")
        client.push_many("jobs", ["one", "two"])
        loop = begin(client, "jobs", lease=30)
        job = loop.next()
        restart()
        loop.wait(job.done())
        job = loop.next()
        assert (job.body, job.deliveries) == ("two", 1)
        loop.wait(job.done())
        loop.close()
        info = client.info("jobs")
        assert (info.acked, info.ready, info.leased) == (2, 0, 0)


def test_no_job_is_run_twice_since_the_server_restarts(make_client, tmp_path: Path):
    with restarted(tmp_path, signal.SIGKILL) as restart:
        client = make_client(address_file=tmp_path / "address.json")
        client.create("jobs")
        client.push_many("jobs", range(1000))
        loops = [begin(client, "jobs", lease=30, handle_signals=False) for _ in range(20)]
        jobs = [loop.next() for loop in loops]
        restart()
        with mqclient.Client(address_file=tmp_path / "address.json") as other:
            rest = other.lease("jobs", 1000)
            assert {message.deliveries for message in rest} == {1}
            assert len(rest) == 980
            assert other.lease("jobs", wait=1) is None
            for loop, job in zip(loops, jobs, strict=True):
                loop.wait(job.done())
            rest.ack()
            assert other.info("jobs").acked == 1000
        for loop in loops:
            loop.close()


def test_a_thousand_live_leases_survive_a_restart_and_settle(tmp_path: Path):
    with restarted(tmp_path, signal.SIGKILL) as restart, contextlib.ExitStack() as stack:
        addresses = {"address_file": tmp_path / "address.json"}
        client = stack.enter_context(mqclient.Client(**addresses))
        client.create("jobs")
        client.push_many("jobs", range(1000))
        leases = [client.lease("jobs", seconds=60) for _ in range(1000)]
        assert len({lease.id for lease in leases}) == 1000
        restart()
        other = stack.enter_context(mqclient.Client(**addresses))
        info = other.info("jobs")
        assert (info.ready, info.leased, info.dead) == (0, 1000, 0)
        assert other.lease("jobs", 1000) is None  # nothing is delivered a second time
        held = {holder.lease for holder in other.holders("jobs", count=1000)}
        assert held == {lease.id for lease in leases}
        assert leases[0].extend(90) == []
        assert sum(lease.ack() for lease in leases) == 1000
        info = other.info("jobs")
        assert (info.acked, info.ready, info.leased) == (1000, 0, 0)


def test_a_worker_rides_out_a_server_that_is_away(make_client, tmp_path: Path):
    with restarted(tmp_path, signal.SIGKILL) as restart:
        client = make_client(address_file=tmp_path / "address.json")
        client.create("jobs")
        client.push_many("jobs", range(20))
        seen = []

        def handle(job):
            seen.append(job.id)
            if job.id == 5:
                threading.Thread(target=restart).start()

        work(client, handle, "jobs", wait=3, lease=30)
        assert seen == list(range(1, 21))
        assert client.info("jobs").acked == 20


# One step


def test_a_job_is_done_and_its_results_are_pushed_in_one_step(make_client, server, queue: str):
    client = make_client(server.url)
    client.create(queue)
    client.create(f"{queue}-results", max_messages=3)
    client.push_many(queue, [1, 2])
    loop = begin(client, queue, prefetch=2)
    job = loop.next()
    loop.wait(job.done(push={f"{queue}-results": [{"of": 1}, b"raw"]}))
    job = loop.next()
    with pytest.raises(mqclient.QueueFull) as caught:
        loop.wait(job.done(push={f"{queue}-results": [3, 4]}))
    assert caught.value.details["part"] == 1
    assert not job.is_settled
    assert client.info(queue).acked == 1
    with pytest.raises(mqclient.QueueNotFound):
        loop.wait(job.done(push={f"{queue}-nowhere": [3]}))
    loop.wait(job.done(push={f"{queue}-results": [3]}))
    loop.close()
    info = client.info(queue)
    assert (info.acked, info.ready, info.leased) == (2, 0, 0)
    bodies = [message.body for message in client.pull_many(f"{queue}-results", 9)]
    assert bodies == [{"of": 1}, b"raw", 3]


@pytest.mark.parametrize(
    ("results", "error"),
    [("full", mqclient.QueueFull), ("nowhere", mqclient.QueueNotFound)],
)
def test_what_any_job_would_meet_ends_the_loop_and_costs_no_attempt(
    server: RunningServer, queue: str, results: str, error: type[Exception]
):
    with mqclient.Client(server.url) as client:
        client.create(queue, max_attempts=1)
        client.create(f"{queue}-full", max_messages=1)
        client.push(f"{queue}-full", "there is no room")
        client.push_many(queue, [1, 2, 3])
        with pytest.raises(error):
            for job in client.consume(queue, wait=0):
                with job:
                    job.done(push={f"{queue}-{results}": [job.body]})
        info = client.info(queue)
        assert (info.ready, info.dead, info.acked) == (3, 0, 0)
        assert client.pull(queue).attempts == 0


def test_a_step_with_a_lease_that_is_lost_pushes_nothing(make_client, server, queue: str):
    client = make_client(server.url)
    client.create(queue)
    client.create(f"{queue}-results")
    client.push(queue, 1)
    loop = begin(client, queue)
    job = loop.next()
    client.delete(queue)
    with pytest.raises(mqclient.LeaseLost):
        loop.wait(job.done(push={f"{queue}-results": [1]}))
    assert job.is_lost
    assert client.info(f"{queue}-results").ready == 0
    loop.close()
