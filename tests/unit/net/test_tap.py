from __future__ import annotations

import pytest

from mqd.net.frame_tail import FrameTail, Untold
from mqd.net.tap import HIDDEN, NOT_LOGGED, BodilessTap, Tap, loggable, new_tap, redact
from mqwire.framelog import FrameSplitter, LogReader, encode_header
from mqwire.framelog_bodies import body_mark
from mqwire.frames import FrameReader, FrameWriter


class MemoryLog:
    def __init__(self, *, has_bodies=True):
        self.has_bodies = has_bodies
        self.data = encode_header(1, "test")
        self.tail = FrameTail(1, "test", "full")

    def append(self, head, frames, size_bytes):
        assert sum(map(len, frames)) == size_bytes
        self.data += head + b"".join(frames)

    def told(self):
        splitter = FrameSplitter()
        records = self.records(self.tail.read().records)
        return [logged.frame for record in records for logged in splitter.split(record)]

    def records(self, data=None):
        reader = LogReader()
        records = reader.feed(self.data if data is None else data)
        assert reader.error is None
        assert reader.leftover_bytes == 0
        return records

    def frames(self):
        splitter = FrameSplitter()
        return [logged.frame for record in self.records() for logged in splitter.split(record)]


@pytest.fixture
def log():
    return MemoryLog()


@pytest.fixture
def tap(log):
    return Tap(log, 7, "1.2.3.4:5", "6.7.8.9:7500")


@pytest.fixture
def bodiless(log):
    log.has_bodies = False
    return new_tap(log, 7, "1.2.3.4:5", "6.7.8.9:7500")


def encode(*frames):
    return b"".join(FrameWriter().encode(frame) for frame in frames)


def feed(tap, data, sizes=(1 << 20,)):
    """Give the tap what a session would, in pieces of the given sizes, again and again."""
    reader = FrameReader(1 << 20)
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        piece = data[at : at + size]
        tap.received(piece, reader.feed(piece), reader.leftover_bytes)
        at, turn = at + size, turn + 1


REQUESTS = [("PUSH", number, "jobs", 1, b"\xa3abc") for number in range(1, 40)]


@pytest.mark.parametrize("sizes", [(1 << 20,), (1,), (3, 50), (17,), (27, 4, 90)])
def test_frames_are_logged_once_whole_and_in_order_however_they_arrive(log, tap, sizes):
    tap.identify("ada")
    feed(tap, encode(*REQUESTS), sizes)
    assert log.frames() == REQUESTS
    assert b"".join(record.frames for record in log.records()) == encode(*REQUESTS)


def test_a_record_says_who_and_where(log, tap):
    tap.identify("ada")
    feed(tap, encode(("PING", 1)))
    tap.sent(encode((1, "OK")))
    request, reply = log.records()
    assert request[1:6] == (7, "in", "1.2.3.4:5", "6.7.8.9:7500", "ada")
    assert reply[1:6] == (7, "out", "6.7.8.9:7500", "1.2.3.4:5", "ada")
    assert reply.wall_time_ns >= request.wall_time_ns > 0


@pytest.mark.parametrize("sizes", [(1 << 20,), (1,), (5, 31)])
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("kind", [Tap, BodilessTap])
def test_no_secret_is_logged(log, sizes, is_known, kind):
    tap = kind(log, 7, "1.2.3.4:5", "6.7.8.9:7500")
    if is_known:
        tap.identify("ada")
    frames = [
        ("PING", 1),
        ("AUTH", 2, {"user": "ada", "password": "s3cret"}, {"client": "t", "version": 1}),
        ("AUTH", 3, {"token": "s3cret"}),
        ("AUTH", 4, "s3cret"),
        ("AUTH", 5, {"user": "x" * 1000, "password": "s3cret"}),
        ("AUTH", 6, {"user": 5, "s3cret": "s3cret"}, {"s3cret": "s3cret", "client": ["s3cret"]}),
        ("AUTH", "s3cret"),
        ("AUTH",),
        ("PING", 7),
    ]
    feed(tap, encode(*frames), sizes)
    assert b"s3cret" not in log.data
    logged = log.frames()
    assert len(logged) == len(frames)
    assert logged[1] == (
        "AUTH",
        2,
        {"user": "ada", "password": HIDDEN},
        {"client": "t", "version": 1},
    )
    assert logged[2] == ("AUTH", 3, HIDDEN)
    assert logged[0] == ("PING", 1)


