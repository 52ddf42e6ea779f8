"""What both clients do with the same replies, against a scripted server."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass

import pytest

import mqclient
from mqwire.framelog import IN, OUT, RecordEncoder, encode_header
from mqwire.frames import FrameWriter
from mqwire.limits import FRAME_OVERHEAD_BYTES, MAX_WAIT_SECONDS, MIN_FRAME_BYTES
from support.fake_server import INFO, FakeQueues, FakeServer

pytestmark = pytest.mark.timeout(30)


@dataclass
class Job:
    x: int


# Connecting


def test_auth_says_who_we_are(server: FakeServer, make_client):
    with make_client(server.url, name="worker 7") as client:
        assert client.server.user == "admin"
        assert client.server.version == "9.9"
        assert repr(client).endswith("user 'admin')")
        instance = client.instance
    [frame] = server.frames("AUTH")
    assert frame[2] == {"user": "admin", "password": "secret"}
    assert frame[3] == {
        "client": f"mqclient/{mqclient.__version__} worker 7",
        "version": 1,
        "instance": instance,
        "host": socket.gethostname(),
    }


def test_a_unix_socket(tmp_path, make_client):
    with FakeServer(tmp_path / "s") as server, make_client(server.url) as client:
        assert 0 < client.ping() < 10


def test_it_connects_at_the_first_call(server: FakeServer, make_client):
    client = make_client(server.url)
    with pytest.raises(mqclient.InterfaceError, match="has not connected"):
        _ = client.server
    assert not server.peers
    client.ping()
    client.ping()
    assert len(server.peers) == 1
    assert [frame[1] for frame in server.frames("PING")] == [2, 3]


def test_a_refusal_of_auth_is_its_own_error(server: FakeServer, make_client):
    server.answers["AUTH"] = lambda peer, frame: peer.error(frame, "AUTH_FAILED")
    with pytest.raises(mqclient.AuthFailed) as caught:
        make_client(server.url).ping()
    assert "secret" not in repr(caught.value)
    assert len(server.peers) == 1


@pytest.mark.parametrize("code", ["TOO_MANY_CONNECTIONS", "SHUTTING_DOWN"])
def test_a_server_that_breaks_off_at_once_is_tried_again(server: FakeServer, make_client, code):
    auth = server.answers["AUTH"]

    def answer(peer, frame):
        if len(server.peers) < 3:
            peer.break_off(code)
        else:
            auth(peer, frame)

    server.answers["AUTH"] = answer
    make_client(server.url).ping()
    assert len(server.peers) == 3
    server.answers["AUTH"] = lambda peer, _frame: peer.break_off(code)
    with pytest.raises(mqclient.ServerError) as caught:
        make_client(server.url, connect_timeout=0.2).ping()
    assert caught.value.code == code


def test_a_server_that_starts_late_is_waited_for(server: FakeServer, make_client):
    server.stop()
    starter = threading.Timer(0.2, server.start)
    starter.start()
    make_client(server.url).ping()
    starter.join()


def test_nobody_there_is_said_in_time(server: FakeServer, make_client):
    server.stop()
    started_at = time.monotonic()
    with pytest.raises(mqclient.ConnectFailed, match="is the server running"):
        make_client(server.url, connect_timeout=0.3).ping()
    with pytest.raises(mqclient.ConnectFailed, match="within"):
        make_client(server.url).ping(timeout=0.3)
    assert time.monotonic() - started_at < 5


def test_a_server_that_does_not_answer_auth(server: FakeServer, make_client):
    server.answers["AUTH"] = lambda _peer, _frame: None
    with pytest.raises(mqclient.ConnectFailed, match="no answer in time"):
        make_client(server.url, connect_timeout=0.2).ping()


def test_something_else_that_listens(server: FakeServer, make_client):
    server.answers["AUTH"] = lambda peer, _frame: peer.send_bytes(
        b"HTTP/1.1 400 Bad Request\r\n\r\n"
    )
    with pytest.raises(mqclient.ConnectFailed, match="no mqd server"):
        make_client(server.url, connect_timeout=0.2).ping()


def test_an_auth_reply_without_its_form(server: FakeServer, make_client):
    server.answers["AUTH"] = lambda peer, frame: peer.ok(frame, {"user": "x"})
    with pytest.raises(mqclient.ProtocolError, match="AUTH"):
        make_client(server.url).ping()


def test_the_address_file_is_read_anew_at_each_connect(tmp_path, server: FakeServer, make_client):
    from mqwire.address import Address

    path = tmp_path / "a.json"
    url = server.url.replace("admin:secret@", "")
    for token in ("one", "two"):
        path.write_text(
            Address((url,), token, socket.gethostname(), os.getpid(), 0.0, "1").to_json()
        )
        if token == "one":
            client = make_client(address_file=path)
        else:
            server.peers[0].close()
        client.ping()
    assert [frame[2] for frame in server.frames("AUTH")] == [{"token": "one"}, {"token": "two"}]


@pytest.mark.parametrize("option", ["timeout", "connect_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True])
def test_time_outs_are_positive_numbers(make_client, option, value):
    with pytest.raises(mqclient.ConfigurationError, match=option):
        make_client("mq://:t@h", **{option: value})


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_has_bounds(make_client, name):
    with pytest.raises(mqclient.ConfigurationError, match="name"):
        make_client("mq://:t@h", name=name)


def test_a_closed_client_refuses(server: FakeServer, make_client):
    client = make_client(server.url)
    client.ping()
    client.close()
    client.close()
    for use in (client.ping, client.connect, lambda: client.push("q", 1)):
        with pytest.raises(mqclient.InterfaceError, match="closed"):
            use()


# Requests and replies


def test_each_method_sends_its_frame_and_reads_its_reply(server: FakeServer, make_client):
    client = make_client(server.url)
    for verb in ("CREATE", "INFO"):
        server.answers[verb] = lambda peer, frame: peer.ok(frame, INFO)
    for verb in ("DELETE", "PURGE"):
        server.answers[verb] = lambda peer, frame: peer.ok(frame, 5, "more")
    server.answers["LIST"] = lambda peer, frame: peer.ok(frame, [INFO, INFO])
    assert client.create("jobs").max_messages == 10
    assert client.create("jobs", max_messages=1, max_bytes=2, if_missing=True).queue == "jobs"
    assert client.info("jobs").created_at == 1.5
    assert (client.delete("a"), client.purge("b")) == (5, 5)
    assert [info.queue for info in client.queues()] == ["jobs", "jobs"]
    client.queues("j*")
    options = {"max_messages": 1, "max_bytes": 2, "if_missing": True}
    assert [frame[2:] for frame in server.frames("CREATE")] == [("jobs",), ("jobs", options)]
    assert [frame[2:] for frame in server.frames("LIST")] == [(), ("j*",)]
    assert server.frames("DELETE")[0][2:] == ("a",)


def test_the_newest_frames_of_the_log(server: FakeServer, make_client):
    def record(direction, at_ns, *frames):
        data = b"".join(map(FrameWriter().encode, frames))
        ends = ("c:1", "s:2") if direction == IN else ("s:2", "c:1")
        return RecordEncoder(7, direction, *ends, "ada").head(at_ns, len(data)) + data

    records = [
        record(IN, 1_000_000_000, ("PUSH", 1, "jobs", 1, b"\xa2hi"), ("INFO", 2, "none")),
        record(OUT, 1_500_000_000, (1, "OK", 7, "synced"), (2, "ERR", "QUEUE_NOT_FOUND", "no", {})),
        record(OUT, 2_000_000_000, (9, "OK")),
    ]
    data = encode_header(1, "9.9.9") + b"".join(records)
    answer = (data, [11, 2, 14, 1], 20, 3, "full")
    server.answers["FRAMES"] = lambda peer, frame: peer.ok(frame, *answer)
    client = make_client(server.url)
    tail = client.frames()
    assert (tail.last, tail.missed, tail.level) == (20, 3, "full")
    push, info, pushed, refused, unknown = tail.frames
    assert (push.number, push.verb, push.queue, push.code) == (11, "PUSH", "jobs", None)
    assert (push.direction, push.source, push.destination) == ("in", "c:1", "s:2")
    assert (push.connection, push.user, push.at, push.peer) == (7, "ada", 1.0, "c:1")
    assert push.frame == ["PUSH", 1, "jobs", 1, ["hi"]]
    assert (info.number, info.size_bytes, info.queues) == (11, 17, ("none",))
    assert (pushed.number, pushed.verb, pushed.queue) == (12, "PUSH", "jobs")
    assert (pushed.code, pushed.seconds, pushed.peer) == ("OK", 0.5, "c:1")
    assert (refused.verb, refused.code) == ("INFO", "QUEUE_NOT_FOUND")
    assert (unknown.number, unknown.verb, unknown.seconds) == (14, None, None)
    assert unknown.time == "1970-01-01T00:00:02.000000000Z"
    # What is known already is there for the sake of what comes behind it.
    [pushed, _, _] = client.frames(11, count=5).frames
    assert (pushed.verb, pushed.queue) == ("PUSH", "jobs")
    assert [frame[2:] for frame in server.frames("FRAMES")] == [
        (),
        ({"after": 11, "context": 256, "max": 5},),
    ]
    for nonsense in ((b"no log", [], 1, 0, "full"), (data, [11, 2], 20, 3, "full"), (data, [])):
        answer = nonsense
        with pytest.raises(mqclient.ProtocolError):
            client.frames()


def test_what_has_to_do_with_dead_letters_and_holders(server: FakeServer, make_client):
    client = make_client(server.url)
    server.answers["CREATE"] = lambda peer, frame: peer.ok(frame, INFO)
    for verb in ("PURGE", "REDRIVE"):
        server.answers[verb] = lambda peer, frame: peer.ok(frame, 5)
    server.answers["HOLDERS"] = lambda peer, frame: peer.ok(frame, [])
    server.answers["PEEK"] = lambda peer, frame: peer.empty(frame)
    client.create("q", max_attempts=3, backoff=None, dead_letter="d", if_missing=True)
    assert client.purge("q", state="dead") == 5
    assert client.redrive("q") == 5
    assert client.redrive("q", ids=[2, 1], count=7) == 5
    assert client.holders() == []
    assert client.holders("j*") == []
    assert client.peek("q", 2, skip=1, state="delayed") == []
    options = {"max_attempts": 3, "dead_letter": "d", "if_missing": True}
    assert server.frames("CREATE")[0][2:] == ("q", options)
    assert server.frames("PURGE")[0][2:] == ("q", {"state": "dead"})
    assert [frame[2:] for frame in server.frames("REDRIVE")] == [
        ("q",),
        ("q", {"max": 7, "ids": (1, 2)}),
    ]
    assert [frame[2:] for frame in server.frames("HOLDERS")] == [(), ("j*",)]
    assert client.peek_one("q", 7) is None
    columns = {"state": ["dead"], "deliveries": [2]}
    server.answers["PEEK"] = lambda peer, frame: peer.ok(frame, [8, 1], [b"\xa2hi"], columns)
    message = client.peek_one("q", 8)
    assert (message.id, message.raw, message.state, message.deliveries) == (8, "hi", "dead", 2)
    assert [frame[2:] for frame in server.frames("PEEK")] == [
        ("q", 2, {"skip": 1, "state": "delayed"}),
        ("q", 1, {"id": 7}),
        ("q", 1, {"id": 8}),
    ]
    with pytest.raises(mqclient.InterfaceError):
        client.peek_one("q", 0)
    with pytest.raises(mqclient.InterfaceError, match="max_attempt'"):
        client.create("q", max_attempt=3)


def test_push_and_pull_give_back_the_same(server: FakeServer, make_client):
    FakeQueues(server)
    client = make_client(server.url)
    bodies = [{"x": [1, None]}, "text", b"bytes", 5, None, ""]
    assert [client.push("q", body) for body in bodies] == [1, 2, 3, 4, 5, 6]
    client.push("q", Job(3), headers={"n": 1})
    assert [message.body for message in client.peek("q", 3, skip=1)] == bodies[1:4]
    pulled = [client.pull("q") for _ in bodies]
    assert [(message.id, message.body) for message in pulled] == list(enumerate(bodies, 1))
    job = client.pull("q", into=Job)
    assert (job.body, job.headers, job.queue) == (Job(3), {"n": 1}, "q")
    assert client.pull("q") is None
    assert client.pull_many("q", 5) == []


@pytest.mark.parametrize("codec", ["msgpack", mqclient.Codec("own", repr, eval)])
def test_other_codecs(server: FakeServer, make_client, codec):
    FakeQueues(server)
    client = make_client(server.url, codec=codec)
    client.push("q", {"b": b"x"})
    client.push_many("q", [1, {"b": b"y"}])
    assert [message.body for message in client.pull_many("q", 9)] == [{"b": b"x"}, 1, {"b": b"y"}]


def test_a_body_error_comes_late_and_keeps_the_message(server: FakeServer, make_client):
    client = make_client(server.url)
    server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, "{", "1")
    bad, good = client.pull_many("q", 2)
    assert good.body == 1
    with pytest.raises(mqclient.BodyError) as caught:
        _ = bad.body
    assert caught.value.message.raw == "{"


def test_a_type_that_cannot_be_restored_is_refused_before_anything_is_pulled(
    server: FakeServer, make_client
):
    client = make_client(server.url)
    with pytest.raises(mqclient.InterfaceError):
        client.pull("q", into=complex)
    assert not server.frames("PULL")


def test_misuse_is_refused_before_anything_is_sent(server: FakeServer, make_client):
    client = make_client(server.url)
    for misuse in (
        lambda: client.pull("q", wait=-1),
        lambda: client.pull("q", wait=float("nan")),
        lambda: client.pull("q", wait="1"),
        lambda: client.pull("q", timeout=0),
        lambda: client.pull_many("q", 0),
        lambda: client.pull_many("q", True),
        lambda: client.peek("q", 0),
        lambda: client.peek("q", 1, skip=-1),
        lambda: client.pull(["q"]),
        lambda: client.push("q", object()),
        lambda: client.push("q", 1, headers={"k": object()}),
        lambda: client.push("q", "\ud800"),
        lambda: client.push_many("q", [1, 2], headers=[None]),
    ):
        with pytest.raises(mqclient.InterfaceError):
            misuse()
    assert not server.frames("PUSH")
    assert not server.frames("PULL")


def test_errors_have_their_classes_and_the_connection_lives(server: FakeServer, make_client):
    client = make_client(server.url)
    for code, kind in (("QUEUE_FULL", mqclient.QueueFull), ("NEW", mqclient.UnknownServerError)):
        server.answers["PUSH"] = lambda peer, frame, code=code: peer.error(frame, code, limit=1)
        with pytest.raises(kind) as caught:
            client.push("q", 1)
        assert (caught.value.code, caught.value.details) == (code, {"limit": 1})
    client.ping()
    assert len(server.peers) == 1


def test_a_body_over_the_bound_is_refused_by_the_client(make_client):
    with FakeServer(max_body_bytes=1000) as server:
        FakeQueues(server)
        client = make_client(server.url)
        client.push("q", b"x" * 997)
        with pytest.raises(mqclient.BodyTooLarge) as caught:
            client.push("q", b"x" * 998)
        assert caught.value.details == {"limit": 1000, "asked": 1001}
        with pytest.raises(mqclient.BodyTooLarge) as caught:
            client.push_many("q", [b"", b"x" * 998])
        assert caught.value.pushed == []
        client.ping()


# Many


def test_push_many_cuts_and_tells_its_progress(make_client):
    with FakeServer(max_messages_per_frame=100) as server:
        FakeQueues(server)
        client = make_client(server.url)
        progress: list[int] = []
        ids = client.push_many("q", (n for n in range(250)), on_progress=progress.append)
        assert ids == list(range(1, 251))
        assert progress == [100, 200, 250]
        assert [frame[3] for frame in server.frames("PUSH")] == [100, 100, 50]
        assert client.push_many("q", []) == []
        assert [m.body for m in client.pull_many("q", 300)] == list(range(250))
        assert [frame[3] for frame in server.frames("PULL")] == [100, 100, 100]


def test_push_many_sends_headers_one_for_all_or_one_for_each(server: FakeServer, make_client):
    FakeQueues(server)
    client = make_client(server.url)
    client.push_many("q", [1, 2], headers={"a": 1})
    client.push_many("q", [3, 4], headers=[{"a": 2}, None])
    assert [m.headers for m in client.pull_many("q", 9)] == [{"a": 1}, {"a": 1}, {"a": 2}, {}]


def test_push_many_that_fails_tells_what_was_pushed(make_client):
    with FakeServer(max_messages_per_frame=2) as server:

        def push(peer, frame):
            if len(server.frames("PUSH")) == 3:
                peer.error(frame, "QUEUE_FULL")
            else:
                peer.ok(frame, 10 * len(server.frames("PUSH")), "accepted")

        server.answers["PUSH"] = push
        client = make_client(server.url, keys=False)
        with pytest.raises(mqclient.QueueFull) as caught:
            client.push_many("q", range(9))
        assert caught.value.pushed == [10, 11, 20, 21]
        server.answers["PUSH"] = lambda peer, _frame: peer.close()
        with pytest.raises(mqclient.ConnectionLost) as lost:
            client.push_many("q", range(9))
        assert lost.value.in_doubt
        assert lost.value.pushed == []


def test_pull_many_asks_again_only_while_frames_come_back_full(server: FakeServer, make_client):
    client = make_client(server.url)
    server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, "1", "2")
    assert len(client.pull_many("q", 5, wait=9)) == 2
    assert [frame[3:] for frame in server.frames("PULL")] == [
        (5, {"wait": pytest.approx(9, abs=1)})
    ]


def test_pull_many_asks_again_where_a_body_may_not_have_fitted(make_client):
    with FakeServer(max_frame_bytes=MIN_FRAME_BYTES, max_body_bytes=10_000) as server:
        body = b"x" * (MIN_FRAME_BYTES - FRAME_OVERHEAD_BYTES - 20_000)

        def pull(peer, frame):
            if len(server.frames("PULL")) < 3:
                peer.messages(frame, 1, body)
            else:
                peer.empty(frame)

        server.answers["PULL"] = pull
        assert len(make_client(server.url).pull_many("q", 5)) == 2
        assert [frame[3:] for frame in server.frames("PULL")] == [(5,), (4,), (3,)]


def test_what_was_pulled_before_an_error_is_returned(make_client):
    with FakeServer(max_messages_per_frame=2) as server:

        def pull(peer, frame):
            if len(server.frames("PULL")) == 1:
                peer.messages(frame, 1, "1", "2")
            else:
                peer.error(frame, "QUEUE_NOT_FOUND")

        server.answers["PULL"] = pull
        client = make_client(server.url)
        assert [message.body for message in client.pull_many("q", 5)] == [1, 2]
        with pytest.raises(mqclient.QueueNotFound):
            client.pull_many("q", 5)


def test_peek_takes_as_many_frames_as_it_needs(make_client):
    with FakeServer(max_messages_per_frame=2) as server:
        FakeQueues(server)
        client = make_client(server.url)
        client.push_many("q", range(5))
        assert [message.body for message in client.peek("q", 9, skip=1)] == [1, 2, 3, 4]
        assert [frame[3:] for frame in server.frames("PEEK")] == [
            (2, {"skip": 1}),
            (2, {"skip": 3}),
            (2, {"skip": 5}),
        ]


# Waiting and giving up


def test_an_early_empty_reply_is_asked_again_for_the_rest(server: FakeServer, make_client):
    def pull(peer, frame):
        if len(server.frames("PULL")) < 3:
            peer.empty(frame)
        else:
            peer.messages(frame, 1, "1")

    server.answers["PULL"] = pull
    assert make_client(server.url).pull("q", wait=50).body == 1
    waits = [frame[4]["wait"] for frame in server.frames("PULL")]
    assert len(waits) == 3
    assert 50 >= waits[0] > waits[1] > waits[2] > 20


def test_a_wait_that_has_run_out_is_not_asked_again(server: FakeServer, make_client):
    def pull(peer, frame):
        threading.Timer(frame[4]["wait"], peer.empty, [frame]).start()

    server.answers["PULL"] = pull
    assert make_client(server.url).pull("q", wait=0.1) is None
    assert len(server.frames("PULL")) == 1


def test_a_long_wait_is_asked_for_in_pieces(server: FakeServer, make_client):
    server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, "1")
    make_client(server.url).pull("q", wait=float("inf"))
    assert server.frames("PULL")[0][4] == {"wait": MAX_WAIT_SECONDS}


def test_a_pull_that_times_out_wakes_the_server_and_what_comes_late_is_kept(
    server: FakeServer, make_client
):
    client = make_client(server.url)
    with pytest.raises(
        mqclient.RequestTimeout, match=r"PULL was not answered within 0\.2"
    ) as caught:
        client.pull("q", wait=0.1, timeout=0.1)
    assert caught.value.in_doubt
    peer, wake = server.wait_for("WAKE")
    pull = server.frames("PULL")[0]
    assert wake[2] == pull[1]
    # While the answer is out, the next pull does not wait at the server but looks again.
    server.answers["PULL"] = lambda peer, frame: peer.empty(frame)
    peer.messages(pull, 7, '{"x": 1}', "2")
    peer.ok(wake, False)
    message = client.pull("q", wait=50, into=Job)
    assert (message.id, message.body) == (7, Job(1))
    assert len(server.frames("PULL")) <= 2
    assert [m.body for m in client.pull_many("q", 9)] == [2]
    assert client.pull("q") is None


def test_kept_messages_and_fresh_ones_come_together(server: FakeServer, make_client):
    client = make_client(server.url)
    with pytest.raises(mqclient.RequestTimeout):
        client.pull_many("q", 5, timeout=0.1)
    peer, _ = server.wait_for("WAKE")
    server.answers["PULL"] = lambda p, frame: p.messages(frame, 8, "2")
    peer.messages(server.frames("PULL")[0], 7, "1")
    client.ping()
    assert [message.id for message in client.pull_many("q", 5, wait=50)] == [7, 8]
    assert server.frames("PULL")[-1][3:] == (4,)


def test_kept_messages_are_of_their_queue_and_reported_when_lost(
    server: FakeServer, make_client, caplog
):
    client = make_client(server.url)
    with pytest.raises(mqclient.RequestTimeout):
        client.pull("q", timeout=0.1)
    peer, _ = server.wait_for("WAKE")
    peer.messages(server.frames("PULL")[0], 7, "1")
    server.answers["PULL"] = lambda peer, frame: peer.empty(frame)
    client.ping()
    assert client.pull("other") is None
    with caplog.at_level(logging.WARNING):
        client.close()
    assert "1 message(s) of queue 'q'" in caplog.text


def test_other_requests_that_time_out_are_in_doubt_and_their_replies_dropped(
    server: FakeServer, make_client
):
    client = make_client(server.url)
    with pytest.raises(mqclient.RequestTimeout) as caught:
        client.push("q", 1, timeout=0.1)
    assert caught.value.in_doubt
    with pytest.raises(mqclient.RequestTimeout) as caught:
        client.info("q", timeout=0.1)
    assert not caught.value.in_doubt
    peer, push = server.wait_for("PUSH")
    peer.ok(push, 1, "accepted")
    peer.error(server.frames("INFO")[0], "QUEUE_NOT_FOUND")
    client.ping()
    assert not server.frames("WAKE")
    assert len(server.peers) == 1


# Losing the connection


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.push("q", 1),
        lambda client: client.push_many("q", [1]),
        lambda client: client.pull("q"),
        lambda client: client.create("q"),
        lambda client: client.delete("q"),
        lambda client: client.purge("q"),
    ],
    ids=["push", "push_many", "pull", "create", "delete", "purge"],
)
def test_what_changes_something_is_in_doubt_and_not_repeated(server: FakeServer, make_client, use):
    client = make_client(server.url, keys=False)
    for verb in ("PUSH", "PULL", "CREATE", "DELETE", "PURGE"):
        server.answers[verb] = lambda peer, _frame: peer.close()
    with pytest.raises(mqclient.ConnectionLost, match="may or may not") as caught:
        use(client)
    assert caught.value.in_doubt
    assert len(server.peers) == 1
    client.ping()
    assert len(server.frames("AUTH")) == 2


@pytest.mark.parametrize("verb", ["PING", "INFO", "LIST", "PEEK"])
def test_what_only_looks_is_tried_once_more(server: FakeServer, make_client, verb):
    client = make_client(server.url)
    use = {
        "PING": client.ping,
        "INFO": lambda: client.info("q"),
        "LIST": client.queues,
        "PEEK": lambda: client.peek("q"),
    }[verb]
    results = {"PING": [], "INFO": [INFO], "LIST": [[]], "PEEK": [[], []]}[verb]

    def answer(peer, frame):
        if len(server.frames(verb)) == 1:
            peer.close()
        else:
            peer.ok(frame, *results)

    server.answers[verb] = answer
    use()
    assert len(server.frames(verb)) == 2
    server.answers[verb] = lambda peer, _frame: peer.close()
    with pytest.raises(mqclient.ConnectionLost) as caught:
        use()
    assert not caught.value.in_doubt
    assert len(server.frames(verb)) == 4


def test_a_goodbye_is_the_cause(server: FakeServer, make_client):
    client = make_client(server.url, keys=False)
    server.answers["PUSH"] = lambda peer, _frame: peer.break_off("SHUTTING_DOWN")
    with pytest.raises(mqclient.ConnectionLost) as caught:
        client.push("q", 1)
    assert isinstance(caught.value.__cause__, mqclient.ShuttingDown)


def test_a_broken_stream_is_the_requests_own_error(server: FakeServer, make_client):
    client = make_client(server.url)
    server.answers["PUSH"] = lambda peer, _frame: peer.break_off("MALFORMED_FRAME")
    with pytest.raises(mqclient.MalformedFrame):
        client.push("q", 1)
    client.ping()


def test_a_reply_that_nobody_asked_for_ends_the_connection(server: FakeServer, make_client):
    client = make_client(server.url, keys=False)
    server.answers["PUSH"] = lambda peer, _frame: peer.send((99, "OK", 1))
    with pytest.raises(mqclient.ConnectionLost) as caught:
        client.push("q", 1)
    assert isinstance(caught.value.__cause__, mqclient.ProtocolError)


def test_a_connection_that_died_while_it_was_idle_is_noticed_before_a_push(
    server: FakeServer, make_client, monkeypatch
):
    for module in ("blocking", "streaming"):
        monkeypatch.setattr(f"mqclient.{module}._IDLE_SECONDS", -1.0)
    FakeQueues(server)
    client = make_client(server.url)
    client.push("q", 1)
    server.stop()
    server.start()
    assert client.push("q", 2) == 2
    assert len(server.frames("AUTH")) == 2
    server.peers[-1].break_off("SHUTTING_DOWN")
    server.stop()
    server.start()
    assert client.push("q", 3) == 3


# Silence


@pytest.fixture
def _quick_probes(monkeypatch):
    monkeypatch.setattr("mqclient.probing.QUIET_SECONDS", 0.1)
    monkeypatch.setattr("mqclient.probing.LOST_SECONDS", 0.2)


@pytest.mark.usefixtures("_quick_probes")
def test_a_server_that_says_nothing_is_asked_and_then_left(server: FakeServer, make_client):
    client = make_client(server.url)
    client.ping()
    server.answers["PING"] = lambda _peer, _frame: None
    started_at = time.monotonic()
    with pytest.raises(mqclient.ConnectionLost, match="no answer to a PING") as caught:
        client.pull("q", wait=3600)
    assert caught.value.in_doubt
    assert 0.2 < time.monotonic() - started_at < 10
    assert len(server.frames("PING")) == 2


@pytest.mark.usefixtures("_quick_probes")
def test_a_server_that_answers_is_waited_for(server: FakeServer, make_client):
    def ping(peer, frame):
        peer.ok(frame)
        if len(server.frames("PING")) == 6:
            peer.messages(server.frames("PULL")[0], 7, "1")

    server.answers["PING"] = ping
    assert make_client(server.url).pull("q", wait=3600).id == 7
    assert len(server.peers) == 1


@pytest.mark.usefixtures("_quick_probes")
def test_half_of_a_frame_is_a_sign_of_life(server: FakeServer, make_client):
    stop = threading.Event()

    server.answers["PING"] = lambda _peer, _frame: None
    body = b"\x93%c\xa2OK\xcd\x01\x00"

    def answer(peer, frame):
        data = b"\xce\x00\x00\x00\x08" + body % frame[1]
        for byte in data:
            peer.send_bytes(bytes([byte]))
            stop.wait(0.06)

    server.answers["PURGE"] = answer
    assert make_client(server.url).purge("q") == 256


# Pipelines


def test_a_pipeline_is_sent_in_one_go_and_keeps_the_order(server: FakeServer, make_client):
    held = []
    server.answers["PUSH"] = lambda _peer, frame: held.append(frame)

    def purge(peer, frame):  # answers last what came first
        peer.ok(frame, 5)
        for number, push in enumerate(reversed(held)):
            peer.ok(push, number, "accepted")

    server.answers["PURGE"] = purge
    with make_client(server.url).pipeline() as pipeline:
        pipeline.push("q", 1)
        pipeline.push_many("q", [2, 3])
        pipeline.purge("q")
        assert len(pipeline) == 3
        assert not server.peers
    assert pipeline.results == [1, [0, 1], 5]


def test_a_pipeline_has_every_call(server: FakeServer, make_client):
    FakeQueues(server)
    for verb in ("CREATE", "INFO"):
        server.answers[verb] = lambda peer, frame: peer.ok(frame, INFO)
    server.answers["DELETE"] = lambda peer, frame: peer.ok(frame, 0)
    server.answers["LIST"] = lambda peer, frame: peer.ok(frame, [INFO])
    server.answers["HOLDERS"] = lambda peer, frame: peer.ok(frame, [])
    server.answers["REDRIVE"] = lambda peer, frame: peer.ok(frame, frame[3]["max"])
    pipeline = make_client(server.url).pipeline()
    pipeline.create("q", if_missing=True)
    pipeline.push("q", Job(1), headers={"a": 1})
    pipeline.push_many("q", [2, 3, 4])
    pipeline.peek("q", 2, skip=1)
    pipeline.pull("q", into=Job)
    pipeline.pull_many("q", 9, wait=1)
    pipeline.pull("q")
    pipeline.info("q")
    pipeline.queues("*")
    pipeline.ping()
    pipeline.delete("q")
    pipeline.holders("*")
    pipeline.redrive("q", count=3)
    results = pipeline.run()
    assert results[1:3] == [1, [2, 3, 4]]
    assert [message.body for message in results[3]] == [2, 3]
    assert (results[4].body, results[4].headers) == (Job(1), {"a": 1})
    assert [message.body for message in results[5]] == [2, 3, 4]
    assert results[6] is None
    assert results[8][0].queue == "jobs"
    assert results[9:] == [None, 0, [], 3]


def test_errors_of_a_pipeline_stand_in_their_places_and_the_first_is_raised(
    server: FakeServer, make_client
):
    server.answers["PURGE"] = lambda peer, frame: (
        peer.ok(frame, 5)
        if frame[2] == "good"
        else peer.error(frame, "QUEUE_NOT_FOUND", queue=frame[2])
    )
    client = make_client(server.url)
    for raises in (True, False):
        pipeline = client.pipeline(raise_errors=raises)
        for queue in ("good", "bad", "good", "worse"):
            pipeline.purge(queue)
        if raises:
            with pytest.raises(mqclient.QueueNotFound) as caught:
                pipeline.run()
            assert caught.value.details == {"queue": "bad"}
        else:
            assert pipeline.run() is pipeline.results
        assert [type(r) for r in pipeline.results] == [int, mqclient.QueueNotFound] * 2


def test_a_pipeline_that_is_cut_off_has_what_was_answered(server: FakeServer, make_client):
    server.answers["PURGE"] = lambda peer, frame: (
        peer.ok(frame, 5) if frame[2] == "good" else peer.close()
    )
    pipeline = make_client(server.url).pipeline(raise_errors=False)
    for queue in ("good", "bad", "good"):
        pipeline.purge(queue)
    first, *others = pipeline.run()
    assert first == 5
    assert all(isinstance(error, mqclient.ConnectionLost) for error in others)


def test_a_pipeline_that_times_out_gives_up_what_is_open(server: FakeServer, make_client):
    server.answers["PURGE"] = lambda peer, frame: peer.ok(frame, 5)
    pipeline = make_client(server.url).pipeline(raise_errors=False, timeout=0.1)
    pipeline.pull("q", wait=0.1)
    pipeline.pull_many("r", 5)
    pipeline.purge("q")
    one, two, three = pipeline.run()
    assert isinstance(one, mqclient.RequestTimeout)
    assert isinstance(two, mqclient.RequestTimeout)
    assert three == 5
    server.wait_for("WAKE", 2)
    assert [frame[2] for frame in server.frames("WAKE")] == [f[1] for f in server.frames("PULL")]


def test_a_late_message_of_a_pipeline_is_kept(server: FakeServer, make_client):
    client = make_client(server.url)
    pipeline = client.pipeline(raise_errors=False, timeout=0.1)
    pipeline.pull("q")
    pipeline.run()
    peer, _ = server.wait_for("WAKE")
    peer.messages(server.frames("PULL")[0], 7, "1")
    client.ping()
    assert client.pull("q").id == 7


def test_one_bad_call_does_not_stop_the_others(make_client):
    with FakeServer(max_body_bytes=10) as server:
        FakeQueues(server)
        pipeline = make_client(server.url).pipeline(raise_errors=False)
        pipeline.push("q", b"x")
        pipeline.push("q", b"x" * 100)
        pipeline.push("q", b"x")
        assert [type(result) for result in pipeline.run()] == [int, mqclient.BodyTooLarge, int]


def test_a_pipeline_runs_once(server: FakeServer, make_client):
    client = make_client(server.url)
    pipeline = client.pipeline()
    assert pipeline.run() == []
    for use in (pipeline.run, pipeline.ping):
        with pytest.raises(mqclient.InterfaceError, match="has run"):
            use()
    with client.pipeline() as pipeline:
        pipeline.ping()
        assert pipeline.run() == [None]
    with pytest.raises(ZeroDivisionError), client.pipeline() as pipeline:
        pipeline.push("q", 1 // 0)
    assert not server.frames("PUSH")


def test_a_pipelines_push_many_is_one_frame(make_client):
    pipeline = make_client("mq://:t@h").pipeline()
    for bodies in ([], range(16_385)):
        with pytest.raises(mqclient.InterfaceError, match="one frame"):
            pipeline.push_many("q", bodies)


def test_a_pipeline_whose_replies_fill_every_buffer_does_not_lock_up(make_client):
    with FakeServer() as server:
        body = "x" * 100_000
        server.answers["PULL"] = lambda peer, frame: peer.messages(frame, 1, body)
        server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, 1, "accepted")
        pipeline = make_client(server.url).pipeline()
        for _ in range(100):
            pipeline.pull("q")
            pipeline.push("q", body)
        results = pipeline.run()
        assert len(results) == 200
        assert results[-2].raw == body


# Forks and loops


def test_a_forked_child_has_a_connection_of_its_own(server: FakeServer, make_client):
    FakeQueues(server)
    client = make_client(server.url)
    client.push("q", 1)
    child = os.fork()
    if not child:  # pragma: no cover
        code = 1
        try:
            if make_client.kind == "asyncio":
                asyncio.events._set_running_loop(None)
                client.loop = asyncio.new_event_loop()
            code = 0 if client.push("q", 2) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.push("q", 3) == 3
    assert len(server.frames("AUTH")) == 2
