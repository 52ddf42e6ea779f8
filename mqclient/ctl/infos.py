"""Commands that look at queues: ls and info. Floor 4."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from mqclient.ctl import output
from mqclient.ctl.output import Column
from mqclient.ctl.pull import STATES
from mqclient.ctl.session import Session, global_options, pass_session, queue_argument

if TYPE_CHECKING:
    from mqclient.models import QueueInfo

_COUNTERS: Final = ("pushed", "pulled", "acked", "purged", "waiting")
_LS_COLUMNS: Final = (
    Column("queue"),
    *(Column(heading, is_number=True) for heading in (*STATES, "size", "oldest", *_COUNTERS)),
    Column("durability"),
)
_SPARE: Final = ("durability", "purged", "acked", "pulled", "pushed")
"""What a narrow terminal does without, the first one first."""

_ONCE_MORE: Final = ("max_messages", "max_bytes", "durability")
"""Options that have a line of their own."""


@click.command(short_help="List the queues.")
@click.argument("pattern", required=False)
@global_options
@pass_session
def ls(session: Session, pattern: str | None) -> None:
    """List the queues, or those whose names fit PATTERN (with * and ?).

    In a pipe: a line for each queue, without a heading, sizes in bytes and ages in
    seconds (- for none): queue; messages that are ready, delayed, leased and dead; size,
    oldest, pushed, pulled, acked, purged, waiting, durability. A narrow terminal does
    without some of them; `mqctl info` shows all. With --json an object a line. If there is
    none it says so on standard error, and the exit code is 0.
    """
    with session.client() as client:
        infos = client.queues(pattern)
    if session.is_json:
        output.write_json_lines(asdict(info) for info in infos)
    elif infos:
        output.write_fitting(_LS_COLUMNS, [_ls_row(info) for info in infos], _SPARE)
    if not infos:
        output.nothing("there are no queues" if pattern is None else f"no queue fits {pattern}")


def _ls_row(info: QueueInfo) -> list[str]:
    return [
        info.queue,
        *(str(getattr(info, state)) for state in STATES),
        _size(info.bytes),
        _age(info.oldest_age_seconds),
        *(str(getattr(info, counter)) for counter in _COUNTERS),
        info.durability,
    ]


@click.command("info", short_help="Show all about a queue.")
@queue_argument
@global_options
@pass_session
def show_info(session: Session, queue: str) -> None:
    """Show all about QUEUE: how many messages are in which state, counters and options.

    Counters are since the queue was created. `oldest` is how long the oldest ready message
    has been there, `oldest_delayed`, `oldest_leased` and `oldest_dead` how long one has been
    delayed, under a lease or dead. A person is told, too, what to look at next.
    """
    with session.client() as client:
        found = client.info(queue)
    if session.is_json:
        output.write_json(asdict(found))
        return
    output.write_table([Column(), Column()], list(_fields(found).items()))
    for line in _advice(found):
        output.note(line)


def _fields(info: QueueInfo) -> dict[str, str]:
    fields = {
        "queue": info.queue,
        "ready": str(info.ready),
        "delayed": str(info.delayed),
        "leased": str(info.leased),
        "dead": str(info.dead),
        "size": _size(info.bytes),
        "oldest": _age(info.oldest_age_seconds),
        "oldest_delayed": _age(info.oldest_delayed_age_seconds),
        "oldest_leased": _age(info.oldest_leased_age_seconds),
        "oldest_dead": _age(info.oldest_dead_age_seconds),
        "pushed": str(info.pushed),
        "pulled": str(info.pulled),
        "acked": str(info.acked),
        "purged": str(info.purged),
        "moved": str(info.moved),
        "expired": str(info.expired),
        "cancelled": str(info.cancelled),
        "waiting": str(info.waiting),
        "paused": "yes" if info.is_paused else "no",
        "max_messages": str(info.max_messages),
        "max_bytes": _size(info.max_bytes),
        "durability": info.durability,
    }
    for name, value in info.options.items():
        if name not in _ONCE_MORE:
            fields[name] = f"{value:g}" if isinstance(value, float) else str(value)
    fields["created"] = output.moment(info.created_at)
    return fields


def _advice(info: QueueInfo) -> list[str]:
    """Say what an operator would look at next."""
    lines = []
    if info.is_paused:
        lines.append(f"nothing is delivered: mqctl resume {info.queue}")
    if info.leased:
        lines.append(f"who works on what: mqctl holders {info.queue}")
    if info.dead:
        lines.append(f"why {output.count_of(info.dead)} died: mqctl dead list {info.queue}")
    target = info.options.get("dead_letter")
    if info.moved and target:
        lines.append(
            f"why {output.count_of(info.moved)} went to {target}: mqctl dead list {target}"
        )
    return lines


def _size(size_bytes: int) -> str:
    return output.human_bytes(size_bytes) if output.stdout_is_terminal() else str(size_bytes)


def _age(seconds: float | None) -> str:
    if output.stdout_is_terminal() or seconds is None:
        return output.human_age(seconds)
    return f"{seconds:g}"
