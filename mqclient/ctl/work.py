"""The command work: a shell command as a worker. Floor 4."""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

import shutil
import sys
from collections import Counter
from contextlib import suppress
from pathlib import PurePath
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any, Final

import click

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.pull import info_of, told_pause
from mqclient.ctl.session import (
    Session,
    complete_queue,
    failure,
    global_options,
    library_warnings,
    pass_session,
    queue_argument,
    server_wait_option,
)
from mqclient.ctl.values import number, seconds, seconds_up_to
from mqwire.limits import MAX_LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqclient.ctl.working import Outcome, Worker

DEFAULT_LEASE_SECONDS: Final = 60.0
SHORTEST_LEASE_SECONDS: Final = 1
"""What extends leases is a process that takes some tenths of a second to start."""
DEFAULT_DRAIN_SECONDS: Final = 20.0
"""With what a command has left after that, less than the half minute after which batch
systems kill."""
MOST_SLOTS: Final = 256

_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "csh", "tcsh"})


@click.command(
    short_help="Run a command for each message, under a lease.",
    epilog="Examples: mqctl work jobs -- python train.py · "
    "mqctl work files --jobs 4 --wait 60 -- gzip -9 {} · "
    "mqctl work jobs --count 1 -- sh -c 'echo \"$1\" | wc -c' sh {}",
)
@queue_argument
@click.argument("command", nargs=-1, required=True)
@click.option(
    "-j",
    "--jobs",
    metavar="COUNT",
    type=number(1, MOST_SLOTS),
    default=1,
    help="How many commands run at a time. [default: 1]",
)
@click.option("-n", "--count", metavar="COUNT", type=number(1), help="End after so many messages.")
@click.option(
    "-w",
    "--wait",
    metavar="SECONDS",
    type=seconds,
    help="End when none has come for so long; 0: when there is none. [default: wait for ever]",
)
@click.option(
    "--lease",
    metavar="SECONDS",
    type=seconds_up_to(MAX_LEASE_SECONDS, SHORTEST_LEASE_SECONDS),
    default=DEFAULT_LEASE_SECONDS,
    help="After so long another worker gets the message if this machine is cut off or this "
    f"program is stopped. No bound for the command. [default: {DEFAULT_LEASE_SECONDS:g}]",
)
@click.option(
    "--drain",
    metavar="SECONDS",
    type=seconds,
    default=DEFAULT_DRAIN_SECONDS,
    help=f"How long commands may go on after SIGTERM. [default: {DEFAULT_DRAIN_SECONDS:g}]",
)
@click.option(
    "--reject-code",
    "reject_codes",
    metavar="CODE",
    type=number(1, 255),
    multiple=True,
    help="An exit code that means: never try this one again. May be given several times.",
)
@click.option(
    "--push-results",
    "results",
    metavar="QUEUE",
    shell_complete=complete_queue,
    help="Push what a command that ends well has written to its standard output to QUEUE, in one "
    "step with its end: both happen, or neither.",
)
@click.option("--raw", is_flag=True, help="Give bodies as the bytes that they are.")
@server_wait_option
@global_options
@pass_session
def work(
    session: Session,
    /,
    *,
    queue: str,
    command: tuple[str, ...],
    raw: bool,
    server_wait: float,
    **settings: Any,
) -> None:
    """Run COMMAND for each message of QUEUE, one after the other or several at a time.

    The body is the standard input of the command, with a line end; or it takes the place of
    {} in its arguments. A JSON string is given as the text that it holds. The variables
    MQ_JOB_ID, MQ_JOB_QUEUE, MQ_JOB_DELIVERIES, MQ_JOB_ATTEMPTS and MQ_JOB_HEADERS say more.

    The message stays at the server under a lease, which is extended as long as the command
    runs. Exit code 0: it is done, and gone. Another one: it has failed; the exit code and
    the last lines of the standard error go into its history, and it is tried again as its
    queue says (mqctl create --max-attempts, --backoff). If this worker dies, another gets it.

    On SIGTERM no more messages are taken; what still runs after --drain SECONDS is told to
    end by SIGTERM, and killed 5 seconds later. On Ctrl-C that happens at once. What did not
    end well then is handed back, and spends no attempt.

    With --json a line for each message: id, queue, result (done, failed, rejected, handed
    back, lost, cancelled, in doubt), exit_code, seconds, reason; what commands write goes to
    standard error then. The exit code is 0 when all is done, 7 if a command failed, 5 if no message
    came.
    """
    _check(command)
    from mqclient.ctl.working import Plan, Worker
    from mqclient.errors import MqError

    names = {"jobs": "slots"}
    plan = Plan(
        queue,
        command,
        is_raw=raw,
        stdout=_standard_error() if session.is_json else None,
        **{names.get(name, name): value for name, value in settings.items()},
    )
    report = Report(session, queue)
    session.server_wait = server_wait
    with library_warnings(), session.client() as client:
        if plan.results is not None:
            client.info(plan.results)  # before a job is taken whose result had no place
        worker = Worker(client, plan, report.tell, output.warn)
        try:
            worker.run()
        except MqError as error:
            raise failure(error, report.summary() if report.counts else "") from error
        was_ended = worker.was_interrupted or worker.was_drained
        if not report.counts and not was_ended and (info := info_of(client, queue)) is not None:
            told_pause(info)
    _end(worker, report)


