"""The commands status, wait and cancel: single messages by their ids. Floor 4."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import exits, output
from mqclient.ctl.output import Column
from mqclient.ctl.session import (
    Session,
    global_options,
    library_warnings,
    pass_session,
    queue_argument,
    server_wait_option,
)
from mqclient.ctl.stories import CAUSES
from mqclient.ctl.values import id_ranges, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient.view_models import Status

_COLUMNS: Final = (
    Column("id", is_number=True),
    Column("state"),
    Column("delivered", is_number=True),
    Column("failed", is_number=True),
    Column("lost", is_number=True),
    Column("when"),
    Column("what"),
)
_SPARE: Final = ("lost", "delivered")
_SHOWN_CHARS: Final = 60

_ids_argument = click.argument("ids", metavar="IDS", type=id_ranges)


@click.command(
    short_help="Tell where messages are.",
    epilog="Example: mqctl status jobs 17,20-29",
)
@queue_argument
@_ids_argument
@global_options
@pass_session
def status(session: Session, queue: str, ids: list[int]) -> None:
    """Tell where the messages IDS of QUEUE are (17 or 17,20-29), and what became of them.

    In a pipe: a line for each, without a heading: id, state (ready, delayed, leased, dead,
    done, cancelled, gone, unknown), how often it was delivered, has failed, has lost its
    worker, a time in seconds since 1970 (since when it is over; until when its lease is; when
    it is due), and what there is to say: its place among those that wait, its worker, its
    result or its error; - for what there is not. What is done is told by a queue that keeps
    results (mqctl create --keep-results-seconds), and is gone otherwise.
    """
    with session.client() as client:
        found = client.status(queue, ids)
    _write(session, found)


@click.command(
    short_help="Wait until messages have come to an end.",
    epilog="Example: mqctl wait jobs 17 --for 3600",
)
@queue_argument
@_ids_argument
@click.option(
    "--for",
    "limit",
    metavar="SECONDS",
    type=seconds,
    help="For so long at most. [default: as long as it takes]",
)
@server_wait_option
@global_options
@pass_session
def wait(
    session: Session, queue: str, ids: list[int], limit: float | None, server_wait: float
) -> None:
    """Wait until none of the messages IDS of QUEUE will be worked on any more.

    The output is that of status. The exit code is 0 when all are done (or gone, where the
    queue keeps no results), 7 if one is dead or was cancelled, 5 if the queue has never had
    one of them, and 6 if the time was over before. A server that restarts, or is not there
    yet, is waited for.
    """
    if limit is None and session.timeout is not None:
        raise click.UsageError("wait lasts for --for SECONDS; --timeout ends no wait")
    began_at = time.monotonic()
    session.server_wait = server_wait if limit is None else min(server_wait, limit)
    with library_warnings(), session.client() as client:
        if limit is not None:
            limit = max(limit - (time.monotonic() - began_at), 0.0)
        found = client.wait(queue, ids, timeout=limit)
    _write(session, found)
    states = {each.state for each in found}
    if not all(each.is_over for each in found):
        left = sum(not each.is_over for each in found)
        output.note(f"{output.count_of(left)} of {queue} not over yet")
        raise click.exceptions.Exit(exits.TIMED_OUT)
    if states & {"dead", "cancelled"}:
        raise click.exceptions.Exit(exits.FAILED)
    if "unknown" in states:
        raise click.exceptions.Exit(exits.EMPTY)


@click.command(
    short_help="Have messages not worked on any more.",
    epilog="Example: mqctl cancel jobs 17,20-29",
)
@queue_argument
@_ids_argument
@global_options
@pass_session
def cancel(session: Session, queue: str, ids: list[int]) -> None:
    """Have the messages IDS of QUEUE (17 or 17,20-29) not worked on any more.

    Those that wait are removed. The workers of those that are at work are told, which ends
    the command of `mqctl work`, and they are not tried again. All others are passed over:
    the exit code is 5 if there were no others.
    """
    with session.client() as client:
        done = client.cancel(queue, ids)
    if session.is_json:
        output.write_json({"queue": queue, "removed": done.removed, "marked": done.marked})
    if not done.removed + done.marked:
        output.nothing(f"none of these messages waits in {queue} or is at work")
        raise click.exceptions.Exit(exits.EMPTY)
    output.note(
        f"{output.count_of(done.removed)} of {queue} removed, "
        f"{output.count_of(done.marked, 'worker')} to be told"
    )


def _write(session: Session, found: Sequence[Status]) -> None:
    if session.is_json:
        output.write_json_lines(map(as_json, found))
    elif found:
        now = time.time()
        output.write_fitting(_COLUMNS, [_row(each, now) for each in found], _SPARE)


def as_json(status: Status) -> dict[str, Any]:
    """Return what is known of a message; bytes of a result as {"base64": ...}."""
    known = {name: value for name, value in asdict(status).items() if value is not None}
    if known.pop("raw_result", None) is not None:
        known["result"] = status.result
    if status.lease is not None:
        known["lease"] = str(status.lease)
    if status.moved_to is not None:
        known["moved_to"] = status.moved_to._asdict()
    if not status.is_cancelled:
        del known["is_cancelled"]
    return known


def _row(status: Status, now: float) -> list[str]:
    counts = (status.deliveries, status.attempts, status.losses)
    return [
        str(status.id),
        "cancelling" if status.is_cancelled else status.state,
        *("-" if count is None else str(count) for count in counts),
        _when(status, now),
        _what(status),
    ]


def _when(status: Status, now: float) -> str:
    moment = status.ended_at or status.deadline_at or status.due_at
    if moment is None:
        return "-"
    if not output.stdout_is_terminal():
        return f"{moment:.3f}"
    if moment > now:
        return f"in {output.human_age(moment - now)}"
    return f"{output.human_age(now - moment)} ago"


def _what(status: Status) -> str:
    """Say in a few words what there is to say."""
    words = "-"
    if status.position is not None:
        words = f"{status.position} before it"
    elif status.holder is not None:
        words = status.holder if not status.host else f"{status.holder} on {status.host}"
    elif status.raw_result is not None:
        words = _text(status.raw_result)
    elif status.cause is not None:
        words = CAUSES.get(status.cause, status.cause)
        error = (status.error or "").strip().splitlines()
        if error:
            words = f"{words}: {error[-1]}"
    if status.moved_to is not None:
        words = f"{words} ({status.moved_to.queue} {status.moved_to.id})"
    words = " ".join(words.split())
    if output.stdout_is_terminal() and len(words) > _SHOWN_CHARS:
        words = words[: _SHOWN_CHARS - 3] + "..."
    return words


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else f"{len(raw)} bytes"


COMMANDS = (status, wait, cancel)
