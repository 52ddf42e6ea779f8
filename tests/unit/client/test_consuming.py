"""Loops over jobs, with both clients, a scripted server and a real keeper."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading

import pytest

import mqclient
from mqclient.base import BaseClient
from mqclient.keeper import keeper
from mqwire.packs import split_pack
from support.both_jobs import begin, work
from support.fake_leases import FakeLeases
from support.fake_server import PATIENCE_SECONDS, FakeServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def leases(server: FakeServer):
    return FakeLeases(server, "1", "2", "3", "4", "5")


@pytest.fixture
def client(server: FakeServer, make_client):
    return make_client(server.url, connect_timeout=2)


# How a block ends


def test_blocks_that_end_well_are_done(client, leases: FakeLeases, server: FakeServer):
    seen = []
    work(client, lambda job: seen.append((job.id, job.body, job.queue)), wait=0.05, lease=9)
    assert seen == [(n, n, "q") for n in range(1, 6)]
    assert leases.done == [1, 2, 3, 4, 5]
    assert not leases.live
    asked = {"lease": 9, "wait": pytest.approx(0.05, abs=0.04)}
    assert server.frames("PULL")[0][2:] == ("q", 1, asked)
    # One message under a lease is settled as a whole, which costs the server least.
    assert {frame[2:] for frame in server.frames("ACK")} == {((3, n),) for n in range(1, 6)}


def test_a_block_that_raises_has_failed_and_the_loop_goes_on(client, leases, caplog):
    def handle(job):
        if job.id == 2:
            raise ValueError("bad weather")

    work(client, handle, wait=0.05)
    assert leases.done == [1, 3, 4, 5]
    reason = leases.failed[2]["reason"]
    assert reason.startswith("Traceback")
    assert reason.endswith("ValueError: bad weather\n")
    assert "in handle" in reason
    assert "bad weather" in caplog.text


def test_errors_come_out_of_the_loop_if_they_are_asked_for(client, leases: FakeLeases):
    def handle(job):
        raise ValueError(job.id)

    with pytest.raises(ValueError, match="1"):
        work(client, handle, raise_errors=True)
    assert list(leases.failed) == [1]
    assert not leases.live


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_block_that_is_left_by_force_hands_its_job_back(server, leases, kind):
    with mqclient.Client(server.url) as client:

        def handle(_job):
            raise kind

        with pytest.raises(kind):
            work(client, handle)
    assert leases.returned == [1]
    assert not leases.failed


def test_a_cancelled_task_hands_its_job_back_and_stays_cancelled(server, leases: FakeLeases):
    async def run():
        async with mqclient.AsyncClient(server.url) as client:
            begun = asyncio.Event()

            async def loop():
                async for job in client.consume("q"):
                    async with job:
                        begun.set()
                        await asyncio.sleep(PATIENCE_SECONDS)

            task = asyncio.create_task(loop())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert leases.returned == [1]
    assert not leases.failed


# Explicit ends


def test_explicit_settlement_leaves_nothing_for_the_block(client, leases: FakeLeases):
    def handle(job):
        return [
            job.done,
            lambda: job.fail("no", delay=3),
            lambda: job.fail(KeyError("k")),
            lambda: job.reject("never"),
            job.hand_back,
        ][job.id - 1]()

    work(client, handle, wait=0.05)
    assert leases.done == [1]
    assert leases.failed == {2: {"reason": "no", "delay": 3}, 3: {"reason": "KeyError: 'k'\n"}}
    assert leases.dead == {4: {"reason": "never"}}
    assert leases.returned == [5]


def test_an_error_after_settlement_changes_nothing(client, leases: FakeLeases):
    loop = begin(client)
    job = loop.next()
    loop.wait(job.done())
    assert job.is_settled
    for again in (job.done, job.fail, job.reject, job.hand_back):
        with pytest.raises(mqclient.InterfaceError, match="is settled"):
            loop.wait(again())
    assert leases.done == [1]
    loop.close()


def test_a_job_that_was_not_settled_stops_the_loop_and_comes_back(client, leases: FakeLeases):
    loop = begin(client)
    job = loop.next()
    with pytest.raises(mqclient.InterfaceError, match="with job"):
        loop.next()
    leases.until(lambda them: them.returned == [1])
    with pytest.raises(mqclient.InterfaceError, match="handed back"):
        loop.wait(job.done())
    assert loop.next() is None


def test_done_may_push_in_the_same_step(client, leases: FakeLeases, server: FakeServer):
    loop = begin(client, prefetch=2)
    job = loop.next()
    loop.wait(job.done(push={"results": [{"score": 1}, "two"], "log": [b"x"]}))
    assert [queue for queue, _ in leases.pushed] == ["results", "results", "log"]
    [step] = server.frames("STEP")
    assert step[2][0] == ("ACK", (3, 1), {"ids": (1, 1)})
    assert list(step[2][1:]) == [("PUSH", "results", 2), ("PUSH", "log", 1)]
    assert split_pack(step[3]) == [piece for _, piece in leases.pushed]
    job = loop.next()
    loop.wait(job.done(push={}))
    assert server.frames("STEP")[1][2] == (("ACK", (3, 1), {"ids": (2, 1)}),)
    loop.close()
    assert leases.done == [1, 2]


def test_a_step_whose_reply_is_lost_is_found_out(client, leases: FakeLeases, server: FakeServer):
    step = server.answers["STEP"]

    class Deaf:
        def __init__(self, peer):
            self.peer = peer

        def ok(self, *_results):
            self.peer.close()

    server.answers["STEP"] = lambda peer, frame: step(
        peer if len(server.frames("STEP")) > 1 else Deaf(peer), frame
    )
    loop = begin(client)
    job = loop.next()
    loop.wait(job.done(push={"results": [1]}))
    assert len(leases.pushed) == 1
    first, second = server.frames("STEP")
    assert first[2:] == second[2:]
    loop.close()


def test_a_step_that_is_refused_leaves_the_job_open(client, leases: FakeLeases):
    loop = begin(client)
    job = loop.next()
    with pytest.raises(mqclient.QueueFull):
        loop.wait(job.done(push={"full": [1]}))
    with pytest.raises(mqclient.InterfaceError, match="JSON"):
        loop.wait(job.done(push={"results": [object()]}))
    assert not job.is_settled
    assert not leases.pushed
    loop.wait(job.fail("full"))
    assert list(leases.failed) == [1]
    loop.close()


def test_a_job_shows_its_message(client, leases: FakeLeases):
    loop = begin(client)
    job = loop.next()
    assert (job.body, job.headers, job.deliveries, job.attempts, job.losses) == (1, {}, 1, 0, 0)
    assert job.message.raw == "1"
    assert str(job.lease) == "3-1"
    assert repr(job).endswith("Job(id=1, queue='q', open)")
    assert loop.jobs.current is job
    loop.close()


def test_a_job_that_an_operator_has_taken_away_leaves_the_others_alone(client, leases):
    loop = begin(client, prefetch=2)
    job = loop.next()
    del leases.live[1][1]
    with pytest.raises(mqclient.NotLeased):
        loop.wait(job.done())
    assert job.is_lost
    with pytest.raises(mqclient.NotLeased):
        job.raise_if_lost()
    other = loop.next()
    assert other.id == 2
    loop.wait(other.done())
    loop.close()
    assert leases.done == [2]


def test_a_job_that_could_not_be_settled_is_given_up(client, leases, server, monkeypatch, caplog):
    monkeypatch.setattr(getattr(client, "client", client), "_timeout", 0.3)
    server.answers["ACK"] = lambda peer, _frame: peer.close()
    work(client, lambda _job: client.drain(), lease=0.3)
    assert "Job(id=1, queue='q', given up" in caplog.text
    assert leases.done == []


def test_an_explicit_end_that_is_in_doubt_says_so(client, leases: FakeLeases, server: FakeServer):
    ack = server.answers["ACK"]

    def answer(peer, frame):
        if len(server.frames("ACK")) > 1:
            ack(peer, frame)
        else:
            leases.done.append(leases._take(1, ())[0][0])
            peer.close()

    server.answers["ACK"] = answer
    loop = begin(client)
    job = loop.next()
    with pytest.raises(mqclient.ConnectionLost) as caught:
        loop.wait(job.done())
    assert caught.value.in_doubt
    assert job.is_settled
    with pytest.raises(mqclient.InterfaceError, match="in doubt"):
        loop.wait(job.done())
    loop.close()
    assert leases.done == [1]
    assert not server.frames("NACK")


# Prefetch


def test_prefetched_messages_share_a_lease(client, leases: FakeLeases, server: FakeServer):
    work(client, lambda _job: None, prefetch=3, wait=0.05)
    assert [frame[3] for frame in server.frames("PULL")] == [3, 3, 3]
    asked = [frame[2:] for frame in server.frames("ACK")]
    assert asked == [
        ((3, 1), {"ids": (1, 1)}),
        ((3, 1), {"ids": (2, 1)}),
        ((3, 1), {"ids": (3, 1)}),
        ((3, 2), {"ids": (4, 1)}),
        ((3, 2), {"ids": (5, 1)}),
    ]


def test_what_was_not_begun_goes_back_when_the_loop_is_left(client, leases: FakeLeases):
    loop = begin(client, prefetch=4)
    loop.wait(loop.next().done())
    loop.close()
    leases.until(lambda them: them.returned == [2, 3, 4])
    assert loop.next() is None
    assert not leases.live


def test_break_gives_back_what_was_not_begun(server: FakeServer, leases: FakeLeases):
    with mqclient.Client(server.url) as client:
        for job in client.consume("q", prefetch=3):
            with job:
                break
        gc.collect()
        assert leases.done == [1]
        leases.until(lambda them: them.returned == [2, 3])


def test_closing_the_client_gives_everything_back(client, leases: FakeLeases):
    loop = begin(client, prefetch=3)
    job = loop.next()
    client.close()
    leases.until(lambda them: sorted(them.returned) == [1, 2, 3])
    assert job.is_settled


@pytest.mark.parametrize(
    "options",
    [
        {"prefetch": 0},
        {"lease": 0.01},
        {"wait": -1},
        {"into": complex},
        {"raise_error": True},
    ],
)
def test_misuse_is_refused_at_once(client, server, options):
    with pytest.raises(mqclient.InterfaceError):
        client.consume("q", **options)
    assert not server.peers


# Leases that are extended, and lost


def test_leases_are_extended_by_another_process_of_the_same_instance(
    client, leases: FakeLeases, server: FakeServer
):
    loop = begin(client, lease=0.3)
    job = loop.next()
    leases.until(lambda them: len(them.extended) >= 3)
    assert set(leases.extended) == {(1, 0.3)}
    assert keeper().pid not in (None, os.getpid())
    auths = [frame[3] for frame in server.frames("AUTH")]
    assert {auth["instance"] for auth in auths} == {client.instance}
    assert [auth.get("keepalive") for auth in auths][-1] == 15
    loop.wait(job.done())
    loop.close()


def test_a_job_is_told_that_its_lease_is_lost(client, leases: FakeLeases):
    loop = begin(client, lease=0.3, prefetch=2)
    job = loop.next()
    assert not job.is_lost
    job.raise_if_lost()
    leases.end(1)

    def told():
        wait = job.lost.wait
        if isinstance(job.lost, threading.Event):
            assert wait(PATIENCE_SECONDS)
        else:
            loop.wait(asyncio.wait_for(wait(), PATIENCE_SECONDS))

    told()
    assert job.is_lost
    with pytest.raises(mqclient.LeaseLost) as caught:
        job.raise_if_lost()
    assert caught.value.details["why"] == "over"
    with pytest.raises(mqclient.LeaseLost):
        loop.wait(job.done())
    # The other message of that lease is not given out any more.
    assert loop.next().id == 3
    loop.close()


def test_a_block_whose_ack_is_refused_is_logged_and_the_loop_goes_on(client, leases, caplog):
    def handle(job):
        if job.id == 1:
            leases.end(1)

    work(client, handle, wait=0.05)
    assert leases.done == [2, 3, 4, 5]
    assert "may be run once more" in caplog.text


@pytest.mark.parametrize("way", ["looks", "settles"])
def test_a_block_that_ends_with_its_lost_lease_is_told_in_a_line(client, leases, caplog, way):
    def handle(job):
        if job.id != 2:
            return None
        leases.end(2)
        if way == "settles":
            return job.done()
        job._batch.lose(mqclient.LeaseLost("LEASE_LOST", "the lease is over", {}))
        return job.raise_if_lost()

    work(client, handle, wait=0.05)
    assert leases.done == [1, 3, 4, 5]
    [record] = [each for each in caplog.records if "keeper of " not in each.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert ", somebody else's by now) has lost its lease, and may be run once more: " in caplog.text
    assert "failed" not in caplog.text


def test_an_error_of_a_job_whose_lease_is_lost_is_told_whole(client, leases, caplog):
    def handle(job):
        if job.id == 1:
            leases.end(1)
            job._batch.lose(mqclient.LeaseLost("LEASE_LOST", "the lease is over", {}))
            raise ValueError("bad weather")

    work(client, handle, wait=0.05)
    assert "Job(id=1, queue='q', somebody else's by now) failed" in caplog.text
    assert "bad weather" in caplog.text


def test_a_block_whose_ack_is_refused_raises_if_that_is_asked_for(client, leases: FakeLeases):
    with pytest.raises(mqclient.LeaseLost):
        work(client, lambda _job: leases.end(1), raise_errors=True)


def test_a_block_that_fails_after_its_lease_was_lost(client, leases: FakeLeases, caplog):
    def handle(job):
        if job.id == 1:
            leases.end(1)
            raise ValueError("late")

    work(client, handle, wait=0.05)
    assert not leases.failed
    assert "could not say so" in caplog.text
    assert "late" in caplog.text


# Lost connections


def test_a_server_that_restarts_costs_nothing(client, leases: FakeLeases, server: FakeServer):
    def handle(job):
        if job.id == 2:
            server.stop()
            threading.Timer(0.3, server.start).start()

    work(client, handle, wait=0.3)
    assert leases.done == [1, 2, 3, 4, 5]


def test_a_pull_that_loses_its_connection_is_tried_again(client, leases, server, caplog):
    pull = server.answers["PULL"]
    server.answers["PULL"] = lambda peer, frame: (
        pull(peer, frame) if len(server.frames("PULL")) > 3 else peer.close()
    )
    with caplog.at_level(logging.WARNING):
        work(client, lambda _job: None, wait=0.6)
    assert leases.done == [1, 2, 3, 4, 5]
    assert "no jobs of 'q' just now" in caplog.text


def test_a_server_that_was_never_there_is_an_error(server: FakeServer, make_client):
    server.stop()
    with pytest.raises(mqclient.ConnectFailed):
        work(make_client(server.url, connect_timeout=0.2, server_wait=0.1), lambda _job: None)


@pytest.fixture
def started_when_told(server: FakeServer, monkeypatch):
    """The server starts when a client has said that it waits for one."""
    told = []
    say = BaseClient._say_waiting

    def say_and_start(self, why, seconds):
        say(self, why, seconds)
        if not told:
            server.start()
        told.append(seconds)

    server.stop()
    monkeypatch.setattr(BaseClient, "_say_waiting", say_and_start)
    return told


def test_a_worker_may_begin_before_its_server(
    server: FakeServer, leases: FakeLeases, make_client, started_when_told, caplog
):
    client = make_client(server.url, connect_timeout=0.1)
    work(client, lambda _job: None, wait=0.05)
    assert leases.done == [1, 2, 3, 4, 5]
    assert 299 < started_when_told[0] <= 300
    assert caplog.text.count("waiting for a server, 300 s at most: cannot connect to") == 1


def test_connecting_waits_for_a_server_if_it_is_told_to(
    server: FakeServer, make_client, started_when_told, caplog, tmp_path
):
    with make_client(server.url, connect_timeout=0.1, server_wait=60) as client:
        client.ping()
    assert 59 < started_when_told[0] <= 60
    assert caplog.text.count("waiting for a server, 60 s at most: cannot connect to mq://") == 1
    file = tmp_path / "address.json"
    with pytest.raises(mqclient.ConnectFailed, match="there is no address file"):
        make_client(address_file=file, server_wait=0.1).connect()
    with pytest.raises(mqclient.ArgumentError):
        make_client(server.url, server_wait="60")


def test_what_no_server_would_mend_is_not_waited_for(make_client, tmp_path):
    file = tmp_path / "address.json"
    file.write_text("{")
    with pytest.raises(mqclient.ConnectFailed, match="is no address file that can be used"):
        work(make_client(address_file=file), lambda _job: None)


def test_refusals_come_out_of_the_loop(client, server: FakeServer):
    server.answers["PULL"] = lambda peer, frame: peer.error(frame, "QUEUE_NOT_FOUND")
    with pytest.raises(mqclient.QueueNotFound):
        work(client, lambda _job: None)


# Draining


def test_draining_ends_the_loop_after_the_job_and_gives_the_rest_back(client, leases: FakeLeases):
    seen = []

    def handle(job):
        seen.append(job.id)
        assert not job.is_draining
        client.drain()
        assert job.is_draining

    work(client, handle, prefetch=3)
    assert seen == [1]
    assert leases.done == [1]
    leases.until(lambda them: them.returned == [2, 3])
    work(client, handle)
    assert seen == [1]


def test_draining_holds_for_what_was_prefetched_from_the_first_moment(client, leases, monkeypatch):
    monkeypatch.setattr(getattr(client, "client", client), "_finish_drain", lambda: None)
    loop = begin(client, prefetch=3)
    job = loop.next()
    client.drain()
    loop.wait(job.done())
    assert loop.next() is None
    leases.until(lambda them: them.returned == [2, 3])


def test_draining_gives_back_while_the_job_still_runs(server: FakeServer, leases: FakeLeases):
    with mqclient.Client(server.url) as client:
        loop = begin(client, prefetch=3)
        job = loop.next()
        client.drain()
        leases.until(lambda them: them.returned == [2, 3])
        job.done()
        assert loop.next() is None


def test_what_the_keeper_is_to_give_back_is_never_acknowledged(client, leases: FakeLeases, server):
    """The last job of a lease ends well before the rest has been handed back."""
    late = server.answers["NACK"]
    server.answers["NACK"] = lambda _peer, _frame: None
    loop = begin(client, prefetch=3)
    job = loop.next()
    loop.jobs.return_unbegun()
    loop.wait(job.done())
    assert leases.done == [1]
    peer, nack = server.wait_for("NACK")
    late(peer, nack)
    assert leases.returned == [2, 3]
    loop.close()


def test_draining_ends_a_wait_from_another_thread(client, leases: FakeLeases, server: FakeServer):
    leases.ready.clear()
    client.ping()

    def drain():
        server.wait_for("PULL")
        client.drain()

    thread = threading.Thread(target=drain)
    thread.start()
    work(client, lambda _job: None)
    thread.join()
    assert len(server.frames("PULL")) == 1
    [wake] = server.frames("WAKE")
    assert wake[2] == server.frames("PULL")[0][1]


def test_draining_in_a_signal_handler_that_strikes_anywhere(server: FakeServer, leases):
    """The handler runs while the main thread holds whatever lock it may hold."""
    with mqclient.Client(server.url) as client:
        client.ping()
        before = signal.signal(signal.SIGUSR1, lambda *_: client.drain())
        try:
            with client._connection._state, keeper()._lock:
                signal.raise_signal(signal.SIGUSR1)
            assert client.is_draining
            work(client, lambda _job: None)
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert not server.frames("PULL")


def test_draining_ends_the_pauses_between_attempts(client, leases: FakeLeases, server: FakeServer):
    client.ping()
    server.answers["PULL"] = lambda peer, _frame: (
        client.drain() if len(server.frames("PULL")) == 6 else None,
        peer.close(),
    )
    work(client, lambda _job: None)


def test_a_connection_that_is_made_while_draining_waits_for_nothing(
    client, leases, server, monkeypatch
):
    leases.ready.clear()
    client.ping()
    # What ends the waits comes before there is the connection.
    monkeypatch.setattr(getattr(client, "client", client), "_finish_drain", lambda: None)
    auth = server.answers["AUTH"]
    server.answers["AUTH"] = lambda peer, frame: (client.drain(), auth(peer, frame))
    server.peers[0].close()
    work(client, lambda _job: None)
    assert all("wait" not in frame[4] for frame in server.frames("PULL")[1:])


# Forks


def test_a_forked_child_leaves_the_jobs_of_its_parent_alone(server: FakeServer, leases):
    with mqclient.Client(server.url) as client:
        instance = client.instance
        loop = begin(client, prefetch=2)
        job = loop.next()
        child = os.fork()
        if not child:  # pragma: no cover
            code = 1
            try:
                is_new = client.instance != instance
                code = 0 if is_new and job.is_settled and keeper().pid is None else 2
                loop.close()
                client.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not leases.returned
        job.done()
        loop.next().done()
        loop.close()
    assert leases.done == [1, 2]
