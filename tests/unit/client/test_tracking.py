"""Where messages are, waiting for them, cancelling them: both clients, a scripted server."""

from __future__ import annotations

import threading
import time

import pytest

import mqclient
from mqclient import lease_calls, tracking, view_calls
from mqclient.errors import ProtocolError
from mqclient.inflight import read_reply
from mqclient.models import LeaseId
from mqclient.view_models import Place, Status
from mqwire import limits, verbs
from mqwire.requests import check_request
from support.both_jobs import begin, work
from support.fake_leases import FakeLeases
from support.fake_server import INFO, FakeServer

pytestmark = pytest.mark.timeout(30)

needs_verbs = pytest.mark.skipif("WATCH" not in verbs.VERBS, reason="the registry has no WATCH")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqclient.steps._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("mqclient.steps._LONGEST_PAUSE_SECONDS", 0.001)


def ids_in(runs) -> list[int]:
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [each for first, count in pairs for each in range(first, first + count)]


def tell(state="done", most=2048, **more):
    """Answer STATUS with one state for all."""

    def answer(peer, frame):
        ids = ids_in(frame[3])[:most]
        peer.ok(frame, [{"id": each, "state": state, **more} for each in ids])

    return answer


# What is sent, and read


@needs_verbs
@pytest.mark.parametrize(
    "call",
    [
        view_calls.status("q", [1, 2, 9]),
        view_calls.status("q", [1], 2.5),
        view_calls.cancel("q", [1]),
        view_calls.cancel("q", [1], "written"),
        view_calls.watch(None, None, 5),
        view_calls.watch("q*", ["acked", "dead"], 5),
        view_calls.credit(7, 5),
        lease_calls.ack(LeaseId(1, 2), [3], result=b"r"),
        lease_calls.ack(LeaseId(1, 2), result="r"),
    ],
    ids=lambda call: call.verb,
)
def test_what_is_sent_is_what_the_registry_knows(call):
    arguments = []
    for part in call.arguments:
        if type(part) is dict:
            listed = {k: tuple(v) if type(v) is list else v for k, v in part.items()}
            arguments.append(listed)
        else:
            arguments.append(tuple(part) if type(part) is list else part)
    check_request((call.verb, 1, *arguments))


@needs_verbs
def test_what_one_request_may_name_is_what_the_protocol_says():
    assert view_calls.MOST_IDS == limits.MAX_WAITED_MESSAGES == limits.MAX_CANCELLED_MESSAGES


def test_a_status_has_all_that_was_told(server: FakeServer, make_client):
    entry = {
        "id": 7,
        "state": "leased",
        "lease": (3, 17),
        "holder": "ada/w1",
        "leased_at": 1.5,
        "deadline_at": 61.5,
        "user": "ada",
        "is_cancelled": True,
        "deliveries": 2,
        "more": "is to come",
    }
    server.answers["STATUS"] = lambda peer, frame: peer.ok(frame, [entry])
    [status] = make_client(server.url).status("q", 7)
    assert status.lease == LeaseId(3, 17)
    assert (status.holder, status.is_cancelled, status.is_over) == ("ada/w1", True, False)
    assert (status.attempts, status.result, status.moved_to) == (None, None, None)


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        (b"\x00x", b"\x00x"),
        ('{"score": 0.5}', {"score": 0.5}),
        ("42", 42),
        ("no JSON", "no JSON"),
        ("", ""),
        (None, None),
    ],
)
def test_results_are_decoded(raw, result):
    more = {} if raw is None else {"result": raw}
    status = Status.from_map({"id": 1, "state": "done", **more})
    assert (status.result, status.raw_result) == (result, raw)
    assert status.is_over


def test_where_a_dead_one_has_gone():
    entry = {"id": 1, "state": "dead", "moved_to": {"queue": "q.dead", "id": 9}, "error": "no"}
    status = Status.from_map(entry)
    assert (status.moved_to, status.error, status.is_over) == (Place("q.dead", 9), "no", True)


@pytest.mark.parametrize(
    "entries",
    [[{"id": 1}], [{"state": "done"}], [5], 5, [{"id": 1, "state": "leased", "lease": 5}]],
)
def test_a_status_without_its_form_is_a_protocol_error(entries):
    with pytest.raises(ProtocolError):
        read_reply(view_calls.status("q", [1]), (1, "OK", entries))


def test_statuses_come_in_the_order_that_was_asked_for(server: FakeServer, make_client):
    server.answers["STATUS"] = tell()
    client = make_client(server.url)
    assert [each.id for each in client.status("q", [9, 2, 3, 2])] == [9, 2, 3, 2]
    assert client.status("q", []) == []
    [frame] = server.frames("STATUS")
    assert frame[2:] == ("q", (2, 2, 9, 1))


