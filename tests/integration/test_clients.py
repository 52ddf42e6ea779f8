"""Both clients against a real server, on both of its event loops, over TCP and a Unix socket."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import mqclient
from mqclient import calls
from mqwire import limits
from support.both_clients import KINDS, ClientMaker
from support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import RunningServer

pytestmark = pytest.mark.timeout(60)

PATIENCE_SECONDS = 10.0


@dataclass
class Layer:
    width: int


@dataclass
class Job:
    lr: float
    layers: list[Layer] = field(default_factory=list)
    note: str | None = None


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[ClientMaker]:
    maker = ClientMaker(request.param)
    yield maker
    maker.close()


@pytest.fixture(params=["tcp", "unix"])
def url(request: pytest.FixtureRequest, server: RunningServer) -> str:
    return server.url if request.param == "tcp" else server.unix_url_for("admin")


@pytest.fixture
def client(make_client: ClientMaker, url: str, queue: str) -> Any:
    client = make_client(url)
    client.create(queue)
    return client


def wait_until(is_true: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it has not come"


# Queues


def test_who_answers(make_client, url: str):
    with make_client(url, name="test") as client:
        assert (client.server.user, client.server.role) == ("admin", "admin")
        assert client.server.limits.max_frame_bytes == limits.MAX_FRAME_BYTES
        assert 0 < client.ping() < PATIENCE_SECONDS


def test_the_life_of_a_queue(make_client, url: str, queue: str):
    client = make_client(url)
    info = client.create(queue, max_messages=3, max_bytes=5000)
    assert (info.queue, info.ready, info.max_messages, info.max_bytes) == (queue, 0, 3, 5000)
    assert abs(info.created_at - time.time()) < 60
    with pytest.raises(mqclient.QueueExists):
        client.create(queue)
    assert client.create(queue, if_missing=True).max_messages == 3
    client.push_many(queue, [1, 2, 3])
    with pytest.raises(mqclient.QueueFull) as caught:
        client.push(queue, 4)
    assert caught.value.is_retryable
    assert caught.value.details["bound"] == "max_messages"
    client.pull(queue)
    info = client.info(queue)
    assert (info.ready, info.pushed, info.pulled, info.purged) == (2, 3, 1, 0)
    assert info.oldest_age_seconds is not None
    assert [each.queue for each in client.queues(queue)] == [queue]
    assert queue in [each.queue for each in client.queues()]
    assert client.purge(queue) == 2
    client.push(queue, 5)
    assert client.delete(queue) == 1
    for use in (client.info, client.pull, client.peek, client.purge, client.delete):
        with pytest.raises(mqclient.QueueNotFound):
            use(queue)


@pytest.mark.parametrize("codec", ["json", "msgpack", "raw", mqclient.Codec("own", repr, eval)])
def test_bodies_come_back_as_they_went(make_client, url: str, queue: str, codec):
    client = make_client(url, codec=codec)
    client.create(queue)
    bodies: list[Any] = [b"bytes", b"", b"\xff\x00"]
    if codec != "raw":
        bodies += [{"x": [1, 2.5, None, True]}, "text ß€😀", "", 7, None, []]
    for body in bodies:
        client.push(queue, body)
    client.push_many(queue, bodies, headers={"sweep": "a"})
    messages = client.pull_many(queue, 100)
    assert [message.body for message in messages] == bodies * 2
    assert [message.id for message in messages] == list(range(1, 2 * len(bodies) + 1))
    assert messages[-1].headers["sweep"] == "a"
    # Whoever pulls needs no setting to read the built-in codecs.
    if isinstance(codec, str):
        client.push_many(queue, bodies)
        assert [message.body for message in make_client(url).pull_many(queue, 100)] == bodies


def test_typed_bodies(client, queue: str):
    job = Job(0.1, [Layer(8), Layer(4)])
    client.push(queue, job)
    client.push(queue, {"lr": "high"})
    assert client.peek(queue, into=Job)[0].body == job
    good, bad = client.pull_many(queue, 2, into=Job)
    assert good.body == job
    with pytest.raises(mqclient.BodyError, match=r"body.lr must be float, not str") as caught:
        _ = bad.body
    assert caught.value.message.raw == '{"lr":"high"}'


def test_peek_changes_nothing(client, queue: str):
    client.push_many(queue, range(5))
    assert [message.body for message in client.peek(queue)] == [0]
    assert [message.body for message in client.peek(queue, 9, skip=3)] == [3, 4]
    assert client.info(queue).ready == 5


# Many


def test_more_than_a_frame_holds(client, queue: str):
    count = limits.MAX_MESSAGES_PER_FRAME * 2 + 1
    progress: list[int] = []
    ids = client.push_many(queue, (n for n in range(count)), on_progress=progress.append)
    assert ids == list(range(1, count + 1))
    assert progress == [16_384, 32_768, 32_769]
    assert [message.body for message in client.peek(queue, count)] == list(range(count))
    assert [message.body for message in client.pull_many(queue, count + 5)] == list(range(count))
    assert client.info(queue).ready == 0


def test_more_bytes_than_a_frame_holds(client, queue: str):
    bodies = [bytes([n]) * (3 << 20) for n in range(12)]
    assert client.push_many(queue, bodies) == list(range(1, 13))
    assert [message.raw for message in client.pull_many(queue, 20)] == bodies


def test_bodies_at_the_bound_and_one_past_it(client, queue: str):
    body = b"x" * (limits.MAX_BODY_BYTES - 5)
    client.push(queue, body)
    assert client.pull(queue).raw == body
    with pytest.raises(mqclient.BodyTooLarge):
        client.push(queue, body + b"x")


def test_headers_that_fill_their_array(client, queue: str):
    headers = [{"k": "x" * 1000, "n": n} for n in range(1000)]
    client.push_many(queue, range(1000), headers=headers)
    assert [message.headers for message in client.pull_many(queue, 1000)] == headers


def test_a_push_that_fails_in_the_middle_tells_what_was_pushed(make_client, url, queue: str):
    client = make_client(url)
    client.create(queue, max_messages=20_000)
    with pytest.raises(mqclient.QueueFull) as caught:
        client.push_many(queue, range(40_000))
    assert caught.value.pushed == list(range(1, limits.MAX_MESSAGES_PER_FRAME + 1))
    assert client.info(queue).ready == limits.MAX_MESSAGES_PER_FRAME


def test_a_pipeline(client, queue: str):
    with client.pipeline(raise_errors=False) as pipeline:
        for number in range(1000):
            pipeline.push(queue, number)
        pipeline.info(queue)
        pipeline.purge("no-such-queue")
        pipeline.pull_many(queue, 2000)
        pipeline.pull(queue)
    results = pipeline.results
    assert results[:1000] == list(range(1, 1001))
    assert results[1000].ready == 1000
    assert isinstance(results[1001], mqclient.QueueNotFound)
    assert [message.body for message in results[1002]] == list(range(1000))
    assert results[1003] is None


# Refusals


@pytest.mark.parametrize(
    ("use", "kind"),
    [
        (lambda client, _: client.create("../etc/passwd"), mqclient.BadName),
        (lambda client, _: client.queues("a b"), mqclient.BadName),
        (lambda client, _: client.create("x" * 129), mqclient.BadName),
        (lambda client, _: client.create("ok", max_messages=0), mqclient.OutOfRange),
        (lambda client, _: client.create("ok", max_bytes="many"), mqclient.WrongType),
        (lambda client, queue: client.push(queue, 1, headers={"a": [1]}), mqclient.BadHeaders),
        (
            lambda client, queue: client.push(queue, 1, headers={f"k{n}": n for n in range(65)}),
            mqclient.BadHeaders,
        ),
    ],
)
def test_refusals_are_classes_and_the_connection_lives(client, queue: str, use, kind):
    with pytest.raises(kind):
        use(client, queue)
    assert client.info(queue).ready == 0


def test_wrong_credentials(make_client, server: RunningServer):
    for url in (
        server.url.replace("correct", "incorrect"),
        f"mq://:wrong@{server.host}:{server.port}",
    ):
        with pytest.raises(mqclient.AuthFailed):
            make_client(url).ping()


def test_what_roles_may_do(make_client, server: RunningServer, queue: str):
    admin, agent, user = (make_client(server.url_for(name)) for name in ("admin", "agent", "user"))
    admin.create(queue)
    agent.push(queue, 1)
    assert user.peek(queue)[0].body == 1
    assert agent.pull(queue).body == 1
    for use in (
        lambda: agent.create("other"),
        lambda: user.push(queue, 1),
        lambda: user.pull(queue),
    ):
        with pytest.raises(mqclient.AccessDenied):
            use()


def test_the_address_file(make_client, server: RunningServer, monkeypatch):
    assert make_client(address_file=server.address_file).queues() is not None
    assert make_client(f"file://{server.address_file}").queues() is not None
    monkeypatch.delenv("MQ_URL", raising=False)
    monkeypatch.setenv("MQ_ADDRESS_FILE", str(server.address_file))
    with make_client() as client:
        assert client.server.role == "admin"


# Waiting


def test_a_wait_ends_empty_after_its_time(client, queue: str):
    started_at = time.monotonic()
    assert client.pull(queue, wait=0.2) is None
    assert 0.19 < time.monotonic() - started_at < 5


def test_a_waiting_pull_is_served(client, make_client, url: str, queue: str):
    watcher = mqclient.Client(url)

    def push_when_it_waits():
        wait_until(lambda: watcher.info(queue).waiting == 1)
        watcher.push(queue, "late")

    thread = threading.Thread(target=push_when_it_waits)
    thread.start()
    assert client.pull(queue, wait=PATIENCE_SECONDS).body == "late"
    thread.join()
    watcher.close()


def test_a_pull_that_is_given_up_waits_no_more_at_the_server(client, server, queue: str):
    """The client's own time-out strikes long before the server's wait ends."""
    with pytest.raises(mqclient.RequestTimeout):
        _pull_for(client, queue, 0.2)
    with mqclient.Client(server.url) as watcher:
        wait_until(lambda: watcher.info(queue).waiting == 0)
        watcher.push(queue, "for nobody")
        assert watcher.info(queue).ready == 1
    assert client.pull(queue).body == "for nobody"


def _pull_for(client: Any, queue: str, seconds: float) -> None:
    """Ask for a wait that is longer than the call's own time."""
    inner = getattr(client, "client", client)
    source = inner._source(queue, None)
    call = calls.pull(source, 1, 3600.0)
    call.wait = 0.0
    result = inner._result(call, seconds)
    if asyncio.iscoroutine(result):
        client.loop.run_until_complete(result)


