"""Keys of pushes, and pushes that are sent again, against a scripted server."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime, timezone

import pytest

import mqclient
from mqclient.keys import Keys, keys_of_frames
from mqclient.options import PushOptions
from mqwire.limits import MAX_KEY_CHARS
from mqwire.requests import check_request
from mqwire.verbs import VERBS
from support.fake_server import INFO, FakeQueues, FakeServer

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqclient.steps._FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("mqclient.steps._LONGEST_PAUSE_SECONDS", 0.001)


class KeyedQueue:
    """A queue that knows keys, behind a server that loses replies.

    Args:
        server: the server.
        options: what the queue was created with.
        losses: how many replies to pushes are lost, once they are carried out.
        deaf: how many pushes are lost before they are.
    """

    def __init__(self, server: FakeServer, losses: int = 1, deaf: int = 0, **options) -> None:
        self.pushed: list[str | None] = []
        self.known: dict[str, int] = {}
        self.losses = losses
        self.deaf = deaf
        self.info = {**INFO, "options": {**INFO["options"], **options}}
        server.answers["PUSH"] = self._push
        server.answers["INFO"] = lambda peer, frame: peer.ok(frame, self.info)

    def _push(self, peer, frame):
        options = frame[5] if len(frame) > 5 else {}
        key = options.get("key")
        if self.deaf:
            self.deaf -= 1
            peer.close()
            return
        is_repeat = key in self.known
        if not is_repeat:
            self.pushed.append(key)
            self.known[key] = len(self.pushed)
        if self.losses:
            self.losses -= 1
            peer.close()
            return
        more = [True] if is_repeat else []
        peer.ok(frame, self.known[key], options.get("durability", "synced"), *more)


def keys_in(server: FakeServer) -> list[str | None]:
    return [frame[5].get("key") if len(frame) > 5 else None for frame in server.frames("PUSH")]


# Keys


def test_each_push_and_each_frame_has_a_key_of_its_own(make_client):
    with FakeServer(max_messages_per_frame=2) as server:
        FakeQueues(server)
        clients = [make_client(server.url) for _ in range(2)]
        for client in clients:
            client.push("q", 1)
            client.push_many("q", range(5))
        keys = keys_in(server)
        assert len(set(keys)) == 8
        assert all(0 < len(key) < 40 for key in keys)
        assert all(check_request(("PUSH", 1, "q", 1, b"\x01", {"key": key})) for key in keys)


def test_a_forked_child_draws_others():
    keys = Keys()
    assert next(keys) != next(keys)
    assert next(keys).partition(".")[0] != next(Keys()).partition(".")[0]
    client = mqclient.Client("mq://a:b@127.0.0.1:1")
    before = client._keys
    child = os.fork()
    if not child:
        os._exit(0 if client._keys is not before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client._keys is before


def test_keys_may_be_given_or_switched_off(make_client):
    with FakeServer(max_messages_per_frame=2) as server:
        FakeQueues(server)
        client = make_client(server.url)
        client.push("q", 1, key="mine")
        client.push_many("q", range(5), key="ours")
        make_client(server.url, keys=False).push("q", 1)
        make_client(server.url, keys=False).push_many("q", [1])
        make_client(server.url, keys=False).push("q", 1, key="mine")
        assert keys_in(server) == ["mine", "ours", "ours/2", "ours/3", None, None, "mine"]


def test_pipelines_send_keys_that_are_given(server: FakeServer, make_client):
    FakeQueues(server)
    with make_client(server.url).pipeline() as pipeline:
        pipeline.push("q", 1)
        pipeline.push_many("q", [1, 2])
        pipeline.push("q", 1, key="a", priority=9)
        pipeline.push_many("q", [1, 2], key="b", ttl=1)
    assert pipeline.results == [1, [2, 3], 4, [5, 6]]
    assert [frame[5:] for frame in server.frames("PUSH")] == [
        (),
        (),
        ({"key": "a", "priority": 9},),
        ({"key": "b", "ttl": 1},),
    ]


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS - 9), 5, b"k"])
def test_a_key_for_many_frames_has_room_for_their_numbers(key):
    with pytest.raises(mqclient.InterfaceError, match="text of 1 to 118 characters"):
        keys_of_frames(key)


def test_the_longest_key_for_many_frames_fits():
    keys = keys_of_frames("x" * (MAX_KEY_CHARS - 10))
    assert [next(keys)[118:] for _ in range(3)] == ["", "/2", "/3"]


# Options


ALL = {
    "priority": 200,
    "ttl": 7200.5,
    "max_attempts": 3,
    "max_worker_losses": 4,
    "key": "k",
}


@pytest.mark.parametrize(
    ("time", "sent"),
    [
        ({"delay": 60}, {"delay": 60}),
        ({"not_before": 1e9}, {"not_before": 1e9}),
        (
            {"not_before": datetime(2030, 1, 31, tzinfo=timezone.utc)},
            {"not_before": 1896048000.0},
        ),
        ({"delay": None}, {}),
    ],
)
def test_options_go_out_as_they_are(server: FakeServer, make_client, time, sent):
    FakeQueues(server)
    client = make_client(server.url)
    client.push("q", 1, headers={"h": 1}, durability="synced", **ALL, **time)
    client.push_many("q", [1, 2], **ALL, **time)
    first, second = server.frames("PUSH")
    assert first[5] == {"headers": {"h": 1}, "durability": "synced", **ALL, **sent}
    assert second[5] == {**ALL, **sent}
    check_request(first)


def test_a_time_without_a_zone_is_one_of_this_machine(server: FakeServer, make_client):
    FakeQueues(server)
    make_client(server.url).push("q", 1, not_before=datetime(2030, 1, 31))  # noqa: DTZ001  on purpose
    [push] = server.frames("PUSH")
    there = time.localtime(push[5]["not_before"])
    assert there[:5] == (2030, 1, 31, 0, 0)


def test_an_option_that_is_none_is_refused_before_anything_is_sent(server: FakeServer, make_client):
    client = make_client(server.url)
    for misuse in (
        lambda: client.push("q", 1, prio=1),
        lambda: client.push_many("q", [1], prio=1),
        lambda: client.pipeline().push("q", 1, prio=1),
        lambda: client.pipeline().push_many("q", [1], prio=1),
    ):
        with pytest.raises(mqclient.InterfaceError, match="a push has no option 'prio'"):
            misuse()
    assert not server.frames("PUSH")


def test_the_options_are_those_of_the_protocol():
    assert set(PushOptions.__annotations__) == set(VERBS["PUSH"].options) - {
        "headers",
        "durability",
    }


# Sending again


@pytest.mark.parametrize(("losses", "deaf"), [(1, 0), (3, 0), (0, 1), (2, 2)])
def test_a_push_whose_reply_was_lost_is_there_once(server: FakeServer, make_client, losses, deaf):
    queue = KeyedQueue(server, losses, deaf)
    client = make_client(server.url)
    assert client.push("q", 1, durability="synced") == 1
    assert client.push_many("q", [2]) == [2]
    assert len(queue.pushed) == 2
    assert len(server.frames("PUSH")) == 2 + losses + deaf
    assert len(set(keys_in(server))) == 2


def test_of_many_frames_the_lost_one_is_sent_again(make_client):
    with FakeServer(max_messages_per_frame=2) as server:
        queue = KeyedQueue(server, 0)
        client = make_client(server.url)
        progress: list[int] = []

        def lose(count: int) -> None:
            progress.append(count)
            queue.losses = 1

        assert client.push_many("q", range(5), on_progress=lose) == [1, 2, 2, 3, 3]
        assert progress == [2, 4, 5]
        assert len(queue.pushed) == 3


def test_a_restart_of_the_server_is_waited_for(server: FakeServer, make_client):
    queue = KeyedQueue(server, 0)
    client = make_client(server.url)
    client.connect()
    push = server.answers["PUSH"]
    restarted: list[int] = []

    def restart(peer, frame):
        server.answers["PUSH"] = push
        queue.losses = 1
        server._listener.shutdown(socket.SHUT_RDWR)
        server._listener.close()
        restarted.append(1)
        push(peer, frame)
        server.start()

    server.answers["PUSH"] = restart
    assert client.push("q", 1) == 1
    assert restarted == [1]
    assert len(queue.pushed) == 1


def test_a_key_of_the_users_own_is_as_good(server: FakeServer, make_client):
    queue = KeyedQueue(server, 1)
    client = make_client(server.url, keys=False)
    assert client.push("q", 1, key="mine") == 1
    assert queue.pushed == ["mine"]
    assert client.push("q", 1, key="mine") == 1


@pytest.mark.parametrize("seconds", [0, 0.0])
def test_a_queue_that_knows_no_keys_leaves_it_in_doubt(
    server: FakeServer, make_client, seconds: float
):
    queue = KeyedQueue(server, 1, dedupe_seconds=seconds)
    with pytest.raises(mqclient.ConnectionLost, match="may or may not") as caught:
        make_client(server.url).push("q", 1)
    assert caught.value.in_doubt
    assert len(queue.pushed) == 1


def test_without_a_key_nothing_is_sent_again(server: FakeServer, make_client):
    queue = KeyedQueue(server, 1)
    with pytest.raises(mqclient.ConnectionLost) as caught:
        make_client(server.url, keys=False).push("q", 1)
    assert caught.value.in_doubt
    assert queue.pushed == [None]
    assert not server.frames("INFO")


def test_a_key_that_may_be_forgotten_leaves_it_in_doubt(server, make_client, monkeypatch):
    KeyedQueue(server, 1, dedupe_seconds=600)
    now = time.monotonic()
    clock = iter([now])
    monkeypatch.setattr("mqclient.driver.monotonic", lambda: next(clock, now))
    monkeypatch.setattr("mqclient.async_driver.monotonic", lambda: next(clock, now))
    monkeypatch.setattr("mqclient.steps.monotonic", lambda: now + 601)
    with pytest.raises(mqclient.ConnectionLost) as caught:
        make_client(server.url).push("q", 1, timeout=1000)
    assert caught.value.in_doubt
    assert len(server.frames("PUSH")) == 1
    assert len(server.frames("INFO")) == 1


def test_a_server_that_is_away_for_good_leaves_it_in_doubt(server: FakeServer, make_client):
    def push(peer, _frame):
        server._listener.close()
        peer.close()

    server.answers["PUSH"] = push
    client = make_client(server.url)
    client.connect()
    started_at = time.monotonic()
    with pytest.raises(mqclient.ConnectionLost) as caught:
        client.push("q", 1, timeout=0.3)
    assert caught.value.in_doubt
    assert time.monotonic() - started_at < 10


def test_a_refusal_of_what_was_sent_again_is_its_answer(server: FakeServer, make_client):
    queue = KeyedQueue(server, 0, deaf=1)
    push = server.answers["PUSH"]

    def refuse(peer, frame):
        if queue.deaf:
            push(peer, frame)
        else:
            peer.error(frame, "QUEUE_FULL")

    server.answers["PUSH"] = refuse
    with pytest.raises(mqclient.QueueFull):
        make_client(server.url).push("q", 1)


def test_a_queue_that_is_gone_is_said(server: FakeServer, make_client):
    KeyedQueue(server, 1)
    server.answers["INFO"] = lambda peer, frame: peer.error(frame, "QUEUE_NOT_FOUND")
    with pytest.raises(mqclient.QueueNotFound):
        make_client(server.url).push("q", 1)


def test_what_takes_too_long_is_not_sent_again(server: FakeServer, make_client):
    server.answers["PUSH"] = lambda _peer, _frame: None
    with pytest.raises(mqclient.RequestTimeout) as caught:
        make_client(server.url).push("q", 1, timeout=0.05)
    assert caught.value.in_doubt
    assert len(server.frames("PUSH")) == 1


# Pauses, and what else is told of queues


def test_pause_and_resume(server: FakeServer, make_client):
    for verb in ("PAUSE", "RESUME"):
        server.answers[verb] = lambda peer, frame: peer.ok(frame)
    client = make_client(server.url)
    assert client.pause("q") is None
    assert client.resume("q") is None
    with client.pipeline() as pipeline:
        pipeline.pause("q")
        pipeline.resume("q")
    assert pipeline.results == [None, None]
    assert [frame[2:] for verb in ("PAUSE", "RESUME") for frame in server.frames(verb)] == [
        ("q",)
    ] * 4


def test_what_newer_servers_tell_of_queues(server: FakeServer, make_client):
    newer = {
        "expired": 3,
        "cancelled": 2,
        "is_paused": True,
        "oldest_delayed_age_seconds": 1.5,
        "oldest_leased_age_seconds": None,
        "oldest_dead_age_seconds": 60.0,
    }
    told = iter([{**INFO, **newer}, INFO])
    server.answers["INFO"] = lambda peer, frame: peer.ok(frame, next(told))
    client = make_client(server.url)
    info = client.info("q")
    assert {name: getattr(info, name) for name in newer} == newer
    info = client.info("q")
    assert (info.expired, info.is_paused, info.oldest_dead_age_seconds) == (0, False, None)


def test_redrives_and_holders_say_which(server: FakeServer, make_client):
    server.answers["REDRIVE"] = lambda peer, frame: peer.ok(frame, 1)
    server.answers["HOLDERS"] = lambda peer, frame: peer.ok(frame, [])
    client = make_client(server.url)
    client.redrive("q", cause="expired", origin="jobs")
    client.holders("j*", count=5)
    with client.pipeline() as pipeline:
        pipeline.redrive("q", cause="expired", origin="jobs")
        pipeline.holders("j*", count=5)
    assert [frame[2:] for frame in server.frames("REDRIVE")] == [
        ("q", {"cause": "expired", "origin": "jobs"})
    ] * 2
    assert [frame[2:] for frame in server.frames("HOLDERS")] == [("j*", {"max": 5})] * 2
