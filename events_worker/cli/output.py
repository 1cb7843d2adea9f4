"""What commands print: tables for people, one JSON document for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Columns of a table that no terminal bounds.
_PIPE_WIDTH = 200


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.encode(errors="backslashreplace").decode())  # a lone surrogate stays JSON's \udXXX


def console(*, stderr: bool = False) -> Console:
    """A console on what is stdout (or stderr) now."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False)


def cell(value: Any, style: str = "") -> Text:
    """A value as it may stand in a terminal: no markup, no escape sequences of whoever wrote an error's message."""
    text = "" if value is None else str(value)
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text), style)


def table(title: str, *columns: str, whole: tuple[str, ...] = ()) -> Table:
    """An empty table. whole: the columns whose values are never broken, for they are copied from there."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, no_wrap=column in whole, overflow="ignore" if column in whole else "fold")
    return made
