"""A bare connection to RabbitMQ: AMQP frames made beforehand, with pika's encoder.

Publishes are confirmed; messages come by basic.consume without acknowledgements, which is
the fastest that the protocol has. There are no batches.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from pika import frame, spec

from benchmarks.peers.wires.base import Burst, Marks, Wire, connected

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

CHANNEL = 1
TAG = "c"
BODY_END = b"x\xce"
"""How a frame with a body ends, and no other one: the bodies are of this letter alone."""
ACK = struct.Struct(">7sIQBB")
ACK_METHOD = 0x003C0050


class Confirms:
    """Counts confirms, each of one publish or of all up to one.

    Args:
        published: how many publishes of the channel were confirmed before.
    """

    def __init__(self, published: int) -> None:
        self._rest = b""
        self._all_up_to = published
        self._beyond: set[int] = set()

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many publishes they confirm."""
        whole = self._rest + data
        end = len(whole) - len(whole) % ACK.size
        self._rest = whole[end:]
        count = 0
        for _, method, tag, is_multiple, _ in ACK.iter_unpack(memoryview(whole)[:end]):
            if method != ACK_METHOD:
                raise RuntimeError(f"something else than a confirm: {whole[:100]!r}")
            count += self._confirmed(tag) if is_multiple else self._one(tag)
        return count

    def _one(self, tag: int) -> int:
        self._beyond.add(tag)
        self._advance()
        return 1

    def _confirmed(self, tag: int) -> int:
        already = {each for each in self._beyond if each <= tag}
        count = tag - self._all_up_to - len(already)
        self._beyond -= already
        self._all_up_to = tag
        self._advance()
        return count

    def _advance(self) -> None:
        while self._all_up_to + 1 in self._beyond:
            self._all_up_to += 1
            self._beyond.discard(self._all_up_to)

    def more(self) -> bytes:
        """Return nothing: what is sent was known beforehand."""
        return b""


class RabbitmqWire(Wire):
    """A connection with one channel, in confirm mode."""

    def __init__(self, place: Place) -> None:
        self.socket = connected(place)
        self._buffer = b""
        self._is_durable = place.mode == "durable"
        self._published = 0
        self._is_consuming = False
        self._handshake()

    def _handshake(self) -> None:
        self.socket.sendall(frame.ProtocolHeader().marshal())
        self._expect(spec.Connection.Start)
        response = b"\x00guest\x00guest"
        self._send(0, spec.Connection.StartOk({}, "PLAIN", response, "en_US"))
        tune = self._expect(spec.Connection.Tune)
        self._send(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(0, spec.Connection.Open("/"))
        self._expect(spec.Connection.OpenOk)
        self._send(CHANNEL, spec.Channel.Open())
        self._expect(spec.Channel.OpenOk)
        self._send(CHANNEL, spec.Confirm.Select())
        self._expect(spec.Confirm.SelectOk)

    def _send(self, channel: int, method: Any) -> None:
        self.socket.sendall(frame.Method(channel, method).marshal())

    def _expect(self, kind: Any) -> Any:
        """Return the next method, which has to be of one kind."""
        while True:
            used, value = frame.decode_frame(self._buffer)
            if value is not None:
                self._buffer = self._buffer[used:]
                if isinstance(value, frame.Method) and isinstance(value.method, kind):
                    return value.method
                raise RuntimeError(f"RabbitMQ says {value}")
            data = self.socket.recv(65536)
            if not data:
                raise RuntimeError("RabbitMQ has closed the connection")
            self._buffer += data

    def make_queue(self, queue: str) -> None:
        """Declare a queue."""
        self._send(CHANNEL, spec.Queue.Declare(queue=queue, durable=self._is_durable))
        self._expect(spec.Queue.DeclareOk)

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue, once nothing is consumed from it."""
        self.settle()
        self._send(CHANNEL, spec.Queue.Declare(queue=queue, passive=True))
        count: int = self._expect(spec.Queue.DeclareOk).message_count
        return count

    def settle(self) -> None:
        """End the consumer of a pull."""
        if self._is_consuming:
            self._is_consuming = False
            self._send(CHANNEL, spec.Basic.Cancel(TAG))
            self._expect(spec.Basic.CancelOk)

    def clear(self, queue: str) -> None:
        """Purge a queue."""
        self._send(CHANNEL, spec.Queue.Purge(queue=queue))
        self._expect(spec.Queue.PurgeOk)

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return publishes."""
        if batch > 1:
            raise NotImplementedError("AMQP has no batches")
        properties = spec.BasicProperties(delivery_mode=2 if self._is_durable else 1)
        request = b"".join(
            part.marshal()
            for part in (
                frame.Method(CHANNEL, spec.Basic.Publish(routing_key=queue)),
                frame.Header(CHANNEL, len(body), properties),
                frame.Body(CHANNEL, body),
            )
        )
        confirms = Confirms(self._published)
        self._published += count
        return Burst(request * count, count, confirms)

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return a consumer, which gets messages until `settle`."""
        if batch > 1:
            raise NotImplementedError("AMQP has no batches")
        self._is_consuming = True
        consume = spec.Basic.Consume(queue=queue, consumer_tag=TAG, no_ack=True)
        return Burst(frame.Method(CHANNEL, consume).marshal(), count, Marks(BODY_END))

    def wait(self, queue: str) -> Burst:
        """Return nothing to send: a consumer, made at the first time, gets what comes."""
        if not self._is_consuming:
            self._is_consuming = True
            self._send(CHANNEL, spec.Basic.Consume(queue=queue, consumer_tag=TAG, no_ack=True))
            self._expect(spec.Basic.ConsumeOk)
        return Burst(b"", 1, Marks(BODY_END))

    def blocked(self, queue: str) -> int:
        """Return how many consumers there are."""
        self._send(CHANNEL, spec.Queue.Declare(queue=queue, passive=True))
        count: int = self._expect(spec.Queue.DeclareOk).consumer_count
        return count


connect = RabbitmqWire
