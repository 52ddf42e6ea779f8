"""The HTTP gateway in front of a real server: every operation, as whoever may use it."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from mqwire.codes import Code, GatewayCode
from mqwire.packs import join_bodies
from support.raw import Raw
from support.server import PASSWORD
from support.web import refused


@pytest.fixture
def queue(made_queue):
    return made_queue


def pushed(web, queue, *bodies):
    messages = [{"body": body} for body in bodies]
    reply = web.post(f"/v1/queues/{queue}/messages", json={"messages": messages})
    assert reply.status_code == 201, reply.text
    return reply.json()


# Who comes in


def test_a_password_gives_a_token_and_a_token_its_user(web, gateway):
    reply = web.post("/token", json={"user": "agent", "password": PASSWORD}).json()
    assert (reply["user"], reply["role"], reply["token_type"]) == ("agent", "agent", "Bearer")
    assert reply["expires_at"] > time.time()
    for headers in (
        {"Authorization": f"Bearer {reply['token']}"},
        {"X-API-Key": reply["token"]},
    ):
        with gateway.client() as client:
            client.headers.pop("Authorization")
            assert client.get("/v1/me", headers=headers).json()["user"] == "agent"


def test_who_says_nothing_or_something_wrong_is_not_let_in(gateway):
    with gateway.client() as client:
        client.headers.pop("Authorization")
        said = {"user": "admin", "password": "wrong"}
        refused(client.post("/token", json=said), Code.AUTH_FAILED)
        reply = client.get("/v1/queues")
        refused(reply, Code.NOT_AUTHENTICATED)
        assert reply.headers["www-authenticate"].startswith("Bearer")
        for value in ("Bearer", "Basic YTpi"):
            refused(client.get("/v1/me", headers={"Authorization": value}), Code.NOT_AUTHENTICATED)
        for value in ("Bearer wrong", "Bearer mqt_wrong"):
            refused(client.get("/v1/me", headers={"Authorization": value}), Code.AUTH_FAILED)


def test_a_token_is_less_than_its_user_and_ends_when_it_is_revoked(web, gateway):
    said = {"user": "admin", "password": PASSWORD, "role": "basic", "comment": "a page"}
    made = web.post("/token", json={**said, "lifetime": 60}).json()
    assert made["role"] == "user"
    key = {"X-API-Key": made["token"]}
    who = httpx.get(f"{gateway.url}/v1/me", headers=key).json()
    assert (who["user"], who["role"], who["token_id"]) == ("admin", "user", made["id"])
    refused(
        httpx.post(f"{gateway.url}/v1/queues", headers=key, json={"queue": "x"}), Code.ACCESS_DENIED
    )
    listed = web.get("/v1/tokens").json()["tokens"]
    assert made["id"] in [each["id"] for each in listed]
    assert made["token"] not in str(listed)
    assert web.delete(f"/v1/tokens/{made['id']}").status_code == 204
    refused(web.delete(f"/v1/tokens/{made['id']}"), Code.TOKEN_NOT_FOUND)
    deadline = time.monotonic() + 10
    for path in ("/v1/queues", "/v1/me"):
        while httpx.get(f"{gateway.url}{path}", headers=key).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    refused(httpx.get(f"{gateway.url}/v1/queues", headers=key), Code.AUTH_FAILED)


def test_a_token_ends_with_the_password_that_it_was_made_with(web, gateway):
    form = {"user": "eve", "role": "agent", "password": "battery staple"}
    assert web.post("/v1/users", json=form).status_code == 201
    made = web.post("/token", json={"user": "eve", "password": "battery staple"}).json()
    key = {"X-API-Key": made["token"]}
    with httpx.Client(base_url=gateway.url, headers=key) as eve:
        assert eve.get("/v1/me").json()["is_managed"] is True
        assert web.get("/v1/me").json()["is_managed"] is False
        wrong = {"old": "wrong", "new": "stapled battery"}
        refused(eve.post("/v1/me/password", json=wrong), Code.AUTH_FAILED)
        assert eve.get("/v1/me").status_code == 200
        right = {"old": "battery staple", "new": "stapled battery"}
        assert eve.post("/v1/me/password", json=right).status_code == 204
        for path in ("/v1/me", "/v1/queues"):
            refused(eve.get(path), Code.AUTH_FAILED)


def test_a_revoked_token_that_holds_leases_is_of_no_use(web, gateway, queue):
    said = {"user": "agent", "password": PASSWORD, "lifetime": 60}
    made = web.post("/token", json=said).json()
    pushed(web, queue, 1)
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": made["token"]}) as agent:
        assert agent.post(f"/v1/queues/{queue}/pull?lease=60").status_code == 200
        assert web.delete(f"/v1/tokens/{made['id']}").status_code == 204
        deadline = time.monotonic() + 10
        while agent.get("/v1/me").status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        refused(agent.get("/v1/me"), Code.AUTH_FAILED)


def test_users_are_managed(web, gateway):
    form = {"user": "ada", "role": "manager", "password": "battery staple"}
    made = web.post("/v1/users", json=form)
    assert (made.status_code, made.json()["role"]) == (201, "agent")
    refused(web.post("/v1/users", json=form), Code.USER_EXISTS)
    assert "ada" in [each["user"] for each in web.get("/v1/users?pattern=a*").json()["users"]]
    said = {"user": "ada", "password": "battery staple"}
    token = web.post("/token", json=said).json()["token"]
    with gateway.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        form = {"old": "battery staple", "new": "stapled battery"}
        refused(client.post("/v1/me/password", json={**form, "old": "x"}), Code.AUTH_FAILED)
        assert client.post("/v1/me/password", json=form).status_code == 204
    refused(web.post("/token", json=said), Code.AUTH_FAILED)
    assert web.patch("/v1/users/ada", json={"disabled": True}).json()["is_disabled"] is True
    said["password"] = "stapled battery"
    refused(web.post("/token", json=said), Code.AUTH_FAILED)
    assert web.delete("/v1/users/ada").status_code == 204
    refused(web.delete("/v1/users/ada"), Code.USER_NOT_FOUND)


# Queues


def test_a_queue_is_made_looked_at_stopped_emptied_and_deleted(web):
    form = {"queue": "made", "max_attempts": 3, "dead_letter": "made.dead"}
    made = web.post("/v1/queues", json=form)
    assert made.status_code == 201
    assert made.json()["options"]["max_attempts"] == 3
    refused(web.post("/v1/queues", json=form), Code.QUEUE_EXISTS)
    assert web.post("/v1/queues", json={**form, "if_missing": True}).status_code == 200
    new = {"queue": "new-if-missing", "if_missing": True}
    assert [web.post("/v1/queues", json=new).status_code for _ in range(2)] == [201, 200]
    names = [each["queue"] for each in web.get("/v1/queues?pattern=made*").json()["queues"]]
    assert names == ["made", "made.dead"]
    pushed(web, "made", 1, 2)
    assert web.post("/v1/queues/made/pause").status_code == 204
    assert web.post("/v1/queues/made/pull").status_code == 204
    assert web.get("/v1/queues/made").json()["is_paused"] is True
    assert web.post("/v1/queues/made/resume").status_code == 204
    assert web.get("/v1/queues/made").json()["ready"] == 2
    assert web.post("/v1/queues/made/purge", json={"state": "waiting"}).json() == {"removed": 2}
    pushed(web, "made", 3)
    assert web.delete("/v1/queues/made").json() == {"removed": 1}
    refused(web.get("/v1/queues/made"), Code.QUEUE_NOT_FOUND)


# Messages


def test_what_is_pushed_is_pulled_as_it_was(web, queue):
    text = '{"body": {"lr": 0.10, "n": 123456789012345678901234567890, "s": "\\u00e4"}}'
    kind = {"Content-Type": "application/json"}
    reply = web.post(f"/v1/queues/{queue}/messages", content=text, headers=kind)
    assert reply.json() == {
        "queue": queue,
        "first": 1,
        "count": 1,
        "durability": "synced",
        "is_repeat": False,
    }
    messages = [
        {"body": "AAH/", "encoding": "base64", "headers": {"n": 1, "b": {"base64": "AA=="}}},
        {"body": "plain", "encoding": "text"},
        {"body": None},
    ]
    web.post(f"/v1/queues/{queue}/messages", json={"messages": messages})
    pulled = web.post(f"/v1/queues/{queue}/pull?max=9")
    assert '{"lr": 0.10, "n": 123456789012345678901234567890, "s": "\\u00e4"}' in pulled.text
    told = pulled.json()["messages"]
    assert [each["id"] for each in told] == [1, 2, 3, 4]
    assert {**told[1], "id": 0} == {**messages[0], "deliveries": 1, "id": 0}
    assert told[2] == {"id": 3, "body": "plain", "encoding": "text", "deliveries": 1}
    assert told[3] == {"id": 4, "body": None, "deliveries": 1}
    assert web.post(f"/v1/queues/{queue}/pull").status_code == 204


def test_a_body_of_any_type_is_a_message(web, queue):
    path = f"/v1/queues/{queue}/messages"
    data = bytes(range(256))
    query = {"priority": 200, "headers": '{"a": 1}'}
    reply = web.post(path, content=data, headers={"Content-Type": "image/png"}, params=query)
    assert reply.status_code == 201
    web.post(
        f"{path}?raw=true", content=b'{"x": 1.50}', headers={"Content-Type": "application/json"}
    )
    wanted = {"Accept": "application/octet-stream"}
    first = web.post(f"/v1/queues/{queue}/pull", headers=wanted)
    assert (first.content, first.headers["content-type"]) == (data, "image/png")
    assert (first.headers["mq-id"], first.headers["mq-headers"]) == ("1", '{"a":1}')
    second = web.post(f"/v1/queues/{queue}/pull?lease=9", headers=wanted)
    assert (second.content, second.headers["content-type"]) == (b'{"x": 1.50}', "application/json")
    assert web.post(f"/v1/leases/{second.headers['mq-lease']}/ack").json() == {"count": 1}


def test_lines_are_messages(web, queue):
    path = f"/v1/queues/{queue}/messages"
    kind = {"Content-Type": "application/x-ndjson"}
    body = '{"a": 1.50}\n"\u00e4"\n[1,\t2]\r\n'
    assert web.post(path, content=body, headers=kind, params={"priority": 9}).json()["count"] == 3
    for bad in ("[1\n2]", "[1,\n2]", "1\n\n2", "1 2", "", "\xff", "x"):
        refused(web.post(path, content=bad, headers=kind), GatewayCode.MALFORMED_BODY)
    wanted = {"Accept": "application/x-ndjson"}
    reply = web.post(f"/v1/queues/{queue}/pull?max=2&lease=9", headers=wanted)
    assert reply.text.splitlines() == body.splitlines()[:2]
    assert reply.headers["mq-ids"] == "1,2"
    assert web.post(f"/v1/leases/{reply.headers['mq-lease']}/ack").json() == {"count": 2}
    web.post(path, content=b"\x00", headers={"Content-Type": "application/octet-stream"})
    refused(web.post(f"/v1/queues/{queue}/pull?max=2", headers=wanted), GatewayCode.NOT_ACCEPTABLE)
    pulled = web.post(f"/v1/queues/{queue}/pull?max=2").json()["messages"]
    assert [each["body"] for each in pulled] == ["AA==", [1, 2]]


def test_lines_are_no_more_than_a_header_field_has_ids_for(web, queue):
    kind = {"Content-Type": "application/x-ndjson"}
    count = 1600
    web.post(f"/v1/queues/{queue}/messages", content="1\n" * count, headers=kind)
    odd = list(range(1, count, 2))
    assert web.post(f"/v1/queues/{queue}/cancel", json={"ids": odd}).json()["removed"] == len(odd)
    wanted = {"Accept": "application/x-ndjson"}
    found = []
    for lease in ("", "&lease=60", "", ""):
        reply = web.post(f"/v1/queues/{queue}/pull?max={count}{lease}", headers=wanted)
        if reply.status_code == 204:
            break
        runs = list(map(int, reply.headers["mq-ids"].split(",")))
        assert len(reply.headers["mq-ids"]) <= 4096
        assert len(reply.text.splitlines()) == sum(runs[1::2])
        found += runs[::2]
    assert found == list(range(2, count + 1, 2))


def test_headers_of_any_text_come_in_a_header_field(web, queue):
    headers = {"a": "\x7f", "b": "\u00e4\U0001f600", "c": 'x"\\\n', "d": 1.5, "e": None}
    form = {"body": 1, "headers": headers}
    assert web.post(f"/v1/queues/{queue}/messages", json=form).status_code == 201
    reply = web.post(f"/v1/queues/{queue}/pull", headers={"Accept": "application/octet-stream"})
    assert reply.headers["mq-headers"].isprintable()
    assert json.loads(reply.headers["mq-headers"]) == headers


def test_a_push_with_a_key_is_known_again(web, queue):
    key = {"Idempotency-Key": "once"}
    path = f"/v1/queues/{queue}/messages"
    first = web.post(path, json={"body": 1}, headers=key).json()
    again = web.post(path, json={"body": 1}, headers=key).json()
    assert (first["is_repeat"], again["is_repeat"]) == (False, True)
    assert first["first"] == again["first"]
    refused(web.post(path, json={"body": 2}, headers=key), Code.KEY_REUSED)


def test_a_lease_is_settled_by_its_id(web, queue):
    pushed(web, queue, 1, 2, 3, 4)
    pulled = web.post(f"/v1/queues/{queue}/pull?max=4&lease=30").json()
    lease = f"/v1/leases/{pulled['lease']['id']}"
    assert web.post(f"{lease}/extend", json={"seconds": 60}).json() == {"cancelled": []}
    assert web.post(f"{lease}/ack", json={"ids": [1]}).json() == {"count": 1}
    assert web.post(f"{lease}/nack", json={"ids": [2], "reason": "why"}).json() == {"count": 1}
    assert web.post(f"{lease}/reject", json={"ids": [3], "reason": "never"}).json() == {"count": 1}
    refused(web.post(f"{lease}/ack", json={"ids": [1]}), Code.NOT_LEASED)
    [holder] = web.get(f"/v1/holders?pattern={queue}").json()["holders"]
    assert (holder["lease"], holder["holder"]) == (pulled["lease"]["id"], "admin~http")
    step = {
        "parts": [
            {"do": "ack", "lease": pulled["lease"]["id"]},
            {"do": "push", "queue": queue, "messages": [{"body": "next"}], "priority": 9},
        ]
    }
    key = {"Idempotency-Key": f"step-{queue}"}
    for _ in range(2):
        assert web.post("/v1/step", json=step, headers=key).json() == {"results": [1, 5]}
    refused(web.post(f"{lease}/ack"), Code.LEASE_LOST)


def test_one_message_is_looked_at_however_deep_it_lies(web, queue):
    pushed(web, queue, *range(1500))
    path = f"/v1/queues/{queue}/messages"
    web.post(f"/v1/queues/{queue}/pull?lease=60")
    found = web.get(f"{path}?id=1400").json()
    assert (found["state"], [each["body"] for each in found["messages"]]) == ("ready", [1399])
    [held] = web.get(f"{path}?id=1").json()["messages"]
    assert (held["state"], held["holder"]) == ("leased", "admin~http")
    for query in ("id=1&state=ready", "id=1&skip=1", "id=9999"):
        assert web.get(f"{path}?{query}").json()["messages"] == []
    refused(web.get(f"{path}?id=0"), Code.OUT_OF_RANGE)


def test_messages_are_looked_at_followed_and_cancelled(web, queue):
    pushed(web, queue, 1, 2)
    seen = web.get(f"/v1/queues/{queue}/messages?max=1&skip=1").json()
    assert [each["body"] for each in seen["messages"]] == [2]
    status = web.get(f"/v1/queues/{queue}/messages/2").json()
    assert (status["state"], status["position"]) == ("ready", 1)
    cancelled = web.delete(f"/v1/queues/{queue}/messages/2").json()
    assert cancelled == {"removed": 1, "marked": 0}
    assert web.post(f"/v1/queues/{queue}/cancel", json={"ids": [1, 2]}).json()["removed"] == 1
    told = web.post(f"/v1/queues/{queue}/status", json={"ids": [1, 9]}).json()["statuses"]
    assert [each["state"] for each in told] == ["gone", "unknown"]


# Tasks


def test_a_task_from_its_submission_to_its_result(web):
    web.post("/v1/queues", json={"queue": "work", "keep_results_seconds": 60, "max_attempts": 2})
    made = web.post("/v1/tasks/work", json={"task": {"x": 1}})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/tasks/work/1")
    web.post("/v1/tasks/work", json={"task": {"x": 2}})
    assert web.get("/v1/tasks/work/2").json()["position"] == 1
    queued = web.get("/v1/tasks/work?state=queued").json()["tasks"]
    assert [each["task"] for each in queued] == [{"x": 1}, {"x": 2}]
    taken = web.post("/v1/tasks/work/next?lease=30").json()
    assert (taken["id"], taken["task"], taken["state"]) == (1, {"x": 1}, "processing")
    [processing] = web.get("/v1/tasks/work?state=processing").json()["tasks"]
    assert processing["lease"] == taken["lease"]
    form = {"lease": taken["lease"], "result": {"loss": 0.5}}
    done = web.post("/v1/tasks/work/1/complete", json=form).json()
    assert (done["state"], done["result"]) == ("completed", {"loss": 0.5})
    taken = web.post("/v1/tasks/work/next").json()
    form = {"lease": taken["lease"], "error": "no such file", "retry": False}
    failed = web.post("/v1/tasks/work/2/fail", json=form).json()
    assert (failed["state"], failed["error"]) == ("failed", "no such file")
    for state, expected in (("completed", 1), ("failed", 2)):
        [listed] = web.get(f"/v1/tasks/work?state={state}").json()["tasks"]
        assert listed["id"] == expected
    web.post("/v1/tasks/work", json={"task": 3})
    assert web.delete("/v1/tasks/work/3").json() == {"removed": 1, "marked": 0}
    web.post("/v1/tasks/work", json={"task": 4})
    assert web.delete("/v1/tasks/work").json() == {"removed": 1}
    assert web.post("/v1/tasks/work/next").status_code == 204


# Dead letters


def test_dead_letters_are_listed_with_their_history_and_tried_again(web):
    web.post("/v1/queues", json={"queue": "fails", "dead_letter": "fails.dead"})
    pushed(web, "fails", "a")
    lease = web.post("/v1/queues/fails/pull?lease=30").json()["lease"]["id"]
    web.post(f"/v1/leases/{lease}/reject", json={"reason": "Traceback: boom"})
    assert web.get("/v1/queues/fails/dead").json()["dead_letter"] == "fails.dead"
    [letter] = web.get("/v1/queues/fails.dead/dead").json()["messages"]
    assert (letter["body"], letter["state"]) == ("a", "ready")
    assert letter["origin"]["queue"] == "fails"
    assert [each["reason"] for each in letter["history"]] == ["Traceback: boom"]
    assert web.post("/v1/queues/fails.dead/redrive", json={"all": True}).json() == {"moved": 1}
    assert web.get("/v1/queues/fails").json()["ready"] == 1


# The server


def test_the_newest_frames_of_the_log_are_filtered(web, queue):
    before = web.get("/v1/frames?limit=1").json()
    pushed(web, queue, "hello")
    found = web.get(f"/v1/frames?after={before['last']}&queue={queue}&verb=push").json()
    assert (found["level"], found["cut"], found["missed"]) == ("full", 0, 0)
    request, reply = found["frames"]
    assert (request["verb"], request["direction"], request["user"]) == ("PUSH", "in", "admin")
    assert request["frame"][4] == ['"hello"']
    assert (reply["code"], reply["queue"], reply["direction"]) == ("OK", queue, "out")
    path = f"/v1/frames?queue={queue}"
    assert web.get(f"{path}&direction=out&limit=1").json()["frames"] == [reply]
    assert web.get(f"{path}&limit=1").json()["cut"] >= 1
    assert web.get(f"{path}&user=nobody").json()["frames"] == []
    assert web.get(f"{path}&peer=nowhere").json()["frames"] == []
    of_it = f"{path}&connection={request['connection']}"
    assert reply in web.get(f"{of_it}&code=ok").json()["frames"]
    assert web.get(f"{path}&connection=0").json()["frames"] == []
    assert web.get(f"{path}&errors=true").json()["frames"] == []
    refused(web.delete("/v1/queues/none-such"), Code.QUEUE_NOT_FOUND)
    refused(web.get("/v1/queues/none-such"), Code.QUEUE_NOT_FOUND)
    since = f"/v1/frames?after={found['last']}"
    refusals = web.get(f"{since}&errors=true").json()["frames"]
    told = [(each["code"], each["verb"]) for each in refusals]
    assert told == [("QUEUE_NOT_FOUND", "DELETE"), ("QUEUE_NOT_FOUND", "INFO")]
    web.get("/v1/queues")
    told = [each["verb"] for each in web.get(f"{since}&changes=true").json()["frames"]]
    assert told == ["DELETE", "DELETE", "INFO"]
    refused(web.get("/v1/frames?direction=up"), Code.OUT_OF_RANGE)


def test_all_that_came_since_is_looked_through(web, gateway, queue):
    before = web.get("/v1/frames?limit=1").json()["last"]
    with Raw(gateway.server) as admin:
        admin.ok("PEEK", queue, 1)
        for number in range(1100):
            admin.ok("PUSH", queue, 1, join_bodies([str(number)]))
    found = web.get(
        f"/v1/frames?after={before}&queue={queue}&verb=push&direction=in&limit=2"
    ).json()
    assert [each["frame"][4] for each in found["frames"]] == [["1098"], ["1099"]]
    assert (found["cut"], found["missed"]) == (1098, 0)
    assert web.get(f"/v1/frames?after={found['last']}").json()["frames"] == []
    old = web.get(f"/v1/frames?queue={queue}&verb=peek&direction=in").json()
    assert [each["frame"][2] for each in old["frames"]] == [queue]
    assert (old["cut"], old["missed"]) == (0, 0)


def test_the_server_tells_how_it_is(web):
    assert web.get("/health").json() == {"status": "ok"}
    assert web.get("/ready").json() == {"status": "ok"}
    assert web.get("/status").json()["server"]["version"]
    assert web.post("/v1/snapshot").json()["number"] >= 1
    assert "mqd_up 1.0" in web.get("/metrics").text


def test_what_is_not_served_is_said(web):
    refused(web.get("/nowhere"), GatewayCode.NO_SUCH_PATH)
    reply = web.patch("/v1/queues")
    refused(reply, GatewayCode.METHOD_NOT_ALLOWED)
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, POST"
