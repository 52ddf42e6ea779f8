"""redis-py, with hiredis as its parser: LPUSH and RPOP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis  # noqa: F401  redis-py takes it by itself; without it the comparison were unfair
import redis

from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place


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

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


connect = RedisClient
