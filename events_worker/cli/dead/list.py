"""`events dead list`."""

from __future__ import annotations

from collections.abc import Iterable

import click

from events_core import EventSystem
from events_worker.cli.dead.selection import Selection, selecting
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table
from events_worker.cli.reach import reachable_parts
from events_worker.dead_letters import DeadLetter


@click.command("list")
@system_option
@selecting
@json_option
def list_(system: EventSystem, selection: Selection, as_json: bool) -> None:
    """List dead letters, newest first. IDS: of deliveries or events; default: all."""
    letters = list(selection.letters(reachable_parts(system).dead_letters))
    if as_json:
        print_json([letter.shown() for letter in letters])
    else:
        print_letters(letters)


def print_letters(letters: Iterable[DeadLetter]) -> None:
    """A table of letters, one line of values each, and how many there are."""
    shown = table("Dead letters", "id", "event", "handler", "reason", "starts", "died", "error", whole=("id",))
    for letter in letters:
        event = f"{letter.event_type} v{letter.version}" if letter.event_type else "no event"
        died = str(letter.shown()["dead_at"] or "").replace("T", " ")[:19]
        values = (letter.id, event, letter.handler, letter.reason, letter.starts, died, letter.error)
        shown.add_row(*map(cell, values))
    out = console()
    if shown.row_count:
        out.print(shown)
    out.print(f"{shown.row_count or 'no'} dead letter{'' if shown.row_count == 1 else 's'}")
