"""The server: listens, keeps the sessions, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import resource
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqd.clock import Clock  # noqa: TC001  the compiled form looks it up
from mqd.form import IS_COMPILED
from mqd.net.busy_poll import BusyPoll, poll_seconds
from mqd.net.crowd import Crowd
from mqd.net.meters import Meters
from mqd.net.refusals import Refusals
from mqd.net.session import CLOSE_SECONDS, Session
from mqd.net.tap import new_tap
from mqd.net.ticker import Ticker
from mqwire import PROTOCOL_VERSION, __version__
from mqwire.codes import Code
from mqwire.errors import StreamError
from mqwire.frames import FrameWriter
from mqwire.levels import Level
from mqwire.limits import MAX_LEASE_SECONDS, MAX_MESSAGES_PER_FRAME
from mqwire.packs import PackChecker

if TYPE_CHECKING:
    from pathlib import Path

    from mqd.config import Config
    from mqd.core.standings import Standing
    from mqd.engine.base import Engine
    from mqd.net.frame_log import FrameLog
    from mqd.net.tap import Tap

_logger = logging.getLogger("mqd.server")

BACKLOG: Final = 1024
"""Connections that the kernel holds until they are accepted."""

DISK_SECONDS: Final = 10.0
"""How long a stop waits for a disk that is slow, so that replies may leave."""

SPARE_FILES: Final = 64
"""File descriptors kept for everything that is not a connection."""


class WhoIs(Protocol):
    """Tells who somebody is. A `CodedError` refuses; see `mqd.net.authenticator`."""

    async def authenticate(self, credentials: dict[str, str]) -> Standing:
        """Return what credentials give."""

    async def check(self, name: str, password: str) -> Standing | None:
        """Return what a password gives its user; None if it is another's."""

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""


@dataclass(frozen=True)
class Services:
    """What a server works with, made by the composition root.

    Args:
        engine: carries commands out.
        clock: the engine's clock.
        authenticator: tells whose credentials these are.
        frame_log: where frames are logged, or None for nowhere.
    """

    engine: Engine
    clock: Clock
    authenticator: WhoIs
    frame_log: FrameLog | None


