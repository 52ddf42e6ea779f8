from __future__ import annotations

import pytest

from mqclient import calls, lease_calls
from mqclient.codecs import decoders
from mqclient.errors import (
    BodyTooLarge,
    ConnectionLost,
    FrameTooLarge,
    InterfaceError,
    MalformedFrame,
    ProtocolError,
    QueueFull,
    RequestTimeout,
    ShuttingDown,
)
from mqclient.identity import Identity
from mqclient.inflight import InFlight
from mqclient.kept import KeptMessages
from mqclient.messages import Source
from mqclient.models import LeaseId, Limits
from mqclient.url import Credentials
from mqwire.frames import FrameReader, FrameWriter
from mqwire.limits import MAX_FRAME_BYTES_BEFORE_AUTH
from mqwire.packs import join_bodies

SOURCE = Source("jobs", decoders("json"), None)


class Wire:
    """InFlight with a way to see and say frames."""

    def __init__(self) -> None:
        self.kept = KeptMessages()
        self.core = InFlight(self.kept)
        self.core.limits = Limits()

    def begin(self, call, *, is_sent=True):
        request, frame = self.core.begin(call, "waker")
        request.is_sent = is_sent
        return request, decode(frame)

    def say(self, *frames):
        return self.core.feed(b"".join(FrameWriter().encode(frame) for frame in frames))


def decode(data):
    return FrameReader(1 << 30).feed(data)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def pull(wait=60.0):
    return calls.pull(SOURCE, 1, wait)


def test_ids_count_up_and_replies_may_come_in_any_order(wire: Wire):
    first, frames = wire.begin(calls.info("a"))
    assert frames == [("INFO", 1, "a")]
    second, frames = wire.begin(calls.purge("b"))
    assert frames == [("PURGE", 2, "b")]
    assert wire.say((2, "OK", 5)) == [second]
    assert second.outcome() == 5
    assert wire.say((1, "ERR", "QUEUE_FULL", "no", {"limit": 1})) == [first]
    with pytest.raises(QueueFull):
        first.outcome()


@pytest.mark.parametrize(
    "reply", [(1,), (1, "OK"), (1, "OK", "x"), (1, "OK", True), (1, "ERR"), (1, "WHAT", 5)]
)
def test_a_reply_without_its_form_is_a_protocol_error(wire: Wire, reply):
    request, _ = wire.begin(calls.purge("b"))
    wire.say(reply)
    with pytest.raises(ProtocolError, match="PURGE"):
        request.outcome()


def test_what_cannot_be_encoded_is_never_in_flight(wire: Wire):
    for call in (
        calls.purge("\ud800"),
        calls.create("a", max_messages=2**70, max_bytes=None, if_missing=False),
        calls.purge(object()),
    ):
        request, frames = wire.begin(call)
        assert frames == []
        with pytest.raises(InterfaceError):
            request.outcome()
    assert wire.begin(calls.ping())[1] == [("PING", 1)]


def test_credentials_that_cannot_be_sent_are_not_shown(wire: Wire):
    request, _ = wire.begin(calls.auth(Credentials({"token": "hunter2\ud800"}), Identity("me")))
    error = request.error
    assert isinstance(error, InterfaceError)
    assert error.__cause__ is None
    assert "hunter2" not in repr(error)


def test_frames_are_judged_by_the_limits_before_they_are_sent(wire: Wire):
    wire.core.limits = Limits(max_frame_bytes=100, max_body_bytes=50)
    fits = b"x" * (100 - len(FrameWriter().pack(("PUSH", 1, "q", 1, b""))))
    assert wire.begin(calls.push("q", 1, fits, None, 50))[1]
    request, frames = wire.begin(calls.push("q", 1, fits + b"x", None, 50))
    assert frames == []
    with pytest.raises(FrameTooLarge) as caught:
        request.outcome()
    assert caught.value.details == {"limit": 100, "asked": 101}
    request, frames = wire.begin(calls.push("q", 1, b"x", None, 51))
    with pytest.raises(BodyTooLarge) as caught:
        request.outcome()
    assert caught.value.details == {"limit": 50, "asked": 51}


def test_before_auth_frames_are_small():
    core = InFlight(KeptMessages())
    assert core.limits.max_frame_bytes == MAX_FRAME_BYTES_BEFORE_AUTH
    request, frame = core.begin(calls.purge("x" * MAX_FRAME_BYTES_BEFORE_AUTH), None)
    assert not frame
    assert isinstance(request.error, FrameTooLarge)


