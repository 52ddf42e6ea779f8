"""The composition root: config in, a serving process, an exit code out. Floor 4.

Order of starting: address file looked at, the data directory locked and its state
recovered, journal, frame log, sockets, address file written, the line that says so, word
to the supervisor. Order of stopping: word to the supervisor, no new connections, the
clients are told, the address file goes, a last snapshot, the journal synced, the frame log
written out. A second signal hurries it: the snapshot is left out. Clients are waited for as
`mqd.net.server` says, the disk as long as it takes.

A server whose journal cannot be written ends at once and answers nothing more.
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import logging
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mqd import form
from mqd.address_file import AddressFile, own_address
from mqd.config import ConfigError, Problem
from mqd.engine.durable import Durable
from mqd.engine.local import LocalEngine, Settings
from mqd.net.authenticator import Authenticator
from mqd.net.frame_log import FrameLog
from mqd.net.server import Server, Services
from mqd.notify import READY, STOPPING, notify_supervisor
from mqd.passwords import PasswordChecker, Tokens, new_token
from mqd.state import counted, open_state
from mqwire import __version__
from mqwire.address import is_loopback
from mqwire.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.config import Config
    from mqd.engine.base import Engine
    from mqd.state import State

_logger = logging.getLogger("mqd")

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

COLLECTOR_THRESHOLDS: Final = (5_000, 3, 1_000_000)
"""New objects until the youngest are looked at, rounds of that until those a little older are,
and so on; the last is as good as never."""

FAILED_SECONDS: Final = 0.8
"""How long a server whose journal has failed may take to end."""


def serve(config: Config, *, dev: bool) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    Args:
        config: sound and complete.
        dev: whether the well-known users of `--dev` are in it; only said, not judged here.

    Returns:
        The exit code.

    Raises:
        AddressFileError: another server uses the address file, or it cannot be written.
        ConfigError: the event loop that is asked for is not there.
        OSError: an address, a directory or a file cannot be had.
        StorageError: the data directory cannot be used, or not any more.
    """
    logging.basicConfig(
        level=config.server.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    make_loop = _loop_factory(config.server.loop)
    address_file, stale = None, None
    if config.address_file_path is not None:
        address_file = AddressFile(config.address_file_path)
        stale = address_file.check_free()
    state = open_state(config)
    _spare_collector()
    loop = make_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_Process(config, state, address_file, stale, dev).run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return EXIT_OK


def _spare_collector() -> None:
    """Let the garbage collector look at young objects alone.

    Looking at a million leases would stop the loop for hundreds of milliseconds, and find
    nothing: what has grown old here is state, and sessions leave no cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop; `auto` is uvloop where that can be imported."""
    if name != "asyncio":
        try:
            import uvloop  # noqa: PLC0415  not there on every platform
        except ImportError:
            if name == "uvloop":
                sentence = "it is 'uvloop', which cannot be imported here; take 'auto' or 'asyncio'"
                raise ConfigError([Problem("server.loop", sentence)]) from None
            _logger.warning("uvloop cannot be imported; serving on plain asyncio, which is slower")
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop


@dataclass
class _Process:
    """One run of the server."""

    config: Config
    state: State
    address_file: AddressFile | None
    stale: str | None
    """What is said of the address file that a crash has left, once it is replaced."""
    is_dev: bool

    async def run(self) -> None:
        """Start, wait for a signal or for a failure, stop."""
        hurry = asyncio.Event()
        stop = _stop_event(hurry)
        async with AsyncExitStack() as stack:
            checker = PasswordChecker()
            stack.callback(checker.close)
            frame_log = self._make_frame_log(stack)
            engine = self._make_engine(stack, hurry)
            users = self.config.auth.users_by_name
            authenticator = Authenticator(users, checker, Tokens(), engine.accounts)
            self._begin_accounts(engine, authenticator)
            services = Services(engine, self.state.clock, authenticator, frame_log)
            server = Server(self.config, services)
            urls = await server.start()
            try:
                self._announce(stack, urls, engine, authenticator)
                notify_supervisor(READY)
                await _first_of(stop, server.failed)
                if server.failed.is_set():
                    self._end_soon(server.engine.failure)
                    _logger.info("stopping")
                notify_supervisor(STOPPING)
            finally:
                await server.stop()
                self._tell_loss(server.engine)
        _logger.info("stopped")

    def _make_frame_log(self, stack: AsyncExitStack) -> FrameLog | None:
        config, loop = self.config, asyncio.get_running_loop()
        if config.frame_log.level == "off":
            return None
        frame_log = FrameLog(config.frame_log_path, __version__, loop, config.frame_log)
        stack.callback(frame_log.close)
        return frame_log

    def _begin_accounts(self, engine: LocalEngine, authenticator: Authenticator) -> None:
        """Tell the accounts who is managed elsewhere, and end what rested on others."""
        if self.address_file is not None:
            authenticator.add_owner(_owner_name())
        engine.begin_turn()
        for name in engine.accounts.begin():
            _logger.warning(
                "the user '%s' was added while the server served, and stands in the "
                "configuration too, which comes first: one of the two cannot come in",
                name,
            )
        engine.end_turn(engine.level)

    def _make_engine(self, stack: AsyncExitStack, hurry: asyncio.Event) -> LocalEngine:
        config, state = self.config, self.state
        if isinstance(state.storage, Durable):
            state.storage.start(asyncio.get_running_loop())
            stack.push_async_callback(state.storage.stop, hurry)
        return LocalEngine(
            state.broker,
            state.storage,
            state.clock.now_ms,
            Settings(
                max_frame_bytes=config.limits.max_frame_bytes,
                level=LEVELS[config.storage.durability],
                grace_ms=round(1000 * config.leases.grace_seconds),
                epoch=state.storage.epoch,
            ),
        )

    def _announce(
        self,
        stack: AsyncExitStack,
        urls: list[str],
        engine: Engine,
        authenticator: Authenticator,
    ) -> None:
        """Write the address file and say that the server serves."""
        if self.address_file is not None:
            token = new_token()
            authenticator.let_owner_in(_owner_name(), token)
            if self.stale is not None:
                _logger.warning("%s", self.stale)
            self.address_file.write(own_address(urls, token))
            stack.callback(self.address_file.remove)
            _logger.info("clients of this user find the server by %s", self.address_file.path)
        self._warn(engine)
        _logger.info(
            "mqd %s%s serves at %s; state is kept in %s, frames are logged to %s%s",
            __version__,
            form.WORDS,
            ", ".join(urls),
            self.config.storage_path if self.config.storage.journal else "memory alone",
            "nowhere" if self.config.frame_log.level == "off" else self.config.frame_log_path,
            "; --dev: passwords are well known" if self.is_dev else "",
        )

    def _end_soon(self, failure: Exception | None) -> None:
        """Say why it ends, and make sure that it does, whatever else hangs on that disk."""
        _logger.critical("%s", failure)
        watchdog = threading.Timer(FAILED_SECONDS, os._exit, (EXIT_FAILED,))
        watchdog.daemon = True
        watchdog.start()

    def _tell_loss(self, engine: Engine) -> None:
        """Say what ends with the process."""
        if self.config.storage.journal:
            return
        left = [info for info in engine.infos("*") if info["ready"]]
        if left:
            _logger.warning(
                "lost with the process, since storage.journal is false: %s in %s",
                counted(sum(info["ready"] for info in left), "message"),
                counted(len(left), "queue"),
            )

    def _warn(self, engine: Engine) -> None:
        """Say what an operator should know and may not have meant."""
        host = self.config.server.host
        if not is_loopback(host):
            _logger.warning(
                "server.host is '%s': passwords and messages cross the network as they are; "
                "use a network that you trust, or 127.0.0.1 and an SSH tunnel",
                host,
            )
        if self.address_file is None and not self.config.auth.users:
            can_come_in = any(not user["is_disabled"] for user in engine.accounts.users("*"))
            _logger.warning(
                "nobody can come in%s: auth.users is empty and there is no address file",
                " but users that were added while the server served" if can_come_in else "",
            )


def _owner_name() -> str:
    """Return what the holder of the address file's token is called."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"


def _stop_event(hurry: asyncio.Event) -> asyncio.Event:
    """Return an event that SIGTERM, SIGINT and SIGHUP (a closed terminal) set.

    The second of them sets `hurry`. SIGHUP stays ignored where it is: that is what nohup does.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        if stop.is_set():
            _logger.info("%s: a second signal, so nothing is waited for that can be left out", name)
            hurry.set()
        else:
            _logger.info("stopping, by %s", name)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number.name)
    return stop


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