class Server:
    """Serves clients on the running event loop.

    Args:
        config: what to listen on, and the limits.
        services: see `Services`.
    """

    def __init__(self, config: Config, services: Services) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = services.engine
        self.limits = config.limits
        self.auth_timeout_seconds = config.auth.timeout_seconds
        self.grace_seconds = config.leases.grace_seconds
        self.pack = FrameWriter().pack
        self.pack_checker = PackChecker()
        self.unflushed: list[Session] = []
        """Sessions with replies that leave at the end of the turn."""
        self.waiting: set[Session] = set()
        """Sessions that wait for records to come further."""
        self.failed = asyncio.Event()
        """Set when the engine cannot keep promises any more: nothing is answered from then on."""
        self._config = config
        self.authenticate = services.authenticator.authenticate
        self.check_password = services.authenticator.check
        self.hash_password = services.authenticator.hash
        longest = config.auth.max_token_seconds
        self.token_seconds = (min(config.auth.token_seconds, longest), longest)
        self.finish_seconds = config.auth.finish_seconds
        self.finishing: set[Session] = set()
        """Sessions whose credentials have ended, and which hold something yet."""
        self._frame_log = services.frame_log
        self.frame_tail = services.frame_log.tail if services.frame_log is not None else None
        self.engine.on_progress = self._progressed
        engine = self.engine
        self.meters = Meters(lambda: (engine.pushed, engine.pulled))
        self.crowd = Crowd(
            engine, self.pack_checker.check, config.limits.max_body_bytes, self.meters
        )
        """Reads of several sessions that are answered together."""
        self.may_splice = type(self.loop).__module__.partition(".")[0] == "uvloop"
        """Whether what leaves in pieces is as good as in one; see `mqd.net.splicing`."""
        self.refusals = Refusals(self.loop)
        self._ticker = Ticker(self.engine, self.loop, services.clock.now_ms, self.end_turn)
        self._busy_poll = BusyPoll(
            self.loop, poll_seconds(config.server.busy_poll_seconds), self.waiting
        )
        self._turn_end: asyncio.Handle | None = None
        self._standings_look: asyncio.Handle | None = None
        self._sessions: set[Session] = set()
        self._all_gone = asyncio.Event()
        self._last_number = 0
        self._listeners: list[asyncio.AbstractServer] = []
        self._socket_path: Path | None = None
        self._max_connections = _max_connections(config.limits.max_connections)

    async def start(self) -> list[str]:
        """Begin to listen.

        Returns:
            The URLs that clients reach the server at, without credentials.

        Raises:
            OSError: an address cannot be had; nothing listens then.
        """
        wanted = self._config.server
        urls = []
        try:
            socket_path = self._config.unix_socket_path
            if socket_path is not None:
                urls.append(await self._listen_unix(socket_path.absolute()))
            # Its sockets are a tuple with asyncio, and a list with uvloop.
            listener: Any = await self.loop.create_server(
                self._new_session, wanted.host, wanted.port, backlog=BACKLOG
            )
            self._listeners.append(listener)
            for each in listener.sockets:
                _notice_lost_hosts(each)
        except socket.gaierror as error:
            self.close_listeners()
            sentence = f"server.host is '{wanted.host}', which is no address of this machine"
            raise OSError(errno.EADDRNOTAVAIL, f"{sentence} ({error.strerror})") from error
        except OSError:
            self.close_listeners()
            raise
        self.meters.start(self.loop)
        self._ticker.arm()  # holders of before the start may never come back
        for listening in listener.sockets:
            urls += _reachable_urls(listening.getsockname())
        return urls

    async def stop(self) -> None:
        """Stop listening, tell the clients, and close what they leave open."""
        self.close_listeners()
        self._ticker.stop()
        self._busy_poll.stop()
        self.meters.stop()
        self.refusals.stop()
        going = StreamError(Code.SHUTTING_DOWN, "the server is stopping; try again when it is back")
        for session in list(self._sessions):
            session.break_off(going)
        if self._sessions:
            self._all_gone.clear()
            await self._await_sessions(CLOSE_SECONDS)
            for session in list(self._sessions):
                if session.outbox.is_empty or self.failed.is_set():
                    session.abort()
            await self._await_sessions(DISK_SECONDS)  # what the disk still owes to others
            for session in list(self._sessions):
                session.abort()

    async def _await_sessions(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            if self._sessions:
                await asyncio.wait_for(self._all_gone.wait(), seconds)

    def close_listeners(self) -> None:
        """Accept no further connections."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
            self._socket_path = None

    # What sessions call

    def register(self, session: Session, transport: asyncio.Transport) -> tuple[str, Tap | None]:
        """Take a session in, or turn it away if there are too many.

        Returns:
            The client's address, and the tap for the frame log if there is one.
        """
        self._sessions.add(session)
        self.meters.opened += 1
        peer = _address(transport.get_extra_info("peername"), session.number)
        local = _address(transport.get_extra_info("sockname"), 0)
        tap = None
        if self._frame_log is not None:
            tap = new_tap(self._frame_log, session.number, peer, local)
        return peer, tap

    @property
    def has_one_session(self) -> bool:
        """Whether there is nobody to wait for."""
        return len(self._sessions) == 1 and not self.crowd.waits

    def has_room(self) -> bool:
        """Tell whether the sessions, the newest included, are as many as there may be."""
        return len(self._sessions) <= self._max_connections

    @property
    def max_connections(self) -> int:
        """How many connections there may be."""
        return self._max_connections

    def unregister(self, session: Session) -> None:
        """Let a session go."""
        self._sessions.discard(session)
        self.waiting.discard(session)
        self.finishing.discard(session)
        if not self._sessions:
            self._all_gone.set()

    def welcome(self, standing: Standing) -> dict[str, Any]:
        """Make what AUTH answers."""
        limits = self.limits
        return {
            "user": standing.name,
            "role": standing.role.word,
            "is_managed": self.engine.accounts.user(standing.name) is not None,
            "token_id": standing.token_id or None,
            "expires_at": standing.expires_ms / 1000 if standing.expires_ms else None,
            "server": "mqd",
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "durability": self.engine.level.word,
            "grace_seconds": self.grace_seconds,
            "limits": {
                "max_frame_bytes": limits.max_frame_bytes,
                "max_body_bytes": limits.max_body_bytes,
                "max_messages_per_frame": MAX_MESSAGES_PER_FRAME,
                "max_lease_seconds": MAX_LEASE_SECONDS,
            },
        }

    def stats(self, *, has_places: bool = False) -> dict[str, Any]:
        """Return what STATS answers.

        Args:
            has_places: whether to tell where on the disk something is, too.
        """
        log = self._frame_log
        meters = self.meters
        parts = self.engine.stats()
        return {
            "server": {
                "version": __version__,
                "compiled": IS_COMPILED,
                "started_at": meters.started_at,
                "uptime_seconds": meters.uptime_seconds,
                "epoch": self.engine.epoch,
            },
            "connections": {
                "open": len(self._sessions),
                "limit": self._max_connections,
                "opened": meters.opened,
                "refused": meters.refused,
            },
            "requests": {**meters.totals()._asdict(), "errors": meters.errors},
            "rates": meters.rates(),
            "frame_log": None if log is None else log.figures(has_places=has_places),
            **parts,
        }

    def end_turn_soon(self) -> None:
        """End the turn when all that has come by now is handled: they share one commit.

        With 50 clients that each wait for a sync this is worth a factor of 1.8; where there
        is one client alone there is nothing to share.
        """
        if len(self._sessions) == 1:
            self.end_turn()
        elif self._turn_end is None:
            self._turn_end = self.loop.call_soon(self._end_round)
        self._busy_poll.heard()

    def _end_round(self) -> None:
        """Answer those who have waited for each other, and end the turn."""
        self._turn_end = None
        if self.crowd.waits:
            self.engine.begin_turn()
            self.crowd.answer()
        self.end_turn()

    def end_turn(self) -> None:
        """Hand on what the turn has changed, send what may leave, look at the next deadline."""
        if self._turn_end is not None and not self.crowd.waits:
            self._turn_end.cancel()
            self._turn_end = None
        if self.engine.views.has_listeners:
            self.engine.views.tell()
        unflushed = self.unflushed
        # Whoever ends with a change of accounts is to end before that is answered.
        is_alone = not (self.waiting or self.engine.accounts.has_changed)
        if len(unflushed) == 1:
            session = unflushed.pop()
            self.engine.end_turn(session.outbox.level, is_alone=is_alone)
            session.flush()
        else:
            levels = {session.outbox.level for session in unflushed} or {Level.ACCEPTED}
            is_alone = is_alone and len(levels) == 1  # others would wait for what they do not need
            self.engine.end_turn(max(levels), is_alone=is_alone)
        while unflushed:
            unflushed.pop().flush()
        self._ticker.arm_soon()
        if self.finishing or self.engine.accounts.has_changed:
            self._look_at_standings_soon()

    # Inside

    def _look_at_standings_soon(self) -> None:
        """Once the turn is over: whoever stands on nothing any more is to end."""
        if self._standings_look is None:
            self._standings_look = self.loop.call_soon(self._look_at_standings)

    def _look_at_standings(self) -> None:
        accounts = self.engine.accounts
        self.engine.begin_turn()
        try:
            for session in list(self.finishing):
                session.identity.close_if_done()
            if accounts.has_changed:
                accounts.has_changed = False
                for session in list(self._sessions):
                    identity = session.identity
                    standing = identity.standing
                    is_over = standing is not None and not accounts.holds(standing)
                    if is_over and identity.finishing is None:
                        identity.end_standing()
            self.end_turn()
        finally:
            self._standings_look = None

    def _progressed(self) -> None:
        """Records have come further: whoever has waited for that looks again."""
        if self.engine.failure is not None:
            self._fail()
            return
        for session in list(self.waiting):
            self.waiting.discard(session)
            try:
                session.look_again()
            except Exception:  # a bug costs one connection, not all that come after it
                _logger.exception("internal error in connection %d", session.number)
                session.abort()

    def _fail(self) -> None:
        """End every connection without a word: no OK may leave any more."""
        if not self.failed.is_set():
            self.failed.set()
            self.close_listeners()
            for session in list(self._sessions):
                session.abort()

    def _new_session(self) -> Session:
        self._last_number += 1
        return Session(self, self._last_number)

    async def _listen_unix(self, path: Path) -> str:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale_socket(path)
        before = os.umask(0o177)  # a socket for its owner alone from the first moment
        try:
            listener = await self.loop.create_unix_server(
                self._new_session, str(path), backlog=BACKLOG
            )
        finally:
            os.umask(before)
        self._listeners.append(listener)
        self._socket_path = path
        return f"mq+unix://{path}"


def _notice_lost_hosts(listener: Any) -> None:
    """Have the kernel end connections of a listener whose other host has gone silently.

    Those that it accepts inherit this. It takes 45 s, and sees hosts, not processes.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _remove_stale_socket(path: Path) -> None:
    """Remove the socket of a server that is gone.

    Raises:
        OSError: somebody answers at it, or it is no socket.
    """
    if not path.exists():
        return
    if not path.is_socket():
        raise FileExistsError(f"'{path}' exists and is no socket; remove it or name another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # a listener that is busy, or somebody else's: not ours to remove
    raise FileExistsError(f"a running server listens at '{path}'; name another socket")


def _max_connections(wanted: int) -> int:
    """Return how many connections there may be, given the process's own limit of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    possible = soft - SPARE_FILES
    if possible < wanted:
        _logger.warning(
            "limits.max_connections is %d, but this process may open %d files: "
            "%d connections are the most (see ulimit -n)",
            wanted,
            soft,
            possible,
        )
    return min(wanted, possible)


def _reachable_urls(address: Any) -> list[str]:
    """Return URLs for a listening address; a wildcard is reached by the machine's name."""
    host, port = address[0], address[1]
    if ipaddress.ip_address(host).is_unspecified:
        loopback = "[::1]" if ":" in host else "127.0.0.1"
        return [f"mq://{socket.gethostname()}:{port}", f"mq://{loopback}:{port}"]
    return [f"mq://[{host}]:{port}" if ":" in host else f"mq://{host}:{port}"]


def _address(address: Any, number: int) -> str:
    """Return an address as text; the client's end of a Unix socket has only its number."""
    if isinstance(address, tuple):
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{address or number}"
