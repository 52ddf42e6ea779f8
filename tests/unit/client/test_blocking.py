"""What only the blocking client can do: threads, signals, a socket that is full."""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mqclient
from support.fake_server import PATIENCE_SECONDS, FakeQueues, FakeServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def client(server: FakeServer):
    with mqclient.Client(server.url) as client:
        yield client


def test_calls_of_others_go_on_while_one_waits(server: FakeServer, client: mqclient.Client):
    numbers = iter(range(1, 10_000))
    server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, next(numbers), "accepted")
    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(client.pull, "q", wait=60)
        peer, pull = server.wait_for("PULL")

        def work(_):
            return [client.push("q", n) if n % 2 else client.ping() for n in range(200)]

        results = list(pool.map(work, range(8)))
        pushed = [n for result in results for n in result if type(n) is int]
        assert sorted(pushed) == list(range(1, 801))
        assert not waiting.done()
        peer.messages(pull, 7, "1")
        assert waiting.result(PATIENCE_SECONDS).id == 7
    assert len(server.peers) == 1


def test_the_lead_passes_on_when_the_leader_is_done(server: FakeServer, client: mqclient.Client):
    with ThreadPoolExecutor(3) as pool:
        pulls = []
        for number in range(1, 4):
            pulls.append(pool.submit(client.pull, f"q{number}", wait=60))
            server.wait_for("PULL", number)
        for number in (2, 1, 3):
            peer, frame = server.wait_for("PULL", number)
            peer.messages(frame, number, "1")
            assert pulls[number - 1].result(PATIENCE_SECONDS).id == number


def test_the_lead_passes_on_when_the_leader_times_out(server: FakeServer, client: mqclient.Client):
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(client.pull, "q1", wait=0.1, timeout=0.1)
        server.wait_for("PULL")
        follower = pool.submit(client.pull, "q2", wait=60)
        peer, frame = server.wait_for("PULL", 2)
        with pytest.raises(mqclient.RequestTimeout):
            leader.result(PATIENCE_SECONDS)
        peer.messages(frame, 5, "1")
        assert follower.result(PATIENCE_SECONDS).id == 5


def test_a_follower_times_out_while_the_leader_waits(server: FakeServer, client: mqclient.Client):
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(client.pull, "q1", wait=60)
        peer, frame = server.wait_for("PULL")
        with pytest.raises(mqclient.RequestTimeout):
            client.pull("q2", timeout=0.1)
        _, wake = server.wait_for("WAKE")
        assert wake[2] == server.frames("PULL")[1][1]
        peer.messages(frame, 5, "1")
        assert leader.result(PATIENCE_SECONDS).id == 5


def test_a_loss_fails_all_threads(server: FakeServer, client: mqclient.Client):
    with ThreadPoolExecutor(4) as pool:
        pulls = [pool.submit(client.pull, "q", wait=60) for _ in range(4)]
        peer, _ = server.wait_for("PULL", 4)
        peer.close()
        errors = {id(pull.exception(PATIENCE_SECONDS)) for pull in pulls}
        assert len(errors) == 4
        assert all(isinstance(pull.exception(), mqclient.ConnectionLost) for pull in pulls)
    client.ping()


def test_threads_connect_once(server: FakeServer):
    with mqclient.Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.ping(), range(32)))
    assert len(server.frames("AUTH")) == 1


def test_closing_ends_the_calls_of_other_threads(server: FakeServer, client: mqclient.Client):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.pull, "q", wait=60)
        server.wait_for("PULL")
        client.close()
        with pytest.raises((mqclient.ConnectionLost, mqclient.InterfaceError)):
            waiting.result(PATIENCE_SECONDS)


