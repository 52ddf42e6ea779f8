"""Crowds: one request each of many connections that came at once, answered together.

Workers that wait for each reply send a frame at a time. Where many of them do, what the event
loop has read of all of them in one round is as much a row of frames as what one client
pipelines, and can be handled as such: decoded together, plain pushes and pulls carried out as a
run (`mqd.net.runs`), and committed together. What differs is that each reply goes its own way.

    add(session, data)      a read that looks like one whole frame, and is small, waits
    answer()                all that wait are answered; the caller begins and ends the turn

A read that is anything else is answered by itself: the start of a frame, several frames, a
large one, those of a client that has not authenticated or is held. Nothing waits for longer than
what the loop does in the same round, and no more than `PIECE_BYTES` wait.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mqd.net.inbox import PIECE_BYTES
from mqd.net.replies import cut
from mqd.net.runs import LEAST_RUN, carry_out_plain
from mqd.net.tap import has_apart
from mqwire.frames import FrameReader
from mqwire.levels import Level
from mqwire.limits import MAX_CONTAINER_BYTES, MAX_FRAME_BYTES_BEFORE_AUTH, PREFIX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.engine.base import Engine
    from mqd.net.meters import Meters
    from mqd.net.session import Session
    from mqwire.frames import Frame

_logger = logging.getLogger("mqd.session")

_PLAIN_LENGTHS: Final = {"PUSH": 5, "PULL": 4}  # of requests that may be in a run

MOST_BYTES: Final = MAX_FRAME_BYTES_BEFORE_AUTH
"""Of a read that waits for others; what a larger one costs is its bytes, which nobody shares."""


class Crowd:
    """Reads that wait for each other, of a server's sessions.

    Args:
        engine: carries commands out.
        check_pack: raises where a pack does not hold so many bodies.
        max_body_bytes: how large a body may be.
        meters: count what is answered.
    """

    def __init__(
        self,
        engine: Engine,
        check_pack: Callable[[bytes, int], None],
        max_body_bytes: int,
        meters: Meters,
    ) -> None:
        self.engine = engine
        self.check_pack = check_pack
        self.max_body_bytes = max_body_bytes
        self._meters = meters
        self._level = Level.ACCEPTED  # of the run under way
        self._shows_messages = False  # the same
        self._arrived: dict[Session, bytes] = {}
        self._size_bytes = 0  # of these
        self._reader = _new_reader()

    @property
    def waits(self) -> bool:
        """Whether there is something to answer."""
        return bool(self._arrived)

    def add(self, session: Session, data: bytes) -> bytes:
        """Let a read wait, if it may. Where many wait, these are answered first.

        Args:
            session: whose it is.
            data: what was read.

        Returns:
            What is to be answered now: nothing, or the read with what had waited before it.
        """
        if session in self._arrived:
            return self.leave(session) + data
        if (
            len(data) > MOST_BYTES
            or int.from_bytes(data[1:PREFIX_BYTES], "big") != len(data) - PREFIX_BYTES
        ):
            return data
        if self._size_bytes + len(data) > PIECE_BYTES:
            self.engine.begin_turn()
            self.answer()
        self._arrived[session] = data
        self._size_bytes += len(data)
        return b""

    def leave(self, session: Session) -> bytes:
        """Return what waits of a session, which does not wait any more; nothing if none did."""
        data = self._arrived.pop(session, b"")
        self._size_bytes -= len(data)
        return data

    def answer(self) -> None:
        """Answer what waits. The engine's turn has begun."""
        arrived, self._arrived, self._size_bytes = self._arrived, {}, 0
        # Others have begun a frame before, or have not authenticated, or are held.
        sessions = [session for session in arrived if session.takes_whole()]
        if len(sessions) >= LEAST_RUN:
            answered = sessions
            with _costing(sessions):
                answered = self._answer_together(sessions, arrived)
            for session in answered:
                del arrived[session]
        for session, data in arrived.items():
            if not session.is_closing:
                with _costing([session]):
                    session.receive(data)

    def _answer_together(
        self, sessions: list[Session], arrived: dict[Session, bytes]
    ) -> list[Session]:
        """Answer sessions that each take a whole frame; return those that were answered."""
        frames = self._decoded([arrived[session] for session in sessions])
        if not frames:
            return []
        if has_apart(frames):
            places = [place for place, frame in enumerate(frames) if not has_apart([frame])]
            sessions = [sessions[place] for place in places]
            frames = [frames[place] for place in places]
        for session in sessions:
            session.note_whole(arrived[session])
        self._answer(sessions, frames)
        return sessions

    def rest_on(self, level: Level) -> None:
        """Hold the replies of the run under way back until a level is reached."""
        self._level = level

    def show_messages(self) -> None:
        """Note that there are messages in them."""
        self._shows_messages = True

    def _decoded(self, data: list[bytes]) -> list[Frame]:
        """Return the frames that reads are, one each; none where one of them is none."""
        frames = self._reader.feed(b"".join(data))
        if not self._reader.is_between:
            self._reader = _new_reader()
            return []
        return frames

    def _answer(self, sessions: list[Session], frames: list[Frame]) -> None:
        """Answer frames, each of which is a session's.

        Nobody can tell which of them was sent first, so those that fit each other go together.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, frame in enumerate(frames):
            verb = frame[0]
            is_plain = _PLAIN_LENGTHS.get(verb) == len(frame) and type(frame[2]) is str
            may_run = is_plain and verb in sessions[place].identity.handlers
            kind = (verb, frame[2]) if may_run else ()
            groups.setdefault(kind, []).append(place)
        for kind, places in groups.items():
            asking = [sessions[place] for place in places]
            alike = frames if len(places) == len(frames) else [frames[place] for place in places]
            answered = 0
            with _costing(asking):
                answered = self._answer_runs(asking, alike) if kind else 0
            for session, frame in zip(asking[answered:], alike[answered:], strict=True):
                with _costing([session]):
                    session.handle([frame])

    def _answer_runs(self, sessions: list[Session], frames: list[Frame]) -> int:
        """Answer requests of one kind as far as they are runs; return how many."""
        answered = 0
        while len(frames) - answered >= LEAST_RUN:
            self._shows_messages = False
            count, replies = carry_out_plain(self, frames[answered:] if answered else frames)
            if not count:
                break
            shows_messages = self._shows_messages
            for session, reply in zip(sessions[answered:], cut(replies), strict=False):
                session.answer_with(reply, self._level, shows_messages=shows_messages)
            self._meters.frames += count
            answered += count
        return answered


@contextmanager
def _costing(sessions: list[Session]) -> Iterator[None]:
    """Let a bug cost these sessions, and not all that come after them."""
    try:
        yield
    except Exception:
        _logger.exception("internal error in %d connections", len(sessions))
        for session in sessions:
            session.abort()


def _new_reader() -> FrameReader:
    # A frame that is no larger than a stranger's may be would be walked before it is decoded.
    return FrameReader(MAX_FRAME_BYTES_BEFORE_AUTH + 1, MAX_CONTAINER_BYTES)
