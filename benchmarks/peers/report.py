"""Results as text: a table for each row, as people read it at a terminal and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.figures import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.peers.run import Measured

MEGABYTE = 1_000_000
UNITS = {
    "_per_second": "/s",
    "_us": " us",
    "_seconds": " s",
    "_bytes": " B",
}


def text(measured: Measured) -> Iterator[str]:
    """Yield the lines of a row's figures and ratios."""
    yield f"{measured.row}, bodies of {measured.body_bytes:,} B"
    for side in measured.rounds:
        told = "   ".join(
            f"{_name(figure)} {_shown(figure, measured.values(side, figure))}"
            for figure in measured.figures()
            if measured.values(side, figure)
        )
        yield f"  {side:20} {told}"
    for side, why in measured.failures.items():
        yield f"  {side:20} given up: {why}"
    for ratio in measured.ratios():
        if _is_aside(ratio):
            continue
        yield (
            f"    {ratio['ours']} to {ratio['theirs']}, {_name(ratio['figure'])}: "
            f"{_ratio(ratio)}{_judged(ratio)}"
        )


def markdown(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield Markdown tables: the bounds first, then every row's figures.

    Args:
        rows: as `Measured.as_json` returns them.
    """
    yield "| work | mqd | against | ratio | at least | dream | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        for ratio in row["ratios"]:
            if "bound" in ratio:
                bound = ratio["bound"]
                yield (
                    f"| {ratio['row']}: {_name(ratio['figure'])} | {ratio['ours']} "
                    f"| {ratio['theirs']} | {_ratio(ratio)} | {bound['at_least']:g} "
                    f"| {bound['dream']:g} | {_verdict(bound)} |"
                )
    for row in rows:
        yield from _markdown_row(row)


def _markdown_row(row: dict[str, Any]) -> Iterator[str]:
    every = [name for rounds in row["rounds"].values() for name in rounds[0]]
    figures = list(dict.fromkeys(every))
    yield ""
    yield f"{row['row']}, bodies of {row['body_bytes']:,} B:"
    yield ""
    yield f"| side | {' | '.join(_name(figure) for figure in figures)} |"
    yield f"| --- |{' --- |' * len(figures)}"
    for side, rounds in row["rounds"].items():
        cells = []
        for figure in figures:
            values = [each[figure] for each in rounds if figure in each]
            cells.append(_shown(figure, values) if values else "")
        yield f"| {side} | {' | '.join(cells)} |"
    for side, why in row["failures"].items():
        yield f"| {side} | given up: {why} |{' |' * (len(figures) - 1)}"


def _is_aside(ratio: dict[str, Any]) -> bool:
    """Tell whether a ratio is not worth a line: the figures tell it, and it hides the others."""
    figure = ratio["figure"]
    return "bound" not in ratio and figure.endswith("_us") and figure != "server_cpu_us"


def _name(figure: str) -> str:
    for unit in UNITS:
        figure = figure.removesuffix(unit)
    return figure.replace("_", " ").replace("p999", "p99.9")


def _shown(figure: str, values: list[float]) -> str:
    unit = next((shown for ending, shown in UNITS.items() if figure.endswith(ending)), "")
    if unit == " B" and max(values) >= MEGABYTE:
        values, unit = [value / MEGABYTE for value in values], " MB"
    found = spread(values)
    digits = 0 if found.median >= 100 else 2
    return f"{found.median:,.{digits}f}{unit} ±{found.half_range:,.{digits}f}"


def _ratio(ratio: dict[str, Any]) -> str:
    return f"{ratio['ratio']['median']:.2f} ±{ratio['ratio']['half_range']:.2f}"


def _judged(ratio: dict[str, Any]) -> str:
    if "bound" not in ratio:
        return ""
    bound = ratio["bound"]
    return f" (at least {bound['at_least']:g}, dream {bound['dream']:g}: {_verdict(bound)})"


def _verdict(bound: dict[str, Any]) -> str:
    if bound["is_dreamt"]:
        return "met, and the dream"
    return "met" if bound["is_met"] else "NOT met"
