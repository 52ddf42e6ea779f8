"""Commands about the server and this program: ping, version, completion. Floor 4."""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

from typing import Final

import click

import mqwire
from mqclient.ctl import output
from mqclient.ctl.exits import Failure
from mqclient.ctl.session import Session, global_options, pass_session
from mqclient.ctl.values import number

VERSION_TIMEOUT_SECONDS: Final = 1.0


@click.command(short_help="Ask whether the server answers.")
@click.option(
    "-n",
    "--count",
    metavar="COUNT",
    type=number(1, 1_000_000),
    default=1,
    help="How many times. [default: 1]",
)
@global_options
@pass_session
def ping(session: Session, count: int) -> None:
    """Ask the server whether it answers, and write how many milliseconds that took."""
    with session.client() as client:
        for number in range(1, count + 1):
            seconds = client.ping()
            if session.is_json:
                output.write_json({"number": number, "seconds": seconds})
            else:
                unit = " ms" if output.stdout_is_terminal() else ""
                output.write_line(f"{seconds * 1000:.3f}{unit}")
            output.flush()


@click.command(short_help="Write versions.")
@global_options
@pass_session
def version(session: Session) -> None:
    """Write the versions of this program, of the protocol and, if it is there, of the server."""
    session.timeout = min(session.timeout_seconds, VERSION_TIMEOUT_SECONDS)
    server_version = None
    protocol = mqwire.PROTOCOL_VERSION
    reason = ""
    try:
        with session.client() as client:
            client.ping()
            server_version, protocol = client.server.version, client.server.protocol
    except Failure as failure:
        reason = failure.message
    if session.is_json:
        output.write_json(
            {"client": mqwire.__version__, "protocol": protocol, "server": server_version}
        )
    else:
        output.write_line(f"client {mqwire.__version__}")
        output.write_line(f"protocol {protocol}")
        output.write_line(f"server {server_version or '-'}")
    if reason:
        output.warn(f"no server was asked: {reason}")


@click.command(
    short_help="Write a script for a shell's completion.",
    epilog="bash: mqctl completion bash >> ~/.bashrc · zsh: mqctl completion zsh >> ~/.zshrc · "
    "fish: mqctl completion fish > ~/.config/fish/completions/mqctl.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write the script that makes SHELL complete commands, options and names of queues."""
    from click.shell_completion import get_completion_class

    root = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root.command, {}, "mqctl", "_MQCTL_COMPLETE").source()
    output.write_bytes(script.encode() + b"\n")


COMMANDS = (ping, version, completion)
