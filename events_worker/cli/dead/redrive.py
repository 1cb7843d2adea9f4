"""`events dead redrive`."""

from __future__ import annotations

import sys
from typing import Any

import click

from events_core import EmitError, EventSystem
from events_worker.cli.dead.list import print_letters
from events_worker.cli.dead.selection import Selection, acting, chosen, confirm, paced, selecting
from events_worker.cli.failing import say_error
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import print_json
from events_worker.cli.reach import reachable_parts
from events_worker.dead_letters import DeadLetters
from events_worker.dead_letters.redrive import NotRedrivable, redrive


@click.command("redrive")
@system_option
@selecting
@acting
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="So many per second at the most.")
@json_option
def redrive_(
    system: EventSystem,
    selection: Selection,
    everything: bool,
    dry_run: bool,
    yes: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Send dead letters again, as new deliveries with fresh attempts. IDS: of deliveries or events."""
    store = reachable_parts(system).dead_letters
    ids = chosen(store, selection, everything=everything)
    if dry_run:
        letters = [letter for letter_id in ids if (letter := store.get(letter_id)) is not None]
        if as_json:
            print_json([letter.shown() for letter in letters])
        else:
            print_letters(letters)
        return
    confirm(len(ids), "redrive", yes=yes)
    results: list[dict[str, Any]] = []
    try:
        for letter_id in paced(ids, rate, "redriving"):
            results.append(_redrive(system, store, letter_id))
    except EmitError as error:
        say_error(f"the broker does not confirm, what is not redriven yet stays dead: {error.reason}")
        sys.exit(1)
    finally:  # also when it was interrupted: what is done is done
        _report(results, as_json=as_json)
    if any(result["outcome"] == "refused" for result in results):
        sys.exit(1)


def _redrive(system: EventSystem, store: DeadLetters, letter_id: str) -> dict[str, Any]:
    result: dict[str, Any] = {"id": letter_id, "handler": None, "redriven_as": None, "outcome": "gone", "message": ""}
    letter = store.get(letter_id)
    if letter is not None:
        result["handler"] = letter.handler
        try:
            result["redriven_as"] = redrive(system, store, letter)
        except NotRedrivable as error:
            return {**result, "outcome": "refused", "message": str(error)}
        if result["redriven_as"] is not None:
            return {**result, "outcome": "redriven"}
    return {**result, "message": f"{letter_id} was redriven or discarded by someone else meanwhile: nothing to do"}


def _report(results: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(results)
        return
    for result in results:
        if result["message"]:
            click.echo(result["message"], err=True)
    done = [result for result in results if result["outcome"] == "redriven"]
    if len(done) == 1:
        click.echo(f"redriven as {done[0]['redriven_as']}")
    else:
        click.echo(f"{len(done)} of {len(results)} redriven")