@pytest.mark.parametrize(
    ("call", "in_doubt"),
    [
        (calls.push("q", 1, b"\x01", None, 1), True),
        (pull(), True),
        (calls.create("q", max_messages=None, max_bytes=None, if_missing=True), True),
        (calls.delete("q"), True),
        (calls.purge("q"), True),
        (calls.ping(), False),
        (calls.info("q"), False),
        (calls.queues(None), False),
        (calls.peek(SOURCE, 1, 0), False),
        (calls.stats(), False),
        (calls.snapshot(), False),
        (calls.backup(), True),
        (calls.backup_piece(7), True),
    ],
    ids=lambda value: getattr(value, "verb", None),
)
def test_a_loss_says_what_is_in_doubt(wire: Wire, call, in_doubt):
    sent, _ = wire.begin(call)
    unsent, _ = wire.begin(call, is_sent=False)
    cause = OSError("reset")
    assert wire.core.lose("it broke", cause) == [sent, unsent]
    assert wire.core.lose("again") == []
    for request, doubt in ((sent, in_doubt), (unsent, False)):
        with pytest.raises(ConnectionLost, match="it broke: reset") as caught:
            request.outcome()
        assert caught.value.in_doubt is doubt
        assert caught.value.__cause__ is cause
    later, frames = wire.begin(call)
    assert frames == []
    with pytest.raises(ConnectionLost) as caught:
        later.outcome()
    assert not caught.value.in_doubt


@pytest.mark.parametrize("code", ["BAD_PREFIX", "FRAME_TOO_LARGE", "MALFORMED_FRAME"])
def test_a_frame_that_broke_the_stream_is_the_error_of_all_in_flight(wire: Wire, code):
    first, _ = wire.begin(calls.purge("a"))
    second, _ = wire.begin(calls.purge("b"))
    assert wire.say((0, "ERR", code, "why", {})) == [first, second]
    assert wire.core.is_lost
    assert first.error is not second.error
    assert first.error.code == code
    assert type(first.error) is type(second.error)


def test_another_goodbye_is_the_cause_of_the_loss(wire: Wire):
    request, _ = wire.begin(calls.purge("a"))
    assert wire.say((1, "OK", 5), (0, "ERR", "SHUTTING_DOWN", "why", {})) == [request]
    assert request.outcome() == 5
    assert wire.core.is_lost
    wire = Wire()
    request, _ = wire.begin(calls.purge("a"))
    wire.say((0, "ERR", "SHUTTING_DOWN", "why"))
    with pytest.raises(ConnectionLost) as caught:
        request.outcome()
    assert isinstance(caught.value.__cause__, ShuttingDown)


def test_events_that_are_not_known_are_passed_over(wire: Wire):
    request, _ = wire.begin(calls.ping())
    assert wire.say((0, "GOING", 5), (0,), (1, "OK")) == [request]


@pytest.mark.parametrize("frame", [(9, "OK"), ("x", "OK"), (), ((1,), "OK"), ({}, "OK")])
def test_a_reply_to_nothing_breaks_the_connection(wire: Wire, frame):
    request, _ = wire.begin(calls.ping())
    assert wire.say(frame) == [request]
    assert isinstance(request.error, ConnectionLost)
    assert isinstance(request.error.__cause__, ProtocolError)


def test_another_server_is_recognised(wire: Wire):
    request, _ = wire.begin(calls.ping())
    assert wire.core.feed(b"HTTP/1.1 400 Bad Request\r\n") == [request]
    assert "no mqd server" in str(request.error)


def test_a_malformed_frame_of_the_server_is_its_own_fault(wire: Wire):
    request, _ = wire.begin(calls.ping())
    wire.core.feed(b"\xce\x00\x00\x00\x01\xc1")
    assert not isinstance(request.error, MalformedFrame)
    assert isinstance(request.error, ConnectionLost)


def test_a_pull_that_is_given_up_sends_wake_and_keeps_what_comes(wire: Wire):
    request, _ = wire.begin(pull())
    assert decode(wire.core.give_up(request)) == [("WAKE", 2, 1)]
    assert wire.core.give_up(request) == b""
    assert wire.kept.expects("jobs")
    assert wire.core.waiting() is None
    assert wire.say((1, "OK", [7, 1], [join_bodies(["5"])]), (2, "OK", False)) == []
    assert not wire.kept.expects("jobs")
    [message] = wire.kept.take(SOURCE, 9)
    assert (message.id, message.body) == (7, 5)


def test_the_late_reply_to_anything_else_is_dropped(wire: Wire):
    request, _ = wire.begin(calls.purge("a"))
    assert wire.core.give_up(request) == b""
    assert wire.say((1, "OK", 5)) == []
    assert wire.kept.counts() == {}


def test_a_late_reply_without_messages_keeps_nothing(wire: Wire):
    for reply in ((1, "OK", [], []), (3, "ERR", "QUEUE_NOT_FOUND", "no", {}), (5, "OK", 9, 9)):
        request, _ = wire.begin(pull())
        wire.core.give_up(request)
        assert wire.say(reply) == []
    assert wire.kept.counts() == {}
    assert not wire.kept.expects("jobs")