@pytest.fixture
def interrupt():
    """Give a function that raises KeyboardInterrupt in the main thread, once."""

    def handler(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.get_ident()
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def until_it_waits(client: mqclient.Client) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not client._connection._leader.is_waiting:
        assert time.monotonic() < deadline


def test_an_interrupted_pull_is_given_up_and_loses_nothing(
    server: FakeServer, client: mqclient.Client, interrupt
):
    server.answers["PULL"] = lambda _peer, _frame: (until_it_waits(client), interrupt())
    with pytest.raises(KeyboardInterrupt):
        client.pull("q", wait=60)
    peer, wake = server.wait_for("WAKE")
    pull = server.frames("PULL")[0]
    assert wake[2] == pull[1]
    peer.messages(pull, 7, "1")
    client.ping()
    assert client.pull("q").id == 7
    assert len(server.peers) == 1


@pytest.mark.parametrize("place", ["begin", "feed"])
def test_an_interrupt_in_the_middle_of_something_costs_the_connection_only(
    server: FakeServer, client: mqclient.Client, monkeypatch, place: str
):
    FakeQueues(server)
    client.push("q", 1)
    in_flight = client._connection._in_flight
    real = getattr(in_flight, place)

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(in_flight, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.pull("q")
    client.push("q", 2)
    # What had been read off the stream by then is kept.
    assert client.pull("q").id == 1
    assert len(server.frames("AUTH")) == 2


def test_messages_of_a_pull_that_is_interrupted_between_frames_are_kept(interrupt):
    with FakeServer(max_messages_per_frame=1) as server, mqclient.Client(server.url) as client:

        def pull(peer, frame):
            if len(server.frames("PULL")) == 1:
                peer.messages(frame, 1, "1")
            else:
                interrupt()

        server.answers["PULL"] = pull
        with pytest.raises(KeyboardInterrupt):
            client.pull_many("q", 5)
        assert client.pull("q").id == 1


def test_a_server_that_does_not_read_costs_the_time_out_and_the_connection():
    with FakeServer() as server, mqclient.Client(server.url) as client:
        stuck = threading.Event()
        server.answers["PURGE"] = lambda _peer, _frame: stuck.wait(PATIENCE_SECONDS)
        with pytest.raises(mqclient.RequestTimeout):
            client.purge("q", timeout=0.1)
        started_at = time.monotonic()
        with pytest.raises(mqclient.MqError):
            client.push_many("q", [b"x" * (8 << 20 >> 1)] * 8, timeout=0.3)
        assert time.monotonic() - started_at < 5
        stuck.set()
        client.ping()


def test_sending_goes_on_when_the_leader_leaves():
    """One thread leads and leaves while another's frame is stuck half-way out."""
    with FakeServer() as server, mqclient.Client(server.url) as client:
        FakeQueues(server)
        stuck = threading.Event()
        server.answers["PURGE"] = lambda peer, frame: (
            stuck.wait(PATIENCE_SECONDS),
            peer.ok(frame, 1),
        )
        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(client.purge, "q")
            server.wait_for("PURGE")
            large = [b"x" * (4 << 20)] * 3
            sender = pool.submit(client.push_many, "q", large)
            stuck.set()
            assert leader.result(PATIENCE_SECONDS) == 1
            assert sender.result(PATIENCE_SECONDS) == [1, 2, 3]


def test_a_reply_that_comes_byte_by_byte_and_a_large_one(
    server: FakeServer, client: mqclient.Client
):
    class Slow:
        def __init__(self, peer):
            self.peer = peer

        def drip(self, frame):
            data = b"\xce\x00\x00\x00\x06" + b"\x93" + bytes([frame[1]]) + b"\xa2OK\x05"
            for byte in data:
                self.peer.send_bytes(bytes([byte]))

    server.answers["PURGE"] = lambda peer, frame: Slow(peer).drip(frame)
    assert client.purge("q") == 5
    server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, b"x" * (8 << 20))
    assert len(client.pull("q").raw) == 8 << 20
    assert client.purge("q") == 5


def test_drips_do_not_stretch_a_time_out(server: FakeServer, client: mqclient.Client):
    stop = threading.Event()

    def drip(peer, frame):
        peer.send_bytes(b"\xce\x00\x00\xff\xff\x93")
        while not stop.wait(0.02):
            peer.send_bytes(b"\x00")

    server.answers["PURGE"] = drip
    started_at = time.monotonic()
    with pytest.raises(mqclient.RequestTimeout):
        client.purge("q", timeout=0.3)
    stop.set()
    assert 0.25 < time.monotonic() - started_at < 2


def test_no_thread_is_started(server: FakeServer):
    before = set(threading.enumerate())
    with mqclient.Client(server.url) as client:
        client.ping()
        started = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in started if "mq" in name.lower()]


def test_a_connection_that_is_replaced_is_closed(server: FakeServer):
    client = mqclient.Client(server.url)
    for _ in range(3):
        client.ping()
        server.peers[-1].close()
    client.ping()
    client.close()
    del client
    gc.collect()  # an unclosed socket would warn, and warnings are errors


