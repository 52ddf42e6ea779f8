from __future__ import annotations

from mqclient.codecs import decoders
from mqclient.keeper import Keeper
from mqclient.messages import Message, Source

JOBS = Source("jobs", decoders("json"), None)
OTHER = Source("other", decoders("json"), lambda value, _place: value + 1)


def test_messages_come_back_in_order_and_once():
    keeper = Keeper()
    keeper.keep("jobs", [Message(1, "1", None, OTHER), Message(2, "2", {"a": 1}, OTHER)])
    keeper.keep("jobs", [Message(3, "3", None, OTHER)])
    assert keeper.take(OTHER, 9) == []
    assert keeper.counts() == {"jobs": 3}
    first, second = keeper.take(JOBS, 2)
    assert (first.id, first.body, first.queue) == (1, 1, "jobs")
    assert (second.id, second.headers) == (2, {"a": 1})
    assert [message.id for message in keeper.take(JOBS, 9)] == [3]
    assert keeper.take(JOBS, 9) == []
    assert keeper.counts() == {}


def test_expectations_are_counted_by_queue():
    keeper = Keeper()
    keeper.expect("jobs")
    keeper.expect("jobs")
    keeper.forget("jobs")
    assert keeper.expects("jobs")
    assert not keeper.expects("other")
    keeper.forget("jobs")
    keeper.forget("jobs")
    assert not keeper.expects("jobs")
