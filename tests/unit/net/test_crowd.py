"""Requests of many connections that come at once are answered as if each had come by itself."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqd.net.crowd import MOST_BYTES
from mqd.net.inbox import PIECE_BYTES
from mqd.net.session import Session
from mqd.net.tap import BodilessTap, Tap
from mqwire.codes import Code
from mqwire.errors import StreamError
from mqwire.frames import FrameReader
from mqwire.packs import join_bodies
from support.bare_session import ENCODE, Bench, Transport


class Guest:
    """Another session of a bench's server, and its client."""

    def __init__(self, bench, number):
        self.session, self.transport = Session(bench.server, number), Transport()
        self.session.connection_made(self.transport)
        self._reader = FrameReader(2**31)

    def send(self, *frames):
        self.session.data_received(b"".join(map(ENCODE, frames)))

    def replies(self):
        data = b"".join(self.transport.written)
        self.transport.written.clear()
        return self._reader.feed(data)

    def reply(self):
        [reply] = self.replies()
        return reply


async def rounds():
    for _ in range(20):
        await asyncio.sleep(0)


async def crowd(count, user="agent", **limits):
    """Start a server; returns its bench and sessions that have authenticated."""
    bench = await Bench().start(**limits)
    guests = [Guest(bench, number) for number in range(2, 2 + count)]
    for guest in guests:
        guest.send(("AUTH", 1, {"user": user, "password": ""}))
    await rounds()
    for guest in guests:
        assert guest.reply()[1] == "OK"
    return bench, guests


async def crowd_with_a_safe_queue(count):
    """As `crowd`, on a disk that has all of what is to come."""
    bench, guests = await crowd(count)
    await bench.ask(("CREATE", 1, "safe", {"durability": "synced"}))
    bench.disk.written_lsn = bench.disk.synced_lsn = 1000
    bench.engine.on_progress()
    return bench, guests


def close(bench, guests):
    for guest in guests:
        guest.session.connection_lost(None)
    bench.close()


def push(text, request_id=7, name="jobs"):
    return ("PUSH", request_id, name, 1, join_bodies([text]))


async def test_pushes_of_many_are_one_record_and_each_gets_its_own_reply():
    bench, guests = await crowd(5)
    before, frames = len(bench.kinds()), bench.server.meters.frames
    for number, guest in enumerate(guests):
        guest.send(push(f"{number}", 100 + number))
    await rounds()
    [record] = bench.disk.records[before:]
    assert record[3:5] == (5, join_bodies("01234"))
    assert [guest.reply() for guest in guests] == [
        (100 + number, "OK", 1 + number, "accepted") for number in range(5)
    ]
    assert bench.server.meters.frames == frames + 5
    close(bench, guests)


async def test_pulls_of_many_get_a_message_each_while_there_are_some():
    bench, guests = await crowd(6)
    await bench.ask(*[push(text) for text in "abcd"])
    for guest in guests:
        guest.send(("PULL", 9, "jobs", 1))
    await rounds()
    replies = [guest.reply() for guest in guests]
    found = [(9, "OK", (at, 1), (join_bodies([text]),)) for at, text in enumerate("abcd", 1)]
    assert replies == [*found, (9, "OK", (), ()), (9, "OK", (), ())]
    close(bench, guests)


async def test_requests_that_do_not_fit_each_other_are_answered_too():
    bench, guests = await crowd(12)
    await bench.ask(("CREATE", 1, "other", {}))
    await bench.ask(*[push(text) for text in "abcd"])
    for at, guest in enumerate(guests[:4]):
        guest.send(push(f"{at}"))
    for guest in guests[4:8]:
        guest.send(push("x", 8, "other"))
    guests[8].send(("PULL", 5, "jobs", 2))
    guests[9].send(("PING", 6))
    guests[10].send(("PUSH", 7, "nowhere", 1, join_bodies(["x"])))
    guests[11].send(("PUSH", 8, "jobs", 2, join_bodies(["x"])))
    await rounds()
    assert [guest.reply()[2] for guest in guests[:8]] == [5, 6, 7, 8, 1, 2, 3, 4]
    assert guests[8].reply()[:3] == (5, "OK", (1, 2))
    assert guests[9].reply()[:2] == (6, "OK")
    assert guests[10].reply()[:3] == (7, "ERR", Code.QUEUE_NOT_FOUND.name)
    assert guests[11].reply()[:3] == (8, "ERR", Code.BAD_PACK.name)
    close(bench, guests)


