"""`events schema`: what the fields of events are, and what has changed in them."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from events_core import EventSystem, IntegrationEvent
from events_core.catalog import event_types
from events_core.describing import EventChange, by_event, changes, files
from events_core.describing.messages import FORMATS
from events_core.errors import EventsError
from events_core.settings import app_path
from events_worker.cli.described import documents, integration_events, named_event
from events_worker.cli.failing import CommandFailed, say_error
from events_worker.cli.listing import ListingGroup
from events_worker.cli.options import json_option, load_system, system_option
from events_worker.cli.output import cell, console, print_json, table

_UNUSABLE = 2
_STYLES = {True: "red", False: "green"}


class _Schemas(ListingGroup):
    default = "show"


@click.group(cls=_Schemas)
def schema() -> None:
    """JSON Schemas of the events, and what has changed in them. Without a command: show."""


@schema.command()
@system_option
@click.argument("event_type", metavar="[TYPE]", required=False)
@click.option("--version", type=int, help="Of that type; default the newest.")
@click.option("--domain", is_flag=True, help="Domain events too.")
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Of whole messages in this format.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write one file for each."
)
def show(
    system: EventSystem,
    event_type: str | None,
    version: int | None,
    domain: bool,
    format_name: str | None,
    output: Path | None,
) -> None:
    """Print the JSON Schemas (draft 2020-12) of integration events, as they are on the wire.

    One of TYPE, else a list of all, of every version. Of the event's own fields, without its id and time.
    """
    if version is not None and event_type is None:
        raise click.UsageError("--version is that of a TYPE: name the event")
    if domain and format_name:
        raise click.UsageError("--format is that of a message broker, which domain events never see: leave one out")
    if event_type is None:
        shown = documents(system, event_types() if domain else integration_events(), format_name)
    else:
        event = named_event(event_type, version)
        if format_name and not issubclass(event, IntegrationEvent):
            raise click.UsageError(f"{event_type} is a domain event, which no message broker sees: leave out --format")
        shown = documents(system, [event], format_name)
    if output is None:
        print_json(shown if event_type is None else shown[0])
    else:
        _write(output, shown, everything=event_type is None)


def _write(folder: Path, shown: list[dict[str, Any]], *, everything: bool) -> None:
    try:
        others = files.write(folder, shown)
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be written to: {error}") from error
    click.echo(f"{len(shown)} schemas written to {folder}")
    if everything and others:
        names = ", ".join(path.name for path in others)
        click.echo(f"of events that were not written now: {names}. Delete them if those are gone for good", err=True)


@schema.command()
@click.option("-A", "--app", "app", metavar="MODULE[:NAME]", help="Where the EventSystem is; default EVENTS_APP.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), required=False)
@json_option
def diff(app: str | None, old: Path, new: Path | None, as_json: bool) -> None:
    """Say what has changed since OLD, and whom it breaks.

    OLD and NEW are files or folders that `events schema` wrote; NEW is the application's events if left out.
    Consumers know the old schema and read what is sent by the new one; producers send by the old one, as do events
    that still wait in queues and dead letters. Exit code 1 if a change breaks either, 2 if they cannot be compared.
    """
    try:
        found = _compared(app, old, new)
    except (EventsError, OSError, ValueError) as error:
        say_error(str(error))
        sys.exit(_UNUSABLE)
    breaking = any(change.breaking for change in found)
    if as_json:
        print_json({"breaking": breaking, "changes": [change.shown() for change in found]})
    else:
        _print(found)
    sys.exit(1 if breaking else 0)


def _compared(app: str | None, old: Path, new: Path | None) -> list[EventChange]:
    before, whole = files.read(old)
    if new is not None:
        after, _ = files.read(new)
    else:
        system = load_system(app or app_path())
        domain = any(document["x-event"].get("kind") == "domain_event" for document in before.values())
        after = by_event(documents(system, event_types() if domain else integration_events()))
    if not whole:  # of other events nothing was said
        asked = {event_type for event_type, _ in before}
        after = {key: document for key, document in after.items() if key[0] in asked}
    try:
        return changes(before, after)
    except (AttributeError, KeyError, TypeError) as error:  # not 1, which says that something breaks
        raise ValueError(f"{old} or {new or 'the application'} holds what is no JSON Schema: {error!r}") from error


def _print(found: list[EventChange]) -> None:
    out = console()
    for (event_type, version), of_event in groupby(found, key=lambda one: (one.event_type, one.version)):
        out.print(cell(f"{event_type} version {version}", "bold"), soft_wrap=True)
        shown = table("", "breaks", "field", "change")
        for one in of_event:
            breaks = " and ".join(one.change.breaks) or "nobody"
            shown.add_row(cell(breaks, _STYLES[one.breaking]), cell(one.change.path), cell(one.change.text))
        out.print(shown)
        out.print()
    breaking = sum(change.breaking for change in found)
    out.print(cell(f"{len(found)} changes, {breaking} breaking", _STYLES[breaking > 0]))
