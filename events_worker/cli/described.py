"""What the commands that describe an application have in common: which of its events they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from events_core import Event, EventSystem, IntegrationEvent
from events_core.catalog import event_types
from events_core.describing import document, message_document, sent_events
from events_worker.cli.failing import CommandFailed
from events_worker.cli.near import known_names


def integration_events() -> list[type[IntegrationEvent]]:
    """Those that are loaded, by type and version."""
    return [event for event in event_types() if issubclass(event, IntegrationEvent)]


def documents(
    system: EventSystem, events: Iterable[type[Event]], format_name: str | None = None
) -> list[dict[str, Any]]:
    """Their schemas. format_name: those of whole messages in that format."""
    if format_name is None:
        return [document(event, system.name) for event in events]
    chosen = [event for event in events if issubclass(event, IntegrationEvent)]
    sent = sent_events(system.name, chosen, system.event_map.subscribers)
    sources = {event: f"/{system.name}" if event in sent else None for event in chosen}
    return [message_document(event, system.name, format_name, source) for event, source in sources.items()]


def named_event(event_type: str, version: int | None) -> type[Event]:
    """The loaded event class of that type; without a version, the newest. Raises CommandFailed."""
    found = {event.version: event for event in event_types() if event.event_type == event_type}
    if not found:
        known = {event.event_type for event in event_types()}
        raise CommandFailed(f"no event of type {event_type!r} is loaded: {known_names(event_type, known, 'events')}")
    if version is None:
        return found[max(found)]
    if version not in found:
        raise CommandFailed(f"{event_type} has no version {version} here, only {', '.join(map(str, sorted(found)))}")
    return found[version]
