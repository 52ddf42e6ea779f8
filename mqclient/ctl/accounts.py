"""The commands user and token: who may come in, and with what. Floor 4.

Passwords are asked for at a terminal, without echo, or read from a file or the standard
input: never from the command line, which others on the machine can see.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.output import Column
from mqclient.ctl.session import Session, global_options, pass_session
from mqclient.ctl.values import number, seconds_up_to
from mqwire.limits import (
    MAX_REQUEST_ID,
    MAX_TEXT_CHARS,
    MAX_TOKEN_SECONDS,
    MIN_PASSWORD_CHARS,
    MIN_TOKEN_SECONDS,
)
from mqwire.roles import ROLE_WORDS

if TYPE_CHECKING:
    from mqclient.account_models import TokenInfo, UserInfo
    from mqclient.client import Client

_MOST_BYTES: Final = 4 * MAX_TEXT_CHARS + 2
"""More than the longest password takes, with the end of its line."""

_USER_COLUMNS: Final = (
    Column("user"),
    Column("role"),
    Column("kept in"),
    Column("state"),
    Column("tokens", is_number=True),
)
_TOKEN_COLUMNS: Final = (
    Column("id", is_number=True),
    Column("user"),
    Column("role"),
    Column("left", is_number=True),
    Column("comment"),
)
_NAME: Final = click.argument("name")
_ROLE: Final = click.Choice(ROLE_WORDS)
_ROLE_ARGUMENT: Final = click.argument("role", type=_ROLE, metavar="ROLE")
_FILE: Final = click.option(
    "--password-file",
    metavar="PATH",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read the new password from the first line of this file; - is the standard input.",
)


def _show(session: Session, user: UserInfo, what: str) -> None:
    if session.is_json:
        output.write_json(asdict(user))
    else:
        output.note(f"{what} user {user.user} ({user.role})")


def new_password(path: Path | None, what: str = "the password") -> str:
    """Return a password that is asked for twice, or is in a file or the standard input.

    Args:
        path: the file, if one was named.
        what: what is missing where there is no line.

    Raises:
        Failure: nobody can be asked, the file cannot be read, or it is no password.
    """
    if path is None and output.person_is_there():
        text: str = click.prompt(
            "New password", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        text = _first_line(path, what)
    if not MIN_PASSWORD_CHARS <= len(text) <= MAX_TEXT_CHARS:
        bounds = f"{MIN_PASSWORD_CHARS} to {MAX_TEXT_CHARS}"
        raise Failure(f"a password has {bounds} characters, not {len(text)}", exits.USAGE)
    return text


def _first_line(path: Path | None, what: str) -> str:
    try:
        if path is None or str(path) == "-":
            if sys.stdin is None:
                raise Failure("there is no standard input: give --password-file", exits.USAGE)
            line = sys.stdin.buffer.readline(_MOST_BYTES)
        else:
            with path.open("rb") as file:
                line = file.readline(_MOST_BYTES)
        if not line:
            raise Failure(
                f"{what} is missing: it is a line of the standard input, or the first of the file "
                "that --password-file names",
                exits.USAGE,
            )
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Failure("the password is not UTF-8", exits.USAGE) from error
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", exits.USAGE) from error


@click.group(short_help="Manage who may come in.", invoke_without_command=True)
@global_options
@click.pass_context
def user(ctx: click.Context) -> None:
    """Add, change, remove and list users while the server serves.

    Users of the server's configuration are listed too, and are changed there.
    """
    _help_alone(ctx)


@user.command("add", short_help="Add a user.", epilog="Example: mqctl user add worker1 agent")
@_NAME
@_ROLE_ARGUMENT
@_FILE
@global_options
@pass_session
def add(session: Session, name: str, role: str, password_file: Path | None) -> None:
    """Add the user NAME with a ROLE: admin, secretary, agent or user.

    The password is asked for twice; where there is nobody to ask, it is the first line of the
    standard input or of --password-file.
    """
    password = new_password(password_file)
    with session.client() as client:
        _show(session, client.add_user(name, role, password), "added")


@user.command(
    "passwd",
    short_help="Give a user, or yourself, a new password.",
    epilog="Examples: mqctl user passwd worker1 · mqctl user passwd",
)
@click.argument("name", required=False)
@_FILE
@global_options
@pass_session
def passwd(session: Session, name: str | None, password_file: Path | None) -> None:
    """Give NAME a new password. Without NAME it is your own, and the old one is asked for.

    The user's tokens and connections end within a second. Where there is nobody to ask, the old
    password is the first line of the standard input and the new one the next, or the first of
    --password-file.
    """
    if name is None:
        old = _old_password()
        new = new_password(password_file, "the new password, which follows the old one,")
        with session.client() as client:
            _change_own(client, old, new)
        output.note("your password is changed")
        return
    new = new_password(password_file)
    with session.client() as client:
        _show(session, client.change_user(name, password=new), "new password for")


def _change_own(client: Client, old: str, new: str) -> None:
    from mqclient.errors import AuthFailed  # noqa: PLC0415  --help does without

    try:
        client.change_password(old, new)
    except AuthFailed as error:  # of the old password, and not of what was come in with
        raise Failure(str(error), exits.REFUSED) from error


def _old_password() -> str:
    if output.person_is_there():
        text: str = click.prompt("Old password", hide_input=True, err=True)
        return text
    return _first_line(None, "the old password")


@user.command("role", short_help="Give a user another role.")
@_NAME
@_ROLE_ARGUMENT
@global_options
@pass_session
def role_(session: Session, name: str, role: str) -> None:
    """Give NAME the ROLE. One that allows less ends the user's tokens and connections."""
    with session.client() as client:
        _show(session, client.change_user(name, role=role), "changed")


