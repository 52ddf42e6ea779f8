"""The commands dead list, show, redrive and purge. Floor 4."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import exits, letters, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.output import Column
from mqclient.ctl.progress import Bar
from mqclient.ctl.pull import as_json
from mqclient.ctl.session import (
    Session,
    complete_queue,
    failure,
    global_options,
    pass_session,
    queue_argument,
)
from mqclient.ctl.values import id_ranges, number, per_second
from mqwire import causes
from mqwire.limits import MAX_REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mqclient.client import Client
    from mqclient.ctl.letters import Letter

LISTED: Final = 100
"""So many are listed that nobody has asked for more."""

LARGEST_BATCH: Final = 1000
"""Most messages that are redriven by one request."""

_BATCHES_PER_SECOND: Final = 2
"""How often a redrive at a rate asks for some more."""

CAUSES: Final = tuple(cause for cause in causes.CAUSES if cause != causes.HAND_BACK)
"""How a message can have died that a redrive may name."""

_COLUMNS: Final = (
    Column("id", is_number=True),
    Column("state"),
    Column("from"),
    Column("id there", is_number=True),
    Column("failed", is_number=True),
    Column("lost", is_number=True),
    Column("died ago", is_number=True),
    Column("how"),
    Column("reason"),
)
_SPARE: Final = ("id there", "lost", "state")
_REASON_CHARS: Final = 60


@click.group(
    short_help="List, explain, redrive and purge dead messages.", invoke_without_command=True
)
@global_options
@click.pass_context
def dead(ctx: click.Context) -> None:
    """Look after the messages that are not to be tried again.

    A message dies when it has failed as often as its queue allows (--max-attempts), when it
    has lost as many workers (--max-worker-losses), or when a worker has rejected it. Where
    its queue has a dead-letter queue (--dead-letter) it moves there: then it is a ready
    message of that queue, which knows where it came from. Otherwise it stays where it is,
    in the state dead. These commands take either queue.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(exits.USAGE)


@dead.command(
    "list",
    short_help="List the dead messages of a queue.",
    epilog="Example: mqctl dead list jobs.dead",
)
@queue_argument
@click.option(
    "-n",
    "--count",
    metavar="COUNT",
    type=number(1),
    default=LISTED,
    help=f"At most so many. [default: {LISTED}]",
)
@global_options
@pass_session
def list_dead(session: Session, queue: str, count: int) -> None:
    """List the dead messages of QUEUE and the dead letters in it.

    In a pipe: a line for each, without a heading: id, state (dead, or ready for a dead
    letter), the queue that it came from and its id there (- for one that has stayed), how
    often it failed, how often its worker was lost, when it died (in seconds since 1970),
    how, and the last line of the reason. With --json an object a line, with body and whole
    history. The exit code is 5 if there is none.
    """
    with session.client() as client:
        found = list(islice(letters.letters_in(client, queue), count + 1))
        advice = "" if found else _elsewhere(client, queue, "list")
    shown = found[:count]
    if session.is_json:
        for letter in shown:
            output.write_document(as_json(letter.message, letters.fields(letter)))
    elif shown:
        now = time.time()
        rows = [letters.row(letter, now) for letter in shown]
        if output.stdout_is_terminal():
            rows = [[*cells, _cut(reason)] for *cells, reason in rows]
        output.write_fitting(_COLUMNS, rows, _SPARE)
    if not shown:
        output.nothing(advice)
        raise click.exceptions.Exit(exits.EMPTY)
    if len(found) > count:
        output.note(f"there are more: --count shows more than {count}")
    output.note(f"all about one of them: mqctl dead show {queue} {shown[0].message.id}")


def _cut(text: str) -> str:
    return text if len(text) <= _REASON_CHARS else text[: _REASON_CHARS - 3] + "..."


def _elsewhere(client: Client, queue: str, command: str) -> str:
    """Say that nothing is dead here, and where it may be."""
    info = client.info(queue)
    target = info.options.get("dead_letter")
    if target is None or not info.moved:
        return f"{queue} has no dead messages"
    return (
        f"{queue} has no dead messages: {output.count_of(info.moved)} went to {target}; see "
        f"mqctl dead {command} {target}"
    )


