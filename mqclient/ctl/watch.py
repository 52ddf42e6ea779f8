"""The command watch: what happens at the server, as it happens. Floor 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import output
from mqclient.ctl.session import (
    Session,
    global_options,
    library_warnings,
    pass_session,
    server_wait_option,
)
from mqclient.ctl.values import number, seconds
from mqwire.verbs import EVENTS

if TYPE_CHECKING:
    from mqclient.view_models import Event

KINDS: Final = EVENTS
"""What may happen."""

_TOLD: Final = ("holder", "cause", "moved_to", "state")
_MOST_RUNS: Final = 8


@click.command(
    short_help="Show what happens to queues and messages.",
    epilog="Example: mqctl watch 'jobs*' --event dead --event lost",
)
@click.argument("pattern", required=False)
@click.option(
    "-e",
    "--event",
    "events",
    metavar="WORD",
    type=click.Choice(KINDS),
    multiple=True,
    help="Events of this kind alone; may be given several times. [default: all]",
)
@click.option("-n", "--count", metavar="COUNT", type=number(1), help="End after so many events.")
@click.option(
    "-w",
    "--wait",
    metavar="SECONDS",
    type=seconds,
    help="End when nothing has happened for so long. [default: never]",
)
@server_wait_option
@global_options
@pass_session
def watch(
    session: Session,
    pattern: str | None,
    events: tuple[str, ...],
    count: int | None,
    wait: float | None,
    server_wait: float,
) -> None:
    """Show what happens from now on, to all queues or to those whose names fit PATTERN.

    A line for each event: its time, its kind (created, deleted, paused, resumed, purged,
    pushed, pulled, leased, acked, nacked, rejected, handed_back, lost, ready, expired, dead,
    redriven, cancelling, cancelled), the queue, the ids of the messages, and what else is
    known. In a pipe the time is in seconds since 1970. With --json an object a line. `missed`
    says that events were not told, since this program was too slow or was cut off. A server
    that restarts, or is not there yet, is waited for. Ctrl-C ends it, with exit code 130.
    """
    left = count
    session.server_wait = server_wait if wait is None else min(server_wait, wait)
    with (
        library_warnings(),
        session.client() as client,
        client.watch(pattern, events=list(events) or None, wait=wait) as watching,
    ):
        output.note("watching; Ctrl-C ends it")
        for event in watching:
            _write(session, event)
            left = None if left is None else left - 1
            if left == 0:
                return


def _write(session: Session, event: Event) -> None:
    if session.is_json:
        output.write_json(as_json(event))
    else:
        output.write_line(line(event))
    output.flush()


def as_json(event: Event) -> dict[str, Any]:
    """Return an event as one object; its messages as pairs of a first id and a count."""
    runs = [list(pair) for pair in zip(event.runs[::2], event.runs[1::2], strict=True)]
    more = {name: value for name, value in event.more.items() if name not in ("lease", "count")}
    known = {"event": event.kind, "queue": event.queue, "runs": runs, "count": event.count}
    if event.lease is not None:
        more["lease"] = str(event.lease)
    return {**known, "at": event.at, **more}


def line(event: Event) -> str:
    """Return an event as a line for a person, or for awk."""
    if output.stdout_is_terminal():
        at = output.moment(event.at) if event.at else "-"
    else:
        at = f"{event.at:.3f}"
    words = [at, event.kind, event.queue or "-", _ids(event)]
    words += [str(event.more[name]) for name in _TOLD if event.more.get(name)]
    reason = (event.reason or "").strip().splitlines()
    return " ".join([*words, *reason[-1:]])


def _ids(event: Event) -> str:
    if not event.runs:
        return f"({event.count})" if event.count else "-"
    pairs = list(zip(event.runs[::2], event.runs[1::2], strict=True))
    texts = [
        str(first) if count == 1 else f"{first}-{first + count - 1}"
        for first, count in pairs[:_MOST_RUNS]
    ]
    return ",".join(texts) + (",..." if len(pairs) > _MOST_RUNS else "")


COMMANDS = (watch,)
