"""The command `mqd`: reads its flags and configuration, and starts the server.

What it is: flags, the words for the operator, exit codes.
What it is not: the server, which `mqd.app` puts together.

Exit codes: 0 all went well, 1 the server failed, 2 the command line or the
configuration is wrong, 3 the server cannot listen, or another one uses its
address file or its data directory, 4 what lies in the data directory is damaged,
or not ours, or of another version.

Modules that only some commands need are imported there, so that `--help`
answers at once.
"""

# ruff: noqa: PLC0415  imports inside functions, as the docstring says

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import mqwire
from mqd import storage_commands
from mqd.form import WORDS
from mqwire.limits import MAX_TEXT_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mqd.config import Config

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CANNOT_LISTEN: Final = 3
EXIT_DAMAGED: Final = 4

_ADDRESS_HINTS: Final = {
    errno.EADDRINUSE: "; give another one with --port",
    errno.EADDRNOTAVAIL: "; give an address of this machine with --host",
    errno.EACCES: "; ports below 1024 are for root: give another one with --port",
}

# The flags that stand for keys, by the names that click gives their values.
_KEYS_BY_PARAMETER: Final = {
    "host": "server.host",
    "port": "server.port",
    "data_dir": "storage.path",
    "unix_socket": "server.unix_socket",
    "address_file": "server.address_file",
    "loop": "server.loop",
}


class _Root(click.Group):
    """A group of commands that says in one sentence what is wrong with a command line."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run one command line and end the process."""
        extra["standalone_mode"] = False
        try:
            result = super().main(*args, **extra)
        except click.Abort:
            _end(EXIT_FAILED, ["interrupted"])
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "mqd"
            message = " ".join(error.format_message().split()).rstrip(".")
            _end(EXIT_USAGE, [f"{message}; see `{path} --help`"])
        sys.exit(result if isinstance(result, int) else 0)


@click.group(
    cls=_Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Values come from the defaults, then the configuration file, then variables "
    "MQD_SECTION__KEY (MQD_SERVER__PORT), then flags.",
)
@click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    help="Configuration file; without it the file that MQD_CONFIG names, else no file.",
)
@click.option("--host", metavar="HOST", help="Address to listen on (server.host).")
@click.option("--port", metavar="PORT", type=int, help="TCP port, 0 for a free one (server.port).")
@click.option("--data-dir", metavar="DIRECTORY", help="Data directory (storage.path).")
@click.option("--unix-socket", metavar="PATH", help="Unix socket too (server.unix_socket).")
@click.option(
    "--address-file",
    metavar="PATH",
    help="File that tells clients the address, '' for none (server.address_file).",
)
@click.option("--loop", metavar="NAME", help="auto, uvloop or asyncio (server.loop).")
@click.option(
    "--dev",
    is_flag=True,
    help="For trying things out: users admin, agent and user, each with its name as its "
    "password, on loopback only.",
)
@click.option("--check-config", is_flag=True, help="Check the configuration and end.")
@click.option("--print-config", is_flag=True, help="Print the configuration in force and end.")
@click.version_option(mqwire.__version__, prog_name="mqd", message=f"%(prog)s %(version)s{WORDS}")
@click.pass_context
def main(
    context: click.Context,
    /,
    *,
    config_path: str | None,
    dev: bool,
    check_config: bool,
    print_config: bool,
    **flags: Any,
) -> None:
    """Serve message queues. Without a command the server starts."""
    if sys.flags.optimize:
        _end(
            EXIT_USAGE, ["Python's -O leaves out checks that the server rests on: start it without"]
        )
    if context.invoked_subcommand is not None:
        return
    config = _load(config_path, flags)
    if dev:
        config = _with_dev_users(config)
    if print_config:
        click.echo(config.to_yaml(), nl=False)
    elif check_config:
        click.echo("the configuration is sound")
    else:
        context.exit(_serve(config, dev=dev))


