"""Where a local engine's records go.

Storage               what the engine asks
+-- MemoryOnly        nothing is kept: here
+-- Durable           journal, snapshots, recovery: mqd.engine.durable
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from mqwire.codes import Code
from mqwire.errors import CodedError
from mqwire.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.records import Record
    from mqd.engine.base import Snapshot


NEVER_LSN: Final = 2**63
"""A mark that nothing reaches."""


class Storage(Protocol):
    """Takes records in turns, and says how far they have come."""

    highest_level: Level
    """The highest that it can promise."""

    @property
    def epoch(self) -> int:
        """Which start of the state this is."""

    on_progress: Callable[[], None]
    """Called in the event loop when records have come further, or writing has failed."""

    @property
    def failure(self) -> Exception | None:
        """Why nothing is kept any more."""

    @property
    def is_full(self) -> bool:
        """Whether `has_room` has to be asked."""

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that clients have to wait."""

    @property
    def written_lsn(self) -> int:
        """All records up to this mark survive the end of the process."""

    @property
    def synced_lsn(self) -> int:
        """All records up to this mark survive loss of power."""

    def append(self, record: Record, /) -> None:
        """Take a record of the present turn."""

    def commit(self, level: Level, *, is_alone: bool = False) -> int:
        """End the turn; return the mark of all records so far, `NEVER_LSN` after a failure.

        `is_alone` tells that nobody waits for anything else, so that blocking harms nobody.
        """

    def has_room(
        self, size_bytes: int, *, is_freeing: bool = False, is_entry: bool = False
    ) -> bool:
        """Tell whether a record of about this size may be appended.

        `is_freeing` tells that it makes the state smaller, `is_entry` that it lets somebody in
        who may do that: for both there is room where the disk is full.
        """

    async def snapshot(self) -> Snapshot:
        """Make a snapshot. CodedError: NO_JOURNAL or SNAPSHOT_FAILED."""

    def stats(self) -> dict[str, Any]:
        """Return the parts `journal`, `snapshot` and `recovery` of STATS."""


class MemoryOnly:
    """Keeps nothing: what is in memory is all there is.

    Args:
        epoch: which start of the server this is, grown since the last one.
    """

    highest_level = Level.ACCEPTED
    failure = None
    is_full = False
    is_behind = False
    written_lsn = synced_lsn = 0

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch
        self.on_progress: Callable[[], None] = nothing

    def append(self, _record: Record, /) -> None:
        """Drop a record."""

    def commit(self, _level: Level, *, is_alone: bool = False) -> int:  # noqa: ARG002
        """End the turn."""
        return 0

    def has_room(
        self,
        _size_bytes: int,
        *,
        is_freeing: bool = False,  # noqa: ARG002
        is_entry: bool = False,  # noqa: ARG002
    ) -> bool:
        """Tell that there is room."""
        return True

    async def snapshot(self) -> Snapshot:
        """Refuse."""
        raise no_journal("a snapshot")

    def stats(self) -> dict[str, Any]:
        """Return that there is nothing to tell."""
        return {"journal": None, "snapshot": None, "recovery": None}


def no_journal(what: str) -> CodedError:
    """Make the refusal of what only a server with a journal can do."""
    return CodedError(
        Code.NO_JOURNAL,
        f"this server keeps its state in memory alone (storage.journal is false), so {what} is "
        "not to be had",
        {},
    )


def storage_full(queue: str) -> CodedError:
    """Make the refusal of what would need more room than the disk has."""
    return CodedError(
        Code.STORAGE_FULL,
        "the server's disk is full: messages can be pulled and purged, and nothing can be added "
        "until there is space again",
        {"queue": queue} if queue else {},
    )


def nothing() -> None:
    """Stand in until somebody wants to know."""
