"""A session: one connection, from its first byte to its last.

Theory of operation. Bytes that come in become frames; each frame is answered at once, or with
those of other sessions that come in the same round of the loop (`mqd.net.crowd`), in
order, and the replies of a read leave in one write. A session is *held* while frames
must wait: while a password is checked, while the client does not read its replies, while
the frame log or the journal is behind, and when it has used up its share of a turn. A held
session reads nothing from its socket, so a client feels that in its own sending; nothing is
dropped and nothing piles up.

All writing goes through `flush`, all ending through `break_off` and `connection_lost`. What
rests on records that are still on their way to the disk waits in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from mqd.engine.base import NO_MESSAGES
from mqd.net.frame_tail import Untold
from mqd.net.identity import Identity
from mqd.net.inbox import Inbox
from mqd.net.outbox import Outbox
from mqd.net.pending import Pending
from mqd.net.reader_watch import ReaderWatch
from mqd.net.replies import error_reply, refusal
from mqd.net.runs import LEAST_RUN, RUN_PAUSE, carry_out
from mqd.net.splicing import spliced
from mqd.net.tap import loggable
from mqd.net.verbs import refuse
from mqd.net.watches import Watches
from mqwire.alike import Frames, joined
from mqwire.codes import Code
from mqwire.errors import CodedError, StreamError
from mqwire.framelog_bodies import without_bodies
from mqwire.frames import Frame, FrameWriter
from mqwire.limits import MAX_REQUEST_ID
from mqwire.requests import check_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.engine.base import Results
    from mqd.net.backups import Backup
    from mqd.net.frame_log import FrameLog
    from mqd.net.pending import Outcome
    from mqd.net.replies import Reply
    from mqd.net.server import Server
    from mqd.net.splicing import Output
    from mqwire.levels import Level

_logger = logging.getLogger("mqd.session")

TURN_SECONDS: Final = 0.002
"""How long one connection's requests are answered before others have their turn."""

CLOSE_SECONDS: Final = 1.0
"""How long a client that is told goodbye may read nothing before it is cut off."""

_OVER: Final = object()


