"""greenstalk: put, and reserve with delete, which is how beanstalkd gives a message for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import greenstalk

from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place


class BeanstalkdClient(Client):
    """A blocking client."""

    def __init__(self, place: Place, queue: str) -> None:
        address = (place.host, place.port)
        self._client: Any = greenstalk.Client(address, encoding=None, use=queue, watch=queue)

    def push(self, body: bytes) -> None:
        """Put."""
        self._client.put(body)

    def pull(self) -> bytes:
        """Reserve and delete."""
        job = self._client.reserve(timeout=0)
        self._client.delete(job)
        body: bytes = job.body
        return body

    def work_off(self, count: int, batch: int) -> None:  # noqa: ARG002  it has no batches
        """Reserve, and delete."""
        for _ in range(count):
            self._client.delete(self._client.reserve(timeout=10))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


connect = BeanstalkdClient
