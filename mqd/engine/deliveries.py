"""How messages leave the broker: removed, or under a lease; and as columns, for a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mqd.core import records
from mqd.core.errors import BrokerError
from mqd.core.fifo import Batch
from mqd.core.held import HeldBatch
from mqd.engine.waits import LocalWait, Waits
from mqwire.levels import Level
from mqwire.packs import split_pack
from mqwire.runs import runs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.core.rows import Lots
    from mqd.engine.base import Results, Terms
    from mqd.engine.commits import Commits


class Deliveries:
    """Hands out messages.

    Args:
        broker: theirs.
        commits: takes the records.
        waits: those who wait for messages.
    """

    def __init__(self, broker: Broker, commits: Commits, waits: Waits) -> None:
        self.delivered = 0
        """Messages, since the start."""
        self._broker = broker
        self._commits = commits
        self._waits = waits

    def take(self, queue: Queue, most: int, room_bytes: int) -> Results:
        """Remove messages of a queue that has some and return them.

        Raises:
            BrokerError: INTERNAL: what was put aside cannot be had; nothing has changed.
        """
        if queue.fifo.cold is not None:
            queue.fifo.warm(most, room_bytes)
        batches = self._broker.take(queue, most, room_bytes)
        if self._commits.observer is not None:
            self._commits.observer.pulled(queue, _joined(batches)[0])
        if len(batches) == 1:
            (batch,) = batches
            self._commits.append((records.PULL, queue.uid, batch.count))
            self.delivered += batch.count
            if batch.headers is None and type(batch) is not HeldBatch:  # by far the most
                return ((batch.first_id, batch.count), batch.packs)
        else:
            count = sum(batch.count for batch in batches)
            self._commits.append((records.PULL, queue.uid, count))
            self.delivered += count
        for batch in batches:
            if isinstance(batch, HeldBatch):
                for message in batch.messages:
                    message.deliveries += 1
        columns = _columns(batches)
        ids, packs = _joined(batches)
        return (ids, packs, columns) if columns else (ids, packs)

    def take_each(
        self, queue: Queue, most: int, room_bytes: int
    ) -> tuple[Sequence[int], Sequence[bytes], dict[int, dict[str, Any]]]:
        """Remove messages of a queue that has some, as takes of one message each would.

        Returns:
            Their ids, their bodies, and what else there is to tell of some, by their places.

        Raises:
            BrokerError: INTERNAL: what was put aside cannot be had; nothing has changed.
        """
        if queue.fifo.cold is not None:
            queue.fifo.warm(most, room_bytes)
        record, lots = self._broker.rows.take(queue, most, room_bytes)
        self._commits.append(record)
        self.delivered += record[2]
        ids: Sequence[int]
        if len(lots) == 1 and isinstance(batch := lots[0], Batch):
            ids, bodies = range(batch.first_id, batch.first_id + batch.count), _bodies(batch)
            columns = _columns_each(batch, 0)
        else:
            ids, bodies, columns = _laid_out(lots)
        if self._commits.observer is not None:
            self._commits.observer.pulled(queue, runs_of(ids))
        return ids, bodies, columns

    def lease(self, queue: Queue, most: int, room_bytes: int, terms: Terms, now_ms: int) -> Results:
        """Put messages of a queue that has some under a lease and return them with it.

        Raises:
            BrokerError: INTERNAL: what was put aside cannot be had; nothing has changed.
        """
        if queue.fifo.cold is not None:
            queue.fifo.warm(most, room_bytes)
        deadline_ms = now_ms + terms.lease_ms
        record, batches = self._broker.jobs.lease(
            queue, most, room_bytes, deadline_ms, terms.owner, now_ms
        )
        self._commits.append(record)
        self.delivered += record[4]
        if self._commits.observer is not None:
            self._commits.observer.leased(queue, record)
        if len(batches) == 1:
            (batch,) = batches
            if batch.headers is None and type(batch) is not HeldBatch:  # by far the most
                return ((batch.first_id, batch.count), batch.packs, {}, record[2:4])
        ids, packs = _joined(batches)
        return (ids, packs, _columns(batches), record[2:4])

    def serve(self, queue: Queue, now_ms: int) -> None:
        """Hand ready messages to those who wait, in the order in which they came.

        Not while some have waited too long: when these have gone, the others are handed on.
        """
        if queue.has_overdue(now_ms):
            return
        for wait in self._broker.serve(queue):
            assert isinstance(wait, LocalWait)
            try:
                if wait.terms is None:
                    found = self.take(queue, wait.most, wait.room_bytes)
                else:
                    found = self.lease(queue, wait.most, wait.room_bytes, wait.terms, now_ms)
            except BrokerError as error:  # its own, not that of whoever is served for
                self._waits.end(wait, error)
            else:
                self._waits.end(wait, found, wait.level)


def level_of_lease(level: Level, asked: Level | None) -> Level:
    """Tell what a lease is to reach before its messages leave.

    It is enough that the death of the server does not make it forget who has them: a lease
    that is lost with the power is lost with its holder's job, or its messages come twice.
    """
    return level if asked is not None else min(level, Level.WRITTEN)


def results(batch: Batch) -> Results:
    """Return a batch as the results of a reply."""
    ids = (batch.first_id, batch.count)
    if isinstance(batch, HeldBatch):
        columns = _columns((batch,))
        return (ids, batch.packs, columns) if columns else (ids, batch.packs)
    if batch.headers is None:
        return (ids, batch.packs)
    return (ids, batch.packs, {"headers": batch.headers})


def _laid_out(lots: Lots) -> tuple[list[int], list[bytes], dict[int, dict[str, Any]]]:
    """Return ids and bodies of what was taken one by one, and columns as `_columns_each`."""
    ids: list[int] = []
    bodies: list[bytes] = []
    columns: dict[int, dict[str, Any]] = {}
    for lot in lots:
        if isinstance(lot, Batch):
            columns.update(_columns_each(lot, len(ids)))
            ids += range(lot.first_id, lot.first_id + lot.count)
            bodies += _bodies(lot)
        else:
            ids += lot[0]
            bodies += lot[1]
    return ids, bodies, columns


def _bodies(batch: Batch) -> list[bytes]:
    packs = batch.packs
    return packs if len(packs) == batch.count else split_pack(b"".join(packs))


def _columns_each(batch: Batch, place: int) -> dict[int, dict[str, Any]]:
    """Return the columns that each message of a batch has for itself, by places from `place` on.

    A message that has none is left out. Those with objects count it as a delivery.
    """
    found: dict[int, dict[str, Any]] = {}
    if isinstance(batch, HeldBatch):
        for at, message in enumerate(batch.messages, place):
            message.deliveries += 1
            alone = HeldBatch(message.message_id, 1, [], None, [message])
            if message.headers:
                alone.headers = [message.headers]
            if columns := _columns((alone,)):
                found[at] = columns
    elif batch.headers is not None:
        for at, headers in enumerate(batch.headers, place):
            if headers is not None:
                found[at] = {"headers": [headers]}
    return found


def _joined(batches: Sequence[Batch]) -> tuple[tuple[int, ...], list[bytes]]:
    """Return the ids of batches as runs, and their packs."""
    ids: list[int] = []
    packs: list[bytes] = []
    for batch in batches:
        ids += (batch.first_id, batch.count)
        packs += batch.packs
    return tuple(ids), packs


def _columns(batches: Sequence[Batch]) -> dict[str, list[Any]]:
    """Return what only some messages have; a column is there if one of them needs it."""
    columns: dict[str, list[Any]] = {}
    if any(batch.headers is not None for batch in batches):
        headers: list[Any] = []
        for batch in batches:
            headers += batch.headers or [None] * batch.count
        columns["headers"] = headers
    if not any(isinstance(batch, HeldBatch) for batch in batches):
        return columns
    for name, usual in (("deliveries", 1), ("attempts", 0), ("losses", 0)):
        column: list[int] = []
        for batch in batches:
            if isinstance(batch, HeldBatch):
                column += [getattr(message, name) for message in batch.messages]
            else:
                column += [usual] * batch.count
        if any(count != usual for count in column):
            columns[name] = column
    return columns
