"""What a newcomer with curl gets wrong: it is refused with a sentence that helps, never ignored."""

from __future__ import annotations

import pytest

from mqwire.codes import Code, GatewayCode
from support.web import refused


@pytest.fixture
def queue(made_queue):
    return made_queue


def told(reply, code):
    """Return what a refusal says to people."""
    return refused(reply, code)["detail"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; x=y"])
@pytest.mark.parametrize("query", ["", "?raw=true"])
def test_a_form_is_no_message(web, queue, kind, query):
    path = f"/v1/queues/{queue}/messages{query}"
    reply = web.post(path, content='{"body": 1}', headers={"Content-Type": kind})
    detail = told(reply, GatewayCode.UNSUPPORTED_MEDIA_TYPE)
    assert "curl --json" in detail
    assert "application/octet-stream" in detail
    assert web.get(f"/v1/queues/{queue}").json()["pushed"] == 0


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/queues/{}/pull?wait=1", "/v1/tasks/{}/next"])
def test_a_body_where_none_is_taken_is_refused(web, mq, queue, path, is_chunked):
    mq.push(queue, 1)
    body = b'{"max": 5}'
    reply = web.post(path.format(queue), content=iter([body]) if is_chunked else body)
    assert "query" in told(reply, GatewayCode.UNEXPECTED_BODY)
    assert web.get(f"/v1/queues/{queue}").json()["ready"] == 1
    assert web.post(path.format(queue), content=iter([b""])).status_code == 200


def test_a_body_does_not_choose_what_is_deleted(web, mq, queue):
    mq.push(queue, 1)
    reply = web.request("DELETE", f"/v1/tasks/{queue}", json={"max": 0})
    told(reply, GatewayCode.UNEXPECTED_BODY)
    assert web.get(f"/v1/queues/{queue}").json()["ready"] == 1


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("priority=7", {"priority": 8}),
        ("durability=written", {"durability": "accepted"}),
        ('headers={"a":1}', {}),
    ],
)
def test_what_is_said_twice_is_refused(web, queue, query, more):
    reply = web.post(f"/v1/queues/{queue}/messages?{query}", json={"body": 1, **more})
    assert query.partition("=")[0] in told(reply, Code.CONFLICTING_OPTIONS)
    assert web.get(f"/v1/queues/{queue}").json()["pushed"] == 0


def test_a_redrive_says_which(web, mq, queue):
    mq.push_many(queue, [1, 2, 3])
    lease = web.post(f"/v1/queues/{queue}/pull?lease=30&max=3").json()["lease"]["id"]
    assert web.post(f"/v1/leases/{lease}/reject", json={}).json() == {"count": 3}
    path = f"/v1/queues/{queue}/redrive"
    for form in (None, {}, {"all": False}, {"cause": "reject"}):
        assert '"all": true' in told(web.post(path, json=form), GatewayCode.MISSING_FIELD)
    told(web.post(path, json={"all": True, "max": 1}), Code.CONFLICTING_OPTIONS)
    assert web.get(f"/v1/queues/{queue}").json()["dead"] == 3
    assert web.post(path, json={"ids": [3]}).json() == {"moved": 1}
    assert web.post(path, json={"max": 1}).json() == {"moved": 1}
    assert web.post(path, json={"all": True, "cause": "reject"}).json() == {"moved": 1}


def test_a_line_that_is_no_document_is_named(web, queue):
    for body, line in ((b'{"a": 1}\n{"a"\n3', 2), (b"1\n\n3", 2), (b'1\n2\n"\xff"\n4', 3)):
        kind = {"Content-Type": "application/x-ndjson"}
        reply = web.post(f"/v1/queues/{queue}/messages", content=body, headers=kind)
        assert f"line {line} is" in told(reply, GatewayCode.MALFORMED_BODY)
        assert reply.json()["details"] == {"line": line}


def test_a_body_that_is_not_there_or_breaks_off_is_told_as_that(web, queue):
    path = f"/v1/queues/{queue}/messages"
    assert "the body is empty" in told(web.post(path), GatewayCode.MALFORMED_BODY)
    reply = web.post(path, content=b'{"body": ')
    assert "it ends too early" in told(reply, GatewayCode.MALFORMED_BODY)


def test_a_full_queue_says_when_to_try_again(web, mq):
    mq.create("narrow", max_messages=1)
    path = "/v1/queues/narrow/messages"
    reply = [web.post(path, json={"body": 1}) for _ in range(2)][1]
    told(reply, Code.QUEUE_FULL)
    assert reply.headers["retry-after"] == "1"


def test_json_ends_a_line_for_people_at_a_terminal(web, mq):
    mq.create("lines", if_missing=True)
    mq.push_many("lines", [1, 2])
    for method, path in (
        ("GET", "/health"),
        ("GET", "/v1/nosuch"),
        ("POST", "/v1/queues/lines/pull?lease=60"),
        ("POST", "/v1/queues/lines/pull"),
    ):
        content = web.request(method, path).content
        assert content.endswith(b"}\n"), (path, content)


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/queues"])
def test_a_head_is_a_get_without_a_body(web, path):
    reply = web.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["content-length"]) > 0