def test_many_statuses_take_several_requests(server: FakeServer, make_client):
    server.answers["STATUS"] = tell(most=1000)
    found = make_client(server.url).status("q", range(1, 3001))
    assert [each.id for each in found] == list(range(1, 3001))
    assert len(server.frames("STATUS")) == 3
    assert all(len(ids_in(frame[3])) <= 1024 for frame in server.frames("STATUS"))


def test_a_server_that_tells_nothing_is_not_asked_for_ever(server: FakeServer, make_client):
    server.answers["STATUS"] = lambda peer, frame: peer.ok(frame, [])
    client = make_client(server.url)
    with pytest.raises(ProtocolError, match="none of the messages"):
        client.status("q", 1)


@pytest.mark.parametrize("ids", [0, -1, [1, 0], ["1"], [True], True, [1.5]])
def test_ids_that_are_none(server: FakeServer, make_client, ids):
    client = make_client(server.url)
    for misuse in (client.status, client.wait, client.cancel):
        with pytest.raises(mqclient.InterfaceError, match="positive integers"):
            misuse("q", ids)


# Waiting


def test_the_server_holds_its_reply_back(server: FakeServer, make_client):
    server.answers["STATUS"] = tell()
    client = make_client(server.url)
    assert [each.state for each in client.wait("q", [1, 2])] == ["done", "done"]
    assert client.wait("q", 5, timeout=7)[0].id == 5
    assert client.wait("q", [], timeout=7) == []
    waits = [frame[4]["wait"] for frame in server.frames("STATUS")]
    assert waits == [3600, pytest.approx(7, abs=1)]


def test_what_is_not_over_is_waited_for_again(server: FakeServer, make_client):
    told = iter(
        [
            [{"id": 1, "state": "ready"}, {"id": 2, "state": "done"}],
            [{"id": 1, "state": "leased"}],
            [{"id": 1, "state": "dead"}],
        ]
    )
    server.answers["STATUS"] = lambda peer, frame: peer.ok(frame, next(told))
    found = make_client(server.url).wait("q", [1, 2])
    assert [each.state for each in found] == ["dead", "done"]
    assert [frame[3] for frame in server.frames("STATUS")] == [(1, 2), (1, 1), (1, 1)]


def test_when_the_time_is_over_they_are_told_of_as_they_are(server: FakeServer, make_client):
    def answer(peer, frame):
        if len(frame) > 4:
            threading.Timer(frame[4]["wait"], tell("ready"), [peer, frame]).start()
        else:
            tell("ready")(peer, frame)

    server.answers["STATUS"] = answer
    client = make_client(server.url)
    [status] = client.wait("q", 1, timeout=0.05)
    assert (status.state, status.is_over) == ("ready", False)
    assert client.wait("q", 1, timeout=0)[0].state == "ready"
    assert server.frames("STATUS")[-1][2:] == ("q", (1, 1))


def test_a_wait_goes_on_over_lost_connections(server: FakeServer, make_client):
    def answer(peer, frame):
        if len(server.frames("STATUS")) < 4:
            peer.close()
        else:
            tell()(peer, frame)

    server.answers["STATUS"] = answer
    client = make_client(server.url)
    client.connect()
    assert client.wait("q", 1, timeout=20)[0].state == "done"
    assert len(server.frames("STATUS")) == 4


def test_a_wait_without_a_server_ends_at_once(server: FakeServer, make_client):
    server.stop()
    client = make_client(server.url, connect_timeout=0.05)
    with pytest.raises(mqclient.ConnectFailed):
        client.wait("q", 1)


def test_a_wait_is_refused_if_the_queue_goes(server: FakeServer, make_client):
    server.answers["STATUS"] = lambda peer, frame: peer.error(frame, "QUEUE_NOT_FOUND")
    client = make_client(server.url)
    with pytest.raises(mqclient.QueueNotFound):
        client.wait("q", 1)


@pytest.mark.parametrize("timeout", [-1, "5", float("nan"), True])
def test_times_that_are_none(server: FakeServer, make_client, timeout):
    client = make_client(server.url)
    with pytest.raises(mqclient.InterfaceError, match="timeout must be"):
        client.wait("q", 1, timeout=timeout)
    assert tracking.seconds_of(None) == float("inf")


# Cancelling


def test_cancellations_are_counted_together(server: FakeServer, make_client):
    server.answers["CANCEL"] = lambda peer, frame: peer.ok(frame, 10, 1, "written")
    client = make_client(server.url)
    done = client.cancel("q", range(1, 2001), durability="written")
    assert done == mqclient.Cancellation(removed=20, marked=2)
    assert [frame[2:] for frame in server.frames("CANCEL")] == [
        ("q", (1, 1024), {"durability": "written"}),
        ("q", (1025, 976), {"durability": "written"}),
    ]
    assert client.cancel("q", []) == (0, 0)