@dead.command(
    "show",
    short_help="Tell the story of a dead message.",
    epilog="Example: mqctl dead show jobs.dead 17",
)
@queue_argument
@click.argument("message_id", metavar="ID", type=number(1, MAX_REQUEST_ID))
@click.option("--full", is_flag=True, help="Give tracebacks whole.")
@global_options
@pass_session
def show(session: Session, queue: str, message_id: int, *, full: bool) -> None:
    """Tell all about the dead message ID of QUEUE: body, headers and every delivery.

    Of each delivery: which worker had it, on which host, since when, for how long, how it
    ended, and the reason that the worker gave, such as a traceback, without the frames of
    Python and of this library; --full gives them too. The server keeps the last 16
    deliveries. The exit code is 5 if there is no such dead message.
    """
    with session.client() as client:
        letter = _find(client, queue, message_id)
    if session.is_json:
        output.write_document(as_json(letter.message, letters.fields(letter)))
        return
    for line in letters.story(letter, full=full):
        output.write_line(line)
    output.note(f"to have it tried again: mqctl dead redrive {queue} --ids {message_id}")


def _find(client: Client, queue: str, message_id: int) -> Letter:
    for letter in letters.letters_in(client, queue):
        if letter.message.id == message_id:
            return letter
    raise Failure(
        f"{queue} has no dead message {message_id}; `mqctl dead list {queue}` shows those that "
        "it has",
        exits.EMPTY,
    )


