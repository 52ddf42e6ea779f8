"""The operation on the frame log: its newest frames, filtered here. Floor 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqweb import forms, shapes
from mqweb.answers import Answer, json_answer
from mqweb.operations import Operation
from mqwire.codes import Code

if TYPE_CHECKING:
    from mqclient.log_models import LoggedFrame
    from mqweb.requests import Request

_MOST_RECORDS: Final = 1000
"""Read for one answer; whoever asks again with `last` gets on."""


async def list_frames(request: Request) -> Answer:
    """Tell the newest frames of the log that are wanted."""
    query = request.query(forms.FramesQuery)
    tail = await request.client.frames(query.after, count=_MOST_RECORDS)
    fitting = [each for each in tail.frames if fits(each, query)]
    shown = fitting[-query.limit :]
    return json_answer(
        {
            "frames": [shown_frame(each) for each in shown],
            "last": tail.last,
            "missed": tail.missed,
            "cut": len(fitting) - len(shown),
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
        "passwords and tokens. mqd keeps the newest ones in memory; `mqctl log` reads all. Filters "
        "look at up to 1000 records at a time; with `last` of the answer as `after` it goes on.",
        ("FRAMES",),
        query=forms.FramesQuery,
        result=shapes.LoggedFrames,
        codes=(Code.NO_FRAME_LOG,),
    ),
)
