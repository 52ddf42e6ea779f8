"""Which server a command talks to, and what its errors mean to a shell. Floor 4.

This is the one place that turns the library's exceptions into exit codes and
sentences; it decides by classes and codes, never by texts.
"""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

import mqwire
from mqclient.ctl import exits, output, values
from mqclient.ctl.exits import Failure
from mqwire.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqclient.client import Client
    from mqclient.errors import MqError

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
CONNECT_TIMEOUT_SECONDS: Final = 3.0
"""The client waits so long for a server that refuses, in case it is just starting. People
and scripts at a shell want to know sooner than a worker does."""

SERVER_WAIT_SECONDS: Final = 300.0
"""So long do commands wait for a server that are started by batch systems."""

_IS_OLDER: Final = "`mqctl version` shows whether the server is older than this program"

# The server's own sentences say what to do; these add what only mqctl knows.
_HINTS: Final = {
    "QUEUE_NOT_FOUND": "`mqctl ls` shows the queues, `mqctl create NAME` makes one",
    "AUTH_FAILED": "check the credentials in --url, MQ_TOKEN, MQ_TOKEN_FILE, MQ_URL or the address "
    "file; a token may be over or revoked, or its user disabled",
    "AUTH_ENDING": "come in with a new token or password (`mqctl token new`, or ask an "
    "administrator), and start this again",
    "QUEUE_EXISTS": "here that is --if-missing",
    "NOT_AUTHENTICATED": "give credentials in --url or MQ_URL",
    "STORAGE_FULL": "try again when its disk has room: `mqctl stats` shows journal.is_full, and "
    "`mqctl pull` and `mqctl purge` go on",
    "NO_JOURNAL": "do without, or have it started with storage.journal: true",
    "SNAPSHOT_FAILED": "what the server has written to its standard error says more; see that "
    "its disk has room and try again",
    "NO_FRAME_LOG": "do without, or have it started with frame_log.level: full",
    "NO_BACKUP": "begin the backup again",
    "UNKNOWN_OPTION": _IS_OLDER,
    "UNKNOWN_VERB": _IS_OLDER,
}


def _open_client(session: Session) -> Client:
    from mqclient.client import Client

    return Client(
        session.url,
        address_file=session.address_file,
        timeout=session.timeout_seconds,
        connect_timeout=min(CONNECT_TIMEOUT_SECONDS, session.timeout_seconds),
        name=f"mqctl/{mqwire.__version__}",
        server_wait=session.server_wait,
    )


@dataclass
class Session:
    """What the global options say.

    Args:
        url: address of the server, or None to let the client find it.
        address_file: an address file to use instead.
        timeout: seconds for each call, or None if nothing was said.
        is_json: whether output is for machines.
        server_wait: seconds for which a server that is not there yet is waited for; None
            for a command that a person waits for.
        open_client: makes the client; tests put their own here.
    """

    url: str | None = None
    address_file: str | None = None
    timeout: float | None = None
    is_json: bool = False
    server_wait: float | None = None
    open_client: Callable[[Session], Any] = _open_client

    @property
    def timeout_seconds(self) -> float:
        """How long a call may take that has no longer time of its own."""
        return DEFAULT_TIMEOUT_SECONDS if self.timeout is None else self.timeout

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Give a client for the length of the block.

        Raises:
            Failure: for every error of the library.
        """
        from mqclient.errors import MqError

        if self.url is not None and self.address_file is not None:
            raise Failure("give either --url or --address-file, not both", exits.USAGE)
        try:
            with self.open_client(self) as client:
                yield client
        except MqError as error:
            raise failure(error) from error


pass_session = click.make_pass_decorator(Session, ensure=True)


def failure(error: MqError, also: str = "") -> Failure:
    """Return what an error of the library means to the shell.

    Args:
        error: the error.
        also: another half-sentence: what had been done before.
    """
    from mqclient import errors

    hint: str | None = None
    message = str(error)
    if isinstance(error, errors.ServerError):
        exit_code = exits.REFUSED
        hint = _HINTS.get(error.code)
    elif isinstance(error, errors.RequestTimeout):
        exit_code = exits.TIMED_OUT
        hint = "try again, or give it longer with --timeout SECONDS"
        if error.in_doubt:
            hint = "it may have been carried out all the same; --timeout SECONDS gives it longer"
    elif isinstance(error, errors.InterfaceError):  # also a file that is no address file
        exit_code = exits.USAGE
    elif isinstance(error, errors.TransportError):
        exit_code = exits.CANNOT_CONNECT
    else:
        exit_code = exits.INTERNAL
    return Failure("; ".join(part for part in (message, also, hint) if part), exit_code)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Session), name, value)

    return remember


_OPTIONS: Final = (
    click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember("url"),
        help="The server: mq://user:password@host:port, mq://:token@host:port, "
        "mq+unix:///path or file:///address.json. [env: MQ_URL]",
    ),
    click.option(
        "--address-file",
        metavar="PATH",
        expose_value=False,
        callback=_remember("address_file"),
        help="Read the server's address and a token from this file. [env: MQ_ADDRESS_FILE]",
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=values.timeout,
        expose_value=False,
        callback=_remember("timeout"),
        help=f"How long each request may take, on top of --wait. [default: "
        f"{DEFAULT_TIMEOUT_SECONDS:g}]",
    ),
    click.option(
        "--json",
        is_flag=True,
        default=None,
        expose_value=False,
        callback=_remember("is_json"),
        help="Write JSON, for machines.",
    ),
)


def global_options(function: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the global options, which may stand before or after its name."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@contextmanager
def library_warnings() -> Iterator[None]:
    """Have the library's warnings written as this program's: that a server is away, and so on."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                output.warn(record.getMessage())

    logger, handler = logging.getLogger("mqclient"), Handler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


server_wait_option = click.option(
    "--server-wait",
    metavar="SECONDS",
    type=values.seconds,
    default=SERVER_WAIT_SECONDS,
    help=f"Wait so long for a server that is not there yet. [default: {SERVER_WAIT_SECONDS:g}]",
)


def durability_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --durability with its help."""
    levels = click.Choice(sorted(LEVELS, key=lambda word: -LEVELS[word]))
    return click.option("--durability", metavar="LEVEL", type=levels, help=text)


def complete_queue(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of queues for a shell's completion; none where there is no server."""
    session = ctx.ensure_object(Session)
    session.timeout = min(session.timeout_seconds, 2.0)
    try:
        with session.client() as client:
            return [info.queue for info in client.queues(f"{incomplete}*")]
    except Failure:
        return []


queue_argument = click.argument("queue", shell_complete=complete_queue)
