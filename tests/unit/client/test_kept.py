from __future__ import annotations

from mqclient.codecs import decoders
from mqclient.kept import KeptMessages
from mqclient.messages import Message, Source

JOBS = Source("jobs", decoders("json"), None)
OTHER = Source("other", decoders("json"), lambda value, _place: value + 1)


def test_messages_come_back_in_order_and_once():
    kept = KeptMessages()
    kept.keep("jobs", [Message(1, "1", None, OTHER), Message(2, "2", {"a": 1}, OTHER)])
    kept.keep("jobs", [Message(3, "3", None, OTHER)])
    assert kept.take(OTHER, 9) == []
    assert kept.counts() == {"jobs": 3}
    first, second = kept.take(JOBS, 2)
    assert (first.id, first.body, first.queue) == (1, 1, "jobs")
    assert (second.id, second.headers) == (2, {"a": 1})
    assert [message.id for message in kept.take(JOBS, 9)] == [3]
    assert kept.take(JOBS, 9) == []
    assert kept.counts() == {}


def test_expectations_are_counted_by_queue():
    kept = KeptMessages()
    kept.expect("jobs")
    kept.expect("jobs")
    kept.forget("jobs")
    assert kept.expects("jobs")
    assert not kept.expects("other")
    kept.forget("jobs")
    kept.forget("jobs")
    assert not kept.expects("jobs")
