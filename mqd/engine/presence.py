"""Who is there: holders of leases, by their connections.

A holder is there while it has a connection, and goes on being so for its grace: a worker
that loses its connection and comes back in time keeps its leases. One whose grace has
ended is gone, and its messages are for others, however long its leases would run.

A *detached* holder is never gone: that it has no connection says nothing of it. Its leases
end at their time alone, and so it is never missed here.

What is here is not on record. After a start everybody is away since then, and has the same
time to come back.
"""

from __future__ import annotations

from mqd.core.deadlines import Timetable


class Presence:
    """Counts connections of holders, and remembers since when others are away."""

    def __init__(self) -> None:
        self._connections: dict[str, int] = {}
        self._gone_ms: dict[str, int] = {}
        self._times: Timetable[str] = Timetable()

    def arrive(self, who: str) -> None:
        """Note one more connection of a holder."""
        self._connections[who] = self._connections.get(who, 0) + 1
        self._forget(who)

    def leave(self, who: str, gone_ms: int | None) -> None:
        """Note that a connection of a holder is gone; with the last one its grace begins.

        Args:
            who: has a connection.
            gone_ms: when it is taken for gone, if it does not come back; None for never.
        """
        left = self._connections.pop(who) - 1
        if left:
            self._connections[who] = left
        elif gone_ms is not None:
            self.miss(who, gone_ms)

    def miss(self, who: str, gone_ms: int) -> None:
        """Note that a holder has no connection, and when it is taken for gone."""
        self._forget(who)
        self._gone_ms[who] = gone_ms
        self._times.add(gone_ms, who)

    def is_there(self, who: str) -> bool:
        """Tell whether a holder has a connection."""
        return who in self._connections

    def due(self, now_ms: int) -> str | None:
        """Return a holder whose grace has ended; it stays due until `close`."""
        return next(self._times.due(now_ms), None)

    def close(self, who: str) -> None:
        """Forget a holder that is gone."""
        self._forget(who)

    def next_ms(self) -> int | None:
        """When the next grace ends; None for never."""
        return self._times.next_ms()

    def _forget(self, who: str) -> None:
        gone_ms = self._gone_ms.pop(who, None)
        if gone_ms is not None:
            self._times.remove(gone_ms, who)
