"""The command holders: who works on what, since when, until when. Floor 4."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from mqclient.ctl import output
from mqclient.ctl.output import Column
from mqclient.ctl.session import Session, global_options, pass_session

if TYPE_CHECKING:
    from mqclient.models import Holder

MOST_SHOWN: Final = 1000
"""The server tells of so many leases at a time."""

_COLUMNS: Final = (
    Column("queue"),
    Column("messages", is_number=True),
    Column("worker"),
    Column("host"),
    Column("peer"),
    Column("state"),
    Column("since", is_number=True),
    Column("left", is_number=True),
    Column("lease"),
)
_SPARE: Final = ("peer", "lease", "messages")
"""What a narrow terminal does without, the first one first."""


@click.command(
    short_help="List who works on what.",
    epilog="Example: mqctl holders 'train.*'",
)
@click.argument("pattern", required=False)
@global_options
@pass_session
def holders(session: Session, pattern: str | None) -> None:
    """List the leases on the messages of all queues, or of those whose names fit PATTERN.

    A lease is one worker's right to some messages until a moment that it puts off as long
    as it lives. A worker without a connection is away: unless it comes back, its messages
    are handed back when the server's grace is over, long before the lease would end. One that
    is detached works through a gateway, and its lease goes on to its end.

    In a pipe: a line for each lease, the oldest first: queue, messages, worker, host, peer,
    connected, away or detached, since and until (in seconds since 1970), lease. A narrow
    terminal does without some of them. With --json an object a line. If there is none it
    says so on standard error, and the exit code is 0.
    """
    with session.client() as client:
        found = client.holders(pattern)
    if session.is_json:
        output.write_json_lines({**asdict(each), "lease": str(each.lease)} for each in found)
    elif found:
        now = time.time()
        output.write_fitting(_COLUMNS, [_row(each, now) for each in found], _SPARE)
    if not found:
        of = "" if pattern is None else f" of queues that fit {pattern}"
        output.nothing(f"nobody works on messages{of}")
    if len(found) >= MOST_SHOWN:
        output.warn(f"there may be more: only the {len(found)} oldest leases are told; name queues")


def _row(holder: Holder, now: float) -> list[str]:
    since, until = f"{holder.leased_at:.3f}", f"{holder.deadline_at:.3f}"
    if output.stdout_is_terminal():
        since = output.human_age(max(now - holder.leased_at, 0.0))
        until = output.human_age(max(holder.deadline_at - now, 0.0))
    return [
        holder.queue,
        str(holder.count),
        holder.holder,
        holder.host or "-",
        holder.peer or "-",
        "detached" if holder.is_detached else "connected" if holder.is_connected else "away",
        since,
        until,
        str(holder.lease),
    ]


COMMANDS = (holders,)
