"""Reading the project's Markdown pages: code blocks, tables, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

_FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$", re.M | re.S
)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. file: where the page tells its reader to save it."""

    language: str
    code: str
    file: str | None = None


def pages() -> list[Path]:
    """Every page that users read."""
    return [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order, without their indentation."""
    found = []
    for match in _FENCE.finditer(page.read_text()):
        lines = (line.removeprefix(match["indent"]) for line in match["code"].splitlines(keepends=True))
        found.append(Block(match["language"], "".join(lines), match["file"]))
    return found


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text())


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table whose first heading is this one, as the texts of their cells."""
    lines = iter(prose(page).splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            return list(_rows(lines))
    raise AssertionError(f"{page.name} has no table that begins with {heading!r}")


def _rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code_words(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of every link."""
    return [(match["text"], match["target"]) for match in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """What `#...` may name in a page, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
