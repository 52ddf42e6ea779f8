"""The server over real sockets, on both event loops, spoken to in bare frames."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mqwire import limits
from mqwire.frames import FrameWriter
from mqwire.packs import join_bodies, split_pack
from support.raw import Raw
from support.server import PASSWORD, running_server


@pytest.fixture
def raw(server):
    with Raw(server) as connection:
        yield connection


@pytest.fixture
def jobs(raw, queue):
    """A queue that exists."""
    raw.ok("CREATE", queue)
    return queue


# Life of a connection


@pytest.mark.parametrize("unix", [False, True])
def test_auth_tells_who_and_what(server, unix):
    with Raw(server, None, unix=unix) as stranger:
        (who,) = stranger.ok(
            "AUTH", {"user": "agent", "password": PASSWORD}, {"client": "t/1", "version": 1}
        )
    assert (who["user"], who["role"], who["server"], who["protocol"]) == (
        "agent",
        "agent",
        "mqd",
        1,
    )
    assert who["limits"]["max_frame_bytes"] == limits.MAX_FRAME_BYTES


def test_the_token_of_the_address_file_lets_its_owner_in(server):
    with Raw(server, None) as stranger:
        (who,) = stranger.ok("AUTH", {"token": server.address.token})
    assert who["role"] == "admin"
    assert server.address_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "credentials",
    [
        {"user": "admin", "password": "wrong"},
        {"user": "nobody", "password": PASSWORD},
        {"user": "", "password": ""},
        {"token": "guess"},
        {"token": ""},
    ],
)
def test_wrong_credentials_are_refused_alike_and_the_connection_lives(server, credentials):
    with Raw(server, None) as stranger:
        reply = stranger.call("AUTH", credentials)
        assert reply[1:3] == ("ERR", "AUTH_FAILED")
        assert reply[3] == "user and password, or the token, are not valid on this server"
        assert reply[4] == {}
        assert stranger.ok("PING") == ()
        stranger.ok("AUTH", {"user": "admin", "password": PASSWORD})


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"user": "admin"},
        {"password": "x"},
        {"user": 1, "password": "x"},
        {"token": b"x"},
        {"token": "x", "user": "y"},
    ],
)
def test_credentials_of_another_form_are_told_apart_without_a_value(server, credentials):
    with Raw(server, None) as stranger:
        reply = stranger.call("AUTH", credentials)
        assert reply[2] == "WRONG_TYPE"
        assert reply[4]["field"] == "credentials"


def test_credentials_may_have_so_many_characters(server):
    with Raw(server, None) as stranger:
        longest = "x" * limits.MAX_TEXT_CHARS
        assert stranger.error("AUTH", {"user": "admin", "password": longest})[0] == "AUTH_FAILED"
        code, details = stranger.error("AUTH", {"user": "admin", "password": longest + "x"})
        assert (code, details["field"]) == ("OUT_OF_RANGE", "password")


def test_what_follows_auth_without_waiting_is_answered_after_it(server):
    with Raw(server, None) as stranger:
        stranger.send(
            ("AUTH", 1, {"user": "admin", "password": PASSWORD}), ("LIST", 2), ("PING", 3)
        )
        assert [stranger.read()[:2] for _ in range(3)] == [(1, "OK"), (2, "OK"), (3, "OK")]


def test_a_second_auth_changes_who_one_is_and_a_failed_one_does_not(raw):
    raw.ok("AUTH", {"user": "user", "password": PASSWORD})
    assert raw.error("CREATE", "any")[0] == "ACCESS_DENIED"
    assert raw.error("AUTH", {"user": "admin", "password": "wrong"})[0] == "AUTH_FAILED"
    raw.ok("LIST")
    assert raw.error("CREATE", "any")[0] == "ACCESS_DENIED"


def test_a_stranger_may_not_send_a_large_frame(server):
    with Raw(server, None) as stranger:
        stranger.send(("PING", 1, "x" * limits.MAX_FRAME_BYTES_BEFORE_AUTH))
        assert stranger.read()[:3] == (0, "ERR", "FRAME_TOO_LARGE")
        assert stranger.is_closed()


def test_a_stranger_who_says_nothing_is_cut_off():
    with running_server(overrides={"auth": {"timeout_seconds": 0.2}}) as server:
        with Raw(server, None) as silent, Raw(server, None) as dripping, Raw(server) as known:
            dripping.send_bytes(b"\xce\x00")
            for stranger in (silent, dripping):
                assert stranger.read()[:3] == (0, "ERR", "AUTH_TIMEOUT")
                assert stranger.is_closed()
            assert known.ok("PING") == ()


def test_more_connections_than_allowed_are_turned_away():
    with running_server(overrides={"limits": {"max_connections": 2}}) as server:
        with Raw(server) as first, Raw(server) as second:
            with Raw(server, None) as third:
                assert third.read()[:3] == (0, "ERR", "TOO_MANY_CONNECTIONS")
                assert third.is_closed()
            first.ok("PING")
            second.ok("PING")
            first.socket.close()
            for _ in range(1000):  # until the server has seen that
                with Raw(server, None) as fourth:
                    if fourth.call("PING")[1] == "OK":
                        break
            else:
                pytest.fail("the place was not given back")


# Roles


@pytest.mark.parametrize("role", ["admin", "agent", "user"])
def test_every_verb_for_every_role(server, raw, jobs, role):
    raw.push(jobs, "a")
    requests = {
        "LIST": (),
        "INFO": (jobs,),
        "PEEK": (jobs, 1),
        "PUSH": (jobs, 1, join_bodies(["b"])),
        "PULL": (jobs, 1),
        "WAKE": (1,),
        "PURGE": (jobs,),
        "CREATE": (jobs + "-more",),
        "DELETE": (jobs + "-more",),
        "PING": (),
    }
    looks = {"LIST", "INFO", "PEEK", "PING", "WAKE"}
    allowed = {"admin": set(requests), "agent": looks | {"PUSH", "PULL"}, "user": looks}[role]
    with Raw(server, role) as connection:
        for verb, arguments in requests.items():
            reply = connection.call(verb, *arguments)
            if verb in allowed:
                assert reply[1] == "OK", reply
            else:
                assert reply[1:3] == ("ERR", "ACCESS_DENIED"), reply
                assert reply[4] == {"verb": verb, "role": role}
    with Raw(server, None) as stranger:
        for verb, arguments in requests.items():
            reply = stranger.call(verb, *arguments)
            assert reply[1:3] == (("ERR", "NOT_AUTHENTICATED") if verb != "PING" else ("OK",)), (
                reply
            )


# Messages


def test_messages_come_out_in_the_order_they_went_in(raw, jobs):
    sent = [str(number) for number in range(1000)]
    for start in range(0, 1000, 7):
        raw.push(jobs, *sent[start : start + 7])
    received = []
    while pieces := raw.pull(jobs, 13):
        received += pieces
    assert received == [join_bodies([text]) for text in sent]


def test_a_batch_reply_fits_into_a_frame(raw, jobs):
    for _ in range(5):
        raw.push(jobs, b"x" * (4 << 20))
    ids, packs = raw.ok("PULL", jobs, 100)
    assert ids == (1, 3)
    assert sum(map(len, packs)) <= limits.MAX_FRAME_BYTES
    assert raw.ok("PULL", jobs, 100)[0] == (4, 2)


def test_headers_never_make_a_reply_too_large(raw, jobs):
    headers = {"note": "x" * 16_000}
    raw.ok("PUSH", jobs, 5000, join_bodies(["a"] * 5000), {"headers": headers})
    seen = 0
    while True:
        ids, _packs, *columns = raw.ok("PULL", jobs, 5000)
        if not ids:
            break
        seen += ids[1]
        assert columns[0]["headers"] == (headers,) * ids[1]
    assert seen == 5000


def test_a_body_at_its_bound_and_one_past_it(raw, jobs):
    limit = limits.MAX_BODY_BYTES
    raw.push(jobs, b"x" * (limit - 5))
    code, details = raw.error("PUSH", jobs, 1, join_bodies([b"x" * (limit - 4)]))
    assert (code, details) == ("BODY_TOO_LARGE", {"limit": limit, "asked": limit + 1})
    assert raw.error("PUSH", jobs, 2, join_bodies(["a", b"x" * (limit - 4)]))[0] == "BODY_TOO_LARGE"
    raw.push(jobs, b"x" * (limit // 2), b"x" * (limit // 2), b"more than one body together")
    assert raw.ok("INFO", jobs)[0]["ready"] == 4


def test_as_many_messages_as_a_frame_may_hold_and_one_more(raw, jobs):
    most = limits.MAX_MESSAGES_PER_FRAME
    raw.ok("PUSH", jobs, most, join_bodies([b""] * most))
    assert (
        raw.error("PUSH", jobs, most + 1, join_bodies([b""] * (most + 1)))[0] == "TOO_MANY_MESSAGES"
    )
    assert raw.error("PULL", jobs, most + 1)[0] == "TOO_MANY_MESSAGES"
    assert len(raw.pull(jobs, most)) == most


@pytest.mark.parametrize(
    "headers",
    [
        {"n": []},
        {"n": {}},
        {"x" * 129: 1},
        {str(number): 1 for number in range(65)},
        {"n": "x" * 16_384},
        [None],
        [None, 3],
        [{"n": []}, None],
    ],
    ids=range(8),
)
def test_headers_that_cannot_be(raw, jobs, headers):
    assert raw.error("PUSH", jobs, 2, join_bodies("ab"), {"headers": headers})[0] == "BAD_HEADERS"
    assert raw.ok("INFO", jobs)[0]["ready"] == 0


def test_headers_at_their_bounds(raw, jobs):
    widest = {f"{number:0128d}": None for number in range(64)}
    raw.ok("PUSH", jobs, 2, join_bodies("ab"), {"headers": [widest, {}]})
    _, _, columns = raw.ok("PULL", jobs, 2)
    assert columns == {"headers": (widest, None)}


@pytest.mark.parametrize(
    ("pack", "count"), [(b"", 1), (b"\xc1", 1), (b"\xa1", 1), (b"\xa1a", 2), (b"\xa1a\xa1b", 1)]
)
def test_a_pack_that_is_not_what_it_says(raw, jobs, pack, count):
    assert raw.error("PUSH", jobs, count, pack)[0] == "BAD_PACK"
    raw.push(jobs, "a")
    assert raw.pull(jobs) == [b"\xa1a"]


def test_a_missing_queue_and_a_bad_name(raw, queue):
    for verb, arguments in (
        ("PUSH", (1, b"\xc0")),
        ("PULL", (1,)),
        ("PEEK", (1,)),
        ("INFO", ()),
        ("PURGE", ()),
        ("DELETE", ()),
    ):
        assert raw.error(verb, queue, *arguments) == ("QUEUE_NOT_FOUND", {"queue": queue})
        assert raw.error(verb, "no such name", *arguments)[0] == "BAD_NAME"
        assert raw.error(verb, "x" * 5000, *arguments)[0] == "BAD_NAME"


def test_a_full_queue_in_messages_and_bytes(raw, queue):
    raw.ok("CREATE", queue, {"max_messages": 3, "max_bytes": 8})
    raw.push(queue, "a", "b")
    assert raw.error("PUSH", queue, 2, join_bodies("cd"))[0] == "QUEUE_FULL"
    code, details = raw.error("PUSH", queue, 1, join_bodies(["cdef"]))
    assert (code, details["bound"], details["present"], details["asked"]) == (
        "QUEUE_FULL",
        "max_bytes",
        4,
        5,
    )
    raw.push(queue, "c")
    raw.pull(queue)
    raw.push(queue, "d")


# Waiting


def test_waiting_pulls_are_served_in_their_order_over_connections(server, raw, jobs):
    waiters = [Raw(server, "agent") for _ in range(5)]
    try:
        for number, waiter in enumerate(waiters, 1):
            waiter.send(("PULL", 7, jobs, 1, {"wait": 30}))
            _until(lambda n=number: raw.ok("INFO", jobs)[0]["waiting"] == n)
        raw.push(jobs, *"abc")
        raw.push(jobs, *"de")
        assert [waiter.read()[3] for waiter in waiters] == [
            (join_bodies(text),) for text in "abcde"
        ]
    finally:
        for waiter in waiters:
            waiter.socket.close()


def test_a_wait_ends_empty_and_not_early(raw, jobs):
    start = time.monotonic()
    assert raw.ok("PULL", jobs, 1, {"wait": 0.15}) == ((), ())
    assert time.monotonic() - start >= 0.15


def test_the_timer_serves_a_shorter_wait_that_comes_later(raw, jobs):
    raw.send(
        ("PULL", 1, jobs, 1, {"wait": 60}),
        ("PULL", 2, jobs, 1, {"wait": 0.05}),
        ("PULL", 3, jobs, 1, {"wait": 0.1}),
    )
    assert [raw.read()[0], raw.read()[0]] == [2, 3]


def test_a_client_that_has_gone_gets_nothing_more(server, raw, jobs):
    with Raw(server, "agent") as gone:
        gone.send(("PULL", 1, jobs, 1, {"wait": 60}))
        _until(lambda: raw.ok("INFO", jobs)[0]["waiting"] == 1)
    _until(lambda: raw.ok("INFO", jobs)[0]["waiting"] == 0)
    raw.push(jobs, "a")
    assert raw.pull(jobs) == [b"\xa1a"]


def test_deleting_a_queue_tells_those_who_wait(server, raw, jobs):
    with Raw(server, "agent") as waiter:
        waiter.send(("PULL", 1, jobs, 1, {"wait": 60}))
        _until(lambda: raw.ok("INFO", jobs)[0]["waiting"] == 1)
        raw.ok("DELETE", jobs)
        assert waiter.read()[:3] == (1, "ERR", "QUEUE_NOT_FOUND")


def test_waits_have_ids_of_their_own_and_a_bound(raw, jobs):
    most = limits.MAX_WAITS_PER_CONNECTION
    raw.send(*[("PULL", number, jobs, 1, {"wait": 60}) for number in range(1, most + 1)])
    assert raw.call("PING")[1] == "OK"
    raw.send(("PULL", 1, jobs, 1, {"wait": 60}), ("PULL", most + 1, jobs, 1, {"wait": 60}))
    assert raw.read()[:3] == (1, "ERR", "ID_IN_USE")
    assert raw.read()[:3] == (most + 1, "ERR", "TOO_MANY_WAITS")
    assert raw.ok("INFO", jobs)[0]["waiting"] == most


# What a client may do wrong


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "zero length": b"\xce\0\0\0\0",
    "oversized": b"\xce\xff\xff\xff\xff",
    "not msgpack": b"\xce\0\0\0\x02\x91\xc1",
    "not an array": b"\xce\0\0\0\x01\x05",
    "no request": b"\xce\0\0\0\x01\x90",
    "no id": b"\xce\0\0\0\x02\x91\x01",
    "id zero": b"\xce\0\0\0\x07\x92\xa4PING\0",
    "id text": b"\xce\0\0\0\x08\x92\xa4PING\xa1x",
    "short body": b"\xce\0\0\0\x05\x90\x90\x90\x90\x90",
    "bad utf-8": b"\xce\0\0\0\x04\x92\xa1\xff\x01",
    "deep": b"\xce\0\0\x04\xb1" + b"\x91" * 1200 + b"\xc0",
    "wide": b"\xce\0\0\0\x06\x91\xdd\xff\xff\xff\xff",
    "duplicate keys": b"\xce\0\0\0\x0b\x93\xa4PING\x01\x82\x80\xc0\x80\xc0",
    "extension": b"\xce\0\0\0\x05\x92\xd4\x01\x00\x01",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("user", ["admin", None])
def test_garbage_is_told_and_ends_the_connection_and_nothing_else(server, raw, garbage, user):
    with Raw(server, user) as vandal:
        vandal.send(("PING", 1))
        assert vandal.read() == (1, "OK")
        vandal.send_bytes(FrameWriter().encode(("PING", 2)) + garbage)
        assert vandal.read() == (2, "OK")
        broken = vandal.read()
        assert broken[:2] == (0, "ERR")
        assert broken[2] in ("BAD_PREFIX", "FRAME_TOO_LARGE", "MALFORMED_FRAME")
        assert vandal.is_closed()
    assert raw.ok("PING") == ()


def test_a_nested_option_is_refused_without_harm(raw, jobs):
    nested: object = 1
    for _ in range(500):
        nested = [nested]
    assert raw.error("PULL", jobs, 1, {"wait": nested})[0] == "WRONG_TYPE"
    assert raw.error("PUSH", jobs, 1, b"\xc0", {"headers": {"n": nested}})[0] == "BAD_HEADERS"


def test_a_frame_in_single_bytes_is_a_frame(raw):
    for byte in FrameWriter().encode(("PING", 5)):
        raw.send_bytes(bytes([byte]))
    assert raw.read() == (5, "OK")


def test_more_frames_than_a_turn_takes_are_all_answered_in_order(raw):
    raw.send(*[("PING", number) for number in range(1, 20_001)])
    assert [raw.read()[0] for _ in range(20_000)] == list(range(1, 20_001))


def test_a_client_that_never_reads_is_held_and_does_not_disturb(server, raw, jobs):
    raw.push(jobs, b"x" * (1 << 20))
    with Raw(server) as deaf:
        deaf.socket.settimeout(0.2)
        request = FrameWriter().encode(("PEEK", 1, jobs, 1))
        with pytest.raises((TimeoutError, BlockingIOError)):
            while True:  # until the server reads no more of it, since its replies are not read
                deaf.send_bytes(request * 10_000)
        assert _memory_bytes(server.process.pid) < 400 << 20
        raw.push(jobs, "a")
        assert len(raw.pull(jobs, 2)) == 2


def test_a_client_that_never_reads_is_cut_off_in_the_end():
    overrides = {"limits": {"unsent_timeout_seconds": 0.2}}
    with running_server(overrides=overrides) as server, Raw(server) as deaf:
        deaf.ok("CREATE", "jobs")
        deaf.push("jobs", b"x" * (1 << 20))
        deaf.send(*[("PEEK", number, "jobs", 1) for number in range(1, 200)])
        _until(lambda: "reads nothing; it is cut off" in server.stderr)


def test_a_waiting_pull_of_a_client_that_does_not_read_ends_empty(server, raw, queue):
    raw.ok("CREATE", queue)
    with Raw(server) as deaf:
        deaf.ok("CREATE", queue + "-large")
        deaf.push(queue + "-large", b"x" * (1 << 20))
        deaf.send(("PULL", 999, queue, 1, {"wait": 60}))
        _until(lambda: raw.ok("INFO", queue)[0]["waiting"] == 1)
        deaf.send(*[("PEEK", number, queue + "-large", 1) for number in range(1, 200)])
        _until(lambda: raw.ok("INFO", queue)[0]["waiting"] == 0)
        raw.push(queue, "kept")
        replies = [deaf.read() for _ in range(200)]
        assert (999, "OK", (), ()) in replies
    assert raw.pull(queue) == [join_bodies(["kept"])]


def test_a_busy_client_does_not_starve_another(server, raw, jobs):
    stop = threading.Event()

    def flood():
        with Raw(server) as busy:
            chunk = b"".join(FrameWriter().encode(("PING", number)) for number in range(1, 5001))
            while not stop.is_set():
                busy.send_bytes(chunk)
                for _ in range(5000):
                    busy.read()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(200):
            raw.push(jobs, "a")
            assert raw.pull(jobs) == [b"\xa1a"]
    finally:
        stop.set()
        thread.join()


def test_a_session_that_is_broken_off_is_delivered_nothing_any_more(server, raw, queue):
    raw.ok("CREATE", queue)
    with Raw(server) as vandal:
        vandal.ok("CREATE", queue + "-large")
        vandal.push(queue + "-large", b"x" * (1 << 19))
        vandal.send(("PULL", 999, queue, 1, {"wait": 60}))
        _until(lambda: raw.ok("INFO", queue)[0]["waiting"] == 1)
        # Replies that it does not read keep the transport open while it closes.
        vandal.send(("PEEK", 1, queue + "-large", 1), ("PEEK", 2, queue + "-large", 1))
        vandal.send_bytes(b"GET /")
        _until(lambda: raw.ok("INFO", queue)[0]["waiting"] == 0)
        raw.push(queue, "kept")
        assert raw.pull(queue) == [join_bodies(["kept"])]


def test_strangers_who_read_nothing_give_their_place_back():
    overrides = {"limits": {"max_connections": 3}, "auth": {"timeout_seconds": 0.3}}
    with running_server(overrides=overrides) as server:
        deaf = [Raw(server, None) for _ in range(3)]
        pings = b"".join(FrameWriter().encode(("PING", n, {})) for n in range(1, 5000))
        for stranger in deaf:
            stranger.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stranger.socket.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                stranger.send_bytes(pings * 40)

        def has_place():
            with Raw(server, None) as newcomer:
                return newcomer.call("PING")[1] == "OK"

        _until(has_place)
        for stranger in deaf:
            stranger.socket.close()


def test_a_slow_reader_that_reads_is_not_cut_off():
    with running_server(overrides={"limits": {"unsent_timeout_seconds": 0.5}}) as server:
        with Raw(server) as slow:
            slow.ok("CREATE", "jobs")
            for _ in range(7):
                slow.push("jobs", b"x" * (2 << 20))
            slow.send(("PULL", 1, "jobs", 7))
            received = 0
            while received < 14 << 20:
                received += len(slow.socket.recv(256 << 10))
                time.sleep(0.03)  # about 8 MiB a second
        assert "cut off" not in server.stderr


def test_headers_have_an_entry_for_each_message(raw, jobs):
    assert raw.error("PUSH", jobs, 2, join_bodies("ab"), {"headers": []})[0] == "BAD_HEADERS"
    raw.ok("PUSH", jobs, 2, join_bodies("ab"), {"headers": {}})
    assert len(raw.ok("PULL", jobs, 2)) == 2


def test_who_becomes_somebody_else_waits_no_more(server, raw, jobs):
    with Raw(server, "agent") as changing:
        changing.send(("PULL", 9, jobs, 1, {"wait": 60}))
        _until(lambda: raw.ok("INFO", jobs)[0]["waiting"] == 1)
        changing.ok("AUTH", {"user": "user", "password": PASSWORD})
        raw.push(jobs, "a")
        assert changing.read() == (9, "OK", (), ())
    assert raw.pull(jobs) == [b"\xa1a"]


def test_many_small_messages_fit_into_a_frame(raw, jobs):
    for start in range(0, 16_384, 1024):
        body = b"x" * 1021
        raw.send(*[("PUSH", start + n, jobs, 1, join_bodies([body])) for n in range(1, 1025)])
        for _ in range(1024):
            assert raw.read()[1] == "OK"
    raw.send(("PULL", 1, jobs, 16_384))
    reply = raw.read()
    assert len(FrameWriter().encode(reply)) - 5 <= limits.MAX_FRAME_BYTES


def test_costly_requests_of_one_client_do_not_hold_up_another(server, raw, jobs):
    for start in range(0, 200_000, 10_000):
        raw.send(*[("PUSH", start + n, jobs, 1, b"\xa1x") for n in range(1, 10_001)])
        for _ in range(10_000):
            raw.read()
    with Raw(server, "user") as costly:
        costly.send(*[("PEEK", n, jobs, 1, {"skip": 199_999}) for n in range(1, 200)])
        assert costly.read()[0] == 1
        raw.ok("PING")
        # Were they one turn, all answers would be there before the PING's.
        early = costly._reader.feed(costly.socket.recv(1 << 20, socket.MSG_DONTWAIT) or b"")
        costly._frames += early
        assert len(costly._frames) < 190
        assert [costly.read()[0] for _ in range(198)] == list(range(2, 200))


# Stopping


def test_stopping_lets_a_client_read_what_was_sent_also_after_another_has_left():
    with running_server() as server:
        with Raw(server) as first:
            first.ok("CREATE", "jobs")
        with Raw(server) as reader:
            for _ in range(2):
                reader.push("jobs", b"x" * (7 << 20))
            reader.send(("PULL", 1, "jobs", 2))
            _until(lambda: _unread(reader) > 100_000)
            server.process.send_signal(signal.SIGTERM)
            reply = reader.read()
            assert sum(map(len, reply[3])) > 14 << 20
            assert reader.read()[:3] == (0, "ERR", "SHUTTING_DOWN")
        assert server.process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_stopping_tells_clients_and_is_quick(number, loop):
    with running_server(loop=loop) as server:
        connections = [Raw(server) for _ in range(20)]
        connections[0].ok("CREATE", "jobs")
        connections[1].send(("PULL", 1, "jobs", 1, {"wait": 600}))
        deaf = Raw(server)
        deaf.push("jobs", b"x" * (1 << 20))
        deaf.send(*[("PEEK", n, "jobs", 1) for n in range(1, 100)])
        start = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - start < 2
        assert not server.address_file.exists()
        assert not server.socket_path.exists()
        assert connections[0].read()[:3] == (0, "ERR", "SHUTTING_DOWN")
        for connection in [*connections, deaf]:
            connection.socket.close()


def test_a_second_server_on_the_same_address_file_stops_at_once():
    with running_server() as server, pytest.raises(AssertionError) as caught:
        _start_beside(server, {})
    assert "belongs to another server" in str(caught.value)
    assert str(server.process.pid) in str(caught.value)


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "mqd",
            "--port",
            str(port),
            "--data-dir",
            str(tmp_path),
            "--address-file",
            str(tmp_path / "a"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert str(port) in done.stderr


def test_a_stale_socket_and_address_file_are_replaced(tmp_path):
    with running_server() as first:
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        assert first.address_file.exists()
        _start_beside(first, {})


def _start_beside(server, overrides):
    """Start a second server in the same directory and stop it."""
    command = [sys.executable, "-m", "mqd", "--config", str(server.directory / "mqd.yaml")]
    before = server.address_file.read_text()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: process.poll() is not None or server.address_file.read_text() != before)
        if process.poll() is not None:
            raise AssertionError(process.stderr.read())
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


# Helpers


def _unread(connection):
    return len(connection.socket.recv(1 << 20, socket.MSG_PEEK))


def _until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


def _memory_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_bodies_of_any_kind_come_back_as_they_went(raw, jobs):
    bodies = [b"", "", b"\x00\xff", "Größe", "x" * 70_000]
    raw.push(jobs, *bodies)
    assert raw.pull(jobs, 9) == split_pack(join_bodies(bodies))


def test_what_the_server_makes_is_its_owners_alone(server):
    for path in (server.data_dir, server.frame_log_dir):
        assert path.stat().st_mode & 0o777 == 0o700


def test_refused_auths_are_told_to_the_operator_together(server):
    before = server.stderr.count("AUTH refused")
    for _ in range(10):
        with Raw(server, None) as guesser:
            assert guesser.error("AUTH", {"token": "guess"})[0] == "AUTH_FAILED"
    ends_at = time.monotonic() + 10
    while server.stderr.count("AUTH refused") == before:  # it is a second away at most
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    assert "guess" not in server.stderr.replace("guesser", "")


@pytest.mark.parametrize("host", ["::", "0.0.0.0"])
def test_a_wildcard_is_reached_by_loopback_too(host):
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    with running_server(overrides={"server": {"host": host}}) as server:
        urls = [url for url in server.address.urls if url.startswith("mq://")]
        assert len(urls) == 2
        with socket.create_connection(("::1" if host == "::" else "127.0.0.1", server.port), 5):
            pass


def test_a_host_that_is_none_is_named(tmp_path):
    command = [sys.executable, "-m", "mqd", "--host", "no.such.host.invalid", "--port", "0"]
    command += ["--data-dir", str(tmp_path), "--address-file", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "server.host is 'no.such.host.invalid'" in done.stderr
