"""Commands about whole queues: create, delete, purge, pause, resume. Floor 4."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import output
from mqclient.ctl.session import (
    Session,
    durability_option,
    global_options,
    pass_session,
    queue_argument,
)
from mqclient.ctl.values import fraction, number, seconds_up_to, size_bytes
from mqwire.limits import (
    DEFAULT_DEDUPE_SECONDS,
    MAX_ATTEMPTS,
    MAX_DEDUPE_SECONDS,
    MAX_DELAY_SECONDS,
    MIN_EXPIRES_SECONDS,
    MIN_TTL_SECONDS,
)
from mqwire.verbs import BACKOFFS, EXPIRED_FATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqclient.models import QueueInfo

_delay = seconds_up_to(MAX_DELAY_SECONDS)

_RETRY_OPTIONS: Final = (
    click.option(
        "--dead-letter",
        metavar="QUEUE",
        help="Where messages go that are past a budget; made if it is not there. [default: they "
        "stay in their queue, as dead]",
    ),
    click.option(
        "--max-attempts",
        metavar="COUNT",
        type=number(1, MAX_ATTEMPTS),
        help="Failures after which a message is dead. [default: no bound]",
    ),
    click.option(
        "--max-worker-losses",
        metavar="COUNT",
        type=number(1, MAX_ATTEMPTS),
        help="Lost workers (killed, cut off, out of time) after which a message is dead. "
        "[default: the server's, 5 unless configured]",
    ),
    click.option(
        "--backoff",
        metavar="WORD",
        type=click.Choice(BACKOFFS),
        help="How the delay before another attempt grows: none, fixed, linear or exponential. "
        "[default: the server's, exponential unless configured]",
    ),
    click.option(
        "--backoff-seconds",
        metavar="SECONDS",
        type=_delay,
        help="The first delay; --backoff has to be there, too. [default: 1]",
    ),
    click.option(
        "--backoff-cap-seconds",
        metavar="SECONDS",
        type=_delay,
        help="The longest delay; --backoff has to be there, too. [default: 3600]",
    ),
    click.option(
        "--backoff-jitter",
        metavar="FRACTION",
        type=fraction,
        help="From 0 to 1: the part of a delay that chance may take off, so that jobs which "
        "failed together do not come back together. [default: 0]",
    ),
)

_ORDER_OPTIONS: Final = (
    click.option(
        "--ttl-seconds",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DELAY_SECONDS, MIN_TTL_SECONDS),
        help="How long a message may wait before it expires. [default: for ever]",
    ),
    click.option(
        "--on-expiry",
        metavar="WORD",
        type=click.Choice(EXPIRED_FATES),
        help="What becomes of a message that expires, with --ttl-seconds: drop or dead_letter. "
        "[default: drop]",
    ),
    click.option(
        "--max-leased",
        metavar="COUNT",
        type=number(1),
        help="Most messages that may be worked on at a time. [default: no bound]",
    ),
    click.option(
        "--expires-seconds",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DELAY_SECONDS, MIN_EXPIRES_SECONDS),
        help="Delete the queue, with its messages, when nobody has used it for so long. "
        "[default: never]",
    ),
    click.option(
        "--dedupe-seconds",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DEDUPE_SECONDS),
        help="How long the key of a push is remembered, so that a repeat is known as one. "
        f"[default: {DEFAULT_DEDUPE_SECONDS}]",
    ),
)


_RESULT_OPTIONS: Final = (
    click.option(
        "--keep-results-seconds",
        metavar="SECONDS",
        type=seconds_up_to(MAX_DELAY_SECONDS, 1),
        help="How long it is remembered what has become of messages, and what their workers say "
        "came of them: see mqctl status. [default: not at all]",
    ),
)


def _life_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed((*_RETRY_OPTIONS, *_ORDER_OPTIONS, *_RESULT_OPTIONS)):
        function = option(function)
    return function


@click.command(
    short_help="Create a queue.",
    epilog="Example: mqctl create jobs --dead-letter jobs.dead --max-attempts 5 "
    "--max-worker-losses 20 --backoff exponential --backoff-jitter 0.5",
)
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
@_life_options
@click.option("--if-missing", is_flag=True, help="Leave a queue that exists as it is.")
@global_options
@pass_session
def create(
    session: Session,
    /,
    queue: str,
    max_messages: int | None,
    max_bytes: int | None,
    durability: str | None,
    *,
    if_missing: bool,
    **life: Any,
) -> None:
    """Create QUEUE.

    The options from --dead-letter to --backoff-jitter say what becomes of jobs that fail while
    somebody works on them under a lease (mqctl work, or consume in Python). A queue's options
    are fixed from then on.
    """
    given = {name: value for name, value in life.items() if value is not None}
    orphans = [name for name in given if name.startswith("backoff_")]
    if orphans and "backoff" not in given:
        option = orphans[0].replace("_", "-")
        growing = " or ".join(word for word in BACKOFFS if word != "none")
        raise click.UsageError(
            f"--{option} needs --backoff beside it ({growing}): what the server does without it "
            "is its own configuration's"
        )
    if "on_expiry" in given and "ttl_seconds" not in given:
        raise click.UsageError("--on-expiry goes with --ttl-seconds")
    with session.client() as client:
        info = client.create(
            queue,
            max_messages=max_messages,
            max_bytes=max_bytes,
            durability=durability,
            if_missing=if_missing,
            **given,
        )
    if session.is_json:
        output.write_json(asdict(info))
    target = info.options.get("dead_letter")
    output.note(f"{queue} is there" + (f"; its dead letters go to {target}" if target else ""))


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


@click.command(short_help="Remove the waiting messages of a queue.")
@queue_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Remove the messages of QUEUE that are ready or delayed; the queue stays.

    What somebody works on under a lease stays, and what is dead does too (mqctl dead purge).
    Asks first where there is somebody to ask.
    """
    _remove(session, queue, "purge", is_sure=yes)


