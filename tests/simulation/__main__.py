"""The command behind `scripts/simulate`."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click

from simulation.many import chunks, ignore_ctrl_c, work
from simulation.reports import Report, told
from simulation.runs import minimized, traced
from simulation.scenario import draw

LINE_SECONDS = 10.0


class Limits(NamedTuple):
    """How far a run goes."""

    first: int
    seeds: int
    minutes: float
    failures: int


def _run_many(report: Report, limits: Limits, workers: int) -> int:
    """Run many seeds; returns the exit code."""
    started = said = time.monotonic()
    is_interrupted = True
    for number in (signal.SIGINT, signal.SIGTERM):  # under nohup and & the first is ignored
        signal.signal(number, signal.default_int_handler)
    with get_context("spawn").Pool(workers, ignore_ctrl_c) as pool:
        with contextlib.suppress(KeyboardInterrupt):
            for found in pool.imap(work, chunks(limits.first, limits.seeds)):
                report.add(found)
                for failure in found.failures:
                    click.echo(told(failure))
                now = time.monotonic()
                if now - said > LINE_SECONDS:
                    said = now
                    click.echo(report.line(now - started), err=True)
                    report.write(now - started)
                if report.failures >= limits.failures or now - started > 60 * limits.minutes:
                    break
            else:
                is_interrupted = False
        pool.terminate()
    seconds = time.monotonic() - started
    report.write(seconds)
    click.echo("\n".join([report.line(seconds), *report.figures()]))
    if report.failures:
        click.echo(
            f"{report.failures} seeds failed; scripts/simulate --seed SEED --trace shows one"
        )
        return 1
    return 130 if is_interrupted else 0


def _run_one(seed: int, *, is_traced: bool, is_minimized: bool) -> int:
    """Run one seed, and show it; returns the exit code."""
    scenario = draw(seed)
    if is_minimized:
        scenario = minimized(scenario)
    outcome = traced(scenario, click.echo if is_traced else None)
    click.echo(scenario.describe())
    click.echo(f"trace {outcome.digest}")
    if outcome.violations:
        click.echo(f"FAILED: {outcome}")
        return 1
    click.echo("nothing is wrong")
    return 0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", default=10_000, type=click.IntRange(1), help="How many.")
@click.option(
    "--from", "--first-seed", "first", default=0, type=click.IntRange(0), help="The first of them."
)
@click.option("--workers", default=2, type=click.IntRange(1, 64), help="Processes.")
@click.option("--minutes", default=600.0, type=click.FloatRange(0), help="Stop then.")
@click.option("--failures", default=10, type=click.IntRange(1), help="Stop after so many.")
@click.option(
    "--summary",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for seeds, time and findings by kind, as JSON; written again all the time.",
)
@click.option("--seed", type=click.IntRange(0), help="Run this one alone.")
@click.option("--trace", is_flag=True, help="With --seed: print everything that happens.")
@click.option("--minimize", is_flag=True, help="With --seed: leave out what it fails without.")
def main(  # noqa: PLR0917  a command's options
    seeds: int,
    first: int,
    workers: int,
    minutes: float,
    failures: int,
    summary: Path | None,
    seed: int | None,
    trace: bool,
    minimize: bool,
) -> None:
    """Run a server, its clients and their accidents in virtual time, and judge what was seen.

    Each seed is a run of its own, the same wherever it is made: a run that was stopped goes on
    with --from and the seed that its last line names as the next. Exit codes: 0 all is well, 1 a
    promise was broken, 130 interrupted or out of time.
    """
    if seed is not None:
        sys.exit(_run_one(seed, is_traced=trace, is_minimized=minimize))
    if trace or minimize:
        raise click.UsageError("--trace and --minimize need --seed")
    limits = Limits(first, seeds, minutes, failures)
    sys.exit(_run_many(Report(first, seeds, summary), limits, workers))


if __name__ == "__main__":
    main(prog_name="scripts/simulate")
