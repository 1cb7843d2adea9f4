"""What the formats share when they write: an event's data is JSON already, and is put in as it is."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from events_core.errors import EventDefinitionError
from events_core.events import IntegrationEvent


def before(members: dict[str, Any], data: bytes) -> bytes:
    """One object: these members, then those of `data`."""
    head = to_json(members)
    return head if data == b"{}" else head[:-1] + b"," + data[1:]


def around(members: dict[str, Any], name: str, data: bytes) -> bytes:
    """One object: these members, then `data` by this name."""
    return to_json(members)[:-1] + b',"' + name.encode() + b'":' + data + b"}"


def check_names(event: IntegrationEvent, taken: frozenset[str], format: str) -> None:
    """For formats that put an event's fields beside their own. Raises EventDefinitionError for a name of both."""
    extra = event.model_extra
    both = taken.intersection(type(event).model_fields) | (taken.intersection(extra) if extra else frozenset())
    if both:
        raise EventDefinitionError(
            f"{event.event_type}: the format {format!r} uses the field name {', '.join(sorted(both))} itself: rename "
            "the field, or give the message broker format='cloudevents'"
        )
