"""The commands pull and peek: messages to standard output. Floor 4.

Whoever pulls owns what came: the server does not have it any more. So pull takes
no more at a time than is written right away, and says so if what it has taken
cannot be written.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import bodies, exits, output, stories
from mqclient.ctl.bodies import Style
from mqclient.ctl.exits import Failure
from mqclient.ctl.session import (
    Session,
    durability_option,
    global_options,
    library_warnings,
    pass_session,
    queue_argument,
    server_wait_option,
)
from mqclient.ctl.values import number, seconds
from mqwire.json_text import to_json
from mqwire.limits import MAX_QUEUE_MESSAGES, MAX_WAIT_SECONDS, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mqclient.client import Client
    from mqclient.messages import Message
    from mqclient.models import QueueInfo

FIRST_BATCH: Final = 16
LARGEST_BATCH: Final = 1000
STATES: Final = ("ready", "delayed", "leased", "dead")
BATCH_BYTES: Final = MIB
"""What is asked for at a time, once the size of messages is known."""

_output_options: Final = (
    click.option("--text", is_flag=True, help="Write JSON strings as the text that they hold."),
    click.option("--raw", is_flag=True, help="Write bodies as the bytes that they are."),
    click.option("--whole", is_flag=True, help="With --raw: add no line end after a body."),
)


def _output_style(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_output_options):
        function = option(function)
    return function


class Printer:
    """Writes messages in one form, and counts them.

    Args:
        session: tells whether the output is JSON.
        text, raw, whole: the options of these names.

    Raises:
        click.UsageError: options that exclude each other.
    """

    def __init__(self, session: Session, *, text: bool, raw: bool, whole: bool) -> None:
        if text + raw + session.is_json > 1:
            raise click.UsageError("--text, --raw and --json exclude each other")
        if whole and not raw:
            raise click.UsageError("--whole goes with --raw")
        self.count = 0
        self._is_json = session.is_json
        self._style = Style.RAW if raw else Style.TEXT if text else Style.JSON
        self._end = b"" if whole else b"\n"
        self._is_terminal = output.stdout_is_terminal()

    def write(self, messages: Sequence[Message]) -> int:
        """Write messages and flush them.

        Returns:
            How many bytes they took.

        Raises:
            OSError: they cannot be written.
        """
        data = b"".join(map(self._line, messages))
        output.write_bytes(data)
        output.flush()
        self.count += len(messages)
        return len(data)

    def _line(self, message: Message) -> bytes:
        if self._is_json:
            return self._encode(as_json(message), is_json=True) + b"\n"
        if self._style is Style.RAW:
            data = bodies.to_bytes(message.raw)
            if self._is_terminal:
                text = data.decode("utf-8", "backslashreplace")
                data = "\n".join(map(output.escape, text.split("\n"))).encode()
            return data + self._end
        if self._style is Style.TEXT:
            return self._encode(bodies.to_text(message.raw), is_json=False) + b"\n"
        return self._encode(bodies.to_document(message.raw), is_json=True) + b"\n"

    def _encode(self, text: str, *, is_json: bool) -> bytes:
        if self._is_terminal:
            text = output.escape_json(text) if is_json else output.escape(text)
        return text.encode("utf-8", "backslashreplace")


def as_json(message: Message, more: Mapping[str, Any] | None = None) -> str:
    """Return a message as one JSON object; a body that is JSON stands in it as it came.

    Args:
        message: the message.
        more: what is told of it beside its headers and body.
    """
    known = {"id": message.id, "queue": message.queue, "headers": dict(message.headers or {})}
    rest = to_json({**known, **(more or {})})
    return f'{rest[:-1]}, "body": {bodies.to_document(message.raw)}}}'


@click.command(short_help="Remove the oldest messages and write them.")
@queue_argument
@click.option(
    "-n",
    "--count",
    metavar="COUNT",
    type=number(1),
    help="At most so many messages. [default: 1]",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Until the queue is empty.")
@click.option(
    "-w",
    "--wait",
    metavar="SECONDS",
    type=seconds,
    default=0.0,
    help="Wait so long for the first message. [default: 0]",
)
@click.option("--follow", is_flag=True, help="Go on waiting for messages until Ctrl-C.")
@durability_option(
    "What the removal reaches before a message leaves the server: synced, written or accepted. "
    "[default: the queue's]"
)
@_output_style
@server_wait_option
@global_options
@pass_session
def pull(  # noqa: PLR0913  an option each
    session: Session,
    /,
    *,
    queue: str,
    count: int | None,
    everything: bool,
    wait: float,
    follow: bool,
    durability: str | None,
    server_wait: float,
    **style: bool,
) -> None:
    """Remove the oldest messages of QUEUE and write their bodies, a line each.

    Each line is a JSON document: a body that is JSON as it came, other text as a JSON
    string, binary data as {"base64": "..."}. With --json it is an object with id, queue,
    headers and body. The exit code is 5 if no message came.

    What has been pulled is gone from the server, whether or not it could be written: where
    the reader ends first (| head), what it has not taken is lost but for the frame log. For
    work that must not be lost there are leases: mqctl work. With --follow -n COUNT it ends after
    so many messages. With --wait or --follow a server that restarts, or is not there yet,
    is waited for, too.
    """
    if everything and count is not None:
        raise click.UsageError("--all and --count exclude each other")
    if everything and follow:
        raise click.UsageError(
            "--all ends with the queue and --follow never does: give one of them"
        )
    printer = Printer(session, **style)
    limit = count if count or everything or follow else 1
    if wait or follow:
        session.server_wait = server_wait if follow else min(server_wait, wait)
    ends_at = math.inf if follow else time.monotonic() + wait
    with library_warnings(), session.client() as client:
        pull_some = partial(client.pull_many, queue, durability=durability)
        for messages in _pulled(_riding(pull_some, ends_at), limit, follow=follow):
            _hand_out(printer, messages)
        if printer.count:
            return
        info = info_of(client, queue)
        if info is not None and not told_pause(info):
            output.note(f"{queue} has no ready messages{_others(info, STATES[0])}")
    raise click.exceptions.Exit(exits.EMPTY)


def info_of(client: Client, queue: str) -> QueueInfo | None:
    """Return what is told of a queue that gave nothing, or None where nothing is: it is no loss."""
    from mqclient.errors import MqError  # noqa: PLC0415  --help does without

    try:
        return client.info(queue)
    except MqError:
        return None


def told_pause(info: QueueInfo) -> bool:
    """Say of a queue that gave nothing that it is paused, if it is; return whether it is."""
    if info.is_paused:
        there = f" ({info.ready} ready)" if info.ready else ""
        output.nothing(
            f"{info.queue} is paused and delivers nothing{there}: mqctl resume {info.queue} "
            "ends that"
        )
    return info.is_paused


def _others(info: QueueInfo, state: str) -> str:
    """Say how many messages of a queue are in another state than `state`."""
    counts = ((each, getattr(info, each)) for each in STATES if each != state)
    there = [f"{count} {each}" for each, count in counts if count]
    return f" ({', '.join(there)})" if there else ""


def _riding(
    pull_some: Callable[..., Sequence[Message]], ends_at: float
) -> Callable[[int, bool], Sequence[Message]]:
    """Return what pulls so many messages, and whether it waits for the first.

    Where it waits, a connection that is lost is no end: it is said once, and waited for on a
    new one, until `ends_at` on the monotonic clock.

    Raises:
        MqError: it is not to wait, or not any more; or it is not about the connection.
    """

    def pull(most: int, waits: bool) -> Sequence[Message]:  # noqa: FBT001  no one else's
        from mqclient.errors import MqError  # noqa: PLC0415  --help does without
        from mqclient.steps import Patience, is_passing  # noqa: PLC0415  as above

        patience, is_told = Patience(), False
        while True:
            left = max(ends_at - time.monotonic(), 0.0) if waits else 0.0
            try:
                return pull_some(most, wait=MAX_WAIT_SECONDS if left == math.inf else left)
            except MqError as error:
                left = ends_at - time.monotonic()
                if not (waits and left > 0 and is_passing(error)):
                    raise
                if not is_told:
                    is_told = True
                    output.warn(f"{error}; waiting for the server")
                _pause(patience.pause(left).seconds)

    return pull


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _pulled(
    pull_some: Callable[[int, bool], Sequence[Message]], limit: int | None, *, follow: bool
) -> Iterator[Sequence[Message]]:
    """Pull up to `limit` messages (all if None) in batches; waits for the first, if at all."""
    left = limit if limit is not None else MAX_QUEUE_MESSAGES
    size, waits = FIRST_BATCH, True
    while left:
        messages = pull_some(min(left, size), waits)
        if messages:
            yield messages
            left -= len(messages)
            size = next_size(messages)
            waits = follow
        elif not follow:
            return


def next_size(messages: Sequence[Message]) -> int:
    """Return how many messages of this kind make a batch that is neither small nor large."""
    total = sum(
        len(message.raw) if isinstance(message.raw, (bytes, str)) else 64 for message in messages
    )
    return max(1, min(LARGEST_BATCH, BATCH_BYTES * len(messages) // (total + len(messages))))


def _hand_out(printer: Printer, messages: Sequence[Message]) -> None:
    try:
        printer.write(messages)
    except (OSError, KeyboardInterrupt) as error:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if is_interrupt else f"cannot write ({error})"
        raise Failure(
            f"{reason}: messages {messages[0].id} to {messages[-1].id} were pulled and may not "
            "have been written; the server's frame log has them",
            exits.INTERRUPTED if is_interrupt else exits.INTERNAL,
        ) from error


@click.command(short_help="Write the oldest messages and leave them.")
@queue_argument
@click.option(
    "-n",
    "--count",
    metavar="COUNT",
    type=number(1),
    default=1,
    help="At most so many. [default: 1]",
)
@click.option(
    "--skip", metavar="COUNT", type=number(0), default=0, help="Pass over the first so many."
)
@click.option(
    "--state",
    metavar="WORD",
    type=click.Choice(STATES),
    help="Those that are ready, delayed, leased or dead. [default: ready]",
)
@click.option(
    "--id",
    "message_id",
    metavar="ID",
    type=number(1),
    help="That message alone, in whichever state it is, however deep in the queue.",
)
@click.option(
    "--history",
    is_flag=True,
    help="Tell what each has been through instead: attempts, times, every delivery and its reason.",
)
@click.option("--full", is_flag=True, help="With --history: give tracebacks whole.")
@_output_style
@global_options
@pass_session
def peek(  # noqa: PLR0913  an option each
    session: Session,
    /,
    *,
    queue: str,
    count: int,
    skip: int,
    state: str | None,
    message_id: int | None,
    history: bool,
    full: bool,
    **style: bool,
) -> None:
    """Write the bodies of the oldest messages of QUEUE and leave them there.

    The output is that of pull, and so is the exit code. With --json each object has what
    the message has been through, too: deliveries, attempts, losses, priority, history, and
    when it is due or expires or who works on it. `mqctl dead show` tells how a message
    died, `mqctl holders` who works on those that are leased.
    """
    printer = _Looker(session, history=history, full=full, state=state or STATES[0], **style)
    if message_id is not None and (skip or state or count != 1):
        raise click.UsageError("--id excludes --count, --skip and --state")
    with session.client() as client:
        if message_id is not None:
            _look_at(
                printer, client.peek_one(queue, message_id), f"message {message_id} of {queue}"
            )
            return
        peek_some = partial(client.peek, queue)
        if state is not None:
            peek_some = partial(peek_some, state=state)
        for messages in peeked(peek_some, count, skip):
            printer.write(messages)
        if printer.count:
            return
        wanted = state or STATES[0]
        kind = f"{wanted} messages"
        if skip:
            output.nothing(f"{queue} has no more than {skip} {kind}")
        else:
            output.nothing(f"{queue} has no {kind}{_others(client.info(queue), wanted)}")
    raise click.exceptions.Exit(exits.EMPTY)


def _look_at(printer: _Looker, message: Message | None, what: str) -> None:
    """Write one message, or say that it is not there."""
    if message is None:
        output.nothing(f"{what} is not there (any more): mqctl status tells what became of it")
        raise click.exceptions.Exit(exits.EMPTY)
    printer.write([message])


class _Looker(Printer):
    """Writes messages that stay where they are, and what they have been through."""

    def __init__(
        self, session: Session, *, history: bool, full: bool, state: str, **style: bool
    ) -> None:
        super().__init__(session, **style)
        if history and (session.is_json or any(style.values())):
            raise click.UsageError(
                "--history excludes --text and --raw, and --json has all of it anyway"
            )
        if full and not history:
            raise click.UsageError("--full goes with --history")
        self._has_history = history
        self._is_full = full
        self._between = b""
        self._state = state

    def _line(self, message: Message) -> bytes:
        if self._is_json:
            return self._encode(as_json(message, stories.fields_of(message)), is_json=True) + b"\n"
        if not self._has_history:
            return super()._line(message)
        lines = stories.facts_of(message, message.state or self._state)
        lines += stories.chapters(message, full=self._is_full)
        text = b"\n".join(self._encode(line, is_json=False) for line in [*lines, ""])
        between, self._between = self._between, b"\n"
        return between + text


def peeked(
    peek_some: Callable[..., Sequence[Message]], limit: int, skip: int = 0
) -> Iterator[Sequence[Message]]:
    """Peek at up to `limit` messages after the first `skip`, in batches."""
    seen, size = 0, FIRST_BATCH
    while seen < limit:
        asked = min(size, limit - seen)
        messages = peek_some(asked, skip=skip + seen)
        if messages:
            yield messages
        if len(messages) < asked:
            return
        seen += len(messages)
        size = next_size(messages)


COMMANDS: tuple[Any, ...] = (pull, peek)
