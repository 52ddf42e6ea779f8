"""A session: one connection, from its first byte to its last.

Theory of operation. Bytes that come in become frames; each frame is answered at once,
in order, and the replies of a read leave in one write. A session is *held* while frames
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
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from mqd.engine.base import NO_MESSAGES
from mqd.net.account_verbs import issued
from mqd.net.authenticator import auth_failed
from mqd.net.finishing import Finishing, ending
from mqd.net.holder import Holder, Keepalive
from mqd.net.outbox import Outbox
from mqd.net.pending import Pending
from mqd.net.tap import loggable
from mqd.net.verbs import HANDLERS_BY_ROLE, HANDLERS_FINISHING, refuse
from mqd.net.watches import Watches
from mqwire.codes import Code
from mqwire.errors import CodedError, StreamError
from mqwire.framelog_bodies import without_bodies
from mqwire.frames import Frame, FrameReader, FrameWriter, prefix
from mqwire.limits import (
    MAX_CONTAINER_BYTES,
    MAX_FRAME_BYTES_BEFORE_AUTH,
    MAX_REQUEST_ID,
    PREFIX_BYTES,
)
from mqwire.requests import check_envelope, check_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.core.access import Role
    from mqd.core.standings import Standing
    from mqd.engine.base import Results
    from mqd.net.backups import Backup
    from mqd.net.frame_log import FrameLog
    from mqd.net.pending import Outcome
    from mqd.net.replies import Reply
    from mqd.net.server import Server
    from mqd.net.tap import Tap
    from mqwire.levels import Level

_logger = logging.getLogger("mqd.session")

TURN_SECONDS: Final = 0.002
"""How long one connection's requests are answered before others have their turn."""

