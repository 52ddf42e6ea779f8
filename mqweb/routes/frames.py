"""The operation on the frame log: its newest frames, filtered here. Floor 2."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mqweb import forms, shapes
from mqweb.answers import Answer, json_answer
from mqweb.operations import Operation
from mqwire.codes import Code
from mqwire.limits import MAX_TAIL_ENTRIES

if TYPE_CHECKING:
    from mqclient.log_models import LoggedFrame, LogTail
    from mqweb.requests import Request

_AT_ONCE: Final = 1000
"""Records that are asked for at a time; decoding them takes 10 ms or so."""

_MOST_LOOKS: Final = -(-MAX_TAIL_ENTRIES // _AT_ONCE)
"""So many for one answer: together they see all that mqd keeps."""

_OLDEST: Final = 0
"""A number that no run has given: what comes after it is all that is kept."""

LOOKS: Final = frozenset(
    (
        "PING",
        "LIST",
        "INFO",
        "PEEK",
        "STATUS",
        "HOLDERS",
        "STATS",
        "WATCH",
        "CREDIT",
        "UNWATCH",
        "WAKE",
        "USERS",
        "TOKENS",
        "BACKUP",
        "FRAMES",
    )
)
"""Verbs that change no queue, message or account."""


async def list_frames(request: Request) -> Answer:
    """Tell the newest frames of the log that are wanted."""
    query = request.query(forms.FramesQuery)
    found = _Found(query)
    if query.after is None:
        found.add(await request.client.frames(count=_AT_ONCE))
        if found.is_at_end or len(found.shown) == query.limit:
            return found.answer()
        found = _Found(query)
        await found.go_through(request, _OLDEST)
        found.missed = 0  # nothing was asked for but what there is
    else:
        await found.go_through(request, query.after)
    return found.answer()


class _Found:
    """The frames that are wanted, of those that have been looked at.

    Args:
        query: which are wanted.
    """

    def __init__(self, query: forms.FramesQuery) -> None:
        self.shown: deque[LoggedFrame] = deque(maxlen=query.limit)
        self.missed: int | None = 0
        self.is_at_end = False
        """Whether there is nothing behind what was looked at last."""
        self._query = query
        self._count = 0
        self._last: LogTail | None = None

    async def go_through(self, request: Request, after: int) -> None:
        """Look at all that come after a number."""
        for _ in range(_MOST_LOOKS):
            tail = await request.client.frames(after, count=_AT_ONCE)
            self.add(tail)
            if self.is_at_end:
                return
            after = tail.last

    def add(self, tail: LogTail) -> None:
        """Look at frames that come behind those so far."""
        fitting = [each for each in tail.frames if fits(each, self._query)]
        self.shown += fitting
        self._count += len(fitting)
        self._last = tail
        is_known = self.missed is not None and tail.missed is not None
        self.missed = (self.missed or 0) + (tail.missed or 0) if is_known else None
        self.is_at_end = len({each.number for each in tail.frames}) < _AT_ONCE

    def answer(self) -> Answer:
        """Return the answer with them."""
        assert self._last is not None
        return json_answer(
            {
                "frames": [shown_frame(each) for each in self.shown],
                "last": self._last.last,
                "missed": self.missed,
                "cut": self._count - len(self.shown),
                "level": self._last.level,
            }
        )


def fits(frame: LoggedFrame, query: forms.FramesQuery) -> bool:
    """Tell whether a frame is wanted."""
    return (
        (query.direction is None or frame.direction == query.direction)
        and (query.user is None or frame.user == query.user)
        and (query.peer is None or query.peer in frame.peer)
        and (query.verb is None or frame.verb == query.verb.upper())
        and (query.queue is None or query.queue in frame.queues)
        and (query.connection is None or frame.connection == query.connection)
        and (query.code is None or frame.code == query.code.upper())
        and (not query.errors or frame.is_refusal)
        and (not query.changes or frame.verb not in LOOKS or frame.is_refusal)
    )


def shown_frame(frame: LoggedFrame) -> dict[str, Any]:
    """Return a frame as members of JSON."""
    return {
        "number": frame.number,
        "at": frame.at,
        "time": frame.time,
        "connection": frame.connection,
        "direction": frame.direction,
        "source": frame.source,
        "destination": frame.destination,
        "user": frame.user,
        "verb": frame.verb,
        "queue": frame.queue,
        "code": frame.code,
        "seconds": frame.seconds,
        "bytes": frame.size_bytes,
        "frame": frame.frame,
    }


OPERATIONS = (
    Operation(
        "GET",
        "/v1/frames",
        list_frames,
        "The newest frames of the frame log",
        "Server",
        "What clients have sent and got, with the bodies if the log holds them (`level`), without "
        "passwords and tokens. mqd keeps the newest ones in memory; `mqctl log` reads all. Without "
        "`after` the newest of these that are wanted come; with `last` of the answer as `after` "
        "those that came since and are kept.",
        ("FRAMES",),
        query=forms.FramesQuery,
        result=shapes.LoggedFrames,
        codes=(Code.NO_FRAME_LOG,),
    ),
)
