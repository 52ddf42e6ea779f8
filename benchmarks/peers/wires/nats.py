"""A bare connection to NATS JetStream: publishes with answers; pulls whose acks are confirmed.

A stream and its one consumer are a queue. Several messages can be asked for at once, but each
is published, and acknowledged, by itself.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from benchmarks.peers.clients.nats import CONFIG, CONSUMER
from benchmarks.peers.wires.base import Burst, Marks, Wire, connected

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

PUBLISHED = b'{"stream":'
"""How the answer to a publish that went well begins."""
DELIVERED = re.compile(rb" (\$JS\.ACK\.\S+) \d+\r\n")
LINE_END = b"\r\n"


class Acks:
    """Counts messages that are gone: those that come are acknowledged, and that is confirmed.

    Args:
        inbox: where the confirmations come.
    """

    def __init__(self, inbox: bytes) -> None:
        self._inbox = inbox
        self._mark = b"MSG %b " % inbox
        self._rest = b""
        self._acks = b""

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many acks they confirm."""
        whole = self._rest + data
        cut = whole.rfind(LINE_END) + len(LINE_END) if LINE_END in whole else 0
        self._rest = whole[cut:]
        subjects = DELIVERED.findall(whole, 0, cut)
        self._acks = b"".join(
            b"PUB %b %b 0\r\n\r\n" % (subject, self._inbox) for subject in subjects
        )
        return whole.count(self._mark, 0, cut)

    def more(self) -> bytes:
        """Return the acks of what has come."""
        return self._acks


class NatsWire(Wire):
    """A connection with inboxes for answers to publishes, for messages, and for confirmed acks."""

    def __init__(self, place: Place) -> None:
        self.socket = connected(place)
        self._storage = place.mode
        self._buffer = b""
        self._until(LINE_END)  # INFO
        self.socket.sendall(
            b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
        )
        self._inbox = f"i.{secrets.token_hex(4)}".encode()
        for number, what in enumerate("pmaq"):
            self.socket.sendall(b"SUB %b.%b %d\r\n" % (self._inbox, what.encode(), number))
        self.socket.sendall(b"PING\r\n")
        self._until(b"PONG\r\n")
        self._buffer = b""

    def _until(self, end: bytes) -> None:
        while end not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise RuntimeError(f"NATS has closed the connection: {self._buffer!r}")
            self._buffer += data

    def _ask(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request to JetStream and return its answer.

        Raises:
            RuntimeError: it is an error.
        """
        payload = json.dumps(request).encode()
        subject = f"$JS.API.{subject}"
        self._buffer = b""
        where = (subject.encode(), self._inbox, len(payload), payload)
        self.socket.sendall(b"PUB %b %b.q %d\r\n%b\r\n" % where)
        self._until(LINE_END)
        while not self._buffer.startswith(b"MSG %b.q " % self._inbox):
            self._buffer = self._buffer.partition(LINE_END)[2]  # what came before it
            self._until(LINE_END)
        heading, _, text = self._buffer.partition(LINE_END)
        size = int(heading.split()[-1])
        while len(text) < size + 2:
            text += self.socket.recv(65536)
        answer: dict[str, Any] = json.loads(text[:size])
        if "error" in answer:
            raise RuntimeError(str(answer["error"]))
        return answer

    def make_queue(self, queue: str) -> None:
        """See to it that a stream and its consumer are there."""
        stream: dict[str, Any] = {"name": queue, "subjects": [queue], "retention": "workqueue"}
        stream |= {"storage": self._storage, "num_replicas": 1}
        self._ask(f"STREAM.CREATE.{queue}", stream)
        config = {"durable_name": CONSUMER, "ack_policy": "explicit", **CONFIG}
        config["ack_wait"] = CONFIG["ack_wait"] * 1_000_000_000
        request = {"stream_name": queue, "config": config}
        self._ask(f"CONSUMER.DURABLE.CREATE.{queue}.{CONSUMER}", request)

    def waiting(self, queue: str) -> int:
        """Return how many messages are in a stream."""
        count: int = self._ask(f"STREAM.INFO.{queue}", {})["state"]["messages"]
        return count

    def clear(self, queue: str) -> None:
        """Purge a stream."""
        self._ask(f"STREAM.PURGE.{queue}", {})

    def push(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:
        """Return publishes."""
        if batch > 1:
            raise NotImplementedError("NATS publishes no batches")
        request = b"PUB %b %b.p %d\r\n%b\r\n" % (queue.encode(), self._inbox, len(body), body)
        return Burst(request * count, count, Marks(PUBLISHED))

    def pull(self, queue: str, body: bytes, count: int, batch: int = 1) -> Burst:  # noqa: ARG002
        """Return requests for messages, each of which is acknowledged when it comes."""
        payload = b'{"batch":%d}' % batch
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{queue}.{CONSUMER}".encode()
        request = b"PUB %b %b.m %d\r\n%b\r\n" % (subject, self._inbox, len(payload), payload)
        return Burst(request * count, count * batch, Acks(self._inbox + b".a"))

    def lease_and_ack(self, queue: str, body: bytes, count: int, batch: int) -> Burst:
        """Return requests for messages: there is no other way than to acknowledge them."""
        return self.pull(queue, body, count, batch)

    def wait(self, queue: str) -> Burst:
        """Return a request that waits for a message, which is acknowledged."""
        payload = b'{"batch":1,"expires":60000000000}'
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{queue}.{CONSUMER}".encode()
        request = b"PUB %b %b.m %d\r\n%b\r\n" % (subject, self._inbox, len(payload), payload)
        return Burst(request, 1, Acks(self._inbox + b".a"))

    def blocked(self, queue: str) -> int:
        """Return how many requests for messages wait."""
        count: int = self._ask(f"CONSUMER.INFO.{queue}.{CONSUMER}", {})["num_waiting"]
        return count


connect = NatsWire
