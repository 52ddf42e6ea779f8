"""SIGTERM in the loops of both clients, in this process."""

from __future__ import annotations

import _thread
import asyncio
import gc
import os
import signal
import threading

import pytest

import mqclient
from mqclient import terminating
from mqclient.jobs import Job
from support.both_jobs import begin, work
from support.fake_leases import FakeLeases
from support.fake_server import PATIENCE_SECONDS, FakeServer

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def senders(monkeypatch):
    """The threads that send signals of our own: none outlives its test, and signals the next one."""
    found = Senders()
    monkeypatch.setattr(terminating, "_thread", found)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield found
    found.wait()
    signal.signal(signal.SIGTERM, before)
    terminating._own = terminating._Own()


class Senders:
    """Starts threads, and knows when they have ended."""

    def __init__(self):
        self._ends = []

    def start_new_thread(self, function, arguments):
        end = threading.Event()
        self._ends.append(end)

        def run():
            try:
                function(*arguments)
            finally:
                end.set()

        _thread.start_new_thread(run, ())

    def wait(self):
        assert all(each.wait(PATIENCE_SECONDS) for each in self._ends)


@pytest.fixture
def leases(server: FakeServer):
    return FakeLeases(server, "1", "2", "3")


@pytest.fixture
def client(server: FakeServer, make_client):
    return make_client(server.url, connect_timeout=2)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_job_under_way_is_interrupted_and_handed_back(client, leases, make_client):
    seen = []

    async def wait_for_it():
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        except asyncio.CancelledError:
            seen.append("interrupted")
            raise

    def handle(job):
        seen.append(job.id)
        if make_client.kind == "asyncio":
            terminate()
            return wait_for_it()
        try:
            terminate()
        except mqclient.Drained:
            seen.append("interrupted")
            raise
        return None

    work(client, handle, prefetch=2)
    assert seen == [1, "interrupted"]
    leases.until(lambda them: sorted(them.returned) == [1, 2])
    assert not leases.failed
    assert client.is_draining


def test_a_job_may_end_well_all_the_same(client, leases, make_client):
    def handle(_job):
        if make_client.kind == "asyncio":
            terminate()
            return finish()
        with pytest.raises(mqclient.Drained):
            terminate()
        return None

    async def finish():
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE_SECONDS)

    work(client, handle)
    assert leases.done == [1]
    assert not leases.returned


def test_a_task_that_was_interrupted_is_not_cancelled_afterwards(server, leases: FakeLeases):
    async def run():
        async with mqclient.AsyncClient(server.url) as client:
            async for job in client.consume("q"):
                async with job:
                    terminate()
                    await asyncio.sleep(PATIENCE_SECONDS)
            await asyncio.sleep(0)
            await client.ping()
            task = asyncio.current_task()
            assert not getattr(task, "cancelling", int)()  # newer than the oldest Python

    asyncio.run(run())
    assert leases.returned == [1]


def test_a_wait_is_ended(client, leases: FakeLeases, server: FakeServer):
    leases.ready.clear()
    client.ping()

    def signal_it():
        server.wait_for("PULL")
        terminate()

    thread = threading.Thread(target=signal_it)
    thread.start()
    work(client, lambda _job: None)
    thread.join()


def test_a_settlement_is_not_interrupted(server: FakeServer, leases: FakeLeases):
    ack = server.answers["ACK"]
    server.answers["ACK"] = lambda peer, frame: (
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM),
        ack(peer, frame),
    )
    with mqclient.Client(server.url) as client:
        work(client, lambda _job: None)
    assert leases.done == [1]
    assert not leases.returned


def test_a_block_is_not_interrupted_once_its_end_has_begun(server, leases, monkeypatch):
    """The signal comes before anything has been noted of the end."""
    with mqclient.Client(server.url) as client:
        jobs = client.consume("q")
        job = next(jobs)
        run = client._run
        with job:
            monkeypatch.setattr(client, "_run", lambda *of: (terminate(), run(*of))[1])
        monkeypatch.undo()
        assert next(jobs, None) is None
    assert leases.done == [1]
    assert not leases.returned


def test_a_job_without_a_block_is_not_interrupted(client, leases: FakeLeases):
    loop = begin(client)
    job = loop.next()
    terminate()
    loop.wait(job.done())
    assert loop.next() is None
    assert leases.done == [1]


def test_a_signal_before_the_block_interrupts_it_there(server: FakeServer, leases: FakeLeases):
    seen = []
    with mqclient.Client(server.url) as client:
        for job in client.consume("q"):
            terminate()
            seen.append("before")
            with job:
                seen.append("inside")
                assert not threading.Event().wait(PATIENCE_SECONDS)
                seen.append("to the end")
    assert seen == ["before", "inside"]
    assert (leases.returned, leases.done) == ([1], [])


