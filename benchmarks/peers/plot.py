"""Results as pictures: ratios beside what they have to be, rates of every side, and growth."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.peers.figures import RATE_UNIT, spread
from benchmarks.peers.run import USUAL_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLORS = {
    "mqd": "#1f6feb",
    "redis": "#d1495b",
    "beanstalkd": "#3b8c5a",
    "rabbitmq": "#e08e2b",
    "nats": "#7d5ba6",
}
MET, MISSED = "#2a7f62", "#b3541e"
COLUMNS = 3
LOWEST = 0.01
GROWTH = re.compile(r"at_(\d+)_cpu_us")


def draw(rows: list[dict[str, Any]], path: Path) -> list[Path]:
    """Draw what there is to be drawn; return the files that were written.

    Args:
        rows: as `Measured.as_json` returns them.
        path: the file for the ratios; the others have `-rates` and `-growth` before the dot.
            Its ending says what kind of picture it is.
    """
    import matplotlib as mpl  # noqa: PLC0415  slow, and only for this

    mpl.rcParams.update({"svg.hashsalt": "mqd", "svg.fonttype": "none", "font.size": 8})
    usual = [row for row in rows if row["body_bytes"] == USUAL_BODY_BYTES]
    written = []
    makers: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
        "": _ratios,
        "-rates": _rates,
        "-growth": _growth,
    }
    for suffix, make in makers.items():
        figure = make(usual)
        if figure is not None:
            target = path.with_stem(path.stem + suffix)
            figure.savefig(target, bbox_inches="tight", dpi=120, metadata=_dateless(target))
            written.append(target)
    return written


def _dateless(path: Path) -> dict[str, Any]:
    """Return what keeps the time out of a picture, so that the same figures give the same file."""
    return {"Date": None} if path.suffix == ".svg" else {}


def _new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415  as above

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False)


def _ratios(rows: list[dict[str, Any]]) -> Any:
    """Draw each ratio that has a bound, with its bound and its dream."""
    bounded = [ratio for row in rows for ratio in row["ratios"] if "bound" in ratio]
    if not bounded:
        return None
    figure, ((axis,),) = _new(9, 0.8 + 0.24 * len(bounded))
    lowest = max(min(ratio["ratio"]["median"] for ratio in bounded) / 2, LOWEST)
    for place, ratio in enumerate(reversed(bounded)):
        found, bound = ratio["ratio"], ratio["bound"]
        color = MET if bound["is_met"] else MISSED
        axis.barh(place, found["median"], color=color, height=0.6)
        low = max(found["median"] - found["half_range"], lowest)  # the axis has no zero
        axis.plot([low, found["median"] + found["half_range"]], [place] * 2, "k-", lw=0.8)
        axis.plot(bound["at_least"], place, "k|", markersize=9, markeredgewidth=1.6)
        axis.plot(bound["dream"], place, "k*", markersize=5)
    axis.set_yticks(range(len(bounded)), [_told(ratio) for ratio in reversed(bounded)])
    axis.set_xscale("log")
    axis.set_xlim(left=lowest)
    axis.axvline(1.0, color="grey", lw=0.8)
    axis.set_xlabel("times as good as the peer   (| what it has to be, * what is hoped for)")
    axis.set_ylim(-0.6, len(bounded) - 0.4)
    return figure


def _told(ratio: dict[str, Any]) -> str:
    figure = re.sub("_(per_second|bytes|us|seconds)$", "", ratio["figure"])
    return f"{ratio['row']}: {figure}, {ratio['ours']} to {ratio['theirs']}"


def _rates(rows: list[dict[str, Any]]) -> Any:
    """Draw the rates of every side, a panel for each figure of a row."""
    panels = [
        (row, figure)
        for row in rows
        if not row["row"].startswith("growth")
        for figure in _rate_figures(row)
    ]
    if not panels:
        return None
    lines = -(-len(panels) // COLUMNS)
    figure, axes = _new(13, 1.9 * lines, lines, COLUMNS)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (row, name) in zip(axes.flat, panels, strict=False):
        _panel(axis, row, name)
    figure.tight_layout()
    return figure


def _rate_figures(row: dict[str, Any]) -> list[str]:
    every = (name for rounds in row["rounds"].values() for name in rounds[0])
    return [name for name in dict.fromkeys(every) if name.endswith(RATE_UNIT)]


def _panel(axis: Any, row: dict[str, Any], name: str) -> None:
    sides = list(reversed(row["rounds"]))
    for place, side in enumerate(sides):
        found = spread([figures[name] for figures in row["rounds"][side]])
        color = COLORS[side.partition(" ")[0]]
        axis.barh(place, found.median, color=color, xerr=found.half_range, height=0.7)
    axis.set_yticks(range(len(sides)), sides, fontsize=6)
    what = name.removesuffix(RATE_UNIT).replace("_", " ")
    axis.set_title(f"{row['row']}: {what} a second", fontsize=7)
    axis.tick_params(axis="x", labelsize=6)
    axis.set_xlim(left=0)


def _growth(rows: list[dict[str, Any]]) -> Any:
    """Draw the processor time of a message over the number of queues, or of waiting messages."""
    chosen = [row for row in rows if row["row"].startswith("growth")]
    if not chosen:
        return None
    lines = -(-len(chosen) // COLUMNS)
    figure, axes = _new(11, 2.6 * lines, lines, COLUMNS)
    for axis, row in zip(axes.flat, chosen, strict=False):
        for side, rounds in row["rounds"].items():
            points = [
                (int(found[1]), spread([figures[name] for figures in rounds]).median)
                for name in rounds[0]
                if (found := GROWTH.fullmatch(name))
            ]
            color = COLORS[side.partition(" ")[0]]
            axis.plot(*zip(*points, strict=True), "o-", color=color, label=side, markersize=3)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(f"{row['row']}: server's us for a message", fontsize=7)
        axis.legend(fontsize=6)
    figure.tight_layout()
    return figure
