"""How the parts of the local engine change its state: one way, at the level asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqd.engine.storage import no_journal, storage_full

if TYPE_CHECKING:
    from mqd.core.broker import Broker
    from mqd.core.queue import Queue
    from mqd.core.records import Record
    from mqd.engine.news import News
    from mqd.engine.storage import Storage
    from mqwire.levels import Level

RECORD_BYTES: Final = 512
"""More than a record takes without its pack, headers, reason and owner."""

LEASE_RECORD_BYTES: Final = 4096
"""The same with the longest owner."""


class Commits:
    """Puts records on their way to the disk and carries them out.

    Args:
        broker: the state.
        storage: takes the records.
        level: of commands and queues that name none; not above what `storage` can promise.
    """

    def __init__(self, broker: Broker, storage: Storage, level: Level) -> None:
        self.highest = storage.highest_level
        """The highest level that can be promised."""
        self.level = min(level, self.highest)
        self.append = storage.append
        self._appliers = broker.appliers
        self._storage = storage
        self.observer: News | None = None
        """Is told of what is about to change; None while nobody wants to know."""

    @property
    def is_full(self) -> bool:
        """Whether `check_room` may refuse something."""
        return self._storage.is_full

    def commit(self, record: Record) -> int:
        """Carry a planned record out: the one place where commands change the state.

        Where finding out what happens is the same work as doing it (taking messages, leasing
        them, acknowledging them), the broker does both, and the record is appended beside it.
        """
        if self.observer is not None:
            self.observer.before(record)
        self.append(record)
        return self._appliers[record[0]](*record[1:])  # Broker.apply, without the call

    def level_for(self, queue: Queue, asked: Level | None) -> Level:
        """Tell the level of a command on a queue. NO_JOURNAL if it cannot be had."""
        if asked is not None:
            self.check_level(asked)
            return asked
        return self.level if queue.level is None else queue.level

    def check_level(self, asked: Level) -> None:
        """Return if a level can be had; NO_JOURNAL if not."""
        if asked > self._storage.highest_level:
            raise no_journal(f"the level {asked.word}")

    def check_room(
        self, name: str, size_bytes: int, *, is_freeing: bool = False, is_entry: bool = False
    ) -> None:
        """Return if a record of about this size may be made, or raise STORAGE_FULL."""
        storage = self._storage
        if storage.is_full and not storage.has_room(
            size_bytes, is_freeing=is_freeing, is_entry=is_entry
        ):
            raise storage_full(name)
