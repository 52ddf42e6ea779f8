"""The command `mqweb`: flags, the words for the operator, exit codes. Floor 2.

Exit codes: 0 all went well, 1 it failed, 2 the command line or the settings are wrong, 3 it
cannot listen. Modules of the extra `web` are imported where they are needed, so that
`--help` answers without them.
"""

# ruff: noqa: PLC0415  imports inside functions, as the docstring says

from __future__ import annotations

import errno
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import click

import mqwire
from mqweb.config import SETTINGS, Config, ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Callable

REDIS_VARIABLE: Final = "REDIS_URL"
"""Has the URL of Redis, for `mqweb events`."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CANNOT_LISTEN: Final = 3


def _with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a flag for each setting."""
    for each in reversed(fields(Config)):
        setting = SETTINGS[each.name]
        is_switch = isinstance(each.default, bool)
        default = "" if each.default in ("", False) else f" Default {each.default}."
        command = click.option(
            f"--{each.name.replace('_', '-')}",
            each.name,
            is_flag=is_switch,
            default=None,
            metavar=None if is_switch else "VALUE",
            help=f"{setting.doc}{default}",
        )(command)
    return command


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Values come from the defaults, then variables MQWEB_NAME (MQWEB_PORT), then flags.",
)
@_with_settings
@click.option("--check-config", is_flag=True, help="Check the settings and end.")
@click.option("--print-config", is_flag=True, help="Print the settings in force and end.")
@click.version_option(mqwire.__version__, prog_name="mqweb", message="%(prog)s %(version)s")
@click.pass_context
def main(
    context: click.Context, /, *, check_config: bool, print_config: bool, **flags: Any
) -> None:
    """Serve mqd over HTTP. Without a command the gateway starts."""
    config = _load(flags)
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    if print_config:
        click.echo("\n".join(config.lines()))
    elif check_config:
        click.echo("the settings are sound")
    else:
        _serve(config)


def _load(flags: dict[str, Any]) -> Config:
    given = {
        name: "true" if value is True else str(value)
        for name, value in flags.items()
        if value not in (None, False)
    }
    try:
        return load(os.environ, given)
    except ConfigError as error:
        _end(EXIT_USAGE, str(error))


def _serve(config: Config) -> None:
    from mqclient.errors import ConfigurationError

    try:
        from mqweb.server import serve
    except ImportError as error:
        _end(EXIT_FAILED, f"{error.name} is missing: install the extra, pip install 'mqd[web]'")
    try:
        serve(config)
    except ConfigurationError as error:
        _end(EXIT_USAGE, str(error))
    except OSError as error:
        hint = (
            "; give another one in MQWEB_PORT or with mqweb --port"
            if error.errno == errno.EADDRINUSE
            else ""
        )
        reason = error.strerror or error
        _end(EXIT_CANNOT_LISTEN, f"{config.host} port {config.port}: {reason}{hint}")


@main.command("events", short_help="Carry events to Redis.")
@click.option(
    "--to",
    "url",
    envvar=REDIS_VARIABLE,
    metavar="URL",
    help="Redis: redis://host:6379/0. One with a password is better in the variable "
    f"{REDIS_VARIABLE} or a file: everybody on the machine sees a command line.",
)
@click.option(
    "--to-file",
    "url_file",
    type=click.File(),
    help="File with that URL; wins over the variable.",
)
@click.option(
    "--name",
    default="mqd:events",
    show_default=True,
    help="Channel or stream; {queue} and {kind} in it stand for an event's.",
)
@click.option("--stream", is_flag=True, help="Add events to a stream instead of publishing them.")
@click.option(
    "--max-length",
    default=100_000,
    show_default=True,
    type=click.IntRange(0),
    help="About how many events a stream keeps; 0 for all.",
)
@click.option("--pattern", help="Queues whose events are carried; else all.")
@click.option("--kinds", help="Kinds of events, with commas between; else all.")
@click.option(
    "--line-events",
    default=10_000,
    show_default=True,
    type=click.IntRange(1),
    help="Events that may wait while Redis is away; past that the oldest are lost and counted.",
)
@click.pass_obj
def events(  # noqa: PLR0913  flags
    config: Config,
    /,
    *,
    url: str | None,
    url_file: TextIO | None,
    name: str,
    stream: bool,
    max_length: int,
    pattern: str | None,
    kinds: str | None,
    line_events: int,
) -> None:
    """Carry what happens at mqd to Redis, until SIGTERM or SIGINT.

    An event is a JSON document as /events has it, with its `kind`. Both sides may go away and
    come back. What could not be delivered is counted, and told at the end.
    """
    from mqclient.errors import MqError

    try:
        from mqweb.bridge import Route
        from mqweb.carrying import run
    except ImportError as error:
        _end(EXIT_FAILED, f"{error.name} is missing: install the extra, pip install 'mqd[web]'")
    if url_file is not None:
        url = url_file.read().strip()
    if not url:
        _end(
            EXIT_USAGE,
            f"where is Redis? --to URL, --to-file FILE, or the variable {REDIS_VARIABLE}",
        )
    chosen = None if kinds is None else [each.strip() for each in kinds.split(",")]
    route = Route(url, name, stream, max_length, pattern, chosen, line_events)
    try:
        run(config, route)
    except ValueError as error:
        _end(EXIT_USAGE, str(error))
    except MqError as error:
        _end(EXIT_FAILED, str(error))


def _end(code: int, sentence: str) -> NoReturn:
    click.echo(f"mqweb: {sentence}", err=True)
    sys.exit(code)