class Session(asyncio.Protocol):
    """One connection.

    Args:
        server: what it belongs to.
        number: counts connections from the start of the server.
    """

    def __init__(self, server: Server, number: int) -> None:
        self.number = number
        self.engine = server.engine
        self.check_pack = server.pack_checker.check
        self.max_body_bytes = server.limits.max_body_bytes
        self.max_frame_bytes = server.limits.max_frame_bytes
        self.server_stats = server.stats
        self.frame_tail = server.frame_tail
        self.peer = ""
        self.token_seconds = server.token_seconds
        self.check_password, self.hash_password = server.check_password, server.hash_password
        self._server = server
        self._pack = server.pack
        self._transport: asyncio.Transport
        self._inbox = Inbox()
        self.outbox = Outbox(server.engine)
        self.backup: Backup | None = None
        """The backup that the client fetches."""
        self.identity = Identity(self, server)
        self.pending = Pending(
            server.engine,
            server.loop,
            server.limits.max_waits_per_connection,
            self._wait_over,
            self._task_over,
        )
        self.watches = Watches(server.engine.views)
        self._backlog: list[Frame] = []
        self._next_turn: asyncio.Handle | None = None
        self.is_held = False
        """Whether frames wait, and the socket is not read."""
        self.is_closing = False
        """Whether it takes no more: the client is told why, or has gone."""
        self.on_all_sent: Callable[[], None] | None = None
        """Called soon, once, when everything has left."""
        self._is_share_used = False
        self._preparing: tuple[Frame, Iterator[None]] | None = None
        self._is_unanswered = False  # the last frame: it is to be taken up again
        self._is_unread = False
        self._is_log_behind = False
        self._is_journal_behind = False
        self._reader_watch = ReaderWatch(self, server.loop)

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        limits = self._server.limits
        self._transport.set_write_buffer_limits(high=limits.max_unsent_bytes)
        self.peer, self._inbox.tap = self._server.register(self, self._transport)
        if self._server.has_room():
            self.identity.expect()
        else:
            self._server.meters.refused += 1
            most = self._server.max_connections
            message = f"the server holds {most} connections, which is all it may; try again later"
            self.break_off(StreamError(Code.TOO_MANY_CONNECTIONS, message, {"limit": most}))

    def data_received(self, data: bytes) -> None:
        """Take the next bytes and answer what is whole with them, now or with others' soon."""
        if self.is_closing:
            return
        keepalive = self.identity.keepalive
        if keepalive is not None:
            keepalive.was_heard = True
        server = self._server
        if not server.has_one_session:
            data = server.crowd.add(self, data)
        if data:
            self.engine.begin_turn()
            self.receive(data)
        server.end_turn_soon()

    def pause_writing(self) -> None:
        """Hold: the client does not read what it is sent."""
        self._is_unread = True
        self.hold()
        self.pending.wake_all()
        self._reader_watch.begin(self._server.limits.unsent_timeout_seconds)

    def resume_writing(self) -> None:
        """Go on: the client has read again."""
        self._is_unread = False
        if not self.is_closing:
            self._reader_watch.end()
        self.engine.begin_turn()
        self.go_on()

    def connection_lost(self, _error: Exception | None) -> None:
        """End: the client has gone, or was told to."""
        self.is_closing = True
        self._forget_timers()
        self._backlog = []
        self._inbox.forget()
        self.outbox.clear()
        self.pending.close()
        self.watches.end_all()
        if self.backup is not None:
            self.backup.close()
        self._server.unregister(self)
        holder = self.identity.holder
        if holder is not None:
            self.engine.begin_turn()
            holder.leave(self.outbox.leases)
            self._server.end_turn_soon()

    def _forget_timers(self) -> None:
        """Cancel what would call back; nothing is to keep a session that has ended."""
        self.identity.close()
        self._reader_watch.close()
        if self._next_turn is not None:
            self._next_turn.cancel()
        self._next_turn = self.on_all_sent = None

    # What verbs call

    def rest_on(self, level: Level) -> None:
        """Hold the reply that follows, and its turn, back until its level is reached."""
        self.outbox.level = max(self.outbox.level, level)

    def use_up_share(self) -> None:
        """Let others have their turn after this request, which is a costly one."""
        self._is_share_used = True

    def prepare(self, frame: Frame, begin: Callable[[], Iterator[None]]) -> bool:
        """Go a step on with what a request needs before it can be carried out.

        Args:
            frame: the request.
            begin: returns the steps, of which one is made in a turn.

        Returns:
            Whether that was the last. If not, the handler is to return: it is called again in
            another turn, and no later frame is answered before.
        """
        preparing, self._preparing = self._preparing, None  # nothing is kept if a step fails
        if preparing is None or preparing[0] is not frame:
            preparing = (frame, begin())
        if next(preparing[1], _OVER) is _OVER:
            return True
        self._preparing = preparing
        self._is_unanswered = True
        return False

    @property
    def is_slow(self) -> bool:
        """Whether so much waits to be sent, or to be read, that nothing should be added."""
        is_full = self.outbox.size_bytes > self._server.limits.max_unsent_bytes
        return self._is_unread or is_full

    def show_messages(self) -> None:
        """Note that there are messages in a reply of this turn."""
        self.outbox.shows_messages = True

    def send_events(
        self, request_id: int, events: list[tuple[Any, ...]], missed: int, level: Level
    ) -> None:
        """Send events of a watch, once they have reached a level."""
        self.rest_on(level)
        self.reply((request_id, "EVENT", events, missed))

    # What a crowd calls

    def takes_whole(self) -> bool:
        """Whether a frame may be answered that comes whole, without what came before it."""
        return not (self.is_held or self.is_closing) and self._inbox.takes_whole()

    def receive(self, data: bytes) -> None:
        """Answer what is whole with the next bytes. The engine's turn has begun."""
        self.handle(self._inbox.take(data))
        if self._inbox.rest:
            self._handle_more()

    def note_whole(self, data: bytes) -> None:
        """Log a read that was decoded elsewhere: a whole frame, of a session that takes one."""
        if self._inbox.tap is not None:
            self._inbox.tap.received_whole(data)

    def answer_with(self, frames: bytes, level: Level, *, shows_messages: bool) -> None:
        """Put replies that were made elsewhere with those that leave at the end of the turn.

        Args:
            frames: whole frames.
            level: which they are to reach.
            shows_messages: whether there are messages in them.
        """
        outbox = self.outbox
        self._add_frames(frames)
        outbox.level = max(outbox.level, level)
        outbox.shows_messages |= shows_messages

    # What the server calls

    def flush(self) -> None:
        """Send what may leave of this turn's replies; the engine's turn has just ended."""
        self._send(*self.outbox.take_turn())

    def _send(self, data: Output, logged: Output) -> None:
        """Send what may leave, and hold if too much may not.

        Args:
            data: what may leave now.
            logged: as what it is logged.
        """
        outbox = self.outbox
        if data and not self._transport.is_closing():
            tap = self._inbox.tap
            if tap is not None:
                tap.sent(logged)
                self._look_at_log(tap.log)
            if isinstance(data, list):
                self._transport.writelines(data)
            else:
                self._transport.write(data)
            if outbox.leases and outbox.is_empty:
                outbox.leases.clear()
        if outbox.size_bytes:
            self._server.waiting.add(self)
        elif self.is_closing:
            self._transport.close()
        elif self.on_all_sent is not None:
            self._server.loop.call_soon(self.on_all_sent)
            self.on_all_sent = None
        if self._must_wait_for_disk():
            self._server.waiting.add(self)
            if not self._is_journal_behind:
                self._is_journal_behind = True
                self.hold()

    def look_again(self) -> None:
        """Records have come further: send what may leave now, and go on if that was it.

        A turn may be under way: what was added in it is not touched.
        """
        self._send(*self.outbox.take_ready())
        if self._is_journal_behind and not self._must_wait_for_disk():
            self._is_journal_behind = False
            self.engine.begin_turn()
            self.go_on()

    def break_off(self, error: CodedError) -> None:
        """Say why, with a frame of the server's own, and close when all has been sent."""
        waiting = self._server.crowd.leave(self)
        if waiting and not self.is_closing:  # it came before that
            self.engine.begin_turn()
            self.receive(waiting)
        if self.is_closing:
            return
        self.reply((0, "ERR", error.code.name, error.message, error.details))
        self.is_closing = True
        self._backlog = []
        self._inbox.forget()
        self.pending.forget_all()  # nothing may be delivered to it any more
        self.watches.end_all()
        self._server.end_turn()
        self._reader_watch.begin(CLOSE_SECONDS)

    @property
    def unsent_bytes(self) -> int:
        """What was written and the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._transport.abort()

    # What its identity calls

    def hold(self) -> None:
        """Let frames wait, and read no more."""
        self.is_held = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Answer the backlog, and read again if nothing holds the session after that."""
        self.is_held = self._must_wait()
        if not self.is_held and not self.is_closing:
            frames, self._backlog = self._backlog, []
            self.handle(frames)
            if self._inbox.rest:
                self._handle_more()
            if not self._must_wait() and not self._transport.is_closing():
                self._transport.resume_reading()
        self._server.end_turn()

    def reply(self, reply: Reply) -> None:
        """Put a reply with those that leave at the end of the turn."""
        outbox = self.outbox
        if not outbox.parts:
            self._server.unflushed.append(self)
        pieces = spliced(reply, self._pack) if self._server.may_splice else []
        if pieces:
            outbox.add_pieces(pieces)
        else:
            outbox.add(self._pack(reply))

    def reply_alone(self, reply: Reply) -> None:
        """Put a reply that may hold what is not to be logged into a turn that has no others."""
        self.reply(reply)
        kind = type(reply[2]) if len(reply) > 2 else None
        if kind is bytes or kind is Untold:  # a piece of a backup, or of the frame log itself
            bodiless = without_bodies((*reply[:2], bytes(reply[2]), *reply[3:]))
            self.outbox.logged_as = kind(FrameWriter().encode(bodiless))
        elif (shown := loggable(reply)) is not None:
            self.outbox.logged_as = FrameWriter().encode(shown)

    def fail(self, frame: Frame, cause: Exception) -> None:
        """Answer a request that met a bug, or an array that is no request at all."""
        try:
            _, request_id = check_envelope(frame)
        except StreamError as error:
            self.break_off(error)
            return
        _logger.error(
            "internal error in connection %d from %s, request %d",
            self.number,
            self.peer,
            request_id,
            exc_info=cause,
        )
        message = "the server failed while handling the request; its log says more"
        self.reply((request_id, "ERR", Code.INTERNAL.name, message, {}))

    def refuse_pending(self, error: CodedError) -> None:
        """Answer all that is under way with a refusal, and end it."""
        self.pending.refuse_all(error)
        for request_id in self.watches:
            self.reply(error_reply(request_id, error))
        self.watches.end_all()
        if self.backup is not None:
            self.backup.close()
            self.backup = None

    def let_in(self, user: str) -> None:
        """Take frames of the full size from now on; they are logged as this user's."""
        self._inbox.let_in(user, self._server.limits.max_frame_bytes)

    # Inside

    def handle(self, frames: list[Frame]) -> None:
        """Answer frames, as far as they may be answered now."""
        if self.is_held:
            self._backlog = joined(self._backlog, frames) if self._backlog else frames
            return
        if len(frames) == 1:  # as of a client that waits for each reply
            self._answer_one(frames[0])
            answered = 1
        else:
            answered = self._answer(frames) if frames else 0
        if self._is_unanswered:
            self._is_unanswered = False
            answered -= 1
        self._server.meters.frames += answered
        if self.is_closing:
            return
        if answered < len(frames):
            self._backlog = frames.rest(answered) if type(frames) is Frames else frames[answered:]
            if not self.is_held:  # its share of the turn is used up
                self._go_on_soon()
        elif self._inbox.error is not None and not self.is_held:
            self.break_off(self._inbox.error)

    def _handle_more(self) -> None:
        """Answer what else was read, as long as the turn lasts."""
        ends_at = monotonic() + TURN_SECONDS
        while self._inbox.rest and not (self.is_held or self.is_closing):
            if monotonic() > ends_at:
                self._go_on_soon()
            else:
                self.handle(self._inbox.take_more())

    def _go_on_soon(self) -> None:
        """Let others have their turn, and read no more until then."""
        self._next_turn = self._server.loop.call_soon(self._take_turn)
        self.hold()

    def _answer(self, frames: list[Frame]) -> int:
        """Answer frames in order until one has to wait; return how many were answered."""
        limits, outbox = self._server.limits, self.outbox
        end = min(len(frames), limits.max_frames_per_turn)
        max_unsent = limits.max_unsent_bytes
        self._is_share_used = False
        ends_at = monotonic() + TURN_SECONDS
        answered = run_from = 0
        while answered < end:
            done = 0
            if run_from <= answered <= end - LEAST_RUN:
                done = self._answer_run(frames, answered, end)
                run_from = answered + (done or RUN_PAUSE)
            if not done:
                self._answer_one(frames[answered])
            answered += done or 1
            is_over = outbox.size_bytes > max_unsent or (
                (done or not answered & 15) and monotonic() > ends_at
            )
            if is_over or self.is_held or self._is_share_used or self.is_closing:
                break
        return answered

    def _answer_one(self, frame: Frame) -> None:
        """Answer a frame, unless its reply comes later."""
        try:
            verb, request_id = frame[0], frame[1]
            if type(request_id) is not int or not 0 < request_id <= MAX_REQUEST_ID:
                check_envelope(frame)
            reply = self.identity.handlers.get(verb, refuse)(self, request_id, frame)
        except CodedError as error:
            self._refuse(frame, error)
        except Exception as error:  # noqa: BLE001  a bug costs one request, not the server
            self.fail(frame, error)
        else:
            if reply is not None:
                self.reply(reply)

    def _answer_run(self, frames: list[Frame], start: int, end: int) -> int:
        """Answer the run that begins with a frame, if one does; return how many were answered."""
        count, replies = carry_out(self, frames, start, end)
        if count:
            self._add_frames(replies)
        return count

    def _add_frames(self, frames: bytes) -> None:
        """As `reply`, for replies that are whole frames already."""
        if not self.outbox.parts:
            self._server.unflushed.append(self)
        self.outbox.add_frames(frames)

    def _refuse(self, frame: Frame, error: CodedError) -> None:
        """Answer a request that cannot be carried out."""
        self._server.meters.errors += 1
        if isinstance(error, StreamError):
            self.break_off(error)
        else:
            self.reply(refusal(frame, error))

    def _wait_over(self, request_id: int, outcome: Results | CodedError, level: Level) -> None:
        if isinstance(outcome, CodedError):
            self.reply(error_reply(request_id, outcome))
            return
        if outcome is not NO_MESSAGES:
            self.outbox.shows_messages = True
            if len(outcome) > 3:
                self.outbox.leases.append(outcome[3])
        self.rest_on(level)
        self.reply((request_id, "OK", *outcome))

    def _task_over(self, request_id: int, task: asyncio.Task[Outcome]) -> None:
        self._server.end_turn()  # so that a turn begins in which nobody else has a reply
        self.engine.begin_turn()
        try:
            results = task.result()
            if callable(results):
                results = results()
        except CodedError as error:
            self.reply(error_reply(request_id, error))
        except Exception as error:  # noqa: BLE001  as in _answer
            self.fail(("", request_id), error)
        else:
            self.reply_alone((request_id, "OK", *results))
        self._server.end_turn()

    def _must_wait(self) -> bool:
        """Tell whether something holds the session."""
        return (
            self._is_unread
            or self._is_log_behind
            or self._is_journal_behind
            or self.identity.is_asked
            or self._next_turn is not None
        )

    def _look_at_log(self, log: FrameLog) -> None:
        """Hold if the frame log is behind."""
        if log.is_behind and not self._is_log_behind:
            self._is_log_behind = True
            self.hold()
            log.when_caught_up(self._log_caught_up)

    def _must_wait_for_disk(self) -> bool:
        """Tell whether too much of this session's, or of everybody's, waits for the disk."""
        max_unsent = self._server.limits.max_unsent_bytes
        return self.outbox.size_bytes > max_unsent or self.engine.is_behind

    def _log_caught_up(self) -> None:
        self._is_log_behind = False
        self.engine.begin_turn()
        self.go_on()

    def _take_turn(self) -> None:
        self._next_turn = None
        self.engine.begin_turn()
        self.go_on()
