"""Writes the results of a run into docs/benchmarks.md, below a heading."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import figure

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_COLUMNS = ("case", "unit", "ours", "theirs", "against", "ratio", "range", "must reach", "holds")


def record(found: dict[str, Any], heading: str, names: Collection[str]) -> None:
    """Replace what stands below a heading of the page by the results of a run, as far as it has benchmarks of names.

    found: the run, as in the file that `--json` writes.
    """
    reports = {name: report for name, report in found["benchmarks"].items() if name in names}
    if not reports:
        return
    line = f"\n## {heading}\n"
    before, found_line, after = PAGE.read_text().partition(line)
    if not found_line:
        raise ValueError(f"{PAGE} has no line {line.strip()!r}, below which results are recorded: add one")
    _, next_line, rest = after.partition("\n## ")
    parts = ["\n".join(f"- {key}: {value}" for key, value in found["about"].items())]
    for name, report in reports.items():
        rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, report["rows"])]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(f"### {name}\n\n{report['title']}\n\n{table}")
    PAGE.write_text(f"{before}{line}\n" + "\n\n".join(parts) + f"\n{next_line}{rest}")


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
