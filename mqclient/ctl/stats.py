"""The command stats: a server's figures as a table, once or again and again. Floor 4.

How a figure is shown follows from its name, whose end says its unit, so that figures
of newer servers are shown too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import output
from mqclient.ctl.output import Column
from mqclient.ctl.session import Session, global_options, pass_session
from mqclient.ctl.values import interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLUMNS: Final = (Column("part"), Column("figure"), Column("value"))
_PLAIN_COLUMNS: Final = (Column(), Column())
_CLEAR: Final = b"\x1b[H\x1b[2J"


@click.command(short_help="Show the server's figures.")
@click.option(
    "--watch",
    metavar="SECONDS",
    type=interval,
    help="Show them again and again, with so many seconds between, until Ctrl-C.",
)
@global_options
@pass_session
def stats(session: Session, watch: float | None) -> None:
    """Show the server's figures: connections, rates, journal, snapshots, frame log.

    Rates are for each second of the last minute. In a pipe: a line for each figure, its
    name (such as journal.bytes) and its value, sizes in bytes, times in seconds and - for
    what there is not. With --json an object; with --watch one a line.
    """
    with session.client() as client:
        while True:
            _show(session, client.stats(), is_redrawn=watch is not None)
            if watch is None:
                return
            _pause(watch)


def _show(session: Session, figures: Mapping[str, Any], *, is_redrawn: bool) -> None:
    if session.is_json:
        output.write_json(figures)
    elif output.stdout_is_terminal():
        if is_redrawn:
            output.write_bytes(_CLEAR)
        output.write_table(_COLUMNS, list(_rows_for_person(figures)))
    else:
        output.write_table(_PLAIN_COLUMNS, list(_plain_rows(figures)))
        if is_redrawn:
            output.write_line("")
    output.flush()


def _plain_rows(figures: Mapping[str, Any]) -> Iterator[list[str]]:
    for part, values in figures.items():
        if not isinstance(values, dict):
            yield [part, _plain(values)]
            continue
        for name, value in values.items():
            yield [f"{part}.{name}", _plain(value)]


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # Six significant digits, and no exponent: sort -n and awk take it.
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _rows_for_person(figures: Mapping[str, Any]) -> Iterator[list[str]]:
    for part, values in figures.items():
        if not isinstance(values, dict):
            yield [part.replace("_", " "), "", _plain(values)]
            continue
        title = part.replace("_", " ")
        for name, value in values.items():
            yield [title, name.replace("_", " "), human(part, name, value)]
            title = ""


def human(part: str, name: str, value: Any) -> str:
    """Return a figure for a person.

    Args:
        part: the part that it stands in; figures of `rates` are for each second.
        name: its name, which says what it is.
        value: as the server told it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _plain(value)
    words = name.split("_")
    if name == "started_at":
        return output.moment(value)
    if "seconds" in words:
        return _duration(value)
    if "bytes" in words:
        return output.human_bytes(value)
    if part == "rates":
        return f"{value:,.1f} /s"
    return f"{value:,}"


def _duration(seconds: float) -> str:
    if not seconds or seconds >= 1:
        return output.human_age(seconds)
    return f"{seconds * 1000:.3g} ms"


def _pause(seconds: float) -> None:
    time.sleep(seconds)


COMMANDS = (stats,)
