"""mqclient.Client as it comes: each push with a key of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqclient
from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place


class MqdClient(Client):
    """A blocking client."""

    def __init__(self, place: Place, queue: str) -> None:
        self._client = mqclient.Client(f"mq://:{place.secret}@{place.host}:{place.port}")
        self._client.create(queue, if_missing=True)
        self._queue = queue

    def push(self, body: bytes) -> None:
        """PUSH."""
        self._client.push(self._queue, body)

    def pull(self) -> bytes:
        """PULL."""
        message = self._client.pull(self._queue)
        assert message is not None
        body: bytes = message.body
        return body

    def push_many(self, bodies: list[bytes]) -> None:
        """PUSH of a pack."""
        self._client.push_many(self._queue, bodies)

    def pull_many(self, count: int) -> int:
        """PULL of so many, and the list of their bodies, which is what redis-py returns."""
        return len(self._client.pull_many(self._queue, count).bodies())

    def push_pipelined(self, bodies: list[bytes]) -> None:
        """A pipeline of PUSHes."""
        with self._client.pipeline() as pipeline:
            for body in bodies:
                pipeline.push(self._queue, body)

    def pull_pipelined(self, count: int) -> int:
        """A pipeline of PULLs."""
        with self._client.pipeline() as pipeline:
            for _ in range(count):
                pipeline.pull(self._queue)
        return sum(message is not None for message in pipeline.results)

    def work_off(self, count: int, batch: int) -> None:
        """PULL with a lease, and ACK of it."""
        while count:
            lease = self._client.lease(self._queue, count=min(batch, count), wait=10)
            assert lease is not None
            count -= len(lease.messages)
            lease.ack()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


connect = MqdClient