def test_an_answer_that_came_while_the_caller_left_is_kept(wire: Wire):
    request, _ = wire.begin(pull())
    wire.say((1, "OK", [7, 1], [join_bodies(["5"])]))
    assert wire.core.give_up(request) == b""
    assert wire.kept.counts() == {"jobs": 1}


def test_a_request_that_was_never_sent_is_withdrawn(wire: Wire):
    request, _ = wire.begin(pull(), is_sent=False)
    assert wire.core.give_up(request) == b""
    assert wire.core.waiting() is None
    assert not wire.kept.expects("jobs")


def test_a_time_out_says_what_is_in_doubt_and_an_answer_beats_it(wire: Wire):
    request, _ = wire.begin(pull())
    assert decode(wire.core.expire(request, "late")) == [("WAKE", 2, 1)]
    with pytest.raises(RequestTimeout, match="late") as caught:
        request.outcome()
    assert caught.value.in_doubt
    request, _ = wire.begin(calls.purge("a"))
    wire.say((3, "OK", 5))
    assert wire.core.expire(request, "late") == b""
    assert request.outcome() == 5


def test_a_loss_forgets_what_was_given_up(wire: Wire):
    request, _ = wire.begin(pull())
    wire.core.give_up(request)
    assert wire.core.lose("it broke") == []
    assert not wire.kept.expects("jobs")
    assert wire.core.give_up(request) == b""


def test_the_one_who_waits_is_found(wire: Wire):
    first, _ = wire.begin(pull())
    second, _ = wire.begin(calls.ping())
    assert wire.core.waiting() is first
    wire.core.give_up(first)
    assert wire.core.waiting() is second


# Leases and draining


def leased(wait=60.0):
    return lease_calls.pull(SOURCE, 1, 30.0, wait)


def test_a_leased_pull_that_is_given_up_hands_back_what_comes(wire: Wire):
    request, _ = wire.begin(leased())
    assert decode(wire.core.give_up(request)) == [("WAKE", 2, 1)]
    assert not wire.kept.expects("jobs")
    assert wire.say((1, "OK", [7, 1], [join_bodies(["5"])], {}, [3, 17])) == []
    assert decode(b"".join(wire.core.unsent)) == [("NACK", 3, (3, 17), {"hand_back": True})]
    assert wire.kept.counts() == {}
    assert wire.say((3, "OK", 1, "synced")) == []


@pytest.mark.parametrize("reply", [(1, "OK", [], []), (1, "ERR", "QUEUE_NOT_FOUND", "no", {})])
def test_a_leased_pull_that_is_given_up_and_brings_nothing(wire: Wire, reply):
    request, _ = wire.begin(leased())
    wire.core.give_up(request)
    assert wire.say(reply) == []
    assert wire.core.unsent == []


def test_a_leased_answer_that_came_while_the_caller_left_is_handed_back(wire: Wire):
    request, _ = wire.begin(leased())
    wire.say((1, "OK", [7, 1], [join_bodies(["5"])], {}, [3, 17]))
    assert wire.core.give_up(request) == b""
    assert [frame[0] for frame in decode(b"".join(wire.core.unsent))] == ["NACK"]


def test_draining_wakes_the_pulls_of_consumers_alone(wire: Wire):
    other, _ = wire.begin(leased())
    call = leased()
    call.ends_on_drain = True
    waiting, _ = wire.begin(call)
    gone, _ = wire.begin(call)
    wire.core.give_up(gone)
    unsent, _ = wire.begin(call, is_sent=False)
    wire.core.drain()
    assert decode(b"".join(wire.core.unsent)) == [("WAKE", 6, 2)]
    assert wire.say((2, "OK", [], [])) == [waiting]
    # Those that begin afterwards wait for nothing.
    _, frames = wire.begin(call)
    assert frames == [("PULL", 7, "jobs", 1, {"lease": 30.0})]
    _, frames = wire.begin(leased())
    assert frames == [("PULL", 8, "jobs", 1, {"lease": 30.0, "wait": 60.0})]
    assert call.arguments[2]["wait"] == 60.0
    assert other.reply is None
    assert unsent.reply is None


@pytest.mark.parametrize(
    ("call", "in_doubt"),
    [
        (leased(), True),
        (lease_calls.ack(LeaseId(3, 1)), True),
        (lease_calls.nack(LeaseId(3, 1)), True),
        (lease_calls.reject(LeaseId(3, 1)), True),
        (lease_calls.step([], 0), True),
        (lease_calls.redrive("q"), True),
        (lease_calls.extend(LeaseId(3, 1), 5), False),
        (lease_calls.holders(None), False),
    ],
    ids=lambda value: getattr(value, "verb", None),
)
def test_a_loss_says_what_is_in_doubt_of_leases(wire: Wire, call, in_doubt):
    request, _ = wire.begin(call)
    wire.core.lose("it broke")
    assert request.error.in_doubt is in_doubt
