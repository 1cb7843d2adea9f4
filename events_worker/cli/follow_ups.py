"""Which events follow from which, as far as return annotations tell."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from events_core import Event, EventSystem
from events_core.handlers import HandlerSpec


def follow_ups(spec: HandlerSpec) -> list[type[Event]]:
    """The events that the handler's return annotation names; empty where it names none, or cannot be told."""
    called = spec.target.handle if spec.kind == "class" else spec.target
    try:
        hint = typing.get_type_hints(called).get("return")
    except (NameError, TypeError, AttributeError):
        return []  # an annotation that cannot be resolved here says nothing
    return list(dict.fromkeys(_events_in(hint)))


def _events_in(hint: Any) -> Iterator[type[Event]]:
    """The event classes in ``E``, ``E | None``, ``list[E]``, ``tuple[E, F]``, ``Iterator[list[E | F]]`` and so on."""
    arguments = typing.get_args(hint)
    if not arguments and isinstance(hint, type):
        # our own bases (`-> list[Event]`) say that something follows, not what
        if issubclass(hint, Event) and hint.__module__ != Event.__module__:
            yield hint
        return
    for argument in arguments:
        yield from _events_in(argument)


def circles(system: EventSystem, events: list[type[Event]]) -> dict[type[Event], list[type[Event]]]:
    """For each event that leads back to itself the shortest way, with that event at both ends."""
    after = {event: [next_ for spec in system.event_map.route(event) for next_ in follow_ups(spec)] for event in events}
    return {event: way for event in events if (way := _way_back(event, after)) is not None}


def _way_back(start: type[Event], after: dict[type[Event], list[type[Event]]]) -> list[type[Event]] | None:
    ways, seen = [[start]], set()
    for way in ways:
        for event in after.get(way[-1], ()):
            if event is start:
                return [*way, event]
            if event not in seen:
                seen.add(event)
                ways.append([*way, event])
    return None