async def test_who_may_not_is_refused_and_the_others_are_not():
    bench, guests = await crowd(5)
    looker = Guest(bench, 99)
    looker.send(("AUTH", 1, {"user": "user", "password": ""}))
    await rounds()
    looker.replies()
    looker.send(push("no"))
    for guest in guests:
        guest.send(push("yes"))
    await rounds()
    assert looker.reply()[2] == Code.ACCESS_DENIED.name
    assert [guest.reply()[1] for guest in guests] == 5 * ["OK"]
    close(bench, [*guests, looker])


async def test_where_not_all_fit_each_is_told_what_it_would_be():
    bench, guests = await crowd(8)
    await bench.ask(("CREATE", 1, "small", {"max_messages": 5}))
    for guest in guests:
        guest.send(push("x", 3, "small"))
    await rounds()
    replies = [guest.reply() for guest in guests]
    assert [reply[1] for reply in replies] == 5 * ["OK"] + 3 * ["ERR"]
    assert {reply[2] for reply in replies[5:]} == {Code.QUEUE_FULL.name}
    close(bench, guests)


async def test_an_unsound_body_costs_its_sender_alone():
    bench, guests = await crowd(9, max_body_bytes=100)
    for number, guest in enumerate(guests):
        guest.send(push(200 * "x" if number == 4 else "x"))
    await rounds()
    replies = [guest.reply() for guest in guests]
    assert [reply[1] for reply in replies] == 4 * ["OK"] + ["ERR"] + 4 * ["OK"]
    assert replies[4][2] == Code.BODY_TOO_LARGE.name
    close(bench, guests)


@pytest.mark.parametrize(
    "data",
    [
        b"\xce\x00\x00\x00\x02\x91\xc1",  # what msgpack never begins a value with
        b"\xcd\x00\x00\x00\x01\x90",  # another prefix
        b"\xce\x00\x00\x00\x03\x90\x90\x90",  # three values
        b"\xce\x00\x00\x00\x01\x01",  # no array
    ],
)
async def test_a_broken_stream_costs_its_sender_alone(data):
    bench, guests = await crowd(5)
    for number, guest in enumerate(guests):
        if number == 2:
            guest.session.data_received(data)
        else:
            guest.send(push("x"))
    await rounds()
    broken = guests.pop(2)
    assert broken.reply()[:2] == (0, "ERR")
    assert broken.session.is_closing
    assert [guest.reply()[1] for guest in guests] == 4 * ["OK"]
    before = len(bench.kinds())
    for guest in guests:
        guest.send(push("y"))
    await rounds()
    assert len(bench.kinds()) == before + 1
    close(bench, [*guests, broken])


async def test_a_read_that_ends_within_a_frame_waits_for_its_rest_and_not_for_the_others():
    bench, guests = await crowd(5)
    first, *others = guests
    data = ENCODE(push("first"))
    first.session.data_received(data[:9])
    for guest in others:
        guest.send(push("x"))
    await rounds()
    assert first.replies() == []
    assert [guest.reply()[2] for guest in others] == [1, 2, 3, 4]
    first.session.data_received(data[9:])
    await rounds()
    assert first.reply() == (7, "OK", 5, "accepted")
    close(bench, guests)


async def test_what_looks_like_a_frame_within_another_is_none():
    bench, guests = await crowd(5)
    first, *others = guests
    inner = ENCODE(push("inner"))
    outer = ENCODE(("PUSH", 7, "jobs", 1, join_bodies([inner])))
    first.session.data_received(outer.removesuffix(inner))
    await rounds()
    first.session.data_received(inner)
    for guest in others:
        guest.send(push("x"))
    await rounds()
    assert all(guest.reply()[1] == "OK" for guest in guests)
    found = await bench.ask(*[("PULL", 1, "jobs", 1)] * 5)
    bodies = sorted(packs[0] for _, _, _, packs in found)
    assert bodies == sorted([join_bodies([inner]), *4 * [join_bodies(["x"])]])
    close(bench, guests)


