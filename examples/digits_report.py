"""How the digits sweep shows itself: a progress bar, a table of the best, a heat map.

What it is not: anything to do with queues. digits_sweep.py has those.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from digits_sweep import Result

# What was found goes to standard output, what is going on to standard error.
console = Console(highlight=False, markup=False, soft_wrap=True)
notes = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


@contextlib.contextmanager
def progress_bar(who: str, total: int) -> Iterator[Callable[[Result], None]]:
    """Show a bar; yields a function that takes each result as it comes."""
    best = -1.0
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=notes) as progress:
        task = progress.add_task(f"{who}: starting", total=total)

        def on_result(result: Result) -> None:
            nonlocal best
            best = max(best, result.score)
            progress.update(task, advance=1, description=f"{who}: best so far {best:.2%}")

        yield on_result


def rank(results: Iterable[Result]) -> list[Result]:
    """Return results from best to worst; of equal ones, the smoother model comes first."""
    return sorted(results, key=lambda result: (-result.score, result.job.c, result.job.gamma))


def show(results: Sequence[Result], seconds: float) -> None:
    """Print the best setting, the ten best, and who did how much."""
    shares = Counter(result.worker for result in results)
    counts = ", ".join(str(count) for count in sorted(shares.values(), reverse=True))
    who = f"{len(shares)} processes ({counts})" if len(shares) > 1 else "one process"
    ranked = rank(results)
    table = Table(title=f"The {min(10, len(ranked))} best of {len(ranked)} settings")
    for heading in ("", "C", "gamma", "accuracy", "worst fold", "seconds"):
        table.add_column(heading, justify="right")
    for place, result in enumerate(ranked[:10], start=1):
        accuracies = (f"{result.score:.2%}", f"{min(result.scores, default=-1):.2%}")
        setting = (f"{result.job.c:g}", f"{result.job.gamma:g}")
        table.add_row(str(place), *setting, *accuracies, f"{result.seconds:.2f}")
    console.print(table)
    console.print(f"{len(results)} settings in {seconds:.1f} s by {who}.")
    best = ranked[0]
    console.print(f"Best: {best.job}, accuracy {best.score:.2%}.", style="bold")


def save_plot(results: Sequence[Result], path: Path) -> None:
    """Draw accuracy against C and gamma, the best setting marked.

    Args:
        results: a full grid.
        path: where to; the suffix chooses the format.
    """
    from matplotlib.colors import LogNorm  # noqa: PLC0415  slow to import, and only needed here
    from matplotlib.figure import Figure  # noqa: PLC0415  as above: no display is needed

    c_values = sorted({result.job.c for result in results})
    gammas = sorted({result.job.gamma for result in results})
    # Colours follow the logarithm of the error: 98 % and 99 % differ as 80 % and 90 % do.
    errors = {(result.job.c, result.job.gamma): 1 - result.score for result in results}
    best = rank(results)[0]

    figure = Figure(figsize=(9, 7), dpi=150, layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    mesh = axes.pcolormesh(
        cell_edges(gammas),
        cell_edges(c_values),
        [[max(errors[c, gamma], 0.001) for gamma in gammas] for c in c_values],
        norm=LogNorm(vmin=max(1 - best.score, 0.001), vmax=1),
        cmap="viridis_r",
    )
    draw_scale(figure, axes, mesh)
    axes.plot(best.job.gamma, best.job.c, "*", ms=20, mfc="white", mec="black")
    axes.set_xlabel("gamma: how local the influence of a sample is")
    axes.set_ylabel("C: price of a sample on the wrong side")
    axes.set_title(
        f"Handwritten digits, support vector classifier, {len(results)} settings\n"
        f"\u2606 best: {best.job}, accuracy {best.score:.2%}"
    )
    figure.savefig(path)


def draw_scale(figure: Any, axes: Any, mesh: Any) -> None:
    """Put a colour bar beside the map: accuracy, the best on top."""
    ticks = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    bar = figure.colorbar(mesh, ax=axes, label="cross-validated accuracy")
    bar.set_ticks(ticks, labels=[f"{1 - tick:.0%}" for tick in ticks])
    bar.minorticks_off()
    bar.ax.invert_yaxis()


def cell_edges(centres: Sequence[float]) -> list[float]:
    """Return the edges of the cells around evenly spaced points of a log axis."""
    ratio = (centres[-1] / centres[0]) ** (0.5 / max(len(centres) - 1, 1)) if centres[1:] else 2.0
    return [centres[0] / ratio, *(centre * ratio for centre in centres)]


def compare(results: Sequence[Result], serial: Sequence[Result]) -> bool:
    """Tell, and print, whether a sweep equals the serial one in every digit of every score."""
    pairs = list(zip(results, serial, strict=True))
    differing = [
        mine.job for mine, other in pairs if (mine.job, mine.scores) != (other.job, other.scores)
    ]
    best, serial_best = rank(results)[0].job, rank(serial)[0].job
    is_equal = not differing and best == serial_best
    if is_equal:
        line = f"Equal to the serial sweep: all {len(pairs)} scores, and the best setting ({best})."
    else:
        line = (
            f"Not equal to the serial sweep: {len(differing)} of {len(pairs)} scores differ; "
            f"best here: {best}, best there: {serial_best}."
        )
    style = "bold green" if is_equal else "bold red"
    console.print(line, style=style)
    return is_equal
