"""Messages of one reply: what they are as a list, and when objects are made of them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from mqclient import batches
from mqclient.batches import Messages, read_message, read_messages
from mqclient.codecs import decoders
from mqclient.errors import BodyError
from mqclient.messages import Source
from mqclient.typed import restorer
from mqwire.packs import join_bodies

SOURCE = Source("jobs", decoders("json"), None)


@dataclass
class Job:
    x: int


def reply(ids, *packs, **more):
    return (1, "OK", tuple(ids), tuple(packs), *([more] if more else []))


def read(*bodies, source=SOURCE, **more):
    return read_messages(reply([7, len(bodies)], join_bodies(bodies), **more), source)


@pytest.fixture
def made(monkeypatch):
    """Give the ids of the messages that objects were made of."""
    ids = []

    def make(message_id, *rest):
        ids.append(message_id)
        return real(message_id, *rest)

    real = batches.Message
    monkeypatch.setattr(batches, "Message", make)
    return ids


def test_nothing_is_made_of_a_reply_until_somebody_looks_at_a_message(made):
    messages = read(b"a", b"b", b"c", deliveries=[None, 2, None])
    assert len(messages) == 3
    assert messages
    assert made == []
    assert [message.raw for message in messages] == [b"a", b"b", b"c"]
    assert messages[1].deliveries == 2
    assert made == [7, 8, 9]


def test_bodies_alone_need_no_messages(made):
    assert read(b"a", b"b").bodies() == [b"a", b"b"]
    assert read('{"x": 1}', b"b", "5").bodies() == [{"x": 1}, b"b", 5]
    assert made == []


def test_bodies_are_those_of_the_messages():
    typed = Source("jobs", decoders("json"), restorer(Job))
    assert read('{"x": 1}', source=typed).bodies() == [Job(1)]
    marked = read(b"\x05", b"x", headers=[{"codec": "msgpack"}, None])
    assert marked.bodies() == [5, b"x"]
    messages = read("[1]", "[2]")
    first = messages[0].body
    assert messages.bodies() == [[1], [2]]
    assert messages.bodies()[0] is first
    bodies = read(b"a").bodies()
    bodies.append(b"b")
    assert bodies == [b"a", b"b"]


@pytest.mark.parametrize("bad", ["{", "[" * 200_000])
def test_a_body_that_cannot_be_decoded_says_of_which_message(bad):
    messages = read("1", bad)
    with pytest.raises(BodyError) as caught:
        messages.bodies()
    assert caught.value.message is messages[1]


def test_the_same_message_is_the_same_object():
    messages = read("1", "2")
    assert messages[0] is messages[0] is next(iter(messages))
    assert messages[-1] is messages[1:][0] is list(messages)[1]
    with pytest.raises(IndexError):
        _ = messages[2]


def test_they_are_read_as_a_list():
    messages, others = read("1", "2"), read("3")
    both = list(messages)
    assert messages == both
    assert both == messages
    assert messages == messages.plus(Messages())
    assert messages != others
    assert messages != "12"
    assert read_messages(reply([]), SOURCE) == []
    assert not Messages()
    assert messages + list(others) == [*both, *others]
    assert list(others) + messages == [*others, *both]
    got = []
    got += messages
    assert got == both
    assert messages.index(both[1]) == 1
    assert both[0] in messages
    assert list(reversed(messages)) == both[::-1]
    assert repr(messages) == repr(both)
    with pytest.raises(TypeError):
        hash(messages)


def test_they_can_be_put_behind_each_other(made):
    messages, others = read("1", "2"), read("3")
    assert messages.plus(Messages()) is messages
    assert Messages().plus(messages) is messages
    assert made == []
    assert [message.body for message in messages.plus(others)] == [1, 2, 3]


def test_they_can_be_pickled():
    copies = pickle.loads(pickle.dumps(read("1", "2")))
    assert isinstance(copies, Messages)
    assert [(copy.id, copy.body) for copy in copies] == [(7, 1), (8, 2)]


@pytest.mark.parametrize(
    "frame",
    [
        reply([7, 2], join_bodies("12"), headers=[None]),
        reply([7, 2], join_bodies("12"), headers=[]),
        reply([7, 2], join_bodies("12"), deliveries=[1, 2, 3]),
        reply([7, 2], join_bodies("12"), headers=5),
        reply([1, 2**40, 9, 2 - 2**40], join_bodies("12")),
        reply([1, -1, 9, 3], join_bodies("12")),
        reply([1, 1, 9], join_bodies("1")),
    ],
)
def test_columns_and_runs_that_do_not_fit_are_an_error_at_once(frame):
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_messages(frame, SOURCE)


def test_one_message_is_read_without_the_others_columns():
    one = read_message(reply([7, 1], join_bodies(["5"])), SOURCE)
    assert (one.id, one.body, one.headers, one.deliveries) == (7, 5, {}, 1)
    marked = read_message(reply([7, 1], join_bodies(["5"]), headers=[{"n": 1}]), SOURCE)
    assert marked.headers == {"n": 1}
    assert read_message(reply([]), SOURCE) is None
    flawed = read_message(reply([7, 1], b"\xa1\xff"), SOURCE)
    with pytest.raises(BodyError, match="no msgpack value"):
        _ = flawed.body


@pytest.mark.parametrize("frame", [(1, "OK"), reply([1, 1], b""), reply([1, 1], b"\x01\x02")])
def test_one_message_without_the_form_of_one_is_an_error(frame):
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_message(frame, SOURCE)
