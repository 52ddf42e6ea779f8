"""What a session has to send: the replies of this turn, and those that wait for the journal.

    add ... add          replies of the turn, and the level that each is to reach
    take_turn()          the turn's records have their mark: its replies wait for that
    take_ready()         what may leave now, in the order in which it came

Both return frames and what these are to be in the frame log, which is the same as a rule.

Nothing passes what came before it: the replies of a connection leave in one order, and a
reply that needs nothing waits behind one that does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mqd.net.splicing import MOST_PIECES, joined, size_of
from mqwire.frames import prefix
from mqwire.levels import Level
from mqwire.limits import PREFIX_BYTES

if TYPE_CHECKING:
    from mqd.engine.base import Engine, Needs
    from mqd.net.splicing import Output


class Outbox:
    """The output of one session, until it may leave.

    Args:
        engine: knows how far its records have come.
    """

    __slots__ = (
        "_engine",
        "_is_large",
        "_waiting",
        "leases",
        "level",
        "logged_as",
        "parts",
        "shows_messages",
        "size_bytes",
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[tuple[Needs, Output, Output]] = deque()
        self.leases: list[tuple[int, int]] = []
        """Those whose messages are in what has not left, and maybe some that are not any more."""
        self.parts: list[bytes] = []
        """The frames of this turn's replies, in pieces."""
        self._is_large = False  # whether these are to stay in pieces
        self.level = Level.ACCEPTED
        """The highest that one of these is to reach; raised by whoever adds one."""
        self.shows_messages = False
        """Whether there are messages in one of these."""
        self.logged_as: bytes | None = None
        """What the frame log is to hold in the place of this turn's replies; None for these."""
        self.size_bytes = 0
        """Everything that has not left, this turn's replies included."""

    @property
    def is_empty(self) -> bool:
        """Whether everything has left."""
        return not self.parts and not self._waiting

    def add(self, body: bytes) -> None:
        """Put a reply to those of this turn; `level` and `shows_messages` are the caller's."""
        parts = self.parts
        parts.append(prefix(len(body)))
        parts.append(body)
        self.size_bytes += len(body) + PREFIX_BYTES

    def add_frames(self, frames: bytes) -> None:
        """As `add`, for whole frames."""
        self.parts.append(frames)
        self.size_bytes += len(frames)

    def add_pieces(self, pieces: list[bytes]) -> None:
        """As `add_frames`, for a large frame in pieces, which are not joined any more."""
        self.parts += pieces
        self.size_bytes += sum(map(len, pieces))
        self._is_large = True

    def take_turn(self) -> tuple[Output, Output]:
        """Let the replies of this turn wait for what they rest on; as `take_ready`.

        The engine's turn is over.
        """
        if not self.parts:
            return self.take_ready() if self._waiting else (b"", b"")
        engine = self._engine
        data: Output
        if self._is_large and len(self.parts) <= MOST_PIECES:
            data, self.parts = self.parts, []
        else:
            data = b"".join(self.parts)
            self.parts.clear()
        self._is_large = False
        logged = data if self.logged_as is None else self.logged_as
        needs = engine.needs(self.level, shows_messages=self.shows_messages)
        self.logged_as = None
        self.level = Level.ACCEPTED
        self.shows_messages = False
        if self._waiting or not engine.has_reached(needs):
            self._waiting.append((needs, data, logged))
            return self.take_ready()
        self.size_bytes -= size_of(data)
        return data, logged

    def take_ready(self) -> tuple[Output, Output]:
        """Remove what may leave now; return it, and as what it is to be logged."""
        waiting = self._waiting
        has_reached = self._engine.has_reached
        ready = []
        while waiting and has_reached(waiting[0][0]):
            ready.append(waiting.popleft())
        if len(ready) == 1:
            _, data, logged = ready[0]
        else:
            data = joined([entry[1] for entry in ready])
            logged = joined([entry[2] for entry in ready])
        self.size_bytes -= size_of(data)
        return data, logged

    def clear(self) -> None:
        """Drop everything: there is nobody to send it to."""
        self.parts.clear()
        self._waiting.clear()
        self.size_bytes = 0