# Sending, where the kernel does not go along


def test_a_send_of_which_not_one_byte_left_is_tried_again(
    server: FakeServer, client: mqclient.Client
):
    FakeQueues(server)
    client._connection._socket.shutdown(socket.SHUT_WR)
    assert client.push("q", 1) == 1
    assert len(server.frames("AUTH")) == 2


def test_a_socket_that_is_full_from_the_start(server: FakeServer, client: mqclient.Client):
    FakeQueues(server)
    stuck = threading.Event()
    server.answers["PURGE"] = lambda peer, frame: (
        stuck.wait(PATIENCE_SECONDS),
        peer.ok(frame, 1),
    )
    large = b"x" * (4 << 20)
    with ThreadPoolExecutor(4) as pool:
        purge = pool.submit(client.purge, "q")
        server.wait_for("PURGE")
        pushes = [pool.submit(client.push, "q", large) for _ in range(3)]
        with pytest.raises(mqclient.RequestTimeout) as caught:
            client.push("q", large, timeout=0.3)
        assert not caught.value.in_doubt  # others were sending all the while
        stuck.set()
        assert purge.result(PATIENCE_SECONDS) == 1
        assert sorted(push.result(PATIENCE_SECONDS) for push in pushes) == [1, 2, 3]


def test_an_interrupt_in_the_middle_of_a_frame_costs_the_connection(
    server: FakeServer, client: mqclient.Client, interrupt
):
    stuck = threading.Event()
    server.answers["PURGE"] = lambda _peer, _frame: (interrupt(), stuck.wait(PATIENCE_SECONDS))
    pipeline = client.pipeline()
    pipeline.purge("q")
    for _ in range(4):
        pipeline.push("q", b"x" * (4 << 20))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    stuck.set()
    client.ping()
    assert len(server.frames("AUTH")) == 2


def test_a_lead_that_was_not_passed_on_is_taken(server: FakeServer, client: mqclient.Client):
    client._connection._leader = threading.Lock()
    client.ping(timeout=PATIENCE_SECONDS)


def test_a_unix_socket_that_is_not_there(tmp_path):
    client = mqclient.Client(f"mq+unix://:t@{tmp_path}/s", connect_timeout=0.1)
    with pytest.raises(mqclient.ConnectFailed, match="No such file"):
        client.ping()


class Looks:
    """Stands where a connection looks for replies, and counts how often it is asked to."""

    looks = True

    def __init__(self):
        self.count = 0
        self.error = None
        self.times = []

    def gamble_of(self, _call):
        return self

    def took(self, seconds):
        self.times.append(seconds)

    def run(self, gamble):
        assert gamble is self
        self.count += 1
        if self.error is not None:
            raise self.error
        return False


@pytest.fixture
def looks(monkeypatch):
    looks = Looks()
    monkeypatch.setattr("mqclient.blocking.polling_of", lambda _socket: looks)
    return looks


def test_a_reply_is_looked_for_once_before_sleeping(looks, server, client):
    looks.count = 0
    for number in range(1, 4):
        client.ping()
        assert looks.count == number
        assert 0 < looks.times[-1] < PATIENCE_SECONDS
    looks.looks = False
    client.ping()
    assert (looks.count, len(looks.times)) == (3, 5), "with the AUTH before them"


def test_a_reply_in_many_pieces_is_looked_for_no_longer_than_one(looks, server, client):
    server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, b"x" * (1 << 20))
    looks.count = 0
    assert len(client.pull("q").raw) == 1 << 20
    assert looks.count == 1


def test_threads_that_share_a_connection_do_not_look(looks, server, client):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.pull, "q", wait=60)
        peer, pull = server.wait_for("PULL")
        client.ping()
        peer.messages(pull, 7, "1")
    assert looks.count == 2, "for AUTH, and for the pull that had begun alone"
    assert len(looks.times) == 2


def test_an_interrupt_while_looking_does_no_harm(looks, server, client):
    looks.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        client.pull("q", wait=60)
    looks.error = None
    peer, pull = server.wait_for("PULL")
    server.wait_for("WAKE")
    peer.messages(pull, 7, "1")
    client.ping()
    assert client.pull("q").id == 7, "kept for the next pull, on the same connection"
    assert len(server.peers) == 1
