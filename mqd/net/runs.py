"""Runs: plain requests for one message each that came in a row, carried out as one.

Who pipelines pushes or pulls of single messages sends hundreds of frames at a time, all alike.
One after the other, most of what each costs is the way to the queue and back: so a row of them
makes one command, one record and one pack, and its replies are those that each would have had.

A run holds only what cannot be told from the same requests one by one: the plainest form, one
queue, sound bodies. Where the engine refuses it as a whole, nothing has happened, and each of its
requests is answered by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqd.net.replies import WORDS
from mqwire.errors import CodedError
from mqwire.limits import MAX_REQUEST_ID, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqd.net.replies import Reply
    from mqd.net.session import Session
    from mqwire.frames import Frame

LEAST_RUN: Final = 4
"""Requests that are worth it."""

RUN_PAUSE: Final = 32
"""Requests that are answered by themselves before it is looked for a run again, where there was
none: looking costs a tenth of answering."""

MOST_RUN: Final = 256
"""Requests after which others are let have their turn, should it be time for that."""

_MOST_BODY_BYTES: Final = 4096
"""Larger bodies cost more to join than what a run saves."""

_ROOM_BYTES: Final = MIB
"""Of the bodies that a run of pulls returns."""


def carry_out(session: Session, frames: list[Frame], start: int, end: int) -> list[Reply]:
    """Carry out the run that begins with a frame, and return its replies.

    Args:
        session: whose frames they are.
        frames: what has come.
        start: where the run would begin.
        end: where it ends at the latest.

    Returns:
        A reply for each of its requests; none where there is no run.
    """
    verb = frames[start][0] if frames[start] else None
    if verb == "PUSH":
        kind = _push
    elif verb == "PULL":
        kind = _pull
    else:
        return []
    if verb not in session.identity.handlers:
        return []
    return kind(session, frames[start : min(end, start + MOST_RUN)])


def _push(session: Session, frames: Sequence[Frame]) -> list[Reply]:
    ids: list[int] = []
    packs: list[bytes] = []
    check, most_bytes = session.check_pack, min(_MOST_BODY_BYTES, session.max_body_bytes)
    name = None
    for frame in frames:
        if len(frame) != 5:
            break
        verb, request_id, queue, count, pack = frame
        if name is None:
            name = queue
        if (
            verb != "PUSH"
            or queue != name
            or type(count) is not int
            or count != 1
            or type(pack) is not bytes
            or len(pack) > most_bytes
            or type(request_id) is not int
            or not 0 < request_id <= MAX_REQUEST_ID
        ):
            break
        try:
            check(pack, 1)
        except CodedError:
            break
        ids.append(request_id)
        packs.append(pack)
    if len(ids) < LEAST_RUN or type(name) is not str:
        return []
    try:
        first_id, level = session.engine.push(name, len(ids), b"".join(packs), (), None)
    except CodedError:
        return []  # some may be carried out, or each is to be told why not
    session.rest_on(level)
    word = WORDS[level]
    return [(request_id, "OK", first_id + at, word) for at, request_id in enumerate(ids)]


def _pull(session: Session, frames: Sequence[Frame]) -> list[Reply]:
    ids: list[int] = []
    name = frames[0][2] if len(frames[0]) == 4 else None
    if type(name) is not str or not _has_some(session, name):
        return []
    for frame in frames:
        if len(frame) != 4:
            break
        verb, request_id, queue, most = frame
        if (
            verb != "PULL"
            or queue != name
            or type(most) is not int
            or most != 1
            or type(request_id) is not int
            or not 0 < request_id <= MAX_REQUEST_ID
        ):
            break
        ids.append(request_id)
    if len(ids) < LEAST_RUN:
        return []
    found = session.engine.pull_each(name, len(ids), _ROOM_BYTES)
    assert found is not None, "nothing has happened since it was asked"
    first_id, bodies, level = found
    session.outbox.shows_messages = True
    session.rest_on(level)
    return [
        (request_id, "OK", (message_id, 1), (body,))
        for message_id, (request_id, body) in enumerate(zip(ids, bodies, strict=False), first_id)
    ]


def _has_some(session: Session, name: str) -> bool:
    """Tell whether a queue has messages for a run; asked first, since counting a run costs more."""
    try:
        return session.engine.may_pull_each(name)
    except CodedError:
        return False
