"""What a benchmark found: rows of figures with what must be reached, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

#: The ratio of times that says how many times faster we are.
FASTER: Final = "theirs/ours"


@dataclass(frozen=True)
class Target:
    """What must be reached, by the ratio or by our own figure."""

    sign: Literal["≥", "≤"]
    value: float
    of: Literal["ratio", "ours", "difference"] = "ratio"

    def __str__(self) -> str:
        suffix = {"ratio": "x", "ours": "", "difference": " more"}[self.of]
        return f"{self.sign} {self.value:,g}{suffix}"


@dataclass(frozen=True)
class Row:
    """One comparison: the figures of both sides, one per round.

    ratio: which side is divided by the other: `theirs/ours` says how many times faster we are where the figures are
    times, `ours/theirs` what part of their rate we reach or how many times their time we take.
    theirs may be empty, where there is nothing to compare with.
    """

    case: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    rival: str = "Celery"
    ratio: Literal["theirs/ours", "ours/theirs"] = "ours/theirs"
    target: Target | None = None

    def _divide(self, ours: float, theirs: float) -> float:
        above, below = (theirs, ours) if self.ratio == "theirs/ours" else (ours, theirs)
        return above / below if below else float("inf")

    @property
    def median_ratio(self) -> float | None:
        """The ratio of the medians."""
        return self._divide(median(self.ours), median(self.theirs)) if self.theirs else None

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round."""
        return [self._divide(ours, theirs) for ours, theirs in zip(self.ours, self.theirs, strict=False)]

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        figure = median(self.ours)
        if self.target.of == "difference":
            figure -= median(self.theirs)
        elif self.target.of == "ratio":
            assert self.median_ratio is not None
            figure = self.median_ratio
        return figure >= self.target.value if self.target.sign == "≥" else figure <= self.target.value

    def as_json(self) -> dict[str, Any]:
        """Everything, the figure of each round included."""
        return {
            "case": self.case,
            "unit": self.unit,
            "ours": list(self.ours),
            "theirs": list(self.theirs),
            "rival": self.rival if self.theirs else None,
            "ratio": self.ratio,
            "median_ratio": self.median_ratio,
            "ratios": self.ratios,
            "target": str(self.target) if self.target else None,
            "holds": self.holds,
        }


@dataclass
class Report:
    """The rows of one benchmark, and remarks under its table."""

    title: str
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything that was found."""
        return {"title": self.title, "rows": [row.as_json() for row in self.rows], "remarks": self.remarks}


def show(report: Report, console: Console) -> None:
    """Print the table: medians, the ratio of the medians, and the lowest and highest ratio of a round."""
    table = Table(title=report.title, title_justify="left", title_style="bold")
    table.add_column("case", overflow="fold")
    for heading in ("unit", "ours", "theirs", "against", "ratio", "range", "must reach", "holds"):
        table.add_column(heading, justify="left" if heading in ("unit", "against") else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells(row))
    console.print(table)
    for remark in report.remarks:
        console.print(f"  {remark}", style="dim", highlight=False)
    console.print()


def _cells(row: Row) -> tuple[str, ...]:
    ratio = row.median_ratio
    return (
        row.case,
        row.unit,
        figure(median(row.ours)),
        figure(median(row.theirs)) if row.theirs else "",
        row.rival if row.theirs else "",
        "" if ratio is None else f"{ratio:.2f}x",
        f"{min(row.ratios):.2f}-{max(row.ratios):.2f}" if row.ratios else "",
        str(row.target or ""),
        {True: "yes", False: "NO", None: ""}[row.holds],
    )


def figure(value: float) -> str:
    """Three digits that count, or a whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
