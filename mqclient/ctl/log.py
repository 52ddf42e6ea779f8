"""The command log: prints frame logs off the disk, without a server. Floor 4."""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqclient.ctl import exits, output
from mqclient.ctl.session import Session, global_options, pass_session
from mqclient.ctl.values import moment, number


@click.command(short_help="Print a server's frame log.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
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
def log(session: Session, /, paths: tuple[Path, ...], width: int, **wanted: Any) -> None:
    """Print a server's frame log: every request (>>) and reply (<<), a line each.

    PATH is a directory of logs or a file of one; without any, ~/.mqd/data/frames. No
    server is needed. A line has the time, the connection, source and destination, the
    user, the verb or OK or ERR, the request's id, and the rest of the frame. With --json
    each frame is an object with all of it, whole.
    """
    from mqclient.ctl.log_files import Filter, LogFile, find_files
    from mqclient.ctl.log_view import to_line, to_object

    if wanted["verb"] is not None:
        wanted["verb"] = wanted["verb"].upper()
    chosen = Filter(**wanted)
    is_sound = True
    is_terminal = output.stdout_is_terminal()
    for path in find_files(paths):
        reader = LogFile(path)
        for entry in reader.entries():
            if not chosen.accepts(entry):
                continue
            text = to_object(entry) if session.is_json else to_line(entry, width)
            if session.is_json and is_terminal:
                text = output.escape_json(text)
            output.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")
        is_sound = reader.report() and is_sound
    if not is_sound:
        raise click.exceptions.Exit(exits.INTERNAL)


COMMANDS = (log,)
