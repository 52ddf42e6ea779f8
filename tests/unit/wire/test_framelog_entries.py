"""mqwire.framelog_entries: replies find their requests; each frame is a line of JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqwire.framelog import GAP, IN, OUT, Gap, LogReader, Record, encode_gap, encode_header
from mqwire.framelog_entries import (
    EntryReader,
    LeaseBook,
    Request,
    to_json_line,
    utc_text,
)
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies

CLIENT, SERVER = "10.0.0.5:40000", "10.0.0.1:7500"
encode = FrameWriter().encode


def record(*frames, at=1000, out=False, connection=3) -> Record:
    ends = (SERVER, CLIENT) if out else (CLIENT, SERVER)
    data = b"".join(frame if isinstance(frame, bytes) else encode(frame) for frame in frames)
    return Record(at, connection, OUT if out else IN, *ends, "ann", data)


def entries(*records, reader=None):
    reader = reader or EntryReader()
    return [entry for each in records for entry in reader.read(each)]


def test_replies_find_their_requests_in_any_order():
    shown = entries(
        record(["PUSH", 1, "a", 1, b"\xc0"], ["PULL", 2, "b", 1], at=1000),
        record(["PING", 2], connection=4, at=1500),
        record([2, "OK", [], []], out=True, at=2000),
        record([1, "OK", 1, "accepted"], out=True, at=3000),
        record([2, "OK"], connection=4, out=True, at=3500),
    )
    assert [(entry.verb, entry.queue, entry.elapsed_ns) for entry in shown] == [
        ("PUSH", "a", None),
        ("PULL", "b", None),
        ("PING", None, None),
        ("PULL", "b", 1000),
        ("PUSH", "a", 2000),
        ("PING", None, 2000),
    ]
    assert {entry.peer for entry in shown} == {CLIENT}


def test_a_reply_is_matched_once():
    replies = entries(
        record(["PING", 1]), record([1, "OK"], [1, "OK"], [0, "ERR"], [], ["x"], out=True)
    )[1:]
    assert [entry.answers is not None for entry in replies] == [True, False, False, False, False]
    assert replies[1].verb is replies[1].queue is replies[1].elapsed_ns is None


def test_requests_without_replies_are_given_up_in_the_end():
    reader = EntryReader(max_open_requests=2)
    entries(record(*(["PING", number] for number in (1, 2, 3))), reader=reader)
    replies = entries(record(*([number, "OK"] for number in (1, 2, 3)), out=True), reader=reader)
    assert [entry.answers for entry in replies] == [
        None,
        Request(1000, "PING", None),
        Request(1000, "PING", None),
    ]


def test_requests_can_be_forgotten():
    reader = EntryReader()
    entries(record(["PING", 1]), reader=reader)
    reader.forget_requests()
    [reply] = entries(record([1, "OK"], out=True), reader=reader)
    assert reply.answers is None


@pytest.mark.parametrize(
    ("frame", "verb", "queue"),
    [
        (["LIST", 1, "a*"], "LIST", None),
        (["INFO", 1, 5], "INFO", None),
        (["PING"], "PING", None),
        ([], None, None),
        ([5, 1, "a"], None, "a"),
        ([{}, 1, "a"], None, "a"),
        (["HOLDERS", 1, "a"], "HOLDERS", None),
        (["ACK", 1, "a"], "ACK", "a"),
        (["ACK", 1], "ACK", None),
        (["ACK", 1, [1]], "ACK", None),
        (["STEP", 1, [["ACK", [1, 2]], [{}, "a"], 5, ["PUSH", 5], ["ACK"]]], "STEP", None),
        (["STEP", 1, 5], "STEP", None),
        (["STEP", 1], "STEP", None),
        (b"\xce\0\0\0\1\xc1", None, None),
    ],
)
def test_odd_requests(frame, verb, queue):
    [entry] = entries(record(frame))
    assert (entry.verb, entry.queue) == (verb, queue)


def test_no_more_leases_are_remembered_than_may_be():
    reader = EntryReader(leases=LeaseBook(most=2))

    def lease(number, queue):
        entries(record(["PULL", 1, queue, 1]), reader=reader)
        entries(record([1, "OK", [1, 1], [b"\1"], {}, [1, number]], out=True), reader=reader)

    def queue_of(number):
        [entry] = entries(record(["EXTEND", 2, [1, number], 60]), reader=reader)
        return entry.queue, entry.nameless_leases

    lease(1, "a")
    lease(2, "b")
    assert queue_of(1) == ("a", 0)  # and it is the youngest now
    lease(3, "c")
    assert [queue_of(number) for number in (1, 2, 3)] == [("a", 0), (None, 1), ("c", 0)]


@pytest.mark.parametrize("tail", [[], [{}], [{}, 5], [{}, [1]], [{}, ["a", 2]], [{}, {}]])
def test_odd_replies_to_pulls_tell_of_no_lease(tail):
    reader = EntryReader()
    entries(record(["PULL", 1, "a", 1]), reader=reader)
    entries(record([1, "OK", [1, 1], [b"\1"], *tail], out=True), reader=reader)
    [entry] = entries(record(["ACK", 2, [1, 2]]), reader=reader)
    assert (entry.queue, entry.nameless_leases) == (None, 1)


def test_a_gap():
    gap = Gap(2, 300, 5, "No space left on device")
    [read] = LogReader().feed(encode_header(1, "t") + encode_gap(9, gap))
    [entry] = entries(read)
    assert entry.gap == gap
    assert not entry.is_request
    shown = json.loads(to_json_line(entry))
    assert (shown["direction"], shown["connection"], shown["verb"]) == ("gap", 0, None)
    assert shown["frame"][2] == {
        "records": 2,
        "bytes": 300,
        "since_ns": 5,
        "reason": "No space left on device",
    }


@pytest.mark.parametrize(
    "frame",
    [
        [],
        [0, "GAP"],
        [0, "GAP", {}],
        [0, "GAP", {"records": 1, "bytes": 1, "since_ns": 1, "reason": 1}],
        b"\xce\0\0\0\1\xc1",
    ],
)
def test_odd_gaps_are_none(frame):
    data = frame if isinstance(frame, bytes) else encode(frame)
    [entry] = entries(Record(1, 0, GAP, "", "", "", data))
    assert entry.gap is None
    json.loads(to_json_line(entry))


def test_only_gaps_are_gaps():
    [entry] = entries(record([0, "GAP", {"records": 1, "bytes": 1, "since_ns": 1, "reason": ""}]))
    assert entry.gap is None


def test_a_line_of_a_reply_says_what_it_answers():
    pack = join_bodies(["a", b"\x01"])
    _, reply = entries(
        record(["PULL", 7, "jobs", 2], at=1_000_000_000),
        record([7, "OK", [1, 2], [pack]], out=True, at=1_000_250_000),
    )
    assert json.loads(to_json_line(reply)) == {
        "time": "1970-01-01T00:00:01.000250000Z",
        "time_ns": 1_000_250_000,
        "connection": 3,
        "direction": "out",
        "source": SERVER,
        "destination": CLIENT,
        "user": "ann",
        "bytes": len(reply.logged.raw),
        "verb": "PULL",
        "queue": "jobs",
        "seconds": 0.00025,
        "frame": [7, "OK", [1, 2], [["a", {"base64": "AQ=="}]]],
    }


@pytest.mark.parametrize(
    ("frame", "out", "shown"),
    [
        (["PUSH", 1, "q", 1, b"\xc1"], False, ["PUSH", 1, "q", 1, {"base64": "wQ=="}]),
        (["PUSH", 1, "q", 1, b"\x81\x90\x01"], False, ["PUSH", 1, "q", 1, [{"base64": "gZAB"}]]),
        (["PUSH", 1, "q", 1, "text"], False, ["PUSH", 1, "q", 1, "text"]),
        (["PULL", 1, "q", 1, b"\xa1x"], False, ["PULL", 1, "q", 1, {"base64": "oXg="}]),
        ([1, "OK", [1, 1], 5], True, [1, "OK", [1, 1], 5]),
        ([1, "OK", [1, 1], [5]], True, [1, "OK", [1, 1], [5]]),
        ([1, "OK", [1, 1], [b"\xc1", b"\x01"]], True, [1, "OK", [1, 1], [{"base64": "wQ=="}, [1]]]),
        ([1, "OK", 5, [b"\x01"]], True, [1, "OK", 5, [{"base64": "AQ=="}]]),
        ([1, "OK", True], True, [1, "OK", True]),
    ],
)
def test_what_a_line_shows(frame, out, shown):
    [entry] = entries(record(frame, out=out))
    assert json.loads(to_json_line(entry))["frame"] == shown


def test_frames_that_cannot_be_shown_are_there_as_bytes():
    deep = b"\x92\xa4LIST" + b"\x91" * 1020 + b"\xc0"
    for body in (b"\xc1", deep):
        [entry] = entries(record(b"\xce" + len(body).to_bytes(4, "big") + body))
        shown = json.loads(to_json_line(entry))
        assert shown["frame"] is None
        assert shown["undecodable"]
        assert shown["base64"]


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@given(st.datetimes(timezones=st.just(timezone.utc)), st.integers(0, 999))
def test_times_are_those_of_the_calendar(moment, nanoseconds):
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    assert utc_text(microseconds * 1000 + nanoseconds) == (
        f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{moment:%f}{nanoseconds:03d}Z"
    )


@pytest.mark.parametrize("time_ns", [-62_135_596_800 * 10**9 - 1, 253_402_300_800 * 10**9, 10**30])
def test_times_beyond_the_calendar(time_ns):
    assert utc_text(time_ns) == ""