@dead.command(
    "redrive",
    short_help="Have dead messages tried again.",
    epilog="Examples: mqctl dead redrive jobs.dead --ids 17,20-29 · "
    "mqctl dead redrive jobs.dead --all --rate 50",
)
@queue_argument
@click.option("--ids", metavar="IDS", type=id_ranges, help="These alone: 17 or 17,20-29.")
@click.option("-a", "--all", "everything", is_flag=True, help="All that are dead by now.")
@click.option("--max", "most", metavar="COUNT", type=number(1), help="The oldest COUNT.")
@click.option(
    "--cause",
    metavar="WORD",
    type=click.Choice(CAUSES),
    help="Those alone that died so: nack (failed), reject, expired (the lease ran out), gone (the "
    "worker was lost) or ttl (waited too long).",
)
@click.option(
    "--origin",
    metavar="QUEUE",
    shell_complete=complete_queue,
    help="Dead letters of this queue alone.",
)
@click.option(
    "--rate",
    metavar="COUNT",
    type=per_second,
    help="So many each second, so that those who work on them are not flooded. [default: as "
    "fast as it goes]",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def redrive(  # noqa: PLR0913  a command's options are its arguments
    session: Session,
    /,
    queue: str,
    *,
    ids: list[int] | None,
    everything: bool,
    most: int | None,
    cause: str | None,
    origin: str | None,
    rate: float | None,
    yes: bool,
) -> None:
    """Have dead messages of QUEUE tried again, with new budgets.

    Dead letters go back to the queue that they came from, those that have stayed become
    ready where they are. Without --ids it asks first where there is somebody to ask. No
    more are redriven than there were at the beginning. The exit code is 5 if there was none.
    """
    if (ids is not None) + everything + (most is not None) != 1:
        raise click.UsageError("say which: --ids IDS, --max COUNT or --all")
    named = {"cause": cause, "origin": origin}
    which: Any = {name: value for name, value in named.items() if value is not None}
    with session.client() as client:
        if ids is None:
            there = _most_dead(client, queue)
            most = there if most is None else min(most, there)
            if most and not yes and output.person_is_there():
                output.confirm(f"Redrive the dead messages of {queue}, {most} at most?")
        run = Redrive(client, queue, rate, which)
        with Bar(len(ids) if ids is not None else most) as bar:
            run.carry_out(ids, most or 0, bar)
        advice = "" if run.moved else _not_redriven(client, queue, ids, which)
    if session.is_json:
        output.write_json({"queue": queue, "moved": run.moved})
    if not run.moved:
        output.nothing(advice)
        raise click.exceptions.Exit(exits.EMPTY)
    output.note(f"{output.count_of(run.moved)} of {queue} will be tried again")
    if ids is not None and run.moved < len(ids):
        such = " of that kind" if which else ""
        output.warn(f"{len(ids) - run.moved} of the {len(ids)} ids are of no dead message{such}")


def _not_redriven(
    client: Client, queue: str, ids: list[int] | None, which: Mapping[str, str]
) -> str:
    if which:
        said = " and ".join(f"--{name} {value}" for name, value in which.items())
        return f"no dead message of {queue} fits {said}"
    if ids is not None and (client.info(queue).dead or letters.sources_of(client, queue)):
        what = "this is the id" if len(ids) == 1 else "these are ids"
        there = f"`mqctl dead list {queue}` shows those that it has"
        return f"{what} of no dead message of {queue}; {there}"
    return _elsewhere(client, queue, "redrive")


def _most_dead(client: Client, queue: str) -> int:
    """Return how many messages may be dead. Letters are ready, and not counted apart.

    Where nobody sends letters, ready messages do not count beside dead ones: a bound that is
    too high would redrive again and again what dies at once.
    """
    info = client.info(queue)
    if info.dead and not letters.sources_of(client, queue):
        return info.dead
    return info.dead + info.ready


class Redrive:
    """Redrives in batches and keeps count, so that an error can say how far it came.

    Args:
        client: a connected client.
        queue: where the dead messages are.
        rate: messages a second, or None for no bound.
        which: `cause` and `origin` of those that are meant; empty for all.
    """

    def __init__(
        self, client: Client, queue: str, rate: float | None, which: Mapping[str, Any]
    ) -> None:
        self.moved = 0
        """Messages that the server has redriven."""
        self._client = client
        self._queue = queue
        self._rate = rate
        self._which = which
        self._started_at = time.monotonic()

    def carry_out(self, ids: list[int] | None, most: int, bar: Bar) -> None:
        """Redrive the messages with these ids, or else up to `most` of the oldest.

        Raises:
            Failure: it broke off; the sentence says how far it came.
        """
        from mqclient.errors import MqError  # noqa: PLC0415  --help does without

        try:
            for done in self._batches(most) if ids is None else self._named(ids):
                bar.show(done, f"{self.moved:,} messages", is_due=self._rate is not None)
        except MqError as error:
            raise failure(error, self._so_far()) from error
        except KeyboardInterrupt as error:
            so_far = f"{self._so_far()}, and a request may have been on its way"
            raise Failure(f"interrupted: {so_far}", exits.INTERRUPTED) from error

    def _so_far(self) -> str:
        return f"{output.count_of(self.moved)} of {self._queue} had been redriven before"

    def _batches(self, most: int) -> Iterator[int]:
        while self.moved < most:
            self._wait_for_turn(self.moved)
            asked = min(self._batch(), most - self.moved)
            moved = self._client.redrive(self._queue, count=asked, **self._which)
            if not moved:
                return
            self.moved += moved
            yield self.moved

    def _named(self, ids: list[int]) -> Iterator[int]:
        size = self._batch()
        for start in range(0, len(ids), size):
            self._wait_for_turn(start)
            some = ids[start : start + size]
            self.moved += self._client.redrive(self._queue, ids=some, **self._which)
            yield min(start + size, len(ids))

    def _batch(self) -> int:
        if self._rate is None:
            return LARGEST_BATCH
        return max(1, min(LARGEST_BATCH, int(self._rate / _BATCHES_PER_SECOND)))

    def _wait_for_turn(self, asked: int) -> None:
        """Wait until the rate allows more than the `asked` messages so far."""
        if self._rate is not None:
            seconds = self._started_at + asked / self._rate - time.monotonic()
            if seconds > 0:
                _pause(seconds)


def _pause(seconds: float) -> None:
    time.sleep(seconds)


@dead.command("purge", short_help="Remove the dead messages of a queue.")
@queue_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Remove the messages of QUEUE that are in the state dead, for good.

    Asks first where there is somebody to ask. Dead letters are ready messages of a queue of
    their own: `mqctl purge` removes these.
    """
    with session.client() as client:
        count = client.info(queue).dead
        if count and not yes and output.person_is_there():
            output.confirm(f"Remove {output.count_of(count, 'dead message')} of {queue} for good?")
        removed = client.purge(queue, state="dead")
        advice = "" if removed else _not_purged(client, queue)
    if session.is_json:
        output.write_json({"queue": queue, "removed": removed})
    output.note(advice or f"{output.count_of(removed, 'dead message')} of {queue} went")


def _not_purged(client: Client, queue: str) -> str:
    sources = letters.sources_of(client, queue)
    if not sources:
        return _elsewhere(client, queue, "list")
    return (
        f"{queue} has dead letters of {', '.join(sources)}, which are ready messages: mqctl purge "
        f"{queue} removes them"
    )


COMMANDS = (dead,)
