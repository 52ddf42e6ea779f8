"""The commands `scripts/bench peers` and `scripts/bench peers-report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchmarks.peers import interrupts, machine, plot, report, run, sides
from benchmarks.peers.works.table import WORKS


def _side_names() -> list[str]:
    every = [f"{peer} {mode}" for peer, kind in sides.SERVERS.items() for mode in kind.modes]
    return [*(peer for peer in sides.SERVERS if peer != sides.OURS), *every]


@click.command()
@click.option("--work", multiple=True, type=click.Choice(list(WORKS)), help="These works alone.")
@click.option(
    "--against",
    multiple=True,
    type=click.Choice(_side_names()),
    metavar="NAME",
    help="These peers (redis) or sides (redis memory) alone, beside mqd.",
)
@click.option("--body", multiple=True, type=int, help="Bytes of a body; 100 if not said.")
@click.option("--rounds", default=5, show_default=True, help="How often each row is measured.")
@click.option("--scale", default=1.0, show_default=True, help="Times the usual amount of work.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results here.")
@click.option(
    "--markdown", "markdown_path", type=click.Path(path_type=Path), help="Write tables here."
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw into FILE.svg (or .png), FILE-rates.svg and FILE-growth.svg.",
)
def peers(
    work: tuple[str, ...],
    against: tuple[str, ...],
    body: tuple[int, ...],
    rounds: int,
    scale: float,
    **outputs: Path | None,
) -> None:
    """The same work on mqd and its peers, in turn; ratios with what they have to be."""
    wishes = run.Wishes(rounds, scale, body or (run.USUAL_BODY_BYTES,), against)
    results = _begin(wishes)
    try:
        with interrupts.orderly_end():
            for name in work or WORKS:
                click.echo(f"\n== {name}: {WORKS[name].meaning}")
                for measured in run.measure(WORKS[name], wishes, click.echo):
                    for line in report.text(measured):
                        click.echo(line)
                    results["rows"].append(measured.as_json())
    except interrupts.Interrupted as interrupt:
        raise click.ClickException(f"ended by {interrupt}; all servers are stopped") from None
    finally:
        _write(results, **outputs)


def _write(
    results: dict[str, Any],
    json_path: Path | None,
    markdown_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Write what there is, also of a run that was ended early."""
    if json_path is not None:
        json_path.write_text(json.dumps(results, indent=2))
    if markdown_path is not None:
        markdown_path.write_text("\n".join(report.markdown(results["rows"])) + "\n")
    if plot_path is not None:
        plot.draw(results["rows"], plot_path)


@click.command("peers-report")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--markdown", "markdown_path", type=click.Path(path_type=Path), help="Write tables here."
)
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="As of peers.")
def peers_report(results: tuple[Path, ...], **outputs: Path | None) -> None:
    """Tables and pictures of runs that are over; of a row that several have, the last one's."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for path in results:
        for row in json.loads(path.read_text())["rows"]:
            rows[row["row"], row["body_bytes"]] = row
    order = list(WORKS)
    chosen = sorted(rows.values(), key=lambda row: order.index(row["work"]))
    _write({"rows": chosen}, json_path=None, **outputs)
    if not any(outputs.values()):
        click.echo("\n".join(report.markdown(chosen)))


def _begin(wishes: run.Wishes) -> dict[str, Any]:
    """Tell what is measured, with what settings and on what; return it for the results."""
    where = machine.described()
    click.echo(machine.sentence(where))
    told: dict[str, Any] = {}
    for peer, kind in sides.SERVERS.items():
        why = sides.missing(peer)
        if why is not None and sides.is_chosen(peer, wishes.against):
            click.echo(why)
        for mode in kind.modes:
            side = sides.Side(peer, mode)
            if wishes.has(side.name):
                told[side.name] = side.described()
                settings = ", ".join(told[side.name]["settings"])
                click.echo(f"{side.name}: {told[side.name]['version']}; {settings}")
                click.echo(f"{'':{len(side.name) + 2}}{told[side.name]['meaning']}")
    asked = {"rounds": wishes.rounds, "scale": wishes.scale, "bodies": wishes.bodies}
    return {"machine": where, "asked": asked, "sides": told, "rows": []}
