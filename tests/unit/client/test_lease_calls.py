from __future__ import annotations

import pytest

from mqclient import lease_calls
from mqclient.codecs import decoders
from mqclient.errors import InterfaceError, ProtocolError
from mqclient.inflight import read_reply
from mqclient.messages import Source
from mqclient.models import LeaseId
from mqwire.limits import MAX_REASON_CHARS
from mqwire.packs import join_bodies
from mqwire.requests import check_request
from mqwire.verbs import VERBS

SOURCE = Source("jobs", decoders("json"), None)
ONE = LeaseId(3, 17)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (lease_calls.pull(SOURCE, 5, 60.0, 0), ("jobs", 5, {"lease": 60.0})),
        (
            lease_calls.pull(SOURCE, 5, 60, 2.5, "synced"),
            ("jobs", 5, {"lease": 60, "wait": 2.5, "durability": "synced"}),
        ),
        (lease_calls.ack(ONE), ((3, 17),)),
        (
            lease_calls.ack(ONE, [9, 7, 8, 12], "written"),
            ((3, 17), {"ids": [7, 3, 12, 1], "durability": "written"}),
        ),
        (lease_calls.nack(ONE), ((3, 17),)),
        (
            lease_calls.nack(ONE, [7], reason="no", delay=0),
            ((3, 17), {"ids": [7, 1], "reason": "no", "delay": 0}),
        ),
        (lease_calls.nack(ONE, hand_back=True), ((3, 17), {"hand_back": True})),
        (lease_calls.nack(ONE, lost=True, reason="x"), ((3, 17), {"reason": "x", "lost": True})),
        (lease_calls.extend(ONE, 5), ((3, 17), 5)),
        (lease_calls.extend(ONE, 5, [8, 7]), ((3, 17), 5, {"ids": [7, 2]})),
        (lease_calls.reject(ONE, reason="bad"), ((3, 17), {"reason": "bad"})),
        (lease_calls.redrive("dead"), ("dead",)),
        (lease_calls.redrive("dead", ids=[1, 2], count=9), ("dead", {"max": 9, "ids": [1, 2]})),
        (
            lease_calls.redrive("dead", cause="nack", origin="jobs"),
            ("dead", {"cause": "nack", "origin": "jobs"}),
        ),
        (lease_calls.holders(None), ()),
        (lease_calls.holders("j*", 5), ("j*", {"max": 5})),
    ],
    ids=lambda value: getattr(value, "verb", None),
)
def test_what_is_sent_is_what_the_registry_knows(call, arguments):
    assert call.arguments == arguments
    assert call.verb in VERBS
    frame = tuple(tuple(part) if type(part) is list else part for part in call.arguments)
    for part in frame:
        if type(part) is dict and "ids" in part:
            part["ids"] = tuple(part["ids"])
    check_request((call.verb, 1, *frame))


def test_a_leased_pull_waits_and_says_so():
    call = lease_calls.pull(SOURCE, 5, 60, 2.5)
    assert call.wait == 2.5
    assert call.is_leased


def test_what_a_leased_pull_brings():
    columns = {"deliveries": (1, 3), "losses": (0, 1), "more": "is to come"}
    reply = (1, "OK", (7, 2), (join_bodies(["1", "2"]),), columns, (3, 17))
    leased = read_reply(lease_calls.pull(SOURCE, 5, 60, 0), reply)
    assert leased.lease == ONE
    assert str(leased.lease) == "3-17"
    assert [message.body for message in leased.messages] == [1, 2]
    assert [message.deliveries for message in leased.messages] == [1, 3]
    assert [message.losses for message in leased.messages] == [0, 1]
    assert [message.attempts for message in leased.messages] == [0, 0]


def test_a_leased_pull_that_finds_nothing():
    assert read_reply(lease_calls.pull(SOURCE, 5, 60, 0), (1, "OK", (), ())) is None


@pytest.mark.parametrize("lease", [(3,), (3, 1, 2), "ab", (3, "x"), 5])
def test_a_lease_without_its_form_is_a_protocol_error(lease):
    reply = (1, "OK", (7, 1), (join_bodies(["1"]),), {}, lease)
    with pytest.raises(ProtocolError):
        read_reply(lease_calls.pull(SOURCE, 5, 60, 0), reply)


def test_of_a_long_reason_the_end_is_sent():
    text = "x" * MAX_REASON_CHARS + "ValueError: this"
    sent = lease_calls.nack(ONE, reason=text).arguments[1]["reason"]
    assert len(sent) == MAX_REASON_CHARS
    assert sent.endswith("ValueError: this")
    assert lease_calls.reject(ONE, reason=text).arguments[1] == {"reason": sent}


@pytest.mark.parametrize("ids", [[], [0], [-1], ["1"], [True], [1.0]])
def test_ids_that_are_none(ids):
    with pytest.raises(InterfaceError, match=r"None means all|positive integers"):
        lease_calls.ack(ONE, ids)


def test_a_step_is_its_parts_and_one_pack():
    parts = [lease_calls.ack_part(ONE, [7]), lease_calls.push_part("out", 1, {"a": 1})]
    sent = [("ACK", (3, 17), {"ids": [7, 1]}), ("PUSH", "out", 1, {"headers": {"a": 1}})]
    call = lease_calls.step(parts, b"\x01", 1, key="k", durability="synced")
    assert call.arguments == (sent, b"\x01", {"key": "k", "durability": "synced"})
    assert call.largest_body_bytes == 1
    assert read_reply(call, (1, "OK", (1, 5), "synced")) == [1, 5]
    assert lease_calls.step(parts[:1]).arguments == (sent[:1],)
    assert lease_calls.push_part("out", 1, None) == ("PUSH", "out", 1)


def test_holders_are_read():
    entry = {
        "lease": (3, 17),
        "queue": "jobs",
        "count": 2,
        "holder": "agent/abc",
        "user": "agent",
        "client": "mqclient/1",
        "host": "node7",
        "peer": "10.0.0.7:5000",
        "leased_at": 1.5,
        "deadline_at": 61.5,
        "is_connected": True,
    }
    call = lease_calls.holders(None)
    [holder] = read_reply(call, (1, "OK", ({**entry, "more": 1},)))
    assert (holder.lease, holder.host, holder.is_connected) == (ONE, "node7", True)
    for name in ("client", "host", "peer"):
        del entry[name]  # a holder without a connection, or that has not said
    [holder] = read_reply(call, (1, "OK", (entry,)))
    assert (holder.client, holder.host, holder.peer) == ("", "", "")
    del entry["user"]
    with pytest.raises(ProtocolError):
        read_reply(call, (1, "OK", (entry,)))
