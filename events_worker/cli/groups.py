"""`events groups`: where groups stand."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from events_core import EventSystem
from events_worker.cli.failing import CommandFailed
from events_worker.cli.listing import ListingGroup
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table
from events_worker.cli.reach import reachable_parts
from events_worker.limits.group_overview import GroupRow, group_ids, group_rows

_COUNTS = ("total", "waiting", "running", "retrying", "done", "dead", "cancelled")
#: Seconds between two looks of --watch.
_PAUSE = 0.5
_BAR = 30


@click.group(cls=ListingGroup)
def groups() -> None:
    """Look at groups and cancel them. Without a command: list."""


@groups.command("list")
@system_option
@click.option("--all", "everything", is_flag=True, help="Those that have completed within a day too.")
@click.option("--watch", is_flag=True, help="Draw progress bars until Ctrl-C, where this is a terminal.")
@json_option
def list_(system: EventSystem, everything: bool, watch: bool, as_json: bool) -> None:
    """Show the groups under way, newest first, in deliveries."""
    if watch and as_json:
        raise click.UsageError("--watch draws in a terminal: leave out either it or --json")
    coordination = reachable_parts(system).coordination
    ids = group_ids(coordination, completed=everything)

    def look() -> list[GroupRow]:
        return group_rows(system, coordination, ids)

    if as_json:
        print_json([_shown(row) for row in look()])
    elif not watch or not sys.stdout.isatty():
        _print(look(), everything=everything)
    else:
        with suppress(KeyboardInterrupt), Live(drawn(look(), bars=True), console=console(), auto_refresh=False) as live:
            while True:  # those that complete meanwhile stay
                ids |= group_ids(coordination, completed=False)
                live.update(drawn(look(), bars=True), refresh=True)
                time.sleep(_PAUSE)


@groups.command()
@system_option
@click.argument("group_id", metavar="ID")
@json_option
def cancel(system: EventSystem, group_id: str, as_json: bool) -> None:
    """Let what has not begun of a group never run. What runs comes to its end; then the group completes."""
    coordination = reachable_parts(system).coordination
    group = system.group(group_id)
    try:
        before = group.progress()
        group.cancel()
        system.turns.admission.flush()  # what took the places of the cancelled was published: say so now
    except LookupError as error:
        raise CommandFailed(f"{error}. `events groups --all` shows those there are") from error
    rows = group_rows(system, coordination, [group_id])
    if as_json:
        print_json(_shown(rows[0]) if rows else None)
    elif before.state == "completed":
        click.echo(f"{group_id} has completed already: nothing to cancel")
    else:
        now = rows[0].progress if rows else before
        click.echo(f"{group_id}: {now.cancelled} cancelled, {now.running} still running, {now.retrying} to be retried")


def _shown(row: GroupRow) -> dict[str, Any]:
    values = asdict(row)
    return {**values, **values.pop("progress")}


def _print(rows: Sequence[GroupRow], *, everything: bool) -> None:
    if rows:
        console().print(drawn(rows, bars=False))
    else:
        click.echo("no group is known" if everything else "no group is under way (--all: completed ones too)")


def drawn(rows: Sequence[GroupRow], *, bars: bool) -> Table:
    """The groups as a table. bars: with a progress bar each."""
    shown = table("Groups", "id", "name", "state", *(["progress"] if bars else []), "max", *_COUNTS, whole=("id",))
    for row in rows:
        progress = row.progress
        over = progress.done + progress.dead + progress.cancelled
        cancelling = row.stopped and not progress.finished
        shown.add_row(
            cell(row.id),
            cell(row.name),
            cell("being cancelled" if cancelling else progress.state, _style(row)),
            *([ProgressBar(max(progress.total, 1), over, width=_BAR)] if bars else []),
            cell(row.max_parallel),
            *(cell(getattr(progress, count)) for count in _COUNTS),
        )
    return shown


def _style(row: GroupRow) -> str:
    return "yellow" if row.progress.state == "abandoned" else ""
