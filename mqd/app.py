"""The composition root: config in, a serving process, an exit code out. Floor 4.

Order of starting: address file looked at, frame log, sockets, address file written, the
line that says so. Order of stopping: no new connections, the clients are told, the
address file goes, the frame log is written out. A second signal does not hurry it:
stopping is bounded by `mqd.net.server.CLOSE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mqd.address_file import AddressFile, make_private_directory, own_address
from mqd.clock import Clock
from mqd.config import ConfigError, Problem
from mqd.core.access import Role
from mqd.core.broker import Bounds
from mqd.engine.local import LocalEngine
from mqd.net.authenticator import Authenticator
from mqd.net.frame_log import FrameLog
from mqd.net.server import Server, Services
from mqd.passwords import PasswordChecker, Tokens, User, new_token
from mqwire import __version__
from mqwire.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.config import Config
    from mqd.engine.base import Engine

_logger = logging.getLogger("mqd")

EXIT_OK: Final = 0


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
    """
    logging.basicConfig(
        level=config.server.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    address_file = None
    if config.address_file_path is not None:
        address_file = AddressFile(config.address_file_path)
        stale = address_file.check_free()
        if stale is not None:
            _logger.warning("%s", stale)
    loop = _loop_factory(config.server.loop)()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_Process(config, address_file, is_dev=dev).run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return EXIT_OK


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
    address_file: AddressFile | None
    is_dev: bool

    async def run(self) -> None:
        """Start, wait for a signal, stop."""
        with ExitStack() as stack:
            tokens, checker = Tokens(), PasswordChecker()
            stack.callback(checker.close)
            server = self._make_server(stack, tokens, checker)
            stop = _stop_event()
            urls = await server.start()
            try:
                self._announce(stack, urls, tokens)
                await stop.wait()
                _logger.info("stopping")
            finally:
                await server.stop()
                self._tell_loss(server.engine)
        _logger.info("stopped")

    def _make_server(self, stack: ExitStack, tokens: Tokens, checker: PasswordChecker) -> Server:
        config = self.config
        try:
            make_private_directory(config.storage_path)
        except OSError as error:
            sentence = f"{config.storage_path} cannot be made ({error.strerror})"
            advice = "give another directory with --data-dir"
            raise ConfigError([Problem("storage.path", f"{sentence}: {advice}")]) from error
        frame_log = None
        if config.frame_log.level != "off":
            directory = config.frame_log_path
            loop = asyncio.get_running_loop()
            frame_log = FrameLog(directory, __version__, loop, config.frame_log)
            stack.callback(frame_log.close)
        queues = config.queues
        bounds = Bounds(queues.max_messages, queues.max_bytes, queues.max_queues)
        clock = Clock()
        engine = LocalEngine(bounds, clock.now_ms, config.limits.max_frame_bytes)
        authenticator = Authenticator(config.auth.users_by_name, checker, tokens)
        services = Services(engine, clock, authenticator.authenticate, frame_log)
        return Server(config, services)

    def _announce(self, stack: ExitStack, urls: list[str], tokens: Tokens) -> None:
        """Write the address file and say that the server serves."""
        if self.address_file is not None:
            token = new_token()
            tokens.add(token, User(_owner_name(), Role.ADMIN))
            self.address_file.write(own_address(urls, token))
            stack.callback(self.address_file.remove)
            _logger.info("clients of this user find the server by %s", self.address_file.path)
        self._warn()
        _logger.info(
            "mqd %s serves at %s; state is kept in memory, frames are logged to %s%s",
            __version__,
            ", ".join(urls),
            "nowhere" if self.config.frame_log.level == "off" else self.config.frame_log_path,
            "; --dev: passwords are well known" if self.is_dev else "",
        )

    def _tell_loss(self, engine: Engine) -> None:
        """Say what ends with the process."""
        left = [info for info in engine.infos("*") if info["ready"]]
        if left:
            _logger.warning(
                "%d messages in %d queues are gone: this version keeps its state in memory",
                sum(info["ready"] for info in left),
                len(left),
            )

    def _warn(self) -> None:
        """Say what an operator should know and may not have meant."""
        host = self.config.server.host
        if not is_loopback(host):
            _logger.warning(
                "server.host is '%s': passwords and messages cross the network as they are; "
                "use a network that you trust, or 127.0.0.1 and an SSH tunnel",
                host,
            )
        if self.address_file is None and not self.config.auth.users:
            _logger.warning("nobody can come in: auth.users is empty and there is no address file")


def _owner_name() -> str:
    """Return what the holder of the address file's token is called."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"


def _stop_event() -> asyncio.Event:
    """Return an event that SIGTERM, SIGINT and SIGHUP (a closed terminal) set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop
