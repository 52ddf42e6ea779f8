"""Counting answers in a stream that arrives in any pieces."""

from __future__ import annotations

import struct

import pytest

from benchmarks.peers.wires.base import Marks
from benchmarks.peers.wires.beanstalkd import Reservations
from benchmarks.peers.wires.mqd import Replies
from benchmarks.peers.wires.nats import Acks
from benchmarks.peers.wires.rabbitmq import Confirms
from benchmarks.peers.wires.redis import command
from mqwire.frames import FrameWriter


def fed(counter, stream, size):
    """Feed a stream in pieces; returns what was counted, and what was to be sent."""
    counted, sent = 0, b""
    for start in range(0, len(stream), size):
        counted += counter.feed(stream[start : start + size])
        sent += counter.more()
    return counted, sent


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("mark", [b"\r\n", b'"ok', b"x"])
def test_marks_are_counted_once_wherever_the_stream_is_cut(mark, size):
    stream = b"".join(b"%d%b" % (number, mark) for number in range(20)) + mark[:1]
    expected = 20 if len(mark) > 1 else 21
    assert fed(Marks(mark), stream, size) == (expected, b"")


@pytest.mark.parametrize("size", [1, 3, 10, 64, 1000])
def test_what_is_reserved_is_deleted_and_counted_when_it_is_gone(size):
    body = b"x" * 20
    stream = b"".join(b"RESERVED %d 20\r\n%b\r\n" % (number, body) for number in (7, 8, 1234))
    stream += b"DELETED\r\n" * 3
    sent = b"delete 7\r\ndelete 8\r\ndelete 1234\r\n"
    assert fed(Reservations(), stream, size) == (3, sent)


def test_with_each_deletion_goes_another_reservation_while_one_is_left():
    counter = Reservations(left=2)
    told = [fed(counter, b"RESERVED %d 1\r\nx\r\n" % number, 100)[1] for number in (1, 2, 3)]
    reserve = b"reserve-with-timeout 0\r\n"
    assert told == [b"delete 1\r\n" + reserve, b"delete 2\r\n" + reserve, b"delete 3\r\n"]


def test_a_message_that_is_not_there_is_not_counted():
    assert fed(Reservations(), b"TIMED_OUT\r\nNOT_FOUND\r\n", 4) == (0, b"")


def test_commands_for_redis_are_arrays_of_strings():
    assert command(b"LPUSH", b"q", b"a\r\nb") == b"*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n$4\r\na\r\nb\r\n"


@pytest.mark.parametrize("size", [1, 2, 5, 7, 50, 10_000])
@pytest.mark.parametrize("first", [1, 120, 250, 65_530])
def test_replies_are_counted_when_the_last_byte_of_them_has_come(first, size):
    encode = FrameWriter().encode
    replies = [
        encode((number, "OK", [number, 1], [b"x" * 100], {}, [1, number]))
        for number in range(first, first + 10)
    ]
    stream = b"".join(replies)
    assert fed(Replies(), stream, size) == (10, b"")
    counter = Replies()
    fed(counter, stream[:-1], size)
    assert counter.feed(stream[-1:]) == 1
    assert fed(Replies(), stream[:-1], size) == (9, b"")


def confirm(tag, is_multiple=False):
    return struct.pack(">BHIIQBB", 1, 1, 13, 0x003C0050, tag, is_multiple, 0xCE)


@pytest.mark.parametrize("size", [1, 20, 21, 22, 1000])
def test_confirms_are_counted_each_once_in_any_order_and_many_at_a_time(size):
    stream = b"".join(
        (confirm(12), confirm(11), confirm(14), confirm(15, True), confirm(17), confirm(16))
    )
    assert fed(Confirms(10), stream, size) == (7, b"")


def test_something_else_than_a_confirm_is_no_confirm():
    with pytest.raises(RuntimeError, match="something else"):
        Confirms(0).feed(struct.pack(">BHIIQBB", 1, 1, 13, 0x003C0078, 1, 0, 0xCE))


@pytest.mark.parametrize("size", [1, 3, 10, 64, 1000])
def test_what_comes_from_a_stream_is_acknowledged_and_counted_when_that_is_confirmed(size):
    subjects = [b"$JS.ACK.q.work.1.%d.%d.99.0" % (number, number) for number in (1, 2, 30)]
    stream = b"".join(b"MSG q 1 %b 3\r\nabc\r\n" % subject for subject in subjects)
    stream += b"MSG in.a 2 0\r\n\r\n" * 3
    sent = b"".join(b"PUB %b in.a 0\r\n\r\n" % subject for subject in subjects)
    assert fed(Acks(b"in.a"), stream, size) == (3, sent)
