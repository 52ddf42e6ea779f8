"""The command behind `scripts/simulate`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from multiprocessing import get_context

import click

from simulation.many import chunks, ignore_ctrl_c, work
from simulation.runs import minimized, traced
from simulation.scenario import draw

LINE_SECONDS = 10.0


def _run_many(first: int, seeds: int, workers: int, minutes: float, most_failures: int) -> int:
    """Run many seeds; returns the exit code."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    started = said = time.monotonic()
    is_interrupted = False
    with get_context("spawn").Pool(workers, ignore_ctrl_c) as pool:
        with contextlib.suppress(KeyboardInterrupt):
            is_interrupted = True
            for found in pool.imap(work, chunks(first, seeds)):
                counts.update(found.counts)
                for failure in found.failures:
                    click.echo(f"FAILED: {failure}")
                failures += found.failures
                now = time.monotonic()
                if now - said > LINE_SECONDS:
                    said = now
                    click.echo(_pace(counts["runs"], seeds, now - started), err=True)
                if len(failures) >= most_failures or now - started > 60 * minutes:
                    break
            else:
                is_interrupted = False
        pool.terminate()
    done = counts.pop("runs")
    click.echo(_pace(done, seeds, time.monotonic() - started) + f", from seed {first}")
    for name, count in sorted(counts.items()):
        click.echo(f"    {name:<28}{count:>14,}")
    if failures:
        click.echo(f"{len(failures)} seeds failed; scripts/simulate --seed SEED --trace shows one")
        return 1
    return 130 if is_interrupted else 0


def _pace(done: int, seeds: int, seconds: float) -> str:
    return f"{done:,} of {seeds:,} seeds, {seconds:,.0f} s, {done / max(seconds, 0.001):,.1f}/s"


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
@click.option("--from", "first", default=0, type=click.IntRange(0), help="The first of them.")
@click.option("--workers", default=2, type=click.IntRange(1, 64), help="Processes.")
@click.option("--minutes", default=600.0, type=click.FloatRange(0), help="Stop then.")
@click.option("--failures", default=10, type=click.IntRange(1), help="Stop after so many.")
@click.option("--seed", type=click.IntRange(0), help="Run this one alone.")
@click.option("--trace", is_flag=True, help="With --seed: print everything that happens.")
@click.option("--minimize", is_flag=True, help="With --seed: leave out what it fails without.")
def main(  # noqa: PLR0917  a command's options
    seeds: int,
    first: int,
    workers: int,
    minutes: float,
    failures: int,
    seed: int | None,
    trace: bool,
    minimize: bool,
) -> None:
    """Run a server, its clients and their accidents in virtual time, and judge what was seen.

    Each seed is a run of its own, the same wherever it is made. Exit codes: 0 all is well, 1 a
    promise was broken, 130 interrupted or out of time.
    """
    if seed is not None:
        sys.exit(_run_one(seed, is_traced=trace, is_minimized=minimize))
    if trace or minimize:
        raise click.UsageError("--trace and --minimize need --seed")
    sys.exit(_run_many(first, seeds, workers, minutes, failures))


if __name__ == "__main__":
    main(prog_name="scripts/simulate")
