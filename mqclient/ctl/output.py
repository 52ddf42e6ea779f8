r"""What goes to the terminal or into a pipe. Floor 4.

Two rules. Standard output carries data and nothing else; notes and errors go to
standard error. What others have sent (bodies, names, messages) never reaches a
terminal with its control characters: they are shown as escapes such as `\x1b`.
"""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mqwire.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Column(NamedTuple):
    """A table's column: numbers stand at its right edge."""

    heading: str = ""
    is_number: bool = False


def stdout_is_terminal() -> bool:
    """Tell whether a person reads the standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Tell whether a person reads the standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def person_is_there() -> bool:
    """Tell whether somebody can be asked a question."""
    return sys.stdin is not None and sys.stdin.isatty() and stderr_is_terminal()


def escape(text: str) -> str:
    r"""Return `text` with everything that is not printable as an escape (`\n`, `\x1b`).

    Format characters count as not printable, since they can turn the direction of
    what follows or hide it.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def escape_json(text: str) -> str:
    r"""Return JSON text that means the same with everything not printable as `\u` escapes.

    Args:
        text: valid JSON text on one line.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char == "\t" else json.dumps(char)[1:-1]
        for char in text
    )


def write_bytes(data: bytes) -> None:
    """Write data to the standard output as it is.

    Raises:
        OSError: it cannot be written (BrokenPipeError: nobody reads any more).
    """
    if sys.stdout is None:
        raise OSError("the standard output is closed")
    sys.stdout.buffer.write(data)


def flush() -> None:
    """Make sure that all data so far has left this process.

    Raises:
        OSError: as `write_bytes`.
    """
    if sys.stdout is not None:
        sys.stdout.buffer.flush()


def write_line(text: str) -> None:
    """Write one line of data, escaped if a person reads it."""
    shown = escape(text) if stdout_is_terminal() else text
    write_bytes(shown.encode("utf-8", "backslashreplace") + b"\n")


def write_json_lines(values: Iterable[Any]) -> None:
    """Write a list as every command does: one JSON value a line, and no line for none."""
    for value in values:
        write_json(value)


def write_json(value: Any) -> None:
    """Write one value as a line of JSON."""
    write_document(to_json(value))


def write_document(text: str) -> None:
    """Write a line that is JSON already."""
    shown = escape_json(text) if stdout_is_terminal() else text
    write_bytes(shown.encode("utf-8", "backslashreplace") + b"\n")


def note(text: str) -> None:
    """Tell a person what happened; a script is told by the exit code."""
    if stderr_is_terminal():
        click.echo(escape(text), err=True)


def nothing(text: str) -> None:
    """Say that there is nothing to list: an empty output alone could be a mistake."""
    if stderr_is_terminal():
        note(text)
    else:
        warn(text)


def warn(text: str) -> None:
    """Tell persons and scripts' logs about something that is not an error of this command."""
    click.echo(f"mqctl: {escape(text)}", err=True)


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write rows as a table for a person, or as plain aligned columns without headings.

    Args:
        columns: headings; without any a person sees none either.
        rows: text for each column.
    """
    if stdout_is_terminal():
        _write_rich_table(columns, rows)
        return
    widths = [max(map(len, cells), default=0) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        write_line("  ".join(cells).rstrip())


def write_fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], spare: Sequence[str]
) -> None:
    """Write rows as `write_table`; where a terminal is too narrow, without some columns.

    Args:
        columns: as for `write_table`.
        rows: text for each column.
        spare: headings of columns that may be left out, the first one first.
    """
    kept = list(range(len(columns)))
    for heading in spare:
        if fits([columns[at] for at in kept], [[row[at] for at in kept] for row in rows]):
            break
        kept = [at for at in kept if columns[at].heading != heading]
    write_table([columns[at] for at in kept], [[row[at] for at in kept] for row in rows])


def fits(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether a table is no wider than where it goes to; a pipe takes any."""
    if not stdout_is_terminal():
        return True
    lines = [[column.heading for column in columns], *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    # Two spaces around each cell, a line on each side of it.
    return sum(widths) + 3 * len(widths) + 1 <= shutil.get_terminal_size().columns


def _write_rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    has_headings = any(column.heading for column in columns)
    table = Table(box=box.SIMPLE_HEAD if has_headings else None, show_header=has_headings)
    for column in columns:
        table.add_column(
            column.heading, justify="right" if column.is_number else "left", no_wrap=True
        )
    for row in rows:
        # Text, not str: a server's words are no markup.
        table.add_row(*(Text(escape(cell)) for cell in row))
    flush()
    Console(file=sys.stdout).print(table)


def confirm(question: str) -> None:
    """Ask a person whether something is to be done; return if so.

    Raises:
        click.Abort: it is not.
    """
    if not click.confirm(escape(question), err=True):
        raise click.Abort


def count_of(number: int, one: str = "message", many: str = "") -> str:
    """Return a number of things for a person: `1 message`, `5 messages`."""
    return f"1 {one}" if number == 1 else f"{number} {many or one + 's'}"


def human_bytes(size: float) -> str:
    """Return a size for a person: `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def moment(seconds: float) -> str:
    """Return a time, given in seconds since 1970-01-01 UTC, for a person of this place."""
    from datetime import datetime, timezone

    there = datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    return there.isoformat(sep=" ", timespec="seconds")


def human_age(seconds: float | None) -> str:
    """Return an age for a person in its one or two largest units: `1 h 5 min`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if not hours:
        return f"{minutes} min {int(seconds) % 60} s"
    if not days:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
