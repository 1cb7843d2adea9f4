"""`events map`: what follows from what."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click
from rich.tree import Tree

from events_core import Event, EventSystem, IntegrationEvent
from events_core.catalog import event_types
from events_core.handlers import HandlerSpec
from events_worker.cli.follow_ups import circles, follow_ups
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json


@click.command("map")
@system_option
@json_option
def event_map(system: EventSystem, as_json: bool) -> None:
    """Show events, their handlers and the events that follow, by module.

    Follow-ups are known where a handler's return annotation names them. A circular chain is marked: it ends at
    EVENTS_MAX_HOPS.
    """
    events = sorted(event_types(), key=lambda event: (event.__module__, event.event_type, event.version))
    ways = circles(system, events)
    shown = [_shown(system, event, ways.get(event)) for event in events]
    if as_json:
        print_json(shown)
    else:
        _print(system, shown)


def _shown(system: EventSystem, event: type[Event], way: list[type[Event]] | None) -> dict[str, Any]:
    return {
        "module": event.__module__,
        "event_type": event.event_type,
        "version": event.version,
        "kind": event.event_kind,
        "handlers": [
            {"name": spec.name, "follow_ups": [_named(after) for after in follow_ups(spec)]}
            for spec in _handlers(system, event)
        ],
        "circular": None if way is None else [e.event_type for e in way],
    }


def _handlers(system: EventSystem, event: type[Event]) -> list[HandlerSpec]:
    """Its handlers; of an integration event the subscribers, whatever version they name."""
    subscribed = [found.spec for found in system.event_map.subscribers if found.wants(event.event_type, "")]
    return [*system.event_map.route(event), *(subscribed if issubclass(event, IntegrationEvent) else ())]


def _named(event: type[Event]) -> dict[str, Any]:
    return {"event_type": event.event_type, "version": event.version}


def _print(system: EventSystem, shown: list[dict[str, Any]]) -> None:
    root = Tree(cell(f"{system.name}: events, their handlers, and what follows", "bold"))
    for module, events in groupby(shown, key=lambda event: event["module"]):
        branch = root.add(cell(module, "bold"))
        for event in events:
            _add_event(branch, event)
    console().print(root)


def _add_event(branch: Tree, event: dict[str, Any]) -> None:
    label = cell(f"{event['event_type']} v{event['version']}", "cyan")
    if event["circular"]:
        label.append(f"  circular: {' > '.join(event['circular'])}", "red")
    node = branch.add(label)
    for handler in event["handlers"]:
        leaf = node.add(cell(handler["name"]))
        for event_after in handler["follow_ups"]:
            leaf.add(cell(f"> {event_after['event_type']} v{event_after['version']}"))
    if not event["handlers"] and event["kind"] == "domain_event":
        node.add(cell("no handler", "yellow"))
