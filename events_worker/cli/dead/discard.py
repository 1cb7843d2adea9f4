"""`events dead discard`."""

from __future__ import annotations

import click

from events_core import EventSystem
from events_worker.cli.dead.list import print_letters
from events_worker.cli.dead.selection import Selection, acting, chosen, confirm, paced, selecting
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import print_json
from events_worker.cli.reach import reachable_parts


@click.command()
@system_option
@selecting
@acting
@json_option
def discard(
    system: EventSystem, selection: Selection, everything: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Forget dead letters for good. IDS: of deliveries or events."""
    store = reachable_parts(system).dead_letters
    ids = chosen(store, selection, everything=everything)
    if not dry_run:
        confirm(len(ids), "discard for good", yes=yes)
    discarded = []
    for letter_id in paced(ids, None, "discarding"):
        letter = store.get(letter_id)
        if letter is not None and (dry_run or store.discard(letter)):
            discarded.append(letter)
    if as_json:
        print_json([letter.shown() for letter in discarded])
    elif dry_run:
        print_letters(discarded)
    else:
        click.echo(f"{len(discarded)} of {len(ids)} discarded")
