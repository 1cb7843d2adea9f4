"""Subscribers and upcasters as the application defines them. Touches no network."""

from __future__ import annotations

from collections.abc import Iterator

from events_core import EventSystem
from events_core.catalog import path_from, upcasters
from events_core.errors import UndecodableEvent
from events_core.events import defined
from events_worker.checks.finding import Finding
from events_worker.subscriptions.starting import mistakes


def check_subscribers(system: EventSystem) -> Iterator[Finding]:
    """Findings on how subscribers hear."""
    for mistake in mistakes(system):
        yield Finding("error", mistake)
    broker = system.message_broker
    if broker is not None and system.event_map.subscribers and broker.promises.delivery == "at most once":
        yield Finding(
            "warning",
            f"{type(broker).__name__} promises delivery at most once: subscribers miss what is sent while no worker "
            "runs. Use a broker with durable queues where that matters",
        )


def check_upcasters(system: EventSystem) -> Iterator[Finding]:
    """Findings on chains of upcasters, and on handlers that they leave without events."""
    newer = {(upcaster.event_type, upcaster.from_version): upcaster for upcaster in upcasters()}
    for (event_type, version), upcaster in newer.items():
        try:
            path_from(event_type, version)
        except UndecodableEvent as error:
            yield Finding("error", f"the upcaster {upcaster.name} leads nowhere: {error}")
        cls = defined.get((event_type, version))
        for key, spec in system.event_map.bindings:
            if cls is not None and key is cls:
                yield Finding(
                    "warning",
                    f"{spec.name} is bound to {event_type} version {version}, of which {upcaster.name} makes a newer "
                    "version before any handler sees it: bind it to that one",
                )
