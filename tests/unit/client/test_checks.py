"""`mqclient/checks.py`: what users give that makes no sense is told in a sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest

import mqclient
from mqclient import lease_calls
from mqclient.jobs import Job
from mqclient.leases import Lease
from mqclient.messages import Message, Source
from mqclient.models import LeaseId
from mqclient.settling import Batch

ONE = LeaseId(3, 17)


@pytest.fixture
def client(make_client, server):
    return make_client(server.url)


@pytest.fixture
def job():
    client = mqclient.Client("mq://a:b@localhost:1")
    message = Message(7, "1", None, Source("jobs", {}, None))
    yield Job(client, message, Batch(ONE, 60.0, [7]), raise_errors=False)
    client.close()


@pytest.fixture
def lease(job):
    return Lease(job._client, lease_calls.Leased(ONE, [job.message]))


def told(misuse) -> str:
    """Return the sentence; whoever catches Python's own errors catches it as well."""
    with pytest.raises(mqclient.ArgumentError) as caught:
        misuse()
    assert isinstance(caught.value, (TypeError, ValueError))
    assert isinstance(caught.value, mqclient.InterfaceError)
    return str(caught.value)


@pytest.mark.parametrize(
    ("misuse", "advice"),
    [
        (lambda one: one.ack(3), "write [3], not 3"),
        (lambda one: one.nack("no GPU"), "a reason is given by its name: reason=..."),
        (lambda one: one.ack(one.messages[0]), "a list such as [17, 18], not Message("),
        (lambda one: one.ack(one.messages), "write message.id"),
        (lambda one: one.ack([]), "None means all"),
        (lambda one: one.reject(reason=5), "reason is a text or an error that was raised, not 5"),
        (lambda one: one.nack(reason=ValueError), "not the class ValueError"),
        (lambda one: one.nack(delay="5"), "delay is a number of seconds, not '5' (str)"),
        (lambda one: one.nack(delay=timedelta(minutes=2)), "write 120"),
        (lambda one: one.hand_back(3.0), "ids are positive integers in a list"),
        (lambda one: one.extend("60"), "seconds is a number of seconds"),
        (lambda one: one.extend(60, ids=3), "write [3]"),
    ],
)
def test_a_lease(lease, misuse, advice):
    assert advice in told(lambda: misuse(lease))


@pytest.mark.parametrize(
    ("misuse", "advice"),
    [
        (lambda job: job.done(push=[1]), "a map of queue to bodies such as {'results': [1]}"),
        (lambda job: job.done({"score": 1}), "push={'score': [...]}, not 1 (int)"),
        (lambda job: job.done(push={"r": {"x": 1}}), "stand in a list"),
        (lambda job: job.done(push={"r": "text"}), "push={'r': [...]}"),
        (lambda job: job.done("text"), "what came of the job goes with result=..."),
        (lambda job: job.done(push={5: [1]}), "a queue's name is a string"),
        (lambda job: job.fail(3), "reason is a text or an error"),
        (lambda job: job.fail(None), "reason is a text or an error"),
        (lambda job: job.fail("no", delay="5"), "delay is a number of seconds"),
        (lambda job: job.reject(3), "reason is a text or an error"),
    ],
)
def test_a_job(job, misuse, advice):
    assert advice in told(lambda: misuse(job))
    assert not job.is_settled


@pytest.mark.parametrize(
    ("misuse", "advice"),
    [
        (lambda c: c.push("q", 1, headers="x"), "headers are a map such as"),
        (lambda c: c.push("q", 1, headers={1: 2}), "the keys of headers are text, not 1"),
        (lambda c: c.push("q", 1, delay=timedelta(seconds=5)), "delay is a number of seconds: write 5"),
        (lambda c: c.push("q", 1, ttl="5"), "ttl is a number of seconds"),
        (lambda c: c.push("q", 1, not_before="2030-01-31"), "datetime.fromisoformat('2030-01-31')"),
        (lambda c: c.push("q", 1, durability=5), "durability must be one of"),
        (lambda c: c.push_many("q", "abc"), "push takes one"),
        (lambda c: c.push_many("q", 5), "push takes one"),
        (lambda c: c.push_many("q", [1], headers=5), "headers are a map"),
        (lambda c: c.push_many("q", [1], headers="x"), "headers are a map"),
        (lambda c: c.push_many("q", [1], headers=[5]), "headers are a map"),
        (lambda c: c.push_many("q", [1], headers={1: 2}), "the keys of headers are text"),
        (lambda c: c.push_many("q", [1], on_progress=5), "on_progress is a function"),
        (lambda c: c.create("q", if_missing="no"), "if_missing is True or False"),
        (lambda c: c.create("q", ttl_seconds="1h"), "ttl_seconds is a number of seconds"),
        (lambda c: c.pull(5), "a queue's name is a string"),
        (lambda c: c.pull("q", wait="5"), "wait must be a number of seconds"),
        (lambda c: c.pull_many("q", "5"), "count must be an integer"),
        (lambda c: c.lease("q", seconds="5"), "a lease has"),
        (lambda c: c.status("q", "5"), "positive integers in a list"),
        (lambda c: c.cancel("q", None), "positive integers in a list"),
        (lambda c: c.redrive("q", ids=5), "write [5]"),
        (lambda c: c.watch(events="acked"), "events are words in a list, such as ['acked']"),
        (lambda c: c.watch(events=5), "events are words in a list"),
        (lambda c: c.watch(events=[5]), "events are words in a list"),
    ],
)  # fmt: skip
def test_a_client(client, server, misuse, advice):
    server.answers["PUSH"] = lambda peer, frame: peer.ok(frame, 1, "synced")
    assert advice in told(lambda: misuse(client))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: mqclient.Client(5),  # type: ignore[arg-type]
        lambda: mqclient.Client(name=5),  # type: ignore[arg-type]
        lambda: mqclient.Client(address_file=5),  # type: ignore[arg-type]
    ],
)
def test_settings(misuse):
    with pytest.raises(mqclient.ConfigurationError, match=r"not 5|is a text"):
        misuse()


def test_a_codec():
    assert "the name of a codec is a text" in told(lambda: mqclient.Codec(5, str, str))
    assert "encode is a function" in told(lambda: mqclient.Codec("c", 1, str))
    assert "decode is a function" in told(lambda: mqclient.Codec("c", str, 2))


def test_long_values_are_cut(job):
    text = told(lambda: job.done("x" * 1000))
    assert "xxx... (str)" in text
    assert len(text) < 250


def test_an_error_is_a_reason_for_a_lease_too(server):
    said = []
    server.answers["NACK"] = lambda peer, frame: (said.append(frame[3]), peer.ok(frame, 1))
    client = mqclient.Client(server.url)
    message = Message(7, "1", None, Source("jobs", {}, None))
    Lease(client, lease_calls.Leased(ONE, [message])).nack(reason=ValueError("no GPU"))
    assert said == [{"reason": "ValueError: no GPU\n"}]
    client.close()