def test_a_cancel_whose_reply_is_lost_is_in_doubt(server: FakeServer, make_client):
    server.answers["CANCEL"] = lambda peer, _frame: peer.close()
    with pytest.raises(mqclient.ConnectionLost) as caught:
        make_client(server.url).cancel("q", 1)
    assert caught.value.in_doubt


# Results and cancelled jobs


class KeptResults(FakeLeases):
    """Leases whose acks carry results, and whose extensions tell of cancelled messages."""

    def __init__(self, server, *bodies):
        self.results = []
        self.cancelled = []
        super().__init__(server, *bodies)

    def _ack(self, peer, frame):
        self.results.append((frame[3] if len(frame) > 3 else {}).get("result"))
        super()._ack(peer, frame)

    def _step(self, peer, frame):
        self.results.append((frame[2][0][2] if len(frame[2][0]) > 2 else {}).get("result"))
        super()._step(peer, frame)

    def _extend(self, peer, frame):
        with self._news:
            runs = [number for each in self.cancelled for number in (each, 1)]
            self.extended.append((frame[2][1], frame[3]))
            peer.ok(frame, *([runs] if runs else []))
            self._news.notify_all()


@pytest.fixture
def queue(server):
    return KeptResults(server, "1", "2", "3")


@pytest.mark.parametrize(
    ("result", "raw"),
    [({"score": 0.5}, '{"score":0.5}'), (b"\x00", b"\x00"), ("text", '"text"'), (None, None)],
)
def test_a_job_says_what_came_of_it(server, queue, make_client, result, raw):
    client = make_client(server.url)
    loop = begin(client)
    loop.wait(loop.next().done(result=result))
    loop.wait(loop.next().done(push={"out": [1]}, result=result))
    loop.next()
    loop.close()
    assert queue.results == [raw, raw]
    assert queue.done == [1, 2]


def test_a_lease_says_what_came_of_its_messages(server, queue, make_client):
    client = make_client(server.url)
    lease = client.lease("q", 2)
    begin(client).wait(lease.ack(result=[1]))
    assert queue.results == ["[1]"]


def test_a_result_that_json_cannot_hold_settles_nothing(server, queue, make_client):
    client = make_client(server.url)
    loop = begin(client)
    job = loop.next()
    with pytest.raises(mqclient.InterfaceError, match="JSON cannot hold"):
        loop.wait(job.done(result=object()))
    assert not job.is_settled
    loop.wait(job.done())
    loop.close()


def test_a_lease_tells_what_was_cancelled(server, queue, make_client):
    client = make_client(server.url)
    lease = client.lease("q", 2)
    loop = begin(client)
    assert loop.wait(lease.extend(5)) == []
    queue.cancelled = [2]
    assert loop.wait(lease.extend(5)) == [2]


def until(is_true):
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline


def test_a_cancelled_job_is_told_and_let_go(server, queue, make_client):
    client = make_client(server.url)
    seen = []

    async def wait_for(job):
        await job.cancelled.wait()
        seen.append(job.is_cancelled)
        job.raise_if_cancelled()

    def handle(job):
        job.raise_if_cancelled()
        queue.cancelled = [job.id]
        if hasattr(client, "loop"):
            return wait_for(job)
        assert job.cancelled.wait(20)
        seen.append(job.is_cancelled)
        job.raise_if_cancelled()
        return None

    work(client, handle, lease=0.3, wait=0)
    assert seen == [True, True, True]
    assert queue.returned == [1, 2, 3]
    assert queue.failed == {}


def test_a_job_that_is_done_all_the_same_is_done(server, queue, make_client):
    client = make_client(server.url)
    loop = begin(client, lease=0.3)
    job = loop.next()
    queue.cancelled = [1]
    if hasattr(client, "loop"):
        loop.wait(job.cancelled.wait())
    else:
        assert job.cancelled.wait(20)
    loop.wait(job.done())
    loop.close()
    assert queue.done == [1]


def test_what_was_cancelled_before_it_was_begun_is_not_begun(server, queue, make_client):
    client = make_client(server.url)
    loop = begin(client, lease=0.3, prefetch=3)
    first = loop.next()
    waiting = loop.jobs._unbegun[0]
    queue.cancelled = [2]
    if hasattr(client, "loop"):
        loop.wait(waiting.cancelled.wait())
    else:
        assert waiting.cancelled.wait(20)
    loop.wait(first.done())
    assert loop.next().id == 3
    queue.until(lambda each: each.returned == [2])
    loop.close()


def test_queues_may_keep_results(server: FakeServer, make_client):
    server.answers["CREATE"] = lambda peer, frame: peer.ok(frame, INFO)
    make_client(server.url).create("q", keep_results_seconds=3600)
    assert server.frames("CREATE")[0][3] == {"keep_results_seconds": 3600}