async def test_what_comes_of_one_connection_is_answered_in_its_order():
    bench, guests = await crowd(5)
    for guest in guests:
        guest.send(push("1", 1))
    guests[3].send(push("2", 2), ("PULL", 3, "jobs", 1))
    guests[3].send(("PING", 4))
    await rounds()
    assert [reply[0] for reply in guests[3].replies()] == [1, 2, 3, 4]
    assert [guest.reply()[0] for guest in guests if guest is not guests[3]] == 4 * [1]
    close(bench, guests)


async def test_who_has_gone_has_asked_nothing_and_who_is_held_waits():
    bench, guests = await crowd(6)
    for guest in guests:
        guest.send(push("x"))
    guests[0].session.connection_lost(None)
    guests[1].session.pause_writing()
    await rounds()
    assert guests[0].replies() == guests[1].replies() == []
    assert [guest.reply()[2] for guest in guests[2:]] == [1, 2, 3, 4]
    guests[1].session.resume_writing()
    await rounds()
    assert guests[1].reply()[2] == 5
    close(bench, guests[1:])


async def test_a_turn_that_ends_for_others_leaves_waiting_reads_waiting():
    bench, guests = await crowd(5)
    for guest in guests:
        guest.send(push("x"))
    bench.server.end_turn()
    assert all(guest.replies() == [] for guest in guests)
    await rounds()
    assert [guest.reply()[1] for guest in guests] == 5 * ["OK"]
    close(bench, guests)


async def test_a_bug_costs_those_whose_requests_it_has_met(monkeypatch):
    bench, guests = await crowd(10)
    await bench.ask(("CREATE", 1, "other", {}))

    def push_or_fail(name, *rest):
        if name == "other":
            raise RuntimeError("a bug")
        return plain_push(name, *rest)

    plain_push = bench.engine.push
    monkeypatch.setattr(bench.engine, "push", push_or_fail)
    for at, guest in enumerate(guests):
        guest.send(push("x", 3, "other" if at < 5 else "jobs"))
    await rounds()
    assert [guest.transport.is_aborted for guest in guests] == 5 * [True] + 5 * [False]
    assert [guest.reply()[1] for guest in guests[5:]] == 5 * ["OK"]
    close(bench, guests)


async def test_large_reads_do_not_wait():
    bench, guests = await crowd(4)
    guests[0].send(push("x" * MOST_BYTES))
    assert bench.engine.info("jobs")["ready"] == 1
    guests[1].send(push("small"))
    assert bench.engine.info("jobs")["ready"] == 1
    await rounds()
    assert bench.engine.info("jobs")["ready"] == 2
    assert [guest.reply()[2] for guest in guests[:2]] == [1, 2]
    close(bench, guests)


async def test_the_clock_is_read_for_a_crowd():
    bench, guests = await crowd(4)
    for guest in guests:
        guest.send(push("x"))
    bench.clock.ms += 5000
    await rounds()
    bench.engine.begin_turn()
    assert bench.engine.info("jobs")["oldest_age_seconds"] == 0
    close(bench, guests)


async def test_replies_wait_for_what_each_rests_on():
    bench, guests = await crowd(8)
    bench.session.data_received(ENCODE(("CREATE", 1, "safe", {"durability": "synced"})))
    await rounds()
    for guest in guests[:4]:
        guest.send(push("x", 3, "safe"))
    for guest in guests[4:]:
        guest.send(push("x", 4, "jobs"))
    await rounds()
    assert [len(guest.replies()) for guest in guests] == 4 * [0] + 4 * [1]
    bench.disk.written_lsn = bench.disk.synced_lsn = len(bench.disk.records)
    bench.engine.on_progress()
    assert [guest.reply()[3] for guest in guests[:4]] == 4 * ["synced"]
    close(bench, guests)


