"""Connections in memory, with everything that may happen to one.

A link carries what a client sends to the server's session as bytes, in pieces and with delays,
and what the session writes back to the client as the frames that it is. It may be closed by
either side, be cut (both sides hear of it, what was under way is lost), or *vanish*: bytes go
nowhere in one direction or both, and nobody is told. The host's keep-alive ends a link whose
other host is gone 45 s later, as the kernel would; it does not for a process that only stands
still.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mqwire.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from mqd.net.session import Session
    from simulation.history import Conn, History, Op
    from support.virtual_loop import VirtualLoop

KERNEL_KEEPALIVE_SECONDS = 45.0

_encode = FrameWriter().encode


@dataclass(frozen=True)
class Weather:
    """How the network is.

    Args:
        delay_seconds: a piece takes up to so long.
        slow: how often one takes longer.
        slow_seconds: up to so long.
        split: how often what is sent arrives in two pieces.
    """

    delay_seconds: float = 0.002
    slow: float = 0.02
    slow_seconds: float = 0.3
    split: float = 0.1


class Peer(Protocol):
    """A client, as a link sees it."""

    name: str
    who: str

    def heard(self, link: Link, op: Op, reply: tuple[Any, ...]) -> None:
        """Take a reply."""

    def lost(self, link: Link) -> None:
        """Hear that the link has ended."""


class Link(asyncio.Transport):
    """One connection: the server's transport, and the client's end.

    Args:
        loop: the server's.
        conn: its place in the history.
        peer: the client.
        weather: how its bytes travel.
        chance: picks times.
        history: is told what is there and what has left.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        conn: Conn,
        peer: Peer,
        weather: Weather,
        chance: random.Random,
        history: History,
    ) -> None:
        super().__init__()
        self.conn = conn
        self.peer = peer
        self.session: Session
        self.is_up_lost = self.is_down_lost = False
        """Bytes to the server, or from it, go nowhere."""
        self.is_over = False
        """The client has closed it, or knows that it has ended."""
        self._loop = loop
        self._weather = weather
        self._chance = chance
        self._history = history
        self._ops: dict[int, Op] = {}
        self._last_id = 0
        # To the server
        self._sent_bytes = self._given_bytes = 0
        self._ends: list[tuple[int, Op]] = []
        self._up_free = 0.0  # nothing arrives before what was sent before it
        self._is_paused = False
        self._unread: list[bytes] = []
        # From the server
        self._reader = FrameReader(2**31)
        self._down_free = 0.0
        self._unsent_bytes = 0
        self._high = 65536
        self._is_full = False
        self._is_closing = False
        self._is_gone = False  # the session was told that it is over
        self._kept: list[tuple[list[Any], int]] | None = None  # what the client does not read

    # The client's end

    def send(self, requests: Sequence[tuple[Any, ...]]) -> list[Op]:
        """Send requests in one write."""
        ops, data = [], b""
        for request in requests:
            self._last_id += 1
            op = self._history.sent(self.conn, self.peer.who, request)
            frame = _encode((request[0], self._last_id, *request[1:]))
            data += frame
            self._sent_bytes += len(frame)
            self._ops[self._last_id] = op
            self._ends.append((self._sent_bytes, op))
            ops.append(op)
        self._travel(data)
        return ops

    def _travel(self, data: bytes) -> None:
        chance = self._chance
        if len(data) > 1 and chance.random() < self._weather.split:
            place = chance.randrange(1, len(data))
            pieces = [data[:place], data[place:]]
        else:
            pieces = [data]
        for piece in pieces:
            self._up_free = max(self._up_free, self._loop.time() + self._delay())
            self._loop.call_at(self._up_free, self._arrive, piece)

    def _delay(self) -> float:
        chance, weather = self._chance, self._weather
        if chance.random() < weather.slow:
            return chance.uniform(0.0, weather.slow_seconds)
        return chance.uniform(0.0001, weather.delay_seconds)

    def leave(self) -> None:
        """Close it from the client's end; the server hears of it in a moment."""
        if not self.is_over:
            self.is_over = True
            self._up_free = max(self._up_free, self._loop.time() + self._delay())
            self._loop.call_at(self._up_free, self._end_by_client)

    def _end_by_client(self) -> None:
        if not self.is_up_lost:
            self._end(None)

    def cut(self) -> None:
        """Break it: both sides hear of it soon, and what is under way is lost."""
        self._history.note(f"cut {self.conn.client}/{self.conn.number}")
        self.is_up_lost = self.is_down_lost = True
        error = ConnectionResetError("cut")
        self._loop.call_later(self._delay(), self._end, error)
        self._tell_peer(self._delay())

    def vanish(self, *, up: bool, down: bool, is_host_gone: bool) -> None:
        """Let bytes go nowhere without a word."""
        self._history.note(f"vanish {self.conn.client}/{self.conn.number} {up} {down}")
        self.is_up_lost |= up
        self.is_down_lost |= down
        if is_host_gone and up:
            self._loop.call_later(KERNEL_KEEPALIVE_SECONDS, self._end, TimeoutError("no host"))

    def go_deaf(self) -> None:
        """Let the client read nothing for now."""
        if self._kept is None:
            self._kept = []

    def listen(self) -> None:
        """Let the client read again."""
        kept, self._kept = self._kept or [], None
        for frames, size_bytes in kept:
            self._deliver(frames, size_bytes)

    def _tell_peer(self, seconds: float) -> None:
        self._loop.timeline.call_later(seconds, self._peer_hears)

    def _peer_hears(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.peer.lost(self)

    def server_died(self, *, is_heard: bool) -> None:
        """Learn that the server's process is no more."""
        self._ended()
        if is_heard:
            self._tell_peer(self._delay())

    # The way to the server

    def _arrive(self, data: bytes) -> None:
        if self.is_up_lost or self._is_gone or self._is_closing:
            return
        if self._is_paused:
            self._unread.append(data)
        else:
            self._give(data)

    def _give(self, data: bytes) -> None:
        self._given_bytes += len(data)
        self.conn.heard_seconds = self._loop.time()
        ends = self._ends
        while ends and ends[0][0] <= self._given_bytes:
            self._history.arrived(ends.pop(0)[1])
        self.session.data_received(data)

    def _give_unread(self) -> None:
        while self._unread and not (self._is_paused or self._is_gone or self._is_closing):
            self._give(self._unread.pop(0))

    # The way from the server

    def _deliver(self, frames: list[Any], size_bytes: int) -> None:
        if self.is_down_lost:
            return
        if self._kept is not None:
            self._kept.append((frames, size_bytes))
            return
        self._unsent_bytes -= size_bytes
        if not self._is_gone:
            if self._is_full and self._unsent_bytes <= self._high // 4:
                self._is_full = False
                self.session.resume_writing()
            if self._is_closing and not self._unsent_bytes:
                self._loop.call_soon(self._end, None)
        if not self.is_over:
            timeline = self._loop.timeline
            for op, reply in frames:
                timeline.soon(None, self._hear, (op, reply))

    def _hear(self, op: Op, reply: tuple[Any, ...]) -> None:
        if not self.is_over:
            self.peer.heard(self, op, reply)

    def _end(self, error: Exception | None) -> None:
        """Tell the session that it is over."""
        if not self._is_gone:
            self._ended()
            self.session.connection_lost(error)

    def _ended(self) -> None:
        if not self._is_gone:
            self._is_gone = self._is_closing = True
            self.conn.ended = self._history.moment()
            self._history.note(f"{self.conn.client}/{self.conn.number} has ended")

    @property
    def is_alive(self) -> bool:
        """Whether the session has not been told that it is over."""
        return not self._is_gone

    # What the session calls

    def write(self, data: Any) -> None:
        if self._is_gone:
            return
        frames = []
        for frame in self._reader.feed(data):
            op = self._ops.pop(frame[0], None)
            if op is not None:
                self._history.replied(op, frame[1:])
                frames.append((op, frame[1:]))
                self._note_promise(op)
            elif frame[0]:
                self._history.faults.append(f"a reply to no request: {frame} to {self.conn.client}")
        if self._reader.error is not None or self._reader.leftover_bytes:
            self._history.faults.append(f"a broken stream to {self.conn.client}")
        self._unsent_bytes += len(data)
        self._down_free = max(self._down_free, self._loop.time() + self._delay())
        self._loop.call_at(self._down_free, self._deliver, frames, len(data))
        if self._unsent_bytes > self._high and not self._is_full:
            self._is_full = True
            self.session.pause_writing()

    def _note_promise(self, op: Op) -> None:
        if op.verb == "AUTH" and op.is_ok:
            self.conn.keepalive = op.options.get("keepalive")
            self.conn.heard_seconds = self._loop.time()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self._unsent_bytes:
                self._loop.call_soon(self._end, None)
            self._loop.call_later(1.0, self._close_at_peer)

    def _close_at_peer(self) -> None:
        if not self.is_down_lost:
            self._peer_hears()

    def abort(self) -> None:
        if not self._is_gone:
            self._is_closing = True
            self._loop.call_soon(self._end, None)
            if not self.is_down_lost:
                self.is_down_lost = True
                self._tell_peer(self._delay())

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        if self._unread:
            self._loop.call_soon(self._give_unread)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002  asyncio's name
        if high is not None:
            self._high = high

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername":
            return (f"10.0.0.{self.conn.number}", 40000)
        return ("127.0.0.1", 7500) if name == "sockname" else default
