"""The command push: bodies from arguments, a file or standard input. Floor 4."""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from mqclient.ctl import bodies, exits, output
from mqclient.ctl.bodies import Style
from mqclient.ctl.exits import Failure
from mqclient.ctl.progress import Bar
from mqclient.ctl.session import (
    Session,
    durability_option,
    failure,
    global_options,
    pass_session,
    queue_argument,
)
from mqclient.ctl.values import clock_time, header, number, seconds_up_to
from mqwire.limits import (
    DEFAULT_PRIORITY,
    MAX_DELAY_SECONDS,
    MAX_PRIORITY,
    MIN_TTL_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mqclient.client import Client
    from mqclient.options import PushOptions

STDIN: Final = "-"
"""A BODY that stands for the standard input, as everywhere in a shell."""

SHOW_AFTER_MESSAGES: Final = 1000
SHOWN_CHARS: Final = 60


class Progress(Bar):
    """The bar of a push.

    Args:
        total: how many units there are, or None where that cannot be known.
        unit: `messages` or `bytes`: what `total` counts.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        super().__init__(total)
        self._counts_bytes = unit == "bytes"

    def update(self, messages: int, read_bytes: int) -> None:
        """Show that so many messages have been pushed, out of so many bytes of input."""
        done = read_bytes if self._counts_bytes else messages
        self.show(done, f"{messages:,} messages", is_due=messages >= SHOW_AFTER_MESSAGES)


class Pusher:
    """Pushes batches and keeps count, so that an error can say how far it came.

    Args:
        client: a connected client.
        queue: where to.
        headers: the same for all messages.
        durability: what each frame waits for, or None for the queue's level.
        more: other options of a push, the same for all messages.
        progress: told after each frame.
    """

    def __init__(
        self,
        client: Client,
        queue: str,
        headers: Mapping[str, str],
        durability: str | None,
        more: PushOptions,
        progress: Progress,
    ) -> None:
        self.count = 0
        """Messages that the server has acknowledged."""
        self.first_id: int | None = None
        self.last_id: int | None = None
        self._client = client
        self._queue = queue
        self._headers = dict(headers) or None
        self._durability = durability
        self._more = more
        self._under_way = 0
        self._progress = progress
        self._read_bytes = 0

    def push(self, batch: list[Any], read_bytes: int = 0) -> None:
        """Push one batch, which was made out of `read_bytes` bytes of input.

        Raises:
            Failure: the server refused or was lost; what came before stays pushed.
        """
        from mqclient.errors import MqError

        before = self.count
        self._under_way = len(batch)
        self._read_bytes += read_bytes

        def on_progress(count: int) -> None:
            self.count, self._under_way = before + count, len(batch) - count
            self._progress.update(self.count, self._read_bytes)

        try:
            ids = self._client.push_many(
                self._queue,
                batch,
                headers=self._headers,
                on_progress=on_progress,
                durability=self._durability,
                **self._more,
            )
        except MqError as error:
            raise failure(error, self.so_far()) from error
        on_progress(len(ids))
        if self.first_id is None:
            self.first_id = ids[0]
        self.last_id = ids[-1]

    def so_far(self) -> str:
        """Return a half-sentence that tells what has been pushed already, if anything has."""
        if not self.count:
            return ""
        return f"the first {self.count} message{'s have' if self.count > 1 else ' has'} been pushed"

    def interrupted(self) -> Failure:
        """Return what Ctrl-C means: what has been pushed, and what may have been."""
        doubt = ""
        if self._under_way:
            verb = "was" if self._under_way == 1 else "were"
            doubt = f"{self._under_way} {verb} on the way and may have been"
        done = self.so_far() or "no message is known to have been pushed"
        return Failure(_joined("interrupted", done, doubt), exits.INTERRUPTED)


_ORDER_OPTIONS: Final = (
    click.option(
        "--priority",
        metavar="NUMBER",
        type=number(0, MAX_PRIORITY),
        help=f"From 0 to {MAX_PRIORITY}; higher ones are delivered first. [default: "
        f"{DEFAULT_PRIORITY}]",
    ),
    click.option(
        "--delay",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DELAY_SECONDS),
        help="Deliver them in so long, and not before.",
    ),
    click.option(
        "--not-before",
        metavar="TIME",
        type=clock_time,
        help="Deliver them then, and not before: 2030-01-31T12:00 (local time, unless it names a "
        "zone) or seconds since 1970.",
    ),
    click.option(
        "--ttl",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DELAY_SECONDS, MIN_TTL_SECONDS),
        help="Let them expire when they have waited for so long. [default: the queue's]",
    ),
    click.option(
        "--key",
        metavar="TEXT",
        help="What this push is known by: the same messages pushed again with the same key are "
        "not there twice, as long as the queue remembers it.",
    ),
)


def _order_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_ORDER_OPTIONS):
        function = option(function)
    return function


@click.command(short_help="Push messages.")
@queue_argument
@click.argument("body", nargs=-1)
@click.option(
    "-f",
    "--file",
    metavar="PATH",
    type=click.File("rb"),
    help="Read the bodies from this file, a message a line; - is standard input.",
)
@click.option("--text", is_flag=True, help="Every body is text, also one that looks like JSON.")
@click.option("--raw", is_flag=True, help="Every body is binary data: its bytes go as they are.")
@click.option("--whole", is_flag=True, help="The entire input is one message.")
@click.option(
    "-H",
    "--header",
    "headers",
    metavar="KEY=VALUE",
    type=header,
    multiple=True,
    help="A header for all of the messages; may be given several times.",
)
@durability_option(
    "Wait until the messages are so safe: synced on the disk, written in the kernel, accepted "
    "in memory. [default: the queue's]"
)
@_order_options
@global_options
@pass_session
def push(  # noqa: PLR0913  a command's options are its arguments
    session: Session,
    /,
    *,
    queue: str,
    body: tuple[str, ...],
    file: BinaryIO | None,
    text: bool,
    raw: bool,
    whole: bool,
    headers: tuple[tuple[str, str], ...],
    durability: str | None,
    **more: Any,
) -> None:
    """Push messages to QUEUE: each BODY, or each line of a file or of standard input.

    A body that is valid JSON goes as that document, other text as a JSON string: both
    '{"x": 1}' and hello do what you expect. Blank lines are passed over unless --text
    or --raw is given. A body that starts with - comes after a lone --. In place of bodies
    - is standard input too; the text - is written '"-"'.

    Lines are pushed as they arrive, in frames of many. A push that breaks off, or is ended
    by Ctrl-C, says how many messages came through before; each frame is all or nothing. With
    --key the input is read to its end first, so that the same input makes the same frames.
    """
    if more["delay"] is not None and more["not_before"] is not None:
        raise click.UsageError("--delay and --not-before exclude each other")
    if text and raw:
        raise click.UsageError("--text and --raw exclude each other")
    body = _without_stdin(body, file)
    if body and (file is not None or whole):
        raise click.UsageError("bodies come from arguments or from an input, not from both")
    style = Style.RAW if raw else Style.TEXT if text else Style.JSON
    stream = None if body else _input(file)
    said: Any = {name: value for name, value in more.items() if value is not None}
    with session.client() as client, _progress(len(body), stream) as progress:
        pusher = Pusher(client, queue, dict(headers), durability, said, progress)
        try:
            if stream is None:
                pusher.push([_encode_argument(text_of, style) for text_of in body])
            else:
                _push_stream(pusher, stream, style, is_whole=whole, is_keyed="key" in said)
        except KeyboardInterrupt:
            raise pusher.interrupted() from None
    _report(session, queue, pusher)


def _without_stdin(body: tuple[str, ...], file: BinaryIO | None) -> tuple[str, ...]:
    """Return the bodies that are none of an input: `-` alone stands for the standard one.

    Raises:
        click.UsageError: it stands beside other bodies, or beside --file.
    """
    if STDIN not in body:
        return body
    if len(body) > 1:
        raise click.UsageError(
            "- is standard input and stands alone; the text - among bodies is written '\"-\"'"
        )
    if file is not None:
        raise click.UsageError("- is standard input; give it or --file, not both")
    return ()


def _encode_argument(text: str, style: Style) -> Any:
    body = bodies.to_body(os.fsencode(text), style)
    if style is Style.JSON:
        flaw = bodies.flaw_of(text)
        if flaw:
            shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
            output.warn(
                f"'{shown}' looks like JSON and is none ({flaw}); it is pushed as text, which "
                "--text says without this warning"
            )
    return body


def _push_stream(
    pusher: Pusher, stream: BinaryIO, style: Style, *, is_whole: bool, is_keyed: bool
) -> None:
    if is_whole:
        data = bodies.read_whole(stream)
        pusher.push([bodies.to_body(data, style)], len(data))
        return
    line_count = 0
    kept: list[Any] = []
    for lines in bodies.read_lines(stream):
        try:
            batch = list(_encode_lines(lines, line_count, style))
        except Failure as error:
            raise Failure(_joined(error.message, pusher.so_far()), error.code) from error
        line_count += len(lines)
        if is_keyed:
            kept += batch
        elif batch:
            pusher.push(batch, sum(map(len, lines)) + len(lines))
    if kept:
        pusher.push(kept)


def _encode_lines(lines: list[bytes], line_count: int, style: Style) -> Iterator[Any]:
    for line_number, line in enumerate(lines, line_count + 1):
        data = line if style is Style.RAW else line.removesuffix(b"\r")
        if style is Style.JSON and not data.strip():
            continue
        try:
            yield bodies.to_body(data, style)
        except Failure as error:
            raise Failure(f"line {line_number}: {error.message}", error.code) from error


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _input(file: BinaryIO | None) -> BinaryIO:
    if file is not None:
        return file
    if sys.stdin is None:
        raise Failure("there is no standard input; give bodies or --file", exits.USAGE)
    if sys.stdin.isatty():
        output.note("type messages, a line each, and end with Ctrl-D")
    return sys.stdin.buffer


def _progress(argument_count: int, stream: BinaryIO | None) -> Progress:
    if stream is None:
        return Progress(argument_count, "messages")
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # a stream that is no file of the system
        return Progress(None, "messages")
    if not stat.S_ISREG(status.st_mode):
        return Progress(None, "messages")
    return Progress(status.st_size, "bytes")


def _report(session: Session, queue: str, pusher: Pusher) -> None:
    if session.is_json:
        output.write_json(
            {
                "queue": queue,
                "count": pusher.count,
                "first_id": pusher.first_id,
                "last_id": pusher.last_id,
            }
        )
    if not pusher.count:
        output.nothing("there was nothing to push")
    elif pusher.count == 1:
        output.note(f"pushed message {pusher.first_id} to {queue}")
    else:
        ids = f"ids {pusher.first_id} to {pusher.last_id}"
        output.note(f"pushed {pusher.count} messages to {queue}, {ids}")


COMMANDS = (push,)