async def test_messages_wait_for_their_push_and_what_shows_none_does_not():
    bench, guests = await crowd(8)
    pushed = [(*push(text), {"durability": "synced"}) for text in "abcd"]
    bench.session.data_received(b"".join(map(ENCODE, pushed)))
    for guest in guests[:4]:
        guest.send(("PULL", 3, "jobs", 1))
    for guest in guests[4:]:
        guest.send(push("x"))
    await rounds()
    assert [len(guest.replies()) for guest in guests] == 4 * [0] + 4 * [1]
    bench.disk.written_lsn = bench.disk.synced_lsn = len(bench.disk.records)
    bench.engine.on_progress()
    assert [guest.reply()[2] for guest in guests[:4]] == [(at, 1) for at in range(1, 5)]
    close(bench, guests)


async def test_a_sync_is_made_here_where_all_who_wait_wait_for_it():
    bench, guests = await crowd_with_a_safe_queue(4)
    for names, is_alone in ((4 * ["safe"], True), (["safe", "safe", "jobs", "safe"], False)):
        bench.disk.was_alone.clear()
        for guest, name in zip(guests, names, strict=True):
            guest.send(push("x", 3, name))
        await rounds()
        assert bench.disk.was_alone == [is_alone]
    close(bench, guests)


async def test_no_sync_is_made_here_while_somebody_waits_for_another():
    bench, guests = await crowd_with_a_safe_queue(4)
    bench.server.waiting.add(bench.session)
    bench.disk.was_alone.clear()
    for guest in guests:
        guest.send(push("x", 3, "safe"))
    await rounds()
    assert bench.disk.was_alone == [False]
    close(bench, guests)


async def test_no_more_than_a_piece_waits():
    bench, guests = await crowd(40)
    body = "x" * 3900
    bench.clock.ms += 5000
    for guest in guests:
        guest.send(push(body))
    bench.engine.begin_turn()
    assert bench.engine.info("jobs")["oldest_age_seconds"] == 0
    assert 0 < bench.engine.info("jobs")["ready"] < 40
    assert bench.engine.info("jobs")["ready"] == PIECE_BYTES // len(ENCODE(push(body))) * 2
    await rounds()
    assert [guest.reply()[2] for guest in guests] == list(range(1, 41))
    close(bench, guests)


async def test_what_waits_no_more_does_not_count():
    bench, guests = await crowd(2)
    guests[1].send(push("x"))
    for request_id in range(1, 41):
        guests[0].send(push("x" * 3900, request_id))
    assert bench.engine.info("jobs")["ready"] == 40
    await rounds()
    assert guests[1].reply()[2] == 41
    close(bench, guests)


async def test_what_was_read_is_answered_before_a_goodbye():
    bench, guests = await crowd(5)
    for guest in guests:
        guest.send(push("x"))
    for guest in guests:
        guest.session.break_off(StreamError(Code.SHUTTING_DOWN, "goodbye"))
    await rounds()
    for guest in guests:
        found, goodbye = guest.replies()
        assert found[:2] == (7, "OK")
        assert goodbye[2] == Code.SHUTTING_DOWN.name
    close(bench, guests)


async def test_what_must_be_seen_alone_does_not_keep_the_others_apart():
    bench, guests = await crowd(6)
    before = len(bench.kinds())
    for guest in guests[1:]:
        guest.send(push("x"))
    guests[0].send(("NOPE", 1))
    await rounds()
    assert guests[0].reply()[2] == Code.UNKNOWN_VERB.name
    assert [guest.reply()[1] for guest in guests[1:]] == 5 * ["OK"]
    assert len(bench.kinds()) == before + 1
    close(bench, guests)


async def test_who_is_left_alone_keeps_its_order():
    bench, guests = await crowd(1)
    guests[0].send(push("1", 1))
    bench.close()
    guests[0].send(push("2", 2))
    await rounds()
    assert [reply[0] for reply in guests[0].replies()] == [1, 2]
    guests[0].session.connection_lost(None)


async def test_a_bug_in_one_reply_costs_its_connection_alone(monkeypatch):
    bench, guests = await crowd(6)
    monkeypatch.setattr(bench.engine, "info", lambda _name: {"odd": object()})
    for guest in guests[1:]:
        guest.send(("PING", 3))
    guests[0].send(("INFO", 3, "jobs"))
    await rounds()
    assert [guest.transport.is_aborted for guest in guests] == [True] + 5 * [False]
    assert [guest.reply()[1] for guest in guests[1:]] == 5 * ["OK"]
    close(bench, guests)