SECRETS = [
    (("ADMIT", 1, "ada", "agent", "s3cret"), ("ADMIT", 1, "ada", "agent", HIDDEN)),
    (("ADMIT", 2, "ada", "s3cret", "agent"), ("ADMIT", 2, "ada", HIDDEN, HIDDEN)),
    (("ADMIT", 3, ("s3cret",), {"password": "s3cret"}), ("ADMIT", 3, HIDDEN, {})),
    (("ADMIT", "s3cret"), ("ADMIT", None)),
    (
        ("ALTER", 4, "ada", {"role": "user", "password": "s3cret", "disabled": True}),
        ("ALTER", 4, "ada", {"role": "user", "password": HIDDEN, "disabled": True}),
    ),
    (("ALTER", 5, "ada", {"s3cret": 1, "role": ["s3cret"]}), ("ALTER", 5, "ada", {"role": HIDDEN})),
    (("PASSWORD", 6, "s3cret", "s3cret"), ("PASSWORD", 6, HIDDEN, HIDDEN)),
    (
        ("PASSWORD", 7, "s3cret", "s3cret", "s3cret", {}),
        ("PASSWORD", 7, HIDDEN, HIDDEN, HIDDEN, {}),
    ),
]


@pytest.mark.parametrize("sizes", [(1 << 20,), (1,), (5, 31)])
@pytest.mark.parametrize("kind", [Tap, BodilessTap])
def test_no_password_of_a_managed_user_is_logged(log, sizes, kind):
    tap = kind(log, 7, "1.2.3.4:5", "6.7.8.9:7500")
    tap.identify("ada")
    frames = [("PING", 98), *(frame for frame, _ in SECRETS), ({"s3cret": 1}, 1), (), ("PING", 99)]
    feed(tap, encode(*frames), sizes)
    logged = log.frames()
    assert logged[1 : 1 + len(SECRETS)] == [shown for _, shown in SECRETS]
    assert (logged[0], logged[-1]) == (("PING", 98), ("PING", 99))
    assert b"s3cret" not in log.data, "nor is what is no request at all logged as it came"


def test_a_reply_with_a_token_is_logged_without_it():
    told = {"id": 7, "user": "ada", "token": "s3cret"}
    assert loggable((1, "OK", told)) == (1, "OK", {**told, "token": HIDDEN})
    welcome = {"user": "ada", "token_id": 7, "token": told}
    assert loggable((1, "OK", welcome)) == (
        1,
        "OK",
        {**welcome, "token": {**told, "token": HIDDEN}},
    )
    assert loggable((1, "OK", {"user": "ada", "token_id": 7})) is None
    assert loggable((1, "OK")) is None


@pytest.mark.parametrize("kind", [Tap, BodilessTap])
def test_before_auth_only_verbs_and_ids_are_logged(log, kind):
    tap = kind(log, 7, "1.2.3.4:5", "6.7.8.9:7500")
    frames = [
        ("auth", 1, "s3cret"),
        ("PUSH", 2, "s3cret"),
        ("s3cret", 3),
        (b"s3cret", "s3cret"),
        (),
        ("LIST",),
    ]
    feed(tap, encode(*frames))
    assert log.frames() == [
        (NOT_LOGGED, 1, NOT_LOGGED),
        ("PUSH", 2, NOT_LOGGED),
        (NOT_LOGGED, 3),
        (NOT_LOGGED, None),
        (NOT_LOGGED, None),
        ("LIST", None),
    ]


def test_a_body_that_names_the_verb_is_logged_as_it_came(log, tap):
    tap.identify("ada")
    data = encode(("PUSH", 1, "jobs", 1, b"\xa4AUTH"))
    feed(tap, data)
    assert log.records()[0].frames == data


def test_redact_leaves_what_is_no_secret():
    frame = ("PUSH", 1, "jobs", 1, b"\xa1x")
    assert redact(frame, is_trusted=True) is frame


# Without bodies


