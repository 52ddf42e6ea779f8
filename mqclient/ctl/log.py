"""The command log: prints frame logs off the disk, without a server. Floor 4."""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import exits, output
from mqclient.ctl.session import Session, failure, global_options, pass_session
from mqclient.ctl.values import moment, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqclient.ctl.log_decoding import Shown

POLL_SECONDS: Final = 0.2
"""How long --follow waits before it looks again."""


@click.command(short_help="Print a server's frame log.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("-n", "--last", metavar="COUNT", type=number(1), help="Only the last COUNT that fit.")
@click.option("--queue", metavar="NAME", help="Requests that name this queue, and their replies.")
@click.option("--verb", metavar="VERB", help="Requests with this verb, and their replies.")
@click.option("--user", metavar="NAME", help="Frames of connections that act as this user.")
@click.option("--peer", metavar="TEXT", help="Frames of clients whose address has this in it.")
@click.option("--since", metavar="TIME", type=moment, help="From then on: 2030-01-31T12:00 or 10m.")
@click.option("--until", metavar="TIME", type=moment, help="Up to then.")
@click.option(
    "--width",
    metavar="CHARS",
    type=number(0),
    default=200,
    help="Cut longer bodies and values; 0 shows all. [default: 200]",
)
@global_options
@pass_session
def log(
    session: Session,
    /,
    paths: tuple[Path, ...],
    width: int,
    *,
    last: int | None,
    follow: bool,
    **wanted: Any,
) -> None:
    """Print a server's frame log: every request (>>) and reply (<<), a line each.

    PATH is a directory of logs or a file of one, compressed or not. Without any it is that
    of the server of the address file, if that runs here and can be told, and else
    ~/.mqd/data/frames; an mq:// URL names no log. No server is needed. A line has the time,
    the connection, source and destination, the user, the verb or OK or ERR, the request's
    id, the rest of the frame, and after a reply what it answers and how long that took.
    With --json each frame is an object with all of it, whole.

    A settlement (ACK, NACK, REJECT, EXTEND, STEP) names a lease: --queue finds it if the PULL
    that got the lease has been read, too, and says how many there are of which that is not so.

    --follow prints what is there and waits for more, over the ends of files; with
    --since 0s only what comes, with --last 10 the last ten of what is there, too. Where
    records are missing, a line says so whatever is looked for.
    """
    from mqclient.ctl.log_files import LogSource
    from mqclient.ctl.log_filter import Filter

    if wanted["verb"] is not None:
        wanted["verb"] = _verb(wanted["verb"])
    chosen = Filter(**wanted)
    paths = paths or (_found(session),)
    source = LogSource(paths, wanted["since"])
    tail = _Tail(_printer(width, is_json=session.is_json), last)

    def pause() -> None:
        tail.release()
        _pause()

    missed = 0
    for shown in source.follow(pause) if follow else source.read():
        if chosen.accepts(shown.entry):
            tail.show(shown)
        elif chosen.misses(shown.entry):
            missed += 1
    tail.release()
    if not tail.count:
        output.nothing(f"no frame of this log fits: {', '.join(map(str, paths))}")
    if missed:
        output.warn(
            f"{output.count_of(missed, 'settlement')} left out: they name leases that were given "
            "before what was read, so their queue is not known; read the log from further back"
        )
    if not source.is_sound:
        raise click.exceptions.Exit(exits.INTERNAL)


class _Tail:
    """Writes entries: each at once, or at first only the last ones of those that are there.

    Args:
        text_of: makes a line of an entry.
        last: how many of those before `release` are written; None for all.
    """

    def __init__(self, text_of: Callable[[Shown], str], last: int | None) -> None:
        self.count = 0
        """How many were written."""
        self._text_of = text_of
        self._held: deque[Shown] | None = None if last is None else deque(maxlen=last)

    def show(self, shown: Shown) -> None:
        """Write an entry, or hold it back while it may be none of the last."""
        if self._held is None:
            self._write(shown)
        else:
            self._held.append(shown)

    def release(self) -> None:
        """Write what is held back: all that there was is known. From here on each at once."""
        held, self._held = self._held, None
        for shown in held or ():
            self._write(shown)

    def _write(self, shown: Shown) -> None:
        line = self._text_of(shown).encode("utf-8", "backslashreplace")
        output.write_bytes(line + b"\n")
        self.count += 1


def _verb(word: str) -> str:
    """Return the name of a verb as it stands in the log.

    Raises:
        click.UsageError: there is none.
    """
    from difflib import get_close_matches

    from mqwire.verbs import VERBS

    name = word.upper()
    if name in VERBS:
        return name
    meant = get_close_matches(name, VERBS, n=1)
    hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(VERBS)}"
    raise click.UsageError(f"there is no verb '{word}'; {hint}")


def _found(session: Session) -> Path:
    from mqclient.ctl.log_place import find_directory
    from mqclient.errors import MqError

    try:
        return find_directory(session)
    except MqError as error:
        raise failure(error) from error


def _printer(width: int, *, is_json: bool) -> Callable[[Shown], str]:
    """Return what makes a line of an entry."""
    from mqclient.ctl.log_view import to_line
    from mqwire.framelog_entries import to_json_line

    is_terminal = output.stdout_is_terminal()

    def text_of(shown: Shown) -> str:
        if not is_json:
            return to_line(shown.entry, width)
        text = to_json_line(shown.entry) if shown.json_line is None else shown.json_line
        return output.escape_json(text) if is_terminal else text

    return text_of


def _pause() -> None:
    output.flush()
    time.sleep(POLL_SECONDS)


COMMANDS = (log,)
