from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from mqweb.answers import ANSWER, PIECE_BYTES, Answer, send_answer
from mqweb.protocol import BoundedProtocol

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
KIB = 1024


class Wire:
    """A transport that keeps what is written, and of which a reader takes as much as it likes."""

    def __init__(self):
        self.data = bytearray()
        self.taken = 0
        self.is_closed = False
        self.is_aborted = False
        self.is_gone = False

    def write(self, data):
        self.check()
        self.data += data

    def check(self):
        """Raise as uvloop does where there is no connection any more."""
        if self.is_gone:
            raise RuntimeError("the handler is closed")

    def take(self, count):
        self.taken = min(len(self.data), self.taken + count)

    def set_write_buffer_limits(self, high=None):  # noqa: ARG002  the interface
        self.check()

    def get_write_buffer_size(self):
        return 0 if self.is_aborted else len(self.data) - self.taken

    def close(self):
        self.is_closed = True

    def abort(self):
        self.is_closed = self.is_aborted = True

    def is_closing(self):
        return self.is_closed

    def get_extra_info(self, _name):
        return None

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Connection(BoundedProtocol):
    max_connections = 10
    receive_seconds = 30.0
    send_seconds = 30.0


async def never(_scope, receive, _send):
    """An application that reads, and never answers."""
    while True:
        if (await receive())["type"] == "http.disconnect":
            return


def connected(app=never, wire=None):
    config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
    config.load()
    connection = Connection(config, ServerState(), {}, asyncio.get_running_loop())
    wire = Wire() if wire is None else wire
    connection.connection_made(wire)
    return connection, wire


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(connection):
    connection.connection_lost(None)
    if connection.server_state.tasks:
        await asyncio.wait(list(connection.server_state.tasks))


# What comes without a body has a bound


@pytest.mark.parametrize(
    "piece",
    [b"a: b\r\n" * 1000, b"a" * 6000],
    ids=["many fields", "one that does not end"],
)
async def test_the_end_of_a_body_in_chunks_has_the_bound_of_a_head(piece):
    connection, wire = connected()
    connection.data_received(HEAD + b"1\r\n{\r\n0\r\n")
    fields = len(connection.headers)
    for _ in range(100):
        connection.data_received(piece)
    connection.transport.flush()
    assert wire.data.startswith(b"HTTP/1.1 431")
    assert wire.is_closed
    assert len(connection.headers) == fields
    await ended(connection)


async def test_what_stands_beside_the_size_of_a_chunk_has_a_bound():
    connection, wire = connected()
    connection.data_received(HEAD + b"1;")
    for _ in range(20):
        connection.data_received(b"x" * 6000)
    connection.transport.flush()
    assert wire.data.startswith(b"HTTP/1.1 431")
    await ended(connection)


async def test_a_body_of_many_small_chunks_has_none():
    connection, wire = connected()
    connection.data_received(HEAD)
    for _ in range(100):
        connection.data_received(b"1\r\nx\r\n" * 1000)
        await asyncio.sleep(0)
    assert not wire.data
    await ended(connection)


async def test_a_few_fields_behind_a_body_are_taken_and_not_used():
    connection, wire = connected()
    connection.data_received(HEAD + b"1\r\n{\r\n0\r\nauthorization: Bearer x\r\n\r\n")
    assert b"authorization" not in dict(connection.headers)
    assert not wire.data
    await ended(connection)


