"""Who a session acts as: nobody at first, then whoever its AUTH has shown, as long as that holds.

    expect()                 AUTH is to succeed in time
    authenticate(...)        one is under way; the session is held until it is answered
    end_standing()           what it rested on has ended: it may finish what it holds
    close()                  the session is over

It decides what the session may do (`handlers`) and who it is to its leases (`holder`). It
neither reads nor sends: that is the session's.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mqd.net.account_verbs import issued
from mqd.net.authenticator import auth_failed
from mqd.net.finishing import Finishing, ending
from mqd.net.holder import Holder, Keepalive
from mqd.net.replies import error_reply
from mqd.net.verbs import HANDLERS_BY_ROLE, HANDLERS_FINISHING
from mqwire.codes import Code
from mqwire.errors import CodedError, StreamError

if TYPE_CHECKING:
    import asyncio

    from mqd.core.access import Role
    from mqd.core.standings import Standing
    from mqd.net.server import Server
    from mqd.net.session import Session

_logger = logging.getLogger("mqd.session")


class Identity:
    """Who one session acts as.

    Args:
        session: whose it is.
        server: knows who has which credentials.
    """

    __slots__ = (
        "_claimed",
        "_deadline",
        "_is_closed",
        "_options",
        "_server",
        "_session",
        "_task",
        "finishing",
        "handlers",
        "holder",
        "keepalive",
        "role",
        "standing",
        "user",
    )

    def __init__(self, session: Session, server: Server) -> None:
        self.standing: Standing | None = None
        """Who it is, and what that rests on."""
        self.role: Role | None = None
        self.user: str | None = None
        self.handlers = HANDLERS_BY_ROLE[None]
        """What it may do."""
        self.holder: Holder | None = None
        """Who it is to leases; known once it has authenticated."""
        self.finishing: Finishing | None = None
        """Its time to finish, once its credentials have ended."""
        self.keepalive: Keepalive | None = None
        """Is told when something has been heard; there if the client has promised that."""
        self._session = session
        self._server = server
        self._task: asyncio.Task[Standing] | None = None
        self._options: dict[str, Any] = {}
        self._claimed = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_asked(self) -> bool:
        """Whether an AUTH is under way, so that nothing else may be answered."""
        return self._task is not None

    def expect(self) -> None:
        """Give the client its time for an AUTH that succeeds."""
        self._deadline = self._server.loop.call_later(
            self._server.auth_timeout_seconds, self._timed_out
        )

    def authenticate(
        self, request_id: int, credentials: dict[str, str], options: dict[str, Any]
    ) -> None:
        """Find out who the client is; the reply comes when that is known."""
        self._task = self._server.loop.create_task(self._server.authenticate(credentials))
        self._options = options
        self._claimed = credentials.get("user", "")
        self._task.add_done_callback(lambda task: self._authenticated(request_id, task))
        self._session.hold()

    def stand_on(self, basis: str) -> None:
        """Stand on something else: who came with a password has shown the next one."""
        assert self.standing is not None
        assert not self.standing.token_id, "a token is all that it stands on"
        self.standing = replace(self.standing, basis=basis)

    def end_standing(self) -> None:
        """Let it finish what it holds, since what it authenticated with has ended.

        One that is detached ends at once: its leases go on without it, and may be others' work.
        The engine's turn has begun.
        """
        if self._session.is_closing or self.role is None:
            return
        self._session.refuse_pending(ending())
        self.handlers = HANDLERS_FINISHING[self.role]
        newest_seq = self._session.engine.jobs.newest_seq()
        seconds = self._server.finish_seconds
        self.finishing = Finishing(self._server.loop, seconds, self._end, newest_seq)
        self._server.finishing.add(self._session)
        self.close_if_done()

    def close_if_done(self) -> None:
        """Close if its credentials have ended and it holds nothing of what it held then."""
        holder, finishing, jobs = self.holder, self.finishing, self._session.engine.jobs
        assert finishing is not None, "they have ended"
        if holder is None or holder.is_detached or not jobs.holds(holder.who, finishing.newest_seq):
            self._end()

    def close(self) -> None:
        """Cancel what would call back; nothing is to keep a session that has ended."""
        self._is_closed = True
        for timer in (self._deadline, self._task, self.keepalive, self.finishing):
            if timer is not None:
                timer.cancel()
        self._deadline = self.keepalive = self.finishing = None
        del self._session

    def _end(self) -> None:
        message = "what this connection authenticated with is not valid any more"
        self._session.break_off(StreamError(Code.AUTH_ENDED, message))

    def _timed_out(self) -> None:
        seconds = self._server.auth_timeout_seconds
        self._session.break_off(
            StreamError(Code.AUTH_TIMEOUT, f"no AUTH has succeeded within {seconds:g} s")
        )

    def _authenticated(self, request_id: int, task: asyncio.Task[Standing]) -> None:
        """Reply to AUTH and go on with what came after it."""
        if task.cancelled() or self._is_closed or self._session.is_closing:
            return
        session, server = self._session, self._server
        server.end_turn()
        if not session.outbox.is_empty:  # replies to somebody who is not this user yet
            session.on_all_sent = lambda: self._authenticated(request_id, task)
            return
        self._task = None
        session.engine.begin_turn()
        try:
            standing = self._valid(task.result())
            welcome = server.welcome(standing)
            asked = self._options.get("issue")
            if asked is not None:
                welcome["token"] = issued(session, standing, asked)
        except CodedError as error:
            if error.code is Code.AUTH_FAILED:
                client = self._options.get("client", "")
                server.refusals.note(session.number, session.peer, client, self._claimed)
            session.reply(error_reply(request_id, error))
        except Exception as error:  # noqa: BLE001  a bug costs one request, not the server
            session.fail(("AUTH", request_id), error)
        else:
            level = session.outbox.level
            self._adopt(standing)
            session.rest_on(level)
            session.reply_alone((request_id, "OK", welcome))
            server.end_turn()
            session.engine.begin_turn()
        session.go_on()

    def _valid(self, standing: Standing) -> Standing:
        """Return what AUTH has found, unless it has ended meanwhile."""
        if not self._session.engine.accounts.holds(standing):
            raise auth_failed()
        return standing

    def _adopt(self, standing: Standing) -> None:
        session, server = self._session, self._server
        session.pending.wake_all()  # what it waits for it asked as somebody else
        session.watches.end_all()
        self.standing, self.role, self.user = standing, standing.role, standing.name
        self.handlers = HANDLERS_BY_ROLE[standing.role]
        if self.finishing is not None:
            self.finishing.cancel()
            self.finishing = None
            server.finishing.discard(session)
        if self._deadline is not None:
            self._deadline.cancel()
        server.end_turn()
        self._become(standing)
        session.let_in(standing.name)

    def _become(self, standing: Standing) -> None:
        """Be a holder of leases, and be watched if the client has promised to be heard."""
        options, session = self._options, self._session
        if self.holder is not None:
            self.holder.leave()
        origin = (session.engine.epoch, session.number)
        self.holder = Holder(session.engine.jobs, standing.name, origin, session.peer, options)
        if self.keepalive is not None:
            self.keepalive.cancel()
            self.keepalive = None
        seconds = options.get("keepalive")
        if seconds is not None:
            self.keepalive = Keepalive(
                self._server.loop, seconds, lambda: session.is_held, self._fell_silent
            )

    def _fell_silent(self) -> None:
        _logger.warning(
            "connection %d from %s has not been heard as promised; it is cut off",
            self._session.number,
            self._session.peer,
        )
        self._session.abort()