@main.command("hash-password", short_help="Print a password's hash, for auth.users.")
def hash_password() -> None:
    """Print the hash of a password, for auth.users in the configuration.

    Asks for it twice on a terminal; otherwise reads one line of standard input.
    """
    password = _asked_password() if _is_terminal() else _piped_password()
    if not 0 < len(password) <= MAX_TEXT_CHARS:
        _end(EXIT_USAGE, [f"a password has 1 to {MAX_TEXT_CHARS} characters"])
    from mqd import passwords

    click.echo(passwords.hash_password(password))


main.add_command(storage_commands.check)
main.add_command(storage_commands.restore)


def _load(config_path: str | None, flags: dict[str, Any]) -> Config:
    from mqd.config import CONFIG_VARIABLE, ConfigError, load

    given = {_KEYS_BY_PARAMETER[name]: value for name, value in flags.items() if value is not None}
    if given.get("server.address_file") == "":
        given["server.address_file"] = None
    path = config_path if config_path is not None else os.environ.get(CONFIG_VARIABLE)
    try:
        return load(path, os.environ, given)
    except ConfigError as error:
        _end(EXIT_USAGE, map(str, error.problems))


def _with_dev_users(config: Config) -> Config:
    """Return the configuration with the well-known users alone, after checking that it is safe."""
    from dataclasses import replace

    from mqd.config import UserEntry
    from mqd.core.access import Role
    from mqd.passwords import hash_password as hashed
    from mqwire.address import is_loopback

    if not is_loopback(config.server.host):
        sentence = (
            f"--dev has well-known passwords, so it serves on loopback only, and server.host is "
            f"{config.server.host}: leave out --dev, or give --host 127.0.0.1"
        )
        _end(EXIT_USAGE, [sentence])
    dropped = " The users of the configuration cannot come in." if config.auth.users else ""
    warning = (
        "mqd: --dev: anyone on this machine can come in as admin, agent or user, with the name "
        f"as the password.{dropped}"
    )
    click.echo(warning, err=True)
    roles = (Role.ADMIN, Role.AGENT, Role.USER)
    users = tuple(UserEntry(role.word, hashed(role.word), role) for role in roles)
    return replace(config, auth=replace(config.auth, users=users))


def _serve(config: Config, *, dev: bool) -> int:
    """Run the server until it is stopped; returns the exit code."""
    from mqd.address_file import AddressFileError, AddressInUse
    from mqd.app import serve
    from mqd.config import ConfigError
    from mqd.store import DirectoryLocked, DirectoryUnusable, JournalFailed, StorageError

    try:
        return serve(config, dev=dev)
    except ConfigError as error:
        _end(EXIT_USAGE, map(str, error.problems))
    except (AddressInUse, DirectoryLocked) as error:
        _end(EXIT_CANNOT_LISTEN, [str(error)])
    except (DirectoryUnusable, JournalFailed) as error:
        _end(EXIT_FAILED, [str(error)])
    except StorageError as error:
        _end(EXIT_DAMAGED, [str(error)])
    except AddressFileError as error:
        _end(EXIT_USAGE, [str(error)])
    except OSError as error:
        # What concerns a file names it; all else is about addresses.
        code = EXIT_CANNOT_LISTEN if error.filename is None else EXIT_FAILED
        _end(code, [_words(error)])


def _words(error: OSError) -> str:
    """Return a sentence for an error of the operating system."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        is_barred = error.errno in (errno.EACCES, errno.EPERM)
        hint = "; it has to be open to the account that runs mqd" if is_barred else ""
        return f"{os.fsdecode(error.filename)}: {reason}{hint}"
    return reason + _ADDRESS_HINTS.get(error.errno or 0, "")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _asked_password() -> str:
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _piped_password() -> str:
    # Four bytes are the most that a character takes, and two end the line.
    most = 4 * MAX_TEXT_CHARS + 2
    line = sys.stdin.buffer.readline(most + 1)
    try:
        # A longer line is cut wherever that is; it is refused for its length.
        return line.decode(errors="strict" if len(line) <= most else "replace").rstrip("\r\n")
    except UnicodeDecodeError:
        _end(EXIT_USAGE, ["the password is not UTF-8"])


def _end(code: int, sentences: Iterable[str]) -> NoReturn:
    """Say why, a line for each sentence, and leave."""
    for sentence in sentences:
        click.echo(f"mqd: {sentence}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main(prog_name="mqd")
