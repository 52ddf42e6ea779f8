"""Commands about whole queues: create, delete, ls, info, purge. Floor 4."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from mqclient.ctl import output
from mqclient.ctl.output import Column
from mqclient.ctl.session import (
    Session,
    durability_option,
    global_options,
    pass_session,
    queue_argument,
)
from mqclient.ctl.values import number, size_bytes

if TYPE_CHECKING:
    from mqclient.models import QueueInfo

_LS_COLUMNS: Final = (
    Column("queue"),
    *(
        Column(heading, is_number=True)
        for heading in ("ready", "size", "oldest", "pushed", "pulled", "purged", "waiting")
    ),
    Column("durability"),
)


@click.command(short_help="Create a queue.")
@queue_argument
@click.option(
    "--max-messages",
    metavar="COUNT",
    type=number(1),
    help="Refuse pushes that would leave more messages in it. [default: the server's bound]",
)
@click.option(
    "--max-bytes",
    metavar="SIZE",
    type=size_bytes,
    help="Refuse pushes that would make it larger: 500, 10M, 1GiB. [default: the server's bound]",
)
@durability_option(
    "What its messages reach that say nothing else: synced on the disk, written in the kernel, "
    "accepted in memory. [default: the server's]"
)
@click.option("--if-missing", is_flag=True, help="Leave a queue that exists as it is.")
@global_options
@pass_session
def create(
    session: Session,
    queue: str,
    max_messages: int | None,
    max_bytes: int | None,
    durability: str | None,
    *,
    if_missing: bool,
) -> None:
    """Create QUEUE."""
    with session.client() as client:
        info = client.create(
            queue,
            max_messages=max_messages,
            max_bytes=max_bytes,
            durability=durability,
            if_missing=if_missing,
        )
    if session.is_json:
        output.write_json(asdict(info))
    output.note(f"{queue} is there")


@click.command(short_help="Delete a queue and the messages in it.")
@queue_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def delete(session: Session, queue: str, *, yes: bool) -> None:
    """Delete QUEUE and the messages in it.

    Asks first where there is somebody to ask.
    """
    _remove(session, queue, "delete", is_sure=yes)


@click.command(short_help="Remove all messages of a queue.")
@queue_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Remove all messages of QUEUE; the queue stays.

    Asks first where there is somebody to ask.
    """
    _remove(session, queue, "purge", is_sure=yes)


def _remove(session: Session, queue: str, action: str, *, is_sure: bool) -> None:
    with session.client() as client:
        if not is_sure and output.person_is_there():
            ready = client.info(queue).ready
            question = f"{action} {queue} with {_count(ready)}?".capitalize()
            if not click.confirm(output.escape(question), err=True):
                raise click.Abort
        removed = client.delete(queue) if action == "delete" else client.purge(queue)
    if session.is_json:
        output.write_json({"queue": queue, "removed": removed})
    output.note(f"{action}d {queue}: {_count(removed)} went")


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"


@click.command(short_help="List the queues.")
@click.argument("pattern", required=False)
@global_options
@pass_session
def ls(session: Session, pattern: str | None) -> None:
    """List the queues, or those whose names fit PATTERN (with * and ?).

    In a pipe: a line for each queue, without a heading, sizes in bytes and ages in
    seconds (- for none): queue, ready, size, oldest, pushed, pulled, purged, waiting,
    durability. At a narrow terminal durability is left out; `mqctl info` shows it.
    """
    with session.client() as client:
        infos = client.queues(pattern)
    if session.is_json:
        output.write_json([asdict(info) for info in infos])
    elif infos:
        columns, rows = list(_LS_COLUMNS), [_ls_row(info) for info in infos]
        if not output.fits(columns, rows):  # the last column, rather than names cut short
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        output.write_table(columns, rows)
    else:
        output.note("there are no queues" if pattern is None else f"no queue fits {pattern}")


def _ls_row(info: QueueInfo) -> list[str]:
    return [
        info.queue,
        str(info.ready),
        _size(info.bytes),
        _age(info.oldest_age_seconds),
        str(info.pushed),
        str(info.pulled),
        str(info.purged),
        str(info.waiting),
        info.durability,
    ]


@click.command("info", short_help="Show all about a queue.")
@queue_argument
@global_options
@pass_session
def show_info(session: Session, queue: str) -> None:
    """Show all about QUEUE."""
    with session.client() as client:
        found = client.info(queue)
    if session.is_json:
        output.write_json(asdict(found))
        return
    fields = {
        "queue": found.queue,
        "ready": str(found.ready),
        "size": _size(found.bytes),
        "oldest": _age(found.oldest_age_seconds),
        "pushed": str(found.pushed),
        "pulled": str(found.pulled),
        "purged": str(found.purged),
        "waiting": str(found.waiting),
        "max_messages": str(found.max_messages),
        "max_bytes": _size(found.max_bytes),
        "durability": found.durability,
        "created": output.moment(found.created_at),
    }
    output.write_table([Column(), Column()], list(fields.items()))


def _size(size_bytes: int) -> str:
    return output.human_bytes(size_bytes) if output.stdout_is_terminal() else str(size_bytes)


def _age(seconds: float | None) -> str:
    if output.stdout_is_terminal() or seconds is None:
        return output.human_age(seconds)
    return f"{seconds:g}"


COMMANDS = (create, delete, ls, show_info, purge)
