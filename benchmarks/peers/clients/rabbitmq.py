"""pika's BlockingConnection: publishing with confirms, and basic.get without acknowledgements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pika

from benchmarks.peers.clients.base import Client

if TYPE_CHECKING:
    from benchmarks.peers.sides import Place


class RabbitmqClient(Client):
    """A blocking client."""

    def __init__(self, place: Place, queue: str) -> None:
        where = pika.ConnectionParameters(place.host, place.port, heartbeat=0)
        self._connection: Any = pika.BlockingConnection(where)
        self._channel: Any = self._connection.channel()
        is_durable = place.mode == "durable"
        self._channel.queue_declare(queue, durable=is_durable)
        self._channel.confirm_delivery()
        self._properties = pika.BasicProperties(delivery_mode=2 if is_durable else 1)
        self._queue = queue

    def push(self, body: bytes) -> None:
        """basic.publish, and its confirm."""
        self._channel.basic_publish("", self._queue, body, self._properties)

    def pull(self) -> bytes:
        """basic.get."""
        _, _, body = self._channel.basic_get(self._queue, auto_ack=True)
        found: bytes = body
        return found

    def work_off(self, count: int, batch: int) -> None:
        """Consume with a prefetch, and ack as many at a time."""
        self._channel.basic_qos(prefetch_count=batch)
        for number, (method, _, _) in enumerate(self._channel.consume(self._queue), 1):
            if number % batch == 0 or number == count:
                self._channel.basic_ack(method.delivery_tag, multiple=True)
            if number == count:
                break
        self._channel.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


connect = RabbitmqClient
