"""Failures that say what was emitted instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from events_core.events import Event
from events_core.secret import masked, secret_fields

_LONGEST_VALUE = 200
_MOST_SHOWN = 30
_META = ("event_id", "occurred_at")


def check_fields(event_class: type[Event], fields: Mapping[str, Any]) -> None:
    """Raise TypeError for a field that the class does not have."""
    unknown = sorted(fields.keys() - event_class.model_fields.keys())
    if unknown:
        raise TypeError(
            f"{event_class.__name__} has no field {', '.join(map(repr, unknown))}: it has "
            f"{', '.join(name for name in event_class.model_fields if name not in _META) or 'none of its own'}"
        )


def fits(event: Event, fields: Mapping[str, Any]) -> bool:
    """Whether the event has these values."""
    return all(getattr(event, name) == value for name, value in fields.items())


def wanted(event_class: type[Event], fields: Mapping[str, Any]) -> str:
    """What was looked for, for people."""
    return f"{event_class.__name__}({_values(event_class, fields)})"


def shown(event: Event) -> str:
    """One event, for people; secret fields are masked."""
    values = {name: getattr(event, name) for name in type(event).model_fields if name not in _META}
    return f"{type(event).__name__}({_values(type(event), values)})"


def listed(events: Sequence[Event], what: str = "Emitted") -> str:
    """All of them, numbered."""
    if not events:
        return f"{what}: nothing"
    lines = [f"  {number}. {shown(event)}" for number, event in enumerate(events[:_MOST_SHOWN], 1)]
    if len(events) > _MOST_SHOWN:
        lines.append(f"  ... and {len(events) - _MOST_SHOWN} more")
    return "\n".join([f"{what} ({len(events)}):", *lines])


def nearest(candidates: Sequence[Event], fields: Mapping[str, Any]) -> str:
    """The event that differs least, with the fields in which it does; empty where there is none."""
    if not candidates or not fields:
        return ""
    event = max(candidates, key=lambda event: sum(fits(event, {name: value}) for name, value in fields.items()))
    lines = [f"Nearest: {shown(event)}, in which"]
    for name, value in fields.items():
        if not fits(event, {name: value}):
            has = _value(type(event), name, getattr(event, name))
            lines.append(f"  > {name} is {has}, not {_value(type(event), name, value)}")
    return "\n".join(lines)


def _values(event_class: type[Event], fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value(event_class, name, value)}" for name, value in fields.items())


def _value(event_class: type[Event], name: str, value: Any) -> str:
    text = repr(masked(event_class, {name: value})[name] if name in secret_fields(event_class) else value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