@click.command(short_help="Stop the delivery of a queue's messages.")
@queue_argument
@global_options
@pass_session
def pause(session: Session, queue: str) -> None:
    """Deliver no messages of QUEUE until `mqctl resume`: workers wait as if it were empty.

    Pushes go on, and so does the work on what is under leases. A pause survives a restart
    of the server.
    """
    with session.client() as client:
        client.pause(queue)
    if session.is_json:
        output.write_json({"queue": queue, "is_paused": True})
    output.note(f"{queue} is paused; mqctl resume {queue} ends that")


@click.command(short_help="Deliver the messages of a paused queue again.")
@queue_argument
@global_options
@pass_session
def resume(session: Session, queue: str) -> None:
    """Deliver the messages of QUEUE again. One that is not paused stays as it is."""
    with session.client() as client:
        client.resume(queue)
    if session.is_json:
        output.write_json({"queue": queue, "is_paused": False})
    output.note(f"{queue} is not paused")


def _remove(session: Session, queue: str, action: str, *, is_sure: bool) -> None:
    with session.client() as client:
        if not is_sure and output.person_is_there():
            output.confirm(
                f"{action.capitalize()} {queue} with {_stake(client.info(queue), action)}?"
            )
        removed = client.delete(queue) if action == "delete" else client.purge(queue)
    if session.is_json:
        output.write_json({"queue": queue, "removed": removed})
    output.note(f"{action}d {queue}: {output.count_of(removed)} went")


def _stake(info: QueueInfo, action: str) -> str:
    """Say what is about to go."""
    waiting = info.ready + info.delayed
    if action == "purge":
        return output.count_of(waiting)
    total = output.count_of(waiting + info.leased + info.dead)
    parts = [
        f"{count} {state}"
        for state, count in (("leased", info.leased), ("dead", info.dead))
        if count
    ]
    return f"{total} ({', '.join(parts)})" if parts else total
