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
    from mqclient.log_models import LoggedFrame
    from mqweb.requests import Request

_AT_ONCE: Final = 1000
"""Records that are asked for at a time; decoding them takes 10 ms or so."""

_MOST_LOOKS: Final = -(-MAX_TAIL_ENTRIES // _AT_ONCE)
"""So many for one answer: together they see all that mqd keeps."""

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
    shown: deque[LoggedFrame] = deque(maxlen=query.limit)
    after, count, missed, is_known, left = query.after, 0, 0, True, _MOST_LOOKS
    while True:
        tail = await request.client.frames(after, count=_AT_ONCE)
        fitting = [each for each in tail.frames if fits(each, query)]
        shown += fitting
        count += len(fitting)
        missed += tail.missed or 0
        is_known = is_known and tail.missed is not None
        left -= 1
        if after is None or not left or len({each.number for each in tail.frames}) < _AT_ONCE:
            break
        after = tail.last
    return json_answer(
        {
            "frames": [shown_frame(each) for each in shown],
            "last": tail.last,
            "missed": missed if is_known else None,
            "cut": count - len(shown),
            "level": tail.level,
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
        "`after` the newest 1000 reads and writes are looked at; with `last` of the answer as "
        "`after` all that came since and is kept.",
        ("FRAMES",),
        query=forms.FramesQuery,
        result=shapes.LoggedFrames,
        codes=(Code.NO_FRAME_LOG,),
    ),
)
