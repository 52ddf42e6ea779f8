from __future__ import annotations

import pickle
from dataclasses import dataclass

import msgpack
import pytest

from mqclient.batches import pack_bytes, read_messages
from mqclient.codecs import Codec, decoders
from mqclient.errors import BodyError
from mqclient.messages import Source
from mqclient.typed import restorer
from mqwire.packs import join_bodies

SOURCE = Source("jobs", decoders("json"), None)


@dataclass
class Job:
    x: int


def reply(ids, *packs, **more):
    columns = [{**more, "later": [1]}] if more else []
    return (1, "OK", tuple(ids), tuple(packs), *columns)


def test_an_empty_reply_has_no_messages():
    assert read_messages(reply([]), SOURCE) == []


@pytest.mark.parametrize("count", [1, 15, 16, 300, 70_000])
def test_ids_are_runs_and_packs_are_joined(count: int):
    pack = join_bodies([str(number) for number in range(count)])
    messages = read_messages(reply([7, count], pack), SOURCE)
    assert [message.id for message in messages] == list(range(7, 7 + count))
    assert [message.body for message in messages] == list(range(count))


def test_several_runs_and_packs():
    frame = reply([7, 2, 20, 1], join_bodies(["1"]), join_bodies(["2", b"x"]))
    messages = read_messages(frame, SOURCE)
    assert [(message.id, message.body) for message in messages] == [(7, 1), (8, 2), (20, b"x")]
    assert pack_bytes(frame) == 2 + 2 + 3


def test_headers_are_there_or_empty():
    pack = join_bodies(["1", "2"])
    plain, marked = read_messages(reply([1, 2], pack, headers=[None, {"n": 1}]), SOURCE)
    assert (plain.headers, marked.headers) == ({}, {"n": 1})
    assert plain.queue == "jobs"


@pytest.mark.parametrize(
    "frame",
    [
        (1, "OK"),
        reply([1, 2], join_bodies(["1"])),
        reply([1, 1], join_bodies(["1", "2"])),
        reply([1, 2**40], join_bodies(["1"])),
        reply([1], join_bodies(["1"])),
        (1, "OK", 5, 5),
        (1, "OK", (1, 1), ("text",)),
        (1, "OK", (1, 1), (b"\xa5abc",)),
    ],
)
def test_a_reply_without_the_form_of_one_is_an_error(frame):
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_messages(frame, SOURCE)


def test_a_body_that_cannot_be_decoded_fails_alone_and_late():
    frame = reply([1, 3], join_bodies(['{"x": 1}', "{", "3"]))
    good, bad, last = read_messages(frame, SOURCE)
    assert (good.body, last.body) == ({"x": 1}, 3)
    for _ in range(2):
        with pytest.raises(
            BodyError, match="message 2 of queue 'jobs': it cannot be decoded"
        ) as caught:
            _ = bad.body
    assert caught.value.message is bad
    assert bad.raw == "{"


def test_a_body_that_is_no_text_fails_alone():
    pack = join_bodies(["1"]) + b"\xa1\xff" + join_bodies(["3"])
    first, bad, last = read_messages(reply([1, 3], pack), SOURCE)
    assert (first.body, last.body) == (1, 3)
    assert bad.raw == b"\xa1\xff"
    with pytest.raises(BodyError, match="no msgpack value"):
        _ = bad.body
    with pytest.raises(BodyError, match="no msgpack value"):
        _ = bad.given_to(SOURCE).body


def test_a_nested_json_bomb_fails_alone():
    [message] = read_messages(reply([1, 1], join_bodies(["[" * 200_000])), SOURCE)
    with pytest.raises(BodyError):
        _ = message.body


def test_foreign_msgpack_values_are_themselves():
    pack = b"".join(map(msgpack.packb, [5, {"a": [1]}, None, {1: 2}]))
    messages = read_messages(reply([1, 4], pack), SOURCE)
    assert [message.body for message in messages] == [5, {"a": [1]}, None, {1: 2}]


def test_a_map_with_keys_that_python_cannot_hash_fails_alone():
    pack = b"\x81\x80\x01" + join_bodies(["2"])
    bad, good = read_messages(reply([1, 2], pack), SOURCE)
    assert good.body == 2
    with pytest.raises(BodyError):
        _ = bad.body


def test_the_header_says_how_a_body_is_decoded():
    pack = join_bodies([msgpack.packb({"a": b"x"}), pickle.dumps({1})])
    frame = reply([1, 2], pack, headers=[{"codec": "msgpack"}, {"codec": "pickle"}])
    first, second = read_messages(frame, SOURCE)
    assert first.body == {"a": b"x"}
    with pytest.raises(BodyError, match="codec 'pickle'"):
        _ = second.body
    own = Codec("pickle", pickle.dumps, pickle.loads)
    assert second.given_to(Source("jobs", decoders(own), None)).body == {1}


def test_a_type_is_restored_once_and_checked():
    source = Source("jobs", decoders("json"), restorer(Job))
    good, bad = read_messages(reply([1, 2], join_bodies(['{"x": 1}', '{"x": "1"}'])), source)
    assert good.body == Job(1)
    assert good.body is good.body
    with pytest.raises(BodyError, match=r"body.x must be int, not str"):
        _ = bad.body


def test_repr_is_short():
    [message] = read_messages(reply([1, 1], join_bodies(["x" * 1000])), SOURCE)
    assert len(repr(message)) < 120
    [message] = read_messages(reply([1, 1], b"\x05"), SOURCE)
    assert repr(message) == "Message(id=1, queue='jobs', raw=5)"


def test_what_only_some_messages_have_stands_in_columns():
    entry = {
        "owner": "agent/abc",
        "leased_at": 1.5,
        "ended_at": 2.5,
        "cause": "failed",
        "reason": "no",
    }
    origin = {"queue": "jobs", "id": 7, "pushed_at": 1.0, "attempts": 3, "losses": 0}
    frame = reply(
        [1, 2],
        join_bodies(["1", "2"]),
        deliveries=[None, 4],
        attempts=[0, 3],
        losses=[0, 1],
        history=[None, ({**entry, "more": 1},)],
        origin=[None, origin],
        due_at=[None, 9.5],
        lease=[None, (3, 17)],
        holder=[None, "agent/abc"],
        deadline_at=[None, 8.5],
    )
    plain, other = read_messages(frame, SOURCE)
    assert (plain.deliveries, plain.attempts, plain.losses) == (1, 0, 0)
    assert (plain.history, plain.origin, plain.due_at, plain.lease) == ([], None, None, None)
    assert (plain.holder, plain.deadline_at) == (None, None)
    for copy in (other, other.given_to(SOURCE), pickle.loads(pickle.dumps(other))):
        assert (copy.deliveries, copy.attempts, copy.losses) == (4, 3, 1)
        assert [attempt.cause for attempt in copy.history] == ["failed"]
        assert copy.origin.queue == "jobs"
        assert str(copy.lease) == "3-17"
        assert (copy.due_at, copy.holder, copy.deadline_at) == (9.5, "agent/abc", 8.5)


def test_a_message_that_was_never_handed_out_says_so():
    peeked = Source("jobs", decoders("json"), None, 0)
    [message] = read_messages(reply([1, 1], join_bodies(["1"])), peeked)
    assert message.deliveries == 0
    assert pickle.loads(pickle.dumps(message)).deliveries == 0