def test_a_deleted_queue_ends_waits(client, url: str, queue: str):
    watcher = mqclient.Client(url)

    def delete_when_it_waits():
        wait_until(lambda: watcher.info(queue).waiting == 1)
        watcher.delete(queue)

    thread = threading.Thread(target=delete_when_it_waits)
    thread.start()
    with pytest.raises(mqclient.QueueNotFound):
        client.pull(queue, wait=PATIENCE_SECONDS)
    thread.join()
    watcher.close()


def test_threads_share_a_client(url: str, queue: str):
    with mqclient.Client(url) as client, ThreadPoolExecutor(9) as pool:
        client.create(queue)
        client.create(f"{queue}-idle")
        waiting = pool.submit(client.pull, f"{queue}-idle", wait=PATIENCE_SECONDS)

        def work(worker: int) -> list[int]:
            for number in range(200):
                client.push(queue, [worker, number])
            return [message.id for _ in range(200) if (message := client.pull(queue)) is not None]

        ids = [one for many in pool.map(work, range(8)) for one in many]
        assert sorted(ids) == list(range(1, 1601))
        client.push(f"{queue}-idle", "end")
        assert waiting.result(PATIENCE_SECONDS).body == "end"


async def test_tasks_share_a_client_and_a_cancelled_one_loses_nothing(url: str, queue: str):
    async with mqclient.AsyncClient(url) as client:
        await client.create(queue)
        tasks = [asyncio.create_task(client.pull(queue, wait=PATIENCE_SECONDS)) for _ in range(10)]
        while (await client.info(queue)).waiting < 10:
            pass
        pushes = asyncio.gather(*(client.push(queue, number) for number in range(10)))
        for task in tasks[:5]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert await pushes == list(range(1, 11))
        got = [message.id for message in done if isinstance(message, mqclient.Message)]
        rest = await client.pull_many(queue, 10)
        assert sorted(got + [message.id for message in rest]) == list(range(1, 11))


