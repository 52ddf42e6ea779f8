"""The command behind `scripts/bench`."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import click

import mqwire
from benchmarks import disk as disk_bench
from benchmarks import idle as idle_bench
from benchmarks import keys as keys_bench
from benchmarks import leases as leases_bench
from benchmarks import order as order_bench
from benchmarks import rates as rates_bench
from benchmarks import snapshot as snapshot_bench
from benchmarks import usage as usage_bench
from benchmarks.peers.command import peers, peers_report


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure a server that is started for it, on loopback."""


@main.command()
@click.option(
    "--compare",
    type=click.Choice(list(rates_bench.SIDES)),
    default="durability",
    show_default=True,
    help="Servers that differ in the frame log, or in what OK promises.",
)
@click.option("--rounds", default=5, show_default=True, help="How often each work is done.")
@click.option("--scale", default=1.0, show_default=True, help="Times the usual amount of work.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results here.")
def rates(compare: str, rounds: int, scale: float, json_path: Path | None) -> None:
    """Frames, batches and round trips a second, of servers that differ in one thing."""
    click.echo(_machine())
    results = rates_bench.measure(rates_bench.SIDES[compare], rounds, scale)
    click.echo(rates_bench.table(results))
    if json_path is not None:
        json_path.write_text(json.dumps({"machine": _machine(), "results": results}, indent=2))


@main.command()
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option("--clients", default=50, show_default=True, help="Those that push at a time.")
def disk(rounds: int, clients: int) -> None:
    """Synced pushes of one client and of many, beside the disk's own syncs."""
    click.echo(_machine())
    for line in disk_bench.measure(rounds, clients):
        click.echo(line)


@main.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long.")
@click.option("--seed", default=1, show_default=True, help="Of the mix.")
def usage(seconds: float, seed: int) -> None:
    """How much of the disk a server takes, under a mix of pushes and pulls."""
    click.echo(_machine())
    for line in usage_bench.measure(seconds, seed):
        click.echo(line)


@main.command()
@click.option("--messages", default=1_000_000, show_default=True, help="How many are queued.")
@click.option("--seconds", default=10.0, show_default=True, help="How long each tail is watched.")
def snapshot(messages: int, seconds: float) -> None:
    """Tail of a blocking round trip while a snapshot is made, and the restart after it."""
    click.echo(_machine())
    for line in snapshot_bench.measure(messages, seconds):
        click.echo(line)


@main.command()
@click.option("--rounds", default=5, show_default=True, help="How often each work is done.")
@click.option("--scale", default=1.0, show_default=True, help="Times the usual amount of work.")
@click.option("--outstanding", default=1_000_000, show_default=True, help="Leases at a time.")
@click.option("--seconds", default=20.0, show_default=True, help="How long these then run.")
def leases(rounds: int, scale: float, outstanding: int, seconds: float) -> None:
    """Leased pulls and acks beside plain ones, and very many leases at a time."""
    click.echo(_machine())
    for line in leases_bench.measure(rounds, scale):
        click.echo(line)
    for line in leases_bench.outstanding(outstanding, seconds):
        click.echo(line)


@main.command()
@click.option("--rounds", default=5, show_default=True, help="How often each work is done.")
@click.option("--scale", default=1.0, show_default=True, help="Times the usual amount of work.")
def keys(rounds: int, scale: float) -> None:
    """Pushes with the keys that the client gives them, beside pushes without."""
    click.echo(_machine())
    for line in keys_bench.measure(rounds, scale):
        click.echo(line)


@main.command()
@click.option("--rounds", default=5, show_default=True, help="How often each work is done.")
@click.option("--waiting", default=1_000_000, show_default=True, help="Messages in each queue.")
@click.option("--messages", default=100_000, show_default=True, help="Pushed and pulled a round.")
def order(rounds: int, waiting: int, messages: int) -> None:
    """Priorities and delays beside plain messages, with very many waiting."""
    click.echo(_machine())
    for line in order_bench.measure(rounds, waiting, messages):
        click.echo(line)


@main.command()
@click.option("--connections", default=10_000, show_default=True, help="Idle connections.")
@click.option("--round-trips", default=3000, show_default=True, help="Of the client that works.")
def idle(connections: int, round_trips: int) -> None:
    """Memory of idle connections, and whether bad clients disturb a good one."""
    click.echo(_machine())
    for line in idle_bench.measure(connections, round_trips):
        click.echo(line)


@main.command()
@click.option("--rounds", default=5, show_default=True, help="How often each work is done.")
@click.option("--scale", default=1.0, show_default=True, help="Times the usual amount of work.")
@click.option("--streams", default=1000, show_default=True, help="Event streams at a time.")
@click.option("--events", default=100, show_default=True, help="Events that these get.")
def web(rounds: int, scale: float, streams: int, events: int) -> None:
    """Requests through the HTTP gateway beside a bare endpoint, and very many event streams."""
    from benchmarks import web as web_bench  # noqa: PLC0415  it needs the extra `web`

    click.echo(_machine())
    for line in web_bench.measure(rounds, scale):
        click.echo(line)
    for line in web_bench.streams(streams, events):
        click.echo(line)


main.add_command(peers)
main.add_command(peers_report)


def _machine() -> str:
    """Say what the figures were measured on."""
    cores = len(os.sched_getaffinity(0))
    return f"mqd {mqwire.__version__}, Python {platform.python_version()}, {cores} cores, loopback"


if __name__ == "__main__":
    sys.exit(main(prog_name="scripts/bench"))