@user.command("disable", short_help="Let a user not come in.")
@_NAME
@global_options
@pass_session
def disable(session: Session, name: str) -> None:
    """Let NAME not come in, and end its tokens and connections within a second."""
    with session.client() as client:
        _show(session, client.change_user(name, disabled=True), "disabled")


@user.command("enable", short_help="Let a user come in again.")
@_NAME
@global_options
@pass_session
def enable(session: Session, name: str) -> None:
    """Let NAME come in again, with its password; its tokens are gone."""
    with session.client() as client:
        _show(session, client.change_user(name, disabled=False), "enabled")


@user.command("rm", short_help="Remove a user.")
@_NAME
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options
@pass_session
def remove(session: Session, name: str, *, yes: bool) -> None:
    """Remove NAME, and end its tokens and connections. Asks first where somebody can answer."""
    if not yes and output.person_is_there():
        click.confirm(f"Remove the user {output.escape(name)}?", abort=True, err=True)
    with session.client() as client:
        client.remove_user(name)
    if session.is_json:
        output.write_json({"user": name})
    output.note(f"removed user {name}")


@user.command("ls", short_help="List users.", epilog="Example: mqctl user ls 'worker*'")
@click.argument("pattern", required=False)
@global_options
@pass_session
def list_users(session: Session, pattern: str | None) -> None:
    """List the users, or those whose names fit PATTERN.

    In a pipe: a line for each: name, role, where it is kept (here, or in the server's config),
    enabled or disabled, how many tokens it has. With --json an object a line.
    """
    with session.client() as client:
        found = client.users(pattern)
    if session.is_json:
        output.write_json_lines(asdict(each) for each in found)
    elif found:
        output.write_table(_USER_COLUMNS, [_user_row(each) for each in found])
    if not found:
        output.nothing("no user fits")


def _user_row(each: UserInfo) -> list[str]:
    return [
        each.user,
        each.role,
        "here" if each.is_managed else "config",
        "disabled" if each.is_disabled else "enabled",
        str(each.tokens),
    ]


@click.group(short_help="Make, list and revoke tokens.", invoke_without_command=True)
@global_options
@click.pass_context
def token(ctx: click.Context) -> None:
    """Look after tokens, which let programs in without a password."""
    _help_alone(ctx)


@token.command(
    "new",
    short_help="Make a token for yourself.",
    epilog="Example: mqctl token new --role user --lifetime 3600 > token, after umask 077",
)
@click.option("--role", type=_ROLE, help="One that allows no more than yours. [default: yours]")
@click.option(
    "--lifetime",
    metavar="SECONDS",
    type=seconds_up_to(MAX_TOKEN_SECONDS, MIN_TOKEN_SECONDS),
    help="How long it lives. [default: the server's]",
)
@click.option("--comment", metavar="TEXT", help="What it is for.")
@global_options
@pass_session
def new(session: Session, role: str | None, lifetime: float | None, comment: str | None) -> None:
    """Make a token for the user that you come in as, and write it: it is told this once.

    What comes in with a token makes none.
    """
    with session.client() as client:
        made = client.issue_token(role=role, lifetime=lifetime, comment=comment)
    if session.is_json:
        output.write_json(asdict(made))
    else:
        output.write_line(made.token)
        output.note(f"token {made.id} of {made.user} ({made.role})")


@token.command("ls", short_help="List tokens.", epilog="Example: mqctl token ls '*'")
@click.argument("users", required=False)
@global_options
@pass_session
def list_tokens(session: Session, users: str | None) -> None:
    """List your own tokens, or those of the USERS whose names fit.

    In a pipe: a line for each: id, user, role, until when it may be used (in seconds since
    1970), comment. With --json an object a line.
    """
    with session.client() as client:
        found = client.tokens(users)
    if session.is_json:
        output.write_json_lines(asdict(each) for each in found)
    elif found:
        output.write_table(_TOKEN_COLUMNS, [_token_row(each) for each in found])
    if not found:
        output.nothing("you have no tokens" if users is None else "no token fits")


def _token_row(each: TokenInfo) -> list[str]:
    until = f"{each.expires_at:.3f}"
    if output.stdout_is_terminal():
        until = output.human_age(max(each.expires_at - time.time(), 0.0))
    return [str(each.id), each.user, each.role, until, each.comment or "-"]


@token.command("revoke", short_help="End a token.", epilog="Example: mqctl token revoke 7")
@click.argument("token_id", metavar="ID", type=number(1, MAX_REQUEST_ID))
@global_options
@pass_session
def revoke(session: Session, token_id: int) -> None:
    """End the token with this ID, and what has come in with it, within a second."""
    with session.client() as client:
        client.revoke_token(token_id)
    if session.is_json:
        output.write_json({"id": token_id})
    output.note(f"token {token_id} is revoked")


def _help_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(exits.USAGE)


COMMANDS: tuple[click.Command, ...] = (user, token)