def test_a_forked_child_has_a_connection_of_its_own(client, make_client, queue: str):
    client.push(queue, "parent")
    child = os.fork()
    if not child:  # pragma: no cover
        code = 1
        try:
            if make_client.kind == "asyncio":
                client.loop = asyncio.new_event_loop()
            code = 0 if client.push(queue, "child") == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [message.body for message in client.pull_many(queue, 5)] == ["parent", "child"]


# A server that goes


def test_a_server_that_stops_and_one_that_died(make_client):
    with running_server() as server:
        # What is in doubt is tried until the time-out, so that is a short one.
        client = make_client(address_file=server.address_file, connect_timeout=0.3, timeout=1.0)
        client.create("jobs")
        client.push("jobs", 1)
        assert server.stop() == 0
        with pytest.raises((mqclient.ConnectionLost, mqclient.ConnectFailed)):
            client.push("jobs", 2)
        with pytest.raises(mqclient.ConnectFailed, match="no address file"):
            client.push("jobs", 3)


def test_an_address_file_that_a_crash_has_left(make_client):
    with running_server() as server:
        server.stop(signal.SIGKILL)
        with pytest.raises(mqclient.ConnectFailed, match=r"is stale.*start `mqd` again"):
            make_client(address_file=server.address_file, connect_timeout=30).ping()


def test_a_waiting_pull_learns_that_the_server_stops(make_client):
    with running_server() as server:
        client = make_client(server.url)
        client.create("jobs")
        watcher = mqclient.Client(server.url)

        def stop_when_it_waits():
            wait_until(lambda: watcher.info("jobs").waiting == 1)
            server.stop()

        thread = threading.Thread(target=stop_when_it_waits)
        thread.start()
        with pytest.raises(mqclient.MqError) as caught:
            client.pull("jobs", wait=PATIENCE_SECONDS)
        thread.join()
        watcher.close()
        assert isinstance(caught.value, mqclient.ConnectionLost | mqclient.ConnectFailed)
