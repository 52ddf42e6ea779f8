"""Bad input and bad company: the HTTP gateway with clients and a server that do not behave."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import struct
import subprocess
import threading

import httpx
import pytest

from mqclient import Client
from mqwire.codes import Code, GatewayCode
from support.server import running_server
from support.web import refused, running_both, running_gateway, until

MOST_BYTES = 64 * 1024
SETTINGS = {
    "MAX_REQUEST_BYTES": str(MOST_BYTES),
    "MAX_BUFFERED_BYTES": str(MOST_BYTES * 4),
    "MAX_CONNECTIONS": "40",
    "MAX_STREAMS": "2",
    "RECEIVE_SECONDS": "0.5",
    "SEND_SECONDS": "0.5",
    "KEEPALIVE_SECONDS": "0.1",
}


@pytest.fixture(scope="module")
def gateway():
    with running_both(SETTINGS) as running:
        yield running


@pytest.fixture
def queue(made_queue):
    return made_queue


RESET = struct.pack("ii", 1, 0)


class Peer:
    """A client of bare bytes."""

    def __init__(self, gateway, *, receive_bytes=0):
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        self.token = gateway.token()

    def send(self, line, *fields, body=b""):
        head = [f"{line} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.token}", *fields]
        self.socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def answer(self):
        """Read to the end of the connection."""
        data = b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.socket.close()


# What is in a request

PUSH = "/v1/queues/{queue}/messages"
BAD_DOCUMENTS = [
    (PUSH, "{", GatewayCode.MALFORMED_BODY),
    (PUSH, '{"body": 1} x', GatewayCode.MALFORMED_BODY),
    (PUSH, '{"body": NaN}', GatewayCode.MALFORMED_BODY),
    (PUSH, '{"body": ' + "[" * 5000, GatewayCode.MALFORMED_BODY),
    (PUSH, b'{"body": "\xff"}', GatewayCode.MALFORMED_BODY),
    (PUSH, "[]", Code.WRONG_TYPE),
    (PUSH, "{}", GatewayCode.MISSING_FIELD),
    (PUSH, '{"body": 1, "bodies": 2}', Code.UNKNOWN_OPTION),
    (PUSH, '{"body": 1, "priority": "high"}', Code.WRONG_TYPE),
    (PUSH, '{"body": 1, "priority": 256}', Code.OUT_OF_RANGE),
    (PUSH, '{"body": 1, "ttl": 0}', Code.OUT_OF_RANGE),
    (PUSH, '{"body": 1, "durability": "safe"}', Code.OUT_OF_RANGE),
    (PUSH, '{"body": 1, "messages": []}', Code.OUT_OF_RANGE),
    (PUSH, '{"body": 1, "messages": [{"body": 2}]}', Code.CONFLICTING_OPTIONS),
    (PUSH, '{"body": 1, "delay": 1, "not_before": 1}', Code.CONFLICTING_OPTIONS),
    (PUSH, '{"body": 1, "headers": {"a": [1]}}', Code.BAD_HEADERS),
    (PUSH, '{"body": 1, "headers": {"a": {"base64": "?"}}}', Code.WRONG_TYPE),
    (PUSH, '{"body": 1, "encoding": "base64"}', Code.WRONG_TYPE),
    (PUSH, '{"body": "?", "encoding": "base64"}', Code.WRONG_TYPE),
    ("/v1/queues", '{"queue": "../x"}', Code.BAD_NAME),
    ("/v1/queues", '{"queue": ""}', Code.OUT_OF_RANGE),
    ("/v1/queues", '{"queue": "x", "max_messages": 0}', Code.OUT_OF_RANGE),
    ("/v1/step", '{"parts": [{"do": "nothing"}]}', Code.OUT_OF_RANGE),
    ("/v1/step", '{"parts": []}', Code.OUT_OF_RANGE),
    ("/v1/leases/x/ack", "{}", Code.OUT_OF_RANGE),
    ("/v1/leases/1-x/ack", "{}", Code.OUT_OF_RANGE),
    ("/v1/leases/99999999999999999999-1/ack", "{}", Code.OUT_OF_RANGE),
    ("/v1/leases/1-2/ack", "{}", Code.LEASE_LOST),
    ("/v1/leases/1-2/nack", '{"lost": true, "delay": 1}', Code.CONFLICTING_OPTIONS),
    ("/v1/queues/{queue}/status", '{"ids": [0]}', Code.OUT_OF_RANGE),
    ("/token", '{"user": "a"}', GatewayCode.MISSING_FIELD),
]


@pytest.mark.parametrize(("path", "text", "code"), BAD_DOCUMENTS)
def test_a_bad_document_is_refused(web, queue, path, text, code):
    kind = {"Content-Type": "application/json"}
    refused(web.post(path.format(queue=queue), content=text, headers=kind), code)
    assert web.get(f"/v1/queues/{queue}").json()["pushed"] == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("max=0", Code.OUT_OF_RANGE),
        ("max=many", Code.WRONG_TYPE),
        ("wait=-1", Code.OUT_OF_RANGE),
        ("lease=0.01", Code.OUT_OF_RANGE),
        ("most=1", Code.UNKNOWN_OPTION),
        ("max=1&max=2", GatewayCode.MALFORMED_QUERY),
        ("max", GatewayCode.MALFORMED_QUERY),
    ],
)
def test_a_bad_query_is_refused(web, queue, query, code):
    refused(web.post(f"/v1/queues/{queue}/pull?{query}"), code)


def test_what_is_no_document_where_one_is_wanted_is_refused(web, queue):
    kind = {"Content-Type": "text/plain"}
    reply = web.post("/v1/step", content="{}", headers=kind)
    refused(reply, GatewayCode.UNSUPPORTED_MEDIA_TYPE)
    key = {"Idempotency-Key": "k" * 129}
    refused(web.post(PUSH.format(queue=queue), json={"body": 1}, headers=key), Code.OUT_OF_RANGE)


def test_a_full_queue_is_said(web, mq):
    mq.create("small", max_messages=1)
    path = PUSH.format(queue="small")
    assert web.post(path, json={"body": 1}).status_code == 201
    assert refused(web.post(path, json={"body": 1}), Code.QUEUE_FULL)["retryable"] is True


# Bounds, at the bound and one past it


def test_a_body_may_be_as_large_as_it_may(web, queue):
    kind = {"Content-Type": "application/octet-stream"}
    path = PUSH.format(queue=queue)
    assert web.post(path, content=b"x" * MOST_BYTES, headers=kind).status_code == 201
    problem = refused(
        web.post(path, content=b"x" * (MOST_BYTES + 1), headers=kind), Code.BODY_TOO_LARGE
    )
    assert problem["details"] == {"limit": MOST_BYTES, "asked": MOST_BYTES + 1}


@pytest.mark.parametrize("extra", [0, 1])
def test_a_body_of_unknown_length_is_judged_while_it_comes(web, queue, extra):
    pieces = [b"x" * 1024] * (MOST_BYTES // 1024) + [b"x"] * extra
    kind = {"Content-Type": "application/octet-stream"}
    reply = web.post(PUSH.format(queue=queue), content=iter(pieces), headers=kind)
    if extra:
        refused(reply, Code.BODY_TOO_LARGE)
    else:
        assert reply.status_code == 201


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(gateway, queue):
    with Peer(gateway) as peer:
        peer.send(f"POST {PUSH.format(queue=queue)}", f"Content-Length: {MOST_BYTES + 1}")
        assert peer.answer().startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_not_waited_for(gateway, queue):
    with Peer(gateway) as peer:
        peer.send(f"POST {PUSH.format(queue=queue)}", "Content-Length: 10", body=b"{")
        answer = peer.answer()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"code":"REQUEST_LATE"' in answer


@pytest.mark.parametrize("begun", [b"", b"POST /v1/queu", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(gateway, begun):
    with Peer(gateway) as peer:
        peer.socket.sendall(begun)
        assert peer.answer().startswith(b"HTTP/1.1 408")


def test_a_head_that_goes_on_is_cut(gateway):
    with Peer(gateway) as peer:
        peer.socket.sendall(b"GET /health HTTP/1.1\r\nX: ")
        try:
            for _ in range(100):
                peer.socket.sendall(b"x" * 4096)
            answer = peer.answer()
        except OSError:
            return  # it was cut while there was still something to be read
        assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("data", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\xce\0\0\0\x01\x90"])
def test_what_is_no_http_is_refused(gateway, data):
    with Peer(gateway) as peer:
        peer.socket.sendall(data)
        answer = peer.answer()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b'"code":"MALFORMED_REQUEST"' in answer


def test_one_connection_too_many_is_refused(gateway):
    peers = [Peer(gateway) for _ in range(45)]
    try:
        assert b"GATEWAY_FULL" in peers[-1].answer()
    finally:
        for peer in peers:
            peer.socket.close()
    until(lambda: httpx.get(f"{gateway.url}/health").status_code == 200)


# Clients that leave


def test_who_leaves_while_a_pull_waits_costs_no_message(gateway, mq, queue):
    for _ in range(20):
        with Peer(gateway) as peer:
            peer.send(f"POST /v1/queues/{queue}/pull?wait=20")
            until(lambda: mq.info(queue).waiting == 1)
        until(lambda: mq.info(queue).waiting == 0)
    mq.push(queue, "kept")
    assert mq.pull(queue).body == "kept"


def test_who_leaves_just_when_a_message_comes_has_it_or_leaves_it(gateway, mq, queue):
    """Whatever is read is gone; whatever is handed back is there once, for the next one."""
    for number in range(45):
        with Peer(gateway) as peer:
            peer.send(f"POST /v1/queues/{queue}/pull?wait=20")
            until(lambda: mq.info(queue).waiting == 1)
            pushing = threading.Thread(target=mq.push, args=(queue, number))
            pushing.start()
            answer = peer.socket.recv(65536) if number % 3 == 0 else b""
            if number % 3 == 1:  # it is reset, so that nobody reads what comes
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        pushing.join()
        until(lambda: mq.info(queue).leased == 0)
        left = [each.body for each in mq.pull_many(queue, 9)]
        assert left in ([], [number])
        assert not (answer and left)
    info = mq.info(queue)
    assert info.acked + info.pulled == 45


@pytest.mark.parametrize("leaves", [True, False])
def test_who_does_not_take_the_answer_has_not_got_the_message(gateway, mq, queue, leaves):
    """The client leaves in the middle of a large answer, or takes nothing of it any more."""
    large = b"x" * (7 << 20)
    mq.push(queue, large)
    with Peer(gateway, receive_bytes=4096) as peer:
        peer.send(f"POST /v1/queues/{queue}/pull", "Accept: application/octet-stream")
        assert peer.socket.recv(1024).startswith(b"HTTP/1.1 200")
        assert mq.info(queue).leased == 1
        if leaves:
            peer.socket.close()
        until(lambda: mq.info(queue).ready == 1)
    message = mq.pull(queue)
    assert message.raw == large


def test_who_takes_it_all_has_got_the_message(gateway, mq, queue):
    mq.push(queue, b"x" * (7 << 20))
    with gateway.client() as client:
        wanted = {"Accept": "application/octet-stream"}
        assert len(client.post(f"/v1/queues/{queue}/pull", headers=wanted).content) == 7 << 20
    until(lambda: mq.info(queue).acked == 1)


# Event streams


def test_a_bad_filter_is_refused_before_the_stream_begins(web):
    refused(web.get("/events?pattern=a/b"), Code.BAD_NAME)
    refused(web.get("/events?events=shouted"), Code.OUT_OF_RANGE)


def events_of(reply):
    kind = None
    for line in reply.iter_lines():
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


def test_events_come_as_they_happen_and_nothing_is_replayed(gateway, mq, queue):
    with gateway.client() as client:
        query = f"/events?pattern={queue}&events=pushed,acked"
        with client.stream("GET", query, headers={"Last-Event-ID": "old-1"}) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            events = events_of(reply)
            assert next(events) == ("missed", {"count": None})
            until(lambda: _seen_by_watch(mq, queue, events))
            mq.push_many(queue, [1, 2, 3])
            kind, event = next(events)
            assert (kind, event["queue"], event["count"]) == ("pushed", queue, 3)


def _seen_by_watch(mq, queue, events):
    """Push until the stream tells of it: the watch begins at its own time."""
    mq.push(queue, 0)
    return next(events)[0] == "pushed"


def test_a_silent_stream_is_kept_alive(gateway, queue):
    with gateway.client() as client, client.stream("GET", f"/events?pattern={queue}") as reply:
        lines = (line for line in reply.iter_lines() if line == ":")
        assert [next(lines), next(lines)] == [":", ":"]


def test_one_stream_too_many_is_refused(gateway, queue):
    with gateway.client() as client, Peer(gateway) as one, Peer(gateway) as two:
        for peer in (one, two):
            peer.send(f"GET /events?pattern={queue}")
            assert peer.socket.recv(4096).startswith(b"HTTP/1.1 200")
        refused(client.get("/events"), GatewayCode.GATEWAY_FULL)
        with Peer(gateway) as again:
            until(lambda: client.get("/metrics").status_code == 200)
            again.send("GET /health", "Connection: close")
            assert b"200 OK" in again.answer()


# mqd goes away


def test_mqd_is_killed_and_started_again_under_a_curl_that_pulls(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    settings = {"CONNECT_SECONDS": "0.2"}
    with running_server() as server, running_gateway(server, settings) as gateway:
        port = server.port
        with gateway.client() as client:
            client.post("/v1/queues", json={"queue": "jobs"})
            command = [
                "curl",
                "--no-progress-meter",
                "--retry",
                "60",
                "--retry-delay",
                "1",
                "-X",
                "POST",
            ]
            command += ["-o", str(tmp_path / "answer"), "-H", f"X-API-Key: {gateway.token()}"]
            curl = subprocess.Popen(
                [*command, f"{gateway.url}/v1/queues/jobs/pull?wait=60"],
                stderr=subprocess.PIPE,
                text=True,
            )
            with Client(server.url) as mq:
                until(lambda: mq.info("jobs").waiting == 1)
            server.stop(signal.SIGKILL)
            until(lambda: client.get("/ready").status_code == 503)
            reply = client.get("/v1/queues")
            refused(reply, GatewayCode.SERVER_AWAY)
            assert reply.headers["retry-after"] == "1"
            assert client.get("/health").status_code == 200
            assert "mqd_up 0.0" in client.get("/metrics").text
            again = {"server": {"port": port}}
            with running_server(overrides=again, directory=server.directory) as mqd:
                until(lambda: client.get("/ready").status_code == 200)
                with Client(mqd.url) as mq:
                    mq.push("jobs", "after")
                _, told = curl.communicate(timeout=30)
                answer = json.loads((tmp_path / "answer").read_text())
                assert answer["messages"][0]["body"] == "after"
                assert "retry" in told


def test_a_gateway_that_is_stopped_ends_what_waits(gateway, mq, queue):
    with running_gateway(gateway.server) as another, another.client() as client:
        replies = []
        thread = threading.Thread(
            target=lambda: replies.append(client.post(f"/v1/queues/{queue}/pull?wait=60"))
        )
        thread.start()
        until(lambda: mq.info(queue).waiting == 1)
        assert another.stop() == 0
        thread.join()
        refused(replies[0], Code.SHUTTING_DOWN)
        mq.push(queue, 1)
        assert mq.pull(queue).body == 1
