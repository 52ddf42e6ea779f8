"""redis-py, with hiredis as its parser: LPUSH and RPOP."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import hiredis  # noqa: F401  redis-py takes it by itself; without it the comparison were unfair
import redis

from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place

GROUP = "workers"


class RedisClient(Client):
    """A blocking client."""

    def __init__(self, place: Place, queue: str) -> None:
        self._client: Any = redis.Redis(place.host, place.port)
        self._queue = queue

    def push(self, body: bytes) -> None:
        """LPUSH."""
        self._client.lpush(self._queue, body)

    def pull(self) -> bytes:
        """RPOP."""
        body: bytes = self._client.rpop(self._queue)
        return body

    def push_many(self, bodies: list[bytes]) -> None:
        """LPUSH of many."""
        self._client.lpush(self._queue, *bodies)

    def pull_many(self, count: int) -> int:
        """RPOP with a count."""
        return len(self._client.rpop(self._queue, count) or ())

    def push_pipelined(self, bodies: list[bytes]) -> None:
        """A pipeline of LPUSHes."""
        with self._client.pipeline(transaction=False) as pipeline:
            for body in bodies:
                pipeline.lpush(self._queue, body)
            pipeline.execute()

    def pull_pipelined(self, count: int) -> int:
        """A pipeline of RPOPs."""
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(count):
                pipeline.rpop(self._queue)
            return sum(body is not None for body in pipeline.execute())

    def work_off(self, count: int, batch: int) -> None:
        """Do nothing: a list has no leases, a stream does."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class RedisStreamClient(RedisClient):
    """A consumer of a stream, with a name of its own in the one group.

    The variant `keep` acknowledges, and leaves the entries in the stream; otherwise they are
    deleted in the same round trip, as those of a queue.
    """

    def __init__(self, place: Place, queue: str) -> None:
        super().__init__(place, queue)
        self._keeps = place.variant == "keep"
        self._name = secrets.token_hex(4)

    def push(self, body: bytes) -> None:
        """XADD."""
        self._client.xadd(self._queue, {"b": body})

    def pull(self) -> bytes:
        """Do nothing: what is taken from a stream has to be settled."""
        raise NotImplementedError

    def work_off(self, count: int, batch: int) -> None:
        """XREADGROUP, then XACK and XDEL in one pipeline."""
        while count:
            taken = self._client.xreadgroup(
                GROUP, self._name, {self._queue: ">"}, count=min(batch, count), block=10_000
            )
            entries = next(iter(taken.values()))[0] if isinstance(taken, dict) else taken[0][1]
            ids = [entry[0] for entry in entries]
            count -= len(ids)
            if self._keeps:
                self._client.xack(self._queue, GROUP, *ids)
                continue
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.xack(self._queue, GROUP, *ids)
                pipeline.xdel(self._queue, *ids)
                pipeline.execute()


def connect(place: Place, queue: str) -> RedisClient:
    """Return a client of a list, or of a stream where the variant says so."""
    return RedisStreamClient(place, queue) if place.variant else RedisClient(place, queue)