async def test_a_second_head_that_stops_after_one_piece_is_late():
    async def quick(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    connection, wire = connected(quick)
    connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait(list(connection.server_state.tasks))
    connection.data_received(b"GET / HTTP/1.1\r\n")
    now = connection.loop.time()
    connection.check(now + 29)
    assert not wire.is_closed
    connection.check(now + 31)
    assert wire.is_closed
    await ended(connection)


async def test_empty_lines_before_the_first_head_give_it_no_more_time():
    connection, wire = connected()
    now = connection.loop.time()
    for second in (10, 20, 29, 31):
        assert not wire.is_closed
        connection.data_received(b"\r\n")
        connection._heard_at = now + second  # as it comes
        connection.check(now + second)
    connection.transport.flush()
    assert wire.data.startswith(b"HTTP/1.1 408")
    await ended(connection)


# A body has its time


async def test_a_body_that_comes_byte_by_byte_is_late_in_the_end():
    connection, wire = connected()
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    await asyncio.sleep(0)
    now = connection.loop.time()
    for second in range(1, 30):
        connection.data_received(b"x")
        await asyncio.sleep(0)
        connection.check(now + second)
    assert not wire.is_closed
    for second in range(30, 33):
        connection._heard_at = now + second  # something has just come
        connection.check(now + second)
    connection.transport.flush()
    assert wire.data.startswith(b"HTTP/1.1 408")
    await ended(connection)


async def test_a_body_that_goes_on_well_has_more_time():
    connection, wire = connected()
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n")
    await asyncio.sleep(0)
    now = connection.loop.time()
    for second in range(1, 200):
        connection.data_received(b"x" * KIB)
        await asyncio.sleep(0)
        connection._heard_at = now + second
        connection.check(now + second)
    assert not wire.is_closed
    await ended(connection)


async def test_a_body_that_the_gateway_does_not_read_is_not_late():
    async def busy(_scope, _receive, _send):
        await asyncio.get_running_loop().create_future()

    connection, wire = connected(busy)
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n")
    await asyncio.sleep(0)
    connection.data_received(b"x" * 65 * KIB)
    now = connection.loop.time()
    for second in range(1, 200):
        connection.check(now + second)
    assert not wire.is_closed
    for task in connection.server_state.tasks:
        task.cancel()
    await ended(connection)


# Answers in one piece


def saying(answer, **more):
    async def app(_scope, _receive, send):
        await send({"type": ANSWER, "answer": answer, **more})

    return app


async def written(app, request):
    connection, wire = connected(app)
    connection.data_received(request)
    await asyncio.wait(list(connection.server_state.tasks))
    head, _, body = bytes(wire.data).partition(b"\r\n\r\n")
    is_closed = wire.is_closed
    await ended(connection)
    return head.split(b"\r\n"), body, is_closed


@pytest.mark.parametrize(
    "answer", [Answer(201, b"{}"), Answer(200, b"x", b"text/x", [(b"a", b"b")])]
)
async def test_an_answer_in_one_piece_is_the_one_that_any_server_would_send(answer):
    async def usual(_scope, _receive, send):
        await send_answer(send, answer)

    said, body, is_closed = await written(saying(answer), GET)
    head, usual_body, _ = await written(usual, GET)
    assert (said[0], sorted(said), body) == (head[0], sorted(head), usual_body)
    assert not is_closed


async def test_a_head_and_an_answer_with_nothing_have_no_body():
    _, body, _ = await written(saying(Answer(200, b"{}")), b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert body == b""
    head, body, _ = await written(saying(Answer(204)), GET)
    assert body == b""
    assert not any(each.startswith((b"content-length", b"content-type")) for each in head)


async def test_who_does_not_keep_a_connection_is_told_that_it_ends():
    head, body, is_closed = await written(saying(Answer(200, b"{}")), b"GET / HTTP/1.0\r\n\r\n")
    assert (head[-1], body, is_closed) == (b"connection: close", b"{}", True)


async def test_a_field_cannot_begin_another_one():
    answer = Answer(200, b"{}", fields=[(b"a", b"b\r\nc: d")])
    head, _, _ = await written(saying(answer), GET)
    assert head[0].startswith(b"HTTP/1.1 500")


async def test_the_end_of_an_answer_may_be_told_when_it_has_left():
    goes_on = asyncio.get_running_loop().create_future()

    async def app(_scope, _receive, send):
        await send({"type": ANSWER, "answer": Answer(200, b"{}"), "more_body": True})
        assert not connection.push()
        wire.take(KIB)
        assert connection.push()
        await goes_on
        await send({"type": "http.response.body", "body": b""})

    connection, wire = connected(app)
    connection.data_received(GET)
    await turns()
    assert not connection.cycle.response_complete
    goes_on.set_result(None)
    await turns()
    assert connection.cycle.response_complete
    assert wire.data.endswith(b"\r\n\r\n{}")
    await ended(connection)


@pytest.mark.parametrize("more", [{}, {"more_body": True}])
async def test_an_answer_for_who_has_gone_is_for_nobody(more):
    gone, pushed = asyncio.get_running_loop().create_future(), []

    async def app(_scope, _receive, send):
        await gone
        await send({"type": ANSWER, "answer": Answer(200, b"{}"), **more})
        pushed.append(connection.push())
        pushed.append(await connection.flushed(0.0))

    connection, wire = connected(app)
    connection.data_received(GET)
    await turns()
    wire.is_closed = wire.is_gone = True
    gone.set_result(None)  # by the loop this comes before or after the connection is told
    await turns()
    assert (pushed, bytes(wire.data)) == ([False, False], b"")
    connection.transport.flush()
    await ended(connection)


PIECES = [{"type": "http.response.body", "body": b"x" * 10, "more_body": True}] * 2
BEGIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20")]}


async def flushed_when_gone(before_it_is_gone, *, pieces=2):
    """Send pieces; the client takes some and goes. Return whether it has got all of them."""
    found = asyncio.get_running_loop().create_future()

    async def app(_scope, _receive, send):
        await send(BEGIN)
        for piece in PIECES[:pieces]:
            await send(piece)
        connection.transport.flush()
        before_it_is_gone(connection, wire)
        wire.is_closed = wire.is_gone = True
        connection.connection_lost(None)
        for piece in PIECES[pieces:]:
            await send(piece)
        found.set_result(await connection.flushed(0.0))

    connection, wire = connected(app)
    connection.data_received(GET)
    return await found


async def test_who_has_read_it_all_and_gone_has_got_it():
    def takes_all(connection, wire):
        wire.take(KIB)
        connection.resume_writing()

    assert await flushed_when_gone(takes_all)


async def test_who_takes_it_at_once_and_goes_has_got_it(monkeypatch):
    monkeypatch.setattr(Wire, "get_write_buffer_size", lambda _self: 0)
    assert await flushed_when_gone(lambda _connection, _wire: None)


async def test_who_goes_before_it_has_taken_all_has_not_got_it():
    assert not await flushed_when_gone(lambda _connection, wire: wire.take(15))
    assert not await flushed_when_gone(lambda connection, _wire: connection.abort())


class Failing(Wire):
    """A transport whose connection is reset before it is written to; uvloop and asyncio do this."""

    def write(self, data):  # noqa: ARG002  the interface
        self.check()
        self.is_closed = True


@pytest.mark.parametrize("message", [{"type": ANSWER, "answer": Answer(200, b"{}")}, PIECES[0]])
async def test_a_write_that_fails_has_taken_nothing(message):
    found = asyncio.get_running_loop().create_future()

    async def app(_scope, _receive, send):
        if message is PIECES[0]:
            await send(BEGIN)
        await send({**message, "more_body": True})
        found.set_result((connection.push(), await connection.flushed(0.0)))

    connection, wire = connected(app, Failing())
    connection.data_received(GET)
    assert await found == (False, False)
    assert wire.get_write_buffer_size() == 0
    await ended(connection)


async def test_who_goes_before_all_is_sent_has_not_got_it(monkeypatch):
    monkeypatch.setattr(Wire, "get_write_buffer_size", lambda _self: 0)
    assert not await flushed_when_gone(lambda _connection, _wire: None, pieces=1)


async def test_a_connection_without_a_request_is_closed_after_a_while():
    connection, wire = connected(saying(Answer(204)))
    connection.data_received(GET)
    await asyncio.wait(list(connection.server_state.tasks))
    now = connection.loop.time()
    connection.check(now + 4)
    assert not wire.is_closed
    connection.data_received(GET)
    connection.check(now + 6)  # one is under way
    assert not wire.is_closed
    await asyncio.wait(list(connection.server_state.tasks))
    connection.check(now + 6)
    assert wire.is_closed
    await ended(connection)


async def test_the_rest_of_a_body_that_is_answered_already_does_not_keep_a_connection():
    connection, wire = connected(saying(Answer(401, b"{}")))
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    await asyncio.wait(list(connection.server_state.tasks))
    wire.take(KIB)
    now = connection.loop.time()
    for second in range(30):
        connection.data_received(b"x")
        connection.check(now + second)
    assert not wire.is_closed
    connection.data_received(b"x")
    connection.check(now + 31)
    assert wire.is_closed
    await ended(connection)


async def test_lines_before_a_request_do_not_keep_a_connection():
    connection, wire = connected(saying(Answer(204)))
    connection.data_received(GET)
    await asyncio.wait(list(connection.server_state.tasks))
    now = connection.loop.time()
    connection.data_received(b"\r\n")
    connection.check(now + 6)
    assert wire.is_closed
    await ended(connection)


async def test_requests_in_one_piece_are_answered_in_their_order():
    async def app(scope, _receive, send):
        await asyncio.sleep(0)
        await send({"type": ANSWER, "answer": Answer(200, scope["path"].encode())})

    connection, wire = connected(app)
    connection.data_received(b"GET /%41 HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    await turns()
    await turns()
    assert wire.data.index(b"\r\n\r\n/A") < wire.data.index(b"\r\n\r\n/b")
    await ended(connection)


# An answer that is not taken


async def large(_scope, _receive, send):
    await send_answer(send, Answer(body=b"x" * 40 * PIECE_BYTES))


async def test_who_takes_nothing_of_what_it_is_sent_is_cut_off():
    connection, wire = connected(large)
    connection.data_received(GET)
    await turns()
    assert connection.cycle.response_complete
    now = connection.loop.time()
    connection.check(now + 1)
    connection.check(now + 30)
    assert not wire.is_aborted
    connection.check(now + 32)
    assert wire.is_aborted
    assert not await connection.flushed(0.0)
    await ended(connection)


async def test_who_takes_it_slowly_has_it_all_in_the_end():
    connection, wire = connected(large)
    connection.data_received(GET)
    await turns()
    now = connection.loop.time()
    while wire.get_write_buffer_size():
        wire.take(PIECE_BYTES)
        now += 29
        connection.check(now)
    connection.check(now + 1000)
    assert not wire.is_aborted
    await ended(connection)


async def test_a_closing_connection_that_takes_nothing_is_cut_off_as_well():
    connection, wire = connected(large)
    connection.data_received(b"GET / HTTP/1.0\r\n\r\n")
    await turns()
    assert wire.is_closed
    now = connection.loop.time()
    connection.check(now)
    connection.check(now + 31)
    assert wire.is_aborted
    await ended(connection)


async def test_a_large_answer_is_sent_no_faster_than_it_is_taken():
    connection, wire = connected(large)
    connection.pause_writing()
    connection.data_received(GET)
    await turns()
    assert not wire.data
    connection.resume_writing()
    wire.write = _pausing(connection, wire.write)
    for _ in range(10):
        await turns()
        connection.transport.flush()
        assert wire.get_write_buffer_size() <= 2 * PIECE_BYTES
        wire.take(len(wire.data))
        connection.resume_writing()
    assert wire.taken > 5 * PIECE_BYTES
    await ended(connection)


def _pausing(connection, write):
    def wrapped(data):
        write(data)
        connection.pause_writing()

    return wrapped
