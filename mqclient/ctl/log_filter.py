"""Which frames of a log are wanted. Floor 4: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqwire.framelog_entries import Entry


@dataclass(frozen=True)
class Filter:
    """Which frames are shown.

    A settlement names a lease, whose queue counts as far as the log has told it before.
    A reply does not name its verb or queue: those of the request that it answers count.
    A gap is shown whenever it touches the time that is wanted: what is missing in it
    may be what is looked for.

    Args:
        queue, verb: of requests; None for any.
        user: exactly so; None for any.
        peer: part of the client's address; None for any.
        since, until: nanoseconds since 1970-01-01 UTC; None for any.
    """

    queue: str | None = None
    verb: str | None = None
    user: str | None = None
    peer: str | None = None
    since: int | None = None
    until: int | None = None

    def accepts(self, entry: Entry) -> bool:
        """Tell whether to show an entry."""
        gap = entry.gap
        begin_ns = entry.record.wall_time_ns if gap is None else gap.since_ns
        is_in_time = (self.since is None or entry.record.wall_time_ns >= self.since) and (
            self.until is None or begin_ns <= self.until
        )
        return is_in_time and (gap is not None or self._accepts_frame(entry))

    def misses(self, entry: Entry) -> bool:
        """Tell whether an entry may be of the wanted queue, and nothing has told so."""
        return (
            self.queue is not None
            and entry.is_request
            and entry.nameless_leases > 0
            and self.queue not in entry.queues
            and replace(self, queue=None).accepts(entry)
        )

    def _accepts_frame(self, entry: Entry) -> bool:
        return (
            (self.user is None or entry.record.user == self.user)
            and (self.peer is None or self.peer in entry.peer)
            and (self.queue is None or self.queue in entry.queues)
            and (self.verb is None or entry.verb == self.verb)
        )