def test_a_signal_while_the_block_is_entered_interrupts_it_there(server, leases):
    class Frame:
        f_code = Job.__enter__.__code__
        f_back = None

    with mqclient.Client(server.url) as client:
        for job in client.consume("q"):
            with job:
                client.drain()
                job.interrupt(Frame)
                assert not threading.Event().wait(PATIENCE_SECONDS)
    assert (leases.returned, leases.done) == ([1], [])


def test_a_job_may_save_what_it_has_without_being_interrupted_twice(server, leases):
    with mqclient.Client(server.url) as client:
        for job in client.consume("q"):
            terminate()
            with job:
                for _ in range(2):  # as two signals of our own, both on their way
                    terminating.interrupt_in_block(job)
                try:
                    assert not threading.Event().wait(PATIENCE_SECONDS)
                except mqclient.Drained:
                    assert not threading.Event().wait(0.1)
                    job.done()
    assert (leases.returned, leases.done) == ([], [1])


def test_a_block_that_has_ended_before_the_signal_comes_once_more_is_done(server, leases, senders):
    with mqclient.Client(server.url) as client:
        for job in client.consume("q"):
            terminate()
            with job:
                job.done()
            senders.wait()
    assert (leases.returned, leases.done) == ([], [1])
    assert terminating._own.job is None


@pytest.mark.parametrize("waits", [True, False])
def test_a_signal_before_the_block_of_a_task(server: FakeServer, leases: FakeLeases, waits: bool):
    async def run():
        async with mqclient.AsyncClient(server.url) as client:
            async for job in client.consume("q"):
                terminate()
                await asyncio.sleep(0.01)  # in which the loop sees it
                async with job:
                    if waits:
                        await asyncio.sleep(PATIENCE_SECONDS)
            await asyncio.sleep(0)  # nothing is left that would cancel what follows

    asyncio.run(run())
    # A block that never waits cannot be interrupted: it has ended well, and counts.
    assert (leases.returned, leases.done) == (([1], []) if waits else ([], [1]))


def test_a_program_that_takes_the_signal_itself_keeps_it(client, leases: FakeLeases):
    taken = []
    signal.signal(signal.SIGTERM, lambda *_: taken.append(1))

    def handle(job):
        if job.id == 1:
            terminate()

    work(client, handle, wait=0.05)
    assert taken == [1]
    assert leases.done == [1, 2, 3]


def test_it_can_be_left_alone(client, leases: FakeLeases):
    work(client, lambda _job: None, wait=0.05, handle_signals=False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_leave_it_alone(server: FakeServer, leases: FakeLeases):
    def loop():
        with mqclient.Client(server.url) as client:
            work(client, lambda _job: None, wait=0.05)

        async def run():
            async with mqclient.AsyncClient(server.url) as client:
                async for _ in client.consume("q", wait=0.05):
                    pass

        asyncio.run(run())

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_a_loop_it_does_what_it_did(client, leases, monkeypatch, make_client):
    killed = []
    monkeypatch.setattr(terminating.os, "kill", lambda pid, number: killed.append((pid, number)))
    loop = begin(client)
    loop.wait(loop.next().done())
    if make_client.kind == "asyncio":
        loop.jobs._is_closed = True  # left by a break, so nobody has closed it
    else:
        loop.close()
    signal.raise_signal(signal.SIGTERM)
    loop.wait(client.ping()) if make_client.kind == "blocking" else client.ping()
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not client.is_draining


def test_two_loops_of_one_program_are_both_told(server: FakeServer, leases: FakeLeases):
    with mqclient.Client(server.url) as one, mqclient.Client(server.url) as two:
        first, second = begin(one), begin(two)
        job = first.next()
        with second.next():
            with pytest.raises(mqclient.Drained):
                terminate()
        assert one.is_draining
        assert two.is_draining
        job.done()
        first.close()
        second.close()
    assert leases.done == [2, 1]


def test_the_asyncio_loop_gives_the_signal_back(server: FakeServer, leases: FakeLeases):
    async def run():
        async with mqclient.AsyncClient(server.url) as client:
            for _ in range(2):
                async for job in client.consume("q", wait=0.05):
                    async with job:
                        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
                assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    asyncio.run(run())


def test_a_loop_after_one_that_was_broken_off_takes_the_signal(server, leases: FakeLeases):
    async def run():
        async with mqclient.AsyncClient(server.url) as client:
            async for job in client.consume("q"):
                async with job:
                    break
            gc.collect()  # nobody has closed the first consumer
            async for job in client.consume("q"):
                async with job:
                    terminate()
                    await asyncio.sleep(PATIENCE_SECONDS)

    asyncio.run(run())
    assert leases.done == [1]
    assert leases.returned == [2]
