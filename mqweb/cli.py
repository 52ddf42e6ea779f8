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
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import mqwire
from mqweb.config import SETTINGS, Config, ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Callable

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
        hint = "; give another one with --port" if error.errno == errno.EADDRINUSE else ""
        reason = error.strerror or error
        _end(EXIT_CANNOT_LISTEN, f"{config.host} port {config.port}: {reason}{hint}")


def _end(code: int, sentence: str) -> NoReturn:
    click.echo(f"mqweb: {sentence}", err=True)
    sys.exit(code)
