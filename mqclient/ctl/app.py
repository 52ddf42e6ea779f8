"""The command's root: its help, its commands, and how it ends. Floor 4.

However a command ends, this module turns it into an exit code and at most one
sentence on standard error; a traceback is never an answer.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import mqwire
from mqclient.ctl import (
    accounts,
    backup,
    dead,
    exits,
    holders,
    infos,
    log,
    output,
    pull,
    push,
    queues,
    server,
    stats,
    tracking,
    watch,
    work,
)
from mqclient.ctl.exits import Failure
from mqclient.ctl.session import global_options

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "mqctl"

_WORDS_BY_COMMAND: Final = {
    "push": "put send publish enqueue submit add",
    "pull": "get pop receive take fetch dequeue",
    "work": "consume worker run",
    "ls": "list queues",
    "info": "show describe count",
    "peek": "browse",
    "delete": "rm remove drop",
    "purge": "clear empty flush",
    "dead redrive": "redrive retry requeue kick",
    "holders": "workers leases consumers",
    "watch": "events monitor",
    "log": "logs frames tail",
    "user": "users",
    "token": "tokens",
}
"""What other queues call what a command does: newcomers try these."""


class Root(click.Group):
    """A group of commands that ends in one sentence and a documented exit code."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run one command line and end the process."""
        extra.update(prog_name=PROGRAM, standalone_mode=False)
        exit_code = _run(lambda: super(Root, self).main(*args, **extra))
        if sys.stdout is not None:
            drop_stdout()  # what could not be written must not be tried again at the exit
        sys.exit(exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and make sure that what it wrote has left this process."""
        try:
            result = super().invoke(ctx)
            output.flush()
        except BrokenPipeError:
            # The reader has seen enough: `mqctl ls | head -1` is no failure.
            drop_stdout()
            raise click.exceptions.Exit(exits.OK) from None
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; `help push` means `push --help`.

        Raises:
            click.UsageError: there is none; it names the one that other queues call so.
        """
        if ctx.resilient_parsing:  # for completion, which prints and refuses nothing
            return super().resolve_command(ctx, args)
        word = args[0]
        if word == "help":
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
            return self.resolve_command(ctx, [*args[1:], "--help"])
        for command, words in _WORDS_BY_COMMAND.items():
            if word in words.split():
                raise click.UsageError(f"there is no command '{word}': it is `{command}` here", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a newcomer meets them."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Add the exit codes to the help."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in exits.MEANINGS.items()])


def drop_stdout() -> None:
    """Let nothing more be written to a pipe that nobody reads, not even at the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _run(command: Callable[[], Any]) -> int:
    """Run `command` and return its exit code, having said what went wrong."""
    try:
        result = command()
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except Exception as error:
        if os.environ.get("MQCTL_TRACEBACK"):
            raise
        sentence, exit_code = _ending(error)
        _say(sentence)
        return exit_code
    return result if isinstance(result, int) else exits.OK


def _ending(error: Exception) -> tuple[str, int]:
    """Return the sentence and the exit code for an error that ended the command."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else PROGRAM
        sentence = _sentence(error.format_message())
        if isinstance(error, click.NoSuchOption) and path == f"{PROGRAM} push":
            sentence += "; a body that starts with - comes after a lone --"
        # Click asks what was meant, as a sentence of its own.
        also = " See" if sentence.endswith("?") else "; see"
        return f"{sentence}{also} `{path} --help`", exits.USAGE
    if isinstance(error, click.ClickException):
        exit_code = error.code if isinstance(error, Failure) else exits.USAGE
        return _sentence(error.format_message()), exit_code
    if isinstance(error, OSError):
        return f"cannot read or write: {error}", exits.INTERNAL
    advice = "run it again with MQCTL_TRACEBACK=1 and report what it prints"
    return f"unexpected {type(error).__name__}: {error}; {advice}", exits.INTERNAL


def _sentence(message: str) -> str:
    return " ".join(message.split()).rstrip(".")


def _say(text: str) -> None:
    # A closed standard error must not turn an exit code into a traceback.
    try:
        click.echo(f"{PROGRAM}: {output.escape(text)}", err=True)
    except OSError:
        drop_stdout()


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@global_options
@click.version_option(mqwire.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Create, fill, look into, empty and back up the queues of an mqd server.

    Without --url the server is found through MQ_URL, or else through the address
    file that a server of the same user has written (~/.mqd/default.json).
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(exits.USAGE)


_COMMANDS: tuple[click.Command, ...] = (
    queues.create,
    queues.delete,
    infos.ls,
    infos.show_info,
    queues.purge,
    queues.pause,
    queues.resume,
    *push.COMMANDS,
    *pull.COMMANDS,
    *work.COMMANDS,
    *holders.COMMANDS,
    *dead.COMMANDS,
    *tracking.COMMANDS,
    *watch.COMMANDS,
    *stats.COMMANDS,
    *backup.COMMANDS,
    *accounts.COMMANDS,
    *server.COMMANDS,
    *log.COMMANDS,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> NoReturn:
    """Run `mqctl` with the process's arguments."""
    try:
        cli.main()
    finally:
        # One more Ctrl-C ends what the interpreter does at its exit without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
