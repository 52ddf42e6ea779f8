"""The watches of one session: what happens on the server, as frames of the WATCH's id.

A watch has *credit*: so many events may be sent until its client gives more. Events for
which there is none, and those for a client that reads nothing, are not kept: they are
counted, and the next frame tells how many were missed. So a slow watcher costs the server
no memory and no waiting, keeps its connection, on which it may work as well, and knows
that it has to ask for the state of things again. Who reads nothing at all is cut off, as
every other client is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqwire.codes import Code
from mqwire.errors import RequestError
from mqwire.levels import Level
from mqwire.limits import MAX_CREDIT, MAX_WATCHES_PER_CONNECTION
from mqwire.names import matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mqd.engine.base import Event, ViewEngine
    from mqd.net.session import Session

FRAME_BYTES: Final = 32 * 1024
"""About how large a frame of events becomes before another one is begun."""

MAX_EVENT_RUNS: Final = 64
"""Runs of ids in one event; what has happened to more messages is told as several events."""

_EVENT_BYTES: Final = 256
"""More than an event takes without its ids and the texts in it."""


class Watch:
    """One who listens to the news for a session. See `mqd.engine.base.Listener`.

    Args:
        session: where to.
        request_id: of the WATCH.
        pattern: of queues.
        kinds: of events; empty for all.
        credit: how many events may be sent.
    """

    __slots__ = ("_credit", "_events", "_kinds", "_level", "_missed", "_pattern", "_session", "id")

    def __init__(
        self,
        session: Session,
        request_id: int,
        pattern: str,
        kinds: Collection[str],
        credit: int,
    ) -> None:
        self.id = request_id
        self._session = session
        self._pattern = pattern
        self._kinds = frozenset(kinds)
        self._credit = credit
        self._events: list[tuple[Any, ...]] = []
        self._level = Level.ACCEPTED
        self._missed = 0

    def wants(self, name: str) -> bool:
        """Tell whether events of a queue are of interest."""
        return matches(self._pattern, name)

    def note(self, event: Event) -> None:
        """Take an event, or count it as missed."""
        if self._kinds and event.kind not in self._kinds:
            return
        ids = event.ids
        for start in range(0, len(ids) or 1, 2 * MAX_EVENT_RUNS):
            if not self._credit or self._session.is_slow:
                self._missed += 1
                continue
            self._credit -= 1
            some = ids[start : start + 2 * MAX_EVENT_RUNS]
            self._events.append((event.kind, event.name, some, event.at_ms / 1000, event.more))
            self._level = max(self._level, event.level)

    def add_credit(self, credit: int) -> None:
        """Let so many more events be sent, up to `MAX_CREDIT` in all."""
        self._credit = min(self._credit + credit, MAX_CREDIT)

    def tell(self) -> None:
        """Send what was noted in this turn, and how many events were missed since the last frame.

        While there is no credit, those alone are no reason to send anything.
        """
        events, self._events = self._events, []
        if not events and not (self._missed and self._credit and not self._session.is_slow):
            return
        missed, self._missed = self._missed, 0
        level, self._level = self._level, Level.ACCEPTED
        start = size_bytes = 0
        for place, event in enumerate(events):
            size_bytes += _size_of(event)
            if size_bytes > FRAME_BYTES and place > start:
                self._session.send_events(self.id, events[start:place], missed, level)
                start, size_bytes, missed = place, _size_of(event), 0
        self._session.send_events(self.id, events[start:], missed, level)


def _size_of(event: tuple[Any, ...]) -> int:
    """Return about how large an event is on the wire, rather more."""
    texts = sum(4 * len(value) for value in event[4].values() if type(value) is str)
    return _EVENT_BYTES + 9 * len(event[2]) + texts


class Watches:
    """All watches of a session. They alone know it, so nothing keeps it that has ended.

    Args:
        views: what tells of events.
    """

    __slots__ = ("_by_id", "_views")

    def __init__(self, views: ViewEngine) -> None:
        self._views = views
        self._by_id: dict[int, Watch] = {}

    def begin(
        self,
        session: Session,
        request_id: int,
        pattern: str,
        kinds: Collection[str],
        credit: int,
    ) -> None:
        """Begin a watch for the session; arguments are those of `Watch`.

        Raises:
            RequestError: ID_IN_USE or TOO_MANY_WAITS.
        """
        if request_id in self._by_id:
            raise RequestError(
                Code.ID_IN_USE, f"request {request_id} still watches; number requests afresh"
            )
        if len(self._by_id) >= MAX_WATCHES_PER_CONNECTION:
            raise RequestError(
                Code.TOO_MANY_WAITS,
                f"a connection may have {MAX_WATCHES_PER_CONNECTION} watches; end one first",
                {"limit": MAX_WATCHES_PER_CONNECTION},
            )
        watch = self._by_id[request_id] = Watch(session, request_id, pattern, kinds, credit)
        self._views.listen(watch)

    def add_credit(self, request_id: int, credit: int) -> bool:
        """Give a watch credit; False if there is no such watch."""
        watch = self._by_id.get(request_id)
        if watch is not None:
            watch.add_credit(credit)
        return watch is not None

    def end(self, request_id: int) -> bool:
        """End a watch; False if there is no such watch."""
        watch = self._by_id.pop(request_id, None)
        if watch is not None:
            self._views.stop_listening(watch)
        return watch is not None

    def __iter__(self) -> Iterator[int]:
        """Yield the ids of their requests."""
        return iter(list(self._by_id))

    def end_all(self) -> None:
        """End every watch."""
        for request_id in list(self._by_id):
            self.end(request_id)