def test_the_log_decides_which_tap_it_is(log):
    assert type(new_tap(log, 1, "a", "b")) is Tap
    log.has_bodies = False
    assert type(new_tap(log, 1, "a", "b")) is BodilessTap


@pytest.mark.parametrize("sizes", [(1 << 20,), (1,), (3, 50), (17,), (27, 4, 90)])
def test_requests_are_logged_without_bodies_however_they_arrive(log, bodiless, sizes):
    bodiless.identify("ada")
    feed(bodiless, encode(*REQUESTS, ("PULL", 99, "jobs", 1)), sizes)
    mark = body_mark(b"\xa3abc")
    expected = [(*request[:4], mark) for request in REQUESTS]
    assert log.frames() == [*expected, ("PULL", 99, "jobs", 1)]
    assert b"abc" not in log.data
    assert {record.user for record in log.records()} == {"ada"}


def test_replies_are_logged_without_bodies(log, bodiless):
    pack = b"\xa3abc"
    bodiless.sent(encode((1, "OK", (1, 1), (pack,)), (2, "OK", 1, "accepted")))
    bodiless.sent(encode((3, "OK")))
    assert log.frames() == [
        (1, "OK", (1, 1), (body_mark(pack),)),
        (2, "OK", 1, "accepted"),
        (3, "OK"),
    ]
    assert [record.direction for record in log.records()] == ["out", "out"]
    assert b"abc" not in log.data


@pytest.mark.parametrize("verb", ["auth", "Password", "AUTH ", ("AUTH",), 7])
@pytest.mark.parametrize("has_bodies", [True, False])
def test_what_follows_a_verb_that_there_is_not_is_not_logged(log, verb, has_bodies):
    log.has_bodies = has_bodies
    tap = new_tap(log, 7, "1.2.3.4:5", "6.7.8.9:7500")
    tap.identify("ada")
    feed(tap, encode(("PING", 1), (verb, 2, {"user": "ada", "password": "s3cret"}), ("PING", 3)))
    assert b"s3cret" not in log.data
    assert [frame[1] for frame in log.frames()] == [1, 2, 3]


@pytest.mark.parametrize("kind", [Tap, BodilessTap])
@pytest.mark.parametrize("sizes", [(1 << 20,), (1,), (5, 31)])
def test_who_follows_the_log_is_told_all_but_the_asking(log, kind, sizes):
    tap = kind(log, 7, "1.2.3.4:5", "6.7.8.9:7500")
    tap.identify("ada")
    others = [("PING", 2), ("ALTER", 3, "bob", {"password": "battery staple"}), ("PING", 4)]
    requests = [("FRAMES", 1, {"max": 5}), *others, ("FRAMES", 5)]
    feed(tap, encode(*requests), sizes)
    tap.sent(encode((2, "OK")))
    tap.sent(Untold(encode((1, "OK", {"bytes": 90}))))
    assert [frame[:2] for frame in log.frames()] == [
        *[frame[:2] for frame in requests],
        (2, "OK"),
        (1, "OK"),
    ]
    assert [frame[:2] for frame in log.told()] == [*[frame[:2] for frame in others], (2, "OK")]
    assert b"battery" not in log.tail.read().records


def test_who_has_not_authenticated_hides_nothing(log, tap):
    feed(tap, encode(("FRAMES", 1)))
    assert log.told() == log.frames() == [("FRAMES", 1)]


def test_replies_in_pieces_are_one_record(log, tap):
    reply = (5, "OK", (1, 2), (b"a pack",))
    whole = encode(reply)
    tap.sent([whole[:9], whole[9:12], whole[12:]])
    [record] = log.records()
    assert record.frames == whole
    assert log.told() == [reply]


def test_replies_in_pieces_are_logged_without_bodies_too(log, bodiless):
    replies = [(5, "OK", (1, 2), (b"a pack",)), (6, "OK")]
    whole = encode(*replies)
    bodiless.sent([whole[:9], whole[9:]])
    bodiless.sent([encode((7, "OK")), encode((8, "OK"))])
    assert log.frames()[0][3] == (body_mark(b"a pack"),)
    assert [frame[0] for frame in log.frames()] == [5, 6, 7, 8]
