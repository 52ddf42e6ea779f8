"""The plain verbs of a lease, over both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mqclient
from mqclient.models import LeaseId
from support.both_jobs import Loop
from support.fake_leases import FakeLeases

if TYPE_CHECKING:
    from support.fake_server import FakeServer

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def leases(server: FakeServer):
    return FakeLeases(server, "1", "2", "3", "4", "5")


@pytest.fixture
def client(server: FakeServer, make_client):
    return make_client(server.url, connect_timeout=1)


@pytest.fixture
def do(client):
    """Give what waits for a verb."""
    return Loop(client, None).wait


def test_each_verb_is_for_all_or_for_some(client, do, leases: FakeLeases, server: FakeServer):
    lease = client.lease("q", 5, seconds=30)
    assert lease.id == LeaseId(3, 1)
    assert [message.body for message in lease] == [1, 2, 3, 4, 5]
    assert len(lease) == 5
    assert repr(lease).endswith("Lease(3-1, 5 of queue 'q')")
    assert do(lease.ack([1])) == 1
    assert do(lease.nack([2], reason="no", delay=5)) == 1
    assert do(lease.reject([3], reason="bad")) == 1
    do(lease.extend(99))
    do(lease.extend(98, [4]))
    assert do(lease.hand_back()) == 2
    assert leases.done == [1]
    assert leases.failed == {2: {"ids": (2, 1), "reason": "no", "delay": 5}}
    assert leases.dead == {3: {"ids": (3, 1), "reason": "bad"}}
    assert leases.returned == [4, 5]
    assert leases.extended == [(1, 99), (1, 98)]
    assert server.frames("EXTEND")[1][2:] == ((3, 1), 98, {"ids": (4, 1)})
    assert client.lease("q") is None


def test_a_lease_is_waited_for(client, server: FakeServer, leases: FakeLeases):
    leases.ready.clear()
    assert client.lease("q", wait=0.05, seconds=7, into=int) is None
    assert server.frames("PULL")[0][2:] == ("q", 1, {"lease": 7, "wait": 0.05})


@pytest.mark.parametrize(
    "options",
    [
        {"count": 0},
        {"seconds": 0.05},
        {"seconds": "1"},
        {"seconds": float("nan")},
        {"seconds": 10**9},
        {"wait": -1},
        {"wait": 3601},
        {"timeout": 0},
    ],
)
def test_misuse_is_refused_before_anything_is_sent(client, server, options):
    with pytest.raises(mqclient.InterfaceError):
        client.lease("q", **options)
    assert not server.frames("PULL")


def test_a_lost_lease_is_an_error_and_so_is_a_message_that_was_settled(client, do, leases):
    lease = client.lease("q", 2)
    do(lease.ack([1]))
    with pytest.raises(mqclient.NotLeased) as caught:
        do(lease.ack([1]))
    assert caught.value.details["id"] == 1
    leases.end(1)
    for use in (lease.ack, lease.nack, lease.reject, lease.hand_back, lambda: lease.extend(5)):
        with pytest.raises(mqclient.LeaseLost):
            do(use())


# A reply that is lost


def lose_replies(server: FakeServer, verb: str, count: int, *, is_done: bool) -> None:
    """Cut the connection instead of answering `verb`, carried out or not, `count` times."""
    answer = server.answers[verb]

    class Deaf:
        def __init__(self, peer):
            self.peer = peer

        def ok(self, *_results):
            self.peer.close()

        def error(self, *_results, **_details):
            self.peer.close()

    def cut(peer, frame):
        if len(server.frames(verb)) > count:
            answer(peer, frame)
        elif is_done:
            answer(Deaf(peer), frame)
        else:
            peer.close()

    server.answers[verb] = cut


@pytest.mark.parametrize("is_done", [True, False])
def test_a_settlement_of_some_whose_reply_is_lost_is_found_out(
    server: FakeServer, client, do, leases, is_done
):
    lease = client.lease("q", 5)
    lose_replies(server, "ACK", 2, is_done=is_done)
    assert do(lease.ack([1, 2])) == 2
    assert leases.done == [1, 2]
    assert len(server.frames("ACK")) == 3
    assert {frame[3]["instance"] for frame in server.frames("AUTH")} == {client.instance}


def test_a_settlement_of_all_that_was_not_done_is_done(server, client, do, leases):
    lease = client.lease("q", 5)
    lose_replies(server, "NACK", 1, is_done=False)
    assert do(lease.nack()) == 5


def test_a_settlement_of_all_that_may_have_been_done_is_in_doubt(server, client, do, leases):
    lease = client.lease("q", 5)
    lose_replies(server, "ACK", 1, is_done=True)
    with pytest.raises(mqclient.ConnectionLost) as caught:
        do(lease.ack())
    assert caught.value.in_doubt
    assert isinstance(caught.value.__cause__, mqclient.LeaseLost)


def test_a_lease_that_is_foreign_is_no_doubt(server, client, do, leases):
    lease = client.lease("q", 5)
    lose_replies(server, "ACK", 1, is_done=False)
    cut = server.answers["ACK"]
    server.answers["ACK"] = lambda peer, frame: (
        cut(peer, frame)
        if len(server.frames("ACK")) == 1
        else peer.error(frame, "LEASE_LOST", why="foreign")
    )
    with pytest.raises(mqclient.LeaseLost):
        do(lease.ack())


def test_a_server_that_stays_away_leaves_it_in_doubt(server: FakeServer, client, do, leases):
    lease = client.lease("q", 5)
    server.answers["ACK"] = lambda peer, _frame: peer.close()
    with pytest.raises(mqclient.ConnectionLost) as caught:
        do(lease.ack(timeout=0.5))
    assert caught.value.in_doubt
    assert len(server.frames("ACK")) > 1


def test_other_refusals_are_not_repeated(server: FakeServer, client, do, leases):
    lease = client.lease("q", 5)
    server.answers["ACK"] = lambda peer, frame: peer.error(frame, "ACCESS_DENIED")
    with pytest.raises(mqclient.AccessDenied):
        do(lease.ack())
    assert len(server.frames("ACK")) == 1


# Messages that come too late


def test_what_comes_late_under_a_lease_is_handed_back(server: FakeServer, client, leases):
    answer = server.answers["PULL"]
    server.answers["PULL"] = lambda _peer, _frame: None
    with pytest.raises(mqclient.RequestTimeout) as caught:
        client.lease("q", timeout=0.1)
    assert caught.value.in_doubt
    server.wait_for("WAKE")
    peer, pull = server.wait_for("PULL")
    answer(peer, pull)
    client.ping()
    server.wait_for("NACK")
    leases.until(lambda them: them.returned == [1])


# Leases of a detached client


def test_a_detached_client_is_the_same_holder_each_time(server: FakeServer, make_client, leases):
    for _ in range(2):
        client = make_client(server.url, detached="gate")
        client.connect()
        assert client.instance == "gate"
        client.close()
    said = [frame[3] for frame in server.frames("AUTH")]
    assert [(each["instance"], each["detached"]) for each in said] == [("gate", True)] * 2


def test_others_do_not_say_that_they_are_detached(server: FakeServer, client, leases):
    client.connect()
    assert "detached" not in server.frames("AUTH")[0][3]


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_no_holder_can_have(make_client, name: str):
    with pytest.raises(mqclient.ConfigurationError, match="detached"):
        make_client("mq://a:b@127.0.0.1:1", detached=name)


def test_a_lease_is_settled_by_its_name(client, do, leases: FakeLeases):
    taken = client.lease("q", 5)
    named = client.lease_named(str(taken.id))
    assert (named.id, len(named), repr(named)) == (taken.id, 0, f"{type(taken).__name__}(3-1)")
    do(named.extend(99))
    assert do(named.ack([1])) == 1
    assert do(client.lease_named(taken.id).hand_back()) == 4
    assert (leases.extended, leases.done, leases.returned) == ([(1, 99)], [1], [2, 3, 4, 5])


@pytest.mark.parametrize("text", ["", "3", "3-", "-1", "3-x", "3-1-1", " 3-1", "³-1"])
def test_text_that_names_no_lease(client, server: FakeServer, text: str):
    with pytest.raises(mqclient.InterfaceError, match="two numbers"):
        client.lease_named(text)