def _standard_error() -> int:
    """Return the descriptor of the standard error, or of nothing where there is none."""
    if sys.stderr is not None:
        with suppress(OSError):
            return sys.stderr.fileno()
    return DEVNULL


def _check(command: Sequence[str]) -> None:
    """Refuse what could not work before a message is taken for it."""
    program = command[0]
    if "{}" in program:
        raise click.UsageError("the program itself cannot be {}: that would run what is pushed")
    if shutil.which(program) is None:
        raise Failure(f"there is no program {program}; no message was taken", exits.USAGE)
    if PurePath(program).name in _SHELLS and "-c" in command[:-1]:
        script = command[command.index("-c") + 1]
        if "{}" in script:
            raise click.UsageError(
                'in the script of a shell {} would run what is pushed; write "$1" there, and '
                "after the script: sh {}"
            )


class Report:
    """Tells what becomes of jobs, and counts.

    Args:
        session: tells whether the output is JSON.
        queue: where the jobs come from.
    """

    def __init__(self, session: Session, queue: str) -> None:
        self.counts: Counter[str] = Counter()
        """Jobs by what became of them."""
        self._is_json = session.is_json
        self._queue = queue

    def tell(self, outcome: Outcome) -> None:
        """Tell of one job: failures in any case, and what went well to a person alone."""
        self.counts[outcome.result] += 1
        if self._is_json:
            head = {"id": outcome.id, "queue": self._queue}
            output.write_json({**head, **outcome._asdict()})
            output.flush()
        took = f"after {output.human_age(outcome.seconds)}"
        with suppress(OSError):  # that nobody reads it is no reason to stop the work
            if outcome.result == "done":
                output.note(f"job {outcome.id} done {took}")
            else:
                why = outcome.reason.splitlines()[-1:] or [""]
                output.warn(f"job {outcome.id} {outcome.result} {took}: {why[0]}")

    def summary(self) -> str:
        """Return the counts as a sentence."""
        if not self.counts:
            return f"no message of {self._queue} came"
        parts = (f"{count} {result}" for result, count in self.counts.items())
        return f"jobs of {self._queue}: {', '.join(parts)}"


def _end(worker: Worker, report: Report) -> None:
    with suppress(OSError):
        output.note(report.summary())
    if worker.was_interrupted:
        raise click.exceptions.Exit(exits.INTERRUPTED)
    if report.counts["failed"] or report.counts["rejected"]:
        raise click.exceptions.Exit(exits.FAILED)
    if not report.counts and not worker.was_drained:
        raise click.exceptions.Exit(exits.EMPTY)


COMMANDS = (work,)
