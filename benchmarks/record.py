"""Writes the results of a run into docs/benchmarks.md, below its heading "Results"."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import figure

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEADING = "## Results\n"
_COLUMNS = ("case", "unit", "ours", "theirs", "against", "ratio", "range", "must reach", "holds")


def record(found: dict[str, Any]) -> None:
    """Replace the page's results by those of a run, given as in the file that `--json` writes."""
    before, heading, _ = PAGE.read_text().partition(HEADING)
    if not heading:
        raise ValueError(f"{PAGE} has no line {HEADING.strip()!r}, below which results are recorded: add one")
    parts = ["\n".join(f"- {key}: {value}" for key, value in found["about"].items())]
    for name, report in found["benchmarks"].items():
        rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, report["rows"])]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(f"### {name}\n\n{report['title']}\n\n{table}")
    PAGE.write_text(f"{before}{heading}\n" + "\n\n".join(parts) + "\n")


def _cells(row: dict[str, Any]) -> list[str]:
    ratio, ratios = row["median_ratio"], row["ratios"]
    return [
        row["case"],
        row["unit"],
        figure(median(row["ours"])),
        figure(median(row["theirs"])) if row["theirs"] else "",
        row["rival"] or "",
        "" if ratio is None else f"{ratio:.2f}x",
        f"{min(ratios):.2f}-{max(ratios):.2f}" if ratios else "",
        row["target"] or "",
        {True: "yes", False: "**no**", None: ""}[row["holds"]],
    ]
