"""How a queue is made to take a message where records are missing. Pure.

A part of `mqd.core.salvage_jobs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqd.core.fifo import ANY_SIZE
from mqd.core.leases import Lease

if TYPE_CHECKING:
    from mqd.core.queue import Queue


def reach(queue: Queue, message_id: int) -> None:
    """Let the ids of a queue go on behind one that was given."""
    if message_id >= queue.fifo.next_id:
        queue.fifo.skip(message_id + 1 - queue.fifo.next_id)


def loosen(queue: Queue, before_id: int) -> None:
    """Give an object to each ready message in packs with an id lower than this."""
    fifo, held = queue.fifo, queue.hold()
    while fifo.count and fifo.first_id < before_id:
        most, before_bytes = before_id - fifo.first_id, fifo.size_bytes
        runs, marks = fifo.beside(most)
        batch = fifo.take(most, ANY_SIZE)
        lease = Lease(queue, (0, 0), 0, "", 0)
        lease.add_part((batch, runs, marks))
        queue.enter(batch.count, before_bytes - fifo.size_bytes)
        for message in lease.part().values():
            message.deliveries = 0
            held.add_ready(message)