CLOSE_SECONDS: Final = 1.0
"""How long a client that is told goodbye may read nothing before it is cut off."""


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
        self.standing: Standing | None = None
        """Who it acts as, and what that rests on."""
        self.finishing: Finishing | None = None
        """Its time to finish, once that has ended."""
        self.role: Role | None = None
        self.user: str | None = None
        self.peer = ""
        self.token_seconds = server.token_seconds
        self.check_password, self.hash_password = server.check_password, server.hash_password
        self._server = server
        self._transport: asyncio.Transport
        self._reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTH, MAX_CONTAINER_BYTES)
        self._handlers = HANDLERS_BY_ROLE[None]
        self._tap: Tap | None = None
        self.outbox = Outbox(server.engine)
        self.backup: Backup | None = None
        """The backup that the client fetches."""
        self.holder: Holder | None = None
        """Who it is to leases; known once it has authenticated."""
        self._keepalive: Keepalive | None = None
        self.pending = Pending(
            server.engine,
            server.loop,
            server.limits.max_waits_per_connection,
            self._wait_over,
            self._task_over,
        )
        self.watches = Watches(server.engine.views)
        self._backlog: list[Frame] = []
        self._auth_task: asyncio.Task[Standing] | None = None
        self._auth_options: dict[str, Any] = {}
        self._next_turn: asyncio.Handle | None = None
        self._is_held = False
        self._is_share_used = False
        self._is_unread = False
        self._is_log_behind = False
        self._is_journal_behind = False
        self._is_closing = False
        self._has_failed_auth = False
        self._auth_over: Callable[[], None] | None = None
        self._auth_deadline: asyncio.TimerHandle | None = None
        self._unread_deadline: asyncio.TimerHandle | None = None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        limits = self._server.limits
        self._transport.set_write_buffer_limits(high=limits.max_unsent_bytes)
        self.peer, self._tap = self._server.register(self, self._transport)
        if self._server.has_room():
            self._auth_deadline = self._server.loop.call_later(
                self._server.auth_timeout_seconds, self._auth_timed_out
            )
        else:
            self._server.meters.refused += 1
            most = self._server.max_connections
            message = f"the server holds {most} connections, which is all it may; try again later"
            self.break_off(StreamError(Code.TOO_MANY_CONNECTIONS, message, {"limit": most}))

    def data_received(self, data: bytes) -> None:
        """Take the next bytes and answer what is whole with them."""
        self.engine.begin_turn()
        if self._keepalive is not None:
            self._keepalive.was_heard = True
        frames = self._reader.feed(data)
        if self._tap is not None:
            self._tap.received(data, frames, self._reader.leftover_bytes)
        self._handle(frames)
        self._server.end_turn_soon()

    def pause_writing(self) -> None:
        """Hold: the client does not read what it is sent."""
        self._is_unread = True
        self._hold()
        self.pending.wake_all()
        self._watch_reader(self._server.limits.unsent_timeout_seconds)

    def resume_writing(self) -> None:
        """Go on: the client has read again."""
        self._is_unread = False
        if self._unread_deadline is not None and not self._is_closing:
            self._unread_deadline.cancel()
        self.engine.begin_turn()
        self._go_on()

    def connection_lost(self, _error: Exception | None) -> None:
        """End: the client has gone, or was told to."""
        self._is_closing = True
        self._forget_timers()
        self._backlog.clear()
        self.outbox.clear()
        self.pending.close()
        self.watches.end_all()
        if self.backup is not None:
            self.backup.close()
        self._server.unregister(self)
        if self.holder is not None:
            self.engine.begin_turn()
            self.holder.leave(self.outbox.leases)
            self._server.end_turn_soon()

    def _forget_timers(self) -> None:
        """Cancel what would call back; nothing is to keep a session that has ended."""
        timers = (
            self._auth_deadline,
            self._unread_deadline,
            self._next_turn,
            self._auth_task,
            self._keepalive,
            self.finishing,
        )
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self._auth_deadline = self._unread_deadline = self._next_turn = None
        self._keepalive = self._auth_over = self.finishing = None

    # What verbs call

    def authenticate(
        self, request_id: int, credentials: dict[str, str], options: dict[str, Any]
    ) -> None:
        """Find out who the client is; the reply comes when that is known."""
        self._auth_task = self._server.loop.create_task(self._server.authenticate(credentials))
        self._auth_options = options
        self._auth_task.add_done_callback(lambda task: self._authenticated(request_id, task))
        self._hold()

    def rest_on(self, level: Level) -> None:
        """Hold the reply that follows, and its turn, back until its level is reached."""
        self.outbox.level = max(self.outbox.level, level)

    def use_up_share(self) -> None:
        """Let others have their turn after this request, which is a costly one."""
        self._is_share_used = True

    @property
    def is_slow(self) -> bool:
        """Whether so much waits to be sent, or to be read, that nothing should be added."""
        is_full = self.outbox.size_bytes > self._server.limits.max_unsent_bytes
        return self._is_unread or is_full

    def send_events(
        self, request_id: int, events: list[tuple[Any, ...]], missed: int, level: Level
    ) -> None:
        """Send events of a watch, once they have reached a level."""
        self.rest_on(level)
        self._reply((request_id, "EVENT", events, missed))

    # What the server calls

    def flush(self) -> None:
        """Send what may leave of this turn's replies; the engine's turn has just ended."""
        self.outbox.close_turn()
        self._send()

    def _send(self) -> None:
        """Send what may leave, and hold if too much may not."""
        outbox = self.outbox
        data, logged = outbox.take_ready()
        if data and not self._transport.is_closing():
            if self._tap is not None:
                self._tap.sent(logged)
                self._look_at_log(self._tap.log)
            self._transport.write(data)
            if outbox.leases and outbox.is_empty:
                outbox.leases.clear()
        if not outbox.is_empty:
            self._server.waiting.add(self)
        elif self._is_closing:
            self._transport.close()
        elif self._auth_over is not None:
            self._server.loop.call_soon(self._auth_over)
            self._auth_over = None
        if self._must_wait_for_disk():
            self._server.waiting.add(self)
            if not self._is_journal_behind:
                self._is_journal_behind = True
                self._hold()

    def look_again(self) -> None:
        """Records have come further: send what may leave now, and go on if that was it.

        A turn may be under way: what was added in it is not touched.
        """
        self._send()
        if self._is_journal_behind and not self._must_wait_for_disk():
            self._is_journal_behind = False
            self.engine.begin_turn()
            self._go_on()

    def break_off(self, error: CodedError) -> None:
        """Say why, with a frame of the server's own, and close when all has been sent."""
        if self._is_closing:
            return
        self._reply((0, "ERR", error.code.name, error.message, error.details))
        self._is_closing = True
        self._backlog.clear()
        self.pending.forget_all()  # nothing may be delivered to it any more
        self.watches.end_all()
        self._server.end_turn()
        self._watch_reader(CLOSE_SECONDS)

    def stand_on(self, basis: str) -> None:
        """Stand on something else: the user has shown the same again, in another way."""
        assert self.standing is not None
        self.standing = replace(self.standing, basis=basis, token_id=0, expires_ms=0)

    def end_standing(self) -> None:
        """Let it finish what it holds, since what it authenticated with has ended.

        The engine's turn has begun.
        """
        if self._is_closing or self.role is None:
            return
        error = ending()
        self.pending.refuse_all(error)
        for request_id in self.watches:
            self._reply(_error_reply(request_id, error))
        self.watches.end_all()
        if self.backup is not None:
            self.backup.close()
            self.backup = None
        self._handlers = HANDLERS_FINISHING[self.role]
        self.finishing = Finishing(self._server.loop, self._server.finish_seconds, self._end)
        self._server.finishing.add(self)
        self.close_if_done()

    def close_if_done(self) -> None:
        """Close if its credentials have ended and it holds nothing any more."""
        if self.holder is None or not self.engine.jobs.holds(self.holder.who):
            self._end()

    def _end(self) -> None:
        message = "what this connection authenticated with is not valid any more"
        self.break_off(StreamError(Code.AUTH_ENDED, message))

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._transport.abort()

    # Inside

    def _handle(self, frames: list[Frame]) -> None:
        """Answer frames, as far as they may be answered now."""
        if self._is_held:
            self._backlog += frames
            return
        answered = self._answer(frames) if frames else 0
        self._server.meters.frames += answered
        if self._is_closing:
            return
        if answered < len(frames):
            self._backlog = frames[answered:]
            if not self._is_held:  # its share of the turn is used up
                self._next_turn = self._server.loop.call_soon(self._take_turn)
                self._hold()
        elif self._reader.error is not None and not self._is_held:
            self.break_off(self._reader.error)

    def _answer(self, frames: list[Frame]) -> int:
        """Answer frames in order until one has to wait; return how many were answered.

        The only loop over frames. What `_reply` does stands in it once more, since the
        call would be a tenth of what a frame costs.
        """
        handlers, limits = self._handlers, self._server.limits
        max_unsent, most = limits.max_unsent_bytes, limits.max_frames_per_turn
        pack, outbox = self._server.pack, self.outbox
        out = outbox.parts
        self._is_share_used = False
        ends_at = monotonic() + TURN_SECONDS
        for number, frame in enumerate(frames, 1):
            try:
                verb, request_id = frame[0], frame[1]
                if type(request_id) is not int or not 0 < request_id <= MAX_REQUEST_ID:
                    check_envelope(frame)
                reply = handlers.get(verb, refuse)(self, request_id, frame)
            except CodedError as error:
                self._refuse(frame, error)
            except Exception as error:  # noqa: BLE001  a bug costs one request, not the server
                self._fail(frame, error)
            else:
                if reply is not None:
                    body = pack(reply)
                    if not out:
                        self._server.unflushed.append(self)
                    out.append(prefix(len(body)))
                    out.append(body)
                    outbox.size_bytes += len(body) + PREFIX_BYTES
            is_over = (
                number == most
                or outbox.size_bytes > max_unsent
                or (not number & 15 and monotonic() > ends_at)
            )
            if is_over or self._is_held or self._is_share_used or self._is_closing:
                return number
        return len(frames)

    def _reply(self, reply: Reply) -> None:
        """Put a reply with those that leave at the end of the turn."""
        if not self.outbox.parts:
            self._server.unflushed.append(self)
        self.outbox.add(self._server.pack(reply))

    def _refuse(self, frame: Frame, error: CodedError) -> None:
        """Answer a request that cannot be carried out."""
        self._server.meters.errors += 1
        if isinstance(error, StreamError):
            self.break_off(error)
        else:
            self._reply(_refusal(frame, error))

    def _fail(self, frame: Frame, cause: Exception) -> None:
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
        self._reply((request_id, "ERR", Code.INTERNAL.name, message, {}))

    def _wait_over(self, request_id: int, outcome: Results | CodedError, level: Level) -> None:
        if isinstance(outcome, CodedError):
            self._reply(_error_reply(request_id, outcome))
            return
        if outcome is not NO_MESSAGES:
            self.outbox.shows_messages = True
            if len(outcome) > 3:
                self.outbox.leases.append(outcome[3])
        self.rest_on(level)
        self._reply((request_id, "OK", *outcome))

    def _task_over(self, request_id: int, task: asyncio.Task[Outcome]) -> None:
        self._server.end_turn()  # so that a turn begins in which nobody else has a reply
        self.engine.begin_turn()
        try:
            results = task.result()
            if callable(results):
                results = results()
        except CodedError as error:
            self._reply(_error_reply(request_id, error))
        except Exception as error:  # noqa: BLE001  as in _answer
            self._fail(("", request_id), error)
        else:
            self._reply_alone((request_id, "OK", *results))
        self._server.end_turn()

    def _reply_alone(self, reply: Reply) -> None:
        """Put a reply that may hold what is not to be logged into a turn that has no others."""
        self._reply(reply)
        if len(reply) > 2 and type(reply[2]) is bytes:  # a piece of a backup
            self.outbox.logged_as = FrameWriter().encode(without_bodies(reply))
        elif (shown := loggable(reply)) is not None:
            self.outbox.logged_as = FrameWriter().encode(shown)

    def _authenticated(self, request_id: int, task: asyncio.Task[Standing]) -> None:
        """Reply to AUTH and go on with what came after it."""
        if task.cancelled() or self._is_closing:
            return
        self._server.end_turn()
        if not self.outbox.is_empty:  # replies to somebody who is not this user yet
            self._auth_over = lambda: self._authenticated(request_id, task)
            return
        self._auth_task = None
        self.engine.begin_turn()
        try:
            standing = self._valid(task.result())
            welcome = self._server.welcome(standing)
            asked = self._auth_options.get("issue")
            if asked is not None:
                welcome["token"] = issued(self, standing, asked)
        except CodedError as error:
            self._note_refused_auth(error)
            self._reply(_error_reply(request_id, error))
        except Exception as error:  # noqa: BLE001  as in _answer
            self._fail(("AUTH", request_id), error)
        else:
            level = self.outbox.level
            self._adopt(standing)
            self.rest_on(level)
            self._reply_alone((request_id, "OK", welcome))
            self._server.end_turn()
            self.engine.begin_turn()
        self._go_on()

    def _valid(self, standing: Standing) -> Standing:
        """Return what AUTH has found, unless it has ended meanwhile."""
        if not self.engine.accounts.holds(standing):
            raise auth_failed()
        return standing

    def _note_refused_auth(self, error: CodedError) -> None:
        """Tell the operator, once for each connection: a guesser must not fill the log."""
        if error.code is Code.AUTH_FAILED and not self._has_failed_auth:
            self._has_failed_auth = True
            _logger.warning("AUTH refused in connection %d from %s", self.number, self.peer)

    def _adopt(self, standing: Standing) -> None:
        self.pending.wake_all()  # what it waits for it asked as somebody else
        self.watches.end_all()
        self.standing, self.role, self.user = standing, standing.role, standing.name
        self._handlers = HANDLERS_BY_ROLE[standing.role]
        if self.finishing is not None:
            self.finishing.cancel()
            self.finishing = None
            self._server.finishing.discard(self)
        self._reader.max_frame_bytes = self._server.limits.max_frame_bytes
        if self._auth_deadline is not None:
            self._auth_deadline.cancel()
        self._server.end_turn()
        self._become(standing)
        if self._tap is not None:
            self._tap.identify(standing.name)

    def _become(self, standing: Standing) -> None:
        """Be a holder of leases, and be watched if the client has promised to be heard."""
        options, server = self._auth_options, self._server
        if self.holder is not None:
            self.holder.leave()
        origin = (self.engine.epoch, self.number)
        self.holder = Holder(self.engine.jobs, standing.name, origin, self.peer, options)
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        seconds = options.get("keepalive")
        if seconds is not None:
            self._keepalive = Keepalive(
                server.loop, seconds, lambda: self._is_held, self._fell_silent
            )

    def _fell_silent(self) -> None:
        _logger.warning(
            "connection %d from %s has not been heard as promised; it is cut off",
            self.number,
            self.peer,
        )
        self.abort()

    def _must_wait(self) -> bool:
        """Tell whether something holds the session."""
        return (
            self._is_unread
            or self._is_log_behind
            or self._is_journal_behind
            or self._auth_task is not None
            or self._next_turn is not None
        )

    def _look_at_log(self, log: FrameLog) -> None:
        """Hold if the frame log is behind."""
        if log.is_behind and not self._is_log_behind:
            self._is_log_behind = True
            self._hold()
            log.when_caught_up(self._log_caught_up)

    def _must_wait_for_disk(self) -> bool:
        """Tell whether too much of this session's, or of everybody's, waits for the disk."""
        max_unsent = self._server.limits.max_unsent_bytes
        return self.outbox.size_bytes > max_unsent or self.engine.is_behind

    def _hold(self) -> None:
        self._is_held = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _log_caught_up(self) -> None:
        self._is_log_behind = False
        self.engine.begin_turn()
        self._go_on()

    def _take_turn(self) -> None:
        self._next_turn = None
        self.engine.begin_turn()
        self._go_on()

    def _go_on(self) -> None:
        """Answer the backlog, and read again if nothing holds the session after that."""
        self._is_held = self._must_wait()
        if not self._is_held and not self._is_closing:
            frames, self._backlog = self._backlog, []
            self._handle(frames)
            if not self._must_wait() and not self._transport.is_closing():
                self._transport.resume_reading()
        self._server.end_turn()

    def _auth_timed_out(self) -> None:
        seconds = self._server.auth_timeout_seconds
        self.break_off(
            StreamError(Code.AUTH_TIMEOUT, f"no AUTH has succeeded within {seconds:g} s")
        )

    def _watch_reader(self, seconds: float) -> None:
        """Cut the client off unless it reads some of what was sent to it within `seconds`."""
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
        unsent_bytes = self._transport.get_write_buffer_size()
        self._unread_deadline = self._server.loop.call_later(
            seconds, self._judge_reader, seconds, unsent_bytes
        )

    def _judge_reader(self, seconds: float, unsent_bytes: int) -> None:
        is_disk_slow = not self.outbox.is_empty  # and so there is nothing to read
        if is_disk_slow or self._transport.get_write_buffer_size() < unsent_bytes:
            self._watch_reader(seconds)  # a slow one, and no message of it may be lost
            return
        if not self._is_closing:
            _logger.warning(
                "connection %d from %s reads nothing; it is cut off", self.number, self.peer
            )
        self.abort()


def _refusal(frame: Frame, error: CodedError) -> Reply:
    """Make the reply that refuses a request; a bad name is told before a missing queue."""
    if error.code is Code.QUEUE_NOT_FOUND:
        try:
            check_request(frame)
        except CodedError as earlier:
            error = earlier
    return _error_reply(frame[1], error)


def _error_reply(request_id: int, error: CodedError) -> tuple[Any, ...]:
    return (request_id, "ERR", error.code.name, error.message, error.details)
