"""Reads tables and transcripts out of PROTOCOL.md, for the tests that hold code and text equal."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def protocol_text() -> str:
    """Return PROTOCOL.md."""
    return (ROOT / "PROTOCOL.md").read_text(encoding="utf-8")


def section(number: int) -> str:
    """Return the text of the section `## number.`, up to the next one."""
    parts = re.split(r"(?m)^## (\d+)\. .*$", protocol_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))[str(number)]


def first_table(text: str) -> list[dict[str, str]]:
    """Return the first table in `text`: a dictionary by the heads of the columns for each row."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(index for index, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    head, rule, *body = rows
    assert all(set(cell) <= {"-", ":"} for cell in rule)
    assert all(len(row) == len(head) for row in body)
    return [dict(zip(head, row, strict=True)) for row in body]
