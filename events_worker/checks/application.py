"""Events and handlers as the application defines them. Touches no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from events_core import DomainEvent, Event, EventSystem
from events_core.catalog import event_types
from events_core.handlers import HandlerSpec
from events_worker.checks.dependencies import check_dependencies
from events_worker.checks.finding import Finding

_GOOD_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def check_application(system: EventSystem) -> Iterator[Finding]:
    """Findings on event types, bindings and handlers."""
    yield from check_bindings(system)
    for event in event_types():
        yield from _check_event(system, event)


def check_bindings(system: EventSystem) -> Iterator[Finding]:
    """Findings on bindings and handlers: what a worker says too, when it starts."""
    if not system.event_map:
        yield Finding(
            "warning",
            f"the event map of {system.name!r} is empty: no handler is bound. Name the modules that bind them in "
            "EventSystem(..., handlers=[...])",
        )
    yield from _check_patterns(system)
    for spec in system.event_map.handlers:
        yield from _check_handler(system, spec)


def _check_event(system: EventSystem, event: type[Event]) -> Iterator[Finding]:
    place = f"{event.__module__}.{event.__qualname__}"
    if event.__subclasses__() and event.event_type == event.__name__:
        return  # a base class, which is not emitted itself
    if not _GOOD_NAME.fullmatch(event.event_type):
        yield Finding(
            "warning",
            f"event type {event.event_type!r} ({place}) is not of the form entity.action, such as order.placed: "
            "lowercase words joined with dots",
        )
    handled = system.event_map.route(event) or system.event_map.in_transaction(event)
    if issubclass(event, DomainEvent) and not event.__subclasses__() and not handled:
        yield Finding(
            "warning", f"{event.event_type} v{event.version} ({place}) has no handler: emitting it does nothing"
        )


def _check_patterns(system: EventSystem) -> Iterator[Finding]:
    known = [event.event_type for event in event_types() if issubclass(event, DomainEvent)]
    for key, spec in system.event_map.bindings:
        if isinstance(key, str) and not any(fnmatchcase(name, key) for name in known):
            yield Finding(
                "warning",
                f"{spec.name} is bound to {key!r}, which fits no known domain event: correct it, or import the module "
                "that defines the event",
            )


def _check_handler(system: EventSystem, spec: HandlerSpec) -> Iterator[Finding]:
    if spec.timeout is not None and not spec.is_async and spec.kind != "task":
        yield Finding(
            "warning",
            f"{spec.name} is a sync handler with timeout={spec.timeout:g}: under -P threads it cannot be ended. It "
            "keeps its slot until it returns, and then settles as timed out. Make it async, or run it under -P prefork",
        )
    yield from check_dependencies(system, spec)
