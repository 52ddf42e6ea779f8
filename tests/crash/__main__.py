"""The command behind `scripts/crash`."""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import mqwire
from crash import kills, mounts, pipeline, pool, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PARTS = ("states", "kills", "cuts", "server-cuts", "restarts", "pipeline")
LINE_SECONDS = 10.0
"""How often a line of progress is written where it does not go to a terminal."""


class Amount(NamedTuple):
    """How much is done."""

    states: int
    kill_scripts: int
    script: tuple[int, int]
    cuts: int
    server_cuts: int
    control_cuts: int
    restarts: int
    pipeline_jobs: int


USUAL = Amount(1_000_000, 1, kills.SHORT_SCRIPT, 1_000, 60, 3, 60, 4_000)
FULL = Amount(10_000_000, 3, kills.LONG_SCRIPT, 10_000, 1_000, 10, 2_000, 100_000)


class Run(NamedTuple):
    """One call of the script."""

    amount: Amount
    seed: int
    jobs: int
    seconds: float

    def each(self, **options: Any) -> list[dict[str, Any]]:
        """Return the options of each process."""
        return [
            {**options, "index": index, "jobs": self.jobs, "seed": self.seed}
            for index in range(self.jobs)
        ]

    def share(self, whole: int) -> int:
        """Return what each process has to do of a whole."""
        return -(-whole // self.jobs)


# The parts. Each returns what came of it, or a sentence why it cannot be done here.


def _states(run: Run) -> pool.Result:
    each = [
        {**options, "seed": run.seed + options["index"], "most": run.share(run.amount.states)}
        for options in run.each()
    ]
    progress = Progress("states", run.amount.states)
    result = pool.run("states", each, seconds=run.seconds, on_tick=progress)
    histories = result.counts["histories"] + run.jobs
    result.notes.append(f"histories {run.seed} to {run.seed + histories - 1}")
    result.notes.append(f"to go on where this ends: --seed {run.seed + histories}")
    return result


def _kills(run: Run) -> pool.Result | str:
    reason = kills.why_not()
    if reason is not None:
        return reason
    progress = Progress("kills", None)
    whole = pool.Result()
    for number in range(run.amount.kill_scripts):
        with tempfile.TemporaryDirectory(prefix="mqd-crash-kills-") as scratch:
            seeded = run._replace(seed=run.seed + number, seconds=run.seconds - whole.seconds)
            each = seeded.each(script=run.amount.script, scratch=scratch)
            whole.add(pool.run("kills", each, seconds=seeded.seconds, on_tick=progress))
        if whole.failures or whole.is_interrupted:
            break
    return whole


def _cuts(run: Run) -> pool.Result | str:
    return _cut(run, run.amount.cuts, is_server=False)


def _server_cuts(run: Run) -> pool.Result | str:
    return _cut(run, run.amount.server_cuts, is_server=True)


def _cut(run: Run, cuts: int, *, is_server: bool) -> pool.Result | str:
    refused = {kind: mounts.why_not(kind) for kind in mounts.KINDS}
    kinds = [kind for kind, reason in refused.items() if reason is None]
    if not kinds:
        return "; ".join(reason for reason in refused.values() if reason)
    with mounts.scratch_directory() as scratch:
        each = run.each(
            kinds=kinds,
            cuts=run.share(cuts),
            control_cuts=run.amount.control_cuts,
            is_server=is_server,
            scratch=str(scratch),
        )
        progress = Progress("cuts", cuts)
        result = pool.run("cuts", each, prefix=mounts.PREFIX, seconds=run.seconds, on_tick=progress)
    result.notes += [f"not on {kind}: {reason}" for kind, reason in refused.items() if reason]
    is_done = not (result.is_interrupted or result.failures)
    for kind in kinds:
        if is_done and not result.counts[f"control_losses.{kind}"]:
            result.failures.append(
                f"what is never synced was not lost on {kind}: these cuts prove nothing"
            )
    return result


def _restarts(run: Run) -> pool.Result:
    with tempfile.TemporaryDirectory(prefix="mqd-crash-restarts-") as scratch:
        each = run.each(restarts=run.share(run.amount.restarts), scratch=scratch)
        progress = Progress("restarts", run.amount.restarts)
        return pool.run("restarts", each, seconds=run.seconds, on_tick=progress)


def _pipeline(run: Run) -> pool.Result:
    jobs = run.amount.pipeline_jobs
    with tempfile.TemporaryDirectory(prefix="mqd-crash-pipeline-") as scratch:
        each = [
            {**amount, "seed": run.seed, "scratch": scratch}
            for amount in (pipeline.amount(jobs), pipeline.CONTROL)
        ]
        progress = Progress("jobs", jobs)
        result = pool.run("pipeline", each, seconds=run.seconds, on_tick=progress)
    is_done = not (result.is_interrupted or result.failures)
    if is_done and not result.counts["control.lost"] + result.counts["control.doubled"]:
        result.failures.append("workers without STEP were as good: this proves nothing")
    return result


_WORK: dict[str, tuple[str, Callable[[Run], pool.Result | str]]] = {
    "states": ("states", _states),
    "kills": ("kills", _kills),
    "cuts": ("cuts", _cuts),
    "server-cuts": ("cuts", _server_cuts),
    "restarts": ("restarts", _restarts),
    "pipeline": ("jobs", _pipeline),
}
"""What each part counts, and what does it."""


# What is told


class Progress:
    """Says now and then how far a part has come."""

    def __init__(self, what: str, whole: int | None) -> None:
        self._what = what
        self._whole = "" if whole is None else f" of {whole:,}"
        self._is_terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def __call__(self, result: pool.Result) -> None:
        now = time.monotonic()
        if now - self._last < (0.5 if self._is_terminal else LINE_SECONDS):
            return
        self._last = now
        count = result.counts[self._what]
        text = f"{self._what}: {count:,}{self._whole}, {_pace(count, result.seconds)}"
        if self._is_terminal:
            click.echo(f"\r\033[K{text}", nl=False, err=True)
        else:
            click.echo(text, err=True)


def _pace(count: int, seconds: float) -> str:
    return f"{seconds:,.0f} s, {count / max(seconds, 0.001):,.1f}/s"


def _tell(part: str, outcome: pool.Result | str) -> dict[str, Any]:
    """Print what came of a part, and return it for JSON."""
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if isinstance(outcome, str):
        click.echo(f"{part}: not done here: {outcome}")
        return {"skipped": outcome}
    counted = _WORK[part][0]
    count = outcome.counts[counted]
    end = " (interrupted)" if outcome.is_interrupted else ""
    click.echo(f"{part}: {count:,} in {_pace(count, outcome.seconds)}{end}")
    for name, number in sorted(outcome.counts.items()):
        if name != counted:
            click.echo(f"    {name:<28}{number:>14,}")
    for note in outcome.notes:
        click.echo(f"    {note}")
    for failure in outcome.failures:
        click.echo(f"FAILED: {failure}")
    return outcome.as_json()


def _machine() -> str:
    cores = pool.cores()
    return (
        f"mqd {mqwire.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {cores} cores"
    )


def _status(done: dict[str, dict[str, Any]], parts: Sequence[str]) -> int:
    """Return the exit code: 1 something is wrong, 130 interrupted, 3 asked for and not done."""
    if any(each.get("failures") for each in done.values()):
        return 1
    if any(not each.get("is_complete", True) for each in done.values()) or not done:
        return 130
    return 3 if any("skipped" in done[part] for part in parts) else 0


def _go_through(parts: Sequence[str], run: Run, seconds: float) -> Iterator[tuple[str, Any]]:
    ends_at = time.monotonic() + seconds
    for part in parts:
        left = ends_at - time.monotonic()
        outcome = _WORK[part][1](run._replace(seconds=left))
        yield part, _tell(part, outcome)
        if isinstance(outcome, pool.Result) and outcome.is_interrupted:
            return


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option(
    "--full", is_flag=True, help="As much as before a release; an hour and a half on two cores."
)
@click.option("--states", "states_most", type=click.IntRange(1), help="How many crash states.")
@click.option("--cuts", "cuts_most", type=click.IntRange(1), help="How many cuts of the power.")
@click.option("--kill-scripts", "scripts_most", type=click.IntRange(1), help="How many scripts.")
@click.option("--server-cuts", "server_cuts_most", type=click.IntRange(1), help="With a server.")
@click.option("--restarts", "restarts_most", type=click.IntRange(1), help="How many kill -9.")
@click.option("--jobs-count", type=click.IntRange(1), help="How many jobs of a pipeline.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; one for each core otherwise.")
@click.option("--seed", type=click.IntRange(0), help="Where to begin; told at the end.")
@click.option("--minutes", type=click.FloatRange(0), help="Stop then, however far it has come.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures here.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Look again at one crash state that has failed.",
)
def main(  # noqa: PLR0917  a command's options
    parts: tuple[str, ...],
    full: bool,
    states_most: int | None,
    cuts_most: int | None,
    scripts_most: int | None,
    server_cuts_most: int | None,
    restarts_most: int | None,
    jobs_count: int | None,
    jobs: int | None,
    seed: int | None,
    minutes: float | None,
    json_path: Path | None,
    replay: Path | None,
) -> None:
    """Crash it on purpose, and hold what is left against what was promised.

    PART is any of: states (what a disk may hold after a crash, enumerated), kills (SIGKILL
    before every file system call of a script), cuts (the power, on loop-mounted file
    systems), server-cuts (the same with a whole server on it), restarts (kill -9 of a
    server under load) and pipeline (jobs through three stages while workers and the server
    die); all of them without one.

    Ctrl-C ends it in good order, with the figures so far. Exit codes: 0 all is well, 1 a
    promise was broken, 3 a part that was asked for cannot be done here, 130 interrupted.
    """
    if replay is not None:
        click.echo(f"{states.replay(replay)} states are as they should be")
        return
    amount = FULL if full else USUAL
    amount = amount._replace(
        states=states_most or amount.states,
        kill_scripts=scripts_most or amount.kill_scripts,
        cuts=cuts_most or amount.cuts,
        server_cuts=server_cuts_most or amount.server_cuts,
        restarts=restarts_most or amount.restarts,
        pipeline_jobs=jobs_count or amount.pipeline_jobs,
    )
    run = Run(amount, random.randrange(10**9) if seed is None else seed, jobs or pool.cores(), 0)
    click.echo(f"{_machine()}; seed {run.seed}, {run.jobs} processes")
    done: dict[str, dict[str, Any]] = {}
    seconds = float("inf") if minutes is None else minutes * 60
    try:
        for part, told in _go_through(parts or PARTS, run, seconds):
            done[part] = told
            if json_path is not None:
                _write_json(json_path, {"machine": _machine(), "seed": run.seed, "parts": done})
    except KeyboardInterrupt:  # between two parts
        sys.exit(130)
    sys.exit(_status(done, parts))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """Write it so that it is there whole, also when this is interrupted."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    main(prog_name="scripts/crash")