async def test_what_a_bug_has_stopped_is_not_carried_out_again(monkeypatch):
    bench, guests = await crowd(5)

    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(bench.server.crowd, "_answer", fail)
    for guest in guests:
        guest.send(push("x"))
    await rounds()
    assert all(guest.transport.is_aborted for guest in guests)
    assert bench.engine.info("jobs")["ready"] == 0
    close(bench, guests)


class Log:
    """Keeps what a tap logs, and tells nobody."""

    is_behind = False

    def __init__(self):
        self.tail, self.records = self, []

    def append(self, _head, frames, _size_bytes):
        self.records.append(b"".join(frames))

    def add(self, *_):
        pass


def tapped(guests, kind):
    """Have each guest logged by a tap of a kind; return their logs."""
    logs = [Log() for _ in guests]
    for number, (guest, log) in enumerate(zip(guests, logs, strict=True)):
        tap = guest.session._inbox.tap = kind(log, number, "them", "us")
        tap.identify("agent")
    return logs


async def test_each_read_is_logged_by_itself_and_without_passwords():
    bench, guests = await crowd(5)
    logs = tapped(guests, Tap)
    for guest in guests:
        guest.send(push("x", 8))
    await rounds()
    for guest, log in zip(guests, logs, strict=True):
        assert log.records == [ENCODE(push("x", 8)), ENCODE(guest.reply())]
    for guest in guests[1:]:
        guest.send(push("x", 9))
    guests[0].send(("AUTH", 9, {"user": "agent", "password": "secret"}))
    await rounds()
    assert all(guest.reply()[1] == "OK" for guest in guests)
    assert b"AUTH" in logs[0].records[2]
    assert b"secret" not in b"".join(logs[0].records)
    assert [log.records[2] for log in logs[1:]] == 4 * [ENCODE(push("x", 9))]
    close(bench, guests)


async def test_where_no_bodies_are_logged_there_are_none_of_a_crowd():
    bench, guests = await crowd(5)
    logs = tapped(guests, BodilessTap)
    for guest in guests:
        guest.send(push("a body", 8))
    await rounds()
    assert [guest.reply()[1] for guest in guests] == 5 * ["OK"]
    assert all(b"PUSH" in log.records[0] and b"a body" not in log.records[0] for log in logs)
    close(bench, guests)


REQUESTS = st.sampled_from(
    [
        push("each"),
        push("each"),
        ("PUSH", 7, "jobs", 1, join_bodies(["each"]), {"key": "same"}),
        ("PULL", 7, "jobs", 1),
        ("PULL", 7, "jobs", 1, {"lease": 5}),
        ("PING", 7),
        push("x", 7, "nowhere"),
        ("PUSH", 7, "jobs", 1, b"\xc1"),
        ("PUSH", 7, ["jobs"], 1, b"\x01"),
        ("PULL", 7, "jobs", 0),
        ("NONE", 7),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=12))
def test_whatever_a_crowd_asks_each_gets_one_reply_and_no_message_is_lost_or_doubled(requests):
    asyncio.run(check_crowd(requests))


async def check_crowd(requests):
    bench, guests = await crowd(len(requests))
    await bench.ask(*[push(f"before {at}") for at in range(4)])
    pushed = {at + 1: join_bodies([f"before {at}"]) for at in range(4)}
    for guest, request in zip(guests, requests, strict=True):
        guest.send(request)
    await rounds()
    replies = [guest.reply() for guest in guests]
    assert all(reply[0] == 7 for reply in replies)
    found = {}
    for request, reply in zip(requests, replies, strict=True):
        if request[0] == "PUSH" and reply[1] == "OK":
            assert reply[2] not in pushed or reply[4:] == (True,)  # the same key once more
            pushed[reply[2]] = request[4]
        elif request[0] == "PULL" and reply[1] == "OK" and reply[2]:
            assert reply[2][0] not in found
            found[reply[2][0]] = reply[3][0]
    for _, status, ids, *packs in await bench.ask(*[("PULL", 1, "jobs", 1)] * 20):
        assert status == "OK"
        if ids:
            assert ids[0] not in found
            found[ids[0]] = packs[0][0]
    assert found == pushed
    close(bench, guests)
